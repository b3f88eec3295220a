//! Functions of the application's: scalar, aggregate and window.
//!
//! Invariants:
//! 1. Nothing unwinds into SQLite: what panics is an error of the statement.

use std::ffi::{CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use rusqlite::ffi;

use crate::connection::Database;
use crate::error::SqliteError;
use crate::value::{Value, ValueRef};

/// A scalar function; an error is its message.
pub type Scalar = Box<dyn Fn(&[ValueRef<'_>]) -> Result<Value, String>>;

/// Begins the state of one group of an aggregate function.
pub type StartAggregate = Box<dyn Fn() -> Result<Box<dyn AggregateState>, String>>;

/// The state of one group of an aggregate or window function.
pub trait AggregateState {
    /// Takes a row in.
    fn step(&mut self, arguments: &[ValueRef<'_>]) -> Result<(), String>;
    /// Takes a row out that was taken in; called for window functions only.
    fn inverse(&mut self, arguments: &[ValueRef<'_>]) -> Result<(), String>;
    /// Returns the result for the rows that are in; asked again and again of window functions.
    fn value(&mut self) -> Result<Value, String>;
}

/// What SQLite may assume of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionOptions {
    /// How many arguments it takes; -1 stands for any number.
    pub argument_count: i32,
    /// Whether equal arguments give equal results.
    pub is_deterministic: bool,
    /// Whether it may not be called from the schema: triggers, views, indexes.
    pub is_direct_only: bool,
}

impl FunctionOptions {
    const fn flags(self) -> c_int {
        let deterministic = if self.is_deterministic { ffi::SQLITE_DETERMINISTIC } else { 0 };
        let direct_only = if self.is_direct_only { ffi::SQLITE_DIRECTONLY } else { 0 };
        ffi::SQLITE_UTF8 | deterministic | direct_only
    }
}

struct Aggregate {
    start: StartAggregate,
}

impl Database {
    /// Adds, or replaces, a scalar function.
    pub fn create_function(&self, name: &str, options: FunctionOptions, function: Scalar) -> Result<(), SqliteError> {
        let db = self.db()?;
        let name = c_name(name)?;
        let data = Box::into_raw(Box::new(Rc::new(function))).cast::<c_void>();
        self.note_extension();
        // SAFETY: the handle is open, the name a C string; SQLite calls the destructor with `data` once, also when it refuses.
        let code = unsafe {
            ffi::sqlite3_create_function_v2(
                db,
                name.as_ptr(),
                options.argument_count,
                options.flags(),
                data,
                Some(call_scalar),
                None,
                None,
                Some(drop_scalar),
            )
        };
        self.shared.check(code)
    }

    /// Adds, or replaces, an aggregate function, or with `is_window` one that can also run over windows.
    pub fn create_aggregate(
        &self,
        name: &str,
        options: FunctionOptions,
        is_window: bool,
        start: StartAggregate,
    ) -> Result<(), SqliteError> {
        let db = self.db()?;
        let name = c_name(name)?;
        let data = Box::into_raw(Box::new(Aggregate { start })).cast::<c_void>();
        self.note_extension();
        // SAFETY: as in `create_function`.
        let code = unsafe {
            if is_window {
                ffi::sqlite3_create_window_function(
                    db,
                    name.as_ptr(),
                    options.argument_count,
                    options.flags(),
                    data,
                    Some(aggregate_step),
                    Some(aggregate_final),
                    Some(aggregate_value),
                    Some(aggregate_inverse),
                    Some(drop_aggregate),
                )
            } else {
                ffi::sqlite3_create_function_v2(
                    db,
                    name.as_ptr(),
                    options.argument_count,
                    options.flags(),
                    data,
                    None,
                    Some(aggregate_step),
                    Some(aggregate_final),
                    Some(drop_aggregate),
                )
            }
        };
        self.shared.check(code)
    }
}

fn c_name(name: &str) -> Result<CString, SqliteError> {
    CString::new(name).map_err(|_| SqliteError::new(ffi::SQLITE_MISUSE, "a function's name holds a zero byte"))
}

/// Runs a call and hands its result, or its error, to SQLite.
///
/// # Safety
/// `context` must be that of a running call.
unsafe fn answer(context: *mut ffi::sqlite3_context, call: impl FnOnce() -> Result<Value, String>) {
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err("the function panicked".to_owned()));
    // SAFETY: the context is of a running call, as our caller promises; SQLite copies the message.
    unsafe {
        match result {
            Ok(value) => value.give(context),
            Err(message) => {
                let len = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
                ffi::sqlite3_result_error(context, message.as_ptr().cast(), len);
            }
        }
    }
}

/// # Safety
/// To be called by SQLite as registered by `create_function`.
unsafe extern "C" fn call_scalar(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the user data is the box given at registration, which is there when the call begins; the arguments are protected
    // values that stay for the call.
    unsafe {
        // Held here too: called while a statement is prepared, which SQLite does to estimate, a function may be replaced by itself.
        let function = Rc::clone(&*ffi::sqlite3_user_data(context).cast::<Rc<Scalar>>());
        answer(context, || function(&ValueRef::of_arguments(count, values)));
    }
}

/// # Safety
/// To be called by SQLite with the user data of `create_function`, once.
unsafe extern "C" fn drop_scalar(data: *mut c_void) {
    // SAFETY: the pointer came out of a box of this type.
    let function = unsafe { Box::from_raw(data.cast::<Rc<Scalar>>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(function)));
}

/// # Safety
/// To be called by SQLite with the user data of `create_aggregate`, once.
unsafe extern "C" fn drop_aggregate(data: *mut c_void) {
    // SAFETY: the pointer came out of a box of this type.
    let aggregate = unsafe { Box::from_raw(data.cast::<Aggregate>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(aggregate)));
}

/// What SQLite keeps for a group: null until its first row.
type Slot = *mut Group;

struct Group {
    state: Box<dyn AggregateState>,
    /// Whether it runs over a window, whose rows have had their results when the group ends.
    is_window: bool,
}

/// Returns the state of the group that a call is for, begun if it is not there.
///
/// # Safety
/// `context` must be that of a running call of a function registered by `create_aggregate`.
unsafe fn group<'a>(context: *mut ffi::sqlite3_context) -> Result<&'a mut Group, String> {
    // SAFETY: SQLite hands out zeroed memory of this size, the same for each call of a group, and the registered user data.
    unsafe {
        let slot = ffi::sqlite3_aggregate_context(context, size_of::<Slot>() as c_int).cast::<Slot>();
        if slot.is_null() {
            return Err("out of memory".to_owned());
        }
        if (*slot).is_null() {
            let aggregate = &*ffi::sqlite3_user_data(context).cast::<Aggregate>();
            *slot = Box::into_raw(Box::new(Group { state: (aggregate.start)()?, is_window: false }));
        }
        Ok(&mut **slot)
    }
}

/// # Safety
/// To be called by SQLite as registered by `create_aggregate`.
unsafe extern "C" fn aggregate_step(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the context is of a running call, the arguments are protected values that stay for it.
    unsafe { change(context, |state| state.step(&ValueRef::of_arguments(count, values))) }
}

/// # Safety
/// To be called by SQLite as registered by `create_aggregate`.
unsafe extern "C" fn aggregate_inverse(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: as in `aggregate_step`.
    unsafe { change(context, |state| state.inverse(&ValueRef::of_arguments(count, values))) }
}

/// # Safety
/// `context` must be that of a running call of a function registered by `create_aggregate`.
unsafe fn change(context: *mut ffi::sqlite3_context, call: impl FnOnce(&mut dyn AggregateState) -> Result<(), String>) {
    // SAFETY: as promised by our caller.
    let call = || unsafe { group(context) }.and_then(|group| call(group.state.as_mut()));
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err("the function panicked".to_owned()));
    if let Err(message) = result {
        let len = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
        // SAFETY: the context is of a running call; SQLite copies the message.
        unsafe { ffi::sqlite3_result_error(context, message.as_ptr().cast(), len) };
    }
}

/// # Safety
/// To be called by SQLite as registered by `create_aggregate`.
unsafe extern "C" fn aggregate_value(context: *mut ffi::sqlite3_context) {
    // SAFETY: the context is of a running call.
    unsafe {
        answer(context, || {
            let group = group(context)?;
            group.is_window = true;
            group.state.value()
        });
    }
}

/// # Safety
/// To be called by SQLite as registered by `create_aggregate`, once for a group.
unsafe extern "C" fn aggregate_final(context: *mut ffi::sqlite3_context) {
    // SAFETY: the context is of a running call; the state is this group's and not used again.
    unsafe {
        answer(context, || {
            let group = group(context)?;
            if group.is_window { Ok(Value::Null) } else { group.state.value() }
        });
        let slot = ffi::sqlite3_aggregate_context(context, 0).cast::<Slot>();
        if !slot.is_null() {
            let held = ptr::replace(slot, ptr::null_mut());
            if !held.is_null() {
                let held = Box::from_raw(held);
                let _ = catch_unwind(AssertUnwindSafe(|| drop(held)));
            }
        }
    }
}
