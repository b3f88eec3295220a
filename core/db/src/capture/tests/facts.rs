//! What SQLite reports in its own way, one test each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kithdb_log::limits::{DRIFT_MS_MAX, SIBLINGS_MAX, VALUE_BYTES_MAX};
use rusqlite::{Connection, params};

use super::harness::{Db, Model, table_info};
use crate::registry::Registry;

/// Runs SQL on one synced table `t` and compares what was captured.
fn told(schema: &str, sql: &str, expected: &[&str]) {
    let db = Db::memory(schema, &["t"]);
    db.run(sql);
    assert_eq!(db.told(), expected, "{sql}");
}

#[test]
fn whole_rows_changed_columns_and_old_rows_are_told() {
    told(
        "CREATE TABLE t(id TEXT PRIMARY KEY, a, b)",
        "INSERT INTO t VALUES('x', 1, NULL); UPDATE t SET b = x'00ff'; UPDATE t SET id = 'y', a = 2; DELETE FROM t",
        &["+t 'x',1,null", "~t 'x' > b=x'00ff'", "*t 'x',1,x'00ff' > id='y',a=2", "-t 'y',2,x'00ff'"],
    );
}

#[test]
fn update_that_changes_nothing_is_dropped() {
    told(
        "CREATE TABLE t(id TEXT PRIMARY KEY, a REAL)",
        "INSERT INTO t VALUES('x', 1); UPDATE t SET a = a, id = id; UPDATE t SET a = 1",
        &["+t 'x',1.0"],
    );
}

#[test]
fn replace_tells_every_displaced_row_first() {
    told(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE, b UNIQUE)",
        "INSERT INTO t VALUES(1, 1, 1), (2, 2, 2), (3, 3, 3); REPLACE INTO t VALUES(1, 2, 3); UPDATE OR REPLACE t SET b = 9",
        &["+t 1,1,1", "+t 2,2,2", "+t 3,3,3", "-t 1,1,1", "-t 3,3,3", "-t 2,2,2", "+t 1,2,3", "~t 1 > b=9"],
    );
}

#[test]
fn upsert_is_an_update() {
    told(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
        "INSERT INTO t VALUES(1, 1); INSERT INTO t VALUES(1, 2) ON CONFLICT DO UPDATE SET a = excluded.a",
        &["+t 1,1", "~t 1 > a=2"],
    );
}

#[test]
fn values_are_told_as_they_are_stored() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL, i INTEGER, n NUMERIC, s TEXT, b)";
    told(
        schema,
        "INSERT INTO t VALUES('12', '3', ' 4 ', 5.0, 6, 7.0); UPDATE t SET r = 8, i = '9', n = '1.50', s = 2, b = zeroblob(2);
         UPDATE t SET r = 9007199254740993, i = 9.0, n = 10.0, s = 1.5, b = 'a' || char(0) || 'b'; UPDATE t SET r = 2e18",
        &[
            "+t 12,3.0,4,5,'6',7.0",
            "~t 12 > r=8.0,i=9,n=1.5,s='2',b=x'0000'",
            "~t 12 > r=9007199254740992.0,n=10,s='1.5',b='a\\0b'",
            "~t 12 > r=2e18",
        ],
    );
}

#[test]
fn what_is_told_is_what_is_read_back() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL, i INTEGER, n NUMERIC, s TEXT, b)";
    for strict in ["", " STRICT"] {
        let schema = if strict.is_empty() {
            schema.to_owned()
        } else {
            "CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL, i INTEGER, n ANY, s TEXT, b BLOB) STRICT".to_owned()
        };
        let db = Db::memory(&schema, &["t"]);
        let values = [
            "-0.0",
            "0.0",
            "1",
            "-1.0",
            "1e300",
            "9e999",
            "-9e999",
            "0.1",
            "9223372036854775807",
            "-9223372036854775808",
            "4611686018427387905",
            "'1'",
            "'1.0'",
            "' 2'",
            "'x'",
            "''",
            "x''",
            "x'31'",
            "NULL",
            "1.0",
            "281474976710656.0",
            "140737488355328",
        ];
        for value in values {
            let _ = db.conn.execute_batch(&format!("INSERT INTO t(r) VALUES({value})"));
            let _ =
                db.conn.execute_batch(&format!("INSERT INTO t(i, n, s, b) VALUES({value}, {value}, {value}, {value})"));
            let _ = db.conn.execute_batch(&format!("INSERT INTO t(n) VALUES({value})"));
            for column in ["r", "i", "n", "s", "b"] {
                let _ = db.conn.execute_batch(&format!("UPDATE t SET {column} = {value} WHERE id % 2 = 1"));
            }
        }
        let mut model = db.tables();
        model.tables.values_mut().for_each(|rows| rows.clear());
        for transaction in db.pending() {
            model.replay(&db.registry, &transaction);
        }
        assert_eq!(model, db.tables());
    }
}

