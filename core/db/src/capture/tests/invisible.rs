//! What capture and KithDB's own statements do is not in the counts that the user's program sees.

use rusqlite::Connection;

use super::harness::Db;

const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(a)";

/// `changes()`, `total_changes()`, `last_insert_rowid()` by SQL and by the interface.
fn seen(db: &Db) -> (i64, i64, i64) {
    let by_sql = db
        .conn
        .query_row("SELECT changes(), total_changes(), last_insert_rowid()", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    let by_call = (db.capture.changes(&db.conn), db.capture.total_changes(&db.conn), db.conn.last_insert_rowid());
    assert_eq!(by_sql, by_call);
    by_sql
}

#[test]
fn explicit_commit_leaves_the_counts_alone() {
    let db = Db::memory(SCHEMA, &["t"]);
    db.run("BEGIN; INSERT INTO t VALUES(10, 1), (11, 2), (12, 3); UPDATE t SET a = 5 WHERE id < 12");
    assert_eq!(seen(&db), (2, 5, 12));
    db.run("COMMIT");
    assert_eq!(seen(&db), (2, 5, 12));
    db.run("BEGIN; INSERT INTO t VALUES(5, 5); DELETE FROM t WHERE id = 99; COMMIT");
    assert_eq!(seen(&db), (0, 6, 5));
}

#[test]
fn internal_statements_leave_the_counts_alone() {
    let db = Db::memory(SCHEMA, &["t"]);
    db.run("INSERT INTO t VALUES(10, 1), (11, 2)");
    let before = seen(&db);
    assert_eq!(before, (2, 2, 11));
    for sql in [
        "INSERT INTO u VALUES(1), (2), (3)",
        "DELETE FROM u WHERE a = 77",
        "INSERT INTO u VALUES(4); DELETE FROM u WHERE a = 77",
        "SELECT 1",
        "BEGIN; INSERT INTO u VALUES(5); ROLLBACK",
        "CREATE TABLE IF NOT EXISTS v(a)",
    ] {
        {
            let _internal = db.capture.internal(&db.conn);
            db.run(sql);
        }
        assert_eq!(seen(&db), before, "{sql}");
        {
            let _outer = db.capture.internal(&db.conn);
            let _inner = db.capture.internal(&db.conn);
            db.run(sql);
        }
        assert_eq!(seen(&db), before, "{sql}");
    }
    db.run("UPDATE t SET a = 3 WHERE id = 10");
    assert_eq!(seen(&db), (1, 3, 11));
    db.run("UPDATE t SET a = 3 WHERE id = 99");
    assert_eq!(seen(&db), (0, 3, 11));
    {
        let _internal = db.capture.internal(&db.conn);
        db.run("INSERT INTO u VALUES(9)");
    }
    assert_eq!(seen(&db), (0, 3, 11));
}

#[test]
fn counts_inside_triggers_are_the_users() {
    let plain = Connection::open_in_memory().unwrap();
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(a); CREATE TABLE seen(c, t, r);
        CREATE TRIGGER tr AFTER INSERT ON u BEGIN
          UPDATE u SET a = a + 100 WHERE a < 3;
          INSERT INTO t(a) SELECT changes() FROM u;
          INSERT INTO seen VALUES(changes(), total_changes(), last_insert_rowid());
          UPDATE t SET a = a WHERE id = -1;
          INSERT INTO seen VALUES(changes(), total_changes(), last_insert_rowid());
        END";
    plain.execute_batch(schema).unwrap();
    let db = Db::memory(schema, &["t"]);
    let program =
        ["INSERT INTO u VALUES(1)", "INSERT INTO u VALUES(2), (3)", "BEGIN", "INSERT INTO u VALUES(0)", "COMMIT"];
    for sql in program {
        plain.execute_batch(sql).unwrap();
        db.run(sql);
        let read = |conn: &Connection, sql: &str| -> Vec<Vec<i64>> {
            let mut statement = conn.prepare(sql).unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        for query in
            ["SELECT * FROM seen", "SELECT id, a FROM t", "SELECT changes(), total_changes(), last_insert_rowid()"]
        {
            assert_eq!(read(&db.conn, query), read(&plain, query), "after {sql}: {query}");
        }
    }
}

#[test]
fn nothing_of_ours_is_listed() {
    let db = Db::memory(SCHEMA, &["t"]);
    db.run("INSERT INTO t VALUES(1, 1)");
    assert_eq!(db.count("SELECT count(*) FROM pragma_database_list WHERE name <> 'main'"), 0);
    assert_eq!(db.count("SELECT count(*) FROM sqlite_temp_schema"), 0);
    assert_eq!(db.count("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'kith__capture'"), 0);
}

#[test]
fn no_lock_is_taken_before_sqlite_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let db = Db::on(Connection::open(&path).unwrap(), SCHEMA, &["t"], false);
    let other = Connection::open(&path).unwrap();
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    // Reading, and a transaction that has only been begun, keep nobody from writing.
    db.run("BEGIN; SAVEPOINT s");
    other.execute_batch("INSERT INTO u VALUES(1)").unwrap();
    assert_eq!(db.count("SELECT count(*) FROM t"), 0);
    db.run("COMMIT");
    // In a rollback journal, readers are let in until the COMMIT.
    db.run("BEGIN; INSERT INTO t VALUES(1, 1)");
    let rows: i64 = other.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    db.run("COMMIT");
    assert_eq!(db.told(), ["+t 1,1"]);
}
