//! Node-API, made a little safer: values, references, errors.
//!
//! Invariants:
//! 1. Every call is made on the environment's own thread, inside a callback of that environment: a [`Js`] is only made there.
//! 2. Nothing unwinds into Node.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use kithdb_sqlite::SqliteError;
use napi_sys as sys;

use crate::instance::Instance;

/// A value of JavaScript, valid until the callback returns.
pub(crate) type Val = sys::napi_value;

/// Why a callback ends with an exception.
#[derive(Debug)]
pub(crate) enum Thrown {
    /// JavaScript has thrown already.
    Pending,
    Type(String),
    Range(String),
    Plain(String),
    Sqlite(SqliteError),
    /// What JavaScript had thrown, taken back to be thrown later.
    Kept(Kept),
}

impl From<SqliteError> for Thrown {
    fn from(error: SqliteError) -> Self {
        Self::Sqlite(error)
    }
}

pub(crate) type Answer<T = Val> = Result<T, Thrown>;

pub(crate) fn type_error<T>(message: impl Into<String>) -> Answer<T> {
    Err(Thrown::Type(message.into()))
}

pub(crate) fn range_error<T>(message: impl Into<String>) -> Answer<T> {
    Err(Thrown::Range(message.into()))
}

/// The environment during one callback.
#[derive(Clone, Copy)]
pub(crate) struct Js {
    pub(crate) env: sys::napi_env,
    pub(crate) instance: *const Instance,
}

/// Calls a function of Node-API that writes one result.
macro_rules! call {
    ($js:expr, $function:ident $(, $argument:expr)* ; $initial:expr) => {{
        let mut result = $initial;
        // SAFETY: we are inside a callback of the environment, and `result` has the type that the function writes.
        let status = unsafe { sys::$function($js.env $(, $argument)*, &raw mut result) };
        $js.check(status).map(|()| result)
    }};
}

impl Js {
    pub(crate) fn instance(&self) -> &Instance {
        // SAFETY: the instance lives as long as its environment, which we are inside of.
        unsafe { &*self.instance }
    }

    fn check(self, status: sys::napi_status) -> Answer<()> {
        match status {
            sys::Status::napi_ok => Ok(()),
            sys::Status::napi_pending_exception => Err(Thrown::Pending),
            _ if self.has_exception() => Err(Thrown::Pending),
            other => Err(Thrown::Plain(format!("Node-API refused a call with status {other}"))),
        }
    }

    pub(crate) fn has_exception(self) -> bool {
        let mut pending = false;
        // SAFETY: we are inside a callback of the environment.
        unsafe { sys::napi_is_exception_pending(self.env, &raw mut pending) };
        pending
    }

    pub(crate) fn undefined(self) -> Answer {
        call!(self, napi_get_undefined; ptr::null_mut())
    }

    pub(crate) fn null(self) -> Answer {
        call!(self, napi_get_null; ptr::null_mut())
    }

    pub(crate) fn boolean(self, value: bool) -> Answer {
        call!(self, napi_get_boolean, value; ptr::null_mut())
    }

    pub(crate) fn double(self, value: f64) -> Answer {
        call!(self, napi_create_double, value; ptr::null_mut())
    }

    pub(crate) fn int32(self, value: i32) -> Answer {
        call!(self, napi_create_int32, value; ptr::null_mut())
    }

    pub(crate) fn bigint(self, value: i64) -> Answer {
        call!(self, napi_create_bigint_int64, value; ptr::null_mut())
    }

    pub(crate) fn string(self, text: &[u8]) -> Answer {
        let (start, len) = (text.as_ptr().cast::<c_char>(), text.len().cast_signed());
        if text.is_ascii() {
            call!(self, napi_create_string_latin1, start, len; ptr::null_mut())
        } else {
            call!(self, napi_create_string_utf8, start, len; ptr::null_mut())
        }
    }

    pub(crate) fn buffer(self, bytes: &[u8]) -> Answer {
        let (len, start) = (bytes.len(), bytes.as_ptr().cast::<c_void>());
        call!(self, napi_create_buffer_copy, len, start, ptr::null_mut(); ptr::null_mut())
    }

    pub(crate) fn array(self) -> Answer {
        call!(self, napi_create_array; ptr::null_mut())
    }