#[test]
fn generated_columns_are_left_out_and_their_places_counted() {
    told(
        "CREATE TABLE t(v AS (a * 2), id INTEGER PRIMARY KEY, s AS (a * 3) STORED, a, w AS (z), z)",
        "INSERT INTO t(id, a, z) VALUES(1, 5, 'zz'); UPDATE t SET a = 6; UPDATE t SET z = 'y'; UPDATE t SET id = 2; DELETE FROM t",
        &["+t 1,5,'zz'", "~t 1 > a=6", "~t 1 > z='y'", "*t 1,6,'y' > id=2", "-t 2,6,'y'"],
    );
    told(
        "CREATE TABLE t(v AS (a * 2), k TEXT, s AS (a * 3) STORED, a, n INT, z, PRIMARY KEY(n, k)) WITHOUT ROWID",
        "INSERT INTO t(k, n, a, z) VALUES('k', 1, 5, 'zz'); UPDATE t SET a = 6; UPDATE t SET z = 'y'; UPDATE t SET k = 'l'; REPLACE INTO t(k, n) VALUES('l', 1); DELETE FROM t",
        &[
            "+t 'k',5,1,'zz'",
            "~t 1,'k' > a=6",
            "~t 1,'k' > z='y'",
            "*t 'k',6,1,'y' > k='l'",
            "-t 'l',6,1,'y'",
            "+t 'l',null,1,null",
            "-t 'l',null,1,null",
        ],
    );
}

#[test]
fn key_whose_bytes_change_under_an_equal_key_is_a_key_change() {
    told(
        "CREATE TABLE t(id TEXT PRIMARY KEY COLLATE NOCASE, a)",
        "INSERT INTO t VALUES('a', 1); UPDATE t SET id = 'A'",
        &["+t 'a',1", "*t 'a',1 > id='A'"],
    );
}

#[test]
fn tables_with_rows_from_before_sync_tell_old_rows() {
    let conn = Connection::open_in_memory().unwrap();
    let db = Db::on(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 2, 3)", &["t"], true);
    db.run("UPDATE t SET b = 4; UPDATE t SET b = b");
    assert_eq!(db.told(), ["*t 1,2,3 > b=4"]);
}

#[test]
fn columns_added_later_show_their_defaults() {
    let conn = Connection::open_in_memory().unwrap();
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1, 1), (2, 2);
                  ALTER TABLE t ADD COLUMN b DEFAULT 7; ALTER TABLE t ADD COLUMN c REAL DEFAULT 8; ALTER TABLE t ADD COLUMN d";
    let db = Db::on(conn, schema, &["t"], false);
    db.run("UPDATE t SET a = 3 WHERE id = 1; UPDATE t SET c = 8 WHERE id = 1; DELETE FROM t WHERE id = 2");
    assert_eq!(db.told(), ["~t 1 > a=3", "-t 2,2,7,8.0,null"]);
}

