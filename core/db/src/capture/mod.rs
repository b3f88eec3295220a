//! Capture: every committed change of a synced table is in `kith__pending`, written in the transaction that made it.
//!
//! SQLite's preupdate hook reports each row change into a journal (`hook.rs`). A virtual table that SQLite enlists in the same
//! transaction (`vtab.rs`) keeps the journal in step with savepoints and failed statements and writes it out when SQLite is
//! about to commit (`flush.rs`). What it does is invisible to the user's SQL (`counters.rs`), but for what the authorizer
//! refuses (`authorizer.rs`). The same hook records changesets for whoever asks for them (`changesets/`).
//!
//! Invariants:
//! 1. A transaction commits with all of its changes in `kith__pending`, or it does not commit.
//! 2. What is rolled back, to a savepoint or as a failed statement too, is in no record.
//! 3. The hooks and the authorizer of the connection belong to capture: nothing else may set them, SQLite's session extension
//!    included.

mod authorizer;
mod buffer;
mod changesets;
mod counters;
mod currency;
mod flush;
mod hook;
mod journal;
mod kept;
mod reasons;
mod selftest;
mod shape;
mod state;
#[cfg(test)]
mod tests;
mod vtab;

use std::ffi::{CStr, c_int};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, ffi};

pub use authorizer::{Access, Authorizer};
pub use changesets::{ChangesetFormat, ChangesetId};
pub use state::CommitListener;

use crate::follow::TablesVersion;
use crate::registry::Registry;
use crate::sources::ClockSource;
use counters::{Saved, real_counts};
use shape::Shapes;
use state::State;

/// Reports why capture cannot be installed or renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// SQLite was compiled without the hook.
    #[error(
        "SQLite was compiled without SQLITE_ENABLE_PREUPDATE_HOOK; build with LIBSQLITE3_FLAGS=-DSQLITE_ENABLE_PREUPDATE_HOOK"
    )]
    NoPreupdateHook,
    /// The mechanism does not work on the SQLite that is linked.
    #[error("capturing writes does not work on SQLite {version} ({detail}); use a release of KithDB with its own SQLite", version = rusqlite::version())]
    SelfTest {
        /// What went wrong.
        detail: String,
    },
    /// The connection is not the one capture was installed on.
    #[error("capture was installed on another connection")]
    OtherConnection,
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Says why a COMMIT or a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One sentence with the remedy.
    pub message: String,
}

/// Captures the writes of one connection; a clone is a further handle on the same capture.
#[derive(Clone)]
pub struct Capture {
    state: Arc<State>,
}

// SAFETY: the state is shared with the connection's callbacks only, which run on the thread that uses the connection. What a
// `Capture` does without being given the connection touches atomics and mutexes only. Whatever else it touches, it does while
// borrowing the connection (`Connection` is not `Sync`, so the borrower is on the connection's thread) and after having checked
// that it is the same one and open. The reference count is atomic, and by the time the last reference goes, the connection is
// closed and `inner` is empty, or the reference is SQLite's own.
unsafe impl Send for Capture {}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

impl Capture {
    /// Installs hooks, module, functions and authorizer on a connection, after a test of the mechanism once per process.
    pub fn install(conn: &Connection, clock: ClockSource) -> Result<Self, CaptureError> {
        if !hook::is_compiled_in() {
            return Err(CaptureError::NoPreupdateHook);
        }
        selftest::run()?;
        Self::install_untested(conn, clock)
    }

