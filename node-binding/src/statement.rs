//! A prepared statement, as JavaScript holds it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use kithdb_sqlite::{SqliteError, Statement, Step};

use crate::bind::{Arena, Binder, Parameters};
use crate::database::Db;
use crate::js::{Answer, Js, Seen, Thrown, Val, range_error, type_error};
use crate::row::{Batch, Mode, Rows};

pub(crate) struct Stmt {
    pub(crate) db: Rc<Db>,
    pub(crate) statement: Statement,
    parameters: Parameters,
    is_reader: bool,
    pub(crate) is_read_only: bool,
    pub(crate) mode: Cell<Mode>,
    pub(crate) is_safe: Cell<bool>,
    is_bound: Cell<bool>,
    /// Whether parameters of a run are being set, which getters of the program's may take part in.
    is_binding: Cell<bool>,
    /// Whether an iterator of it is not at its end.
    is_busy: Cell<bool>,
    /// Whether the iterator's last row was taken.
    is_exhausted: Cell<bool>,
    /// Whether `verbose` was told of the iteration, which its first step does.
    is_told: Cell<bool>,
    /// What a row that was to be taken ahead met: for the call after the rows before it.
    pending: RefCell<Option<Thrown>>,
    rows: RefCell<Option<Rc<Rows>>>,
}

impl Stmt {
    /// Makes what JavaScript holds of a statement.
    pub(crate) fn new(
        db: &Rc<Db>,
        statement: Statement,
        parameters: Parameters,
        mode: Mode,
        is_safe: bool,
    ) -> Rc<Self> {
        Rc::new(Self {
            db: Rc::clone(db),
            is_reader: statement.column_count() > 0,
            is_read_only: statement.is_read_only(),
            statement,
            parameters,
            mode: Cell::new(mode),
            is_safe: Cell::new(is_safe),
            is_bound: Cell::default(),
            is_binding: Cell::default(),
            is_busy: Cell::default(),
            is_exhausted: Cell::default(),
            is_told: Cell::default(),
            pending: RefCell::default(),
            rows: RefCell::default(),
        })
    }

    /// Checks, binds and tells: what comes before the first step of every run.
    fn begin(&self, js: Js, arguments: &[Val], arena: Option<&mut Arena>) -> Answer<()> {
        self.db.check_open()?;
        self.db.check_not_executing()?;
        if self.is_busy.get() {
            return busy();
        }
        if self.is_bound.get() {
            if !arguments.is_empty() {
                return type_error("This statement already has bound parameters");
            }
        } else {
            let was_binding = self.is_binding.replace(true);
            let bound = Binder::new(js, &self.statement, &self.parameters, arena).bind(arguments);
            self.is_binding.set(was_binding);
            if let Err(error) = bound {
                self.statement.clear_bindings();
                return Err(error);
            }
        }
        Ok(())
    }

    fn tell(&self, js: Js) -> Answer<()> {
        self.db.tell_verbose(js, || self.statement.expanded_sql())
    }

    /// Refuses what an open iterator could not bear.
    fn check_iterators(&self) -> Answer<()> {
        if self.is_read_only { Ok(()) } else { self.db.check_no_iterators() }
    }

    /// Steps, while nothing else may be done with the database.
    pub(crate) fn step(&self) -> Result<Step, SqliteError> {
        let was_executing = self.db.is_executing.replace(true);
        let step = self.statement.step();
        self.db.is_executing.set(was_executing);
        step
    }

    /// Ends a run: what was lent is not used afterwards.
    fn finish(&self) {
        self.statement.reset();
        if !self.is_bound.get() {
            self.statement.clear_bindings();
        }
    }

    /// Runs with parameters that are lent for the time.
    fn with_run<T>(&self, js: Js, arguments: &[Val], run: impl FnOnce() -> Answer<T>) -> Answer<T> {
        let mut arena = Arena::new();
        self.begin(js, arguments, Some(&mut arena))?;
        // Finished in any case, before the arena goes.
        let _finish = Finish(self);
        self.tell(js)?;
        run()
    }

