//! Table-valued functions: read-only virtual tables whose hidden columns are their arguments.
//!
//! Invariants:
//! 1. Rows are found when they are asked for, so that a LIMIT ends the search; but where the statement writes, they are all found
//!    before its first write, as SQLite has it for ordinary tables.
//! 2. What a cursor has open is closed before the virtual table is disconnected, and so before the connection is.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, ffi};

use super::error::GraphError;
use super::library::Library;
use crate::Internal;

/// The arguments are told by the low bits of the number that the planner keeps, how the depth is bounded by these.
const DEPTH_AT_MOST: c_int = 1 << 6;
const DEPTH_BELOW: c_int = 1 << 7;
const USED_SHIFT: u32 = 8;
/// Of how many columns it is known whether they are read.
const USED_COLUMNS: u32 = 16;

/// A table-valued function.
pub(super) trait Function: Sized + 'static {
    const NAME: &'static CStr;
    /// How it is called, for whoever called it otherwise.
    const USAGE: &'static str;
    const COLUMNS: &'static CStr;
    /// The number of columns before the first argument.
    const SHOWN: c_int;
    /// How many arguments there are, and how many of them must be there. The first is the graph and the last the options.
    const ARGUMENTS: usize;
    const REQUIRED: usize;
    /// The column of a depth that rows come ordered by.
    const DEPTH: Option<c_int> = None;
    type Rows: Rows;
    /// What is kept for the next question like it.
    type Kept: Default;

    /// Begins to answer; `None` if an argument is NULL, which no row belongs to.
    fn ask(home: &Rc<Home<Self>>, question: &Question) -> Result<Self::Rows, GraphError>;
}

/// What is asked.
pub(super) struct Question {
    pub(super) graph: String,
    /// The ids between graph and options.
    pub(super) ids: Vec<Value>,
    pub(super) options: Option<String>,
    /// The columns that are read, one bit each.
    pub(super) used: u32,
    /// The greatest depth that the statement asks for.
    pub(super) depth_most: Option<i64>,
}

impl Question {
    pub(super) const fn uses(&self, column: u32) -> bool {
        self.used & 1 << column != 0
    }
}

/// The rows of an answer.
pub(super) trait Rows {
    /// Goes on to the next row; tells whether there is one.
    fn advance(&mut self) -> Result<bool, GraphError>;
    /// Returns a column of the current row.
    fn value(&self, column: c_int) -> ToSqlOutput<'_>;
}

/// What belongs to one connection's virtual table.
pub(super) struct Home<F: Function> {
    pub(super) library: Library,
    pub(super) kept: RefCell<F::Kept>,
}

