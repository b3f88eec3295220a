//! The face of node-sqlite3: callbacks, with the work done off the environment's thread.
//!
//! Each database has a thread of its own (`worker`) that has the connection and its statements to itself, and does the jobs that
//! JavaScript gives it one after the other (`queue`, `job`). What comes of them goes back through one threadsafe function for the
//! whole environment (`outbox`, `environment`), and is turned into values of JavaScript there (`deliver`). Which job may be given
//! when is JavaScript's to know: `lib/sqlite3/`.

mod deliver;
mod environment;
mod job;
mod outbox;
mod parameters;
mod prepared;
mod queue;
mod values;
mod worker;

use std::rc::Rc;

use napi_sys::ValueType;

pub(crate) use deliver::report_error;
pub(crate) use environment::Environment;
use environment::Side;
use job::{Action, Form, Id, Job, Target, Use};

use crate::js::{Answer, Js, Thrown, Val};

/// What SQLite calls `SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE`.
const OPEN_DEFAULT: i32 = 0x2 | 0x4;

/// What a small prepared statement takes, about: it tells the garbage collector that a small object is worth more than it seems.
const STATEMENT_BYTES: i64 = 2048;

fn missing<T>() -> Answer<T> {
    Err(Thrown::Plain("a native function was called with too few arguments".to_owned()))
}

/// Makes a database's thread: the function that takes outcomes.
pub(crate) fn begin(js: Js, arguments: &[Val]) -> Answer {
    let &[deliver] = arguments else { return missing() };
    js.external(js.instance().callbacks.begin(js, deliver)?)
}

/// Interrupts what runs.
pub(crate) fn interrupt(js: Js, arguments: &[Val]) -> Answer {
    let &[side] = arguments else { return missing() };
    js.native::<Rc<Side>>(side)?.link.interrupt();
    js.undefined()
}

/// Lets a database's thread end, once the database is closed.
pub(crate) fn end(js: Js, arguments: &[Val]) -> Answer {
    let &[side] = arguments else { return missing() };
    js.native::<Rc<Side>>(side)?.let_go();
    js.undefined()
}

/// Returns SQLite's version and source id.
pub(crate) fn version(js: Js, _: &[Val]) -> Answer {
    let (array, (version, source)) = (js.array()?, kithdb_sqlite::version());
    js.push(array, js.string(version.as_bytes())?)?;
    js.push(array, js.string(source.as_bytes())?)?;
    Ok(array)
}

/// With how a statement is used: rows are arrays.
const RAW: i32 = 0x10;
/// Integers are read as bigints.
const SAFE: i32 = 0x20;
/// Numbers are bound as REAL, and names are without the character before them.
const PLAIN: i32 = 0x40;

/// Tells whether a transaction is open.
pub(crate) fn in_transaction(js: Js, arguments: &[Val]) -> Answer {
    let &[side] = arguments else { return missing() };
    js.boolean(js.native::<Rc<Side>>(side)?.link.is_in_transaction())
}

/// Uses a statement: database, how, whether silently, the statement's number or a text, places or undefined, values.
pub(crate) fn use_statement(js: Js, arguments: &[Val]) -> Answer {
    let &[side, how, is_silent, target, places, ref values @ ..] = arguments else { return missing() };
    let side = js.native::<Rc<Side>>(side)?;
    let bits = js.integer(how)?;
    let how = match bits & 0xf {
        0 => Use::Bind,
        1 => Use::Run,
        2 => Use::Get,
        3 => Use::All,
        4 => Use::Each,
        _ => Use::Next,
    };
    let form = Form { is_raw: bits & RAW != 0, is_safe: bits & SAFE != 0 };
    let target = match js.kind(target)? {
        ValueType::napi_number => Target::Prepared(id(js, target)?),
        _ => Target::Once(js.string_of(target)?),
    };
    let parameters = parameters::read(js, places, values, bits & PLAIN != 0)?;
    let job = Job { action: Action::Use { how, form, target, parameters }, is_silent: js.truth(is_silent)? };
    js.instance().callbacks.submit(js, side, job);
    js.undefined()
}

/// Has anything else done: database, what, whether silently, and what belongs to it.
pub(crate) fn submit(js: Js, arguments: &[Val]) -> Answer {
    let &[side, what, is_silent, ref rest @ ..] = arguments else { return missing() };
    let side = js.native::<Rc<Side>>(side)?;
    let action = action(js, js.integer(what)?, rest)?;
    js.instance().callbacks.submit(js, side, Job { action, is_silent: js.truth(is_silent)? });
    js.undefined()
}

fn id(js: Js, value: Val) -> Answer<Id> {
    Ok(js.integer(value)?.cast_unsigned())
}

/// Reads an action; the numbers are those of `lib/sqlite3/link.js`.
fn action(js: Js, what: i32, rest: &[Val]) -> Answer<Action> {
    Ok(match (what, rest) {
        (0, &[path, flags]) => Action::Open { path: js.string_of(path)?, flags: js.integer(flags)? },
        (1, []) => Action::Close,
        (2, &[sql]) => Action::Exec { sql: js.string_of(sql)? },
        (3, &[path]) => Action::LoadExtension { path: js.string_of(path)? },
        (4, []) => Action::Wait,
        (5, &[milliseconds]) => Action::BusyTimeout { milliseconds: js.integer(milliseconds)? },
        (6, &[limit, value]) => Action::Limit { limit: js.integer(limit)?, value: js.integer(value)? },
        (7, &[trace, profile, change]) => {
            Action::Watch { trace: js.truth(trace)?, profile: js.truth(profile)?, change: js.truth(change)? }
        }
        (8, &[statement, sql]) => {
            js.hold_memory(STATEMENT_BYTES);
            Action::Prepare { id: id(js, statement)?, sql: js.string_of(sql)? }
        }
        (9, &[statement]) => Action::Reset { id: id(js, statement)? },
        (10, &[statement]) => {
            js.hold_memory(-STATEMENT_BYTES);
            Action::Finalize { id: id(js, statement)? }
        }
        (11, &[statement]) => Action::Late { id: id(js, statement)? },
        (12, &[statement, is_finalized]) => {
            if !js.truth(is_finalized)? {
                js.hold_memory(-STATEMENT_BYTES);
            }
            Action::Forget { id: id(js, statement)? }
        }
        (13, &[backup, path, destination, source, is_path_destination]) => Action::BackupBegin {
            id: id(js, backup)?,
            path: js.string_of(path)?,
            destination: js.string_of(destination)?,
            source: js.string_of(source)?,
            is_path_destination: js.truth(is_path_destination)?,
        },
        (14, &[backup, pages, retried]) => {
            let count = js.array_len(retried)?;
            let retried =
                (0..count).map(|index| js.integer(js.element(retried, index)?)).collect::<Answer<Vec<i32>>>()?;
            Action::BackupStep { id: id(js, backup)?, pages: js.integer(pages)?, retried }
        }
        (16, &[statement]) => Action::Describe { id: id(js, statement)? },
        (15, &[backup]) => Action::BackupFinish { id: id(js, backup)? },
        _ => return missing(),
    })
}