    /// Returns what makes the rows, once the statement is at its first.
    pub(crate) fn rows(&self, js: Js) -> Answer<Rc<Rows>> {
        let mode = self.mode.get();
        if let Some(rows) = self.rows.borrow().as_ref().filter(|rows| rows.fit(&self.statement, mode)) {
            return Ok(Rc::clone(rows));
        }
        let is_hot = self.rows.borrow().as_ref().is_some_and(|rows| rows.is_warm());
        let rows = Rc::new(Rows::of(js, &self.statement, mode, is_hot)?);
        *self.rows.borrow_mut() = Some(Rc::clone(&rows));
        Ok(rows)
    }

    fn check_reader(&self) -> Answer<()> {
        if self.is_reader { Ok(()) } else { type_error("This statement does not return data. Use run() instead") }
    }

    /// Adds all rows, from the one that the statement is at, to an array.
    pub(crate) fn collect(&self, js: Js, array: Val) -> Answer<()> {
        let is_safe = self.is_safe.get();
        let mut batch = Batch::new(js, array);
        let mut is_done = false;
        while !is_done {
            let rows = self.rows(js)?;
            is_done = js.scoped(|| {
                batch.clear();
                let mut is_done = false;
                for _ in 0..rows.batch() {
                    rows.take(js, &self.statement, is_safe, &mut batch)?;
                    if self.step()? == Step::Done {
                        is_done = true;
                        break;
                    }
                }
                rows.many(js, &batch)?;
                Ok(is_done)
            })?;
        }
        Ok(())
    }
}

/// Ends a run when it is dropped.
struct Finish<'s>(&'s Stmt);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Stmt {
    /// Gives back what SQLite keeps of a statement that nobody has any more.
    fn release(&self) {
        // Nor has anybody its iterator.
        if self.is_busy.replace(false) {
            self.db.iterators.set(self.db.iterators.get().saturating_sub(1));
        }
        self.statement.finalize();
        self.rows.take();
    }
}

impl Drop for Stmt {
    fn drop(&mut self) {
        self.release();
    }
}

/// How many statements are looked at for each that is prepared: more than one, so that their number falls again.
const LOOKS: usize = 2;
/// How many are looked at after values were collected.
const LOOKS_AFTER_COLLECTION: usize = 1000;

/// The statements of a database that JavaScript has, or had when they were last looked at.
///
/// They are owned here and not by their values: Node finalizes values when its event loop turns, which a program that prepares
/// statements in a loop does not let it do, and keeps a note of each until then.
#[derive(Default)]
pub(crate) struct Statements {
    held: RefCell<VecDeque<(Seen, Rc<dyn Any>)>>,
    is_reminded: Cell<bool>,
    is_reminding: Cell<bool>,
}

impl Statements {
    /// Keeps a native object as long as JavaScript has the value that is returned for it, and drops it some time after.
    pub(crate) fn hold<T: 'static>(js: Js, db: &Rc<Db>, native: Rc<T>) -> Answer {
        let statements = &db.statements;
        statements.look(js, LOOKS);
        let held = Rc::new(native);
        // SAFETY: it is dropped when the value is found collected, or with the database, which its statements' values outlive in no
        // case: they have the database.
        let value = unsafe { js.lend(&*held)? };
        statements.held.borrow_mut().push_back((Seen::new(js, value)?, held));
        if !statements.is_reminded.replace(true) {
            let reminder = js.external(Reminder { js, db: Rc::downgrade(db) });
            statements.is_reminded.set(reminder.is_ok());
        }
        Ok(value)
    }

    /// Drops those of so many whose values were collected.
    fn look(&self, js: Js, count: usize) {
        // Nothing is borrowed while statements end.
        let mut gone = Vec::new();
        let count = count.min(self.held.borrow().len());
        for _ in 0..count {
            let Some((seen, native)) = self.held.borrow_mut().pop_front() else { break };
            if seen.is_gone(js) {
                gone.push((seen, native));
            } else {
                self.held.borrow_mut().push_back((seen, native));
            }
        }
        crate::node_sqlite::outside(|| drop(gone));
    }

    /// Drops all; to be called when JavaScript has neither them nor the database.
    pub(crate) fn clear(&self) {
        drop(self.held.take());
    }
}

