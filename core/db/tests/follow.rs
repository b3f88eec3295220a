//! Capture keeps in step with which tables are synced: in SQL, after a rollback, and across connections.

use std::collections::BTreeSet;
use std::sync::Arc;

use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::seal::SealBudget;

fn memory() -> Replica {
    let replica = Replica::open_memory(InitOptions::new("here")).unwrap();
    replica
        .conn()
        .execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a); CREATE TABLE u(id TEXT PRIMARY KEY, a)")
        .unwrap();
    replica
}

#[track_caller]
fn check_pending(replica: &Replica, transactions: i64) {
    let found: i64 = replica.conn().query_row("SELECT count(*) FROM kith__pending", [], |row| row.get(0)).unwrap();
    assert_eq!(found, transactions);
}

#[test]
fn writes_right_after_kith_sync_are_captured() {
    let replica = memory();
    replica
        .conn()
        .execute_batch("SELECT kith_sync('t'); INSERT INTO t VALUES('a', 1); INSERT INTO u VALUES('a', 1)")
        .unwrap();
    check_pending(&replica, 1);
    replica.conn().execute_batch("BEGIN; SELECT kith_sync('u'); INSERT INTO u VALUES('b', 1); COMMIT").unwrap();
    check_pending(&replica, 2);
    replica.conn().execute_batch("SELECT kith_unsync('t'); INSERT INTO t VALUES('b', 1)").unwrap();
    check_pending(&replica, 2);
}

#[test]
fn rolled_back_kith_sync_leaves_nothing_behind() {
    let mut replica = memory();
    replica.execute_batch("BEGIN; SELECT kith_sync('t'); INSERT INTO t VALUES('a', 1); ROLLBACK").unwrap();
    assert!(replica.is_stale());
    replica.execute_batch("INSERT INTO t VALUES('a', 1)").unwrap();
    assert!(!replica.is_stale());
    check_pending(&replica, 0);
    // Another table may get the number that was rolled back.
    replica.execute_batch("SELECT kith_sync('u'); INSERT INTO t VALUES('b', 1); INSERT INTO u VALUES('b', 1)").unwrap();
    check_pending(&replica, 1);
}

#[test]
fn number_that_was_rolled_back_is_never_written_to_the_log() {
    let mut replica = memory();
    let batch = "BEGIN; SELECT kith_sync('t'); ROLLBACK; INSERT INTO t VALUES('a', 1)";
    // Nobody read the registry again after the ROLLBACK, so the commit is refused rather than recorded wrongly.
    let error = replica.execute_batch(batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "which tables are synced was changed by another connection or rolled back; run the transaction again"
    );
    check_pending(&replica, 0);
    replica.execute_batch("INSERT INTO t VALUES('a', 1)").unwrap();
    check_pending(&replica, 0);
    let error = replica.execute_batch(
        "BEGIN; SAVEPOINT s; SELECT kith_sync('t'); ROLLBACK TO s; INSERT INTO t VALUES('b', 1); COMMIT",
    );
    assert!(error.is_err());
    replica.execute_batch("INSERT INTO t VALUES('b', 1)").unwrap();
    check_pending(&replica, 0);
}

#[test]
fn table_synced_by_another_process_is_captured_from_the_next_statement() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut one = Replica::init(&path, InitOptions::new("here")).unwrap();
    one.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
    let mut two = Replica::open(&path, OpenOptions::default()).unwrap();
    two.execute_batch("SELECT kith_sync('t')").unwrap();
    one.execute("INSERT INTO t VALUES('a', 1)", []).unwrap();
    check_pending(&one, 1);
    two.execute_batch("SELECT kith_unsync('t')").unwrap();
    one.execute("INSERT INTO t VALUES('b', 1)", []).unwrap();
    check_pending(&one, 1);
}

const REFUSED: &str =
    "which tables are synced was changed by another connection or rolled back; run the transaction again";

/// Two connections of one file with tables `t` and `u`.
fn pair(dir: &tempfile::TempDir) -> (Replica, Replica) {
    let path = dir.path().join("a.db");
    let mut one = Replica::init(&path, InitOptions::new("here")).unwrap();
    one.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a); CREATE TABLE u(id TEXT PRIMARY KEY, a)").unwrap();
    let two = Replica::open(&path, OpenOptions::default()).unwrap();
    (one, two)
}

