//! The virtual table `vec0`: its life in the schema, and writes to it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};

use rusqlite::types::ValueRef;
use rusqlite::vtab::{CreateVTab, IndexInfo, Inserts, UpdateVTab, Updates, VTab, VTabConnection, VTabKind};
use rusqlite::{Connection, ffi};

use super::cursor::Cursor;
use super::declaration::{Declaration, Kind};
use super::plan::plan;
use super::rows::{Rows, index_name, table_name};
use super::values;
pub(super) use crate::declared::error;
use crate::declared::{self, Declared};
use crate::sql::quote;
use crate::vector::rowid_index::{IndexedColumn, Indexes, RowidIndex};

/// What comes before the columns in the values of a write: the old key and the new one.
const KEYS: usize = 2;

/// A `vec0` table of one connection.
#[repr(C)]
pub(super) struct Table {
    base: ffi::sqlite3_vtab,
    pub(super) rows: Rows,
    /// The index of each embedding column, with the column's place; 0 is the primary key.
    pub(super) indexes: RefCell<Vec<(usize, RowidIndex)>>,
}

/// Registers the module.
pub(super) fn register(conn: &Connection, indexes: Indexes) -> rusqlite::Result<()> {
    declared::register::<Table>(conn, indexes)
}

/// Runs what SQLite calls; a panic, which would end the process, becomes an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    declared::guarded(format_args!("vec0"), call)
}

impl Table {
    fn make(
        db: &mut VTabConnection,
        held: &Indexes,
        names: [&[u8]; 2],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let [database, name] = names.map(declared::name);
        if database != "main" {
            return Err(error(format!(
                "vec0: {name:?} would be in the database {database:?}; create it in main, where its rows are kept"
            )));
        }
        let declaration = Declaration::parse(arguments).map_err(|reason| error(reason.to_string()))?;
        // SAFETY: the handle is that of the connection that is creating this table, which outlives it: SQLite disconnects its tables
        // before it closes. The `Connection` made here does not own it.
        let conn = unsafe { Connection::from_handle(db.handle()) }?;
        conn.set_prepared_statement_cache_capacity(64);
        let mut indexes = Vec::new();
        for (number, (place, column)) in declaration.embeddings().enumerate() {
            let Kind::Embedding { element, dimensions, metric } = column.kind else { continue };
            let indexed = IndexedColumn {
                table: table_name(&name),
                column: column.name.clone(),
                element,
                dimensions,
                metric,
                recall_permille: declaration.recall_permille,
                order: declaration.filters().map(|column| column.name.clone()).collect(),
            };
            // SAFETY: as above.
            let index = unsafe { RowidIndex::open(db.handle(), held, &index_name(&name, number), &indexed) }?;
            indexes.push((place + 1, index));
        }
        let columns: Vec<_> = declaration.columns.iter().map(|column| quote(&column.name)).collect();
        let columns =
            format!("CREATE TABLE x({}, {}, distance HIDDEN, k HIDDEN)", quote(&declaration.key), columns.join(", "));
        let columns = CString::new(columns).map_err(|_| error("vec0: a column's name holds a zero byte"))?;
        let base = ffi::sqlite3_vtab::default();
        let rows = Rows::new(conn, name, declaration);
        Ok((columns.into(), Self { base, rows, indexes: RefCell::new(indexes) }))
    }

    /// Reads the primary key of a new row; NULL to have one chosen.
    fn new_key<'v>(&self, given: ValueRef<'v>, rowid: ValueRef<'v>) -> rusqlite::Result<ValueRef<'v>> {
        let name = &self.rows.name;
        match (self.rows.declaration.has_text_key, given) {
            (true, ValueRef::Text(_)) => Ok(given),
            (true, _) => Err(error(format!(
                "vec0: {name} was declared with a TEXT primary key, but a value that is no text was provided in an INSERT"
            ))),
            (false, ValueRef::Null) => Ok(rowid),
            (false, ValueRef::Integer(_)) => Ok(given),
            (false, _) => Err(error(format!(
                "vec0: only integers are allowed for primary key values on {name}; from JavaScript bind a BigInt"
            ))),
        }
    }
}

