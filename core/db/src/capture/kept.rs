//! Statements of ours that run in every commit: compiled once, found without their text.
//!
//! Invariants:
//! 1. A statement is finalized before its connection is closed: the table that notices the close sees to it.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr;

use rusqlite::ffi;

use super::journal::Failure;
use super::reasons;

/// A statement that returns no rows.
#[derive(Debug)]
pub(super) struct Kept {
    sql: &'static CStr,
    raw: Cell<*mut ffi::sqlite3_stmt>,
}

impl Kept {
    pub(super) const fn new(sql: &'static CStr) -> Self {
        Self { sql, raw: Cell::new(ptr::null_mut()) }
    }

    /// Runs the statement to its end.
    ///
    /// # Safety
    /// `db` must be the same open connection each time.
    pub(super) unsafe fn run(&self, db: *mut ffi::sqlite3) -> Result<(), Failure> {
        // SAFETY: as promised by our caller; nothing is bound.
        unsafe { self.run_with(db, |_| ffi::SQLITE_OK) }
    }

    /// The same for a statement that takes three integers and a blob.
    ///
    /// # Safety
    /// As of [`Self::run`].
    pub(super) unsafe fn run_record(
        &self,
        db: *mut ffi::sqlite3,
        numbers: [i64; 3],
        blob: &[u8],
    ) -> Result<(), Failure> {
        let bind = |raw| {
            for (number, index) in numbers.into_iter().zip(1..) {
                // SAFETY: the statement is open.
                let code = unsafe { ffi::sqlite3_bind_int64(raw, index, number) };
                if code != ffi::SQLITE_OK {
                    return code;
                }
            }
            // SAFETY: as above; the bytes are lent until the bindings are cleared, which happens before this function returns.
            unsafe { ffi::sqlite3_bind_blob64(raw, 4, blob.as_ptr().cast(), blob.len() as u64, ffi::SQLITE_STATIC()) }
        };
        // SAFETY: as promised by our caller.
        unsafe { self.run_with(db, bind) }
    }

    unsafe fn run_with(
        &self,
        db: *mut ffi::sqlite3,
        bind: impl FnOnce(*mut ffi::sqlite3_stmt) -> c_int,
    ) -> Result<(), Failure> {
        // SAFETY: the connection is open, as promised by our caller, and the text is a C string. What is prepared is ours alone.
        unsafe {
            let mut raw = self.raw.get();
            if raw.is_null() {
                let flags = ffi::SQLITE_PREPARE_PERSISTENT;
                let code = ffi::sqlite3_prepare_v3(db, self.sql.as_ptr(), -1, flags, &raw mut raw, ptr::null_mut());
                if code != ffi::SQLITE_OK {
                    return Err(failure(db, code));
                }
                self.raw.set(raw);
            }
            let mut code = bind(raw);
            if code == ffi::SQLITE_OK {
                code = ffi::sqlite3_step(raw);
            }
            // The reason goes with the reset.
            let result = if code == ffi::SQLITE_DONE { Ok(()) } else { Err(failure(db, code)) };
            ffi::sqlite3_reset(raw);
            ffi::sqlite3_clear_bindings(raw);
            result
        }
    }

    /// Gives back what SQLite keeps.
    pub(super) fn finalize(&self) {
        // SAFETY: the statement is open or null, and from here on nobody has it.
        unsafe { ffi::sqlite3_finalize(self.raw.replace(ptr::null_mut())) };
    }
}

/// # Safety
/// `db` must be open, and the call that failed the latest on it.
unsafe fn failure(db: *mut ffi::sqlite3, code: c_int) -> Failure {
    // SAFETY: as promised by our caller; the message is copied.
    let message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(db)) }.to_string_lossy().into_owned();
    reasons::sqlite(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message)))
}
