//! Values as SQLite has them; text is bytes, for SQLite does not promise UTF-8.

use std::ffi::{c_int, c_void};
use std::slice;

use rusqlite::ffi;

/// A value that belongs to somebody else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
}

impl<'a> ValueRef<'a> {
    /// Reads an argument of a function.
    ///
    /// # Safety
    /// `value` must be a protected value that stays as it is for `'a`.
    pub(crate) unsafe fn of_raw(value: *mut ffi::sqlite3_value) -> Self {
        // SAFETY: the value is protected and stays, as our caller promises; its length is asked after its content, as SQLite wants.
        unsafe {
            match ffi::sqlite3_value_type(value) {
                ffi::SQLITE_INTEGER => Self::Integer(ffi::sqlite3_value_int64(value)),
                ffi::SQLITE_FLOAT => Self::Real(ffi::sqlite3_value_double(value)),
                ffi::SQLITE_TEXT => {
                    let text = ffi::sqlite3_value_text(value);
                    Self::Text(bytes(text.cast(), ffi::sqlite3_value_bytes(value)))
                }
                ffi::SQLITE_BLOB => {
                    let blob = ffi::sqlite3_value_blob(value);
                    Self::Blob(bytes(blob, ffi::sqlite3_value_bytes(value)))
                }
                _ => Self::Null,
            }
        }
    }

    /// Reads a function's arguments.
    ///
    /// # Safety
    /// `values` must be `count` protected values that stay as they are for `'a`.
    pub(crate) unsafe fn of_arguments(count: c_int, values: *mut *mut ffi::sqlite3_value) -> Vec<Self> {
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: as promised by our caller.
        (0..count).map(|index| unsafe { Self::of_raw(*values.add(index)) }).collect()
    }
}

impl Value {
    /// Hands the value to SQLite as a function's or a column's result.
    ///
    /// # Safety
    /// `context` must be that of a running call.
    pub(crate) unsafe fn give(&self, context: *mut ffi::sqlite3_context) {
        // SAFETY: the context is of a running call; SQLite copies text and blobs (SQLITE_TRANSIENT).
        unsafe {
            match self {
                Self::Null => ffi::sqlite3_result_null(context),
                Self::Integer(number) => ffi::sqlite3_result_int64(context, *number),
                Self::Real(number) => ffi::sqlite3_result_double(context, *number),
                Self::Text(text) => ffi::sqlite3_result_text64(
                    context,
                    text.as_ptr().cast(),
                    text.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    ffi::SQLITE_UTF8 as u8,
                ),
                Self::Blob(blob) => {
                    ffi::sqlite3_result_blob64(context, non_null(blob), blob.len() as u64, ffi::SQLITE_TRANSIENT())
                }
            }
        }
    }
}

/// Returns a pointer that SQLite does not take for NULL, even to nothing.
pub(crate) const fn non_null(bytes: &[u8]) -> *const c_void {
    bytes.as_ptr().cast()
}

/// # Safety
/// `start` must be null or the start of `len` bytes that stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a>(start: *const c_void, len: c_int) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: as promised by our caller.
    unsafe { slice::from_raw_parts(start.cast(), usize::try_from(len).unwrap_or(0)) }
}
