//! A prepared statement, as the face of node:sqlite has it.
//!
//! Invariants:
//! 1. What its arena lends to SQLite is given back before the arena goes: the statement is finalized first.
//! 2. A statement that runs is not run, reset or finalized from within: `is_running` is set while SQLite or a getter of the
//!    caller's may call JavaScript.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kithdb_sqlite::{Counter, Step};

use super::bind::{Binder, Names};
use super::database::{db, enter};
use super::errors::{invalid_state, invalid_value};
use super::values::safe;
use crate::bind::{Arena, Parameters};
use crate::js::{Answer, Js, Thrown, Val};
use crate::row::{Batch, Mode};
use crate::statement::{Statements, Stmt};

struct NodeStatement {
    stmt: Rc<Stmt>,
    names: Names,
    arena: RefCell<Arena>,
    allows_bare: Cell<bool>,
    allows_unknown: Cell<bool>,
    is_running: Cell<bool>,
    /// How often it was begun; an iterator belongs to one run.
    runs: Cell<u32>,
    /// Whether the run's last row was taken.
    is_exhausted: Cell<bool>,
    /// Why the row after those that were taken ahead cannot be had; said when it is asked for.
    pending: RefCell<Option<Thrown>>,
    /// How much the connection had changed when rows were last taken.
    changes: Cell<i64>,
}

impl Drop for NodeStatement {
    fn drop(&mut self) {
        self.stmt.statement.finalize();
    }
}

/// Says that a statement runs, until it is dropped.
struct Running<'s>(&'s Cell<bool>);

impl<'s> Running<'s> {
    fn begin(is_running: &'s Cell<bool>) -> Self {
        is_running.set(true);
        Self(is_running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Ends a run when it is dropped; its parameters stay, for `expandedSQL` shows them.
struct Finish<'s>(&'s NodeStatement);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.stmt.statement.reset();
    }
}

impl NodeStatement {
    fn check_open(&self, js: Js) -> Answer<()> {
        if self.stmt.statement.is_finalized() {
            return invalid_state(js, "statement has been finalized");
        }
        Ok(())
    }

    fn check_idle(&self, js: Js) -> Answer<()> {
        self.check_open(js)?;
        if self.stmt.db.is_authorizing.get() {
            return enter(js, &self.stmt.db);
        }
        if self.is_running.get() {
            return invalid_state(js, "statement is already being executed");
        }
        Ok(())
    }

    /// Begins a run: from here on, iterators of earlier ones are invalid.
    fn begin(&self, js: Js, arguments: &[Val]) -> Answer<()> {
        self.check_idle(js)?;
        let statement = &self.stmt.statement;
        self.runs.set(self.runs.get().wrapping_add(1));
        self.is_exhausted.set(false);
        self.pending.take();
        statement.reset();
        statement.clear_bindings();
        let mut arena = self.arena.borrow_mut();
        arena.clear();
        let _running = Running::begin(&self.is_running);
        let binder = Binder {
            js,
            statement,
            names: &self.names,
            arena: &mut arena,
            allows_bare: self.allows_bare.get(),
            allows_unknown: self.allows_unknown.get(),
        };
        binder.bind(arguments)
    }

    fn with_run<T>(&self, js: Js, arguments: &[Val], run: impl FnOnce() -> Answer<T>) -> Answer<T> {
        self.begin(js, arguments)?;
        let _finish = Finish(self);
        let _running = Running::begin(&self.is_running);
        run()
    }

    /// Adds rows to an array, the next ones, at most `limit`; tells whether the last is among them.
    ///
    /// What goes wrong after the first row is kept until that row's place is asked for.
    fn collect_ahead(&self, js: Js, array: Val, limit: usize) -> Answer<bool> {
        let (stmt, is_safe) = (&self.stmt, self.stmt.is_safe.get());
        js.scoped(|| {
            let mut batch = Batch::new(js, array);
            let mut taken = 0;
            let mut makers = None;
            let mut take = || -> Answer<bool> {
                if stmt.step()? == Step::Done {
                    return Ok(true);
                }
                if makers.is_none() {
                    makers = Some(stmt.rows(js)?);
                }
                if let Some(rows) = &makers {
                    rows.take(js, &stmt.statement, is_safe, &mut batch)?;
                }
                Ok(false)
            };
            let mut is_done = false;
            while !is_done && taken < limit {
                match take() {
                    Ok(is_end) => is_done = is_end,
                    Err(thrown) if taken == 0 => return Err(thrown),
                    Err(thrown) => {
                        *self.pending.borrow_mut() = Some(js.put_off(thrown));
                        break;
                    }
                }
                taken += 1;
            }
            if let Some(rows) = makers {
                rows.many(js, &batch)?;
            }
            Ok(is_done)
        })
    }
}

