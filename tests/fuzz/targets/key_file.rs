//! Key files: one text for each set of keys.
#![no_main]

use kithdb_log::DeviceKeys;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(keys) = DeviceKeys::decode_key_file(text) {
        assert_eq!(*keys.encode_key_file(), text);
    }
});
