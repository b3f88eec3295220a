//! Capture keeps in step with which tables are synced: in SQL, after a rollback, and across connections.

use kithdb_core::replica::{InitOptions, OpenOptions, Replica};

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

#[test]
fn connection_that_was_not_told_leaves_a_note_and_then_captures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut one = Replica::init(&path, InitOptions::new("here")).unwrap();
    one.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
    let mut two = Replica::open(&path, OpenOptions::default()).unwrap();
    two.execute_batch("SELECT kith_sync('t')").unwrap();
    // The application's own use of the connection, without a look at the registry in between.
    one.conn()
        .execute_batch("INSERT INTO t VALUES('noted', 1), ('captured', 1); INSERT INTO t VALUES('too', 1)")
        .unwrap();
    check_pending(&one, 2);
    let noted: Vec<String> = two.query("SELECT rowkey FROM kith__dirty", [], |row| row.get(0)).unwrap();
    assert_eq!(noted, ["noted"]);
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
