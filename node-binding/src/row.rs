//! Rows of a statement into values of JavaScript.
//!
//! JavaScript compiles two functions for a statement's columns: `one` makes a row of its arguments, `many` takes an array and the
//! values of any number of rows, and adds the rows to the array.

use std::cell::Cell;

use kithdb_sqlite::{Statement, ValueRef};

use crate::blobs::Blobs;
use crate::js::{Answer, Js, Kept, Thrown, Val};

/// How many rows are made in one call, unless they have many columns.
const BATCH_ROWS: usize = 64;
/// How many values one call may take.
const BATCH_VALUES: usize = 512;

/// After how many rows their functions are compiled: that costs more than a few rows do, and many statements return no more.
const COLD_ROWS: usize = 8;

/// What a row looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Object,
    Pluck,
    Expand,
    Raw,
}

/// The values of some rows, on their way to JavaScript.
pub(crate) struct Batch {
    /// The array that the rows are added to, then the values.
    values: Vec<Val>,
    blobs: Blobs,
}

impl Batch {
    pub(crate) fn new(js: Js, array: Val) -> Self {
        Self { values: vec![array], blobs: Blobs::new(js) }
    }

    /// Begins anew, with the same array.
    pub(crate) fn clear(&mut self) {
        self.values.truncate(1);
        self.blobs.clear();
    }
}

/// The functions that make a statement's rows, and what they were made for.
pub(crate) struct Rows {
    one: Kept,
    many: Kept,
    mode: Mode,
    columns: usize,
    reprepared: i32,
    /// Whether the functions are compiled for these columns.
    is_hot: bool,
    made: Cell<usize>,
}

impl Rows {
    /// Has JavaScript make the functions for a statement as it is now.
    pub(crate) fn of(js: Js, statement: &Statement, mode: Mode, is_hot: bool) -> Answer<Self> {
        let count = statement.column_count();
        let (names, tables) = (js.array()?, js.array()?);
        if matches!(mode, Mode::Object | Mode::Expand) {
            for index in 0..count {
                js.push(names, js.string(statement.column_name(index).unwrap_or_default().as_bytes())?)?;
                if mode == Mode::Expand {
                    let table = statement.column_table(index).unwrap_or_else(|| "$".to_owned());
                    js.push(tables, js.string(table.as_bytes())?)?;
                }
            }
        }
        let columns = if mode == Mode::Pluck { 1 } else { count };
        let count = js.int32(i32::try_from(columns).unwrap_or(i32::MAX))?;
        let arguments = [js.int32(mode as i32)?, count, names, tables, js.boolean(is_hot)?];
        let made = js.call(js.instance().make_rows(js)?, &arguments)?;
        let kept = |index| Kept::new(js, js.element(made, index)?);
        Ok(Self {
            one: kept(0)?,
            many: kept(1)?,
            mode,
            columns,
            reprepared: statement.reprepared(),
            is_hot,
            made: Cell::new(0),
        })
    }

    /// Tells whether they still fit; asked after a statement's first step, which compiles it again if the schema has changed.
    pub(crate) fn fit(&self, statement: &Statement, mode: Mode) -> bool {
        self.mode == mode && self.reprepared == statement.reprepared() && !self.is_warm()
    }

    /// Tells whether it is time to have the functions compiled.
    pub(crate) fn is_warm(&self) -> bool {
        !self.is_hot && self.made.get() >= COLD_ROWS
    }

    /// Makes a value of the row that the statement is at.
    pub(crate) fn one(&self, js: Js, statement: &Statement, is_safe: bool) -> Answer {
        self.made.set(self.made.get() + 1);
        if self.mode == Mode::Pluck {
            return value(js, statement.column(0), is_safe);
        }
        let mut blobs = Blobs::new(js);
        let mut few = [std::ptr::null_mut(); 16];
        let mut many = Vec::new();
        let values = if self.columns <= few.len() {
            &mut few[..self.columns]
        } else {
            many.resize(self.columns, std::ptr::null_mut());
            &mut many[..]
        };
        for (index, place) in values.iter_mut().enumerate() {
            *place = cell(js, statement.column(index), is_safe, &mut blobs)?;
        }
        js.call(self.one.get(js)?, values)
    }

    /// Returns how many rows one call makes at most.
    pub(crate) fn batch(&self) -> usize {
        (BATCH_VALUES / self.columns.max(1)).clamp(1, BATCH_ROWS)
    }

    /// Adds the values of the row that the statement is at.
    pub(crate) fn take(&self, js: Js, statement: &Statement, is_safe: bool, batch: &mut Batch) -> Answer<()> {
        for index in 0..self.columns {
            batch.values.push(cell(js, statement.column(index), is_safe, &mut batch.blobs)?);
        }
        Ok(())
    }

    /// Makes the rows of these values and adds them to their array.
    pub(crate) fn many(&self, js: Js, batch: &Batch) -> Answer<()> {
        self.made.set(self.made.get() + batch.values.len() / self.columns.max(1));
        js.call(self.many.get(js)?, &batch.values).map(drop)
    }
}

/// Makes the value that stands for SQLite's in a call of the functions that make rows.
fn cell(js: Js, given: ValueRef<'_>, is_safe: bool, blobs: &mut Blobs) -> Answer {
    if let ValueRef::Blob(blob) = given
        && let Some(mark) = blobs.leave(blob)
    {
        return mark;
    }
    value(js, given, is_safe)
}

/// Makes a value of JavaScript of SQLite's.
pub(crate) fn value(js: Js, value: ValueRef<'_>, is_safe: bool) -> Answer {
    match value {
        ValueRef::Integer(number) if is_safe => js.bigint(number),
        ValueRef::Integer(number) => match i32::try_from(number) {
            Ok(small) => js.int32(small),
            Err(_) => js.double(number as f64),
        },
        ValueRef::Real(number) => js.double(number),
        ValueRef::Text(text) => js.string(text),
        ValueRef::Blob(blob) => js.buffer(blob),
        ValueRef::Null => js.null(),
    }
}

impl Mode {
    pub(crate) fn of(number: i32) -> Answer<Self> {
        [Self::Object, Self::Pluck, Self::Expand, Self::Raw]
            .into_iter()
            .find(|mode| *mode as i32 == number)
            .ok_or_else(|| Thrown::Plain("there is no such mode".to_owned()))
    }
}