/// Is of no use to anybody, so that it is finalized soon after values are collected: time to look at the statements, of which a program
/// that prepares no more would otherwise keep those that it has dropped.
struct Reminder {
    js: Js,
    db: Weak<Db>,
}

impl Drop for Reminder {
    fn drop(&mut self) {
        let Some(db) = self.db.upgrade() else { return };
        db.statements.is_reminded.set(false);
        // Databases are closed when the environment ends, which is no time to make values. One that cannot be made is dropped at once.
        if !db.database.is_open() || db.statements.is_reminding.replace(true) {
            return;
        }
        db.statements.look(self.js, LOOKS_AFTER_COLLECTION);
        if !db.statements.held.borrow().is_empty() {
            let reminder = Self { js: self.js, db: Rc::downgrade(&db) };
            db.statements.is_reminded.set(self.js.scoped(|| self.js.external(reminder)).is_ok());
        }
        db.statements.is_reminding.set(false);
    }
}

fn busy<T>() -> Answer<T> {
    type_error("This statement is busy executing a query")
}

fn split<'v>(js: Js, arguments: &[Val]) -> Answer<(&'v Stmt, &[Val])> {
    match arguments.split_first() {
        Some((first, rest)) => Ok((js.native::<Rc<Stmt>>(*first)?, rest)),
        None => Err(Thrown::Plain("a native function was called without its statement".to_owned())),
    }
}

/// Prepares: database, text, whether integers are bigints. Tells whether it returns rows and whether it only reads.
pub(crate) fn prepare(js: Js, arguments: &[Val]) -> Answer {
    let &[db, sql, is_safe] = arguments else {
        return Err(Thrown::Plain("prepare takes three arguments".to_owned()));
    };
    let db = js.native::<Rc<Db>>(db)?;
    db.check_open()?;
    db.check_not_executing()?;
    let sql = js.string_of(sql)?;
    let mut text = sql.as_str();
    let (statement, rest) = loop {
        match db.prepare(text)? {
            (Some(statement), rest) => break (statement, rest),
            (None, "") => return range_error("The supplied SQL string contains no statements"),
            (None, rest) => text = rest.trim_start_matches(is_between),
        }
    };
    if !skip_blank(rest).is_empty() {
        return range_error("The supplied SQL string contains more than one statement");
    }
    let parameters = Parameters::of(js, &statement)?;
    let stmt = Stmt::new(db, statement, parameters, Mode::Object, js.truth(is_safe)?);
    js.instance().tell(0, f64::from(stmt.is_reader));
    js.instance().tell(1, f64::from(stmt.is_read_only));
    Statements::hold(js, db, stmt)
}

/// Explains a statement, whose parameters need no values: database, text that begins with EXPLAIN, whether integers are bigints.
pub(crate) fn explain(js: Js, arguments: &[Val]) -> Answer {
    let value = prepare(js, arguments)?;
    js.native::<Rc<Stmt>>(value)?.is_bound.set(true);
    all(js, &[value])
}

/// Returns the text with the parameters that were bound for good; undefined when none were, or the database was closed.
pub(crate) fn expanded(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, _) = split(js, arguments)?;
    let bound = if stmt.is_bound.get() { stmt.statement.expanded_sql() } else { None };
    bound.map_or_else(|| js.undefined(), |sql| js.string(sql.as_bytes()))
}

/// Tells whether a character stands between statements.
fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' | ';')
}

