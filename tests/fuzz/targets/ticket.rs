//! Tickets: whatever parses prints as the same text, in lower case and without blanks around it.
#![no_main]

use kithdb_log::Ticket;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string(), text.trim().to_ascii_lowercase());
    }
});
