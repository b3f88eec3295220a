//! SQLite's sessions: what was changed, as a changeset, and changesets applied.
//!
//! Invariants:
//! 1. A session of SQLite's is never on a connection that captures: both would use the one preupdate hook, and SQLite takes the
//!    other's data for its own. On a replica, capture records the changeset.
//! 2. A session is ended before its connection is closed.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::slice;

use kithdb_core::capture::{CaptureError, ChangesetFormat, ChangesetId};
use kithdb_core::gate;
use rusqlite::ffi;

use crate::connection::{Backing, Database, Shared, closed};
use crate::error::SqliteError;
use crate::settings::c_name;

/// What records a session.
#[derive(Clone, Copy)]
pub(crate) enum Recording {
    /// SQLite.
    Sqlite(*mut ffi::sqlite3_session),
    /// The capture of a replica.
    Captured(ChangesetId),
}

/// The cell through which a session and its database both know the recording; empty once it has ended.
pub(crate) type SharedRecording = Rc<Cell<Option<Recording>>>;

/// Ends a recording that has not ended yet.
///
/// # Safety
/// The connection that the recording is on must be open, and stand on `backing`.
pub(crate) unsafe fn end(recording: &SharedRecording, backing: Option<&Backing>) {
    match (recording.take(), backing) {
        // SAFETY: the session is not deleted, and its connection is open, as our caller promises.
        (Some(Recording::Sqlite(raw)), _) => unsafe { ffi::sqlite3session_delete(raw) },
        // It fails on another connection only.
        (Some(Recording::Captured(id)), Some(Backing::Replica(replica))) => drop(replica.end_changeset(id)),
        _ => {}
    }
}

/// Records what a connection changes, until it is dropped or its database closed.
pub struct Session {
    shared: Rc<Shared>,
    recording: SharedRecording,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_open", &self.is_open()).finish()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a changeset is asked for when a change does not fit, and what it is told.
pub trait Conflicts {
    /// Tells whether changes to a table are wanted.
    fn wants(&mut self, table: &str) -> bool;
    /// Returns what to do about a conflict of the kind with this number, as one of SQLite's numbers for that.
    fn resolve(&mut self, kind: i32) -> i32;
}

/// How a changeset was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// All that is wanted.
    Whole,
    /// Nothing, for a conflict was answered with that.
    Aborted,
}

impl Database {
    /// Begins to record changes to a database of the connection, to one table or to all.
    pub fn create_session(&self, schema: &str, table: Option<&str>) -> Result<Session, SqliteError> {
        let recording = Rc::new(Cell::new(Some(self.begin_recording(schema, table)?)));
        self.shared.add_session(&recording);
        Ok(Session { shared: Rc::clone(&self.shared), recording })
    }

    fn begin_recording(&self, schema: &str, table: Option<&str>) -> Result<Recording, SqliteError> {
        let db = self.db()?;
        if let Some(Backing::Replica(replica)) = self.shared.backing().as_ref() {
            let begun = replica.begin_changeset(schema, table);
            return begun.map(Recording::Captured).map_err(|error| self.shared.capture_failure(&error));
        }
        let (schema, table) = (c_name(schema)?, table.map(c_name).transpose()?);
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is open and captures nothing, the names are C strings; a session that cannot be attached is deleted.
        unsafe {
            self.shared.check(ffi::sqlite3session_create(db, schema.as_ptr(), &raw mut raw))?;
            let code = ffi::sqlite3session_attach(raw, table.as_deref().map_or(ptr::null(), CStr::as_ptr));
            if code != ffi::SQLITE_OK {
                ffi::sqlite3session_delete(raw);
                return Err(self.shared.failure(code));
            }
        }
        Ok(Recording::Sqlite(raw))
    }

    /// Applies a changeset or patchset, in one transaction.
    pub fn apply_changeset(&self, changeset: &[u8], conflicts: &mut dyn Conflicts) -> Result<Applied, SqliteError> {
        let db = self.db()?;
        let len = c_int::try_from(changeset.len()).map_err(|_| SqliteError::of_code(ffi::SQLITE_TOOBIG))?;
        if gate::is_watched() {
            self.shared.enter_gate();
        }
        let applied = self.apply(db, len, changeset, conflicts);
        self.shared.leave_gate();
        applied
    }