fn split<'v>(js: Js, arguments: &[Val]) -> Answer<(&'v NodeStatement, &[Val])> {
    match arguments.split_first() {
        Some((first, rest)) => Ok((js.native::<Rc<NodeStatement>>(*first)?, rest)),
        None => Err(Thrown::Plain("a native function was called without its statement".to_owned())),
    }
}

const fn mode(is_raw: bool) -> Mode {
    if is_raw { Mode::BareRaw } else { Mode::Bare }
}

/// Prepares the first statement of a text: database, text, whether integers are bigints, rows arrays, bare names allowed,
/// unknown names allowed. Tells how many parameters there are.
pub(super) fn prepare(js: Js, arguments: &[Val]) -> Answer {
    let &[_, sql, is_safe, is_raw, allows_bare, allows_unknown] = arguments else {
        return Err(Thrown::Plain("prepare takes six arguments".to_owned()));
    };
    let db = db(js, arguments)?;
    enter(js, db)?;
    let sql = js.string_of(sql)?;
    let statement = match db.prepare(&sql)? {
        (Some(statement), _) => statement,
        // A leading semicolon is an empty statement.
        (None, rest) => match first_of(db, rest)? {
            Some(statement) => statement,
            None => return invalid_value(js, "The SQL query contains no statements."),
        },
    };
    let names = Names::of(&statement);
    let stmt = Stmt::new(db, statement, Parameters::default(), mode(js.truth(is_raw)?), js.truth(is_safe)?);
    let held = Rc::new(NodeStatement {
        stmt: Rc::clone(&stmt),
        names,
        arena: RefCell::new(Arena::new()),
        allows_bare: Cell::new(js.truth(allows_bare)?),
        allows_unknown: Cell::new(js.truth(allows_unknown)?),
        is_running: Cell::default(),
        runs: Cell::default(),
        is_exhausted: Cell::default(),
        pending: RefCell::default(),
        changes: Cell::default(),
    });
    js.instance().tell(0, stmt.statement.parameter_count() as f64);
    Statements::hold(js, db, held)
}

fn first_of(db: &crate::database::Db, mut rest: &str) -> Answer<Option<kithdb_sqlite::Statement>> {
    while !rest.is_empty() {
        match db.prepare(rest)? {
            (Some(statement), _) => return Ok(Some(statement)),
            (None, tail) => rest = tail,
        }
    }
    Ok(None)
}

/// Runs as far as it changes anything; tells how many rows were changed and the last one's key.
pub(super) fn run(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    held.with_run(js, arguments, || Ok(held.stmt.step()?))?;
    let database = &held.stmt.db.database;
    let (changes, rowid) = (database.changes(), database.last_insert_rowid());
    js.instance().tell(0, changes as f64);
    if held.stmt.is_safe.get() {
        return js.bigint(rowid);
    }
    js.instance().tell(1, safe(rowid)?);
    js.undefined()
}

/// Returns the first row, or undefined.
pub(super) fn get(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    let stmt = &held.stmt;
    held.with_run(js, arguments, || match stmt.step()? {
        Step::Row => stmt.rows(js)?.one(js, &stmt.statement, stmt.is_safe.get()),
        Step::Done => js.undefined(),
    })
}

/// Returns all rows.
pub(super) fn all(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    held.with_run(js, arguments, || {
        let array = js.array()?;
        if held.stmt.step()? == Step::Row {
            held.stmt.collect(js, array)?;
        }
        Ok(array)
    })
}

/// Begins to iterate; tells the run's number.
pub(super) fn iterate(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    held.begin(js, arguments)?;
    held.changes.set(held.stmt.db.database.total_changes());
    js.instance().tell(0, f64::from(held.runs.get()));
    js.undefined()
}

/// Tells whether a run is the statement's last, as its number says.
fn is_current(js: Js, held: &NodeStatement, run: Val) -> Answer<bool> {
    Ok(js.number(run)? == f64::from(held.runs.get()))
}