#[test]
fn short_records_copied_from_another_table_are_read_again() {
    let conn = Connection::open_in_memory().unwrap();
    for (options, key) in [("", "INTEGER PRIMARY KEY"), ("WITHOUT ROWID", "TEXT PRIMARY KEY")] {
        let schema = format!(
            "DROP TABLE IF EXISTS u; CREATE TABLE u(id {key}, a) {options}; INSERT INTO u VALUES(1, 1), (2, NULL);
             ALTER TABLE u ADD COLUMN b DEFAULT 7; ALTER TABLE u ADD COLUMN c; INSERT INTO u VALUES(3, 3, NULL, 'c')"
        );
        conn.execute_batch(&schema).unwrap();
        let fresh = Connection::open_in_memory().unwrap();
        fresh.execute_batch(&schema).unwrap();
        let db = Db::on(fresh, &format!("CREATE TABLE t(id {key}, a, b DEFAULT 7, c) {options}"), &["t"], false);
        let mut model = db.tables();
        db.run("INSERT INTO t SELECT * FROM u");
        for transaction in db.pending() {
            model.replay(&db.registry, &transaction);
        }
        assert_eq!(model, db.tables());
        assert_eq!(db.told().len(), 5, "{:?}", db.told());
        assert_eq!(db.count("SELECT count(*) FROM t WHERE b = 7"), 2);
    }
}

#[test]
fn cascades_and_triggers_are_told_unsynced_tables_are_not() {
    let db = Db::memory(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE);
         CREATE TABLE audit(m); CREATE TRIGGER a AFTER DELETE ON t BEGIN INSERT INTO audit VALUES(old.id); INSERT INTO t VALUES(old.id + 100, NULL); END",
        &["t"],
    );
    db.run("INSERT INTO p VALUES(1), (2); INSERT INTO t VALUES(5, 1), (6, 2); DELETE FROM p WHERE id = 1");
    assert_eq!(db.told(), ["+t 5,1", "+t 6,2", "-t 5,1", "+t 105,null"]);
    assert_eq!(db.count("SELECT count(*) FROM audit"), 1);
}

#[test]
fn other_databases_are_not_told() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    db.run(
        "ATTACH ':memory:' AS other; CREATE TABLE other.t(id INTEGER PRIMARY KEY, a); INSERT INTO other.t VALUES(1, 1);
         BEGIN; INSERT INTO main.t VALUES(2, 2); INSERT INTO other.t VALUES(3, 3); COMMIT;
         CREATE TEMP TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(4, 4); INSERT INTO temp.t VALUES(5, 5);
         CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES('hello'); DETACH other",
    );
    assert_eq!(db.told(), ["+t 2,2"]);
}

#[test]
fn two_files_commit_together() {
    let folder = tempfile::tempdir().unwrap();
    let conn = Connection::open(folder.path().join("a.db")).unwrap();
    let db = Db::on(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY)", &["t"], false);
    db.conn.execute("ATTACH ?1 AS b", params![folder.path().join("b.db").to_str()]).unwrap();
    db.run("CREATE TABLE b.u(a); BEGIN; INSERT INTO t VALUES(1); INSERT INTO u VALUES(1); COMMIT");
    assert_eq!(db.told(), ["+t 1"]);
}

#[test]
fn truncate_and_maintenance_tell_what_changes_rows_only() {
    let folder = tempfile::tempdir().unwrap();
    let conn = Connection::open(folder.path().join("a.db")).unwrap();
    let db = Db::on(conn, "CREATE TABLE t(id TEXT PRIMARY KEY, a); CREATE INDEX ta ON t(a)", &["t"], false);
    db.run("INSERT INTO t VALUES('a', 1), ('b', 2)");
    db.run("VACUUM; REINDEX; ANALYZE; PRAGMA optimize; PRAGMA integrity_check; PRAGMA wal_checkpoint; CREATE INDEX tb ON t(a, id); DROP INDEX tb");
    db.conn.execute("VACUUM INTO ?1", params![folder.path().join("copy.db").to_str()]).unwrap();
    db.run("CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END; INSERT INTO t VALUES('c', 3); DROP TRIGGER tr");
    db.run("PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL; INSERT INTO t VALUES('d', 4)");
    db.run("DELETE FROM t");
    assert_eq!(db.told()[..5], ["+t 'a',1", "+t 'b',2", "+t 'c',3", "+t 'd',4", "-t 'a',1"]);
    assert_eq!(db.told().len(), 8);
    let copy = Connection::open(folder.path().join("copy.db")).unwrap();
    let rows: i64 = copy.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
}

