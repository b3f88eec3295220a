//! The module `kith_vector` as SQLite knows it: rusqlite's, and the method for ALTER TABLE … RENAME that it lacks.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::vtab::Module;
use rusqlite::{Connection, ffi};

use super::table::{Held, Table};

const NAME: &CStr = c"kith_vector";

const OF_RUSQLITE: Module<'static, Table> = Module::update_module();

static MODULE: ffi::sqlite3_module = ffi::sqlite3_module {
    xRename: Some(rename),
    // SAFETY: `Module` is `repr(transparent)` over SQLite's own structure.
    ..unsafe { std::mem::transmute::<Module<'static, Table>, ffi::sqlite3_module>(OF_RUSQLITE) }
};

/// Registers the module; SQLite keeps one reference to the registry until the connection is closed.
pub(super) fn register(conn: &Connection, held: &Arc<Held>) -> rusqlite::Result<()> {
    let kept = Box::into_raw(Box::new(Arc::clone(held))).cast::<c_void>();
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
    let held = unsafe { Box::from_raw(kept.cast::<Arc<Held>>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(held)));
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
        Err(_) => "kith_vector: an internal error; please report it".to_owned(),
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