/// Returns the next rows of a run: statement, run, how many at most. Tells whether the last is among them.
pub(super) fn next(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    let &[run, limit] = arguments else {
        return Err(Thrown::Plain("next takes three arguments".to_owned()));
    };
    held.check_idle(js)?;
    if !is_current(js, held, run)? {
        return invalid_state(js, "iterator was invalidated");
    }
    if let Some(thrown) = held.pending.take() {
        return Err(thrown);
    }
    let array = js.array()?;
    if !held.is_exhausted.get() {
        let stmt = &held.stmt;
        let changes = stmt.db.database.total_changes();
        // Rows are not taken ahead where that would show: of what runs JavaScript, of what writes, and between writes.
        let is_alone = held.changes.replace(changes) == changes && stmt.is_read_only && !stmt.db.has_functions.get();
        let limit = if is_alone { usize::try_from(js.integer(limit)?).unwrap_or(1).max(1) } else { 1 };
        let _running = Running::begin(&held.is_running);
        held.is_exhausted.set(held.collect_ahead(js, array, limit)?);
    }
    js.instance().tell(0, f64::from(held.is_exhausted.get()));
    Ok(array)
}

/// Ends a run, if it is the statement's last: statement, run.
pub(super) fn end(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    let Some(&run) = arguments.first() else {
        return Err(Thrown::Plain("end takes two arguments".to_owned()));
    };
    held.check_idle(js)?;
    if is_current(js, held, run)? {
        held.is_exhausted.set(true);
        held.pending.take();
        held.stmt.statement.reset();
    }
    js.undefined()
}

/// Finalizes: statement, whether one that was finalized is an error.
pub(super) fn finalize(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    let is_strict = arguments.first().map_or(Ok(false), |strict| js.truth(*strict))?;
    if is_strict || !held.stmt.statement.is_finalized() {
        held.check_idle(js)?;
        held.stmt.statement.finalize();
    }
    js.undefined()
}

/// Sets a setting: statement, and, unless it is only asked whether it may be set, its number and value.
pub(super) fn set(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    held.check_open(js)?;
    if let &[setting, value] = arguments {
        let value = js.truth(value)?;
        match js.integer(setting)? {
            0 => held.stmt.is_safe.set(value),
            1 => held.stmt.mode.set(mode(value)),
            2 => held.allows_bare.set(value),
            _ => held.allows_unknown.set(value),
        }
    }
    js.undefined()
}

/// Describes the columns, five texts or nulls for each: column, database, name, table, type.
pub(super) fn columns(js: Js, arguments: &[Val]) -> Answer {
    let (held, _) = split(js, arguments)?;
    held.check_open(js)?;
    let (array, statement) = (js.array()?, &held.stmt.statement);
    for index in 0..statement.column_count() {
        for text in [
            statement.column_origin(index),
            statement.column_database(index),
            statement.column_name(index),
            statement.column_table(index),
            statement.column_declared_type(index),
        ] {
            js.push(array, text.map_or_else(|| js.null(), |text| js.string(text.as_bytes()))?)?;
        }
    }
    Ok(array)
}

/// Returns the text: statement, whether with the parameters of the last run.
pub(super) fn sql(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    held.check_open(js)?;
    let is_expanded = arguments.first().map_or(Ok(false), |expanded| js.truth(*expanded))?;
    let statement = &held.stmt.statement;
    let text = if is_expanded { statement.expanded_sql() } else { statement.sql() };
    match text {
        Some(text) => js.string(text.as_bytes()),
        None => super::errors::plain(js, "ERR_SQLITE_ERROR", "Expanded SQL text would exceed configured limits"),
    }
}

/// Returns a counter: statement, its number; or sets all back that can be, without a number.
pub(super) fn counter(js: Js, arguments: &[Val]) -> Answer {
    let (held, arguments) = split(js, arguments)?;
    held.check_open(js)?;
    let statement = &held.stmt.statement;
    let Some(&number) = arguments.first() else {
        for counter in Counter::ALL.into_iter().filter(|counter| *counter != Counter::Memory) {
            statement.counter(counter, true);
        }
        return js.undefined();
    };
    let at = usize::try_from(js.integer(number)?).unwrap_or(usize::MAX);
    let counter = Counter::ALL.get(at).copied();
    js.int32(counter.map_or(0, |counter| statement.counter(counter, false)))
}
