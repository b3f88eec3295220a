//! Arguments of JavaScript into the values of a run, by node-sqlite3's rules, or where told so by libsql's.

use kithdb_sqlite::ValueRef;
use napi_sys::{self as sys, ValueType};

use super::job::{Parameters, Place};
use super::values::Values;
use crate::js::{Answer, Js, Val, range_error};

/// Text of fewer bytes is read in one go.
const ROOM: usize = 256;
/// The most that one character takes.
const CHARACTER: usize = 4;

/// Reads the values of a run, and the places that they go to if an object named them.
pub(crate) fn read(js: Js, places: Val, values: &[Val], is_plain: bool) -> Answer<Parameters> {
    let mut parameters = Parameters { values: Values::with_capacity(values.len()), places: Vec::new() };
    if js.is_array(places)? {
        for index in 0..js.array_len(places)? {
            let place = js.element(places, index)?;
            parameters.places.push(match js.kind(place)? {
                // What is no number of a parameter is SQLite's to refuse.
                ValueType::napi_number => Place::Number(usize::try_from(js.integer(place)?).unwrap_or(0)),
                _ if is_plain => Place::Bare(js.string_of(place)?),
                _ => Place::Name(js.string_of(place)?),
            });
        }
    }
    for &value in values {
        if is_plain && js.kind(value)? == ValueType::napi_number {
            parameters.values.push(ValueRef::Real(js.number(value)?));
            continue;
        }
        push(js, &mut parameters.values, value)?;
    }
    Ok(parameters)
}

fn push(js: Js, values: &mut Values, value: Val) -> Answer<()> {
    match js.kind(value)? {
        ValueType::napi_string => values.push_text_with(|bytes| append(js, bytes, value))?,
        ValueType::napi_number => values.push(number(js.number(value)?)),
        ValueType::napi_boolean => values.push(ValueRef::Integer(js.truth(value)?.into())),
        ValueType::napi_bigint => match js.int64(value)? {
            Some(number) => values.push(ValueRef::Integer(number)),
            None => return range_error("The bound bigint has more than 64 bits"),
        },
        ValueType::napi_object if js.is_buffer(value)? => values.push(ValueRef::Blob(js.bytes(value)?)),
        ValueType::napi_object | ValueType::napi_function => push_object(js, values, value)?,
        ValueType::napi_null => values.push(ValueRef::Null),
        // As the original: what it cannot bind it leaves alone.
        _ => values.push_absent(),
    }
    Ok(())
}

/// An integer of 32 bits is an INTEGER, everything else a REAL.
fn number(number: f64) -> ValueRef<'static> {
    let whole = number as i32;
    if f64::from(whole) == number { ValueRef::Integer(whole.into()) } else { ValueRef::Real(number) }
}

#[cold]
fn push_object(js: Js, values: &mut Values, value: Val) -> Answer<()> {
    let mut is_date = false;
    let mut milliseconds = 0.0;
    // SAFETY: we are inside a callback of the environment, and the places have the right types.
    unsafe {
        if sys::napi_is_date(js.env, value, &raw mut is_date) == sys::Status::napi_ok
            && is_date
            && sys::napi_get_date_value(js.env, value, &raw mut milliseconds) == sys::Status::napi_ok
        {
            values.push(ValueRef::Real(milliseconds));
            return Ok(());
        }
    }
    match js.text_of_regular_expression(value)? {
        Some(text) => values.push(ValueRef::Text(&text)),
        None => values.push(ValueRef::Text(b"[object Object]")),
    }
    Ok(())
}

/// Appends a string's bytes.
fn append(js: Js, bytes: &mut Vec<u8>, value: Val) -> Answer<()> {
    let start = bytes.len();
    bytes.resize(start + ROOM, 0);
    let len = js.text_into(value, &mut bytes[start..])?;
    bytes.truncate(start + len);
    // Less than what fits is all of it.
    if len + CHARACTER >= ROOM {
        bytes.truncate(start);
        bytes.extend_from_slice(&js.text(value)?);
    }
    Ok(())
}
