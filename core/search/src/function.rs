//! The SQL functions of this crate: scalar ones, and table-valued ones, which are read-only virtual tables whose hidden columns are
//! their arguments.
//!
//! Invariants:
//! 1. No panic leaves a function, which would end the process: it becomes an SQL error that names the function.
//! 2. What a cursor has open is closed before its virtual table is disconnected, and so before the connection is closed.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::rc::Rc;

use rusqlite::functions::{self, FunctionFlags, SqlFnOutput};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, Error, ffi};

use crate::declared;

/// Runs what SQLite calls; a panic becomes an error that names the function.
pub(crate) fn guarded<T>(name: &str, call: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    declared::guarded(format_args!("{name}()"), call)
}

/// Makes a scalar function known to a connection.
///
/// # Errors
/// SQLite's.
pub(crate) fn scalar<T: SqlFnOutput>(
    conn: &Connection,
    name: &'static str,
    arguments: c_int,
    flags: FunctionFlags,
    function: impl Fn(&functions::Context<'_>) -> rusqlite::Result<T> + Send + 'static,
) -> rusqlite::Result<()> {
    conn.create_scalar_function(name, arguments, flags, move |context| guarded(name, || function(context)))
}

/// Reads a whole number; a REAL may be one, since some programs bind all numbers so, JavaScript's among them.
pub(crate) fn whole_number(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Real(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i64),
        _ => None,
    }
}

/// A table-valued function, as it stands on one connection.
pub(crate) trait TableFunction: Sized + 'static {
    /// What it is registered with.
    type Aux: Send + Sync + 'static;
    type Rows: Rows;

    /// Begins it on a connection, which outlives it.
    fn open(db: *mut ffi::sqlite3, aux: &Self::Aux) -> Self;
    fn name(&self) -> &'static CStr;
    /// Its columns as a CREATE TABLE; the hidden ones, which come last, are its arguments.
    fn columns(&self) -> &'static CStr;
    /// Says which conditions it takes, in the number and the words of the plan; false if it cannot be asked so.
    fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool>;
    /// Begins to answer.
    fn ask(this: &Rc<Self>, asked: &Asked<'_>) -> rusqlite::Result<Self::Rows>;
}

/// What a query hands over.
pub(crate) struct Asked<'a> {
    /// The plan's number and words.
    pub(crate) number: c_int,
    pub(crate) words: &'a str,
    /// What the plan took, in its order.
    pub(crate) arguments: &'a Filters<'a>,
}

/// The rows of an answer.
pub(crate) trait Rows: 'static {
    /// Goes on to the next row; tells whether there is one.
    fn advance(&mut self) -> rusqlite::Result<bool>;
    /// Returns a column of the current row.
    fn value(&self, column: c_int) -> ToSqlOutput<'_>;
    /// Returns the current row's rowid; where there is none, rows are counted.
    fn rowid(&self) -> Option<i64> {
        None
    }
}

