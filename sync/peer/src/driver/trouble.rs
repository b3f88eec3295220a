//! What kind of trouble an error of the replica is: whether trying again can help.

use std::error::Error;

use rusqlite::ErrorCode;

/// What trying again can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Another connection holds the lock: try again soon.
    Busy,
    /// There is no room: try again later.
    DiskFull,
    /// Something else.
    Other,
}

impl Trouble {
    /// Finds SQLite's own error at the bottom of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
                return match error.sqlite_error_code() {
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
                    Some(ErrorCode::DiskFull) => Self::DiskFull,
                    _ => Self::Other,
                };
            }
            next = error.source();
        }
        Self::Other
    }
}

/// Writes an error with what caused it.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let shown = cause.to_string();
        if !text.ends_with(&shown) {
            text = format!("{text}: {shown}");
        }
        next = cause.source();
    }
    text
}
