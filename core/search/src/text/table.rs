//! A table-valued function over the connection it is called on: its rows are found when a query begins.
//!
//! `rowid IN (…)` or `rowid = …` in the statement's WHERE is handed to the search whole, so that it looks for the best rows among those, instead of
//! SQLite throwing away most of what was found; SQLite checks it again all the same.

use std::ffi::{CStr, c_int};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{Type, Value, ValueRef};
use rusqlite::vtab::{IndexConstraintOp, IndexInfo};
use rusqlite::{Connection, Error, ffi};

use super::common::Frequencies;
use super::error::TextError;
use crate::Internal;
use crate::function::{self, Asked, Listed, Row, TableFunction, whole_number};

/// What the function was called with.
#[derive(Debug)]
pub(super) struct Arguments {
    function: &'static str,
    values: Vec<Option<Value>>,
    /// Each list that the rowid must be in.
    pub(super) rowids: Vec<Vec<i64>>,
    /// Which columns the statement reads, as bits.
    pub(super) used: u64,
    /// How to begin what is only KithDB's.
    pub(super) internal: Internal,
}

impl Arguments {
    pub(super) fn value(&self, place: usize) -> Option<&Value> {
        self.values.get(place).and_then(Option::as_ref).filter(|value| **value != Value::Null)
    }

    /// Returns an argument that must be there.
    pub(super) fn text(&self, place: usize, what: &str) -> Result<String, TextError> {
        match self.optional_text(place, what)? {
            Some(text) => Ok(text),
            None => Err(TextError::argument(format!("argument {} of {} is {what}, as text", place + 1, self.function))),
        }
    }

    pub(super) fn optional_text(&self, place: usize, what: &str) -> Result<Option<String>, TextError> {
        match self.value(place) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(Value::Real(number)) => Ok(Some(number.to_string())),
            Some(_) => {
                Err(TextError::argument(format!("argument {} of {} is {what}, as text", place + 1, self.function)))
            }
        }
    }

    /// Returns how many rows are wanted.
    pub(super) fn limit(&self, place: usize, default: i64, max: i64) -> Result<i64, TextError> {
        match self.value(place) {
            None => Ok(default),
            Some(Value::Integer(limit)) if (1..=max).contains(limit) => Ok(*limit),
            // JavaScript has but one kind of number.
            Some(Value::Real(limit)) if limit.fract() == 0.0 && (1.0..=max as f64).contains(limit) => Ok(*limit as i64),
            Some(_) => Err(TextError::argument(format!(
                "argument {} of {} is how many rows to return, from 1 to {max}",
                place + 1,
                self.function
            ))),
        }
    }
}

/// A table-valued function.
pub(super) struct Function {
    pub(super) name: &'static CStr,
    /// Its columns; the hidden ones, which come last, are the arguments.
    pub(super) columns: &'static CStr,
    /// How many columns are not hidden.
    pub(super) shown: usize,
    /// How many arguments there may be.
    pub(super) arguments: usize,
    pub(super) run: fn(&Connection, &Arguments, &mut Frequencies) -> Result<Vec<Row>, TextError>,
}