    pub(crate) fn object(self) -> Answer {
        call!(self, napi_create_object; ptr::null_mut())
    }

    pub(crate) fn push(self, array: Val, value: Val) -> Answer<()> {
        let len = self.array_len(array)?;
        self.set_element(array, len, value)
    }

    pub(crate) fn set_element(self, array: Val, index: u32, value: Val) -> Answer<()> {
        // SAFETY: we are inside a callback of the environment.
        self.check(unsafe { sys::napi_set_element(self.env, array, index, value) })
    }

    pub(crate) fn set(self, object: Val, name: &str, value: Val) -> Answer<()> {
        let key = self.string(name.as_bytes())?;
        // SAFETY: we are inside a callback of the environment.
        self.check(unsafe { sys::napi_set_property(self.env, object, key, value) })
    }

    pub(crate) fn kind(self, value: Val) -> Answer<sys::napi_valuetype> {
        call!(self, napi_typeof, value; sys::ValueType::napi_undefined)
    }

    pub(crate) fn is_array(self, value: Val) -> Answer<bool> {
        call!(self, napi_is_array, value; false)
    }

    pub(crate) fn is_buffer(self, value: Val) -> Answer<bool> {
        call!(self, napi_is_buffer, value; false)
    }

    pub(crate) fn array_len(self, array: Val) -> Answer<u32> {
        call!(self, napi_get_array_length, array; 0)
    }

    pub(crate) fn element(self, array: Val, index: u32) -> Answer {
        call!(self, napi_get_element, array, index; ptr::null_mut())
    }

    pub(crate) fn property(self, object: Val, key: Val) -> Answer {
        call!(self, napi_get_property, object, key; ptr::null_mut())
    }

    pub(crate) fn has_own(self, object: Val, key: Val) -> Answer<bool> {
        call!(self, napi_has_own_property, object, key; false)
    }

    pub(crate) fn prototype(self, object: Val) -> Answer {
        call!(self, napi_get_prototype, object; ptr::null_mut())
    }

    pub(crate) fn is_same(self, one: Val, other: Val) -> Answer<bool> {
        call!(self, napi_strict_equals, one, other; false)
    }

    pub(crate) fn number(self, value: Val) -> Answer<f64> {
        call!(self, napi_get_value_double, value; 0.0)
    }

    pub(crate) fn integer(self, value: Val) -> Answer<i32> {
        call!(self, napi_get_value_int32, value; 0)
    }

    pub(crate) fn truth(self, value: Val) -> Answer<bool> {
        call!(self, napi_get_value_bool, value; false)
    }

    /// Reads a bigint; `None` if it has more than 64 bits.
    pub(crate) fn int64(self, value: Val) -> Answer<Option<i64>> {
        let mut is_lossless = false;
        let mut number = 0;
        // SAFETY: we are inside a callback of the environment, and both places have the right types.
        let status =
            unsafe { sys::napi_get_value_bigint_int64(self.env, value, &raw mut number, &raw mut is_lossless) };
        self.check(status)?;
        Ok(is_lossless.then_some(number))
    }

    /// Copies as much of a string as fits, without half characters, and returns how many bytes that was.
    pub(crate) fn text_into(self, value: Val, place: &mut [u8]) -> Answer<usize> {
        let (start, room) = (place.as_mut_ptr().cast::<c_char>(), place.len());
        call!(self, napi_get_value_string_utf8, value, start, room; 0)
    }

    pub(crate) fn text(self, value: Val) -> Answer<Vec<u8>> {
        let len = call!(self, napi_get_value_string_utf8, value, ptr::null_mut(), 0; 0)?;
        let mut text = vec![0; len + 1];
        let used = self.text_into(value, &mut text)?;
        text.truncate(used);
        Ok(text)
    }

