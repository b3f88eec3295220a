//! What a connection tells while it runs: the statements, how long they took, the rows that they change.
//!
//! Invariants:
//! 1. On a replica only the application's own statements and tables are told of.
//! 2. What is called is called on the connection's thread, in the midst of a statement: it must not use the connection.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::{Rc, Weak};

use rusqlite::ffi;

use crate::connection::{Database, Shared};
use crate::error::SqliteError;

/// The tables of a replica that are not the application's begin with this.
const OURS: &str = "kith_";

/// One of the things that a statement's run tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceEvent {
    /// A statement begins; its text has the parameters filled in. That of a trigger is a comment that names it.
    Statement(String),
    /// A statement has ended.
    Profile {
        /// Its text as it was prepared.
        sql: String,
        /// How long it ran.
        nanoseconds: u64,
    },
}

/// What was done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was inserted.
    Insert,
    /// It was updated.
    Update,
    /// It was deleted.
    Delete,
}

/// One row that is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub kind: ChangeKind,
    /// The database's name, such as `main`.
    pub database: String,
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub rowid: i64,
}

struct Context<E> {
    shared: Weak<Shared>,
    is_replica: bool,
    tell: Box<dyn Fn(E)>,
}

/// Tells of statements until it is dropped.
pub struct Trace {
    database: Database,
    /// Made of a box, for SQLite knows its place.
    context: *mut Context<TraceEvent>,
}

/// Tells of changed rows until it is dropped.
pub struct Changes {
    database: Database,
    /// Made of a box, for SQLite knows its place.
    context: *mut Context<Change>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

impl Database {
    fn context<E>(&self, tell: impl Fn(E) + 'static) -> *mut Context<E> {
        Box::into_raw(Box::new(Context {
            shared: Rc::downgrade(&self.shared),
            is_replica: self.is_replica(),
            tell: Box::new(tell),
        }))
    }

    /// Tells of every statement that begins, or ends, or both. The latest trace of a connection is the only one.
    pub fn trace(&self, begins: bool, ends: bool, tell: impl Fn(TraceEvent) + 'static) -> Result<Trace, SqliteError> {
        let db = self.db()?;
        let context = self.context(tell);
        let mask = if begins { ffi::SQLITE_TRACE_STMT } else { 0 } | if ends { ffi::SQLITE_TRACE_PROFILE } else { 0 };
        // SAFETY: the handle is open; the context is there until the trace is ended, which its drop does.
        unsafe { ffi::sqlite3_trace_v2(db, mask, Some(on_trace), context.cast()) };
        Ok(Trace { database: self.clone(), context })
    }

    /// Tells of every row of a table with rowids that is changed. The latest of a connection is the only one.
    pub fn watch_changes(&self, tell: impl Fn(Change) + 'static) -> Result<Changes, SqliteError> {
        let db = self.db()?;
        let context = self.context(tell);
        // SAFETY: as in `trace`. Capture does not use this hook.
        unsafe { ffi::sqlite3_update_hook(db, Some(on_change), context.cast()) };
        Ok(Changes { database: self.clone(), context })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Ok(db) = self.database.db() {
            // SAFETY: the handle is open.
            unsafe { ffi::sqlite3_trace_v2(db, 0, None, ptr::null_mut()) };
        }
        // SAFETY: the box was made by `context`, and SQLite has forgotten it, now or when the connection was closed.
        drop(unsafe { Box::from_raw(self.context) });
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if let Ok(db) = self.database.db() {
            // SAFETY: the handle is open.
            unsafe { ffi::sqlite3_update_hook(db, None, ptr::null_mut()) };
        }
        // SAFETY: the box was made by `context`, and SQLite has forgotten it, now or when the connection was closed.
        drop(unsafe { Box::from_raw(self.context) });
    }
}

/// # Safety
/// To be called by SQLite with the context of a trace that was not dropped.
unsafe extern "C" fn on_trace(
    kind: c_uint,
    context: *mut c_void,
    statement: *mut c_void,
    detail: *mut c_void,
) -> c_int {
    // SAFETY: as promised by our caller.
    let context = unsafe { &*context.cast::<Context<TraceEvent>>() };
    let statement = statement.cast::<ffi::sqlite3_stmt>();
    let is_own = !context.is_replica || context.shared.upgrade().is_some_and(|shared| shared.is_registered(statement));
    if is_own {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: SQLite calls with a running statement, and a detail of the kind that belongs to the event.
            let event = unsafe { trace_event(kind, statement, detail) };
            if let Some(event) = event {
                (context.tell)(event);
            }
        }));
    }
    0
}

/// # Safety
/// The arguments must be those of SQLite's call.
unsafe fn trace_event(kind: c_uint, statement: *mut ffi::sqlite3_stmt, detail: *mut c_void) -> Option<TraceEvent> {
    // SAFETY: as promised by our caller; texts are copied, and the expanded one is freed afterwards.
    unsafe {
        match kind {
            ffi::SQLITE_TRACE_STMT => {
                let text = copy(detail.cast());
                if text.starts_with("--") {
                    return Some(TraceEvent::Statement(text));
                }
                let expanded = ffi::sqlite3_expanded_sql(statement);
                let sql = if expanded.is_null() { text } else { copy(expanded) };
                ffi::sqlite3_free(expanded.cast());
                Some(TraceEvent::Statement(sql))
            }
            ffi::SQLITE_TRACE_PROFILE => {
                let nanoseconds = u64::try_from(*detail.cast::<i64>()).unwrap_or(0);
                Some(TraceEvent::Profile { sql: copy(ffi::sqlite3_sql(statement)), nanoseconds })
            }
            _ => None,
        }
    }
}

/// # Safety
/// To be called by SQLite with the context of a watch that was not dropped.
unsafe extern "C" fn on_change(
    context: *mut c_void,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    rowid: ffi::sqlite3_int64,
) {
    // SAFETY: as promised by our caller; SQLite's names are C strings.
    let (context, database, table) = unsafe { (&*context.cast::<Context<Change>>(), copy(database), copy(table)) };
    if context.is_replica && table.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS)) {
        return;
    }
    let kind = match operation {
        ffi::SQLITE_INSERT => ChangeKind::Insert,
        ffi::SQLITE_UPDATE => ChangeKind::Update,
        _ => ChangeKind::Delete,
    };
    let _ = catch_unwind(AssertUnwindSafe(|| (context.tell)(Change { kind, database, table, rowid })));
}

/// # Safety
/// `text` must be null or a C string.
unsafe fn copy(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as promised by our caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
