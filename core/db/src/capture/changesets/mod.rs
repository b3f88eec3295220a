//! Changesets: what a connection changed from some moment on, in the format of SQLite's session extension, byte for byte.
//!
//! SQLite's own sessions take the preupdate hook for themselves, so there can be none on a connection that captures. A recorder of
//! ours is called by capture's hook instead. What it keeps (`recorder.rs`), in which order (`table.rs`, `field.rs`), and how that is
//! compared with the rows as they are in the end (`write.rs`) is what `sqlite3session.c` does: of each row the values before its
//! first change, whether it was rolled back or not.
//!
//! Invariants:
//! 1. Without a recorder the hook that is registered is one that knows of none.
//! 2. What a recorder cannot take down fails the recorder, never the statement.
//! 3. What KithDB writes itself, to its own tables or as what another device did, is not recorded.

mod columns;
mod field;
mod recorder;
mod table;
mod write;

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};

use rusqlite::{Connection, ffi};

use super::state::State;
use super::{Capture, CaptureError};
use crate::replica::Replica;
use recorder::{Recorder, RowChange};
use table::Table;

/// Names a changeset that is being recorded on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangesetId(u64);

/// What is told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangesetFormat {
    /// The values before and after.
    Changeset,
    /// The values after, and keys.
    Patchset,
}

/// The recorders of a connection, in the order in which they began.
///
/// Each is lent to whoever uses it, so that SQL functions that run meanwhile find the list free. One that is not given back, because
/// of a panic, is one that has failed.
#[derive(Default)]
pub(super) struct Recorders {
    list: RefCell<Vec<(ChangesetId, Option<Box<Recorder>>)>>,
    begun: Cell<u64>,
}

impl Recorders {
    pub(super) fn are_none(&self) -> bool {
        self.list.borrow().is_empty()
    }

    fn begin(&self, recorder: Recorder) -> ChangesetId {
        let id = ChangesetId(self.begun.get());
        self.begun.set(id.0 + 1);
        self.list.borrow_mut().push((id, Some(Box::new(recorder))));
        id
    }

    fn end(&self, id: ChangesetId) {
        self.list.borrow_mut().retain(|(other, _)| *other != id);
    }

    /// Lends a recorder; `None` if there is none of that name, or if it is lent already.
    fn with<T>(&self, id: ChangesetId, run: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
        let place = |list: &[(ChangesetId, _)]| list.iter().position(|(other, _)| *other == id);
        let mut recorder = {
            let mut list = self.list.borrow_mut();
            let index = place(&list)?;
            list[index].1.take()?
        };
        let result = run(&mut recorder);
        let mut list = self.list.borrow_mut();
        if let Some(index) = place(&list) {
            list[index].1 = Some(recorder);
        }
        Some(result)
    }

    /// Has every recorder take down what the preupdate hook was called for.
    ///
    /// # Safety
    /// To be called from within the hook, on the connection `db` that it was called for.
    pub(super) unsafe fn record(
        &self,
        state: &State,
        db: *mut ffi::sqlite3,
        operation: c_int,
        schema: &CStr,
        table: &CStr,
    ) {
        // SAFETY: the change does not outlive this call, which is within the hook's.
        let change = unsafe { RowChange::new(db, operation, schema, table) };
        let next = |least: u64| self.list.borrow().iter().map(|(id, _)| *id).find(|id| id.0 >= least);
        let mut least = 0;
        while let Some(id) = next(least) {
            self.with(id, |recorder| recorder.record(state, &change));
            least = id.0 + 1;
        }
    }
}

fn misuse() -> CaptureError {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_MISUSE), None).into()
}

impl Capture {
    fn begin_changeset(
        &self,
        conn: &Connection,
        schema: &str,
        table: Option<&str>,
    ) -> Result<ChangesetId, CaptureError> {
        self.check_connection(conn)?;
        let encoding: String = self.state.ask(|conn| conn.query_row("PRAGMA encoding", [], |row| row.get(0)))?;
        let id = self.state.recorders.begin(Recorder {
            schema: schema.to_owned(),
            has_all_tables: table.is_none(),
            tables: table.map(|name| Table::new(name.to_owned())).into_iter().collect(),
            is_utf16: encoding != "UTF-8",
            failure: None,
        });
        self.install_hook(conn);
        Ok(id)
    }

    fn end_changeset(&self, conn: &Connection, id: ChangesetId) -> Result<(), CaptureError> {
        self.check_connection(conn)?;
        self.state.recorders.end(id);
        self.install_hook(conn);
        Ok(())
    }

    fn changeset(&self, conn: &Connection, id: ChangesetId, format: ChangesetFormat) -> Result<Vec<u8>, CaptureError> {
        self.check_connection(conn)?;
        let write = |recorder: &mut Recorder| {
            if let Some(code) = recorder.failure {
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            }
            self.state.ask(|conn| write::write(conn, recorder, format))
        };
        Ok(self.state.recorders.with(id, write).ok_or_else(misuse)??)
    }
}

impl Replica {
    /// Begins to record what this connection changes in one of its databases (`main`, `temp`, or one that is attached), in one table
    /// or in all. Tables without PRIMARY KEY are left out, as in SQLite's sessions.
    pub fn begin_changeset(&self, schema: &str, table: Option<&str>) -> Result<ChangesetId, CaptureError> {
        self.capture.begin_changeset(&self.conn, schema, table)
    }

    /// Returns what was changed so far, in the format of SQLite's session extension; recording goes on.
    ///
    /// Fails with `SQLITE_SCHEMA` if a table no longer fits what was recorded of it, and with `SQLITE_MISUSE` for a changeset that
    /// has ended.
    pub fn changeset(&self, id: ChangesetId, format: ChangesetFormat) -> Result<Vec<u8>, CaptureError> {
        self.capture.changeset(&self.conn, id, format)
    }

    /// Ends recording, and forgets what was recorded.
    pub fn end_changeset(&self, id: ChangesetId) -> Result<(), CaptureError> {
        self.capture.end_changeset(&self.conn, id)
    }
}