#[test]
fn schema_changes_of_a_transaction_are_rolled_back_around_captured_rows() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    db.run("BEGIN; CREATE TABLE u(a); INSERT INTO t VALUES(1, 1); SAVEPOINT s; CREATE INDEX ta ON t(a); INSERT INTO t VALUES(2, 2); ROLLBACK TO s; INSERT INTO t VALUES(3, 3); COMMIT");
    db.run("BEGIN; CREATE TABLE v(a); INSERT INTO t VALUES(4, 4); ROLLBACK; INSERT INTO t VALUES(5, 5)");
    assert_eq!(db.told(), ["+t 1,1", "+t 3,3", "+t 5,5"]);
}

#[test]
fn incremental_blob_writes_are_told_with_the_bytes_written() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, d); INSERT INTO t VALUES(1, 'a', zeroblob(4)), (2, 'b', zeroblob(2)), (3, 'c', x'00')";
    for (existing, expected) in [
        (false, ["~t 1 > d=x'00686900'", "~t 2 > d=x'6869'", "~t 2 > a='z'", "~t 3 > d=x'21'", "-t 3,'c',x'21'"]),
        (
            true,
            [
                "*t 1,'a',x'00000000' > d=x'00686900'",
                "*t 2,'b',x'0000' > d=x'6869'",
                "*t 2,'b',x'6869' > a='z'",
                "*t 3,'c',x'00' > d=x'21'",
                "-t 3,'c',x'21'",
            ],
        ),
    ] {
        let db = Db::on(Connection::open_in_memory().unwrap(), schema, &["t"], existing);
        let write = |row: i64, bytes: &[u8], at: i32| db.write_blob(row, bytes, at, 2);
        // In autocommit: the close commits.
        write(1, b"hi", 1);
        assert!(db.conn.is_autocommit());
        assert_eq!(db.told().len(), 1);
        db.run("BEGIN");
        write(2, b"hi", 0);
        db.run("UPDATE t SET a = 'z' WHERE id = 2; SAVEPOINT s");
        write(1, b"!!", 0);
        db.run("ROLLBACK TO s");
        write(3, b"!", 0);
        db.run("DELETE FROM t WHERE id = 3; COMMIT");
        assert_eq!(db.told(), expected);
    }
}

#[test]
fn blob_written_after_a_rollback_to_a_savepoint_needs_no_other_change() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, d); INSERT INTO t VALUES(1, zeroblob(2))";
    let db = Db::on(Connection::open_in_memory().unwrap(), schema, &["t"], false);
    db.run("SAVEPOINT a");
    db.write_blob(1, b"hi", 0, 1);
    db.run("ROLLBACK TO a; RELEASE a");
    assert!(db.told().is_empty());
}

#[test]
fn null_in_a_primary_key_fails_the_commit_with_the_reason() {
    let db = Db::memory("CREATE TABLE t(id TEXT PRIMARY KEY, a)", &["t"]);
    let message = db.fail("INSERT INTO t(a) VALUES(1)");
    assert!(message.contains("synced table t has NULL in its PRIMARY KEY"), "{message}");
    assert_eq!(db.capture.take_refusal().unwrap().message, message);
    assert_eq!(db.capture.take_refusal(), None);
    db.run("BEGIN; INSERT INTO t VALUES('a', 1); SAVEPOINT s; INSERT INTO t(a) VALUES(1); ROLLBACK TO s; COMMIT");
    assert_eq!(db.told(), ["+t 'a',1"]);
    assert!(db.fail("UPDATE t SET id = NULL").contains("NULL in its PRIMARY KEY"));
    db.run("BEGIN; INSERT INTO t(a) VALUES(2)");
    assert!(db.fail("COMMIT").contains("NULL in its PRIMARY KEY"));
    assert!(db.conn.is_autocommit());
    assert_eq!(db.count("SELECT count(*) FROM t"), 1);
}

