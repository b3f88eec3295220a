//! A statement on its database's thread, used as node-sqlite3 uses one.
//!
//! Invariants:
//! 1. What is lent to the statement lies in `lent`, which is replaced only after the bindings were cleared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kithdb_sqlite::{Database, SqliteError, Statement, Step, ValueRef};

use super::job::{Form, MISUSE, Outcome, Parameters, Place, Rows, Shape, Use};
use super::values::Values;

/// How many rows go in one piece of a long result, at most.
const PIECE_ROWS: usize = 64;

/// Where the pieces of a long result go.
pub(crate) trait Pieces {
    /// Tells whether a piece is better sent than kept until there is more of it.
    fn is_awaited(&self) -> bool;
    /// Sends a piece; tells whether to go on.
    fn send(&self, rows: Rows) -> bool;
}

pub(crate) struct Prepared {
    /// `None` for a text without a statement.
    statement: Option<Statement>,
    /// Whether the last step came to the statement's end.
    is_done: bool,
    lent: Values,
    shape: Option<(i32, Arc<Shape>)>,
    /// What went wrong after rows that are to be told of before it.
    failed: Option<SqliteError>,
}

impl Prepared {
    pub(crate) fn new(database: &Database, sql: &str) -> Result<Self, SqliteError> {
        let sql = sql.split('\0').next().unwrap_or_default();
        let (statement, _rest) = database.prepare(sql)?;
        Ok(Self { statement, is_done: false, lent: Values::default(), shape: None, failed: None })
    }

    fn statement(&self) -> Result<&Statement, SqliteError> {
        self.statement.as_ref().ok_or_else(|| SqliteError::new(MISUSE, "not an error"))
    }

    pub(crate) fn use_as(
        &mut self,
        how: Use,
        form: Form,
        parameters: Parameters,
        database: &Database,
        pieces: &impl Pieces,
    ) -> Result<Outcome, SqliteError> {
        match how {
            Use::Bind => self.bind(parameters).map(|()| {
                self.is_done = false;
                Outcome::Done
            }),
            Use::Run => {
                let before = database.total_changes();
                self.begin(parameters)?;
                self.step()?;
                Ok(Outcome::Ran {
                    last_id: database.last_insert_rowid(),
                    changes: database.changes(),
                    has_changed: database.total_changes() != before,
                })
            }
            Use::Get => self.get(form, parameters),
            Use::All => self.all(form, parameters),
            Use::Each => self.each(form, parameters, pieces),
            Use::Next => self.next(form),
        }
    }

    /// Begins anew, with these parameters or the ones before.
    fn begin(&mut self, parameters: Parameters) -> Result<(), SqliteError> {
        if parameters.values.is_empty() {
            self.statement()?.reset();
        }
        self.bind(parameters)
    }

