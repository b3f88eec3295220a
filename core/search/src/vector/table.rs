//! The virtual table `kith_vector`: its life in the schema.
//!
//! Invariants:
//! 1. It holds no transaction state of its own: what is pending stands in the table of changes.
//! 2. No panic leaves these functions; after one the index is made anew.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::vtab::{CreateVTab, IndexInfo, Inserts, UpdateVTab, Updates, VTab, VTabConnection, VTabKind};
use rusqlite::{Connection, Error, ffi};

use super::changes;
use super::cursor::Cursor;
use super::declaration::Declaration;
use super::plan::{COMMAND, plan};
use super::shared::{Shared, Use};
use super::source::{self, Background};
use super::view::{SearchError, View};
pub(super) use crate::declared::error;
use crate::declared::{self, Declared};
use crate::sql::quote;

/// The indexes that a connection uses, so that they outlive the reconnecting of its virtual tables.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<String, Holding>>);

struct Holding {
    declaration: Declaration,
    /// Begun when the table is first used. Ends before the use of the index, as it may use it too.
    background: Option<Arc<Background>>,
    used: Use,
}

impl Held {
    /// Returns what a `kith_vector` table of the connection was declared as, and its index.
    pub(super) fn get(&self, name: &str) -> Option<(Declaration, Arc<Shared>)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = held.get(&name.to_ascii_lowercase())?;
        Some((holding.declaration.clone(), Arc::clone(holding.used.shared())))
    }

    pub(super) fn hold(&self, conn: &Connection, name: &str, declaration: &Declaration) -> Arc<Shared> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || Holding {
            declaration: declaration.clone(),
            background: None,
            used: Use::new(Shared::of(conn, name, declaration)),
        };
        let holding = held.entry(name.to_ascii_lowercase()).or_insert_with(begin);
        // Another connection may have dropped the table and created it again.
        if holding.declaration != *declaration || holding.used.shared().is_gone.load(Ordering::Relaxed) {
            *holding = begin();
        }
        Arc::clone(holding.used.shared())
    }

    /// Begins to embed in the background what a table is to have embedded: the table is used. To be connected is no use: SQLite
    /// connects every table when a program lists them.
    pub(super) fn begin_background(&self, conn: &Connection, name: &str, declaration: &Declaration) {
        if declaration.source.is_none() {
            return;
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holding) = held.get_mut(&name.to_ascii_lowercase()).filter(|it| it.background.is_none()) {
            holding.background = Background::of(conn, name, declaration);
        }
    }

    /// Lets go of the index of a table that is dropped or gets another name.
    pub(super) fn release(&self, name: &str) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name.to_ascii_lowercase());
        if let Some(Holding { used, .. }) = held {
            used.shared().is_gone.store(true, Ordering::Relaxed);
        }
    }
}

/// A `kith_vector` table of one connection.
#[repr(C)]
pub(super) struct Table {
    base: ffi::sqlite3_vtab,
    held: Arc<Held>,
    view: RefCell<View>,
}

/// Registers the module.
pub(super) fn register(conn: &Connection, held: Arc<Held>) -> rusqlite::Result<()> {
    declared::register::<Table>(conn, held)
}

pub(super) fn of(reason: SearchError) -> Error {
    match reason {
        SearchError::Sqlite(error) => error,
        other => error(other.to_string()),
    }
}

/// Runs what SQLite calls where there is no view to make anew; a panic becomes an error.
fn guarded<T>(call: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    declared::guarded(format_args!("kith_vector"), call)
}

impl Table {
    fn make(
        db: &mut VTabConnection,
        held: &Arc<Held>,
        names: [&[u8]; 2],
        arguments: &[&[u8]],
        is_new: bool,
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self, Option<String>)> {
        let [database, name] = names.map(declared::name);
        if database != "main" {
            return Err(error(format!(
                "kith_vector: {name:?} would be in the database {database:?}; create it in main, beside its content"
            )));
        }
        let mut declaration = Declaration::parse(arguments).map_err(|reason| error(reason.to_string()))?;
        // SAFETY: the handle is that of the connection that is creating this table, which outlives it: SQLite disconnects its tables
        // before it closes. The `Connection` made here does not own it.
        let conn = unsafe { Connection::from_handle(db.handle()) }?;
        conn.set_prepared_statement_cache_capacity(32);
        let mut problem = None;
        if is_new {
            problem = source::settle(&mut declaration).map_err(|reason| error(reason.to_string()))?;
        } else if declaration.options.dimensions == 0 {
            // The model need not be there for what it has embedded to be searched.
            declaration.options.dimensions = source::stored_dimensions(&conn, &name)?.ok_or_else(|| {
                error(format!("kith_vector: table \"{name}_model\" is gone, which tells the dimension; drop {name:?} and create it again"))
            })?;
        }
        let shared = held.hold(&conn, &name, &declaration);
        let columns = format!(
            "CREATE TABLE x(key, distance REAL, {} HIDDEN, k HIDDEN, ef HIDDEN, command HIDDEN)",
            quote(&declaration.column)
        );
        let columns = CString::new(columns).map_err(|_| error("kith_vector: the column's name holds a zero byte"))?;
        let view = RefCell::new(View::new(conn, name, declaration, shared));
        let base = ffi::sqlite3_vtab::default();
        Ok((columns.into(), Self { base, held: Arc::clone(held), view }, problem))
    }

