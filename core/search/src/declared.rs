//! Virtual tables that are declared with CREATE VIRTUAL TABLE and keep something in the file: rusqlite's module, and what that lacks,
//! ALTER TABLE … RENAME and the subtypes of columns.
//!
//! Invariants:
//! 1. No panic leaves a method, which would end the process: it becomes an SQL error that names the module.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::vtab::{Module, UpdateVTab, VTab};
use rusqlite::{Connection, Error, ffi};

/// A virtual table of one connection.
pub(crate) trait Declared: UpdateVTab<'static> + 'static {
    /// The module's name.
    const NAME: &'static CStr;

    /// Changes the name of everything beside the table.
    fn rename(&self, new: &str) -> rusqlite::Result<()>;

    /// Returns the subtype of what a column shows; 0 if it has none.
    fn subtype(_cursor: &<Self as VTab<'static>>::Cursor, _column: c_int) -> u32 {
        0
    }
}

/// Makes an error of a virtual table.
pub(crate) fn error(message: impl Into<String>) -> Error {
    Error::ModuleError(message.into())
}

/// Runs what SQLite calls; a panic becomes an error that says in what.
pub(crate) fn guarded<T>(what: fmt::Arguments<'_>, call: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(error(format!("{what}: an internal error; please report it"))))
}

/// Reads a name that SQLite hands over.
pub(crate) fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a module known to a connection; SQLite keeps what it is registered with until the connection is closed.
///
/// # Errors
/// SQLite's.
pub(crate) fn register<T: Declared>(conn: &Connection, aux: T::Aux) -> rusqlite::Result<()> {
    let methods = const { &Methods::<T>::ALL };
    let kept = Box::into_raw(Box::new(aux)).cast::<c_void>();
    // SAFETY: the handle is open, name and methods are static, and the client data is what rusqlite's methods expect: a boxed `T::Aux`,
    // which `release` takes back when the connection is closed, and at once if the registration fails.
    let code = unsafe {
        ffi::sqlite3_create_module_v2(conn.handle(), T::NAME.as_ptr(), methods, kept, Some(release::<T::Aux>))
    };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(Error::SqliteFailure(ffi::Error::new(code), None)) }
}

struct Methods<T>(PhantomData<T>);

impl<T: Declared> Methods<T> {
    const OF_RUSQLITE: ffi::sqlite3_module = {
        let module = Module::<'static, T>::update_module();
        // SAFETY: `Module` is `repr(transparent)` over SQLite's own structure.
        unsafe { std::ptr::read((&raw const module).cast()) }
    };

    const ALL: ffi::sqlite3_module =
        ffi::sqlite3_module { xRename: Some(rename::<T>), xColumn: Some(column::<T>), ..Self::OF_RUSQLITE };
}

/// # Safety
/// To be called by SQLite with the client data given in [`register`].
unsafe extern "C" fn release<A>(kept: *mut c_void) {
    // SAFETY: `register` made the pointer with `Box::into_raw`, and SQLite gives it back once.
    let aux = unsafe { Box::from_raw(kept.cast::<A>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(aux)));
}

/// # Safety
/// To be called by SQLite with a cursor of this module and a context.
unsafe extern "C" fn column<T: Declared>(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    context: *mut ffi::sqlite3_context,
    place: c_int,
) -> c_int {
    let Some(of_rusqlite) = Methods::<T>::OF_RUSQLITE.xColumn else { return ffi::SQLITE_ERROR };
    // SAFETY: what SQLite hands over is handed on.
    let code = unsafe { of_rusqlite(cursor, context, place) };
    if code == ffi::SQLITE_OK {
        // SAFETY: rusqlite boxed a cursor of this type for SQLite, which passes it back; the context is alive for the call.
        unsafe {
            let subtype = T::subtype(&*cursor.cast::<<T as VTab<'static>>::Cursor>(), place);
            if subtype != 0 && ffi::sqlite3_vtab_nochange(context) == 0 {
                ffi::sqlite3_result_subtype(context, subtype);
            }
        }
    }
    code
}

/// # Safety
/// To be called by SQLite with a table of this module and a C string.
unsafe extern "C" fn rename<T: Declared>(table: *mut ffi::sqlite3_vtab, new: *const c_char) -> c_int {
    // SAFETY: rusqlite boxed a `T` for SQLite, which passes it back, and the name is a C string.
    let (known, new) = unsafe { (&*table.cast::<T>(), CStr::from_ptr(new)) };
    let Err(reason) = guarded(format_args!("{}", T::NAME.to_string_lossy()), || known.rename(&new.to_string_lossy()))
    else {
        return ffi::SQLITE_OK;
    };
    if let Ok(message) = CString::new(reason.to_string()) {
        // SAFETY: SQLite frees the message, which must come from its own allocator; it takes over what was there before.
        unsafe {
            ffi::sqlite3_free((*table).zErrMsg.cast());
            (*table).zErrMsg = ffi::sqlite3_mprintf(c"%s".as_ptr(), message.as_ptr());
        }
    }
    ffi::SQLITE_ERROR
}
