//! What SQLite, or KithDB through it, says about a failure.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};

use rusqlite::ffi;

use crate::codes;

/// A result code with its message, both as SQLite gives them; a refusal of KithDB's keeps the code and brings its own sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqliteError {
    /// The extended result code.
    pub code: c_int,
    /// One sentence.
    pub message: String,
}

impl SqliteError {
    /// Makes an error of one of SQLite's codes and a message.
    pub fn new(code: c_int, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Makes an error of a code alone, with SQLite's words for it.
    pub fn of_code(code: c_int) -> Self {
        // SAFETY: SQLite has a static string for every number.
        let text = unsafe { CStr::from_ptr(ffi::sqlite3_errstr(code)) };
        Self::new(code, text.to_string_lossy())
    }

    /// Returns the code's name, such as `SQLITE_CONSTRAINT_UNIQUE`.
    pub fn name(&self) -> Cow<'static, str> {
        match codes::name(self.code) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("UNKNOWN_SQLITE_ERROR_{}", self.code)),
        }
    }

    /// Reads what a connection says about its last call.
    ///
    /// # Safety
    /// `db` must be an open connection.
    pub(crate) unsafe fn of_connection(db: *mut ffi::sqlite3, code: c_int) -> Self {
        // SAFETY: the connection is open, as our caller promises; the message is copied before anything else is called.
        let (extended, text) =
            unsafe { (ffi::sqlite3_extended_errcode(db), CStr::from_ptr(ffi::sqlite3_errmsg(db)).to_string_lossy()) };
        if extended & 0xff == code & 0xff { Self::new(extended, text) } else { Self::of_code(code) }
    }
}
