//! Outcomes to JavaScript, on the environment's thread.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use kithdb_sqlite::{ChangeKind, SqliteError};
use napi_sys as sys;

use super::environment::Side;
use super::job::{Completion, Form, Outcome, Rows, Shape};
use crate::instance::Instance;
use crate::js::{Answer, Js, Kept, Thrown, Val};
use crate::row;

/// How many values one call of a row factory takes at most, unless one row has more.
const BATCH_VALUES: usize = 512;
/// How many rows one call makes at most.
const BATCH_ROWS: usize = 64;
/// After how many rows of a shape their functions are compiled.
const COLD_ROWS: usize = 8;

const TOO_BIG: i32 = 18;

/// The numbers of the outcomes, as `lib/sqlite3/link.js` has them.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Kind {
    Done,
    Ran,
    Row,
    All,
    Some,
    Failed,
    Dropped,
    Quiet,
    Trace,
    Profile,
    Change,
    BackedUp,
    Described,
}

/// The functions that make the rows of a shape.
pub(crate) struct Factory {
    one: Kept,
    many: Kept,
    is_hot: bool,
    made: Cell<usize>,
}

impl Factory {
    fn new(js: Js, shape: &Shape, form: Form, is_hot: bool) -> Answer<Self> {
        let (names, tables) = (js.array()?, js.array()?);
        for name in &shape.names {
            js.push(names, js.string(name.as_bytes())?)?;
        }
        let count = js.int32(i32::try_from(shape.names.len()).unwrap_or(i32::MAX))?;
        let mode = if form.is_raw { row::Mode::Raw } else { row::Mode::Object };
        let arguments = [js.int32(mode as i32)?, count, names, tables, js.boolean(is_hot)?];
        let made = js.call(js.instance().make_rows(js)?, &arguments)?;
        let kept = |index| Kept::new(js, js.element(made, index)?);
        Ok(Self { one: kept(0)?, many: kept(1)?, is_hot, made: Cell::new(0) })
    }

    /// Tells whether it serves for so many more rows.
    pub(crate) fn fits(&self, rows: usize) -> bool {
        self.is_hot || self.made.get() + rows < COLD_ROWS
    }

    fn one(&self, js: Js, rows: &Rows) -> Answer {
        self.made.set(self.made.get() + 1);
        let values = (0..rows.values.len())
            .map(|index| row::value(js, rows.values.get(index), rows.form.is_safe))
            .collect::<Answer<Vec<Val>>>()?;
        js.call(self.one.get(js)?, &values)
    }

    fn all(&self, js: Js, rows: &Rows) -> Answer {
        let columns = rows.shape.names.len().max(1);
        self.made.set(self.made.get() + rows.values.len() / columns);
        let array = js.array()?;
        let batch = (BATCH_VALUES / columns).clamp(1, BATCH_ROWS) * columns;
        let mut values = Vec::with_capacity(batch + 1);
        let mut start = 0;
        while start < rows.values.len() {
            let end = (start + batch).min(rows.values.len());
            js.scoped(|| {
                values.clear();
                values.push(array);
                for index in start..end {
                    values.push(row::value(js, rows.values.get(index), rows.form.is_safe)?);
                }
                js.call(self.many.get(js)?, &values)
            })?;
            start = end;
        }
        Ok(array)
    }
}

/// Calls JavaScript with the next outcome; called by Node as often as outcomes are sent.
///
/// # Safety
/// To be called by Node, as the threadsafe function made with the instance as its context.
pub(crate) unsafe extern "C" fn call(env: sys::napi_env, _: sys::napi_value, instance: *mut c_void, _: *mut c_void) {
    // At the environment's end nobody is left to be called.
    if env.is_null() {
        return;
    }
    let js = Js { env, instance: instance.cast::<Instance>().cast_const() };
    // A panic loses this outcome; it must not unwind into Node.
    let _ = catch_unwind(AssertUnwindSafe(|| deliver_next(js)));
}

fn deliver_next(js: Js) {
    let environment = &js.instance().callbacks;
    while let Some(completion) = environment.next() {
        let Some(side) = environment.side(completion.link) else { continue };
        let is_quiet = matches!(completion.outcome, Outcome::Quiet);
        let (is_piece, is_failure) = (matches!(completion.outcome, Outcome::Some(_)), completion.outcome.is_failure());
        let ended = u64::from(completion.skipped) + u64::from(completion.outcome.is_final());
        if let Err(thrown) = deliver(js, &side, &completion) {
            report(js, thrown);
        }
        if is_piece {
            side.link.queue.receive_piece();
        }
        if is_failure {
            side.link.queue.see();
        }
        environment.end_jobs(js, &side, ended);
        if !is_quiet {
            return;
        }
    }
}

fn deliver(js: Js, side: &Side, completion: &Completion) -> Answer<()> {
    let function = side.deliver(js)?;
    let arguments = arguments_of(js, side, completion).or_else(|thrown| {
        // A text that is too long for a string, or the like: the job has failed then.
        clear(js);
        if !completion.outcome.is_final() {
            return Err(thrown);
        }
        let outcome = Outcome::Failed { error: SqliteError::of_code(TOO_BIG), is_prepared: true };
        arguments_of(js, side, &Completion { link: completion.link, skipped: completion.skipped, outcome })
    })?;
    js.call(function, &arguments).map(drop)
}