/// Makes a table-valued function known to a connection.
///
/// # Errors
/// SQLite's.
pub(crate) fn register<F: TableFunction>(conn: &Connection, name: &CStr, aux: F::Aux) -> rusqlite::Result<()> {
    conn.create_module(name, const { &Module::<'_, Table<F>>::eponymous_only_module() }, Some(aux))
}

/// Rows that were all found when the query began.
pub(crate) struct Listed {
    rows: std::vec::IntoIter<Row>,
    row: Row,
    /// The values of the hidden columns, after the row's.
    arguments: Vec<Option<Value>>,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Counted if `None`.
    pub(crate) rowid: Option<i64>,
    /// The columns before the hidden ones.
    pub(crate) values: Vec<Value>,
}

impl Listed {
    pub(crate) fn new(rows: Vec<Row>, arguments: Vec<Option<Value>>) -> Self {
        Self { rows: rows.into_iter(), row: Row::default(), arguments }
    }
}

impl Rows for Listed {
    fn advance(&mut self) -> rusqlite::Result<bool> {
        let next = self.rows.next();
        let is_there = next.is_some();
        self.row = next.unwrap_or_default();
        Ok(is_there)
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let column = usize::try_from(column).unwrap_or_default();
        let value = match column.checked_sub(self.row.values.len()) {
            None => self.row.values.get(column),
            Some(argument) => self.arguments.get(argument).and_then(Option::as_ref),
        };
        ToSqlOutput::Borrowed(value.unwrap_or(&Value::Null).into())
    }

    fn rowid(&self) -> Option<i64> {
        self.row.rowid
    }
}

#[repr(C)]
struct Table<F: TableFunction> {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab,
    function: Rc<F>,
}

fn name<F: TableFunction>(function: &F) -> &'static str {
    function.name().to_str().unwrap_or_default()
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl<'vtab, F: TableFunction> VTab<'vtab> for Table<F> {
    type Aux = F::Aux;
    type Cursor = Cursor<'vtab, F>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&F::Aux>,
        module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let aux = aux.ok_or(Error::InvalidQuery)?;
        // SAFETY: the function lives no longer than the connection that it is registered on.
        let db = unsafe { db.handle() };
        let function = guarded(&String::from_utf8_lossy(module), || Ok(Rc::new(F::open(db, aux))))?;
        Ok((Cow::Borrowed(function.columns()), Self { base: ffi::sqlite3_vtab::default(), function }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        guarded(name(&*self.function), || self.function.plan(info))
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor<'vtab, F>> {
        let function = Rc::clone(&self.function);
        Ok(Cursor { base: ffi::sqlite3_vtab_cursor::default(), function, rows: None, row: 0, table: PhantomData })
    }
}

#[repr(C)]
struct Cursor<'vtab, F: TableFunction> {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab_cursor,
    function: Rc<F>,
    /// None behind the last row.
    rows: Option<F::Rows>,
    row: i64,
    table: PhantomData<&'vtab Table<F>>,
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl<F: TableFunction> VTabCursor for Cursor<'_, F> {
    fn filter(&mut self, number: c_int, words: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        (self.rows, self.row) = (None, 1);
        let asked = Asked { number, words: words.unwrap_or_default(), arguments };
        self.rows = guarded(name(&*self.function), || {
            let mut rows = F::ask(&self.function, &asked)?;
            Ok(rows.advance()?.then_some(rows))
        })?;
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row += 1;
        let Some(mut rows) = self.rows.take() else { return Ok(()) };
        self.rows = guarded(name(&*self.function), || Ok(rows.advance()?.then_some(rows)))?;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.rows.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let Some(rows) = &self.rows else { return Ok(()) };
        guarded(name(&*self.function), || context.set_result(rows.value(column)))
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        guarded(name(&*self.function), || Ok(self.rows.as_ref().and_then(Rows::rowid).unwrap_or(self.row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics where its argument says.
    struct Fails;

    struct FailingRows(i64);

    impl TableFunction for Fails {
        type Aux = ();
        type Rows = FailingRows;

        fn open(_: *mut ffi::sqlite3, (): &()) -> Self {
            Self
        }

        fn name(&self) -> &'static CStr {
            c"fails"
        }

        fn columns(&self) -> &'static CStr {
            c"CREATE TABLE x(a, stage HIDDEN)"
        }

        fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
            assert!(info.constraints().count() > 0, "in the plan");
            info.constraint_usage(0).set_argv_index(1);
            Ok(true)
        }

        fn ask(_: &Rc<Self>, asked: &Asked<'_>) -> rusqlite::Result<FailingRows> {
            let stage = asked.arguments.get(0)?;
            assert_ne!(stage, 1, "when it is asked");
            Ok(FailingRows(stage))
        }
    }

    impl Rows for FailingRows {
        fn advance(&mut self) -> rusqlite::Result<bool> {
            assert_ne!(self.0, 2, "before the first row");
            self.0 -= 1;
            Ok(self.0 > 0)
        }

        fn value(&self, column: c_int) -> ToSqlOutput<'_> {
            assert!(self.0 < 9 || column > 0, "in a column");
            self.0.into()
        }

        fn rowid(&self) -> Option<i64> {
            assert!(self.0 < 9, "in a rowid");
            None
        }
    }

    #[test]
    fn a_panic_in_a_function_is_an_error_that_names_it() {
        let conn = Connection::open_in_memory().unwrap();
        register::<Fails>(&conn, c"fails", ()).unwrap();
        scalar(&conn, "fail", 1, FunctionFlags::SQLITE_UTF8, |context| {
            let number: i64 = context.get(0)?;
            assert_eq!(number, 0, "as is wanted");
            Ok(number)
        })
        .unwrap();
        let ask = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| error.to_string());
        let calls = [
            "SELECT count(*) FROM fails",
            "SELECT count(*) FROM fails(1)",
            "SELECT count(*) FROM fails(2)",
            "SELECT count(*) FROM fails(3)",
            "SELECT a FROM fails(20)",
            "SELECT rowid FROM fails(20)",
        ];
        for call in calls {
            assert_eq!(ask(call), Err("fails(): an internal error; please report it".to_owned()), "{call}");
        }
        assert_eq!(ask("SELECT fail(1)"), Err("fail(): an internal error; please report it".to_owned()));
        assert_eq!((ask("SELECT fail(0)"), ask("SELECT count(*) FROM fails(0)")), (Ok(0), Ok(0)));
    }
}
