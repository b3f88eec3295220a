//! Changesets of random programs, applied to a replica and to plain SQLite beside it: the same code, the same tables, and what was
//! applied arrives on a second replica.

use std::ffi::{c_char, c_int, c_void};

use kithdb_core::capture::ChangesetFormat;
use kithdb_core::error::{SyncTableError, TableError};
use kithdb_tests::pair;
use rusqlite::{Connection, ffi};

use crate::changesets::SqliteSession;
use crate::program::{Program, Step};
use crate::run::{dump, is_documented};
use crate::statement::run;

/// How a changeset was received.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Received {
    code: c_int,
    /// How often a conflict was asked about.
    conflicts: u64,
}

/// What came of a changeset.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub conflicts: u64,
    pub rows: u64,
}

/// Makes a changeset of a program and applies it; says what is not the same.
pub fn check(program: &Program, seed: u64) -> Result<Tally, String> {
    let source = Connection::open_in_memory().map_err(|error| error.to_string())?;
    set_up(&source, program);
    let changeset = record(&source, program);

    let plain = Connection::open_in_memory().map_err(|error| error.to_string())?;
    let mut replica = pair::found(None, seed);
    let mut reader = pair::join(&mut replica, seed.wrapping_add(1));
    for conn in [&plain, replica.conn()] {
        set_up(conn, program);
    }
    for table in &program.synced {
        match replica.sync_table(table) {
            Err(SyncTableError::Table(TableError::NullKeys { .. })) => return Ok(Tally::default()),
            outcome => drop(outcome.map_err(|error| error.to_string())?),
        }
    }
    // Rows that the changeset finds there.
    let inserts = |step: &&Step| matches!(step, Step::Sql(sql) if sql.starts_with("INSERT") && !sql.contains("side."));
    for step in program.steps.iter().rev().filter(inserts).take(2) {
        if let Step::Sql(sql) = step {
            for conn in [&plain, replica.conn()] {
                run(conn, sql, usize::MAX);
            }
        }
    }
    let [expected, found] = [&plain, replica.conn()].map(|conn| apply(conn, &changeset));
    if expected != found {
        let refused = replica.explain(rusqlite::Error::InvalidQuery).to_string();
        return if is_documented(&(found.code, refused.clone())) {
            Ok(Tally::default())
        } else {
            Err(format!("plain SQLite: {expected:?}, the replica: {found:?}, {refused}"))
        };
    }
    pair::deliver(&mut replica, &mut reader)?;
    let mut tally = Tally { conflicts: found.conflicts, rows: 0 };
    for table in &program.synced {
        let read = |conn: &Connection| dump(conn, table, false).map_err(|failure| failure.detail);
        let [expected, found, arrived] = [read(&plain)?, read(replica.conn())?, read(reader.conn())?];
        if expected != found || found != arrived {
            return Err(format!(
                "{table}: plain SQLite has {expected:?}, the replica {found:?}, the other {arrived:?}"
            ));
        }
        tally.rows += arrived.len() as u64;
    }
    Ok(tally)
}

fn set_up(conn: &Connection, program: &Program) {
    for sql in &program.setup {
        run(conn, sql, usize::MAX);
    }
}

/// Runs a program and returns what it changed.
fn record(source: &Connection, program: &Program) -> Vec<u8> {
    let session = SqliteSession::begin(source, "main", None);
    for step in &program.steps {
        if let Step::Sql(sql) = step {
            run(source, sql, usize::MAX);
        }
    }
    run(source, "COMMIT", usize::MAX);
    session.take(ChangesetFormat::Changeset).unwrap_or_default()
}

fn apply(conn: &Connection, changeset: &[u8]) -> Received {
    let mut received = Received::default();
    let length = c_int::try_from(changeset.len()).expect("a changeset is short");
    // SAFETY: the connection is open; SQLite only reads the bytes, and uses the context in calls of these two functions only.
    received.code = unsafe {
        ffi::sqlite3changeset_apply(
            conn.handle(),
            length,
            changeset.as_ptr().cast_mut().cast(),
            Some(wants),
            Some(resolve),
            (&raw mut received.conflicts).cast(),
        )
    };
    received
}

/// # Safety
/// To be called by SQLite with a table's name.
unsafe extern "C" fn wants(_: *mut c_void, table: *const c_char) -> c_int {
    // SAFETY: the name is a C string.
    c_int::from(unsafe { std::ffi::CStr::from_ptr(table) } != c"twin")
}

/// # Safety
/// To be called by SQLite with the count given in [`apply`].
unsafe extern "C" fn resolve(count: *mut c_void, kind: c_int, _: *mut ffi::sqlite3_changeset_iter) -> c_int {
    // SAFETY: the count outlives the call of `sqlite3changeset_apply`.
    unsafe { *count.cast::<u64>() += 1 };
    match kind {
        ffi::SQLITE_CHANGESET_DATA | ffi::SQLITE_CHANGESET_CONFLICT => ffi::SQLITE_CHANGESET_REPLACE,
        _ => ffi::SQLITE_CHANGESET_OMIT,
    }
}
