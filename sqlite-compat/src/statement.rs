//! A prepared statement: bind, step, read columns, reset.
//!
//! Invariants:
//! 1. Text and blobs that are lent, not copied, to a statement are read by SQLite until the statement's bindings are cleared only.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::ptr;
use std::rc::Rc;

use kithdb_core::gate;
use rusqlite::ffi;

use crate::connection::{Database, RawStatement, Shared, closed};
use crate::error::SqliteError;
use crate::value::{ValueRef, bytes};

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A row is there to be read.
    Row,
    /// The statement has ended.
    Done,
}

/// What a statement that may begin a transaction does, as far as its first word tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ChangesSchema,
    Other,
}

/// A prepared statement, finalized when it is dropped or its database is closed, whichever is first.
pub struct Statement {
    shared: Rc<Shared>,
    id: u64,
    raw: RawStatement,
    /// Whether a step may begin a transaction on a replica.
    may_begin: bool,
    kind: Kind,
    is_running: Cell<bool>,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("id", &self.id).field("is_open", &!self.raw.get().is_null()).finish()
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.finalize();
    }
}

impl Statement {
    /// Gives back what SQLite keeps of the statement before it is dropped; it is found closed from then on.
    pub fn finalize(&self) {
        let raw = self.raw.replace(ptr::null_mut());
        if !raw.is_null() {
            self.shared.forget(self.id);
            // SAFETY: the statement is open, and nobody else has it.
            unsafe { ffi::sqlite3_finalize(raw) };
            self.shared.leave_gate();
        }
    }
}

impl Database {
    /// Prepares the first statement of a text and returns it with the rest; `None` for blanks and comments.
    pub fn prepare<'s>(&self, sql: &'s str) -> Result<(Option<Statement>, &'s str), SqliteError> {
        if self.shared.owes_full_sync.get() {
            self.settle_full_sync()?;
        }
        let db = self.db()?;
        let too_big = || SqliteError::of_code(ffi::SQLITE_TOOBIG);
        let len = c_int::try_from(sql.len()).map_err(|_| too_big())?;
        let mut raw = ptr::null_mut();
        let mut tail: *const c_char = ptr::null();
        let start = sql.as_ptr().cast::<c_char>();
        // SAFETY: the handle is open; SQLite reads `len` bytes at most and sets the tail inside them or to their end.
        let mut prepare = || unsafe {
            ffi::sqlite3_prepare_v3(db, start, len, ffi::SQLITE_PREPARE_PERSISTENT, &raw mut raw, &raw mut tail)
        };
        let code = match prepare() {
            ffi::SQLITE_ERROR if self.shared.make_ready_to_prepare() => prepare(),
            code => code,
        };
        self.shared.check(code)?;
        let used = if tail.is_null() {
            sql.len()
        } else {
            // SAFETY: the tail is inside the text or at its end.
            usize::try_from(unsafe { tail.offset_from(start) }).unwrap_or(0)
        };
        // SQLite stops at a zero byte, as at the end of a C string.
        let rest = sql.get(used..).filter(|rest| !rest.starts_with('\0')).unwrap_or_default();
        if raw.is_null() {
            return Ok((None, rest));
        }
        // SAFETY: the statement is open.
        let may_begin = unsafe { ffi::sqlite3_stmt_readonly(raw) == 0 || ffi::sqlite3_column_count(raw) == 0 };
        // SAFETY: the statement is open.
        let has_columns = unsafe { ffi::sqlite3_column_count(raw) != 0 };
        let kind = if may_begin && !has_columns { kind_of(sql) } else { Kind::Other };
        let (id, raw) = self.register(raw);
        let is_running = Cell::new(false);
        let statement = Statement { shared: Rc::clone(&self.shared), id, raw, may_begin, kind, is_running };
        Ok((Some(statement), rest))
    }
}

impl Statement {
    pub(crate) fn raw(&self) -> *mut ffi::sqlite3_stmt {
        self.raw.get()
    }

    fn check(&self, code: c_int) -> Result<(), SqliteError> {
        if self.raw().is_null() { Err(closed()) } else { self.shared.check(code) }
    }

    /// Runs the statement to its next row or its end.
    pub fn step(&self) -> Result<Step, SqliteError> {
        let raw = self.raw();
        if raw.is_null() {
            return Err(closed());
        }
        if gate::is_watched() && !self.is_running.get() {
            self.shared.enter_gate();
        }
        let stepped = self.step_on(raw);
        if stepped != Ok(Step::Row) {
            self.shared.leave_gate();
        }
        stepped
    }

