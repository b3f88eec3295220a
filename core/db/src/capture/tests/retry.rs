//! A COMMIT that fails after the flush: retried, added to, rolled back to a savepoint, given up.

use rusqlite::{Connection, ErrorCode};

use super::harness::Db;

const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a)";

/// A database in a file with a rollback journal, where a reader keeps a COMMIT from getting its lock.
struct Contended {
    db: Db,
    reader: Connection,
    _folder: tempfile::TempDir,
}

impl Contended {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let conn = Connection::open(&path).unwrap();
        conn.busy_timeout(std::time::Duration::ZERO).unwrap();
        conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF").unwrap();
        let db = Db::on(conn, SCHEMA, &["t"], false);
        let reader = Connection::open(&path).unwrap();
        Self { db, reader, _folder: folder }
    }

    fn block(&self) {
        assert!(self.try_block());
    }

    /// Starts reading, unless a COMMIT that was BUSY keeps new readers out.
    fn try_block(&self) -> bool {
        self.reader.busy_timeout(std::time::Duration::ZERO).unwrap();
        self.reader.execute_batch("BEGIN").unwrap();
        let reads = self.reader.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).is_ok();
        if !reads {
            self.reader.execute_batch("ROLLBACK").unwrap();
        }
        reads
    }

    fn unblock(&self) {
        self.reader.execute_batch("COMMIT").unwrap();
    }

    fn commit_is_busy(&self, sql: &str) {
        let error = self.db.conn.execute_batch(sql).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy), "{error}");
        assert!(!self.db.conn.is_autocommit());
    }

    /// Checks what the reader's connection sees as committed.
    fn committed(&self, expected: &[&str]) {
        assert_eq!(self.db.told(), expected);
        let rows: i64 = self.reader.query_row("SELECT count(*) FROM kith__pending", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, self.db.count("SELECT count(*) FROM kith__pending"));
        assert_eq!(rows as usize, self.db.pending().iter().map(|transaction| transaction.rows).sum::<usize>());
    }
}

#[test]
fn retried_commit_writes_once() {
    let c = Contended::new();
    c.db.run("BEGIN; INSERT INTO t VALUES(1, 'a')");
    c.block();
    c.commit_is_busy("COMMIT");
    c.commit_is_busy("COMMIT");
    c.unblock();
    c.db.run("COMMIT");
    c.committed(&["+t 1,'a'"]);
    c.db.run("INSERT INTO t VALUES(2, 'b')");
    c.committed(&["+t 1,'a'", "+t 2,'b'"]);
}

#[test]
fn commit_retried_after_more_changes_is_one_transaction() {
    let c = Contended::new();
    c.db.run("BEGIN; INSERT INTO t VALUES(1, 'a')");
    c.block();
    c.commit_is_busy("COMMIT");
    c.db.run("INSERT INTO t VALUES(2, 'b')");
    c.commit_is_busy("COMMIT");
    c.unblock();
    c.db.run("DELETE FROM t WHERE id = 1; COMMIT");
    c.committed(&["+t 1,'a'", "+t 2,'b'", "-t 1,'a'"]);
    assert_eq!(c.db.pending().len(), 1);
}

#[test]
fn rollback_to_a_savepoint_from_before_the_flush_takes_the_flush_back() {
    let c = Contended::new();
    c.db.run("BEGIN; INSERT INTO t VALUES(1, 'a'); SAVEPOINT s; INSERT INTO t VALUES(2, 'b')");
    c.block();
    c.commit_is_busy("COMMIT");
    c.db.run("ROLLBACK TO s");
    c.unblock();
    c.db.run("COMMIT");
    c.committed(&["+t 1,'a'"]);
}

#[test]
fn rollback_to_a_savepoint_from_after_the_flush_keeps_it() {
    let c = Contended::new();
    c.db.run("BEGIN; INSERT INTO t VALUES(1, 'a')");
    c.block();
    c.commit_is_busy("COMMIT");
    c.db.run("SAVEPOINT s; INSERT INTO t VALUES(2, 'b')");
    c.commit_is_busy("COMMIT");
    c.db.run("ROLLBACK TO s");
    c.commit_is_busy("COMMIT");
    c.unblock();
    c.db.run("COMMIT");
    c.committed(&["+t 1,'a'"]);
}

#[test]
fn rollback_to_the_savepoint_before_everything_leaves_nothing() {
    let c = Contended::new();
    c.db.run("BEGIN; SAVEPOINT s; INSERT INTO t VALUES(1, 'a')");
    c.block();
    c.commit_is_busy("COMMIT");
    c.db.run("ROLLBACK TO s");
    c.unblock();
    c.db.run("COMMIT");
    c.committed(&[]);
}

#[test]
fn given_up_commit_leaves_nothing() {
    let c = Contended::new();
    c.db.run("BEGIN; INSERT INTO t VALUES(1, 'a')");
    c.block();
    c.commit_is_busy("COMMIT");
    c.unblock();
    c.db.run("ROLLBACK");
    c.committed(&[]);
    c.db.run("INSERT INTO t VALUES(1, 'c')");
    c.committed(&["+t 1,'c'"]);
}

#[test]
fn busy_autocommit_statement_is_undone_and_may_be_run_again() {
    let c = Contended::new();
    c.block();
    let error = c.db.conn.execute_batch("INSERT INTO t VALUES(1, 'a')").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    assert!(c.db.conn.is_autocommit());
    c.unblock();
    c.db.run("INSERT INTO t VALUES(1, 'a')");
    c.committed(&["+t 1,'a'"]);
}

