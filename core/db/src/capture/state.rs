//! What the callbacks of one connection share.
//!
//! Invariants:
//! 1. Everything here is reached through a shared reference: a callback may run inside another (the flush writes rows, and each
//!    of them calls the hook), so the hook looks at the flags before it borrows the journal.
//! 2. Fields without a lock or an atomic are used only on the thread that uses the connection.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ffi};

use super::Refusal;
use super::authorizer::Authorizer;
use super::changesets::Recorders;
use super::counters::{Counters, real_counts};
use super::currency::{Currency, data_version};
use super::journal::{Failure, Journal};
use super::kept::Kept;
use super::shape::Shapes;
use super::{flush, vtab};
use crate::sources::ClockSource;

/// Called after a commit that wrote changes.
pub type CommitListener = Arc<dyn Fn() + Send + Sync>;

/// A clock, and what must be as it was for it to be the last one still.
#[derive(Debug, Clone, Copy)]
struct KnownClock {
    clock: u64,
    data_version: u32,
    sections: u32,
}

/// See the module.
pub(super) struct State {
    pub(super) db: *mut ffi::sqlite3,
    /// The same connection once more, not owned, with a statement cache of its own.
    pub(super) inner: RefCell<Option<Connection>>,
    pub(super) clock: ClockSource,
    /// Has SQLite enlist the virtual table.
    pub(super) enlist: Kept,
    /// Writes a row of `kith__pending`.
    pub(super) insert: Kept,
    /// The last clock that the latest flush has handed out, and how many sections of ours there had been.
    flushed_clock: Cell<(u64, u32)>,
    /// The last clock that the file knows, as of this connection's latest commit.
    last_clock: Cell<Option<KnownClock>>,
    /// Counts how often statements of ours were about to write what they like.
    pub(super) sections: AtomicU32,
    pub(super) shapes: RefCell<Shapes>,
    pub(super) journal: RefCell<Journal>,
    pub(super) counters: Counters,
    /// Whether SQLite has enlisted the virtual table in the running transaction.
    pub(super) is_enlisted: Cell<bool>,
    /// Whether the self-test wants to see an unflushed commit refused.
    pub(super) refuses_to_enlist: Cell<bool>,
    /// Whether a test wants an interrupt to come while the table is being enlisted.
    #[cfg(test)]
    pub(super) interrupts_enlisting: Cell<bool>,
    /// Whether the database stores text in UTF-16.
    pub(super) is_utf16: Cell<bool>,
    /// The value SQLite hands out for columns that a record is too short to hold.
    pub(super) missing: *mut ffi::sqlite3_value,
    pub(super) suspended: AtomicU32,
    pub(super) internal: AtomicU32,
    pub(super) is_closed: AtomicBool,
    pub(super) schema_touched: AtomicBool,
    pub(super) currency: Currency,
    pub(super) refusal: Mutex<Option<Refusal>>,
    pub(super) listener: Mutex<Option<CommitListener>>,
    /// The application's own authorizer; taken away before the connection is closed.
    pub(super) authorizer: RefCell<Option<Authorizer>>,
    pub(super) recorders: Recorders,
}

impl State {
    pub(super) fn new(db: *mut ffi::sqlite3, missing: *mut ffi::sqlite3_value, clock: ClockSource) -> Self {
        Self {
            db,
            inner: RefCell::new(None),
            clock,
            enlist: Kept::new(vtab::ENLIST),
            insert: Kept::new(flush::INSERT),
            flushed_clock: Cell::default(),
            last_clock: Cell::default(),
            sections: AtomicU32::new(0),
            shapes: RefCell::default(),
            journal: RefCell::default(),
            counters: Counters::default(),
            is_enlisted: Cell::new(false),
            refuses_to_enlist: Cell::new(false),
            #[cfg(test)]
            interrupts_enlisting: Cell::new(false),
            is_utf16: Cell::new(false),
            missing,
            suspended: AtomicU32::new(0),
            internal: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
            schema_touched: AtomicBool::new(false),
            currency: Currency::default(),
            refusal: Mutex::new(None),
            listener: Mutex::new(None),
            authorizer: RefCell::default(),
            recorders: Recorders::default(),
        }
    }

    /// Tells whether the rows being written are ours, not the user's.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.suspended.load(Ordering::Relaxed) != 0 || self.internal.load(Ordering::Relaxed) != 0
    }

    /// Runs statements of ours: unseen by the hook, let through by the authorizer, not counted.
    pub(super) fn run_quietly<T>(&self, run: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let inner = self.inner.borrow();
        let conn = inner
            .as_ref()
            .ok_or_else(|| Failure { code: ffi::SQLITE_MISUSE, message: "the connection is being closed".into() })?;
        let saved = self.counters.begin(conn);
        let _depth = Depth::enter(&self.internal);
        let result = run(conn);
        self.counters.end(conn, &saved);
        result
    }

    /// Asks the database something: unseen by the hook, let through by the authorizer.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let inner = self.inner.borrow();
        let closing = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_MISUSE), None);
        let conn = inner.as_ref().ok_or_else(closing)?;
        let _depth = Depth::enter(&self.internal);
        ask(conn)
    }

    /// Returns what `changes()` shows.
    pub(super) fn shown_changes(&self) -> i64 {
        let inner = self.inner.borrow();
        inner.as_ref().map_or(0, |conn| {
            let (changes, total) = real_counts(conn);
            self.counters.changes(changes, total)
        })
    }

    /// Leaves the reason of a refusal for [`super::Capture::take_refusal`].
    pub(super) fn refuse(&self, message: String) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(Refusal { message });
    }

    /// Forgets the transaction.
    pub(super) fn end_transaction(&self) {
        self.is_enlisted.set(false);
        self.journal.borrow_mut().clear();
    }

    /// Returns the last clock that was handed out or heard of, if nothing was written since this connection's latest commit by
    /// another connection, which SQLite has met when this is asked inside a transaction, or by statements of ours.
    pub(super) fn known_clock(&self) -> Option<u64> {
        let known = self.last_clock.get()?;
        let is_same =
            known.data_version == data_version(self.db) && known.sections == self.sections.load(Ordering::Relaxed);
        is_same.then_some(known.clock)
    }

    /// Notes the last clock that a flush hands out.
    pub(super) fn note_flush(&self, clock: u64) {
        self.flushed_clock.set((clock, self.sections.load(Ordering::Relaxed)));
    }

    /// Notes, after a commit, which clock is the last, if a flush was part of it.
    pub(super) fn note_clock(&self, wrote: bool) {
        let (clock, sections) = self.flushed_clock.get();
        self.last_clock.set(wrote.then(|| KnownClock { clock, data_version: data_version(self.db), sections }));
    }

    /// Tells whoever listens that there is something to seal.
    pub(super) fn announce(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener {
            listener();
        }
    }
}

/// Counts how deep in a kind of section the connection is; leaving on drop, also when a panic passes.
pub(super) struct Depth<'a>(&'a AtomicU32);

impl<'a> Depth<'a> {
    pub(super) fn enter(depth: &'a AtomicU32) -> Self {
        depth.fetch_add(1, Ordering::Relaxed);
        Self(depth)
    }
}

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
