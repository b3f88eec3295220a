//! Errors as Node makes them: with a `code`, and SQLite's with its number and its words for that.

use std::ptr;

use kithdb_sqlite::SqliteError;
use napi_sys as sys;

use crate::js::{Answer, Js, Thrown, Val};

/// The class of an error.
#[derive(Clone, Copy)]
enum Class {
    Plain,
    Type,
    Range,
}

/// Throws an error with a code.
fn coded<T>(js: Js, class: Class, code: &str, message: &str) -> Answer<T> {
    raise(js, make(js, class, code, message)?)
}

fn make(js: Js, class: Class, code: &str, message: &str) -> Answer {
    let (code, message) = (js.string(code.as_bytes())?, js.string(message.as_bytes())?);
    let create = match class {
        Class::Plain => sys::napi_create_error,
        Class::Type => sys::napi_create_type_error,
        Class::Range => sys::napi_create_range_error,
    };
    let mut error: Val = ptr::null_mut();
    // SAFETY: we are inside a callback of the environment, and the place has the right type.
    if unsafe { create(js.env, code, message, &raw mut error) } != sys::Status::napi_ok {
        return Err(Thrown::Plain("an error could not be made".to_owned()));
    }
    Ok(error)
}

fn raise<T>(js: Js, error: Val) -> Answer<T> {
    // SAFETY: we are inside a callback of the environment. If it refuses, an exception is there already.
    unsafe { sys::napi_throw(js.env, error) };
    Err(Thrown::Pending)
}

/// Throws what says that something cannot be done as things are.
pub(super) fn invalid_state<T>(js: Js, message: &str) -> Answer<T> {
    coded(js, Class::Plain, "ERR_INVALID_STATE", message)
}

/// Throws what says that an argument is of the wrong kind.
pub(super) fn invalid_type<T>(js: Js, message: &str) -> Answer<T> {
    coded(js, Class::Type, "ERR_INVALID_ARG_TYPE", message)
}

/// Throws what says that an argument has a wrong value.
pub(super) fn invalid_value<T>(js: Js, message: &str) -> Answer<T> {
    coded(js, Class::Type, "ERR_INVALID_ARG_VALUE", message)
}

/// Throws an error of a code of its own.
pub(super) fn plain<T>(js: Js, code: &str, message: &str) -> Answer<T> {
    coded(js, Class::Plain, code, message)
}

fn sqlite<T>(js: Js, error: &SqliteError) -> Answer<T> {
    let made = make(js, Class::Plain, "ERR_SQLITE_ERROR", &error.message)?;
    js.set(made, "errcode", js.int32(error.code)?)?;
    js.set(made, "errstr", js.string(SqliteError::of_code(error.code).message.as_bytes())?)?;
    raise(js, made)
}

/// Has what goes wrong said as Node says it.
pub(crate) fn speak<T>(js: Js, answer: Answer<T>) -> Answer<T> {
    match answer {
        Err(Thrown::Sqlite(error)) if !js.has_exception() => sqlite(js, &error),
        // The one thing that has a wrong range here is a number that JavaScript cannot hold.
        Err(Thrown::Range(message)) if !js.has_exception() => coded(js, Class::Range, "ERR_OUT_OF_RANGE", &message),
        other => other,
    }
}
