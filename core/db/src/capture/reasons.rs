//! Why a commit is refused: one sentence each, with the remedy.

use kithdb_log::ClockAheadError;
use rusqlite::ffi;

use super::journal::Failure;

/// Said by the commit hook, where nothing more is known.
pub(super) const NOT_WRITTEN: &str =
    "changes of synced tables were not written to the log, so the transaction was undone; run it again";

fn constraint(message: String) -> Failure {
    Failure { code: ffi::SQLITE_CONSTRAINT, message }
}

pub(super) fn null_key(table: &str) -> Failure {
    constraint(format!(
        "a row of the synced table {table} has NULL in its PRIMARY KEY and cannot be named on other devices; give the key a value"
    ))
}

pub(super) fn value_too_large(table: &str, bytes: usize, max: usize) -> Failure {
    constraint(format!(
        "a value of {bytes} bytes in the synced table {table} is above the limit of {max} bytes; store it in pieces or in a file"
    ))
}

pub(super) fn key_too_large(table: &str, bytes: usize, max: usize) -> Failure {
    constraint(format!(
        "a PRIMARY KEY of {bytes} bytes in the synced table {table} is above the limit of {max} bytes; use a shorter key"
    ))
}

pub(super) fn row_too_large(table: &str, bytes: usize, max: usize) -> Failure {
    constraint(format!(
        "a row of {bytes} bytes in the synced table {table} is above the limit of {max} bytes; store large values in rows of their own"
    ))
}

pub(super) fn too_many_tables(tables: usize, max: usize) -> Failure {
    constraint(format!(
        "a transaction changed {tables} synced tables, and at most {max} can be sent together; write in smaller transactions"
    ))
}

/// For what the registry says of a table that another program changed.
pub(super) fn changed(message: String) -> Failure {
    Failure { code: ffi::SQLITE_SCHEMA, message }
}

/// For a change that the registry does not know of yet.
pub(super) fn table_changed(table: &str) -> Failure {
    changed(format!(
        "the columns of the synced table {table} were changed by another program; run the transaction again, or call kith_unsync('{table}')"
    ))
}

pub(super) fn tables_changed() -> Failure {
    Failure {
        code: ffi::SQLITE_ERROR,
        message: "which tables are synced was changed by another connection or rolled back; run the transaction again"
            .into(),
    }
}

pub(super) fn clock_ahead(error: ClockAheadError) -> Failure {
    Failure { code: ffi::SQLITE_ERROR, message: error.to_string() }
}

pub(super) fn spill(error: &std::io::Error) -> Failure {
    Failure {
        code: ffi::SQLITE_IOERR,
        message: format!(
            "a large transaction could not be kept in a temporary file ({error}); free space in the temporary folder or write in smaller transactions"
        ),
    }
}

pub(super) fn interrupted() -> Failure {
    Failure { code: ffi::SQLITE_INTERRUPT, message: "interrupted".into() }
}

pub(super) fn panicked() -> Failure {
    Failure {
        code: ffi::SQLITE_INTERNAL,
        message: "capture failed inside, so the transaction was undone; please report this as a bug".into(),
    }
}

/// Passes on what SQLite said while we read or wrote.
pub(super) fn sqlite(error: &rusqlite::Error) -> Failure {
    let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
    Failure { code, message: error.to_string() }
}
