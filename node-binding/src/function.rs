//! Functions of SQL that are functions of JavaScript.
//!
//! Invariants:
//! 1. What JavaScript throws stays pending, and the native call that runs the statement returns with it.

use std::rc::Rc;

use kithdb_sqlite::{AggregateState, FunctionOptions, Value, ValueRef};
use napi_sys::ValueType;

use crate::database::{Db, check};
use crate::js::{Answer, Js, Kept, Thrown, Val};
use crate::node_sqlite;
use crate::row::value;

/// What SQLite is told; JavaScript's own exception is what the user sees.
const FAILED: &str = "a function of JavaScript failed";

/// Runs JavaScript for a statement; nothing runs once it has thrown.
pub(crate) fn during<T>(js: Js, run: impl FnOnce() -> Answer<T>) -> Result<T, String> {
    if js.has_exception() {
        return Err(FAILED.to_owned());
    }
    js.scoped(run).map_err(|thrown| {
        js.throw(thrown);
        FAILED.to_owned()
    })
}

/// Why a value of JavaScript is none of SQLite's.
pub(crate) enum Unfit {
    Invalid,
    TooBig,
}

/// Takes a value for SQLite.
pub(crate) fn take(js: Js, value: Val) -> Answer<Result<Value, Unfit>> {
    Ok(Ok(match js.kind(value)? {
        ValueType::napi_number => Value::Real(js.number(value)?),
        ValueType::napi_string => Value::Text(js.text(value)?),
        ValueType::napi_null | ValueType::napi_undefined => Value::Null,
        ValueType::napi_bigint => match js.int64(value)? {
            Some(number) => Value::Integer(number),
            None => return Ok(Err(Unfit::TooBig)),
        },
        ValueType::napi_object if js.is_buffer(value)? => Value::Blob(js.bytes(value)?.to_vec()),
        _ => return Ok(Err(Unfit::Invalid)),
    }))
}

/// Whose rules a function follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Face {
    BetterSqlite3,
    NodeSqlite,
}

impl Face {
    /// Refuses a definition at the wrong time.
    fn check(self, js: Js, given: &[Val]) -> Answer<()> {
        match self {
            Self::BetterSqlite3 => check(js, given).map(drop),
            Self::NodeSqlite => node_sqlite::check(js, given).map(drop),
        }
    }

    /// Runs JavaScript for a statement.
    fn during<T>(self, js: Js, run: impl FnOnce() -> Answer<T>) -> Result<T, String> {
        match self {
            Self::BetterSqlite3 => during(js, run),
            Self::NodeSqlite => during(js, || node_sqlite::speak(js, run())),
        }
    }

    fn value(self, js: Js, given: ValueRef<'_>, is_safe: bool) -> Answer {
        match self {
            Self::BetterSqlite3 => value(js, given, is_safe),
            Self::NodeSqlite => node_sqlite::value(js, given, is_safe),
        }
    }

    /// Takes a function's result; the inner error is SQLite's.
    fn result(self, js: Js, name: &str, given: Val) -> Answer<Result<Value, String>> {
        match self {
            Self::BetterSqlite3 => result(js, name, given).map(Ok),
            Self::NodeSqlite => node_sqlite::take(js, given),
        }
    }
}

fn result(js: Js, name: &str, given: Val) -> Answer<Value> {
    match take(js, given)? {
        Ok(value) => Ok(value),
        Err(Unfit::Invalid) => Err(Thrown::Type(format!("User-defined function {name}() returned an invalid value"))),
        Err(Unfit::TooBig) => {
            Err(Thrown::Range(format!("User-defined function {name}() returned a bigint that was too big")))
        }
    }
}

