//! One recorder: takes down, from within the preupdate hook, each row as it was before its first change.
//!
//! Invariants:
//! 1. A row without PRIMARY KEY, or with NULL in it, is not recorded.
//! 2. A recorder that missed a change has failed, and gives no changeset.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use rusqlite::{Connection, ffi};

use super::columns::{Columns, is_statistics};
use super::field::{Field, operation_byte};
use super::table::{Key, Table};
use crate::capture::hook::read_value;
use crate::capture::state::State;

/// What is recorded of one database of a connection.
pub(super) struct Recorder {
    /// The database's name.
    pub(super) schema: String,
    /// Whether tables are added to the list when they are first written to.
    pub(super) has_all_tables: bool,
    /// In the order in which they were added.
    pub(super) tables: Vec<Table>,
    pub(super) is_utf16: bool,
    /// SQLite's code for what kept it from recording a change.
    pub(super) failure: Option<c_int>,
}

/// A row change that is about to happen. Its values are good until the hook returns: it is made and dropped within one call of it.
pub(super) struct RowChange<'h> {
    db: *mut ffi::sqlite3,
    pub(super) operation: c_int,
    schema: &'h CStr,
    table: &'h CStr,
    hook: PhantomData<&'h ()>,
}

/// Which of a change's rows is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

/// A row of a change, read as one recorder reads it.
#[derive(Clone, Copy)]
struct Row<'c, 'h> {
    change: &'c RowChange<'h>,
    side: Side,
    is_utf16: bool,
    is_statistics: bool,
}

impl<'h> RowChange<'h> {
    /// Describes what the hook was called for.
    ///
    /// # Safety
    /// `'h` must end before the call of the hook on `db` does.
    pub(super) const unsafe fn new(db: *mut ffi::sqlite3, operation: c_int, schema: &'h CStr, table: &'h CStr) -> Self {
        Self { db, operation, schema, table, hook: PhantomData }
    }

    fn width(&self) -> c_int {
        // SAFETY: called from within the hook on the connection it was called for, as `new` asks for.
        unsafe { ffi::sqlite3_preupdate_count(self.db) }
    }

    fn is_indirect(&self) -> bool {
        // SAFETY: as in `width`.
        unsafe { ffi::sqlite3_preupdate_depth(self.db) != 0 }
    }
}

impl<'h> Row<'_, 'h> {
    /// Reads a column by its index among all columns, or says with SQLite's code why it cannot be read.
    fn read(self, index: c_int) -> Result<Field<'h>, c_int> {
        let mut value = std::ptr::null_mut();
        let read = match self.side {
            Side::Old => ffi::sqlite3_preupdate_old,
            Side::New => ffi::sqlite3_preupdate_new,
        };
        // SAFETY: called from within the hook on the connection it was called for; SQLite keeps the value until the hook returns,
        // which `'h` does not outlive.
        let field = unsafe {
            match read(self.change.db, index, &raw mut value) {
                ffi::SQLITE_OK if value.is_null() => return Err(ffi::SQLITE_NOMEM),
                ffi::SQLITE_OK => Field::from(read_value(value, self.is_utf16).map_err(|failure| failure.code)?),
                code => return Err(code),
            }
        };
        // A row about a table as a whole has NULL for the index; as part of a key it needs a value.
        Ok(if self.is_statistics && index == 1 && field == Field::Null { Field::Blob(&[]) } else { field })
    }

    /// Reads the key; `None` when a part of it is NULL.
    fn key(self, columns: &Columns) -> Result<Option<Key<'h>>, c_int> {
        let mut key = Key { fields: Vec::new(), hash: 0 };
        for column in columns.list.iter().filter(|column| column.key != 0) {
            let field = self.read(column.index)?;
            if field == Field::Null {
                return Ok(None);
            }
            key.hash = field.hash(key.hash);
            key.fields.push(field);
        }
        Ok(Some(key))
    }

    /// Takes the row down: of a row that is new, the key only.
    fn record(self, columns: &Columns) -> Result<Vec<u8>, c_int> {
        let mut record = Vec::new();
        for column in &columns.list {
            let is_left_out = self.side == Side::New && column.key == 0;
            let field = if is_left_out { Field::Undefined } else { self.read(column.index)? };
            field.put(&mut record);
        }
        Ok(record)
    }
}