    pub(crate) fn string_of(self, value: Val) -> Answer<String> {
        Ok(String::from_utf8(self.text(value)?)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Returns the text of a regular expression; `None` for any other object.
    pub(crate) fn text_of_regular_expression(self, value: Val) -> Answer<Option<Vec<u8>>> {
        let global: Val = call!(self, napi_get_global; ptr::null_mut())?;
        let class = self.property(global, self.string(b"RegExp")?)?;
        if !call!(self, napi_instanceof, value, class; false)? {
            return Ok(None);
        }
        let text: Val = call!(self, napi_coerce_to_string, value; ptr::null_mut())?;
        self.text(text).map(Some)
    }

    /// Lends the bytes of a buffer or another view, until JavaScript runs again.
    pub(crate) fn bytes<'v>(self, value: Val) -> Answer<&'v [u8]> {
        let mut start = ptr::null_mut();
        let len = call!(self, napi_get_buffer_info, value, &raw mut start; 0)?;
        if start.is_null() || len == 0 {
            return Ok(&[]);
        }
        // SAFETY: the view's memory is there, and nobody changes it, until JavaScript runs again.
        Ok(unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }

    pub(crate) fn call(self, function: Val, arguments: &[Val]) -> Answer {
        let receiver = self.undefined()?;
        call!(self, napi_call_function, receiver, function, arguments.len(), arguments.as_ptr(); ptr::null_mut())
    }

    /// Tells the garbage collector of memory that JavaScript's objects hold, or hold no longer.
    pub(crate) fn hold_memory(self, bytes: i64) {
        let _: Answer<i64> = call!(self, napi_adjust_external_memory, bytes; 0);
    }

    /// Runs with values of its own, which are given up at the end.
    pub(crate) fn scoped<T>(self, run: impl FnOnce() -> Answer<T>) -> Answer<T> {
        let scope = call!(self, napi_open_handle_scope; ptr::null_mut())?;
        let result = run();
        // SAFETY: the scope was opened above and nothing inside it outlives it.
        unsafe { sys::napi_close_handle_scope(self.env, scope) };
        result
    }

    /// Wraps a native object in a value that drops it when it is collected.
    pub(crate) fn external<T>(self, native: T) -> Answer {
        let data = Box::into_raw(Box::new(native)).cast::<c_void>();
        let made =
            call!(self, napi_create_external, data, Some(drop_external::<T> as _), ptr::null_mut(); ptr::null_mut());
        if made.is_err() {
            // SAFETY: the box was made above and nobody took it.
            drop(unsafe { Box::from_raw(data.cast::<T>()) });
        }
        made
    }

    /// Makes a value for a native object that is not the value's own.
    ///
    /// # Safety
    /// The object stays where it is as long as JavaScript has the value.
    pub(crate) unsafe fn lend<T>(self, native: &T) -> Answer {
        let data = ptr::from_ref(native).cast_mut().cast::<c_void>();
        call!(self, napi_create_external, data, None, ptr::null_mut(); ptr::null_mut())
    }

    /// Borrows a native object from its value; the type is the caller's word: externals never leave our own JavaScript.
    pub(crate) fn native<'v, T>(self, value: Val) -> Answer<&'v T> {
        let data: *mut c_void = call!(self, napi_get_value_external, value; ptr::null_mut())?;
        // SAFETY: the external holds a box of this type; it lives at least as long as the callback, whose argument it is.
        Ok(unsafe { &*data.cast::<T>() })
    }

    pub(crate) fn throw(self, thrown: Thrown) {
        if matches!(thrown, Thrown::Pending) || self.has_exception() {
            return;
        }
        // Whatever fails here leaves an exception of its own, or none, which is all that can be done.
        let _ = self.try_throw(&thrown);
    }

    /// Makes something that was thrown into what can be kept and thrown later: nothing is pending meanwhile.
    pub(crate) fn put_off(self, thrown: Thrown) -> Thrown {
        if !matches!(thrown, Thrown::Pending) {
            return thrown;
        }
        let error = call!(self, napi_get_and_clear_last_exception; ptr::null_mut());
        match error.and_then(|error| Kept::new(self, error)) {
            Ok(error) => Thrown::Kept(error),
            Err(_) => Thrown::Plain("what was thrown could not be kept".to_owned()),
        }
    }

    fn try_throw(self, thrown: &Thrown) -> Answer<()> {
        let error = match thrown {
            Thrown::Pending => return Ok(()),
            Thrown::Kept(error) => error.get(self)?,
            Thrown::Type(message) => {
                let message = self.string(message.as_bytes())?;
                call!(self, napi_create_type_error, ptr::null_mut(), message; ptr::null_mut())?
            }
            Thrown::Range(message) => {
                let message = self.string(message.as_bytes())?;
                call!(self, napi_create_range_error, ptr::null_mut(), message; ptr::null_mut())?
            }
            Thrown::Plain(message) => {
                let message = self.string(message.as_bytes())?;
                call!(self, napi_create_error, ptr::null_mut(), message; ptr::null_mut())?
            }
            Thrown::Sqlite(error) => {
                let make = self.instance().make_error(self)?;
                let arguments = [self.string(error.message.as_bytes())?, self.string(error.name().as_bytes())?];
                self.call(make, &arguments)?
            }
        };
        // SAFETY: we are inside a callback of the environment.
        self.check(unsafe { sys::napi_throw(self.env, error) })
    }
}

/// A value of JavaScript that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    env: sys::napi_env,
    raw: sys::napi_ref,
}

impl Kept {
    pub(crate) fn new(js: Js, value: Val) -> Answer<Self> {
        let raw = call!(js, napi_create_reference, value, 1; ptr::null_mut())?;
        Ok(Self { env: js.env, raw })
    }

    pub(crate) fn get(&self, js: Js) -> Answer {
        call!(js, napi_get_reference_value, self.raw; ptr::null_mut())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: what keeps values is dropped inside callbacks, finalizers and the cleanup hook of the environment only.
        unsafe { sys::napi_delete_reference(self.env, self.raw) };
    }
}

/// A value of JavaScript that is known, but not kept.
pub(crate) struct Seen {
    env: sys::napi_env,
    raw: sys::napi_ref,
}

impl Seen {
    pub(crate) fn new(js: Js, value: Val) -> Answer<Self> {
        let raw = call!(js, napi_create_reference, value, 0; ptr::null_mut())?;
        Ok(Self { env: js.env, raw })
    }

    /// Tells whether the value was collected.
    pub(crate) fn is_gone(&self, js: Js) -> bool {
        let value: Answer = call!(js, napi_get_reference_value, self.raw; ptr::null_mut());
        value.is_ok_and(|value: Val| value.is_null())
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        // SAFETY: as of `Kept`.
        unsafe { sys::napi_delete_reference(self.env, self.raw) };
    }
}

/// # Safety
/// To be called by Node with a box of `T` made by [`Js::external`], once.
unsafe extern "C" fn drop_external<T>(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: as promised by our caller.
    let native = unsafe { Box::from_raw(data.cast::<T>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(native)));
}

/// How many arguments are read without asking for room.
const ARGUMENTS: usize = 8;

/// What a native function is: arguments in, a value out.
pub(crate) type Native = fn(Js, &[Val]) -> Answer;

/// Reads the arguments, runs, and turns what goes wrong into an exception.
///
/// # Safety
/// To be called by Node as a function made with the instance as its data.
pub(crate) unsafe fn enter(env: sys::napi_env, info: sys::napi_callback_info, native: Native) -> Val {
    let mut few = [ptr::null_mut(); ARGUMENTS];
    let mut count = ARGUMENTS;
    let mut data = ptr::null_mut();
    // SAFETY: there is room for `count` arguments; the other results are pointers.
    unsafe {
        sys::napi_get_cb_info(env, info, &raw mut count, few.as_mut_ptr(), ptr::null_mut(), &raw mut data);
    }
    let js = Js { env, instance: data.cast::<Instance>().cast_const() };
    let mut many = Vec::new();
    let arguments = if count <= ARGUMENTS {
        &few[..count]
    } else {
        many.resize(count, ptr::null_mut());
        // SAFETY: as above.
        unsafe {
            sys::napi_get_cb_info(env, info, &raw mut count, many.as_mut_ptr(), ptr::null_mut(), ptr::null_mut());
        }
        &many[..]
    };
    match catch_unwind(AssertUnwindSafe(|| native(js, arguments))) {
        Ok(Ok(value)) => value,
        Ok(Err(thrown)) => {
            js.throw(thrown);
            ptr::null_mut()
        }
        Err(_) => {
            js.throw(Thrown::Plain("the addon failed within; please report this".to_owned()));
            ptr::null_mut()
        }
    }
}
