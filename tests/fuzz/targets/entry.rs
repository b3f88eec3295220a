//! Sealed entries: one encoding each, named by header and signature alone.
#![no_main]

use kithdb_log::{EntryError, EntryHeader, SealedEntry};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = EntryHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
    let Ok(mut entry) = SealedEntry::decode(bytes) else { return };
    assert_eq!(entry.encode(), bytes);
    assert_eq!(entry.byte_len(), bytes.len());
    assert_eq!(EntryHeader::decode(&entry.header_bytes()).as_ref(), Ok(&entry.header));
    assert!(!matches!(entry.verify(entry.header.workspace), Err(EntryError::Header(_))));
    let hash = entry.hash();
    entry.ciphertext.push(0);
    assert_eq!(entry.hash(), hash);
    assert!(entry.verify(entry.header.workspace).is_err(), "the ciphertext is another");
});