#[test]
fn release_of_the_outermost_savepoint_may_be_retried() {
    let c = Contended::new();
    c.db.run("SAVEPOINT s; INSERT INTO t VALUES(1, 'a')");
    c.block();
    c.commit_is_busy("RELEASE s");
    c.db.run("INSERT INTO t VALUES(2, 'b')");
    c.commit_is_busy("RELEASE s");
    c.unblock();
    c.db.run("RELEASE s");
    c.committed(&["+t 1,'a'", "+t 2,'b'"]);
    assert_eq!(c.db.pending().len(), 1);

    c.db.run("SAVEPOINT s; INSERT INTO t VALUES(3, 'c')");
    c.block();
    c.commit_is_busy("RELEASE s");
    c.db.run("ROLLBACK TO s");
    c.unblock();
    c.db.run("RELEASE s");
    c.committed(&["+t 1,'a'", "+t 2,'b'"]);
}

#[test]
fn savepoint_opened_inside_the_outermost_one_keeps_its_place() {
    let c = Contended::new();
    c.db.run("SAVEPOINT a; SAVEPOINT b; INSERT INTO t VALUES(1, 'a'); SAVEPOINT c; INSERT INTO t VALUES(2, 'b')");
    c.block();
    c.commit_is_busy("RELEASE a");
    c.db.run("ROLLBACK TO c; INSERT INTO t VALUES(3, 'c'); RELEASE c");
    c.commit_is_busy("COMMIT");
    c.db.run("ROLLBACK TO b; INSERT INTO t VALUES(4, 'd')");
    c.unblock();
    c.db.run("RELEASE a");
    c.committed(&["+t 4,'d'"]);
}

#[test]
fn commit_refused_by_a_deferred_foreign_key_is_fixed_and_retried() {
    let schema = "PRAGMA foreign_keys = ON; CREATE TABLE p(id INTEGER PRIMARY KEY);
                  CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p DEFERRABLE INITIALLY DEFERRED)";
    let db = Db::memory(schema, &["p", "c"]);
    db.run("BEGIN; INSERT INTO c VALUES(1, 9)");
    assert_eq!(db.fail("COMMIT"), "FOREIGN KEY constraint failed");
    assert!(!db.conn.is_autocommit());
    db.run("INSERT INTO p VALUES(9); COMMIT");
    assert_eq!(db.told(), ["+c 1,9", "+p 9"]);
    assert_eq!(db.fail("INSERT INTO c VALUES(2, 8)"), "FOREIGN KEY constraint failed");
    assert_eq!(db.told().len(), 2);
}

#[test]
fn busy_upgrade_in_wal_mode_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let conn = Connection::open(&path).unwrap();
    conn.busy_timeout(std::time::Duration::ZERO).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    let db = Db::on(conn, SCHEMA, &["t"], false);
    let other = Connection::open(&path).unwrap();

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(db.fail("INSERT INTO t VALUES(1, 'a')"), "database is locked");
    other.execute_batch("ROLLBACK").unwrap();

    db.run("BEGIN");
    assert_eq!(db.count("SELECT count(*) FROM t"), 0);
    other.execute_batch("CREATE TABLE u(a); INSERT INTO u VALUES(1)").unwrap();
    // A snapshot that is no longer the newest cannot be written to.
    assert_eq!(db.fail("INSERT INTO t VALUES(2, 'b')"), "database is locked");
    db.run("ROLLBACK");
    db.run("INSERT INTO t VALUES(3, 'c')");
    assert_eq!(db.told(), ["+t 3,'c'"]);
}

#[test]
fn random_commits_under_contention_are_captured_exactly() {
    for seed in 0..60u64 {
        let c = Contended::new();
        let mut model = c.db.tables();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        let mut blocked = false;
        let mut read = 0;
        let mut log = Vec::new();
        for _ in 0..80 {
            let sql = match dice(13) {
                0..=2 => format!("INSERT OR IGNORE INTO t VALUES({}, {})", dice(9), dice(3)),
                3 => format!("REPLACE INTO t VALUES({}, {})", dice(9), dice(3)),
                4 => format!("UPDATE OR FAIL t SET id = id + 1, a = {} WHERE id > {}", dice(3), dice(9)),
                5 => format!("DELETE FROM t WHERE id = {}", dice(9)),
                6 => "BEGIN".into(),
                7 => format!("SAVEPOINT s{}", dice(3)),
                8 => format!("ROLLBACK TO s{}", dice(3)),
                9 => format!("RELEASE s{}", dice(3)),
                10 => if dice(4) == 0 { "ROLLBACK" } else { "COMMIT" }.into(),
                _ => {
                    if blocked {
                        c.unblock();
                        blocked = false;
                    } else {
                        blocked = c.try_block();
                    }
                    continue;
                }
            };
            let outcome = c.db.conn.execute_batch(&sql);
            log.push(format!("{sql}: {outcome:?} (blocked: {blocked})"));
            if c.db.conn.is_autocommit() {
                let transactions = c.db.pending_after(read);
                assert!(transactions.len() <= 1, "seed {seed}: {log:#?}");
                for transaction in &transactions {
                    model.replay(&c.db.registry, transaction);
                }
                assert_eq!(model, c.db.tables(), "seed {seed}: {log:#?}");
                read = c.db.count("SELECT coalesce(max(n), 0) FROM kith__pending");
            }
        }
    }
}
