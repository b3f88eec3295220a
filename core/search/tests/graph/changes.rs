//! Questions see what any other query in the same transaction sees, and who may ask is who may read.

use std::ffi::{CStr, c_char, c_int, c_void};

use kithdb_core::replica::{InitOptions, Replica};
use kithdb_core::seal::SealBudget;
use rusqlite::ffi;

use super::*;

const REACHED: &str = "SELECT group_concat(node, ' ') FROM kith_traverse('social', 1)";

#[test]
fn own_writes_are_seen_before_they_are_committed_and_gone_when_rolled_back() {
    let conn = social();
    assert_eq!(rows(&conn, REACHED), ["2 3 4"]);
    conn.execute_batch("BEGIN; INSERT INTO follows VALUES(4, 5, 'knows', 0)").unwrap();
    assert_eq!(rows(&conn, REACHED), ["2 3 4 5"]);
    conn.execute_batch("SAVEPOINT s; DELETE FROM follows WHERE src = 2").unwrap();
    assert_eq!(rows(&conn, REACHED), ["2"]);
    conn.execute_batch("ROLLBACK TO s").unwrap();
    assert_eq!(rows(&conn, REACHED), ["2 3 4 5"]);
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rows(&conn, REACHED), ["2 3 4"]);
    conn.execute_batch(r#"BEGIN; SELECT kith_graph('social', '{"edges":"follows","from":"dst","to":"src"}')"#).unwrap();
    assert_eq!(rows(&conn, REACHED), ["3 2"]);
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rows(&conn, REACHED), ["2 3 4"]);
}