/// Makes a function known to a connection.
pub(super) fn register<F: Function>(conn: &Connection, internal: Internal) -> rusqlite::Result<()> {
    conn.create_module(F::NAME, const { &Module::<'_, FunctionTable<F>>::eponymous_only_module() }, Some(internal))
}

#[repr(C)]
struct FunctionTable<F: Function> {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab,
    home: Rc<Home<F>>,
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl<'vtab, F: Function> VTab<'vtab> for FunctionTable<F> {
    type Aux = Internal;
    type Cursor = FunctionCursor<'vtab, F>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Internal>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let internal = *aux.ok_or(rusqlite::Error::InvalidQuery)?;
        // SAFETY: the table lives no longer than the connection that it is registered on.
        let library = Library::new(unsafe { db.handle() }, internal);
        let home = Rc::new(Home { library, kept: RefCell::default() });
        Ok((Cow::Borrowed(F::COLUMNS), Self { base: ffi::sqlite3_vtab::default(), home }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let mut places = [None; 8];
        let (mut depth, mut number) = (None, 0);
        for (at, constraint) in info.constraints().enumerate() {
            let argument =
                usize::try_from(constraint.column() - F::SHOWN).ok().filter(|argument| *argument < F::ARGUMENTS);
            match (argument, constraint.operator()) {
                (Some(argument), IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ) => {
                    if !constraint.is_usable() {
                        return Ok(false);
                    }
                    places[argument] = Some(at);
                    number |= 1 << argument;
                }
                (None, operator) if F::DEPTH == Some(constraint.column()) && constraint.is_usable() => {
                    let bound = match operator {
                        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
                        | IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => DEPTH_AT_MOST,
                        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => DEPTH_BELOW,
                        _ => continue,
                    };
                    depth = Some((at, bound));
                }
                _ => {}
            }
        }
        let mut next = 1;
        for at in places.iter().flatten() {
            let mut usage = info.constraint_usage(*at);
            usage.set_argv_index(next);
            usage.set_omit(true);
            next += 1;
        }
        if let Some((at, bound)) = depth {
            // SQLite looks at each row all the same.
            info.constraint_usage(at).set_argv_index(next);
            number |= bound;
        }
        // Masked to 16 bits, so that it fits.
        let used = (info.col_used() & ((1 << USED_COLUMNS) - 1)) as c_int;
        info.set_idx_num(number | used << USED_SHIFT);
        let is_by_depth = match (info.num_of_order_by(), F::DEPTH) {
            (1, Some(depth)) => info.order_bys().all(|order| order.column() == depth && !order.is_order_by_desc()),
            _ => false,
        };
        info.set_order_by_consumed(is_by_depth);
        let is_complete = (0..F::REQUIRED).all(|argument| places[argument].is_some());
        info.set_estimated_cost(if is_complete { 1e3 } else { 1e12 });
        info.set_estimated_rows(if is_complete { 100 } else { 1_000_000 });
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<FunctionCursor<'vtab, F>> {
        Ok(FunctionCursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            home: Rc::clone(&self.home),
            rows: None,
            stored: VecDeque::new(),
            has_row: false,
            row: 0,
            table: PhantomData,
        })
    }
}

#[repr(C)]
struct FunctionCursor<'vtab, F: Function> {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab_cursor,
    home: Rc<Home<F>>,
    rows: Option<F::Rows>,
    /// Rows that were found ahead, because the statement writes.
    stored: VecDeque<Vec<Stored>>,
    has_row: bool,
    row: i64,
    table: PhantomData<&'vtab FunctionTable<F>>,
}

/// A value that is kept; text need not be UTF-8.
enum Stored {
    Plain(Value),
    Text(Vec<u8>),
}

impl Stored {
    fn of(value: ToSqlOutput<'_>) -> Self {
        match value {
            ToSqlOutput::Owned(value) => Self::Plain(value),
            ToSqlOutput::Borrowed(ValueRef::Integer(number)) => Self::Plain(Value::Integer(number)),
            ToSqlOutput::Borrowed(ValueRef::Real(number)) => Self::Plain(Value::Real(number)),
            ToSqlOutput::Borrowed(ValueRef::Text(text)) => Self::Text(text.to_vec()),
            ToSqlOutput::Borrowed(ValueRef::Blob(blob)) => Self::Plain(Value::Blob(blob.to_vec())),
            _ => Self::Plain(Value::Null),
        }
    }

    fn value(&self) -> ToSqlOutput<'_> {
        match self {
            Self::Plain(value) => ToSqlOutput::Borrowed(value.into()),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
        }
    }
}

impl<F: Function> FunctionCursor<'_, F> {
    fn question(number: c_int, given: &Filters<'_>) -> Result<Option<Question>, GraphError> {
        let is_there = |argument: usize| number & 1 << argument != 0;
        let called_otherwise = || GraphError::Arguments { function: name_of::<F>(), usage: F::USAGE };
        if !(0..F::REQUIRED).all(is_there) {
            return Err(called_otherwise());
        }
        if F::ARGUMENTS == 0 {
            let (graph, ids, options, depth_most) = (String::new(), Vec::new(), None, None);
            return Ok(Some(Question {
                graph,
                ids,
                options,
                used: (number >> USED_SHIFT).cast_unsigned(),
                depth_most,
            }));
        }
        let mut next = 0;
        let mut values = Vec::with_capacity(F::ARGUMENTS);
        for argument in 0..F::ARGUMENTS {
            if is_there(argument) {
                values.push(given.get::<Value>(next)?);
                next += 1;
            } else {
                values.push(Value::Null);
            }
        }
        let bound = |is_below: bool| {
            Ok::<_, GraphError>(match given.get::<Value>(next)? {
                Value::Integer(depth) => Some(depth.saturating_sub(i64::from(is_below))),
                _ => None,
            })
        };
        let depth_most = match number & (DEPTH_AT_MOST | DEPTH_BELOW) {
            0 => None,
            DEPTH_BELOW => bound(true)?,
            _ => bound(false)?,
        };
        let options = match values.pop() {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Null) => None,
            _ => return Err(called_otherwise()),
        };
        let ids = values.split_off(1);
        let graph = match values.pop() {
            Some(Value::Text(name)) => name,
            Some(Value::Null) => return Ok(None),
            _ => return Err(called_otherwise()),
        };
        if ids.contains(&Value::Null) {
            return Ok(None);
        }
        let used = (number >> USED_SHIFT).cast_unsigned();
        Ok(Some(Question { graph, ids, options, used, depth_most }))
    }

    fn begin(&mut self, number: c_int, given: &Filters<'_>) -> Result<(), GraphError> {
        let Some(question) = Self::question(number, given)? else { return Ok(()) };
        let mut rows = F::ask(&self.home, &question)?;
        if !is_written_meanwhile(self.home.library.db()) {
            self.has_row = rows.advance()?;
            self.rows = Some(rows);
            return Ok(());
        }
        while rows.advance()? {
            let value = |column: c_int| {
                let is_used = question.uses(column.unsigned_abs());
                if is_used { Stored::of(rows.value(column)) } else { Stored::Plain(Value::Null) }
            };
            self.stored.push_back((0..F::SHOWN).map(value).collect());
        }
        self.has_row = !self.stored.is_empty();
        Ok(())
    }
}

