//! Join requests: one encoding each.
#![no_main]

use kithdb_log::JoinRequest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = JoinRequest::decode(bytes) {
        assert_eq!(request.encode(), bytes);
    }
});
