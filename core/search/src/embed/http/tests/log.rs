//! What the client and the libraries below it log.

use std::sync::Mutex;

use ::log::{LevelFilter, Log, Metadata, Record, set_logger, set_max_level};

use super::*;

/// All that libraries log, of all tests of this process.
struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(format!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

#[test]
fn key_and_texts_are_in_no_log() {
    set_logger(&KEPT).unwrap();
    set_max_level(LevelFilter::Trace);
    let server = Server::start(|number, request| match number {
        1 => Reply::error(500, &format!("key {KEY}"), ""),
        _ => Reply::json(&serde_json::json!({ "data": request.embeddings() })),
    });
    let model = connect(&server, PACE).unwrap();
    assert_eq!(model.embed(&["a private text"]).unwrap(), [Some(expected("a private text"))]);
    assert_eq!(server.received().len(), 3);
    let kept = KEPT.0.lock().unwrap();
    assert!(
        kept.iter().any(|line| line.starts_with("ureq") && line.contains("POST")),
        "the client logs its requests: {kept:?}"
    );
    for line in kept.iter() {
        assert!(!line.contains(KEY) && !line.contains("a private text"), "{line}");
    }
}
