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
    /// SQLite's result code: `SQLITE_BUSY` or `SQLITE_LOCKED` when a lock was in the way.
    pub code: i32,
}

impl Progress {
    /// Tells whether a lock was in the way, so that nothing was copied.
    pub fn is_blocked(&self) -> bool {
        matches!(self.code & 0xff, ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED)
    }
}

/// A backup in progress; dropped before it is done, it leaves the destination as it was.
#[derive(Debug)]
pub struct Backup {
    raw: *mut ffi::sqlite3_backup,
    source: Database,
    destination: Database,
    closes_destination: bool,
}

impl Backup {
    /// Begins to copy the database `schema` of `source` over the main database of `destination`.
    ///
    /// The destination is the backup's own, which closes it.
    pub fn begin(source: &Database, schema: &str, destination: Database) -> Result<Self, SqliteError> {
        Self::begin_into(source, schema, &destination, "main")
    }

    /// The same, over the database `target` of `destination`.
    pub fn begin_into(
        source: &Database,
        schema: &str,
        destination: &Database,
        target: &str,
    ) -> Result<Self, SqliteError> {
        let mut backup = Self::between(source, schema, destination, target)?;
        backup.closes_destination = true;
        Ok(backup)
    }

    /// Begins to copy a database of one connection over a database of another; neither is closed at the end.
    ///
    /// What a replica holds is never copied over: its log would know nothing of it.
    pub fn between(
        source: &Database,
        source_schema: &str,
        destination: &Database,
        destination_schema: &str,
    ) -> Result<Self, SqliteError> {
        let (from, to) = (source.db()?, destination.db()?);
        if destination.is_replica() {
            let message = "a database of a workspace cannot be overwritten; restore into a new file";
            return Err(SqliteError::new(ffi::SQLITE_READONLY, message));
        }
        let c_text = |text: &str| CString::new(text).map_err(|_| SqliteError::of_code(ffi::SQLITE_ERROR));
        let (schema, destination_schema) = (c_text(source_schema)?, c_text(destination_schema)?);
        // SAFETY: both handles are open and stay so while this backup is there: see `step` and `drop`.
        let raw = unsafe { ffi::sqlite3_backup_init(to, destination_schema.as_ptr(), from, schema.as_ptr()) };
        if raw.is_null() {
            return Err(destination.shared.failure(ffi::SQLITE_ERROR));
        }
        Ok(Self { raw, source: source.clone(), destination: destination.clone(), closes_destination: false })
    }

    /// Copies up to `pages` pages, all with a negative number; a lock in the way is no error, only no progress.
    pub fn step(&mut self, pages: i32) -> Result<Progress, SqliteError> {
        if self.raw.is_null() || !self.source.is_open() || !self.destination.is_open() {
            return Err(SqliteError::of_code(ffi::SQLITE_MISUSE));
        }
        // SAFETY: the backup is not finished, and both connections are open.
        let (code, total, remaining) = unsafe {
            let code = ffi::sqlite3_backup_step(self.raw, pages);
            (code, ffi::sqlite3_backup_pagecount(self.raw), ffi::sqlite3_backup_remaining(self.raw))
        };
        match code {
            ffi::SQLITE_OK | ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
                Ok(Progress { total, remaining, is_done: false, code })
            }
            ffi::SQLITE_DONE => {
                self.finish();
                Ok(Progress { total, remaining, is_done: true, code })
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
            if self.closes_destination {
                // It has not been handed out, so that no statement is on it.
                let _ = self.destination.close();
            }
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.finish();
    }
}
