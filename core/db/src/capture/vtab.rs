//! The eponymous virtual tables: one whose transaction methods follow the user's transaction, one that notices the close.
//!
//! Invariants:
//! 1. The tables hold no rows; only being enlisted matters. They exist in no schema, so no DDL and no PRAGMA can lose them.
//! 2. No panic leaves these functions: in xSync it fails the commit.
//! 3. `kith__close` is used by no statement that lives on, so SQLite disconnects it first thing in a close, in time to finalise
//!    the statements that would otherwise keep the connection open.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, ffi};

use super::journal::Failure;
use super::state::State;
use super::{flush, reasons};

/// The statement that enlists the table.
pub(super) const ENLIST: &CStr = c"INSERT INTO kith__capture VALUES(NULL)";
/// The same, counted by SQLite as a given number of changed rows.
pub(super) const ENLIST_COUNTED: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT ?1) INSERT INTO kith__capture SELECT NULL FROM c";
/// The statement that makes SQLite connect the table that notices the close.
pub(super) const WATCH: &str = "SELECT 1 FROM kith__close";

const CAPTURE_NAME: &CStr = c"kith__capture";
const CLOSE_NAME: &CStr = c"kith__close";

/// What SQLite calls a virtual table, with our state behind it.
#[repr(C)]
struct Table {
    base: ffi::sqlite3_vtab,
    state: *const State,
}

const EMPTY: ffi::sqlite3_module = ffi::sqlite3_module {
    iVersion: 2,
    // Without xCreate a module is eponymous only: no CREATE VIRTUAL TABLE can name it.
    xCreate: None,
    xConnect: Some(connect),
    xBestIndex: Some(best_index),
    xDisconnect: Some(disconnect),
    xDestroy: Some(disconnect),
    xOpen: Some(open),
    xClose: Some(close),
    xFilter: Some(filter),
    xNext: Some(next),
    xEof: Some(eof),
    xColumn: Some(column),
    xRowid: Some(rowid),
    xUpdate: None,
    xBegin: None,
    xSync: None,
    xCommit: None,
    xRollback: None,
    xFindFunction: None,
    xRename: None,
    xSavepoint: None,
    xRelease: None,
    xRollbackTo: None,
    xShadowName: None,
    xIntegrity: None,
};

static CAPTURE: ffi::sqlite3_module = ffi::sqlite3_module {
    xUpdate: Some(update),
    xBegin: Some(begin),
    xSync: Some(sync),
    xCommit: Some(commit),
    xRollback: Some(rollback),
    xSavepoint: Some(savepoint),
    xRelease: Some(release),
    xRollbackTo: Some(rollback_to),
    ..EMPTY
};

static CLOSE: ffi::sqlite3_module =
    ffi::sqlite3_module { xDisconnect: Some(disconnect_last), xDestroy: Some(disconnect_last), ..EMPTY };

/// Registers both modules; SQLite keeps one reference to the state until the connection is closed.
pub(super) fn install(conn: &Connection, state: &Arc<State>) -> rusqlite::Result<()> {
    let kept = Arc::into_raw(Arc::clone(state)).cast_mut().cast::<c_void>();
    // SAFETY: the handle is open, names and modules are static, and the client data is a reference of its own to the state, which
    // `release_state` gives back: SQLite calls it when the connection is closed, and at once if the registration fails.
    super::check(unsafe {
        ffi::sqlite3_create_module_v2(
            conn.handle(),
            CAPTURE_NAME.as_ptr(),
            &raw const CAPTURE,
            kept,
            Some(release_state),
        )
    })?;
    // SAFETY: as above, without a reference of its own: SQLite keeps both modules equally long.
    super::check(unsafe {
        ffi::sqlite3_create_module_v2(conn.handle(), CLOSE_NAME.as_ptr(), &raw const CLOSE, kept, None)
    })
}

/// # Safety
/// To be called by SQLite with the client data given in [`install`].
unsafe extern "C" fn release_state(kept: *mut c_void) {
    // SAFETY: `install` made the pointer with `Arc::into_raw`, and SQLite gives it back once.
    let state = unsafe { Arc::from_raw(kept.cast_const().cast::<State>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || {
        state.is_closed.store(true, Ordering::Release);
        drop(state);
    }));
}

/// # Safety
/// `table` must be one that [`connect`] made.
unsafe fn state_of<'a>(table: *mut ffi::sqlite3_vtab) -> &'a State {
    // SAFETY: `connect` put the state there; it outlives the tables of its connection.
    unsafe { &*(*table.cast::<Table>()).state }
}