    fn install_untested(conn: &Connection, clock: ClockSource) -> Result<Self, CaptureError> {
        // SAFETY: the handle is only kept for calls made while the connection is open.
        let db = unsafe { conn.handle() };
        #[expect(
            clippy::arc_with_non_send_sync,
            reason = "the count must be atomic: SQLite may drop its reference on another thread than a `Capture` its own"
        )]
        let state = Arc::new(State::new(db, hook::missing_value(), clock));
        vtab::install(conn, &state)?;
        let pointer = Arc::as_ptr(&state);
        // SAFETY: from `vtab::install` on SQLite itself holds a reference to the state until the connection is closed. The inner
        // connection does not own the handle and is dropped when the close begins.
        unsafe {
            counters::install_functions(conn, pointer)?;
            let inner = Connection::from_handle(db)?;
            inner.prepare(vtab::WATCH)?;
            *state.inner.borrow_mut() = Some(inner);
            authorizer::install(conn, pointer)?;
            hook::install(conn, pointer);
            check(ffi::sqlite3_set_clientdata(db, CLIENT_DATA.as_ptr(), pointer.cast_mut().cast(), None))?;
        }
        state.counters.start(conn);
        Ok(Self { state })
    }

    /// Returns another handle to the same capture, for SQL functions of the same connection.
    pub(crate) fn share(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }

    /// Registers the hooks again, after something else on this connection took their place.
    pub fn install_hook(&self, conn: &Connection) {
        if self.check_connection(conn).is_ok() {
            // SAFETY: the connection is the one that holds a reference to the state until it is closed.
            unsafe { hook::install(conn, Arc::as_ptr(&self.state)) };
        }
    }

    fn check_connection(&self, conn: &Connection) -> Result<(), CaptureError> {
        // SAFETY: the handle is only compared.
        let is_same = unsafe { conn.handle() } == self.state.db;
        if is_same && !self.state.is_closed.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(CaptureError::OtherConnection)
        }
    }

    /// Takes over which tables are synced; cheap when nothing changed.
    pub fn set_tables(&self, conn: &Connection, registry: &Registry) -> Result<(), CaptureError> {
        self.check_connection(conn)?;
        if !self.state.shapes.borrow().are_of(registry) {
            let encoding: String = conn.query_row("PRAGMA encoding", [], |row| row.get(0))?;
            self.state.is_utf16.set(encoding != "UTF-8");
            let shapes = Shapes::of_registry(conn, registry)?;
            *self.state.shapes.borrow_mut() = shapes;
        }
        Ok(())
    }

    /// Takes over what the synced tables were read from, so that a transaction that writes under outdated knowledge is refused.
    pub(crate) fn expect(&self, conn: &Connection, version: TablesVersion) -> Result<(), CaptureError> {
        self.check_connection(conn)?;
        Ok(self.state.currency.expect(conn, version)?)
    }

    /// Tells whether the file has changed, for all that SQLite has met, since what capture was told was found to hold.
    pub(crate) fn is_in_doubt(&self, conn: &Connection) -> bool {
        self.check_connection(conn).is_ok() && self.state.currency.is_in_doubt(self.state.db)
    }

    /// Tells whether a commit of what was written so far would be refused; asked while the statement that wrote it has not ended.
    pub(crate) fn would_refuse(&self, conn: &Connection) -> bool {
        if self.check_connection(conn).is_err() || !self.state.is_enlisted.get() {
            return false;
        }
        let has_failed = self.state.journal.borrow().failure().is_some();
        has_failed
            || self.is_in_doubt(conn) && self.state.run_quietly(|conn| currency::check(&self.state, conn)).is_err()
    }

    /// Tells, once, that a statement was prepared that changes the schema, so that the registry may be out of date.
    pub fn needs_refresh(&self) -> bool {
        self.state.schema_touched.swap(false, Ordering::Relaxed)
    }

    /// Has an authorizer of the application's asked about what KithDB does not refuse itself, or none.
    pub(crate) fn set_authorizer(&self, conn: &Connection, asked: Option<Authorizer>) -> rusqlite::Result<()> {
        if self.check_connection(conn).is_err() {
            return Ok(());
        }
        *self.state.authorizer.borrow_mut() = asked;
        // Statements that are compiled are to be compiled again, which SQLite has them for any authorizer that is set.
        // SAFETY: the connection is the one that holds a reference to the state until it is closed.
        unsafe { authorizer::install(conn, Arc::as_ptr(&self.state)) }
    }

    /// Keeps what is compiled until the guard is dropped from an authorizer of the application's, if there is one.
    pub(crate) fn unasked(&self) -> Option<SuspendGuard> {
        let is_asked = self.state.authorizer.borrow().is_some();
        is_asked.then(|| self.suspend())
    }

    /// Makes the hook and the authorizer ignore what this connection does until the guard is dropped.
    pub fn suspend(&self) -> SuspendGuard {
        self.state.sections.fetch_add(1, Ordering::Relaxed);
        self.state.suspended.fetch_add(1, Ordering::Relaxed);
        SuspendGuard { state: Arc::clone(&self.state) }
    }

    /// Keeps what is done until the guard is dropped out of `last_insert_rowid()`, `changes()` and `total_changes()`, and lets it
    /// write to KithDB's tables.
    ///
    /// The guard borrows nothing, so that the connection's owner stays free to be changed; it must go before the connection does.
    pub fn internal(&self, conn: &Connection) -> InternalGuard {
        self.state.sections.fetch_add(1, Ordering::Relaxed);
        self.state.internal.fetch_add(1, Ordering::Relaxed);
        let saved = self.check_connection(conn).is_ok().then(|| self.state.counters.begin(conn));
        InternalGuard { state: Arc::clone(&self.state), saved }
    }

    /// Tells whether a statement of ours is running, for trace callbacks that must not show it.
    pub fn is_internal(&self) -> bool {
        self.state.is_ours()
    }

    /// Returns how many rows the user's last INSERT, UPDATE or DELETE changed.
    pub fn changes(&self, conn: &Connection) -> i64 {
        let (changes, total) = real_counts(conn);
        match self.check_connection(conn) {
            Ok(()) => self.state.counters.changes(changes, total),
            Err(_) => changes,
        }
    }

    /// Returns how many rows the user has changed since the connection was opened.
    pub fn total_changes(&self, conn: &Connection) -> i64 {
        let (_, total) = real_counts(conn);
        match self.check_connection(conn) {
            Ok(()) => self.state.counters.total_changes(total),
            Err(_) => total,
        }
    }

    /// Returns, once, why the last COMMIT or statement was refused.
    pub fn take_refusal(&self) -> Option<Refusal> {
        self.state.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has a function called after each commit that wrote changes to the log; it must not use the connection.
    pub fn set_commit_listener(&self, listener: Option<CommitListener>) {
        *self.state.listener.lock().unwrap_or_else(PoisonError::into_inner) = listener;
    }
}

