//! The thread in the background, with a model that fails at first and is slow in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rusqlite::Connection;

use super::super::queue::Figures;
use super::super::{Background, BackgroundConnection, BackgroundFailure, figures};
use super::{Double, check, create, declaration, open};
use crate::embed::{EmbedError, Embedder};

/// A connection as the host would open it.
struct Own(Connection);

impl BackgroundConnection for Own {
    fn ready(&mut self) -> Result<&Connection, BackgroundFailure> {
        Ok(&self.0)
    }
}

/// Waits for what a thread is to bring about.
fn wait_until(what: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if what() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it did not come about");
}

static IS_SLOW: AtomicBool = AtomicBool::new(false);
static IS_DOWN: AtomicBool = AtomicBool::new(true);
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// A model that fails at first and never answers in the end.
struct Unsteady(Arc<Double>);

impl Embedder for Unsteady {
    fn model(&self) -> &str {
        self.0.model()
    }

    fn dimensions(&self) -> usize {
        64
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        while IS_SLOW.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.0.is_down.store(IS_DOWN.load(Ordering::Relaxed), Ordering::Relaxed);
        self.0.embed(texts)
    }
}

#[test]
fn threads_embed_in_the_background_and_end_whatever_the_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = open(&path);
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    conn.execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB); INSERT INTO docs(body) VALUES('a'), ('b')").unwrap();
    create(&conn, "unsteady");
    let begin = || {
        Background::begin(
            |path| Ok(Box::new(Own(open(path)))),
            path.clone(),
            "near".to_owned(),
            declaration("unsteady"),
            |name| Ok(Arc::new(Unsteady(Double::new(name)))),
        )
        .unwrap()
    };
    let background = begin();
    wait_until(|| figures(&conn, "near").unwrap().problem.is_some_and(|problem| problem.contains("the line is dead")));
    // The user writes meanwhile.
    conn.execute_batch("INSERT INTO docs(body) VALUES('c')").unwrap();
    IS_DOWN.store(false, Ordering::Relaxed);
    wait_until(|| figures(&conn, "near").unwrap() == Figures::default());
    check(&conn, &*Double::new("unsteady"));
    conn.execute_batch("UPDATE docs SET body = 'd' WHERE id = 1").unwrap();
    wait_until(|| figures(&conn, "near").unwrap().left == 0);
    check(&conn, &*Double::new("unsteady"));
    // While the model is asked the file is free, and whoever closes it does not wait.
    IS_SLOW.store(true, Ordering::Relaxed);
    let asked = ASKED.load(Ordering::Relaxed);
    conn.execute_batch("UPDATE docs SET body = 'e' WHERE id = 1").unwrap();
    wait_until(|| ASKED.load(Ordering::Relaxed) > asked);
    conn.busy_timeout(std::time::Duration::ZERO).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE; UPDATE docs SET body = 'f' WHERE id = 1; COMMIT").unwrap();
    drop(background);
    IS_SLOW.store(false, Ordering::Relaxed);
    assert!(figures(&conn, "near").unwrap().left > 0);
    let background = begin();
    wait_until(|| figures(&conn, "near").unwrap().left == 0);
    drop(background);
    check(&conn, &*Double::new("unsteady"));
    conn.close().unwrap();
    assert!(!folder.path().join("a.db-wal").exists());
}
