//! The preupdate hook: turns a row change into the bytes of a pending change; and the hooks on commit and rollback.
//!
//! Invariants:
//! 1. What is appended is a whole change in the format of [`crate::pending`], or nothing and a failure that refuses the commit.
//! 2. The first row of a transaction enlists the virtual table before it is recorded, so that savepoints and the commit find it.
//! 3. No panic leaves these functions.
//!
//! SQLite asks hooks not to use their connection. This one breaks that rule once per transaction, with one statement: an INSERT
//! into an eponymous virtual table. It touches no b-tree and no cursor of the statement that is running; all it does is put the
//! table on the connection's list of enlisted ones, which no other call can do. `selftest.rs` proves it on the SQLite that is
//! linked. A TEMP trigger on every synced table does the same by the book, but makes SQLite open a statement journal for every
//! single-row INSERT (measured: a third of the time of the insert) and is lost when an app sets `PRAGMA temp_store`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use kithdb_log::ValueRef;
use kithdb_log::codec::put_varint;
use kithdb_log::limits::{KEY_BYTES_MAX, OPERATION_BYTES_MAX, VALUE_BYTES_MAX};
use rusqlite::{Connection, ffi};

use super::flush::put_late_update;
use super::journal::{Failure, Journal, Note, Place};
use super::reasons;
use super::shape::Shape;
use super::state::State;
use super::vtab::ENLIST_COUNTED;
use crate::pending;

/// The greatest `changes()` that is counted again: it costs a fraction of what the statement cost that changed the rows.
pub(super) const RECOUNTED_MAX: i64 = 10_000;
/// Room for the parts of an operation that are not cells.
const OPERATION_CELLS_BYTES_MAX: usize = OPERATION_BYTES_MAX - KEY_BYTES_MAX - (64 << 10);

/// Registers the three hooks.
///
/// # Safety
/// `state` must stay valid until the connection is closed.
pub(super) unsafe fn install(conn: &Connection, state: *const State) {
    let context = state.cast_mut().cast::<c_void>();
    // SAFETY: the handle is open, and the caller keeps `state` valid for as long as SQLite may call the hooks.
    unsafe {
        let preupdate = if (*state).recorders.are_none() { preupdate } else { preupdate_with_recorders };
        ffi::sqlite3_preupdate_hook(conn.handle(), Some(preupdate), context);
        ffi::sqlite3_commit_hook(conn.handle(), Some(commit), context);
        ffi::sqlite3_rollback_hook(conn.handle(), Some(rollback), context);
    }
}

/// # Safety
/// To be called by SQLite with the context given in [`install`].
unsafe extern "C" fn commit(context: *mut c_void) -> c_int {
    // SAFETY: the context is the state, which outlives the connection's hooks.
    let state = unsafe { &*context.cast::<State>() };
    let is_complete = catch_unwind(AssertUnwindSafe(|| state.journal.borrow().is_flushed())).unwrap_or(false);
    if !is_complete {
        let journal = state.journal.borrow();
        state.refuse(
            journal.failure().map_or_else(|| reasons::NOT_WRITTEN.to_owned(), |failure| failure.message.clone()),
        );
    }
    c_int::from(!is_complete)
}

/// # Safety
/// To be called by SQLite with the context given in [`install`].
unsafe extern "C" fn rollback(context: *mut c_void) {
    // SAFETY: as in `commit`.
    let state = unsafe { &*context.cast::<State>() };
    // The journal is borrowed here only if SQLite rolls back in the middle of a flush; xRollback follows and clears it.
    if let Ok(mut journal) = state.journal.try_borrow_mut() {
        journal.clear();
    }
}

/// The hook while changesets are recorded.
///
/// # Safety
/// To be called by SQLite with the context given in [`install`].
unsafe extern "C" fn preupdate_with_recorders(
    context: *mut c_void,
    db: *mut ffi::sqlite3,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    old_rowid: i64,
    new_rowid: i64,
) {
    // SAFETY: the context is the state, which outlives the connection's hooks; both names are C strings; `db` is the connection that
    // this is the hook of.
    unsafe {
        let state = &*context.cast::<State>();
        if !state.is_ours() {
            let (database, table) = (CStr::from_ptr(database), CStr::from_ptr(table));
            // A recorder that panics is lost, and its changeset with it.
            let record = || state.recorders.record(state, db, operation, database, table);
            let _ = catch_unwind(AssertUnwindSafe(record));
        }
        preupdate(context, db, operation, database, table, old_rowid, new_rowid);
    }
}

