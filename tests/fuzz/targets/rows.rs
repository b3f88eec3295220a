//! Rows payloads: what is read is written back as the same bytes.
#![no_main]

use kithdb_log::{AuthorId, Hlc, IncarnationId, Operation, PayloadContext, RowsReader, RowsWriter, Step};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let context = PayloadContext {
        author: AuthorId::from_bytes([1; 32]),
        incarnation: IncarnationId::from_bytes([2; 16]),
        after: Hlc::ZERO,
        up_to: Hlc::from_u64(u64::MAX),
    };
    let Ok(mut reader) = RowsReader::open(bytes, context) else { return };
    let mut writer = RowsWriter::new(reader.table(), reader.columns().to_vec());
    let mut operation = Operation::default();
    loop {
        match reader.next(&mut operation) {
            Ok(Step::Begin(head)) => writer.begin(&head),
            Ok(Step::Operation) => writer.write(&operation),
            Ok(Step::End(continues)) => writer.end(continues),
            Ok(Step::Finished) => break,
            Err(_) => return,
        }
    }
    assert_eq!(writer.finish(), bytes);
});
