//! A database, as the face of node:sqlite has it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kithdb_sqlite::{Backup, Database, Limit, OpenOptions};

use super::errors::{invalid_state, plain};
use super::values::uint8_array;
use crate::backup::Held;
use crate::database::{Db, Owner};
use crate::js::{Answer, Js, Thrown, Val};

/// The limits in the order of `lib/node-sqlite/limits.js`.
const LIMITS: [Limit; 11] = [
    Limit::Length,
    Limit::SqlLength,
    Limit::Column,
    Limit::ExpressionDepth,
    Limit::CompoundSelect,
    Limit::VirtualMachineOperations,
    Limit::FunctionArguments,
    Limit::Attached,
    Limit::LikePatternLength,
    Limit::VariableNumber,
    Limit::TriggerDepth,
];

pub(super) fn few<T>() -> Answer<T> {
    Err(Thrown::Plain("a native function was called with too few arguments".to_owned()))
}

pub(super) fn db<'v>(js: Js, arguments: &[Val]) -> Answer<&'v Rc<Db>> {
    match arguments.first() {
        Some(value) => js.native::<Rc<Db>>(*value),
        None => few(),
    }
}

/// Refuses what cannot be done with a closed database, or from within an authorizer.
pub(super) fn enter(js: Js, db: &Db) -> Answer<()> {
    if !db.database.is_open() {
        return invalid_state(js, "database is not open");
    }
    if db.is_authorizing.get() {
        return invalid_state(js, "database cannot be accessed from an authorizer callback");
    }
    Ok(())
}

/// Opens: name, read only, timeout, foreign keys, double-quoted strings, defensive, limits (negative ones as they are).
pub(super) fn open(js: Js, arguments: &[Val]) -> Answer {
    let &[name, read_only, timeout, foreign_keys, quoted, defensive, limits] = arguments else { return few() };
    let options = OpenOptions {
        read_only: js.truth(read_only)?,
        must_exist: false,
        busy_timeout: Duration::from_millis(u64::try_from(js.integer(timeout)?).unwrap_or(0)),
    };
    let (foreign_keys, quoted, defensive) = (js.truth(foreign_keys)?, js.truth(quoted)?, js.truth(defensive)?);
    let mut lowered = Vec::new();
    for (at, limit) in LIMITS.into_iter().enumerate() {
        let value = js.integer(js.element(limits, u32::try_from(at).unwrap_or(u32::MAX))?)?;
        if value >= 0 {
            lowered.push((limit, value));
        }
    }
    let name = js.string_of(name)?;
    let database = Database::open_with_uri(&name, &options)?;
    let path = if name.is_empty() { name } else { database.location("main")?.unwrap_or_else(|| ":memory:".to_owned()) };
    let busy_timeout_ms = i32::try_from(options.busy_timeout.as_millis()).unwrap_or(i32::MAX);
    let configure = move |database: &Database| {
        database.set_full_sync(busy_timeout_ms)?;
        database.set_foreign_keys(foreign_keys)?;
        database.set_double_quoted_strings(quoted)?;
        database.set_defensive(defensive)?;
        lowered.iter().try_for_each(|&(limit, value)| database.set_limit(limit.code(), value))?;
        Ok(())
    };
    js.external(Owner(Db::new(js, database, path, options, None, Box::new(configure))?))
}

/// Refuses unless the database is open and no authorizer runs.
pub(super) fn check(js: Js, arguments: &[Val]) -> Answer {
    enter(js, db(js, arguments)?)?;
    js.undefined()
}

/// Tells whether no callback runs.
pub(super) fn is_idle(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    js.boolean(!db.is_executing.get() && !db.is_authorizing.get())
}

/// Refuses from within a callback: database, and what cannot be done to it if it is not to be closed.
pub(super) fn check_idle(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    if db.is_executing.get() || db.is_authorizing.get() {
        let what = arguments.get(1).map_or_else(|| Ok("closed".to_owned()), |what| js.string_of(*what))?;
        return invalid_state(js, &format!("database cannot be {what} while in a callback"));
    }
    js.undefined()
}

