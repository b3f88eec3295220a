//! What changes the indexes or graphs of a file waits for another program that writes, as any statement that begins by writing does.

use std::cell::RefCell;

use super::*;

thread_local! {
    /// The connection of the other program, as long as it writes.
    static OTHER: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Stands for the time that is waited: the other program ends what it does.
fn wait(_: i32) -> bool {
    OTHER.with(|other| other.borrow_mut().take().is_some_and(|other| other.execute_batch("COMMIT").is_ok()))
}

#[test]
fn functions_that_write_wait_for_another_program() {
    let functions = [
        "SELECT kith_text('n', 'body')",
        "SELECT kith_text('n', 'body,title')",
        "SELECT kith_untext('n')",
        "SELECT kith_fuzzy_index('n', 'body')",
        "SELECT kith_fuzzy_unindex('n', 'body')",
        "BEGIN; SELECT kith_graph('g', '{\"edges\":\"e\",\"from\":\"a\",\"to\":\"b\"}'); COMMIT",
        "BEGIN; SELECT kith_graph('g', '{\"edges\":\"e\",\"from\":\"b\",\"to\":\"a\"}'); COMMIT",
        "BEGIN; SELECT kith_graph_drop('g'); COMMIT",
    ];
    for mode in ["WAL", "DELETE"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut conn = open(&path);
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; PRAGMA synchronous = OFF; CREATE TABLE n(id INTEGER PRIMARY KEY, title TEXT, body TEXT);
             CREATE TABLE e(a, b)"
        ))
        .unwrap();
        conn.busy_handler(Some(wait)).unwrap();
        for function in functions {
            let other = Connection::open(&path).unwrap();
            other.execute_batch("BEGIN IMMEDIATE; INSERT INTO n(title, body) VALUES('red', 'wine')").unwrap();
            OTHER.set(Some(other));
            conn.execute_batch(function).unwrap_or_else(|error| panic!("{mode}: {function}: {error}"));
            assert!(OTHER.take().is_none(), "{function} had to wait");
        }
        assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM n"), functions.len() as i64);
    }
}