#[test]
fn rows_with_null_keys_from_before_sync_become_rows_or_go_unnoticed() {
    let conn = Connection::open_in_memory().unwrap();
    let db =
        Db::on(conn, "CREATE TABLE t(id TEXT PRIMARY KEY, a); INSERT INTO t VALUES(NULL, 1), (NULL, 2)", &["t"], true);
    db.run("UPDATE t SET id = 'x' WHERE a = 1; DELETE FROM t WHERE a = 2");
    assert_eq!(db.told(), ["+t 'x',1"]);
}

#[test]
fn value_above_the_limit_fails_the_commit() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", &["t"]);
    db.conn.execute("INSERT INTO t(id, a) VALUES(1, zeroblob(?1))", [VALUE_BYTES_MAX as i64]).unwrap();
    let error = db.conn.execute("INSERT INTO t(a) VALUES(zeroblob(?1))", [VALUE_BYTES_MAX as i64 + 1]).unwrap_err();
    assert!(error.to_string().contains("above the limit of 67108864 bytes"), "{error}");
    let error = db.conn.execute("UPDATE t SET a = zeroblob(?1), b = zeroblob(?1)", [50 << 20]).unwrap_err();
    assert!(error.to_string().contains("a row of"), "{error}");
    let db = Db::memory("CREATE TABLE t(k TEXT, l TEXT, PRIMARY KEY(k, l)) WITHOUT ROWID", &["t"]);
    let long = "x".repeat(600_000);
    assert!(
        db.conn
            .execute("INSERT INTO t VALUES(?1, ?1)", [&long])
            .unwrap_err()
            .to_string()
            .contains("PRIMARY KEY of 1200022 bytes")
    );
    db.run("INSERT INTO t VALUES('a', 'b')");
}

#[test]
fn transaction_on_more_tables_than_can_be_sent_together_fails_the_commit() {
    let names: Vec<String> = (0..SIBLINGS_MAX + 2).map(|index| format!("t{index}")).collect();
    let create: String = names.iter().map(|name| format!("CREATE TABLE {name}(id INTEGER PRIMARY KEY);")).collect();
    let db = Db::memory(&create, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let insert =
        |count| -> String { names[..count].iter().map(|name| format!("INSERT INTO {name} VALUES(1);")).collect() };
    let error = db.conn.execute_batch(&format!("BEGIN; {} COMMIT", insert(SIBLINGS_MAX + 2))).unwrap_err();
    assert!(error.to_string().contains("a transaction changed 1026 synced tables, and at most 1025"), "{error}");
    db.run(&format!("BEGIN; {} COMMIT", insert(SIBLINGS_MAX + 1)));
    assert_eq!(db.pending().len(), 1);
}

#[test]
fn large_transactions_are_split_and_spilled() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    db.run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90) INSERT INTO t SELECT i, zeroblob(i * 20000) FROM n");
    let transactions = db.pending();
    assert_eq!(transactions.len(), 1);
    assert!(transactions[0].rows > 40, "{}", transactions[0].rows);
    let mut model = Model::default();
    model.replay(&db.registry, &transactions[0]);
    assert_eq!(model, db.tables());
    let longest = db.count("SELECT max(length(body)) FROM kith__pending");
    assert!(longest < 3 << 20, "{longest}");
}

#[test]
fn clock_goes_on_from_what_was_handed_out_or_heard_of() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    db.run("INSERT INTO t VALUES(1, 1), (2, 2)");
    let first = db.pending()[0].first_clock;
    assert_eq!(first, 1_700_000_000_000 << 16);
    db.now.store(1_600_000_000_000, Ordering::Relaxed);
    assert!(db.fail("INSERT INTO t VALUES(3, 3)").contains("ahead of this device's clock"));
    db.now.store(1_699_999_999_000, Ordering::Relaxed);
    db.run("INSERT INTO t VALUES(3, 3)");
    assert_eq!(db.pending()[1].first_clock, first + 2);
    let heard = (1_700_000_000_000 + DRIFT_MS_MAX - 2000) << 16;
    {
        let _internal = db.capture.internal(&db.conn);
        crate::storage::put_meta(&db.conn, "clock", heard as i64).unwrap();
    }
    db.run("INSERT INTO t VALUES(4, 4)");
    assert_eq!(db.pending()[2].first_clock, heard + 1);
}