/// # Safety
/// To be called by SQLite with the context given in [`install`].
unsafe extern "C" fn preupdate(
    context: *mut c_void,
    db: *mut ffi::sqlite3,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    old_rowid: i64,
    new_rowid: i64,
) {
    // SAFETY: the context is the state, which outlives the connection's hooks; both names are C strings.
    let (state, database, table) = unsafe {
        let state = &*context.cast::<State>();
        if state.is_ours() {
            return;
        }
        (state, CStr::from_ptr(database).to_bytes(), CStr::from_ptr(table).to_bytes())
    };
    if database != b"main" {
        return;
    }
    let recorded = catch_unwind(AssertUnwindSafe(|| {
        let shapes = state.shapes.borrow();
        let Some(shape) = shapes.find(table) else {
            // The commit is to look whether another connection has begun to sync the table.
            if !state.is_enlisted.get() && state.currency.is_in_doubt(db) {
                enlist(state)?;
            }
            return Ok(());
        };
        if state.journal.borrow().failure().is_some() {
            return Ok(());
        }
        if !state.is_enlisted.get() {
            enlist(state)?;
        }
        let change = Change { db, state, shape, utf16: state.is_utf16.get() };
        let mut journal = state.journal.borrow_mut();
        if journal.has_notes() && operation != ffi::SQLITE_INSERT {
            change.record_noted(&mut journal, old_rowid)?;
        }
        let start = journal.buffer.bytes().len();
        let recorded = match operation {
            ffi::SQLITE_INSERT => change.insert(&mut journal, start, new_rowid),
            ffi::SQLITE_UPDATE => change.update(&mut journal, start),
            _ => change.delete(&mut journal, start, old_rowid),
        };
        if recorded.is_err() {
            journal.buffer.discard_change(start);
        }
        recorded
    }));
    let Err(failure) = recorded.unwrap_or_else(|_| Err(reasons::panicked())) else { return };
    // SAFETY: the handle is open while its hook runs. Enlisting may have ended in a rollback of everything: then the user's
    // statement fails by itself, and there is no transaction to refuse.
    let is_rolled_back = unsafe { ffi::sqlite3_txn_state(db, c"main".as_ptr()) } != ffi::SQLITE_TXN_WRITE;
    if let Ok(mut journal) = state.journal.try_borrow_mut()
        && !is_rolled_back
    {
        journal.fail(failure);
    }
}

/// Has SQLite enlist the virtual table in the running transaction.
#[cold]
fn enlist(state: &State) -> Result<(), Failure> {
    if state.refuses_to_enlist.get() {
        return Ok(());
    }
    // SAFETY: the handle is open while its hook runs. An interrupt would make SQLite roll back inside the statement below, in
    // the middle of the user's; the user's own statement is the place to notice it.
    if unsafe { ffi::sqlite3_is_interrupted(state.db) } != 0 {
        return Err(reasons::interrupted());
    }
    let shown = state.shown_changes();
    // A trigger may ask for `changes()` while the user's statement runs, and SQLite goes back to its own count whenever a trigger
    // ends: that count must be the right one. One beyond the limit is shown by its marker, which serves all but nested triggers.
    state.run_quietly(|conn| match shown {
        0 | 2..=RECOUNTED_MAX => Ok(conn.prepare_cached(ENLIST_COUNTED)?.execute([shown]).map(drop)?),
        // SAFETY: the connection is the state's, and open while its hook runs.
        _ => unsafe { state.enlist.run(state.db) },
    })?;
    if state.is_enlisted.get() { Ok(()) } else { Err(reasons::panicked()) }
}

/// One call of the hook.
struct Change<'s> {
    db: *mut ffi::sqlite3,
    state: &'s State,
    shape: &'s Shape,
    utf16: bool,
}

/// A value as SQLite hands it out; good until the hook returns.
#[derive(Clone, Copy)]
struct Cell<'h> {
    value: ValueRef<'h>,
    /// Whether the record is too short to hold the column.
    is_missing: bool,
}