    fn step_on(&self, raw: *mut ffi::sqlite3_stmt) -> Result<Step, SqliteError> {
        if self.may_begin && self.shared.is_replica() && !self.is_running.get() {
            match self.kind {
                Kind::ChangesSchema => self.shared.before_schema_change()?,
                Kind::Other => self.shared.before_statement()?,
            }
        }
        // SAFETY: the statement is open.
        let mut code = unsafe { ffi::sqlite3_step(raw) };
        let is_first_row = code == ffi::SQLITE_ROW && !self.is_running.get();
        if is_first_row && self.may_begin && self.shared.is_replica() && self.shared.will_refuse() {
            // SAFETY: as above. It ends the statement, which is refused.
            code = unsafe { ffi::sqlite3_reset(self.raw()) };
        }
        match code {
            ffi::SQLITE_ROW => {
                self.is_running.set(true);
                Ok(Step::Row)
            }
            ffi::SQLITE_DONE => {
                self.is_running.set(false);
                Ok(Step::Done)
            }
            code => {
                self.is_running.set(false);
                Err(self.shared.failure(code))
            }
        }
    }

    /// Makes the statement ready to run again; its error, if it had one, was told by the step.
    pub fn reset(&self) {
        self.is_running.set(false);
        // SAFETY: the statement is open or null, which SQLite takes for nothing to do.
        unsafe { ffi::sqlite3_reset(self.raw()) };
        self.shared.leave_gate();
    }

    /// Sets every parameter to NULL.
    pub fn clear_bindings(&self) {
        if !self.raw().is_null() {
            // SAFETY: the statement is open.
            unsafe { ffi::sqlite3_clear_bindings(self.raw()) };
        }
    }

    /// Tells whether the statement, by itself, changes nothing.
    pub fn is_read_only(&self) -> bool {
        // SAFETY: the statement is open or null.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw()) != 0 }
    }

    /// Returns how many columns a row has; 0 for a statement that returns none.
    pub fn column_count(&self) -> usize {
        // SAFETY: the statement is open or null, which has no columns.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.raw()) }).unwrap_or(0)
    }

    /// Returns how often SQLite has compiled the statement again because the schema changed.
    pub fn reprepared(&self) -> c_int {
        if self.raw().is_null() {
            return 0;
        }
        // SAFETY: the statement is open.
        unsafe { ffi::sqlite3_stmt_status(self.raw(), ffi::SQLITE_STMTSTATUS_REPREPARE, 0) }
    }

    /// Returns how many parameters there are.
    pub fn parameter_count(&self) -> usize {
        if self.raw().is_null() {
            return 0;
        }
        // SAFETY: the statement is open.
        usize::try_from(unsafe { ffi::sqlite3_bind_parameter_count(self.raw()) }).unwrap_or(0)
    }

    /// Returns a parameter's name with its first character; parameters count from 1.
    pub fn parameter_name(&self, index: usize) -> Option<String> {
        if self.raw().is_null() {
            return None;
        }
        // SAFETY: the statement is open; the name is copied.
        unsafe { text(ffi::sqlite3_bind_parameter_name(self.raw(), number(index))) }
    }

    /// Returns a column's name as shown.
    pub fn column_name(&self, index: usize) -> Option<String> {
        // SAFETY: the statement is open or null, for which SQLite has no name; the name is copied.
        unsafe { text(ffi::sqlite3_column_name(self.raw(), number(index))) }
    }

    /// Returns the name of the table's column that a column shows.
    pub fn column_origin(&self, index: usize) -> Option<String> {
        // SAFETY: as in `column_name`.
        unsafe { text(ffi::sqlite3_column_origin_name(self.raw(), number(index))) }
    }

    /// Returns the name of the table that a column comes from.
    pub fn column_table(&self, index: usize) -> Option<String> {
        // SAFETY: as in `column_name`.
        unsafe { text(ffi::sqlite3_column_table_name(self.raw(), number(index))) }
    }

    /// Returns the name of the database that a column comes from.
    pub fn column_database(&self, index: usize) -> Option<String> {
        // SAFETY: as in `column_name`.
        unsafe { text(ffi::sqlite3_column_database_name(self.raw(), number(index))) }
    }

    /// Returns a column's type as declared.
    pub fn column_declared_type(&self, index: usize) -> Option<String> {
        // SAFETY: as in `column_name`.
        unsafe { text(ffi::sqlite3_column_decltype(self.raw(), number(index))) }
    }

    /// Returns the text with its parameters filled in; `None` when that is too long.
    pub fn expanded_sql(&self) -> Option<String> {
        // SAFETY: the statement is open or null, for which there is no text; the text is freed after it was copied.
        unsafe {
            let expanded = ffi::sqlite3_expanded_sql(self.raw());
            let copy = text(expanded);
            ffi::sqlite3_free(expanded.cast());
            copy
        }
    }