fn arguments_of(js: Js, side: &Side, completion: &Completion) -> Answer<Vec<Val>> {
    let text = |text: &str| js.string(text.as_bytes());
    let (kind, rest) = match &completion.outcome {
        Outcome::Done => (Kind::Done, vec![]),
        Outcome::Ran { last_id, changes, has_changed } => {
            (Kind::Ran, vec![js.double(*last_id as f64)?, js.double(*changes as f64)?, js.boolean(*has_changed)?])
        }
        Outcome::Row(None) => (Kind::Row, vec![]),
        Outcome::Row(Some(rows)) => (Kind::Row, vec![side.factory(js, rows, 1)?.one(js, rows)?]),
        Outcome::All(None) => (Kind::All, vec![js.array()?]),
        Outcome::All(Some(rows)) => (Kind::All, vec![make_all(js, side, rows)?]),
        Outcome::Some(rows) => (Kind::Some, vec![make_all(js, side, rows)?]),
        Outcome::Failed { error, is_prepared } => {
            let errno = js.int32(error.code & 0xff)?;
            let extended = [js.int32(error.code)?, text(&error.name())?];
            (Kind::Failed, [&[errno, text(&error.message)?, js.boolean(*is_prepared)?], &extended[..]].concat())
        }
        Outcome::Described { columns, parameters } => {
            let list = js.array()?;
            for column in columns {
                let described = js.object()?;
                for (name, value) in ["name", "column", "table", "database", "type"].into_iter().zip(column) {
                    js.set(described, name, value.as_deref().map_or_else(|| js.null(), text)?)?;
                }
                js.push(list, described)?;
            }
            (Kind::Described, vec![list, js.double(*parameters as f64)?])
        }
        Outcome::Dropped => (Kind::Dropped, vec![]),
        Outcome::Quiet => (Kind::Quiet, vec![]),
        Outcome::Traced { sql } => (Kind::Trace, vec![text(sql)?]),
        Outcome::Profiled { sql, nanoseconds } => {
            (Kind::Profile, vec![text(sql)?, js.double(*nanoseconds as f64 / 1e6)?])
        }
        Outcome::Changed { kind, database, table, rowid } => {
            let kind = match kind {
                ChangeKind::Insert => "insert",
                ChangeKind::Update => "update",
                ChangeKind::Delete => "delete",
            };
            (Kind::Change, vec![text(kind)?, text(database)?, text(table)?, js.double(*rowid as f64)?])
        }
        Outcome::BackedUp { step, has_failed, remaining, pages } => {
            let (is_done, errno, message) = match step {
                Ok(is_done) => (*is_done, 0, ""),
                Err(error) => (false, error.code & 0xff, error.message.as_str()),
            };
            let progress = [js.boolean(is_done)?, js.boolean(*has_failed)?, js.int32(*remaining)?, js.int32(*pages)?];
            (Kind::BackedUp, [&progress[..], &[js.int32(errno)?, text(message)?]].concat())
        }
    };
    let head = [js.double(completion.skipped.into())?, js.int32(kind as i32)?];
    Ok([&head[..], &rest].concat())
}

fn make_all(js: Js, side: &Side, rows: &Rows) -> Answer {
    let count = rows.values.len() / rows.shape.names.len().max(1);
    side.factory(js, rows, count)?.all(js, rows)
}

impl Side {
    /// Returns what makes the rows of a shape.
    fn factory(&self, js: Js, Rows { shape, form, .. }: &Rows, rows: usize) -> Answer<std::rc::Rc<Factory>> {
        // The two forms of one shape have a factory each.
        let key = shape.id << 1 | u64::from(form.is_raw);
        let known = self.known_factory(key).filter(|factory| factory.fits(rows));
        if let Some(factory) = known {
            return Ok(factory);
        }
        let is_hot = rows >= COLD_ROWS || self.known_factory(key).is_some();
        let factory = std::rc::Rc::new(Factory::new(js, shape, *form, is_hot)?);
        self.keep_factory(key, &factory);
        Ok(factory)
    }
}

fn clear(js: Js) -> Val {
    let mut error = ptr::null_mut();
    // SAFETY: we are inside a callback of the environment.
    unsafe { sys::napi_get_and_clear_last_exception(js.env, &raw mut error) };
    error
}

/// Hands what was thrown to the program's `uncaughtException`.
fn report(js: Js, thrown: Thrown) {
    js.throw(thrown);
    let error = clear(js);
    // SAFETY: we are inside a callback of the environment.
    unsafe { sys::napi_fatal_exception(js.env, error) };
}

/// Hands an exception to the program's `uncaughtException` and goes on: for what follows it.
pub(crate) fn report_error(js: Js, arguments: &[Val]) -> Answer {
    if let Some(error) = arguments.first() {
        // SAFETY: we are inside a callback of the environment.
        unsafe { sys::napi_fatal_exception(js.env, *error) };
    }
    js.undefined()
}
