//! Proves once per process, on a database in memory, that the mechanism works on the SQLite that is linked.

use std::sync::{Arc, OnceLock};

use rusqlite::Connection;

use super::shape::{Column, Shape, Shapes};
use super::{Capture, CaptureError, Refusal};
use crate::pending;

/// One program and the kinds of changes that its commit must leave in `kith__pending`.
struct Case {
    name: &'static str,
    sql: &'static str,
    is_refused: bool,
    changes: &'static [u8],
}

const fn case(name: &'static str, sql: &'static str, changes: &'static [u8]) -> Case {
    Case { name, sql, is_refused: false, changes }
}

const I: u8 = pending::INSERT;
const U: u8 = pending::UPDATE;
const D: u8 = pending::DELETE;

const CASES: &[Case] = &[
    case("autocommit", "INSERT INTO t VALUES(1, 1)", &[I]),
    case("transaction", "BEGIN; INSERT INTO t VALUES(2, 2); UPDATE t SET a = 20 WHERE id = 2; COMMIT", &[I, U]),
    case("rollback", "BEGIN; INSERT INTO t VALUES(3, 3); ROLLBACK", &[]),
    case(
        "savepoint",
        "BEGIN; INSERT INTO t VALUES(4, 4); SAVEPOINT s; INSERT INTO t VALUES(5, 5); ROLLBACK TO s; DELETE FROM t WHERE id = 1; COMMIT",
        &[I, D],
    ),
    case(
        "savepoint before the first change",
        "SAVEPOINT s; INSERT INTO t VALUES(6, 6); ROLLBACK TO s; INSERT INTO t VALUES(7, 7); RELEASE s",
        &[I],
    ),
    case(
        "failing statement",
        "BEGIN; INSERT INTO t VALUES(8, 8); INSERT OR IGNORE INTO t VALUES(9, 9), (10, 8); COMMIT",
        &[I, I],
    ),
    Case {
        name: "aborted statement",
        sql: "BEGIN; INSERT INTO t VALUES(11, 11); INSERT INTO t VALUES(12, 12), (13, 11)",
        is_refused: true,
        changes: &[],
    },
    case("commit after an aborted statement", "COMMIT", &[I]),
    case("replace", "REPLACE INTO t VALUES(14, 11)", &[D, I]),
];

/// Runs the test, or returns its result from before.
pub(super) fn run() -> Result<(), CaptureError> {
    static RESULT: OnceLock<Result<(), String>> = OnceLock::new();
    let result = RESULT.get_or_init(|| test().unwrap_or_else(|error| Err(error.to_string())));
    result.clone().map_err(|detail| CaptureError::SelfTest { detail })
}

fn test() -> Result<Result<(), String>, CaptureError> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE);
         CREATE TABLE kith__meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
         CREATE TABLE kith__pending(n INTEGER PRIMARY KEY, first_clock, last_clock, continues, body)",
    )?;
    let capture = Capture::install_untested(&conn, Arc::new(|| 1_000_000))?;
    *capture.state.shapes.borrow_mut() = Shapes::new(vec![Shape {
        num: 1,
        name: "t".into(),
        width: Some(2),
        changed: None,
        columns: vec![Column { index: 0, is_real: false }, Column { index: 1, is_real: false }],
        key: vec![0],
        has_existing_rows: false,
        select: String::new(),
        without_rowid: false,
    }]);

    for Case { name, sql, is_refused, changes } in CASES {
        let before: i64 = conn.query_row("SELECT coalesce(max(n), 0) FROM kith__pending", [], |row| row.get(0))?;
        if conn.execute_batch(sql).is_err() != *is_refused {
            return Ok(Err(format!("{name}: the statement did not end as it does in plain SQLite")));
        }
        let mut select = conn.prepare("SELECT body FROM kith__pending WHERE n > ?1 ORDER BY n")?;
        let mut rows = select.query([before])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let kinds = kinds(row.get_ref(0)?.as_blob().unwrap_or_default());
            found.extend(kinds.unwrap_or_else(|_| vec![u8::MAX]));
        }
        if found != *changes {
            return Ok(Err(format!("{name}: expected changes {changes:?}, found {found:?}")));
        }
    }

    capture.state.refuses_to_enlist.set(true);
    let committed = conn.execute_batch("INSERT INTO t VALUES(99, 99)").is_ok();
    let is_there: bool = conn.query_row("SELECT EXISTS(SELECT 1 FROM t WHERE id = 99)", [], |row| row.get(0))?;
    let reason: Option<Refusal> = capture.take_refusal();
    if committed || is_there || reason.is_none() {
        return Ok(Err("a commit whose changes were not written was let through".into()));
    }
    capture.state.refuses_to_enlist.set(false);
    conn.execute_batch("INSERT INTO t VALUES(99, 99)")?;
    conn.close().map_err(|(_, error)| error)?;
    Ok(Ok(()))
}

/// Lists the kinds of the changes in a body that begins with the list of tables.
fn kinds(body: &[u8]) -> Result<Vec<u8>, kithdb_log::DecodeError> {
    let mut reader = kithdb_log::Reader::new(body);
    for _ in 0..reader.varint("number of tables")? {
        reader.varint("table number")?;
    }
    let mut change = pending::PendingChange::default();
    let mut kinds = Vec::new();
    while !reader.is_empty() {
        change.read(&mut reader, |_| Some((2, 1)))?;
        kinds.push(change.kind);
    }
    Ok(kinds)
}
