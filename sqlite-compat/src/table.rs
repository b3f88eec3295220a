//! Read-only virtual tables whose rows come from the application.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::rc::Rc;

use rusqlite::ffi;
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
    VTabKind,
};

use crate::connection::Database;
use crate::error::SqliteError;
use crate::value::{Value, ValueRef};

/// Rows of a virtual table.
pub trait TableRows {
    /// Returns the next row's columns, without the parameters; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<Value>>, String>;
    /// Ends the reading, at the last row or before it.
    fn end(&mut self) {}
}

/// A table that the application defines.
pub trait Table {
    /// Returns the names of the columns.
    fn columns(&self) -> &[String];
    /// Returns the names of the parameters, which are hidden columns.
    fn parameters(&self) -> &[String];
    /// Returns the declared type of a column or, counted on from those, of a parameter.
    fn declared_type(&self, _: usize) -> Option<&str> {
        None
    }
    /// Tells whether a parameter may be NULL, and compared by other operators than `=`, which SQLite then does by itself.
    fn is_lenient(&self) -> bool {
        false
    }
    /// Tells whether views and triggers may not read it.
    fn is_direct_only(&self) -> bool;
    /// Begins to read, with the value of each parameter that was given.
    fn open(&self, parameters: &[Option<ValueRef<'_>>]) -> Result<Box<dyn TableRows>, String>;
}

/// What CREATE VIRTUAL TABLE asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRequest {
    /// The module's name as the statement has it.
    pub module: String,
    /// The database that the table is made in.
    pub database: String,
    /// The table's name.
    pub table: String,
    /// The arguments as they are written.
    pub arguments: Vec<String>,
}

type MakeTable = dyn Fn(&TableRequest) -> Result<Rc<dyn Table>, String>;

struct OnThread(Rc<MakeTable>);

// SAFETY: a `Database` stays on the thread that made it, and with it whatever its connection calls or drops.
unsafe impl Send for OnThread {}
// SAFETY: as above.
unsafe impl Sync for OnThread {}

impl Database {
    /// Adds a table that is there without being created.
    pub fn create_eponymous_table(&self, name: &str, table: Rc<dyn Table>) -> Result<(), SqliteError> {
        const MODULE: &Module<'_, AppTable<false>> = &const { Module::eponymous_only_module() };
        let make: Rc<MakeTable> = Rc::new(move |_: &TableRequest| Ok(Rc::clone(&table)));
        self.register_module(name, MODULE, make)
    }

    /// Adds a module for CREATE VIRTUAL TABLE; it makes a table of what the statement asks for.
    pub fn create_table_module(
        &self,
        name: &str,
        make: impl Fn(&TableRequest) -> Result<Rc<dyn Table>, String> + 'static,
    ) -> Result<(), SqliteError> {
        const MODULE: &Module<'_, AppTable<false>> = &const { Module::read_only_module() };
        self.register_module(name, MODULE, Rc::new(make))
    }

    /// Adds a table that is there without being created, and under other names if it is.
    pub fn create_table(&self, name: &str, table: Rc<dyn Table>) -> Result<(), SqliteError> {
        const MODULE: &Module<'_, AppTable<true>> = &const { Module::read_only_module() };
        let make: Rc<MakeTable> = Rc::new(move |_: &TableRequest| Ok(Rc::clone(&table)));
        self.register_module(name, MODULE, make)
    }

    fn register_module<const IS_BOTH: bool>(
        &self,
        name: &str,
        module: &'static Module<'static, AppTable<IS_BOTH>>,
        make: Rc<MakeTable>,
    ) -> Result<(), SqliteError> {
        self.note_extension();
        self.with_connection(|conn| conn.create_module(name, module, Some(OnThread(make))))?.map_err(|error| {
            let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
            SqliteError::new(code, error.to_string())
        })
    }
}

/// A table; with `IS_BOTH` it is there by its module's name too when it can be created.
#[repr(C)]
struct AppTable<const IS_BOTH: bool> {
    base: ffi::sqlite3_vtab,
    table: Rc<dyn Table>,
}

// SAFETY: `base` is the first field, as `repr(C)` keeps it.
unsafe impl<'vtab, const IS_BOTH: bool> VTab<'vtab> for AppTable<IS_BOTH> {
    type Aux = OnThread;
    type Cursor = AppCursor<'vtab>;

