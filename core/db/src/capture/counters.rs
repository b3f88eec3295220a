//! Keeps what our own statements do out of `last_insert_rowid()`, `changes()` and `total_changes()`.
//!
//! Invariants:
//! 1. `total_changes()` as shown is SQLite's count minus what our statements added.
//! 2. A section of ours ends with a statement that changed at least one row, or leaves both of SQLite's counts alone. So as long
//!    as SQLite's two counts are those from the end of the section, no statement of the user has finished since: one that
//!    changes rows raises the total, one that changes none sets the count to 0.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use rusqlite::{Connection, ffi};

use super::state::State;

/// SQLite's counts after our last section, and what the user is to see while they stand.
#[derive(Debug, Clone, Copy)]
struct Marker {
    changes: i64,
    total: i64,
    shown: i64,
}

/// What the user sees, from before a section of ours.
#[derive(Debug)]
pub(super) struct Saved {
    rowid: i64,
    changes: i64,
    total: i64,
    shown: i64,
    /// What our statements had added to the total; a section inside this one is not to count twice.
    ours: i64,
}

impl Saved {
    /// Returns what `changes()` showed.
    pub(super) const fn shown(&self) -> i64 {
        self.shown
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counters {
    ours: Cell<i64>,
    marker: Cell<Option<Marker>>,
}

impl Counters {
    /// Returns what `changes()` is to show.
    pub(super) fn changes(&self, real: i64, total: i64) -> i64 {
        match self.marker.get() {
            Some(marker) if marker.changes == real && marker.total == total => marker.shown,
            _ => real,
        }
    }

    /// Returns what `total_changes()` is to show.
    pub(super) fn total_changes(&self, total: i64) -> i64 {
        total.wrapping_sub(self.ours.get())
    }

    /// Makes the connection look like one that has just been opened, whatever was done to found or join a workspace.
    pub(super) fn start(&self, conn: &Connection) {
        let (changes, total) = real_counts(conn);
        self.ours.set(total);
        self.marker.set((changes != 0).then_some(Marker { changes, total, shown: 0 }));
        set_last_insert_rowid(conn, 0);
    }

    /// Begins a section of statements of ours.
    pub(super) fn begin(&self, conn: &Connection) -> Saved {
        let (changes, total) = real_counts(conn);
        Saved {
            rowid: conn.last_insert_rowid(),
            changes,
            total,
            shown: self.changes(changes, total),
            ours: self.ours.get(),
        }
    }

    /// Ends the section.
    pub(super) fn end(&self, conn: &Connection, saved: &Saved) {
        let (mut changes, mut total) = real_counts(conn);
        if (changes, total) != (saved.changes, saved.total) {
            if changes == 0 && saved.shown != 0 && change_one_row(conn).is_ok() {
                (changes, total) = real_counts(conn);
            }
            self.ours.set(saved.ours.wrapping_add(total.wrapping_sub(saved.total)));
            self.marker.set((changes != 0 && changes != saved.shown).then_some(Marker {
                changes,
                total,
                shown: saved.shown,
            }));
        }
        set_last_insert_rowid(conn, saved.rowid);
    }
}

/// Changes exactly one row of a TEMP table: it takes no lock that another connection could see.
#[cold]
fn change_one_row(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS kith__changes(one INTEGER PRIMARY KEY); REPLACE INTO temp.kith__changes VALUES(1)",
    )
}

/// Reads SQLite's own counts: of the last statement, and in total.
pub(super) fn real_counts(conn: &Connection) -> (i64, i64) {
    // SAFETY: the handle is open as long as `conn` is borrowed, and both calls only read it.
    unsafe { (ffi::sqlite3_changes64(conn.handle()), ffi::sqlite3_total_changes64(conn.handle())) }
}

fn set_last_insert_rowid(conn: &Connection, rowid: i64) {
    // SAFETY: the handle is open as long as `conn` is borrowed.
    unsafe { ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) }
}

/// Replaces the SQL functions `changes()` and `total_changes()`.
///
/// # Safety
/// `state` must stay valid until the connection is closed.
pub(super) unsafe fn install_functions(conn: &Connection, state: *const State) -> rusqlite::Result<()> {
    type Function = unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);
    let functions: [(_, Function); 2] = [(c"changes", changes), (c"total_changes", total_changes)];
    for (name, function) in functions {
        // SAFETY: the handle is open, the name is a C string, and the caller keeps `state` valid for as long as the function is there.
        let code = unsafe {
            ffi::sqlite3_create_function_v2(
                conn.handle(),
                name.as_ptr(),
                0,
                ffi::SQLITE_UTF8 | ffi::SQLITE_INNOCUOUS,
                state.cast_mut().cast::<c_void>(),
                Some(function),
                None,
                None,
                None,
            )
        };
        super::check(code)?;
    }
    Ok(())
}

/// # Safety
/// To be called by SQLite as a function registered by [`install_functions`].
unsafe extern "C" fn changes(context: *mut ffi::sqlite3_context, _: c_int, _: *mut *mut ffi::sqlite3_value) {
    // SAFETY: SQLite passes the context of a call; the user data is the state given at registration, valid until the close.
    unsafe {
        let state = &*ffi::sqlite3_user_data(context).cast::<State>();
        let db = ffi::sqlite3_context_db_handle(context);
        let shown = state.counters.changes(ffi::sqlite3_changes64(db), ffi::sqlite3_total_changes64(db));
        ffi::sqlite3_result_int64(context, shown);
    }
}

/// # Safety
/// To be called by SQLite as a function registered by [`install_functions`].
unsafe extern "C" fn total_changes(context: *mut ffi::sqlite3_context, _: c_int, _: *mut *mut ffi::sqlite3_value) {
    // SAFETY: as in `changes`.
    unsafe {
        let state = &*ffi::sqlite3_user_data(context).cast::<State>();
        let db = ffi::sqlite3_context_db_handle(context);
        ffi::sqlite3_result_int64(context, state.counters.total_changes(ffi::sqlite3_total_changes64(db)));
    }
}