impl<'s> Change<'s> {
    /// Reads a stored column of the row as it was; not for an INSERT.
    #[inline]
    fn read_old(&self, column: usize) -> Result<Cell<'s>, Failure> {
        let mut value = std::ptr::null_mut();
        // SAFETY: called from within the hook on the connection it was called for.
        let code = unsafe { ffi::sqlite3_preupdate_old(self.db, self.shape.columns[column].index, &raw mut value) };
        self.read(code, value, column)
    }

    /// Reads a stored column of the row as it will be; not for a DELETE.
    #[inline]
    fn read_new(&self, column: usize) -> Result<Cell<'s>, Failure> {
        let mut value = std::ptr::null_mut();
        // SAFETY: called from within the hook on the connection it was called for.
        let code = unsafe { ffi::sqlite3_preupdate_new(self.db, self.shape.columns[column].index, &raw mut value) };
        self.read(code, value, column)
    }

    #[inline]
    fn read(&self, code: c_int, value: *mut ffi::sqlite3_value, column: usize) -> Result<Cell<'s>, Failure> {
        if code != ffi::SQLITE_OK || value.is_null() {
            let code = if code == ffi::SQLITE_OK { ffi::SQLITE_NOMEM } else { code };
            return Err(Failure { code, message: "a changed row could not be read".into() });
        }
        // SAFETY: SQLite just handed the value out and keeps it until the hook returns; nothing here outlives `self`,
        // which is made and dropped within one call of the hook.
        let read = unsafe { read_value(value, self.utf16) }?;
        let value_or_real = match read {
            ValueRef::Integer(whole) if self.shape.columns[column].is_real => ValueRef::Real(whole as f64),
            other => other,
        };
        if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = value_or_real
            && bytes.len() > VALUE_BYTES_MAX
        {
            return Err(reasons::value_too_large(&self.shape.name, bytes.len(), VALUE_BYTES_MAX));
        }
        Ok(Cell { value: value_or_real, is_missing: std::ptr::eq(value, self.state.missing) })
    }

    fn check_width(&self) -> Result<(), Failure> {
        // SAFETY: called from within the hook on the connection it was called for.
        let width = unsafe { ffi::sqlite3_preupdate_count(self.db) };
        if self.shape.width == Some(width) {
            return Ok(());
        }
        self.state.schema_touched.store(true, Ordering::Relaxed);
        Err(self.shape.changed.clone().map_or_else(|| reasons::table_changed(&self.shape.name), reasons::changed))
    }

    fn begin(&self, journal: &mut Journal, kind: u8) {
        let out = journal.buffer.bytes();
        out.push(kind);
        put_varint(out, u64::from(self.shape.num));
    }

    fn finish(&self, journal: &mut Journal, start: usize) -> Result<(), Failure> {
        journal.finish_change(self.shape.num, start).map_err(|error| reasons::spill(&error))
    }

    /// Checks the size of the row whose values begin at `from`.
    #[inline]
    fn check_row(&self, out: &[u8], from: usize) -> Result<(), Failure> {
        let bytes = out.len() - from;
        if bytes > OPERATION_CELLS_BYTES_MAX {
            return Err(reasons::row_too_large(&self.shape.name, bytes, OPERATION_CELLS_BYTES_MAX));
        }
        Ok(())
    }

    /// Checks a key column of a row that will be there; `key_bytes` adds up its key.
    #[inline]
    fn check_key(&self, value: ValueRef<'_>, key_bytes: &mut usize) -> Result<(), Failure> {
        // A tag and a length, or a number.
        *key_bytes += 11;
        match value {
            ValueRef::Null => return Err(reasons::null_key(&self.shape.name)),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => *key_bytes += bytes.len(),
            _ => {}
        }
        if *key_bytes > KEY_BYTES_MAX {
            return Err(reasons::key_too_large(&self.shape.name, *key_bytes, KEY_BYTES_MAX));
        }
        Ok(())
    }

    fn insert(&self, journal: &mut Journal, start: usize, rowid: i64) -> Result<(), Failure> {
        self.check_width()?;
        self.begin(journal, pending::INSERT);
        let from = journal.buffer.bytes().len();
        let mut is_short = false;
        for column in 0..self.shape.columns.len() {
            let cell = self.read_new(column)?;
            is_short |= cell.is_missing;
            cell.value.encode(journal.buffer.bytes());
        }
        self.check_row(journal.buffer.bytes(), from)?;
        let mut key_bytes = 0;
        for &column in &self.shape.key {
            self.check_key(self.read_new(column)?.value, &mut key_bytes)?;
        }
        self.finish(journal, start)?;
        if is_short { self.note_missing(journal, rowid) } else { Ok(()) }
    }

    /// `INSERT INTO t SELECT * FROM u` may copy records of `u` that are older than its last columns: SQLite will show their
    /// defaults, but hands out NULL here.
    #[cold]
    fn note_missing(&self, journal: &mut Journal, rowid: i64) -> Result<(), Failure> {
        let mut columns = Vec::new();
        for column in 0..self.shape.columns.len() {
            if self.read_new(column)?.is_missing {
                columns.push((column, Some(ValueRef::Null.to_encoded())));
            }
        }
        let place = self.place(rowid, Self::read_new)?;
        journal.note(Note { table: self.shape.num, place, columns });
        Ok(())
    }

    fn place(&self, rowid: i64, read: impl Fn(&Self, usize) -> Result<Cell<'s>, Failure>) -> Result<Place, Failure> {
        if !self.shape.without_rowid {
            return Ok(Place::Rowid(rowid));
        }
        let mut key = Vec::new();
        for &column in &self.shape.key {
            read(self, column)?.value.encode(&mut key);
        }
        Ok(Place::Key(key))
    }

    /// Records what was noted about a row before the row changes or goes: its old values are those that nobody has heard of yet.
    #[cold]
    fn record_noted(&self, journal: &mut Journal, rowid: i64) -> Result<(), Failure> {
        // SAFETY: called from within the hook on the connection it was called for.
        if unsafe { ffi::sqlite3_preupdate_blobwrite(self.db) } >= 0 {
            return Ok(());
        }
        let place = self.place(rowid, Self::read_old)?;
        let Some(mut note) = journal.open_note(self.shape.num, &place) else { return Ok(()) };
        let old = |column| Ok::<_, Failure>(self.read_old(column)?.value.to_encoded());
        let row: Vec<Vec<u8>> = (0..self.shape.columns.len()).map(old).collect::<Result<_, _>>()?;
        note.columns.retain(|(column, old)| old.as_ref() != Some(&row[*column]));
        // A row whose key was NULL is one that nobody will hear of.
        if !note.columns.is_empty() && !self.has_null_key()? {
            let start = journal.buffer.bytes().len();
            if let Err(failure) = put_late_update(self.shape, &note, &row, journal.buffer.bytes()) {
                journal.buffer.discard_change(start);
                return Err(failure);
            }
            self.finish(journal, start)?;
        }
        journal.note(Note { table: self.shape.num, place, columns: Vec::new() });
        Ok(())
    }

    fn delete(&self, journal: &mut Journal, start: usize, rowid: i64) -> Result<(), Failure> {
        self.check_width()?;
        // SAFETY: called from within the hook on the connection it was called for.
        let blob_column = unsafe { ffi::sqlite3_preupdate_blobwrite(self.db) };
        if blob_column >= 0 {
            return self.note_blob_write(journal, blob_column, rowid);
        }
        self.begin(journal, pending::DELETE);
        let from = journal.buffer.bytes().len();
        for column in 0..self.shape.columns.len() {
            self.read_old(column)?.value.encode(journal.buffer.bytes());
        }
        self.check_row(journal.buffer.bytes(), from)?;
        if self.has_null_key()? {
            // No other device ever heard of the row: it is older than the sync of its table.
            journal.buffer.discard_change(start);
            return Ok(());
        }
        self.finish(journal, start)
    }

    fn has_null_key(&self) -> Result<bool, Failure> {
        for &column in &self.shape.key {
            if self.read_old(column)?.value == ValueRef::Null {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Incremental blob I/O: the bytes are written after the hook, so the row is read when the transaction commits.
    #[cold]
    fn note_blob_write(&self, journal: &mut Journal, blob_column: c_int, rowid: i64) -> Result<(), Failure> {
        let column = self.shape.columns.iter().position(|column| column.index == blob_column);
        let Some(column) = column else { return Err(reasons::table_changed(&self.shape.name)) };
        let old = if self.shape.has_existing_rows { Some(self.read_old(column)?.value.to_encoded()) } else { None };
        journal.note(Note { table: self.shape.num, place: Place::Rowid(rowid), columns: vec![(column, old)] });
        Ok(())
    }

    fn update(&self, journal: &mut Journal, start: usize) -> Result<(), Failure> {
        self.check_width()?;
        let mut is_key_changed = false;
        let mut had_null_key = false;
        let mut key_bytes = 0;
        self.begin(journal, pending::UPDATE);
        for &column in &self.shape.key {
            let (old, new) = (self.read_old(column)?.value, self.read_new(column)?.value);
            is_key_changed |= !is_same(old, new);
            had_null_key |= old == ValueRef::Null;
            self.check_key(new, &mut key_bytes)?;
            old.encode(journal.buffer.bytes());
        }
        if is_key_changed || self.shape.has_existing_rows {
            journal.buffer.discard_change(start);
            if had_null_key {
                // The row becomes one that can be named: for the others it is new.
                return self.insert_updated(journal, start);
            }
            self.begin(journal, pending::UPDATE_WITH_OLD);
            let from = journal.buffer.bytes().len();
            for column in 0..self.shape.columns.len() {
                self.read_old(column)?.value.encode(journal.buffer.bytes());
            }
            self.check_row(journal.buffer.bytes(), from)?;
        }
        let mask = journal.buffer.bytes().len();
        journal.buffer.bytes().resize(mask + self.shape.mask_len(), 0);
        let mut is_changed = false;
        for column in 0..self.shape.columns.len() {
            let (old, new) = (self.read_old(column)?.value, self.read_new(column)?.value);
            if !is_same(old, new) {
                is_changed = true;
                let out = journal.buffer.bytes();
                out[mask + column / 8] |= 1 << (column % 8);
                new.encode(out);
            }
        }
        if !is_changed {
            journal.buffer.discard_change(start);
            return Ok(());
        }
        self.check_row(journal.buffer.bytes(), mask)?;
        self.finish(journal, start)
    }

    fn insert_updated(&self, journal: &mut Journal, start: usize) -> Result<(), Failure> {
        self.begin(journal, pending::INSERT);
        let from = journal.buffer.bytes().len();
        for column in 0..self.shape.columns.len() {
            self.read_new(column)?.value.encode(journal.buffer.bytes());
        }
        self.check_row(journal.buffer.bytes(), from)?;
        self.finish(journal, start)
    }
}

/// Tells whether two values are the same, type and bits.
#[inline]
fn is_same(old: ValueRef<'_>, new: ValueRef<'_>) -> bool {
    match (old, new) {
        (ValueRef::Real(old), ValueRef::Real(new)) => old.to_bits() == new.to_bits(),
        _ => old == new,
    }
}

/// Reads a value without converting it, but for the encoding of text.
///
/// # Safety
/// `value` must be valid and unchanged for `'h`.
#[inline]
pub(super) unsafe fn read_value<'h>(value: *mut ffi::sqlite3_value, utf16: bool) -> Result<ValueRef<'h>, Failure> {
    // SAFETY: the value is valid; text and blob pointers belong to it and stay as long as it does.
    unsafe {
        Ok(match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => ValueRef::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_value_double(value)),
            // As a blob: asking for text would copy it, to put a NUL behind it.
            ffi::SQLITE_TEXT if !utf16 => ValueRef::Text(bytes_of(value, ffi::sqlite3_value_blob(value).cast())?),
            ffi::SQLITE_TEXT => ValueRef::Text(bytes_of(value, ffi::sqlite3_value_text(value))?),
            ffi::SQLITE_BLOB => ValueRef::Blob(bytes_of(value, ffi::sqlite3_value_blob(value).cast())?),
            _ => ValueRef::Null,
        })
    }
}

