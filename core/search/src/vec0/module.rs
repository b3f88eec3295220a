//! The module `vec0` as SQLite knows it: rusqlite's, and what that lacks: ALTER TABLE … RENAME, and the subtypes of embeddings.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::vtab::Module;
use rusqlite::{Connection, ffi};

use super::cursor::Cursor;
use super::table::Table;
use crate::vector::rowid_index::Indexes;

const NAME: &CStr = c"vec0";

const OF_RUSQLITE: Module<'static, Table> = Module::update_module();

// SAFETY: `Module` is `repr(transparent)` over SQLite's own structure.
const METHODS: ffi::sqlite3_module =
    unsafe { std::mem::transmute::<Module<'static, Table>, ffi::sqlite3_module>(OF_RUSQLITE) };

static MODULE: ffi::sqlite3_module = ffi::sqlite3_module { xRename: Some(rename), xColumn: Some(column), ..METHODS };

/// Registers the module; SQLite keeps one reference to the registry until the connection is closed.
pub(super) fn register(conn: &Connection, indexes: &Indexes) -> rusqlite::Result<()> {
    let kept = Box::into_raw(Box::new(Arc::clone(indexes))).cast::<c_void>();
    // SAFETY: the handle is open, name and module are static, and the client data is what rusqlite's methods expect: a boxed
    // `Table::Aux`, which `release` takes back when the connection is closed, and at once if the registration fails.
    let code =
        unsafe { ffi::sqlite3_create_module_v2(conn.handle(), NAME.as_ptr(), &raw const MODULE, kept, Some(release)) };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)) }
}

/// # Safety
/// To be called by SQLite with the client data given in [`register`].
unsafe extern "C" fn release(kept: *mut c_void) {
    // SAFETY: `register` made the pointer with `Box::into_raw`, and SQLite gives it back once.
    let indexes = unsafe { Box::from_raw(kept.cast::<Indexes>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(indexes)));
}

/// # Safety
/// To be called by SQLite with a cursor of this module and a context.
unsafe extern "C" fn column(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    context: *mut ffi::sqlite3_context,
    place: c_int,
) -> c_int {
    let Some(of_rusqlite) = METHODS.xColumn else { return ffi::SQLITE_ERROR };
    // SAFETY: what SQLite hands over is handed on.
    let code = unsafe { of_rusqlite(cursor, context, place) };
    if code == ffi::SQLITE_OK {
        // SAFETY: rusqlite boxed a `Cursor` for SQLite, which passes it back; the context is alive for the call.
        unsafe {
            let subtype = (*cursor.cast::<Cursor<'_>>()).subtype(place);
            if subtype != 0 && ffi::sqlite3_vtab_nochange(context) == 0 {
                ffi::sqlite3_result_subtype(context, subtype);
            }
        }
    }
    code
}

/// # Safety
/// To be called by SQLite with a table of this module and a C string.
unsafe extern "C" fn rename(table: *mut ffi::sqlite3_vtab, new: *const c_char) -> c_int {
    // SAFETY: rusqlite boxed a `Table` for SQLite, which passes it back, and the name is a C string.
    let (known, new) = unsafe { (&*table.cast::<Table>(), CStr::from_ptr(new)) };
    let result = catch_unwind(AssertUnwindSafe(|| known.rename(&new.to_string_lossy())));
    let message = match result {
        Ok(Ok(())) => return ffi::SQLITE_OK,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "vec0: an internal error; please report it".to_owned(),
    };
    if let Ok(message) = CString::new(message) {
        // SAFETY: SQLite frees the message, which must come from its own allocator; it takes over what was there before.
        unsafe {
            ffi::sqlite3_free((*table).zErrMsg.cast());
            (*table).zErrMsg = ffi::sqlite3_mprintf(c"%s".as_ptr(), message.as_ptr());
        }
    }
    ffi::SQLITE_ERROR
}
