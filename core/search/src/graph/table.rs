//! Table-valued functions: read-only virtual tables whose hidden columns are their arguments.
//!
//! Invariants:
//! 1. Rows are found when they are asked for, so that a LIMIT ends the search; but where the statement writes, they are all found
//!    before its first write, as SQLite has it for ordinary tables.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{Filters, IndexConstraintOp, IndexInfo};
use rusqlite::{Connection, ffi};

use super::error::GraphError;
use super::library::Library;
use crate::Internal;
use crate::function::{self, Asked, TableFunction};

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
    function::register::<Home<F>>(conn, F::NAME, internal)
}

impl<F: Function> TableFunction for Home<F> {
    type Aux = Internal;
    type Rows = Answer<F>;

    fn open(db: *mut ffi::sqlite3, internal: &Internal) -> Self {
        Self { library: Library::new(db, *internal), kept: RefCell::default() }
    }

    fn name(&self) -> &'static CStr {
        F::NAME
    }

    fn columns(&self) -> &'static CStr {
        F::COLUMNS
    }

    fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
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

    fn ask(home: &Rc<Self>, asked: &Asked<'_>) -> rusqlite::Result<Answer<F>> {
        Self::answer(home, asked).map_err(GraphError::of_table)
    }
}

/// The rows of an answer, or those that were found ahead because the statement writes.
pub(super) enum Answer<F: Function> {
    Found(F::Rows),
    Stored(VecDeque<Vec<Stored>>),
}

impl<F: Function> function::Rows for Answer<F> {
    fn advance(&mut self) -> rusqlite::Result<bool> {
        match self {
            Self::Found(rows) => rows.advance().map_err(GraphError::of_table),
            Self::Stored(rows) => {
                rows.pop_front();
                Ok(!rows.is_empty())
            }
        }
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        match self {
            Self::Found(rows) if column < F::SHOWN => rows.value(column),
            // An argument.
            Self::Found(_) => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Stored(rows) => {
                let stored = || rows.front()?.get(usize::try_from(column).ok()?).map(Stored::value);
                stored().unwrap_or(ToSqlOutput::Borrowed(ValueRef::Null))
            }
        }
    }
}

/// A value that is kept; text need not be UTF-8.
pub(super) enum Stored {
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

impl<F: Function> Home<F> {
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

    fn answer(home: &Rc<Self>, asked: &Asked<'_>) -> Result<Answer<F>, GraphError> {
        // `advance` goes on from before the first row.
        let mut stored = VecDeque::from([Vec::new()]);
        let Some(question) = Self::question(asked.number, asked.arguments)? else { return Ok(Answer::Stored(stored)) };
        let mut rows = F::ask(home, &question)?;
        if !is_written_meanwhile(home.library.db()) {
            return Ok(Answer::Found(rows));
        }
        while rows.advance()? {
            let value = |column: c_int| {
                let is_used = question.uses(column.unsigned_abs());
                if is_used { Stored::of(rows.value(column)) } else { Stored::Plain(Value::Null) }
            };
            stored.push_back((0..F::SHOWN).map(value).collect());
        }
        Ok(Answer::Stored(stored))
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