    fn connect(
        connection: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        module: &[u8],
        database: &[u8],
        table: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let request = TableRequest {
            module: text(module),
            database: text(database),
            table: text(table),
            arguments: arguments.iter().map(|argument| text(argument)).collect(),
        };
        let make = aux.ok_or_else(|| rusqlite::Error::ModuleError("the module has no maker".to_owned()))?;
        let table = (make.0)(&request).map_err(rusqlite::Error::ModuleError)?;
        let mut names = HashSet::new();
        let all = table.columns().iter().chain(table.parameters());
        // SQLite says no more than that there is a fault.
        if !all.map(|name| name.to_ascii_lowercase()).all(|name| names.insert(name)) {
            let message = format!("failed to declare virtual table \"{}\"", request.table);
            return Err(rusqlite::Error::ModuleError(message));
        }
        if table.is_direct_only() {
            connection.config(VTabConfig::DirectOnly)?;
        }
        let quoted = |index: usize, name: &String| {
            let declared_type = table.declared_type(index).unwrap_or_default();
            format!("\"{}\" {declared_type}", name.replace('"', "\"\""))
        };
        let first = table.columns().len();
        let columns = table.columns().iter().enumerate().map(|(index, name)| quoted(index, name));
        let parameters = table.parameters().iter().enumerate();
        let parameters = parameters.map(|(index, name)| format!("{} HIDDEN", quoted(first + index, name)));
        let list: Vec<_> = columns.chain(parameters).collect();
        let sql = std::ffi::CString::new(format!("CREATE TABLE x({})", list.join(", ")))
            .map_err(|_| rusqlite::Error::ModuleError("a column's name holds a zero byte".to_owned()))?;
        Ok((Cow::Owned(sql), Self { base: ffi::sqlite3_vtab::default(), table }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let first = self.table.columns().len();
        let count = self.table.parameters().len();
        // For each parameter the constraint that gives it.
        let mut given = vec![None; count];
        for (at, constraint) in info.constraints().enumerate() {
            let column = usize::try_from(constraint.column()).unwrap_or(usize::MAX);
            let Some(slot) = column.checked_sub(first).and_then(|index| given.get_mut(index)) else { continue };
            if constraint.operator() != IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ {
                if self.table.is_lenient() {
                    continue;
                }
                let name = self.table.parameters().get(column - first).map_or("", String::as_str);
                let message = format!("virtual table parameter \"{name}\" can only be constrained by the '=' operator");
                return Err(rusqlite::Error::ModuleError(message));
            }
            if !constraint.is_usable() {
                return Ok(false);
            }
            slot.get_or_insert(at);
        }
        let (mut mask, mut argument): (c_int, c_int) = (0, 0);
        for (parameter, at) in given.iter().enumerate() {
            let Some(at) = *at else { continue };
            argument += 1;
            mask |= 1 << parameter;
            let mut usage = info.constraint_usage(at);
            usage.set_argv_index(argument);
            usage.set_omit(true);
        }
        info.set_idx_num(mask);
        info.set_estimated_cost(f64::from(1_000_000 / (argument + 1)));
        info.set_estimated_rows(i64::from(1000 / (argument + 1)));
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<AppCursor<'vtab>> {
        Ok(AppCursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            table: Rc::clone(&self.table),
            rows: None,
            row: None,
            given: Vec::new(),
            rowid: 0,
            lifetime: PhantomData,
        })
    }
}

impl<const IS_BOTH: bool> CreateVTab<'_> for AppTable<IS_BOTH> {
    const KIND: VTabKind = if IS_BOTH { VTabKind::Eponymous } else { VTabKind::Default };
}

#[repr(C)]
struct AppCursor<'vtab> {
    base: ffi::sqlite3_vtab_cursor,
    table: Rc<dyn Table>,
    rows: Option<Box<dyn TableRows>>,
    row: Option<Vec<Value>>,
    given: Vec<Value>,
    rowid: i64,
    lifetime: PhantomData<&'vtab ()>,
}

impl AppCursor<'_> {
    fn end(&mut self) {
        if let Some(mut rows) = self.rows.take() {
            rows.end();
        }
    }
}

impl Drop for AppCursor<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

// SAFETY: `base` is the first field, as `repr(C)` keeps it.
unsafe impl VTabCursor for AppCursor<'_> {
    fn filter(&mut self, mask: c_int, _: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        self.given = vec![Value::Null; self.table.parameters().len()];
        let mut parameters = Vec::with_capacity(self.given.len());
        let mut values = arguments.iter();
        for (index, given) in self.given.iter_mut().enumerate() {
            let value = if mask & (1 << index) == 0 { None } else { values.next() };
            parameters.push(value.map(|value| {
                let value = of_rusqlite(value);
                *given = owned(value);
                value
            }));
        }
        self.rowid = 0;
        self.end();
        // Nothing is equal to NULL.
        if !self.table.is_lenient() && parameters.contains(&Some(ValueRef::Null)) {
            self.rows = None;
            return self.next();
        }
        self.rows = Some(self.table.open(&parameters).map_err(rusqlite::Error::ModuleError)?);
        self.next()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.rowid += 1;
        self.row = match &mut self.rows {
            Some(rows) => rows.next().map_err(rusqlite::Error::ModuleError)?,
            None => None,
        };
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, context: &mut Context, index: c_int) -> rusqlite::Result<()> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let row = self.row.as_deref().unwrap_or_default();
        let parameter = || index.checked_sub(self.table.columns().len()).and_then(|index| self.given.get(index));
        let value = if index < self.table.columns().len() { row.get(index) } else { parameter() };
        context.set_result(to_rusqlite(value.unwrap_or(&Value::Null)))
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.rowid)
    }
}

const fn of_rusqlite(value: rusqlite::types::ValueRef<'_>) -> ValueRef<'_> {
    match value {
        rusqlite::types::ValueRef::Null => ValueRef::Null,
        rusqlite::types::ValueRef::Integer(number) => ValueRef::Integer(number),
        rusqlite::types::ValueRef::Real(number) => ValueRef::Real(number),
        rusqlite::types::ValueRef::Text(text) => ValueRef::Text(text),
        rusqlite::types::ValueRef::Blob(blob) => ValueRef::Blob(blob),
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(text.to_vec()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
    }
}

fn to_rusqlite(value: &Value) -> rusqlite::types::ToSqlOutput<'_> {
    use rusqlite::types::{ToSqlOutput, ValueRef};
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Real(number) => ValueRef::Real(*number),
        Value::Text(text) => ValueRef::Text(text),
        Value::Blob(blob) => ValueRef::Blob(blob),
    })
}