#[test]
fn commits_of_other_connections_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let conn = Connection::open(folder.path().join("a.db")).unwrap();
        kithdb_search::register(&conn, |_| None).unwrap();
        conn
    };
    let (one, other) = (open(), open());
    one.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE e(a INTEGER, b INTEGER); INSERT INTO e VALUES(1, 2)")
        .unwrap();
    one.execute_batch(r#"SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b"}')"#).unwrap();
    let reached = "SELECT group_concat(node, ' ') FROM kith_traverse('g', 1)";
    assert_eq!(rows(&other, reached), ["2"]);
    one.execute_batch("INSERT INTO e VALUES(2, 3)").unwrap();
    assert_eq!(rows(&other, reached), ["2 3"]);
    one.execute_batch(r#"SELECT kith_graph('g', '{"edges":"e","from":"b","to":"a"}')"#).unwrap();
    assert_eq!(rows(&other, reached), ["-"]);
    // What is kept for the next question holds nothing open: the file can be closed, also by a call that would refuse.
    one.close().unwrap();
    other.close().unwrap();
}

#[test]
fn edges_may_change_while_a_walk_is_read() {
    let conn = social();
    conn.execute_batch("WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO follows SELECT 1, i, 'many', 0 FROM n").unwrap();
    let mut statement = conn.prepare("SELECT node, edge, path FROM kith_traverse('social', 1)").unwrap();
    let mut walk = statement.query([]).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(row) = walk.next().unwrap() {
        let node: i64 = row.get(0).unwrap();
        assert!(seen.insert(node), "{node} came twice");
        conn.execute("DELETE FROM follows WHERE dst = ?1 + 1 AND kind = 'many'", [node]).unwrap();
        conn.execute("INSERT INTO follows VALUES(?1, ?1 + 1000, 'new', 0)", [node % 7]).unwrap();
    }
    assert!(seen.len() > 100 && seen.len() < 500, "{}", seen.len());
    drop(walk);
    let mut walk = statement.query([]).unwrap();
    walk.next().unwrap().unwrap();
    // SQLite refuses to take a table away from under a query.
    assert!(conn.execute_batch("DROP TABLE follows").unwrap_err().to_string().contains("locked"));
    conn.execute_batch("DELETE FROM follows").unwrap();
    while walk.next().unwrap().is_some() {}
}

#[test]
fn statement_that_writes_the_edges_it_reads_ends() {
    let conn = social();
    conn.execute_batch("INSERT INTO follows SELECT node, node + 100, 'new', 0 FROM kith_traverse('social', 1)")
        .unwrap();
    assert_eq!(rows(&conn, "SELECT count(*) FROM follows WHERE kind = 'new'"), ["3"]);
    conn.execute_batch("DELETE FROM follows WHERE dst IN (SELECT node FROM kith_traverse('social', 1)) RETURNING 1")
        .unwrap();
    assert_eq!(rows(&conn, REACHED), ["-"]);
}

/// # Safety
/// To be called by SQLite.
unsafe extern "C" fn deny_follows(
    _: *mut c_void,
    action: c_int,
    table: *const c_char,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    // SAFETY: of a read, the first name is that of a table.
    let is_denied = action == ffi::SQLITE_READ && unsafe { CStr::from_ptr(table) } == c"follows";
    if is_denied { ffi::SQLITE_DENY } else { ffi::SQLITE_OK }
}

#[test]
fn who_may_not_read_the_edges_may_not_walk_them() {
    let conn = social();
    // SAFETY: the connection is open, and the callback is as SQLite asks.
    unsafe { ffi::sqlite3_set_authorizer(conn.handle(), Some(deny_follows), std::ptr::null_mut()) };
    assert!(error(&conn, "SELECT node FROM kith_traverse('social', 1)").contains("prohibited"));
    assert!(error(&conn, "SELECT node FROM kith_components('social')").contains("prohibited"));
    // SAFETY: as above.
    unsafe { ffi::sqlite3_set_authorizer(conn.handle(), None, std::ptr::null_mut()) };
    assert_eq!(rows(&conn, REACHED), ["2 3 4"]);
}

#[test]
fn schema_may_ask_only_if_it_is_trusted_and_never_declare() {
    let conn = social();
    conn.execute_batch("CREATE VIEW reached AS SELECT node FROM kith_traverse('social', 1)").unwrap();
    assert_eq!(rows(&conn, "SELECT count(*) FROM reached"), ["3"]);
    conn.execute_batch("PRAGMA trusted_schema = OFF").unwrap();
    assert!(error(&conn, "SELECT count(*) FROM reached").contains("unsafe use of virtual table"));
    conn.execute_batch("PRAGMA trusted_schema = ON; CREATE VIEW makes AS SELECT kith_graph('g'); CREATE VIEW drops AS SELECT kith_graph_drop('social')").unwrap();
    for view in ["makes", "drops"] {
        assert!(error(&conn, &format!("SELECT * FROM {view}")).contains("unsafe use of kith_graph"));
    }
    // A graph over a view that asks for the graph would never end.
    conn.execute_batch("CREATE VIEW endless AS SELECT 1 AS a, node AS b FROM kith_traverse('endless', 1)").unwrap();
    conn.execute_batch(r#"SELECT kith_graph('endless', '{"edges":"endless","from":"a","to":"b"}')"#).unwrap();
    assert!(error(&conn, "SELECT node FROM kith_traverse('endless', 1)").contains("no such table: main.kith_traverse"));
}

#[test]
fn table_of_another_database_does_not_hide_the_edges() {
    let conn = social();
    conn.execute_batch("CREATE TEMP TABLE follows(src, dst, kind, since); ATTACH ':memory:' AS more; CREATE TABLE more.follows(src, dst)").unwrap();
    assert_eq!(rows(&conn, REACHED), ["2 3 4"]);
}

#[test]
fn synced_table_is_walked_and_the_declaration_stays_here() {
    let mut replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
    replica
        .execute_batch(
            "CREATE TABLE follows(src INTEGER, dst INTEGER, PRIMARY KEY(src, dst)); INSERT INTO follows VALUES(1, 2)",
        )
        .unwrap();
    replica.sync_table("follows").unwrap();
    replica.execute_batch("INSERT INTO follows VALUES(2, 3)").unwrap();
    let changed = rows(replica.conn(), "SELECT changes(), total_changes(), last_insert_rowid()");
    replica.execute_batch(r#"SELECT kith_graph('g', '{"edges":"follows","from":"src","to":"dst"}')"#).unwrap();
    assert_eq!(rows(replica.conn(), "SELECT changes(), total_changes(), last_insert_rowid()"), changed);
    let reached = "SELECT group_concat(node, ' ') FROM kith_traverse('g', 1)";
    assert_eq!(rows(replica.conn(), reached), ["2 3"]);
    // In one transaction with writes to a synced table.
    replica.execute_batch(r#"BEGIN; INSERT INTO follows VALUES(3, 4); SELECT kith_graph('back', '{"edges":"follows","from":"dst","to":"src"}'); INSERT INTO follows VALUES(4, 5); COMMIT"#).unwrap();
    assert_eq!(rows(replica.conn(), reached), ["2 3 4 5"]);
    assert_eq!(rows(replica.conn(), "SELECT node FROM kith_traverse('back', 3)"), ["2", "1"]);
    while replica.seal(SealBudget::default()).unwrap().more {}
    assert_eq!(rows(replica.conn(), "SELECT DISTINCT table_name FROM kith_changes"), ["follows"]);
    assert_eq!(rows(replica.conn(), "SELECT name FROM kith_tables"), ["follows"]);
    assert_eq!(rows(replica.conn(), "SELECT kith_graph_drop('back')"), ["back"]);
    let refused = replica.execute_batch("DELETE FROM kith__graphs").unwrap_err().to_string();
    assert!(refused.contains("belongs to KithDB"), "{refused}");
}

#[test]
fn graph_of_a_plain_file_is_there_when_the_file_becomes_a_replica() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = Connection::open(&path).unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn.execute_batch("CREATE TABLE e(a INTEGER, b INTEGER); INSERT INTO e VALUES(1, 2)").unwrap();
    conn.execute_batch(r#"SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b"}')"#).unwrap();
    conn.close().unwrap();
    let replica = Replica::init(&path, InitOptions::new("desk")).unwrap();
    assert_eq!(rows(replica.conn(), "SELECT node FROM kith_traverse('g', 1)"), ["2"]);
    replica.close().unwrap();
}