/// Closes a database that is idle.
pub(super) fn close(js: Js, arguments: &[Val]) -> Answer {
    check_idle(js, arguments)?;
    let db = db(js, arguments)?;
    db.is_away.set(false);
    db.shut();
    js.undefined()
}

/// Runs all statements of a text.
pub(super) fn exec(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&sql) = arguments.get(1) else { return few() };
    enter(js, db)?;
    let sql = js.string_of(sql)?;
    let was_executing = db.is_executing.replace(true);
    let done = db.database.execute_batch(&sql);
    db.is_executing.set(was_executing);
    done?;
    js.undefined()
}

/// Returns the file of a database of the connection, or null.
pub(super) fn location(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&schema) = arguments.get(1) else { return few() };
    match db.database.location(&js.string_of(schema)?)? {
        Some(path) => js.string(path.as_bytes()),
        None => js.null(),
    }
}

/// Returns a limit: database, its number; or sets it to a third argument.
pub(super) fn limit(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&number) = arguments.get(1) else { return few() };
    let Some(limit) = LIMITS.get(usize::try_from(js.integer(number)?).unwrap_or(usize::MAX)) else { return few() };
    if let Some(&value) = arguments.get(2) {
        enter(js, db)?;
        db.database.set_limit(limit.code(), js.integer(value)?)?;
    }
    js.int32(db.database.limit(*limit)?)
}

pub(super) fn set_defensive(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&is_defensive) = arguments.get(1) else { return few() };
    enter(js, db)?;
    db.database.set_defensive(js.truth(is_defensive)?)?;
    js.undefined()
}

/// Loads an extension: database, file, name of its entry point or undefined.
pub(super) fn load_extension(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let &[_, path, entry_point] = arguments else { return few() };
    enter(js, db)?;
    let has_entry_point = js.kind(entry_point)? == napi_sys::ValueType::napi_string;
    let entry_point = if has_entry_point { Some(js.string_of(entry_point)?) } else { None };
    match db.database.load_extension(&js.string_of(path)?, entry_point.as_deref()) {
        Ok(()) => js.undefined(),
        Err(error) => plain(js, "ERR_LOAD_SQLITE_EXTENSION", &error.message),
    }
}

/// Returns a database of the connection as the bytes of a file.
pub(super) fn serialize(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&schema) = arguments.get(1) else { return few() };
    enter(js, db)?;
    let schema = js.string_of(schema)?;
    match db.database.serialize(&schema)? {
        Some(bytes) => uint8_array(js, &bytes),
        None => plain(js, "ERR_SQLITE_ERROR", &format!("database {schema} cannot be serialized")),
    }
}

/// Replaces a database of the connection, which is idle: database, its name, the bytes of a file. Statements are finalized in any case.
pub(super) fn deserialize(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let &[_, schema, bytes] = arguments else { return few() };
    enter(js, db)?;
    let schema = js.string_of(schema)?;
    db.database.finalize_statements();
    db.database.deserialize_into(&schema, js.bytes(bytes)?)?;
    js.undefined()
}

/// Begins a backup: database, name of its part, file, name of the part of that.
pub(super) fn backup_begin(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let &[_, source, path, target] = arguments else { return few() };
    enter(js, db)?;
    // The copy is to be plain, and what is there goes, whatever it is.
    let options = OpenOptions { busy_timeout: Duration::ZERO, ..OpenOptions::default() };
    let destination = Database::open_plain_with_uri(&js.string_of(path)?, &options)?;
    let (source, target) = (js.string_of(source)?, js.string_of(target)?);
    let backup = Rc::new(RefCell::new(Backup::begin_into(&db.database, &source, &destination, &target)?));
    db.add_backup(&backup);
    js.external(Held { db: Rc::clone(db), backup })
}