#[test]
fn utf16_text_comes_out_as_utf8() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("PRAGMA encoding = 'UTF-16le'").unwrap();
    let db = Db::on(conn, "CREATE TABLE t(id TEXT PRIMARY KEY, a)", &["t"], false);
    db.run(
        "INSERT INTO t VALUES('ü', '日本'); UPDATE t SET a = 'a' || char(0) || 'é'; UPDATE t SET a = a; DELETE FROM t",
    );
    assert_eq!(db.told(), ["+t 'ü','日本'", "~t 'ü' > a='a\\0é'", "-t 'ü','a\\0é'"]);
}

#[test]
fn returning_is_captured_however_it_is_read() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    {
        let mut statement = db.conn.prepare("INSERT INTO t VALUES(1, 1), (2, 2) RETURNING id").unwrap();
        let mut rows = statement.query([]).unwrap();
        rows.next().unwrap();
        assert!(db.told().is_empty(), "the statement has not ended");
    }
    assert_eq!(db.told(), ["+t 1,1", "+t 2,2"]);
}

#[test]
fn changed_tables_fail_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let db = Db::on(Connection::open(&path).unwrap(), "CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"], false);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE t ADD COLUMN b").unwrap();
    let message = db.fail("INSERT INTO t(id) VALUES(1)");
    assert!(message.contains("changed by another program"), "{message}");
    assert_eq!(db.count("SELECT count(*) FROM t"), 0);
}

#[test]
fn schema_changes_of_synced_tables_and_writes_to_ours_are_refused() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(a)", &["t"]);
    let cases = [
        ("ALTER TABLE t ADD COLUMN b", "kith_unsync('t')"),
        ("ALTER TABLE T RENAME TO v", "kith_unsync("),
        ("DROP TABLE t", "kith_unsync('t')"),
        ("DROP TABLE kith__meta", "belongs to KithDB"),
        ("ALTER TABLE kith__meta ADD COLUMN b", "belongs to KithDB"),
        ("DELETE FROM kith__pending", "belongs to KithDB"),
        ("INSERT INTO kith_parked(id) VALUES(1)", "belongs to KithDB"),
        ("UPDATE kith__meta SET value = 1", "belongs to KithDB"),
        ("INSERT INTO kith__capture VALUES(1)", "belongs to KithDB"),
        ("CREATE TRIGGER x AFTER INSERT ON kith__meta BEGIN SELECT 1; END", "belongs to KithDB"),
        ("CREATE TRIGGER kith__x AFTER INSERT ON t BEGIN SELECT 1; END", "choose another name"),
        ("CREATE TABLE kith__mine(a)", "choose another name"),
        ("CREATE TEMP TABLE kith__pending(a)", "choose another name"),
        ("CREATE INDEX i ON kith__meta(value)", "belongs to KithDB"),
        ("DROP INDEX kith__entries_waiting", "belongs to KithDB"),
    ];
    for (sql, reason) in cases {
        assert_eq!(db.fail(sql), "not authorized", "{sql}");
        let refusal = db.capture.take_refusal().expect(sql);
        assert!(refusal.message.contains(reason), "{sql}: {}", refusal.message);
    }
    db.run("ALTER TABLE u ADD COLUMN b; CREATE INDEX ti ON t(a); CREATE TRIGGER tt AFTER INSERT ON t BEGIN INSERT INTO u VALUES(new.a, 1); END; DROP INDEX ti");
    assert!(db.capture.needs_refresh());
    assert!(!db.capture.needs_refresh());
    // A trigger cannot reach what its user may not write.
    db.run("CREATE TRIGGER sneaky AFTER INSERT ON u BEGIN DELETE FROM kith__pending; END");
    assert_eq!(db.fail("INSERT INTO u VALUES(1, 2)"), "not authorized");
    assert!(db.fail("SELECT * FROM kith__nothing").contains("no such table"));
    assert_eq!(db.count("SELECT count(*) FROM kith__pending"), 0);
}

