//! When a thread begins to embed what a table is to have embedded: when the table is used, not when it is listed.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use kithdb_search::vector::{BackgroundConnection, BackgroundFailure, connect_tables, open_background_by};
use rusqlite::Connection;

/// Connections that threads have asked for: each asks for one before it ends.
static ASKED: AtomicUsize = AtomicUsize::new(0);

fn refuse(_: &Path) -> Result<Box<dyn BackgroundConnection>, BackgroundFailure> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    Err("none in this test".into())
}

/// Returns whether a thread was begun by what is done on a connection. To close it ends the thread.
fn begins(path: &Path, action: impl FnOnce(&Connection)) -> bool {
    let before = ASKED.load(Ordering::Relaxed);
    let conn = Connection::open(path).unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    action(&conn);
    conn.close().unwrap();
    ASKED.load(Ordering::Relaxed) > before
}

#[test]
fn a_table_embeds_in_the_background_once_it_is_used_not_when_it_is_listed() {
    open_background_by(refuse);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let run = |sql: &'static str| {
        begins(&path, |conn| {
            let mut statement = conn.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while rows.next().unwrap().is_some() {}
        })
    };
    assert!(!run("CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB)"));
    assert!(run(
        "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1)"
    ));
    assert!(!run("PRAGMA table_list"));
    assert!(!run("SELECT name FROM pragma_table_xinfo('near')"));
    assert!(!run("EXPLAIN SELECT rowid FROM near"));
    assert!(!run("INSERT INTO docs(body) VALUES('red wine')"));
    assert!(run("SELECT rowid FROM near WHERE embedding MATCH 'wine' AND k = 1"));
    assert!(run("SELECT id FROM vector_top_k('near', 'wine', 1)"));
    assert!(run("SELECT to_embed FROM kith_vector_stats"));
    assert!(begins(&path, |conn| connect_tables(conn).unwrap()));
}
