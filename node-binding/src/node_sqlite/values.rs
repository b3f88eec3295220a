//! Values between SQLite and JavaScript, by node:sqlite's rules.

use std::ffi::c_void;
use std::ptr;

use kithdb_sqlite::{Value, ValueRef};
use napi_sys as sys;

use crate::function::{self, Unfit};
use crate::js::{Answer, Js, Thrown, Val};

/// The greatest integer that JavaScript's numbers tell apart from its neighbours.
const SAFE_MAX: u64 = (1 << 53) - 1;

/// Makes a value of JavaScript of SQLite's.
pub(crate) fn value(js: Js, given: ValueRef<'_>, is_safe: bool) -> Answer {
    match given {
        ValueRef::Integer(number) if !is_safe && number.unsigned_abs() > SAFE_MAX => Err(too_large(number)),
        ValueRef::Blob(blob) => uint8_array(js, blob),
        other => crate::row::value(js, other, is_safe),
    }
}

/// Says that an integer is none of JavaScript's numbers.
pub(super) fn too_large(number: i64) -> Thrown {
    Thrown::Range(format!("Value is too large to be represented as a JavaScript number: {number}"))
}

/// Makes an integer that must be a number of JavaScript's.
pub(super) fn safe(number: i64) -> Answer<f64> {
    if number.unsigned_abs() > SAFE_MAX { Err(too_large(number)) } else { Ok(number as f64) }
}

/// Makes a `Uint8Array` with memory of its own.
pub(super) fn uint8_array(js: Js, bytes: &[u8]) -> Answer {
    let (mut start, mut buffer, mut array) = (ptr::null_mut::<c_void>(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: we are inside a callback of the environment; the buffer has as many bytes as were asked for.
    let status = unsafe {
        let made = sys::napi_create_arraybuffer(js.env, bytes.len(), &raw mut start, &raw mut buffer);
        if made != sys::Status::napi_ok {
            return Err(Thrown::Plain("Out of memory".to_owned()));
        }
        if !bytes.is_empty() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast::<u8>(), bytes.len());
        }
        let kind = sys::TypedarrayType::uint8_array;
        sys::napi_create_typedarray(js.env, kind, bytes.len(), buffer, 0, &raw mut array)
    };
    if status == sys::Status::napi_ok { Ok(array) } else { Err(Thrown::Plain("Out of memory".to_owned())) }
}

/// Lends the bytes of a view or an array buffer, until JavaScript runs again; `None` of anything else.
pub(super) fn bytes_of<'v>(js: Js, value: Val) -> Answer<Option<&'v [u8]>> {
    if js.is_buffer(value)? {
        return js.bytes(value).map(Some);
    }
    let mut is_buffer = false;
    // SAFETY: we are inside a callback of the environment, and the place has the right type.
    unsafe { sys::napi_is_arraybuffer(js.env, value, &raw mut is_buffer) };
    if !is_buffer {
        return Ok(None);
    }
    let (mut start, mut len) = (ptr::null_mut(), 0);
    // SAFETY: the value is an array buffer, and both places have the right types.
    unsafe { sys::napi_get_arraybuffer_info(js.env, value, &raw mut start, &raw mut len) };
    if start.is_null() || len == 0 {
        return Ok(Some(&[]));
    }
    // SAFETY: the buffer's memory is there, and nobody changes it, until JavaScript runs again.
    Ok(Some(unsafe { std::slice::from_raw_parts(start.cast(), len) }))
}

/// Makes a view of a `SharedArrayBuffer`, which Node-API does not know; `None` of anything else.
pub(super) fn view_of_shared(js: Js, value: Val) -> Answer<Option<Val>> {
    let (mut global, mut is_shared, mut view) = (ptr::null_mut(), false, ptr::null_mut());
    // SAFETY: we are inside a callback of the environment, and the place has the right type.
    unsafe { sys::napi_get_global(js.env, &raw mut global) };
    let shared = js.property(global, js.string(b"SharedArrayBuffer")?)?;
    // SAFETY: as above; a global that is no class leaves the answer false.
    unsafe { sys::napi_instanceof(js.env, value, shared, &raw mut is_shared) };
    if !is_shared {
        return Ok(None);
    }
    let class = js.property(global, js.string(b"Uint8Array")?)?;
    // SAFETY: as above; there is one argument.
    let status = unsafe { sys::napi_new_instance(js.env, class, 1, &raw const value, &raw mut view) };
    if status == sys::Status::napi_ok { Ok(Some(view)) } else { Err(Thrown::Pending) }
}

fn is_promise(js: Js, value: Val) -> bool {
    let mut is_promise = false;
    // SAFETY: we are inside a callback of the environment, and the place has the right type.
    unsafe { sys::napi_is_promise(js.env, value, &raw mut is_promise) };
    is_promise
}

/// Takes what a function returned; what it says of a value that is none is SQLite's error.
pub(crate) fn take(js: Js, given: Val) -> Answer<Result<Value, String>> {
    Ok(match function::take(js, given)? {
        Ok(value) => Ok(value),
        Err(Unfit::TooBig) => Err("BigInt value is too large for SQLite".to_owned()),
        Err(Unfit::Invalid) if is_promise(js, given) => {
            Err("Asynchronous user-defined functions are not supported".to_owned())
        }
        Err(Unfit::Invalid) => match bytes_of(js, given)? {
            Some(bytes) => Ok(Value::Blob(bytes.to_vec())),
            None => Err("Returned JavaScript value cannot be converted to a SQLite value".to_owned()),
        },
    })
}
