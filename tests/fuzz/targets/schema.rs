//! Schema payloads: one encoding each.
#![no_main]

use kithdb_log::TableSchema;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(schema) = TableSchema::decode(bytes) {
        assert_eq!(schema.encode(), bytes);
        assert_eq!(schema.column_ids().len(), schema.columns.len());
    }
});
