//! Sessions on plain databases and on replicas, and changesets applied to both.

use super::*;
use crate::open::OpenOptions;

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)";

struct Answer(i32);

impl Conflicts for Answer {
    fn wants(&mut self, _: &str) -> bool {
        true
    }

    fn resolve(&mut self, _: i32) -> i32 {
        self.0
    }
}

fn memory(sql: &str) -> Database {
    let database = Database::open(":memory:", &OpenOptions::default()).expect("opens");
    database.execute_batch(sql).expect("runs");
    database
}

/// A replica with every table of some SQL synced that can be.
fn replica(sql: &str) -> Database {
    let database = memory("");
    database.found(":memory:", "laptop", &OpenOptions::default()).expect("the workspace is founded");
    database.execute_batch(&format!("{sql}; SELECT kith_sync('*'); SELECT kith_unsync('*')")).expect("runs");
    database
}

fn number(database: &Database, sql: &str) -> i64 {
    let statement = database.prepare(sql).expect("compiles").0.expect("there is a statement");
    statement.step().expect("runs");
    match statement.column(0) {
        crate::ValueRef::Integer(value) => value,
        other => panic!("{other:?}"),
    }
}

/// Runs SQL on a plain database and on a replica and returns what their sessions made of it: changeset and patchset, equal on both.
fn recorded(schema: &str, sql: &str, table: Option<&str>) -> [Vec<u8>; 2] {
    let [plain, ours] = [memory(schema), replica(schema)].map(|database| {
        let session = database.create_session("main", table).expect("begins");
        database.execute_batch(sql).expect("runs");
        [session.changeset(), session.patchset()].map(|bytes| bytes.expect("is made"))
    });
    assert_eq!(ours, plain, "{sql}");
    plain
}

#[test]
fn changeset_makes_the_same_rows_elsewhere() {
    let (source, target) = (memory(TABLE), memory(TABLE));
    let session = source.create_session("main", None).expect("begins");
    source.execute_batch("INSERT INTO t VALUES(1, 'one')").expect("runs");
    let changeset = session.changeset().expect("is made");
    assert_eq!(target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT)), Ok(Applied::Whole));
    assert_eq!(target.total_changes(), 1);
    let again = target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT));
    assert_eq!(again, Ok(Applied::Aborted));
}

#[test]
fn session_ends_with_its_database() {
    for source in [memory(TABLE), replica(TABLE)] {
        let session = source.create_session("main", Some("t")).expect("begins");
        source.close().expect("closes");
        assert!(!session.is_open());
        session.close();
    }
}

#[test]
fn session_of_a_replica_ends_and_others_go_on() {
    let database = replica(TABLE);
    let [first, second] = [(); 2].map(|()| database.create_session("main", None).expect("begins"));
    database.execute_batch("INSERT INTO t VALUES(1, 'one')").expect("runs");
    first.close();
    assert_eq!(first.changeset().expect_err("has ended").code, ffi::SQLITE_MISUSE);
    database.execute_batch("INSERT INTO t VALUES(2, 'two')").expect("runs");
    let changeset = second.changeset().expect("is made");
    drop(second);
    database.execute_batch("INSERT INTO t VALUES(3, 'three')").expect("runs");
    let target = memory(TABLE);
    target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT)).expect("applies");
    assert_eq!(number(&target, "SELECT sum(id) FROM t"), 3);
    // Capture went on all the while.
    assert_eq!(number(&database, "SELECT count(*) FROM kith__pending"), 3);
}