fn count(replica: &Replica, table: &str) -> i64 {
    replica.conn().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn write_under_outdated_knowledge_does_not_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = pair(&dir);
    two.execute_batch("SELECT kith_sync('t')").unwrap();
    // The application's own use of the connection, without a look at the registry in between.
    for sql in ["INSERT INTO t VALUES('a', 1)", "BEGIN; INSERT INTO t VALUES('a', 1); COMMIT"] {
        assert_eq!(one.conn().execute_batch(sql).unwrap_err().to_string(), REFUSED);
        assert!(one.is_stale());
        assert!(one.conn().is_autocommit());
    }
    one.execute_batch("INSERT INTO t VALUES('a', 1)").unwrap();
    check_pending(&one, 1);
    assert_eq!((count(&one, "t"), count(&one, "kith__dirty")), (1, 0));
}

#[test]
fn commits_of_others_that_change_no_table_refuse_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = pair(&dir);
    one.execute_batch("SELECT kith_sync('t')").unwrap();
    two.execute_batch("INSERT INTO t VALUES('b', 1)").unwrap();
    for n in 0..5 {
        two.conn().execute("INSERT INTO u VALUES(?1, 1)", [n]).unwrap();
        two.conn().execute_batch(&format!("CREATE TABLE n{n}(a); INSERT INTO n{n} VALUES(1)")).unwrap();
        one.conn().execute("INSERT INTO t VALUES(?1, 1)", [n]).unwrap();
        one.conn().execute("UPDATE u SET a = 2", []).unwrap();
    }
    check_pending(&one, 6);
}

#[test]
fn no_tick_of_the_clock_is_handed_out_twice_by_two_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let stands_still = || OpenOptions { clock: Arc::new(|| 1_700_000_000_000), ..OpenOptions::default() };
    let mut one = Replica::init(&path, InitOptions { open: stands_still(), ..InitOptions::new("here") }).unwrap();
    one.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a); SELECT kith_sync('t')").unwrap();
    let mut two = Replica::open(&path, stands_still()).unwrap();
    let (mut known, mut greatest) = (BTreeSet::new(), 0);
    for (turn, insert) in ["1", "2", "11", "2221", "12", "1S1", "21", "1r1", "1", "2R2"].iter().enumerate() {
        for who in insert.chars() {
            let (conn, sql) = match who {
                '1' => (&mut one, "INSERT INTO t(a) VALUES(1), (2)"),
                '2' => (&mut two, "INSERT INTO t(a) VALUES(1)"),
                'S' => {
                    (&mut one, "BEGIN; INSERT INTO t(a) VALUES(3); SELECT kith_sync('t'); UPDATE t SET a = 4; COMMIT")
                }
                'r' => (&mut one, "BEGIN; INSERT INTO t(a) VALUES(5); ROLLBACK"),
                _ => (&mut two, "BEGIN; INSERT INTO t(a) VALUES(5), (6); ROLLBACK"),
            };
            conn.execute_batch(sql).unwrap_or_else(|error| panic!("turn {turn}, {who}: {error}"));
            let ticks = "SELECT first_clock, last_clock FROM kith__pending ORDER BY n";
            let ticks: Vec<(i64, i64)> = one.query(ticks, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            for &(first, last) in ticks.iter().filter(|ticks| !known.contains(*ticks)) {
                assert!(first > greatest, "turn {turn}, {who}: {first} after {greatest}");
                greatest = last;
            }
            known = ticks.iter().copied().collect();
            assert_eq!(known.len(), ticks.len(), "turn {turn}, {who}");
        }
        if turn % 3 == 2 {
            while two.seal(SealBudget::default()).unwrap().more {}
        }
    }
}

#[test]
fn triggers_of_the_application_fire_from_the_moment_they_exist() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = pair(&dir);
    one.execute_batch("SELECT kith_sync('t'); CREATE TABLE seen(by, id)").unwrap();
    let create = |name: &str| {
        format!("CREATE TRIGGER {name} AFTER INSERT ON t BEGIN INSERT INTO seen VALUES('{name}', new.id); END;")
    };
    one.conn().execute_batch(&format!("{} INSERT INTO t VALUES('a', 1)", create("first"))).unwrap();
    assert_eq!(count(&one, "seen"), 1);
    one.conn().execute_batch("BEGIN; DROP TRIGGER first").unwrap();
    one.reload_registry().unwrap();
    one.conn().execute_batch("ROLLBACK; INSERT INTO t VALUES('b', 1)").unwrap();
    assert_eq!(count(&one, "seen"), 2);
    one.execute_batch("DROP TRIGGER first").unwrap();
    one.execute_batch(&format!("BEGIN; {} INSERT INTO t VALUES('c', 1); COMMIT", create("second"))).unwrap();
    assert_eq!(count(&one, "seen"), 3);
    one.execute_batch("DROP TRIGGER second").unwrap();
    one.reload_registry().unwrap();
    // Created by another connection: the first write here that would miss it does not commit.
    one.conn().execute_batch("INSERT INTO t VALUES('d', 1)").unwrap();
    two.execute_batch(&create("third")).unwrap();
    assert_eq!(one.conn().execute_batch("INSERT INTO t VALUES('e', 1)").unwrap_err().to_string(), REFUSED);
    one.execute_batch("INSERT INTO t VALUES('e', 1)").unwrap();
    assert_eq!(count(&one, "seen"), 4);
    let by: Vec<String> = one.query("SELECT by FROM seen ORDER BY rowid", [], |row| row.get(0)).unwrap();
    assert_eq!(by, ["first", "first", "second", "third"]);
}