#[test]
fn suspended_and_internal_writes_are_not_told() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    {
        let _suspended = db.capture.suspend();
        db.run("INSERT INTO t VALUES(1, 1); BEGIN; UPDATE t SET a = 2; COMMIT");
    }
    {
        let _internal = db.capture.internal(&db.conn);
        db.run("INSERT INTO t VALUES(2, 2); UPDATE kith__meta SET value = 0");
    }
    db.run("INSERT INTO t VALUES(3, 3)");
    assert_eq!(db.told(), ["+t 3,3"]);
}

#[test]
fn tables_come_and_go() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(id INTEGER PRIMARY KEY)", &["t"]);
    db.run("INSERT INTO u VALUES(1)");
    let registry = Registry::new(vec![table_info(&db.conn, 7, "u", false)]);
    db.capture.set_tables(&db.conn, &registry).unwrap();
    db.capture.set_tables(&db.conn, &registry).unwrap();
    db.run("INSERT INTO u VALUES(2); INSERT INTO t VALUES(1, 1)");
    let db = Db { registry, ..db };
    assert_eq!(db.told(), ["+u 2"]);
    db.run("DROP TABLE t");
}

#[test]
fn commits_with_changes_are_announced_others_are_not() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(a)", &["t"]);
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    db.capture.set_commit_listener(Some(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })));
    db.run("INSERT INTO t VALUES(1, 1); BEGIN; UPDATE t SET a = 2; UPDATE t SET a = 3; COMMIT");
    assert_eq!(heard.load(Ordering::Relaxed), 2);
    db.run(
        "INSERT INTO u VALUES(1); BEGIN; UPDATE t SET a = 4; ROLLBACK; UPDATE t SET a = a; DELETE FROM t WHERE id = 9",
    );
    assert_eq!(heard.load(Ordering::Relaxed), 2);
}

#[test]
fn interrupted_transactions_leave_nothing() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    let handle = db.conn.get_interrupt_handle();
    db.conn
        .create_scalar_function("halt", 1, rusqlite::functions::FunctionFlags::SQLITE_UTF8, move |context| {
            let row: i64 = context.get(0)?;
            if row == 1 || row == 500 {
                handle.interrupt();
            }
            Ok(row)
        })
        .unwrap();
    for from in [1, 2] {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT halt(i), i FROM n"
        );
        assert_eq!(db.fail(&sql), "interrupted");
        assert!(db.conn.is_autocommit());
        db.run("BEGIN");
        assert_eq!(db.fail(&sql), "interrupted");
        assert!(db.conn.is_autocommit());
        assert_eq!(db.count("SELECT count(*) FROM t"), 0);
        assert!(db.told().is_empty());
    }
    db.run("INSERT INTO t VALUES(1, 1)");
    assert_eq!(db.told(), ["+t 1,1"]);
}

#[test]
fn full_disk_keeps_plain_errors() {
    let db = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    let pages = db.count("PRAGMA page_count");
    db.run(&format!("PRAGMA max_page_count = {}", pages + 15));
    // The row fits, its copy in the log does not.
    let error = db.conn.execute("INSERT INTO t VALUES(1, randomblob(40960))", []).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull), "{error}");
    assert_eq!(db.count("SELECT count(*) FROM t"), 0);
    assert!(db.told().is_empty());
    db.run("INSERT INTO t VALUES(1, 1)");
    assert_eq!(db.told(), ["+t 1,1"]);
}