impl Recorder {
    /// Takes down a change; what keeps it from that is remembered.
    pub(super) fn record(&mut self, state: &State, change: &RowChange<'_>) {
        if self.failure.is_some() || !change.schema.to_bytes().eq_ignore_ascii_case(self.schema.as_bytes()) {
            return;
        }
        let Some(table) = self.table(&change.table.to_string_lossy()) else { return };
        // A row that moves to another key is one that goes and one that comes.
        let steps: &[_] = match change.operation {
            ffi::SQLITE_INSERT => &[(ffi::SQLITE_INSERT, Side::New)],
            ffi::SQLITE_UPDATE => &[(ffi::SQLITE_UPDATE, Side::Old), (ffi::SQLITE_INSERT, Side::New)],
            _ => &[(ffi::SQLITE_DELETE, Side::Old)],
        };
        for &(operation, side) in steps {
            if let Err(code) = self.record_row(state, change, table, operation, side) {
                self.failure = Some(code);
                return;
            }
        }
    }

    /// Finds a table that is recorded, or adds it.
    fn table(&mut self, name: &str) -> Option<usize> {
        let known = self.tables.iter().position(|table| table.name.eq_ignore_ascii_case(name));
        if known.is_none() && self.has_all_tables {
            self.tables.push(Table::new(name.to_owned()));
            return Some(self.tables.len() - 1);
        }
        known
    }

    fn record_row(
        &mut self,
        state: &State,
        change: &RowChange<'_>,
        table: usize,
        operation: c_int,
        side: Side,
    ) -> Result<(), c_int> {
        let schema = &self.schema;
        let table = &mut self.tables[table];
        if table.columns.list.is_empty() {
            table.columns =
                state.ask(|conn| Columns::read(conn, schema, &table.name)).map_err(|error| code_of(&error))?;
        }
        if !table.columns.have_key() {
            return Ok(());
        }
        let width = change.width();
        if table.columns.total < width {
            state.ask(|conn| renew(conn, schema, table)).map_err(|error| code_of(&error))?;
        }
        if table.columns.total != width {
            return Err(ffi::SQLITE_SCHEMA);
        }
        table.grow();
        let row = Row { change, side, is_utf16: self.is_utf16, is_statistics: is_statistics(&table.name) };
        let Some(key) = row.key(&table.columns)? else { return Ok(()) };
        if row.is_statistics && is_about_ours(&key) {
            return Ok(());
        }
        let is_indirect = change.is_indirect();
        if let Some(known) = table.find(&key) {
            known.is_indirect &= is_indirect;
            return Ok(());
        }
        let record = row.record(&table.columns)?;
        table.add(operation_byte(operation), is_indirect, key.hash, record)
    }
}

/// Tells whether a row of statistics is about a table of KithDB's.
fn is_about_ours(key: &Key<'_>) -> bool {
    matches!(key.fields.first(), Some(Field::Text(name)) if name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"kith_")))
}

/// Reads the columns of a table anew, and completes what was recorded before some were added.
pub(super) fn renew(conn: &Connection, schema: &str, table: &mut Table) -> rusqlite::Result<()> {
    let before = table.columns.list.len();
    let columns = Columns::read(conn, schema, &table.name)?;
    table.take_over(columns).map_err(|code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))?;
    if table.columns.list.len() != before {
        table.complete(&table.columns.defaults(conn)?);
    }
    Ok(())
}

/// Returns SQLite's code for an error.
pub(super) const fn code_of(error: &rusqlite::Error) -> c_int {
    match error {
        rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } => error.extended_code,
        _ => ffi::SQLITE_ERROR,
    }
}