/// Skips blanks, semicolons and comments.
fn skip_blank(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        let trimmed = rest.trim_start_matches(is_between);
        rest = if let Some(comment) = trimmed.strip_prefix("--") {
            comment.find('\n').map_or("", |end| &comment[end..])
        } else if let Some(comment) = trimmed.strip_prefix("/*") {
            comment.find("*/").map_or("", |end| &comment[end + 2..])
        } else {
            return trimmed;
        };
    }
}

/// Runs to the end; tells how many rows it changed and the last one's key. Before the parameters comes their number: what follows them was
/// not given.
pub(crate) fn run(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    let (&number, arguments) = arguments.split_first().ok_or_else(|| Thrown::Plain("run takes a number".to_owned()))?;
    let number = usize::try_from(js.integer(number)?).unwrap_or(0);
    let arguments = &arguments[..number.min(arguments.len())];
    let database = &stmt.db.database;
    let before = if database.is_open() { database.total_changes() } else { 0 };
    stmt.db.check_open()?;
    if !stmt.is_busy.get() {
        stmt.db.check_no_iterators()?;
    }
    // As the original: of a query only the first row is asked for. What changes rows and returns them has then changed all.
    stmt.with_run(js, arguments, || Ok(stmt.step()?))?;
    let changes = if database.total_changes() == before { 0 } else { database.changes() };
    let rowid = database.last_insert_rowid();
    js.instance().tell(0, changes as f64);
    if stmt.is_safe.get() {
        return js.bigint(rowid);
    }
    js.instance().tell(1, rowid as f64);
    js.undefined()
}

/// Returns the first row, or undefined.
pub(crate) fn get(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    stmt.check_reader()?;
    stmt.check_iterators()?;
    stmt.with_run(js, arguments, || match stmt.step()? {
        // What a statement changes beside returning rows it has changed by then.
        Step::Row => stmt.rows(js)?.one(js, &stmt.statement, stmt.is_safe.get()),
        Step::Done => js.undefined(),
    })
}

/// Returns all rows.
pub(crate) fn all(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    stmt.check_reader()?;
    stmt.check_iterators()?;
    stmt.with_run(js, arguments, || {
        let array = js.array()?;
        if stmt.step()? == Step::Row {
            stmt.collect(js, array)?;
        }
        Ok(array)
    })
}

/// Sets parameters for good.
pub(crate) fn bind(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    if stmt.is_bound.get() {
        return type_error("The bind() method can only be invoked once per statement object");
    }
    stmt.db.check_open()?;
    stmt.db.check_not_executing()?;
    // What is lent to a run must not become what is bound for good.
    if stmt.is_busy.get() || stmt.is_binding.get() {
        return busy();
    }
    let bound = Binder::new(js, &stmt.statement, &stmt.parameters, None).bind(arguments);
    if bound.is_err() {
        stmt.statement.clear_bindings();
    }
    bound?;
    stmt.is_bound.set(true);
    js.undefined()
}

/// Begins to iterate; the statement is busy until `end`.
pub(crate) fn iterate(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    stmt.check_reader()?;
    stmt.check_iterators()?;
    stmt.begin(js, arguments, None)?;
    stmt.is_told.set(false);
    stmt.pending.take();
    stmt.is_busy.set(true);
    stmt.is_exhausted.set(false);
    stmt.db.iterators.set(stmt.db.iterators.get() + 1);
    js.undefined()
}

