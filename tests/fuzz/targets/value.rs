//! Values and varints: one encoding each.
#![no_main]

use kithdb_log::ValueRef;
use kithdb_log::codec::{Reader, put_varint, unzigzag, zigzag};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    while let Ok(value) = ValueRef::skip(&mut reader) {
        assert_eq!(ValueRef::decode_all(value).map(ValueRef::to_encoded).as_deref(), Ok(value));
    }
    let mut reader = Reader::new(bytes);
    while let Ok(number) = reader.varint("number") {
        let mut out = Vec::new();
        put_varint(&mut out, number);
        assert!(bytes[..bytes.len() - reader.rest().len()].ends_with(&out));
        assert_eq!(zigzag(unzigzag(number)), number);
    }
});