#[test]
fn changesets_of_a_replica_are_sqlites() {
    let schema = "CREATE TABLE a(id INTEGER PRIMARY KEY, r REAL, s TEXT, b BLOB, n);
        CREATE TABLE two(x TEXT, y, z INT, PRIMARY KEY(z, x)) WITHOUT ROWID;
        CREATE TABLE made(id TEXT PRIMARY KEY, v INT, w AS (v + 1), u AS (v * 2) STORED, last);
        CREATE TABLE keyless(v);
        CREATE TABLE \"odd \"\"na'me\"(\"a \"\"b\" INTEGER PRIMARY KEY, \"c'd\");
        CREATE INDEX i ON a(s);
        INSERT INTO a VALUES(1, 1, 'one', x'01', 1.0), (2, 2.5, 'two', x'', NULL), (3, 3, NULL, NULL, 'three');
        INSERT INTO two VALUES('x', 1, 1), ('y', 2, 1)";
    let rows = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 700)";
    for sql in [
        "",
        "UPDATE a SET r = r, n = n; UPDATE a SET r = 9 WHERE id = 1; UPDATE a SET r = 1 WHERE id = 1",
        "UPDATE a SET id = id + 10; UPDATE a SET s = 'new' WHERE id = 11; DELETE FROM a WHERE id = 12; INSERT INTO a(id) VALUES(2)",
        "BEGIN; UPDATE a SET n = 5; SAVEPOINT s; DELETE FROM a; INSERT INTO a(id) VALUES(9); ROLLBACK TO s; COMMIT",
        "BEGIN; INSERT INTO a(id) VALUES(9); ROLLBACK; INSERT OR REPLACE INTO a(id, s) VALUES(1, 'replaced')",
        "UPDATE two SET y = y + 1; UPDATE two SET x = 'moved' WHERE x = 'y'; INSERT INTO two VALUES('y', zeroblob(3), 1)",
        "INSERT INTO made(id, v) VALUES('m', 1); UPDATE made SET v = 2; INSERT INTO made(id, v) VALUES('n', 1); DELETE FROM made WHERE id = 'n'",
        "INSERT INTO keyless VALUES(1); INSERT INTO \"odd \"\"na'me\" VALUES(1, 'x''y'); UPDATE \"odd \"\"na'me\" SET \"c'd\" = 5",
        "CREATE TRIGGER g AFTER INSERT ON a BEGIN UPDATE two SET y = new.id; END;
         INSERT INTO a(id) VALUES(4); UPDATE two SET y = 'direct' WHERE x = 'x'",
        "ANALYZE a; ANALYZE two; UPDATE sqlite_stat1 SET stat = '1' WHERE tbl = 'a'; INSERT INTO sqlite_stat1 VALUES('t', NULL, '7')",
        "CREATE TABLE late(id INTEGER PRIMARY KEY, v); INSERT INTO late VALUES(1, 1), (2, 2);
         ALTER TABLE late ADD COLUMN w DEFAULT 'w'; UPDATE late SET v = 3 WHERE id = 1; DELETE FROM late WHERE id = 2",
        &format!(
            "{rows} INSERT INTO a SELECT n + 5, n / 2.0, 's' || n, CAST(n AS BLOB), n FROM c; DELETE FROM a WHERE id % 3 = 0"
        ),
        &format!("{rows} INSERT INTO two SELECT 'x' || n, n, n % 7 FROM c; UPDATE two SET z = z + 1 WHERE y > 300"),
        &format!("{rows} INSERT INTO made(id, v) SELECT printf('%.*c', n, 'k'), n FROM c"),
    ] {
        let [changeset, patchset] = recorded(schema, sql, None);
        assert_eq!(
            (changeset.is_empty(), patchset.is_empty()),
            (sql.is_empty() || sql.contains("n = n"), changeset.is_empty())
        );
        recorded(schema, sql, Some("TWO"));
    }
}

#[test]
fn texts_of_a_database_in_utf_16_are_in_utf_8() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = "INSERT INTO k VALUES('ä', '日本', 1), ('b', 'ö', 2); UPDATE k SET v = 'ü' WHERE id = 'b'; DELETE FROM k WHERE id = 'ä'";
    let [plain, ours] = ["plain.db", "replica.db"].map(|name| {
        let path = directory.path().join(name).display().to_string();
        let database = Database::open(&path, &OpenOptions::default()).expect("opens");
        database
            .execute_batch("PRAGMA encoding = 'UTF-16'; CREATE TABLE k(id TEXT PRIMARY KEY, v TEXT, n); INSERT INTO k VALUES('old', 'é', 0)")
            .expect("runs");
        if name == "replica.db" {
            database.found(&path, "laptop", &OpenOptions::default()).expect("the workspace is founded");
            database.execute_batch("SELECT kith_sync('k')").expect("runs");
        }
        let session = database.create_session("main", None).expect("begins");
        database.execute_batch(&format!("{sql}; UPDATE k SET v = 'è', n = n WHERE id = 'old'")).expect("runs");
        [session.changeset(), session.patchset()].map(|bytes| bytes.expect("is made"))
    });
    assert_eq!(ours, plain);
    assert!(plain[0].windows(2).any(|bytes| bytes == "é".as_bytes()));
}