/// See [`Capture::suspend`].
pub struct SuspendGuard {
    state: Arc<State>,
}

impl Drop for SuspendGuard {
    fn drop(&mut self) {
        self.state.suspended.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See [`Capture::internal`].
pub struct InternalGuard {
    state: Arc<State>,
    saved: Option<Saved>,
}

impl InternalGuard {
    /// Has SQLite itself count what `changes()` is to show, as the last thing in a transaction of ours: a trigger of the user's next
    /// statement then finds the right number too. One beyond the limit is shown by its marker.
    pub(crate) fn recount(&self, conn: &Connection) -> rusqlite::Result<()> {
        match &self.saved {
            Some(saved) if saved.shown() <= hook::RECOUNTED_MAX => {
                conn.prepare_cached(vtab::ENLIST_COUNTED)?.execute([saved.shown()]).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for InternalGuard {
    fn drop(&mut self) {
        if let (Some(saved), Some(conn)) = (&self.saved, self.state.inner.borrow().as_ref()) {
            self.state.counters.end(conn, saved);
        }
        self.state.internal.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The name under which a connection keeps its capture.
const CLIENT_DATA: &CStr = c"kithdb capture";

/// Begins what [`Capture::internal`] begins, for SQL functions that plain files have too; `None` on a connection without capture.
pub(crate) fn internal_of(conn: &Connection) -> Option<InternalGuard> {
    // SAFETY: the handle is open as long as `conn` is borrowed, and the name is a C string.
    let state =
        unsafe { ffi::sqlite3_get_clientdata(conn.handle(), CLIENT_DATA.as_ptr()) }.cast::<State>().cast_const();
    if state.is_null() {
        return None;
    }
    // SAFETY: what is kept under this name came from an `Arc` that SQLite holds a reference to until the connection is closed.
    let state = unsafe {
        Arc::increment_strong_count(state);
        Arc::from_raw(state)
    };
    Some(Capture { state }.internal(conn))
}

/// Turns a result code into a result.
fn check(code: c_int) -> rusqlite::Result<()> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)) }
}