/// Returns the next rows of the iteration, at most as many as asked for; tells whether they are the last.
pub(crate) fn next(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    let limit = arguments.first().map_or(Ok(1), |limit| js.integer(*limit))?;
    let array = js.array()?;
    stmt.db.check_open()?;
    stmt.db.check_not_executing()?;
    // Rows are not taken ahead where JavaScript could tell.
    let is_alone = !stmt.db.has_functions.get() && !stmt.db.is_unsafe.get() && stmt.is_read_only;
    let limit = if is_alone { usize::try_from(limit).unwrap_or(1).max(1) } else { 1 };
    if !stmt.is_told.replace(true) {
        stmt.tell(js)?;
    }
    if let Some(thrown) = stmt.pending.take() {
        return Err(thrown);
    }
    let mut is_done = stmt.is_exhausted.get();
    if !is_done && stmt.step()? == Step::Done {
        is_done = true;
    }
    if !is_done {
        let rows = stmt.rows(js)?;
        if limit == 1 {
            let mut batch = Batch::new(js, array);
            rows.take(js, &stmt.statement, stmt.is_safe.get(), &mut batch)?;
            rows.many(js, &batch)?;
        } else {
            is_done = stmt.collect_ahead(js, &rows, array, limit)?;
        }
    }
    stmt.is_exhausted.set(is_done);
    js.instance().tell(0, f64::from(is_done));
    Ok(array)
}

impl Stmt {
    /// As `collect`, but stays at the last row that was taken.
    fn collect_ahead(&self, js: Js, rows: &Rows, array: Val, limit: usize) -> Answer<bool> {
        let is_safe = self.is_safe.get();
        js.scoped(|| {
            let mut batch = Batch::new(js, array);
            let mut is_done = false;
            rows.take(js, &self.statement, is_safe, &mut batch)?;
            for _ in 1..rows.batch().min(limit) {
                let taken = match self.step() {
                    Ok(Step::Row) => rows.take(js, &self.statement, is_safe, &mut batch),
                    Ok(Step::Done) => {
                        is_done = true;
                        break;
                    }
                    Err(error) => Err(error.into()),
                };
                // The program is to have the rows before it first, unless JavaScript has thrown and has to be gone back to.
                if let Err(thrown) = taken {
                    if matches!(thrown, Thrown::Pending) {
                        return Err(thrown);
                    }
                    *self.pending.borrow_mut() = Some(js.put_off(thrown));
                    break;
                }
            }
            rows.many(js, &batch)?;
            Ok(is_done)
        })
    }
}

/// Ends an iteration.
pub(crate) fn end(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, _) = split(js, arguments)?;
    stmt.db.check_not_executing()?;
    if stmt.is_busy.replace(false) {
        stmt.db.iterators.set(stmt.db.iterators.get().saturating_sub(1));
        stmt.finish();
    }
    js.undefined()
}

/// Sets what rows look like, and whether it may be set now.
pub(crate) fn set_mode(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    stmt.db.check_not_executing()?;
    if stmt.is_busy.get() {
        return busy();
    }
    if let Some(mode) = arguments.first() {
        stmt.mode.set(Mode::of(js.integer(*mode)?)?);
    }
    js.undefined()
}

/// Sets whether integers are bigints.
pub(crate) fn set_safe(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, arguments) = split(js, arguments)?;
    stmt.db.check_not_executing()?;
    if stmt.is_busy.get() {
        return busy();
    }
    if let Some(is_safe) = arguments.first() {
        stmt.is_safe.set(js.truth(*is_safe)?);
    }
    js.undefined()
}

/// Describes the columns.
pub(crate) fn columns(js: Js, arguments: &[Val]) -> Answer {
    let (stmt, _) = split(js, arguments)?;
    stmt.db.check_open()?;
    stmt.db.check_not_executing()?;
    let (array, statement) = (js.array()?, &stmt.statement);
    for index in 0..statement.column_count() {
        let column = js.object()?;
        let text = |text: Option<String>| text.map_or_else(|| js.null(), |text| js.string(text.as_bytes()));
        js.set(column, "name", text(statement.column_name(index))?)?;
        js.set(column, "column", text(statement.column_origin(index))?)?;
        js.set(column, "table", text(statement.column_table(index))?)?;
        js.set(column, "database", text(statement.column_database(index))?)?;
        js.set(column, "type", text(statement.column_declared_type(index))?)?;
        js.push(array, column)?;
    }
    Ok(array)
}
