//! A statement that outlives the call in which it was prepared, as a cursor needs one; `rusqlite::Statement` borrows its connection.
//!
//! Invariant: whoever keeps a [`Prepared`] belongs to a virtual table of the same connection, which SQLite disconnects before it closes
//! the connection; so the handle is open for as long as the statement is.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use rusqlite::ffi;
use rusqlite::types::ValueRef;

/// See the module.
#[derive(Debug)]
pub(super) struct Prepared {
    statement: NonNull<ffi::sqlite3_stmt>,
}

impl Prepared {
    /// Compiles one statement, which may not use virtual tables: a view could otherwise ask for the graph that it is an edge table of.
    ///
    /// # Safety
    /// The handle must be open, and stay so until the statement is dropped; it may be used on this thread only.
    pub(super) unsafe fn new(db: *mut ffi::sqlite3, sql: &str) -> rusqlite::Result<Self> {
        let mut statement = ptr::null_mut();
        let length = c_int::try_from(sql.len())
            .map_err(|_| rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_TOOBIG), None))?;
        let flags = ffi::SQLITE_PREPARE_PERSISTENT | ffi::SQLITE_PREPARE_NO_VTAB;
        // SAFETY: the handle is open, as promised; the text is as long as said, and `statement` a place for the result.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(db, sql.as_ptr().cast(), length, flags, &raw mut statement, ptr::null_mut())
        };
        if code != ffi::SQLITE_OK {
            // SAFETY: the handle is open.
            return Err(unsafe { failure(db, code) });
        }
        NonNull::new(statement).map(|statement| Self { statement }).ok_or(rusqlite::Error::InvalidQuery)
    }

    /// Binds a value, which SQLite copies.
    #[inline]
    pub(super) fn bind(&self, index: c_int, value: ValueRef<'_>) -> rusqlite::Result<()> {
        let statement = self.statement.as_ptr();
        // SAFETY: the statement is alive; bytes are read during the call only.
        let code = unsafe {
            match value {
                ValueRef::Null => ffi::sqlite3_bind_null(statement, index),
                ValueRef::Integer(number) => ffi::sqlite3_bind_int64(statement, index, number),
                ValueRef::Real(number) => ffi::sqlite3_bind_double(statement, index, number),
                ValueRef::Text(text) => ffi::sqlite3_bind_text64(
                    statement,
                    index,
                    text.as_ptr().cast(),
                    text.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    ffi::SQLITE_UTF8 as u8,
                ),
                ValueRef::Blob([]) => ffi::sqlite3_bind_zeroblob(statement, index, 0),
                ValueRef::Blob(blob) => ffi::sqlite3_bind_blob64(
                    statement,
                    index,
                    blob.as_ptr().cast(),
                    blob.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                ),
            }
        };
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.failed(code)) }
    }

    /// Goes on to the next row; tells whether there is one. A statement that has ended or failed is ready to be run again.
    #[inline]
    pub(super) fn step(&self) -> rusqlite::Result<bool> {
        // SAFETY: the statement is alive.
        match unsafe { ffi::sqlite3_step(self.statement.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => {
                self.reset();
                Ok(false)
            }
            code => {
                let error = self.failed(code);
                self.reset();
                Err(error)
            }
        }
    }

    /// Ends the run; bound values stay.
    #[inline]
    pub(super) fn reset(&self) {
        // SAFETY: the statement is alive. The code repeats what `step` said.
        unsafe { ffi::sqlite3_reset(self.statement.as_ptr()) };
    }

    /// Reads a column of the current row; the value is valid until the statement runs on.
    #[inline]
    pub(super) fn value(&self, column: c_int) -> ValueRef<'_> {
        let statement = self.statement.as_ptr();
        // SAFETY: the statement is alive and on a row. Bytes belong to it until its next step; `step` and `reset` take a shared
        // reference, so callers copy what they keep. A pointer that is null has no bytes.
        unsafe {
            match ffi::sqlite3_column_type(statement, column) {
                ffi::SQLITE_INTEGER => ValueRef::Integer(ffi::sqlite3_column_int64(statement, column)),
                ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_column_double(statement, column)),
                ffi::SQLITE_TEXT => {
                    let text = ffi::sqlite3_column_text(statement, column);
                    ValueRef::Text(bytes(text.cast(), ffi::sqlite3_column_bytes(statement, column)))
                }
                ffi::SQLITE_BLOB => {
                    let blob = ffi::sqlite3_column_blob(statement, column);
                    ValueRef::Blob(bytes(blob.cast(), ffi::sqlite3_column_bytes(statement, column)))
                }
                _ => ValueRef::Null,
            }
        }
    }

    #[cold]
    fn failed(&self, code: c_int) -> rusqlite::Error {
        // SAFETY: the statement is alive, so its connection is open.
        unsafe { failure(ffi::sqlite3_db_handle(self.statement.as_ptr()), code) }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: the statement is alive and not used again.
        unsafe { ffi::sqlite3_finalize(self.statement.as_ptr()) };
    }
}

/// # Safety
/// `start` must be null or the start of `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, len: c_int) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: as promised by our caller.
    unsafe { std::slice::from_raw_parts(start, len.unsigned_abs() as usize) }
}

/// # Safety
/// The handle must be open.
#[cold]
unsafe fn failure(db: *mut ffi::sqlite3, code: c_int) -> rusqlite::Error {
    // SAFETY: the handle is open; SQLite's message is a C string that is copied here.
    let message = unsafe { std::ffi::CStr::from_ptr(ffi::sqlite3_errmsg(db)) }.to_string_lossy().into_owned();
    // SAFETY: the handle is open.
    let extended = unsafe { ffi::sqlite3_extended_errcode(db) };
    let code = if extended & 0xff == code & 0xff { extended } else { code };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message))
}
