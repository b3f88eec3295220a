//! SQLite's sessions: what was changed, as a changeset, and changesets applied.
//!
//! Invariants:
//! 1. A session is never on a connection that captures: both would use the one preupdate hook, and SQLite takes the other's
//!    data for its own. A replica refuses it.
//! 2. A session is deleted before its connection is closed.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::slice;

use rusqlite::ffi;

use crate::connection::{Database, Shared};
use crate::error::SqliteError;
use crate::settings::c_name;

/// The cell through which a session and its database both know the raw session; null once it is deleted.
pub(crate) type RawSession = Rc<Cell<*mut ffi::sqlite3_session>>;

/// Deletes a session that was not yet.
///
/// # Safety
/// The connection that the session is on must be open.
pub(crate) unsafe fn delete(session: &RawSession) {
    let raw = session.replace(ptr::null_mut());
    if !raw.is_null() {
        // SAFETY: the session is not deleted, and its connection is open, as our caller promises.
        unsafe { ffi::sqlite3session_delete(raw) };
    }
}

/// Records what a connection changes, until it is dropped or its database closed.
pub struct Session {
    shared: Rc<Shared>,
    raw: RawSession,
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
        let db = self.db()?;
        if self.is_replica() {
            return Err(SqliteError::new(
                ffi::SQLITE_ERROR,
                "a database that belongs to a workspace has no sessions, for its changes are recorded already: \
                 kith_changes lists them; for a changeset, copy the rows into a plain database",
            ));
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
        let raw = Rc::new(Cell::new(raw));
        self.shared.add_session(&raw);
        Ok(Session { shared: Rc::clone(&self.shared), raw })
    }

    /// Applies a changeset or patchset, in one transaction.
    pub fn apply_changeset(&self, changeset: &[u8], conflicts: &mut dyn Conflicts) -> Result<Applied, SqliteError> {
        let db = self.db()?;
        let len = c_int::try_from(changeset.len()).map_err(|_| SqliteError::of_code(ffi::SQLITE_TOOBIG))?;
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
        !self.raw.get().is_null()
    }

    /// Ends the session; ending it again does nothing.
    pub fn close(&self) {
        // SAFETY: its database deletes it before the connection is closed, so that one that is there is on an open connection.
        unsafe { delete(&self.raw) };
        self.shared.forget_session(&self.raw);
    }

    /// Returns the changes so far, with the values before them.
    pub fn changeset(&self) -> Result<Vec<u8>, SqliteError> {
        self.take(ffi::sqlite3session_changeset)
    }

    /// Returns the changes so far, without the values before them.
    pub fn patchset(&self) -> Result<Vec<u8>, SqliteError> {
        self.take(ffi::sqlite3session_patchset)
    }

    fn take(
        &self,
        function: unsafe extern "C" fn(*mut ffi::sqlite3_session, *mut c_int, *mut *mut c_void) -> c_int,
    ) -> Result<Vec<u8>, SqliteError> {
        let raw = self.raw.get();
        if raw.is_null() {
            return Err(SqliteError::of_code(ffi::SQLITE_MISUSE));
        }
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
mod tests {
    use super::*;
    use crate::open::OpenOptions;

    const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)";

    struct Answer(i32);

    impl Conflicts for Answer {
        fn wants(&mut self, _: &str) -> bool {
            true
        }

        fn resolve(&mut self, _: i32) -> i32 {
            self.0
        }
    }

    fn memory(sql: &str) -> Database {
        let database = Database::open(":memory:", &OpenOptions::default()).expect("opens");
        database.execute_batch(sql).expect("runs");
        database
    }

    #[test]
    fn changeset_makes_the_same_rows_elsewhere() {
        let (source, target) = (memory(TABLE), memory(TABLE));
        let session = source.create_session("main", None).expect("begins");
        source.execute_batch("INSERT INTO t VALUES(1, 'one')").expect("runs");
        let changeset = session.changeset().expect("is made");
        assert_eq!(target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT)), Ok(Applied::Whole));
        assert_eq!(target.total_changes(), 1);
        let again = target.apply_changeset(&changeset, &mut Answer(ffi::SQLITE_CHANGESET_ABORT));
        assert_eq!(again, Ok(Applied::Aborted));
    }

    #[test]
    fn session_ends_with_its_database() {
        let source = memory(TABLE);
        let session = source.create_session("main", Some("t")).expect("begins");
        source.close().expect("closes");
        assert!(!session.is_open());
        session.close();
    }

    #[test]
    fn replica_has_no_sessions_but_takes_changesets() {
        let source = memory(TABLE);
        let session = source.create_session("main", None).expect("begins");
        source.execute_batch("INSERT INTO t VALUES(1, 'one')").expect("runs");
        let changeset = session.changeset().expect("is made");

        let replica = memory("");
        replica.found(":memory:", "laptop", &OpenOptions::default()).expect("the workspace is founded");
        replica.execute_batch(&format!("{TABLE}; SELECT kith_sync('t')")).expect("runs");
        let refused = replica.create_session("main", None).expect_err("refused");
        assert!(refused.message.contains("has no sessions"), "{refused}");
        assert_eq!(replica.apply_changeset(&changeset, &mut Answer(0)), Ok(Applied::Whole));
        let (count, _) = replica.prepare("SELECT count(*) FROM kith__pending").expect("compiles");
        let count = count.expect("there is a statement");
        count.step().expect("runs");
        assert_eq!(count.column(0), crate::ValueRef::Integer(1));
    }
}