#[test]
fn triggers_of_attached_databases_and_views_and_temp_triggers_fire() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, _) = pair(&dir);
    one.execute_batch("SELECT kith_sync('t'); CREATE TABLE seen(id)").unwrap();
    one.execute_batch("CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN INSERT INTO seen VALUES(new.id); END").unwrap();
    one.execute_batch("INSERT INTO t VALUES('a', 1)").unwrap();
    assert_eq!(count(&one, "seen"), 1);
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE o(a); CREATE TABLE log(a); CREATE TRIGGER x AFTER INSERT ON o BEGIN INSERT INTO log VALUES(1); END")
        .unwrap();
    one.execute("ATTACH ?1 AS other", [other.display().to_string()]).unwrap();
    one.execute_batch("INSERT INTO other.o VALUES(1)").unwrap();
    assert_eq!(count(&one, "other.log"), 1);
    // A trigger in a nameless database, too, and VACUUM, which attaches one, changes nothing.
    let mut three = Replica::open(dir.path().join("a.db"), OpenOptions::default()).unwrap();
    three
        .execute_batch(
            "VACUUM; ATTACH '' AS n; CREATE TABLE n.o(a); CREATE TABLE n.log(a);
             CREATE TRIGGER n.x AFTER INSERT ON o BEGIN INSERT INTO log VALUES(1); END; INSERT INTO n.o VALUES(1)",
        )
        .unwrap();
    three.execute_batch("VACUUM; INSERT INTO n.o VALUES(1)").unwrap();
    assert_eq!(count(&three, "n.log"), 2);
    three.close().unwrap();
    let mut two = Replica::open(dir.path().join("a.db"), OpenOptions::default()).unwrap();
    two.conn()
        .execute_batch(
            "CREATE VIEW v AS SELECT id FROM t;
             CREATE TRIGGER w INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES(new.id, 2); END;
             INSERT INTO v VALUES('through the view')",
        )
        .unwrap();
    check_pending(&two, 2);
    two.execute_batch("INSERT INTO v VALUES('again')").unwrap();
    check_pending(&two, 3);
}

#[test]
fn definitions_of_synced_tables_are_guarded() {
    let mut replica = memory();
    replica.execute_batch("SELECT kith_sync('t')").unwrap();
    for sql in ["DROP TABLE t", "ALTER TABLE t ADD COLUMN b", "DROP TRIGGER kith__dirty_1_i", "DELETE FROM kith__meta"]
    {
        let error = replica.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("kith"), "{sql}: {error}");
    }
    replica.execute_batch("DROP TABLE u; CREATE TABLE u(a); ALTER TABLE u ADD COLUMN b").unwrap();
    replica.execute_batch("INSERT INTO t VALUES('a', 1)").unwrap();
    check_pending(&replica, 1);
    let error = replica.execute("INSERT INTO t VALUES(NULL, 1)", []).unwrap_err().to_string();
    assert!(error.contains("NULL in its PRIMARY KEY"), "{error}");
}

#[test]
fn kith_sync_is_invisible_in_the_counters() {
    let replica = memory();
    let counters = |replica: &Replica| -> (i64, i64, i64) {
        replica
            .conn()
            .query_row("SELECT last_insert_rowid(), changes(), total_changes()", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap()
    };
    replica.conn().execute_batch("INSERT INTO t VALUES('a', 1), ('b', 2)").unwrap();
    let before = counters(&replica);
    replica.conn().execute_batch("SELECT kith_sync('t'); SELECT kith_unsync('t')").unwrap();
    assert_eq!(counters(&replica), before);
}

#[test]
fn new_replica_looks_like_a_connection_just_opened() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Replica::open_memory(InitOptions::new("here")).unwrap();
    let file = Replica::init(dir.path().join("a.db"), InitOptions::new("here")).unwrap();
    for replica in [memory, file] {
        let counters: (i64, i64, i64) = replica
            .conn()
            .query_row("SELECT last_insert_rowid(), changes(), total_changes()", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(counters, (0, 0, 0));
    }
}