type Aux = (&'static Function, Arc<Mutex<Frequencies>>, Internal);

/// Adds functions to a connection.
pub(super) fn register(conn: &Connection, functions: &'static [Function], internal: Internal) -> rusqlite::Result<()> {
    let frequencies = Arc::new(Mutex::new(Frequencies::default()));
    for function in functions {
        function::register::<Table>(conn, function.name, (function, Arc::clone(&frequencies), internal))?;
    }
    Ok(())
}

/// A function on a connection.
struct Table {
    db: *mut ffi::sqlite3,
    function: &'static Function,
    frequencies: Arc<Mutex<Frequencies>>,
    internal: Internal,
}

/// Stand in the plan for a list of rowids, and for one; arguments stand there as digits.
const ROWIDS: char = 'r';
const ROWID: char = 'o';

pub(super) fn owned(value: ValueRef<'_>) -> Value {
    match value.data_type() {
        // Text that is not UTF-8 is read as far as it can be.
        Type::Text => Value::Text(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()),
        _ => value.try_into().unwrap_or(Value::Null),
    }
}

impl TableFunction for Table {
    type Aux = Aux;
    type Rows = Listed;

    fn open(db: *mut ffi::sqlite3, (function, frequencies, internal): &Aux) -> Self {
        Self { db, function, frequencies: Arc::clone(frequencies), internal: *internal }
    }

    fn name(&self) -> &'static CStr {
        self.function.name
    }

    fn columns(&self) -> &'static CStr {
        self.function.columns
    }

    fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let mut plan = String::new();
        let mut taken = Vec::new();
        let constraints: Vec<(c_int, bool, bool)> = info
            .constraints()
            .map(|constraint| {
                let is_equal = constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ;
                (constraint.column(), is_equal, constraint.is_usable())
            })
            .collect();
        let (mut is_narrowed, mut is_foreign) = (false, false);
        for (place, (column, is_equal, is_usable)) in constraints.into_iter().enumerate() {
            if !is_equal {
                continue;
            }
            let argument = usize::try_from(column).ok().and_then(|column| column.checked_sub(self.function.shown));
            match argument {
                // An argument that comes from a table that this plan has further in.
                Some(_) if !is_usable => return Ok(false),
                Some(argument) => {
                    plan.push(char::from(b'0' + u8::try_from(argument).unwrap_or(9)));
                    taken.push((place, true));
                }
                None if column == -1 && is_usable => {
                    let is_list = info.is_in_constraint(place)? && info.set_in_constraint(place, true)?;
                    plan.push(if is_list { ROWIDS } else { ROWID });
                    taken.push((place, false));
                    is_narrowed = true;
                    // It may be a column of another table, whose rows are rather to be found among the best.
                    is_foreign |= !is_list && info.rhs_value(place)?.is_none();
                }
                None => {}
            }
        }
        for (index, (place, omit)) in taken.into_iter().enumerate() {
            let mut usage = info.constraint_usage(place);
            usage.set_argv_index(index as c_int + 1);
            usage.set_omit(omit);
        }
        info.set_idx_str(&plan);
        info.set_idx_num((info.col_used() & 0x7fff_ffff) as c_int);
        info.set_estimated_cost(match (is_narrowed, is_foreign) {
            (true, false) => 1e5,
            (false, _) => 2e5,
            (true, true) => 1e6,
        });
        info.set_estimated_rows(10);
        Ok(true)
    }

    fn ask(this: &Rc<Self>, asked: &Asked<'_>) -> rusqlite::Result<Listed> {
        let mut values = vec![None; this.function.arguments];
        let mut rowids = Vec::new();
        for (place, (kind, value)) in asked.words.chars().zip(asked.arguments.iter()).enumerate() {
            if kind == ROWIDS {
                let mut list = Vec::new();
                let mut listed = asked.arguments.in_values(place)?;
                while let Some(value) = listed.next()? {
                    list.extend(whole_number(value));
                }
                rowids.push(list);
            } else if kind == ROWID {
                rowids.push(whole_number(value).into_iter().collect());
            } else if let Some(slot) = kind.to_digit(10).and_then(|digit| values.get_mut(digit as usize)) {
                *slot = Some(owned(value));
            }
        }
        let arguments = Arguments {
            function: this.function.name.to_str().unwrap_or_default(),
            values,
            rowids,
            used: u64::from(asked.number.cast_unsigned()),
            internal: this.internal,
        };
        // SAFETY: the function lives no longer than the connection; this borrowed handle is not closed when dropped.
        let conn = unsafe { Connection::from_handle(this.db) }?;
        // A search that another one's argument runs finds the memory in use and goes without.
        let mut own = Frequencies::default();
        let mut shared = this.frequencies.try_lock();
        let frequencies = shared.as_deref_mut().unwrap_or(&mut own);
        let found = (this.function.run)(&conn, &arguments, frequencies);
        let rows = found.map_err(|error| Error::ModuleError(error.to_string()))?;
        Ok(Listed::new(rows, arguments.values))
    }
}