    /// Runs a method on the view; a panic becomes an error and has the index made anew.
    pub(super) fn with<T>(&self, method: impl FnOnce(&mut View) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let Ok(mut view) = self.view.try_borrow_mut() else {
            return Err(error("kith_vector: a search cannot begin inside another one of the same table"));
        };
        catch_unwind(AssertUnwindSafe(|| method(&mut view))).unwrap_or_else(|_| {
            view.reset();
            Err(error("kith_vector: an internal error; please report it. The index is made anew from its table"))
        })
    }
}

// SAFETY: `Table` is `repr(C)` and begins with SQLite's own part.
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Arc<Held>;
    type Cursor = Cursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        database: &[u8],
        name: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let held = aux.ok_or_else(|| error("kith_vector: the module has no registry"))?;
        guarded(|| {
            let (columns, table, _) = Self::make(db, held, [database, name], arguments, false)?;
            Ok((columns, table))
        })
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        guarded(|| plan(info, |is_filtered| self.tier(is_filtered)))
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor<'vtab>> {
        if let Ok(view) = self.view.try_borrow() {
            self.held.begin_background(view.conn(), &view.name, &view.declaration);
        }
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
        let held = aux.ok_or_else(|| error("kith_vector: the module has no registry"))?;
        let (columns, table, problem) = guarded(|| Self::make(db, held, [database, name], arguments, true))?;
        table.with(|view| {
            let conn = view.conn();
            let content = super::content::Content::read(conn, &view.declaration).map_err(|reason| of(reason.into()))?;
            let rowid = conn.last_insert_rowid();
            changes::create(conn, &view.name, &view.declaration, &content)?;
            source::create(conn, &view.name, &view.declaration, &content, problem.as_deref())?;
            table.held.begin_background(conn, &view.name, &view.declaration);
            // SAFETY: the handle is open: SQLite is calling.
            unsafe { ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) };
            Ok(())
        })?;
        Ok((columns, table))
    }

    fn destroy(&self) -> rusqlite::Result<()> {
        self.with(|view| {
            changes::drop_all(view.conn(), &view.name)?;
            source::drop_all(view.conn(), &view.name)?;
            self.held.release(&view.name);
            Ok(())
        })
    }
}

impl UpdateVTab<'_> for Table {
    fn delete(&mut self, _: ValueRef<'_>) -> rusqlite::Result<()> {
        Err(self.read_only())
    }

    fn insert(&mut self, arguments: &Inserts<'_>) -> rusqlite::Result<i64> {
        let command: Option<String> = arguments.get(COMMAND as usize + 2)?;
        match command.as_deref() {
            Some("rebuild") => self.with(|view| view.rebuild().map_err(of)).map(|()| 0),
            Some(other) => Err(error(format!("kith_vector: unknown command {other:?}; there is 'rebuild'"))),
            None => Err(self.read_only()),
        }
    }

    fn update(&mut self, _: &Updates<'_>) -> rusqlite::Result<()> {
        Err(self.read_only())
    }
}

impl Declared for Table {
    const NAME: &'static CStr = c"kith_vector";

    fn rename(&self, new: &str) -> rusqlite::Result<()> {
        self.with(|view| {
            let (content, _) = view.content().map_err(of)?;
            let conn = view.conn();
            changes::drop_triggers(conn, &view.name)?;
            let (from, to) = (changes::table_name(&view.name), changes::table_name(new));
            conn.execute_batch(&format!("ALTER TABLE main.{} RENAME TO {}", quote(&from), quote(&to)))?;
            changes::create_triggers(conn, new, &view.declaration, &content)?;
            source::rename(conn, [&view.name, new], &view.declaration, &content)?;
            self.held.release(&view.name);
            Ok(())
        })
    }
}

impl Table {
    /// Says how a search will be done, as far as that is known before it.
    fn tier(&self, is_filtered: bool) -> String {
        self.view.try_borrow().map_or_else(|_| "search".to_owned(), |view| view.tier(is_filtered))
    }

    fn read_only(&self) -> Error {
        match self.view.try_borrow() {
            Ok(view) => error(format!(
                "kith_vector: {:?} shows what is in table {:?}; write there",
                view.name, view.declaration.content
            )),
            Err(_) => error("kith_vector: write to the content table"),
        }
    }
}
