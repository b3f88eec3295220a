//! Admin operations: one encoding each, and verifying foreign ones is safe.
#![no_main]

use kithdb_log::{AdminError, AdminOperation, DecodeError};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(operation) = AdminOperation::decode(bytes) {
        assert_eq!(operation.encode(), bytes);
        let malformed = matches!(operation.verify(), Err(AdminError::Malformed(DecodeError::NotCanonical { .. })));
        assert!(!malformed, "what decodes is well-formed");
    }
});