#[test]
fn connection_closes_with_capture_before_or_after_it() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a)";
    let Db { conn, capture, .. } = Db::memory(schema, &["t"]);
    conn.execute_batch("INSERT INTO t VALUES(1, 1)").unwrap();
    drop(capture);
    conn.execute_batch("INSERT INTO t VALUES(2, 2)").unwrap();
    assert_eq!(conn.query_row("SELECT count(*) FROM kith__pending", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    conn.close().unwrap();

    let Db { conn, capture, .. } = Db::memory(schema, &["t"]);
    conn.execute_batch("BEGIN; INSERT INTO t VALUES(1, 1)").unwrap();
    conn.close().unwrap();
    let other = Connection::open_in_memory().unwrap();
    assert!(capture.set_tables(&other, &Registry::default()).is_err());
    assert_eq!(capture.total_changes(&other), 0);
}

#[test]
fn capture_may_move_to_another_thread_with_its_connection() {
    let Db { conn, capture, .. } = Db::memory("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"]);
    std::thread::spawn(move || {
        conn.execute_batch("INSERT INTO t VALUES(1, 1)").unwrap();
        assert_eq!(capture.changes(&conn), 1);
    })
    .join()
    .unwrap();
}

#[test]
fn connections_of_one_file_share_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let open = || {
        Db::on(
            Connection::open(&path).unwrap(),
            "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a)",
            &["t"],
            false,
        )
    };
    let (one, other) = (open(), open());
    for row in 0..20 {
        let db = if row % 3 == 0 { &one } else { &other };
        db.run(&format!("INSERT INTO t VALUES({row}, 1), ({}, 2)", row + 100));
    }
    // The decoding checks that clocks grow.
    assert_eq!(one.pending().len(), 20);
    assert_eq!(other.told(), one.told());
}

#[test]
fn panic_inside_fails_the_commit_and_nothing_else() {
    let conn = Connection::open_in_memory().unwrap();
    let db = Db::on(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)", &["t"], false);
    db.now.store(u64::MAX, Ordering::Relaxed);
    let message = db.fail("INSERT INTO t VALUES(1, 1)");
    assert!(message.contains("capture failed inside"), "{message}");
    assert_eq!(db.count("SELECT count(*) FROM t"), 0);
    db.now.store(1_700_000_000_000, Ordering::Relaxed);
    db.run("INSERT INTO t VALUES(2, 2)");
    assert_eq!(db.told(), ["+t 2,2"]);
}

#[test]
fn interrupt_while_enlisting_rolls_back_cleanly() {
    let schema =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, d); CREATE TABLE w(k TEXT PRIMARY KEY, d UNIQUE) WITHOUT ROWID;
        CREATE TABLE u(a); CREATE TABLE v(a); CREATE TRIGGER tr AFTER INSERT ON u BEGIN INSERT INTO t VALUES(new.a, 1); DELETE FROM w; END;
        INSERT INTO t VALUES(1, zeroblob(9)), (2, zeroblob(9)); INSERT INTO w VALUES('a', 1), ('b', 2)";
    let db = Db::on(Connection::open_in_memory().unwrap(), schema, &["t", "w"], false);
    let before = db.tables();
    for sql in [
        "INSERT INTO t VALUES(3, 3)",
        "INSERT INTO t VALUES(3, 3), (4, 4)",
        "REPLACE INTO t VALUES(1, 3)",
        "UPDATE t SET d = 5",
        "UPDATE t SET id = id + 10",
        "DELETE FROM t",
        "INSERT INTO w VALUES('c', 3)",
        "REPLACE INTO w VALUES('c', 2), ('d', 1)",
        "UPDATE w SET d = d + 10",
        "UPDATE OR REPLACE w SET k = 'b' WHERE k = 'a'",
        "DELETE FROM w WHERE d = 2",
        "INSERT INTO u VALUES(7)",
    ] {
        for begin in ["", "BEGIN", "BEGIN; INSERT INTO v VALUES(1); SAVEPOINT s"] {
            db.run(begin);
            db.capture.state.interrupts_enlisting.set(true);
            db.fail(sql);
            db.capture.state.interrupts_enlisting.set(false);
            let _ = db.conn.execute_batch("ROLLBACK");
            assert!(db.conn.is_autocommit());
            assert_eq!(db.tables(), before, "{begin}; {sql}");
            assert!(db.told().is_empty(), "{begin}; {sql}");
            let check: String = db.conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok", "{begin}; {sql}");
        }
    }
    db.run("INSERT INTO t VALUES(3, 3)");
    assert_eq!(db.told(), ["+t 3,3"]);
}