fn name_of<F: Function>() -> &'static str {
    F::NAME.to_str().unwrap_or_default()
}

/// Tells whether a statement that writes is running on the connection.
fn is_written_meanwhile(db: *mut ffi::sqlite3) -> bool {
    // SAFETY: the handle is open while a cursor of its is used; every statement listed is alive.
    unsafe {
        if ffi::sqlite3_txn_state(db, ptr::null()) != ffi::SQLITE_TXN_WRITE {
            return false;
        }
        let mut statement = ffi::sqlite3_next_stmt(db, ptr::null_mut());
        while !statement.is_null() {
            if ffi::sqlite3_stmt_busy(statement) != 0 && ffi::sqlite3_stmt_readonly(statement) == 0 {
                return true;
            }
            statement = ffi::sqlite3_next_stmt(db, statement);
        }
    }
    false
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl<F: Function> VTabCursor for FunctionCursor<'_, F> {
    fn filter(&mut self, number: c_int, _text: Option<&str>, given: &Filters<'_>) -> rusqlite::Result<()> {
        self.rows = None;
        self.stored.clear();
        self.has_row = false;
        self.row = 1;
        self.begin(number, given).map_err(GraphError::of_table)
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row += 1;
        self.has_row = match &mut self.rows {
            Some(rows) => rows.advance().map_err(GraphError::of_table)?,
            None => {
                self.stored.pop_front();
                !self.stored.is_empty()
            }
        };
        Ok(())
    }

    fn eof(&self) -> bool {
        !self.has_row
    }

    fn column(&self, context: &mut Context, index: c_int) -> rusqlite::Result<()> {
        let stored = || self.stored.front()?.get(usize::try_from(index).ok()?).map(Stored::value);
        let value = match &self.rows {
            Some(rows) if index < F::SHOWN => rows.value(index),
            _ => stored().unwrap_or(ToSqlOutput::Borrowed(ValueRef::Null)),
        };
        context.set_result(value)
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.row)
    }
}