    fn bind(&mut self, parameters: Parameters) -> Result<(), SqliteError> {
        if parameters.values.is_empty() {
            return Ok(());
        }
        let statement = self.statement.as_ref().ok_or_else(|| SqliteError::of_code(MISUSE))?;
        statement.reset();
        statement.clear_bindings();
        self.lent = parameters.values;
        for index in (0..self.lent.len()).filter(|&index| !self.lent.is_absent(index)) {
            let number = match parameters.places.get(index) {
                None => index + 1,
                Some(Place::Number(number)) => *number,
                Some(Place::Name(name)) => number_of(statement, |known| known == name).unwrap_or(0),
                Some(Place::Bare(name)) => match number_of(statement, |known| known.get(1..) == Some(name)) {
                    Some(number) => number,
                    None => continue,
                },
            };
            let bound = match self.lent.get(index) {
                // There is nothing to set: a parameter is NULL until it is.
                ValueRef::Null if number > 0 && number <= statement.parameter_count() => Ok(()),
                ValueRef::Null => statement.bind_null(number),
                ValueRef::Integer(value) => statement.bind_i64(number, value),
                ValueRef::Real(value) => statement.bind_f64(number, value),
                // SAFETY: the bytes stay until the bindings are cleared (invariant 1).
                ValueRef::Text(text) => unsafe { statement.lend_text(number, text) },
                // SAFETY: as above.
                ValueRef::Blob(blob) => unsafe { statement.lend_blob(number, blob) },
            };
            bound?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step, SqliteError> {
        self.is_done = false;
        let step = self.statement()?.step()?;
        self.is_done = step == Step::Done;
        Ok(step)
    }

    /// Returns the next row: a statement that is got from again goes on unless it is given parameters.
    fn get(&mut self, form: Form, parameters: Parameters) -> Result<Outcome, SqliteError> {
        if self.is_done && parameters.values.is_empty() {
            return Ok(Outcome::Row(None));
        }
        self.bind(parameters)?;
        if self.step()? == Step::Done {
            return Ok(Outcome::Row(None));
        }
        let shape = self.shape()?;
        let mut values = Values::with_capacity(shape.names.len());
        self.take(&mut values)?;
        Ok(Outcome::Row(Some(Rows { shape, form, values })))
    }

    fn all(&mut self, form: Form, parameters: Parameters) -> Result<Outcome, SqliteError> {
        self.begin(parameters)?;
        if self.step()? == Step::Done {
            return Ok(Outcome::All(None));
        }
        let shape = self.shape()?;
        let mut values = Values::default();
        loop {
            self.take(&mut values)?;
            if self.step()? == Step::Done {
                return Ok(Outcome::All(Some(Rows { shape, form, values })));
            }
        }
    }

    /// Returns some rows, none only at the end; those before a failure come before it.
    fn next(&mut self, form: Form) -> Result<Outcome, SqliteError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut values = Values::default();
        let mut shape = None;
        for row in 0..PIECE_ROWS {
            if self.is_done {
                break;
            }
            match self.step() {
                Ok(Step::Done) => break,
                Ok(Step::Row) => {}
                Err(error) if row == 0 => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
            if shape.is_none() {
                shape = Some(self.shape()?);
            }
            self.take(&mut values)?;
        }
        Ok(Outcome::All(shape.map(|shape| Rows { shape, form, values })))
    }

    /// Tells what it returns, and what it takes.
    pub(crate) fn describe(&self) -> Outcome {
        let columns = self.statement.as_ref().map_or_else(Vec::new, |statement| {
            (0..statement.column_count())
                .map(|index| {
                    [
                        statement.column_name(index),
                        statement.column_origin(index),
                        statement.column_table(index),
                        statement.column_database(index),
                        statement.column_declared_type(index),
                    ]
                })
                .collect()
        });
        Outcome::Described { columns, parameters: self.statement.as_ref().map_or(0, Statement::parameter_count) }
    }

    fn each(&mut self, form: Form, parameters: Parameters, pieces: &impl Pieces) -> Result<Outcome, SqliteError> {
        self.begin(parameters)?;
        let mut values = Values::default();
        let mut rows = 0;
        let mut shape = None;
        loop {
            // What was read before a failure is told of before it.
            let step = self.step();
            let is_row = matches!(step, Ok(Step::Row));
            if is_row {
                if shape.is_none() {
                    shape = Some(self.shape()?);
                }
                self.take(&mut values)?;
                rows += 1;
            }
            if let Some(shape) = &shape {
                let is_full = rows == PIECE_ROWS;
                if rows > 0 && (!is_row || is_full || pieces.is_awaited()) {
                    let piece = Rows { shape: Arc::clone(shape), form, values: std::mem::take(&mut values) };
                    rows = 0;
                    if !pieces.send(piece) {
                        return Ok(Outcome::Dropped);
                    }
                }
            }
            if step? == Step::Done {
                return Ok(Outcome::Done);
            }
        }
    }

    /// Adds the row that the statement is at.
    fn take(&self, values: &mut Values) -> Result<(), SqliteError> {
        let statement = self.statement()?;
        let columns = self.shape.as_ref().map_or(0, |(_, shape)| shape.names.len());
        for index in 0..columns {
            values.push(statement.column(index));
        }
        Ok(())
    }

    /// Returns the columns' names, once the statement is at its first row.
    fn shape(&mut self) -> Result<Arc<Shape>, SqliteError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let statement = self.statement()?;
        let version = statement.reprepared();
        if let Some((known, shape)) = &self.shape
            && *known == version
        {
            return Ok(Arc::clone(shape));
        }
        let names =
            (0..statement.column_count()).map(|index| statement.column_name(index).unwrap_or_default()).collect();
        let shape = Arc::new(Shape { id: NEXT.fetch_add(1, Ordering::Relaxed), names });
        self.shape = Some((version, Arc::clone(&shape)));
        Ok(shape)
    }

    pub(crate) fn reset(&mut self) {
        self.is_done = false;
        self.failed = None;
        if let Some(statement) = &self.statement {
            statement.reset();
        }
    }

    /// Makes it as it was when it was prepared.
    pub(crate) fn renew(&mut self) {
        self.reset();
        if let Some(statement) = &self.statement {
            statement.clear_bindings();
        }
        self.lent.clear();
    }
}

/// Returns the number of the parameter whose name it is.
fn number_of(statement: &Statement, is_it: impl Fn(&str) -> bool) -> Option<usize> {
    (1..=statement.parameter_count()).find(|&number| statement.parameter_name(number).is_some_and(|name| is_it(&name)))
}