    fn apply(
        &self,
        db: *mut ffi::sqlite3,
        len: c_int,
        changeset: &[u8],
        conflicts: &mut dyn Conflicts,
    ) -> Result<Applied, SqliteError> {
        self.shared.before_statement()?;
        let mut conflicts = conflicts;
        let context = (&raw mut conflicts).cast::<c_void>();
        // SAFETY: the handle is open; SQLite only reads the bytes, and uses the context in calls of these two functions only.
        let code = unsafe {
            let bytes = changeset.as_ptr().cast_mut().cast::<c_void>();
            ffi::sqlite3changeset_apply(db, len, bytes, Some(wants), Some(resolve), context)
        };
        match code {
            ffi::SQLITE_OK => Ok(Applied::Whole),
            ffi::SQLITE_ABORT => Ok(Applied::Aborted),
            code => Err(self.shared.failure(code)),
        }
    }
}

impl Session {
    /// Tells whether the session still records.
    pub fn is_open(&self) -> bool {
        self.recording.get().is_some()
    }

    /// Ends the session; ending it again does nothing.
    pub fn close(&self) {
        // SAFETY: its database ends it before the connection is closed, so that one that is there is on an open connection, and that
        // is the one that the database stands on.
        unsafe { end(&self.recording, self.shared.backing().as_ref()) };
        self.shared.forget_session(&self.recording);
    }

    /// Returns the changes so far, with the values before them.
    pub fn changeset(&self) -> Result<Vec<u8>, SqliteError> {
        self.take(ChangesetFormat::Changeset)
    }

    /// Returns the changes so far, without the values before them.
    pub fn patchset(&self) -> Result<Vec<u8>, SqliteError> {
        self.take(ChangesetFormat::Patchset)
    }

    fn take(&self, format: ChangesetFormat) -> Result<Vec<u8>, SqliteError> {
        match self.recording.get() {
            None => Err(SqliteError::of_code(ffi::SQLITE_MISUSE)),
            Some(Recording::Sqlite(raw)) => self.take_from(raw, format),
            Some(Recording::Captured(id)) => {
                let backing = self.shared.backing();
                let Some(Backing::Replica(replica)) = backing.as_ref() else { return Err(closed()) };
                replica.changeset(id, format).map_err(|error| self.shared.capture_failure(&error))
            }
        }
    }

    fn take_from(&self, raw: *mut ffi::sqlite3_session, format: ChangesetFormat) -> Result<Vec<u8>, SqliteError> {
        let function = match format {
            ChangesetFormat::Changeset => ffi::sqlite3session_changeset,
            ChangesetFormat::Patchset => ffi::sqlite3session_patchset,
        };
        let (mut len, mut start) = (0, ptr::null_mut());
        // SAFETY: the session is not deleted; the bytes are ours to free after they were copied.
        unsafe {
            let code = function(raw, &raw mut len, &raw mut start);
            self.shared.check(code)?;
            let len = usize::try_from(len).unwrap_or(0);
            let bytes =
                if start.is_null() { Vec::new() } else { slice::from_raw_parts(start.cast::<u8>(), len).to_vec() };
            ffi::sqlite3_free(start);
            Ok(bytes)
        }
    }
}

impl Shared {
    /// Puts a failure of capture's in SQLite's words.
    fn capture_failure(&self, error: &CaptureError) -> SqliteError {
        match error {
            CaptureError::Sqlite(rusqlite::Error::SqliteFailure(error, Some(message))) => {
                SqliteError::new(error.extended_code, message.clone())
            }
            CaptureError::Sqlite(rusqlite::Error::SqliteFailure(error, None)) => {
                SqliteError::of_code(error.extended_code)
            }
            other => SqliteError::new(ffi::SQLITE_ERROR, other.to_string()),
        }
    }
}

/// # Safety
/// To be called by SQLite with the context given in `apply_changeset` and a table's name.
unsafe extern "C" fn wants(context: *mut c_void, table: *const c_char) -> c_int {
    // SAFETY: the context is the reference that `apply_changeset` keeps while SQLite calls; the name is a C string.
    let (conflicts, table) = unsafe { (&mut *context.cast::<&mut dyn Conflicts>(), CStr::from_ptr(table)) };
    let table = table.to_string_lossy();
    c_int::from(catch_unwind(AssertUnwindSafe(|| conflicts.wants(&table))).unwrap_or(false))
}

/// # Safety
/// To be called by SQLite with the context given in `apply_changeset`.
unsafe extern "C" fn resolve(context: *mut c_void, kind: c_int, _: *mut ffi::sqlite3_changeset_iter) -> c_int {
    // SAFETY: as in `wants`.
    let conflicts = unsafe { &mut *context.cast::<&mut dyn Conflicts>() };
    catch_unwind(AssertUnwindSafe(|| conflicts.resolve(kind))).unwrap_or(ffi::SQLITE_CHANGESET_ABORT)
}

#[cfg(test)]
mod tests;