fn arguments(js: Js, face: Face, first: Option<Val>, given: &[ValueRef<'_>], is_safe: bool) -> Answer<Vec<Val>> {
    let mut arguments = Vec::with_capacity(given.len() + 1);
    arguments.extend(first);
    for argument in given {
        arguments.push(face.value(js, *argument, is_safe)?);
    }
    Ok(arguments)
}

fn options(js: Js, count: Val, flags: Val) -> Answer<(FunctionOptions, bool, Face)> {
    let flags = js.integer(flags)?;
    let options = FunctionOptions {
        argument_count: js.integer(count)?,
        is_deterministic: flags & 1 != 0,
        is_direct_only: flags & 2 != 0,
    };
    let face = if flags & 8 == 0 { Face::BetterSqlite3 } else { Face::NodeSqlite };
    Ok((options, flags & 4 != 0, face))
}

/// Defines a scalar function: database, name, number of arguments, flags (1 deterministic, 2 direct only, 4 bigints, 8 by
/// node:sqlite's rules), function.
pub(crate) fn define(js: Js, given: &[Val]) -> Answer {
    let &[db, name, count, flags, function] = given else { return few() };
    let (options, is_safe, face) = options(js, count, flags)?;
    face.check(js, given)?;
    let db = js.native::<Rc<Db>>(db)?;
    let name = js.string_of(name)?;
    let function = Kept::new(js, function)?;
    let shown = name.clone();
    db.has_functions.set(true);
    db.database.create_function(
        &name,
        options,
        Box::new(move |given| {
            face.during(js, || {
                let arguments = arguments(js, face, None, given, is_safe)?;
                face.result(js, &shown, js.call(function.get(js)?, &arguments)?)
            })?
        }),
    )?;
    js.undefined()
}

/// The functions of an aggregate.
struct Aggregate {
    name: String,
    is_safe: bool,
    face: Face,
    /// The first state, or with `starts` the function that makes it; in an array, for only objects can be kept.
    start: Kept,
    starts: bool,
    step: Kept,
    inverse: Option<Kept>,
    result: Option<Kept>,
}

struct Group {
    js: Js,
    aggregate: Rc<Aggregate>,
    /// An array of one: the state.
    state: Kept,
}

impl Group {
    fn begin(js: Js, aggregate: &Rc<Aggregate>) -> Answer<Self> {
        let mut first = js.element(aggregate.start.get(js)?, 0)?;
        if aggregate.starts {
            first = js.call(first, &[])?;
        }
        let state = js.array()?;
        js.push(state, first)?;
        Ok(Self { js, aggregate: Rc::clone(aggregate), state: Kept::new(js, state)? })
    }

    fn change(&self, function: &Kept, given: &[ValueRef<'_>]) -> Answer<()> {
        let js = self.js;
        let holder = self.state.get(js)?;
        let Aggregate { is_safe, face, .. } = *self.aggregate;
        let arguments = arguments(js, face, Some(js.element(holder, 0)?), given, is_safe)?;
        let next = js.call(function.get(js)?, &arguments)?;
        // With better-sqlite3, a function that returns nothing has changed the state itself.
        let is_kept = face == Face::BetterSqlite3 && js.kind(next)? == ValueType::napi_undefined;
        if is_kept { Ok(()) } else { js.set_element(holder, 0, next) }
    }
}

impl AggregateState for Group {
    fn step(&mut self, given: &[ValueRef<'_>]) -> Result<(), String> {
        self.aggregate.face.during(self.js, || self.change(&self.aggregate.step, given))
    }

    fn inverse(&mut self, given: &[ValueRef<'_>]) -> Result<(), String> {
        match &self.aggregate.inverse {
            Some(inverse) => self.aggregate.face.during(self.js, || self.change(inverse, given)),
            None => Err("this function cannot run over windows".to_owned()),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        let js = self.js;
        let face = self.aggregate.face;
        face.during(js, || {
            let state = js.element(self.state.get(js)?, 0)?;
            let given = match &self.aggregate.result {
                Some(function) => js.call(function.get(js)?, &[state])?,
                None => state,
            };
            face.result(js, &self.aggregate.name, given)
        })?
    }
}

/// Defines an aggregate: database, name, number of arguments, flags, start, step, inverse, result.
pub(crate) fn define_aggregate(js: Js, given: &[Val]) -> Answer {
    let &[db, name, count, flags, start, step, inverse, result] = given else { return few() };
    let (options, is_safe, face) = options(js, count, flags)?;
    face.check(js, given)?;
    let db = js.native::<Rc<Db>>(db)?;
    let kept = |function| -> Answer<Option<Kept>> {
        if js.kind(function)? == ValueType::napi_function { Ok(Some(Kept::new(js, function)?)) } else { Ok(None) }
    };
    let holder = js.array()?;
    js.push(holder, start)?;
    let aggregate = Rc::new(Aggregate {
        name: js.string_of(name)?,
        is_safe,
        face,
        start: Kept::new(js, holder)?,
        starts: js.kind(start)? == ValueType::napi_function,
        step: Kept::new(js, step)?,
        inverse: kept(inverse)?,
        result: kept(result)?,
    });
    db.has_functions.set(true);
    let (name, is_window) = (aggregate.name.clone(), aggregate.inverse.is_some());
    db.database.create_aggregate(
        &name,
        options,
        is_window,
        Box::new(move || {
            let group = during(js, || Group::begin(js, &aggregate))?;
            Ok(Box::new(group))
        }),
    )?;
    js.undefined()
}

fn few<T>() -> Answer<T> {
    Err(Thrown::Plain("a native function was called with too few arguments".to_owned()))
}
