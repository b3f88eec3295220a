//! What kind of trouble an error of the replica is: whether trying again can help, and how it is told.

use std::error::Error;

use rusqlite::ffi::{self, ErrorCode};

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
            // `rusqlite::Error` itself is not seen where a transparent error stands for it; what it comes from is.
            if let Some(error) = error.downcast_ref::<ffi::Error>() {
                return match error.code {
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
                    ErrorCode::DiskFull => Self::DiskFull,
                    _ => Self::Other,
                };
            }
            next = error.source();
        }
        Self::Other
    }
}

/// Writes an error with what caused it; what trying again can help has words of its own.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    match Trouble::of(error) {
        Trouble::Busy => {
            return "another program holds the database's lock; close that program's transaction".to_owned();
        }
        Trouble::DiskFull => return "the disk that holds the database is full; free some space".to_owned(),
        Trouble::Other => {}
    }
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

#[cfg(test)]
mod tests {
    use kithdb_core::error::{OpenError, StatementError};
    use kithdb_core::log_error::LogError;

    use super::*;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("bare words".to_owned()))
    }

    #[test]
    fn trouble_is_found_whichever_error_carries_it() {
        assert_eq!(Trouble::of(&sqlite(ffi::SQLITE_BUSY)), Trouble::Busy);
        assert_eq!(Trouble::of(&LogError::Sqlite(sqlite(ffi::SQLITE_BUSY_RECOVERY))), Trouble::Busy);
        // These two show their cause's message as their own.
        assert_eq!(Trouble::of(&LogError::Life(OpenError::Sqlite(sqlite(ffi::SQLITE_FULL)))), Trouble::DiskFull);
        assert_eq!(Trouble::of(&StatementError::Sqlite(sqlite(ffi::SQLITE_BUSY))), Trouble::Busy);
        assert_eq!(Trouble::of(&sqlite(ffi::SQLITE_CORRUPT)), Trouble::Other);
    }

    #[test]
    fn bare_words_of_sqlite_are_not_told_of_a_lock_or_a_full_disk() {
        assert!(in_full(&LogError::Sqlite(sqlite(ffi::SQLITE_BUSY))).starts_with("another program holds"));
        assert!(in_full(&LogError::Sqlite(sqlite(ffi::SQLITE_FULL))).starts_with("the disk that holds"));
        assert_eq!(
            in_full(&LogError::Sqlite(sqlite(ffi::SQLITE_CORRUPT))),
            "the database refused: bare words: Error code 11: database disk image is malformed"
        );
    }
}