// SAFETY: `Table` is `repr(C)` and begins with SQLite's own part.
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Indexes;
    type Cursor = Cursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        database: &[u8],
        name: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let held = aux.ok_or_else(|| error("vec0: the module has no registry"))?;
        guarded(|| {
            let (columns, table) = Self::make(db, held, [database, name], arguments)?;
            table.rows.check()?;
            Ok((columns, table))
        })
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        guarded(|| plan(info, &self.rows.declaration))
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor<'vtab>> {
        Ok(Cursor::new(self))
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Default;

    fn create(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        database: &[u8],
        name: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let held = aux.ok_or_else(|| error("vec0: the module has no registry"))?;
        guarded(|| {
            let (columns, table) = Self::make(db, held, [database, name], arguments)?;
            let conn = table.rows.conn();
            let rowid = conn.last_insert_rowid();
            table.rows.create()?;
            for (_, index) in table.indexes.borrow().iter() {
                index.create()?;
            }
            // SAFETY: the handle is open: SQLite is calling.
            unsafe { ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) };
            Ok((columns, table))
        })
    }

    fn destroy(&self) -> rusqlite::Result<()> {
        guarded(|| {
            for (_, index) in self.indexes.borrow().iter() {
                index.destroy()?;
            }
            self.rows.destroy()
        })
    }
}

impl UpdateVTab<'_> for Table {
    fn delete(&mut self, rowid: ValueRef<'_>) -> rusqlite::Result<()> {
        guarded(|| self.rows.delete(rowid))
    }

    fn insert(&mut self, arguments: &Inserts<'_>) -> rusqlite::Result<i64> {
        guarded(|| self.add(arguments))
    }

    fn update(&mut self, arguments: &Updates<'_>) -> rusqlite::Result<()> {
        guarded(|| self.change(arguments))
    }
}

impl Declared for Table {
    const NAME: &'static CStr = c"vec0";

    fn rename(&self, new: &str) -> rusqlite::Result<()> {
        self.rows.rename(new)?;
        for (number, (_, index)) in self.indexes.borrow().iter().enumerate() {
            index.rename(&index_name(new, number), &table_name(new))?;
        }
        Ok(())
    }

    fn subtype(cursor: &Cursor<'static>, column: c_int) -> u32 {
        cursor.subtype(column)
    }
}

impl Table {
    fn add(&self, arguments: &Inserts<'_>) -> rusqlite::Result<i64> {
        let declaration = &self.rows.declaration;
        let given: Vec<_> = arguments.iter().collect();
        let at = |place: usize| given.get(place + KEYS).copied().unwrap_or(ValueRef::Null);
        for (place, name) in [(declaration.distance(), "distance"), (declaration.count(), "k")] {
            if at(place as usize) != ValueRef::Null {
                return Err(error(format!("vec0: a value was provided for the hidden {name:?} column")));
            }
        }
        let key = self.new_key(at(0), given.get(1).copied().unwrap_or(ValueRef::Null))?;
        let mut values = Vec::with_capacity(declaration.columns.len());
        for (place, column) in declaration.columns.iter().enumerate() {
            values.push(values::written(column, at(place + 1), arguments.get_subtype(place + 1 + KEYS))?);
        }
        self.rows.insert(key, &values)
    }

    fn change(&self, arguments: &Updates<'_>) -> rusqlite::Result<()> {
        let declaration = &self.rows.declaration;
        let given: Vec<_> = arguments.iter().collect();
        let at = |place: usize| given.get(place).copied().unwrap_or(ValueRef::Null);
        let ValueRef::Integer(rowid) = at(0) else { return Err(error("vec0: an internal error; please report it")) };
        let is_same_key = at(1) == at(0)
            && (arguments.no_change(KEYS) || {
                let mut is_same = false;
                self.rows.show(rowid, 0, |known| {
                    is_same = known == at(KEYS);
                    Ok(())
                })?;
                is_same
            });
        if !is_same_key {
            return Err(error("vec0: an UPDATE of a primary key is not allowed; delete the row and insert it anew"));
        }
        let mut values = Vec::new();
        for (place, column) in declaration.columns.iter().enumerate().map(|(place, column)| (place + 1, column)) {
            let value = at(place + KEYS);
            let is_kept = arguments.no_change(place + KEYS)
                // As sqlite-vec has it.
                || matches!(column.kind, Kind::Embedding { .. }) && value == ValueRef::Null;
            if !is_kept {
                values.push((place, values::written(column, value, arguments.get_subtype(place + KEYS))?));
            }
        }
        self.rows.update(rowid, &values)
    }
}
