//! Opening: finds out what a file is, and opens it as that.

use std::ffi::CString;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use kithdb_core::error::OpenError;
use kithdb_core::file::{self, FileKind, FileLook};
use kithdb_core::replica::{OpenOptions as ReplicaOptions, Replica};
use rusqlite::{Connection, ffi};

use crate::connection::{Backing, Database};
use crate::error::SqliteError;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Whether nothing may be written.
    pub read_only: bool,
    /// Whether a file that is not there is an error.
    pub must_exist: bool,
    /// How long a statement waits for another connection's lock.
    pub busy_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { read_only: false, must_exist: false, busy_timeout: Duration::from_secs(5) }
    }
}

impl Database {
    /// Opens a database; `:memory:` and an empty name are SQLite's databases in memory and in a temporary file.
    pub fn open(path: &str, options: &OpenOptions) -> Result<Self, SqliteError> {
        Ok(Self::from_backing(open_backing(path, options)?))
    }
}

pub(crate) fn open_backing(path: &str, options: &OpenOptions) -> Result<Backing, SqliteError> {
    if !options.read_only && is_replica(path, options) {
        return open_replica(path, options).map(|replica| Backing::Replica(Box::new(replica)));
    }
    open_plain(path, options).map(Backing::Plain)
}

/// Tells whether a file is a replica; what cannot be looked at is not, and SQLite refuses it in its own words.
///
/// A file that waits to be admitted to a workspace is still a plain one, so that a program can go on with it.
fn is_replica(path: &str, options: &OpenOptions) -> bool {
    let is_file = !path.is_empty() && path != ":memory:" && Path::new(path).exists();
    let look = is_file.then(|| file::look(Path::new(path), options.busy_timeout));
    matches!(look, Some(Ok(FileLook { kind: FileKind::Replica(_), .. })))
}

fn open_replica(path: &str, options: &OpenOptions) -> Result<Replica, SqliteError> {
    let options = ReplicaOptions { busy_timeout: options.busy_timeout, ..ReplicaOptions::default() };
    Replica::open(path, options).map_err(|error| refused(&error))
}

/// Finds SQLite's code for why a replica cannot be opened.
pub(crate) fn refused(error: &OpenError) -> SqliteError {
    let code = if error.is_busy() { ffi::SQLITE_BUSY } else { ffi::SQLITE_CANTOPEN };
    SqliteError::new(code, error.to_string())
}

fn open_plain(path: &str, options: &OpenOptions) -> Result<Connection, SqliteError> {
    let name = CString::new(path.split('\0').next().unwrap_or_default())
        .map_err(|_| SqliteError::of_code(ffi::SQLITE_CANTOPEN))?;
    let access = match (options.read_only, options.must_exist) {
        (true, _) => ffi::SQLITE_OPEN_READONLY,
        (false, true) => ffi::SQLITE_OPEN_READWRITE,
        (false, false) => ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE,
    };
    let mut db = ptr::null_mut();
    // SAFETY: the name is a C string and `db` a place for the handle, which is closed if it cannot be used.
    unsafe {
        let code = ffi::sqlite3_open_v2(name.as_ptr(), &raw mut db, access | ffi::SQLITE_OPEN_NOMUTEX, ptr::null());
        if code != ffi::SQLITE_OK {
            let error = if db.is_null() { SqliteError::of_code(code) } else { SqliteError::of_connection(db, code) };
            ffi::sqlite3_close(db);
            return Err(error);
        }
        ffi::sqlite3_extended_result_codes(db, 1);
        let conn = Connection::from_handle_owned(db).map_err(|_| SqliteError::of_code(ffi::SQLITE_NOMEM))?;
        conn.busy_timeout(options.busy_timeout).map_err(|_| SqliteError::of_code(ffi::SQLITE_MISUSE))?;
        Ok(conn)
    }
}