    /// Reads a column of the present row; columns count from 0.
    ///
    /// What is lent stays until the statement moves on, which [`Self::step`] and [`Self::reset`] do.
    pub fn column(&self, index: usize) -> ValueRef<'_> {
        let (raw, index) = (self.raw(), number(index));
        // SAFETY: the statement is open or null, for which SQLite has NULL. The bytes stay until the next step or reset; neither
        // is called before the caller lets go of them, as the faces read one column at a time and copy it.
        unsafe {
            match ffi::sqlite3_column_type(raw, index) {
                ffi::SQLITE_INTEGER => ValueRef::Integer(ffi::sqlite3_column_int64(raw, index)),
                ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_column_double(raw, index)),
                ffi::SQLITE_TEXT => {
                    let text = ffi::sqlite3_column_text(raw, index);
                    ValueRef::Text(bytes(text.cast(), ffi::sqlite3_column_bytes(raw, index)))
                }
                ffi::SQLITE_BLOB => {
                    let blob = ffi::sqlite3_column_blob(raw, index);
                    ValueRef::Blob(bytes(blob, ffi::sqlite3_column_bytes(raw, index)))
                }
                _ => ValueRef::Null,
            }
        }
    }

    /// Sets a parameter to NULL.
    pub fn bind_null(&self, index: usize) -> Result<(), SqliteError> {
        // SAFETY: the statement is open or null, which SQLite refuses.
        self.check(unsafe { ffi::sqlite3_bind_null(self.raw(), number(index)) })
    }

    /// Sets a parameter to an INTEGER.
    pub fn bind_i64(&self, index: usize, value: i64) -> Result<(), SqliteError> {
        // SAFETY: as in `bind_null`.
        self.check(unsafe { ffi::sqlite3_bind_int64(self.raw(), number(index), value) })
    }

    /// Sets a parameter to a REAL.
    pub fn bind_f64(&self, index: usize, value: f64) -> Result<(), SqliteError> {
        // SAFETY: as in `bind_null`.
        self.check(unsafe { ffi::sqlite3_bind_double(self.raw(), number(index), value) })
    }

    /// Sets a parameter to a copy of a text.
    pub fn bind_text(&self, index: usize, value: &[u8]) -> Result<(), SqliteError> {
        // SAFETY: as in `bind_null`; SQLite copies the bytes.
        unsafe { self.bind_text_with(index, value, ffi::SQLITE_TRANSIENT()) }
    }

    /// Sets a parameter to a copy of a blob.
    pub fn bind_blob(&self, index: usize, value: &[u8]) -> Result<(), SqliteError> {
        // SAFETY: as in `bind_null`; SQLite copies the bytes.
        unsafe { self.bind_blob_with(index, value, ffi::SQLITE_TRANSIENT()) }
    }

    /// Lends a text to a parameter.
    ///
    /// # Safety
    /// The bytes must stay as they are until the bindings are cleared after the statement was reset.
    pub unsafe fn lend_text(&self, index: usize, value: &[u8]) -> Result<(), SqliteError> {
        // SAFETY: as promised by our caller.
        unsafe { self.bind_text_with(index, value, ffi::SQLITE_STATIC()) }
    }

    /// Lends a blob to a parameter.
    ///
    /// # Safety
    /// As of [`Self::lend_text`].
    pub unsafe fn lend_blob(&self, index: usize, value: &[u8]) -> Result<(), SqliteError> {
        // SAFETY: as promised by our caller.
        unsafe { self.bind_blob_with(index, value, ffi::SQLITE_STATIC()) }
    }

    unsafe fn bind_text_with(
        &self,
        index: usize,
        value: &[u8],
        destructor: ffi::sqlite3_destructor_type,
    ) -> Result<(), SqliteError> {
        let (start, len) = (value.as_ptr().cast(), value.len() as u64);
        // SAFETY: as in `bind_null`, and as promised by our caller for the bytes.
        self.check(unsafe {
            ffi::sqlite3_bind_text64(self.raw(), number(index), start, len, destructor, ffi::SQLITE_UTF8 as u8)
        })
    }

    unsafe fn bind_blob_with(
        &self,
        index: usize,
        value: &[u8],
        destructor: ffi::sqlite3_destructor_type,
    ) -> Result<(), SqliteError> {
        let (start, len) = (value.as_ptr().cast(), value.len() as u64);
        // SAFETY: as in `bind_null`, and as promised by our caller for the bytes. The start of nothing is not null, which would be NULL.
        self.check(unsafe { ffi::sqlite3_bind_blob64(self.raw(), number(index), start, len, destructor) })
    }
}

/// Finds the kind of a statement that changes something and returns no rows.
fn kind_of(sql: &str) -> Kind {
    let word = without_comments(sql).split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let is_one_of = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is_one_of(&["CREATE", "ALTER", "DROP", "REINDEX", "ANALYZE"]) { Kind::ChangesSchema } else { Kind::Other }
}

/// Returns a statement from its first word on.
fn without_comments(sql: &str) -> &str {
    let mut rest = sql.trim_ascii_start();
    loop {
        let end = match rest.get(..2) {
            Some("--") => rest.find('\n').map(|at| at + 1),
            Some("/*") => rest.find("*/").map(|at| at + 2),
            _ => return rest,
        };
        let Some(end) = end else { return "" };
        rest = rest[end..].trim_ascii_start();
    }
}

/// SQLite's numbers of columns and parameters are far below its limit.
fn number(index: usize) -> c_int {
    c_int::try_from(index).unwrap_or(c_int::MAX)
}

/// # Safety
/// `text` must be null or a C string.
pub(crate) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as promised by our caller.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
