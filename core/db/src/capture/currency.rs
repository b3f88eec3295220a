//! Whether what capture was told of the schema still holds when a transaction commits, and triggers switched off where they can be.
//!
//! Every synced table has triggers that note writes of other programs; they do nothing here, but SQLite opens a statement journal
//! for every single-row statement on a table with triggers (measured: 100,000 inserts took 560 ms instead of 400). So a connection
//! whose main schema has no other trigger runs with triggers switched off. TEMP triggers run all the same.
//!
//! Invariants:
//! 1. Triggers are switched on before a trigger is created or a database attached on this connection, and are never switched off
//!    inside a transaction, whose end may bring a trigger back.
//! 2. A transaction that wrote without capture knowing that the table is synced, or without a trigger that another connection has
//!    created, does not commit.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

use super::journal::Failure;
use super::reasons;
use super::state::State;
use crate::follow::TablesVersion;

const HAS_TRIGGERS: &str = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'trigger' AND name NOT LIKE 'kith\\_\\_dirty\\_%' ESCAPE '\\')";

/// What capture was told, and when.
#[derive(Debug, Default)]
pub(super) struct Currency {
    /// What the synced tables were read from; `None` before they were.
    expected: Cell<Option<TablesVersion>>,
    /// SQLite's own count of changes to the file at the last time that `expected` was found to hold.
    data_version: Cell<u32>,
    /// Whether `expected` was read inside a transaction and may have been rolled back.
    is_provisional: Cell<bool>,
    has_attached: Cell<bool>,
}

impl Currency {
    /// Takes over what the synced tables were read from, and switches triggers off if all of them are ours.
    pub(super) fn expect(&self, conn: &Connection, version: TablesVersion) -> rusqlite::Result<()> {
        self.expected.set(Some(version));
        // SAFETY: the handle is open as long as `conn` is borrowed.
        self.data_version.set(data_version(unsafe { conn.handle() }));
        self.is_provisional.set(!conn.is_autocommit());
        let are_all_ours =
            !self.has_attached.get() && !conn.prepare_cached(HAS_TRIGGERS)?.query_row([], |row| row.get(0))?;
        let are_off = are_triggers_off(conn)?;
        if are_all_ours != are_off && (conn.is_autocommit() || !are_all_ours) {
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, !are_all_ours)?;
        }
        Ok(())
    }

    /// Switches triggers on, from now on for good if another database is attached.
    ///
    /// The authorizer calls it while a statement is compiled. All it does there is set a flag of the connection and have other
    /// statements compiled again before they next run.
    pub(super) fn enable_triggers(&self, db: *mut ffi::sqlite3, attaches: bool) {
        self.has_attached.set(self.has_attached.get() || attaches);
        // SAFETY: the handle is open while its authorizer runs; the arguments are those of this option.
        unsafe {
            ffi::sqlite3_db_config(db, ffi::SQLITE_DBCONFIG_ENABLE_TRIGGER, 1 as c_int, std::ptr::null_mut::<c_int>());
        }
    }

    /// Tells whether the file has changed since the expectation was last found to hold; asks SQLite for one number.
    pub(super) fn is_in_doubt(&self, db: *mut ffi::sqlite3) -> bool {
        self.expected.get().is_some() && (self.is_provisional.get() || data_version(db) != self.data_version.get())
    }

    /// Notes that a transaction of this connection that was checked has changed the file.
    pub(super) fn note_commit(&self, db: *mut ffi::sqlite3) {
        self.data_version.set(data_version(db));
    }
}

/// Refuses the commit of a transaction that was written under outdated knowledge.
pub(super) fn check(state: &State, conn: &Connection) -> Result<(), Failure> {
    let currency = &state.currency;
    let Some(expected) = currency.expected.get().filter(|_| currency.is_in_doubt(state.db)) else { return Ok(()) };
    let found = TablesVersion::read(conn)?;
    let misses_trigger = are_triggers_off(conn)?
        && found.schema != expected.schema
        && conn.prepare_cached(HAS_TRIGGERS)?.query_row([], |row| row.get(0))?;
    if found.tables != expected.tables || misses_trigger {
        state.schema_touched.store(true, Ordering::Relaxed);
        return Err(reasons::tables_changed());
    }
    currency.expected.set(Some(found));
    Ok(())
}

/// Asks SQLite itself: VACUUM attaches a database of its own and then sets the connection's flags back to what they were.
fn are_triggers_off(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(!conn.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER)?)
}

/// Reads the number that SQLite changes with every change of the file that this connection has made or seen.
pub(super) fn data_version(db: *mut ffi::sqlite3) -> u32 {
    let mut version: u32 = 0;
    // SAFETY: the handle is open, and SQLite writes an unsigned 32-bit number to the place.
    unsafe {
        ffi::sqlite3_file_control(db, c"main".as_ptr(), ffi::SQLITE_FCNTL_DATA_VERSION, (&raw mut version).cast());
    }
    version
}
