//! Tickets: whatever parses prints as the same text, in lower case and without blanks around it.
#![no_main]

use data_encoding::BASE32_NOPAD;
use kithdb_log::{Ticket, TicketError};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text).ok();
    }
    // The same bytes once more behind a checksum that holds, which mutation does not find.
    let Ok(rest_len) = u16::try_from(bytes.len() + 6) else { return };
    let mut content = [&[1][..], &rest_len.to_le_bytes(), bytes].concat();
    content.extend_from_slice(&checksum(&content));
    let result = check(&format!("kith1{}", BASE32_NOPAD.encode(&content)));
    assert!(matches!(result, Ok(_) | Err(TicketError::Malformed(_))), "{result:?}");
});

fn check(text: &str) -> Result<Ticket, TicketError> {
    let ticket = text.parse::<Ticket>()?;
    assert_eq!(ticket.to_string(), text.trim().to_ascii_lowercase());
    Ok(ticket)
}

/// The checksum as docs/FORMAT.md says.
fn checksum(content: &[u8]) -> [u8; 6] {
    let mut hasher = blake3::Hasher::new_derive_key("kithdb 2026 ticket checksum v1");
    hasher.update(&(content.len() as u64).to_le_bytes());
    hasher.update(content);
    let mut out = [0; 6];
    hasher.finalize_xof().fill(&mut out);
    out
}