#[test]
fn session_of_a_replica_records_one_database() {
    let database = replica(TABLE);
    database.execute_batch(&format!("ATTACH ':memory:' AS side; {}", TABLE.replace(" t(", " side.t("))).expect("runs");
    let session = database.create_session("SIDE", None).expect("begins");
    database.execute_batch("INSERT INTO main.t VALUES(1, 'main'); INSERT INTO side.t VALUES(2, 'side')").expect("runs");
    let target = memory(TABLE);
    let changeset = session.changeset().expect("is made");
    target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT)).expect("applies");
    assert_eq!(number(&target, "SELECT sum(id) FROM t"), 2);
}

#[test]
fn table_that_no_longer_fits_fails_the_session_and_not_the_statement() {
    let [plain, ours] = [memory(TABLE), replica(TABLE)].map(|database| {
        database.execute_batch("CREATE TABLE late(id INTEGER PRIMARY KEY, v)").expect("runs");
        let session = database.create_session("main", None).expect("begins");
        database
            .execute_batch("INSERT INTO late VALUES(1, 1); DROP TABLE late; CREATE TABLE late(id PRIMARY KEY)")
            .expect("runs");
        let failures = [(); 2].map(|()| session.changeset().expect_err("does not fit").code);
        database.execute_batch("INSERT INTO late VALUES(1); INSERT INTO t VALUES(1, 'one')").expect("runs");
        (failures, session.patchset().expect_err("it stays so").code)
    });
    assert_eq!(plain, ([ffi::SQLITE_SCHEMA; 2], ffi::SQLITE_SCHEMA));
    assert_eq!(ours, plain);
}

#[test]
fn statistics_of_our_own_tables_are_in_no_changeset() {
    let schema = format!("{TABLE}; CREATE INDEX i ON t(body); INSERT INTO t VALUES(1, 'one')");
    let target = memory(&format!("{TABLE}; CREATE INDEX i ON t(body); ANALYZE; DELETE FROM sqlite_stat1"));
    let [changeset, _] = recorded(&schema, "ANALYZE", None);
    target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT)).expect("applies");
    assert_eq!(number(&target, "SELECT count(*) FROM sqlite_stat1"), 1);
}

#[test]
fn replica_records_changesets_that_are_applied_to_it() {
    let source = memory(TABLE);
    let session = source.create_session("main", None).expect("begins");
    source.execute_batch("INSERT INTO t VALUES(1, 'one'), (2, 'two')").expect("runs");
    let changeset = session.changeset().expect("is made");

    let replica = replica(TABLE);
    let recording = replica.create_session("main", None).expect("begins");
    assert_eq!(replica.apply_changeset(&changeset, &mut Answer(0)), Ok(Applied::Whole));
    assert_eq!(number(&replica, "SELECT count(*) FROM kith__pending"), 1);
    assert_eq!(recording.changeset().as_ref(), Ok(&changeset));
}

#[test]
fn changeset_of_our_own_tables_is_refused() {
    let source = memory("CREATE TABLE kith__meta(name TEXT PRIMARY KEY, value BLOB)");
    let session = source.create_session("main", None).expect("begins");
    source.execute_batch("INSERT INTO kith__meta VALUES('mine', 1)").expect("runs");
    let changeset = session.changeset().expect("is made");
    let replica = replica(TABLE);
    let refused = replica.apply_changeset(&changeset, &mut Answer(0)).expect_err("is refused");
    assert!(refused.message.contains("kith__meta belongs to KithDB"), "{refused}");
    assert_eq!(number(&replica, "SELECT count(*) FROM kith__meta WHERE name = 'mine'"), 0);
}