/// # Safety
/// `start` must be what SQLite just returned for the content of `value`, valid for `'h`.
#[inline]
unsafe fn bytes_of<'h>(value: *mut ffi::sqlite3_value, start: *const u8) -> Result<&'h [u8], Failure> {
    // SAFETY: SQLite gives the length in bytes of the form it was last asked for; an empty value may come as NULL, and NULL for
    // a value that is not empty means that memory ran out.
    unsafe {
        let len = usize::try_from(ffi::sqlite3_value_bytes(value)).unwrap_or(0);
        match (start.is_null(), len) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(Failure { code: ffi::SQLITE_NOMEM, message: "out of memory".into() }),
            (false, len) => Ok(std::slice::from_raw_parts(start, len)),
        }
    }
}

/// Returns the value that SQLite hands out in place of columns a record is too short for: always the same one.
pub(super) fn missing_value() -> *mut ffi::sqlite3_value {
    // SAFETY: SQLite answers a missing statement with its constant NULL value.
    unsafe { ffi::sqlite3_column_value(std::ptr::null_mut(), 0) }
}

/// Tells whether the linked SQLite has the hook.
pub(super) fn is_compiled_in() -> bool {
    // SAFETY: a constant C string; the call has no other argument and only compares names.
    unsafe { ffi::sqlite3_compileoption_used(c"SQLITE_ENABLE_PREUPDATE_HOOK".as_ptr()) != 0 }
}