/// # Safety
/// To be called by SQLite with the client data given in [`install`].
unsafe extern "C" fn connect(
    db: *mut ffi::sqlite3,
    kept: *mut c_void,
    _: c_int,
    _: *const *const c_char,
    out: *mut *mut ffi::sqlite3_vtab,
    _: *mut *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes its connection and a place for the table; a zeroed `sqlite3_vtab` is what it expects there.
    unsafe {
        let code = ffi::sqlite3_declare_vtab(db, c"CREATE TABLE x(unused)".as_ptr());
        if code == ffi::SQLITE_OK {
            let table = Table { base: std::mem::zeroed(), state: kept.cast_const().cast() };
            *out = Box::into_raw(Box::new(table)).cast();
        }
        code
    }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made, for the last time.
unsafe extern "C" fn disconnect(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: `connect` made it with `Box::into_raw`.
    drop(unsafe { Box::from_raw(table.cast::<Table>()) });
    ffi::SQLITE_OK
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made, for the last time.
unsafe extern "C" fn disconnect_last(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: the table is still there.
    let state = unsafe { state_of(table) };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // Borrowed only while a statement of ours runs, which a close does not interrupt.
        if let Ok(mut inner) = state.inner.try_borrow_mut() {
            drop(inner.take());
            state.enlist.finalize();
            state.insert.finalize();
        }
    }));
    // SAFETY: as promised by our caller.
    unsafe { disconnect(table) }
}

/// Runs a transaction method; a panic becomes an error.
///
/// # Safety
/// `table` must be one that [`connect`] made.
unsafe fn run(table: *mut ffi::sqlite3_vtab, method: impl FnOnce(&State) -> Result<(), Failure>) -> c_int {
    // SAFETY: as promised by our caller.
    let state = unsafe { state_of(table) };
    let result = catch_unwind(AssertUnwindSafe(|| method(state))).unwrap_or_else(|_| Err(reasons::panicked()));
    let Err(failure) = result else { return ffi::SQLITE_OK };
    state.refuse(failure.message.clone());
    if let Ok(message) = CString::new(failure.message) {
        // SAFETY: SQLite frees the message, which must come from its own allocator; it takes over what was there before.
        unsafe {
            ffi::sqlite3_free((*table).zErrMsg.cast());
            (*table).zErrMsg = ffi::sqlite3_mprintf(c"%s".as_ptr(), message.as_ptr());
        }
    }
    failure.code
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn begin(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe {
        run(table, |state| {
            state.is_enlisted.set(true);
            #[cfg(test)]
            if state.interrupts_enlisting.get() {
                // The handle is open: SQLite is calling.
                ffi::sqlite3_interrupt(state.db);
            }
            Ok(())
        })
    }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn sync(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe { run(table, flush::flush) }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn commit(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe {
        run(table, |state| {
            let wrote = state.journal.borrow().flushed().is_some_and(|flushed| flushed.last >= flushed.first);
            state.end_transaction();
            if !state.is_ours() {
                state.currency.note_commit(state.db);
                state.note_clock(wrote);
            }
            if wrote {
                state.announce();
            }
            Ok(())
        })
    }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn rollback(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe {
        run(table, |state| {
            state.end_transaction();
            Ok(())
        })
    }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn savepoint(table: *mut ffi::sqlite3_vtab, depth: c_int) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe {
        run(table, |state| {
            state.journal.borrow_mut().open_savepoint(depth);
            Ok(())
        })
    }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn release(table: *mut ffi::sqlite3_vtab, depth: c_int) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe {
        run(table, |state| {
            state.journal.borrow_mut().release(depth);
            Ok(())
        })
    }
}

/// # Safety
/// To be called by SQLite with a table that [`connect`] made.
unsafe extern "C" fn rollback_to(table: *mut ffi::sqlite3_vtab, depth: c_int) -> c_int {
    // SAFETY: as promised by our caller.
    unsafe {
        run(table, |state| {
            state.journal.borrow_mut().roll_back_to(depth);
            Ok(())
        })
    }
}

unsafe extern "C" fn update(
    _: *mut ffi::sqlite3_vtab,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
    _: *mut ffi::sqlite3_int64,
) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn best_index(_: *mut ffi::sqlite3_vtab, _: *mut ffi::sqlite3_index_info) -> c_int {
    ffi::SQLITE_OK
}

/// # Safety
/// To be called by SQLite with a place for a cursor.
unsafe extern "C" fn open(_: *mut ffi::sqlite3_vtab, out: *mut *mut ffi::sqlite3_vtab_cursor) -> c_int {
    let cursor = ffi::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() };
    // SAFETY: as promised by our caller; `close` frees it.
    unsafe { *out = Box::into_raw(Box::new(cursor)) };
    ffi::SQLITE_OK
}

/// # Safety
/// To be called by SQLite with a cursor that [`open`] made, for the last time.
unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: `open` made it with `Box::into_raw`.
    drop(unsafe { Box::from_raw(cursor) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn filter(
    _: *mut ffi::sqlite3_vtab_cursor,
    _: c_int,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn next(_: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn eof(_: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    1
}

unsafe extern "C" fn column(_: *mut ffi::sqlite3_vtab_cursor, _: *mut ffi::sqlite3_context, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn rowid(_: *mut ffi::sqlite3_vtab_cursor, _: *mut ffi::sqlite3_int64) -> c_int {
    ffi::SQLITE_OK
}
