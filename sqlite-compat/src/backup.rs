//! Online backup, a few pages at a time.

use std::ffi::CString;
use std::ptr;

use rusqlite::ffi;

use crate::connection::Database;
use crate::error::SqliteError;

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many pages the source has.
    pub total: i32,
    /// How many of them are still to be copied.
    pub remaining: i32,
    /// Whether all is done.
    pub is_done: bool,
    /// Whether a lock was in the way, so that nothing was copied.
    pub is_blocked: bool,
}

/// A backup in progress; dropped before it is done, it leaves the destination as it was.
#[derive(Debug)]
pub struct Backup {
    raw: *mut ffi::sqlite3_backup,
    source: Database,
    destination: Database,
}

impl Backup {
    /// Begins to copy the database `schema` of `source` over the main database of `destination`.
    pub fn begin(source: &Database, schema: &str, destination: Database) -> Result<Self, SqliteError> {
        Self::begin_into(source, schema, destination, "main")
    }

    /// The same, over the database `target` of `destination`.
    pub fn begin_into(
        source: &Database,
        schema: &str,
        destination: Database,
        target: &str,
    ) -> Result<Self, SqliteError> {
        let (from, to) = (source.db()?, destination.db()?);
        let c_name = |name: &str| CString::new(name).map_err(|_| SqliteError::of_code(ffi::SQLITE_ERROR));
        let (schema, target) = (c_name(schema)?, c_name(target)?);
        // SAFETY: both handles are open and stay so while this backup is there: see `step` and `drop`.
        let raw = unsafe { ffi::sqlite3_backup_init(to, target.as_ptr(), from, schema.as_ptr()) };
        if raw.is_null() {
            return Err(destination.shared.failure(ffi::SQLITE_ERROR));
        }
        Ok(Self { raw, source: source.clone(), destination })
    }

    /// Copies up to `pages` pages, all with a negative number; a lock in the way is no error, only no progress.
    pub fn step(&mut self, pages: i32) -> Result<Progress, SqliteError> {
        if self.raw.is_null() || !self.source.is_open() {
            return Err(SqliteError::of_code(ffi::SQLITE_MISUSE));
        }
        // SAFETY: the backup is not finished, and both connections are open.
        let (code, total, remaining) = unsafe {
            let code = ffi::sqlite3_backup_step(self.raw, pages);
            (code, ffi::sqlite3_backup_pagecount(self.raw), ffi::sqlite3_backup_remaining(self.raw))
        };
        match code {
            ffi::SQLITE_OK | ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
                Ok(Progress { total, remaining, is_done: false, is_blocked: code != ffi::SQLITE_OK })
            }
            ffi::SQLITE_DONE => {
                self.finish();
                Ok(Progress { total, remaining, is_done: true, is_blocked: false })
            }
            code => {
                self.finish();
                Err(SqliteError::of_code(code))
            }
        }
    }

    /// Ends the backup; what was not copied stays as it was. To be called before the source is closed.
    pub fn finish(&mut self) {
        let raw = std::mem::replace(&mut self.raw, ptr::null_mut());
        if !raw.is_null() {
            // SAFETY: the backup is not finished; its owner finishes it before the source is closed.
            unsafe { ffi::sqlite3_backup_finish(raw) };
            // It has not been handed out, so that no statement is on it.
            let _ = self.destination.close();
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.finish();
    }
}
