//! Opening: finds out what a file is, and opens it as that.

use std::ffi::{CString, c_int};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use kithdb_core::error::{FileError, OpenError};
use kithdb_core::everywhere;
use kithdb_core::file::{self, FileKind, FileLook};
use kithdb_core::keyfile;
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
        Self::open_flagged(path, options, 0)
    }

    /// The same, with further flags of SQLite's for a plain database.
    pub(crate) fn open_flagged(path: &str, options: &OpenOptions, flags: c_int) -> Result<Self, SqliteError> {
        Ok(Self::from_backing(open_backing(path, options, flags)?))
    }

    /// The same, whatever the file is.
    pub(crate) fn open_plain_flagged(path: &str, options: &OpenOptions, flags: c_int) -> Result<Self, SqliteError> {
        Ok(Self::from_backing(Backing::Plain(open_plain(path, options, flags)?)))
    }

    /// Opens a database with flags of `sqlite3_open_v2`, as a caller of SQLite's own API would.
    ///
    /// A connection is used by one thread at a time, so that no mutex is asked for whatever the flags say.
    pub fn open_with_flags(path: &str, flags: c_int, busy_timeout: Duration) -> Result<Self, SqliteError> {
        if flags & ffi::SQLITE_OPEN_READWRITE != 0 {
            let options = OpenOptions { busy_timeout, ..OpenOptions::default() };
            let address = if flags & ffi::SQLITE_OPEN_URI == 0 { None } else { path_of_address(path) };
            if address.is_some_and(|path| is_replica(&path, &options).unwrap_or(true)) {
                let message = "a KithDB database is opened by its path, not by a file: address";
                return Err(SqliteError::new(ffi::SQLITE_CANTOPEN, message));
            }
            if is_replica(path, &options)? {
                return Ok(Self::from_backing(Backing::Replica(Box::new(open_replica(path, &options)?))));
            }
        }
        let flags = flags & !ffi::SQLITE_OPEN_FULLMUTEX | ffi::SQLITE_OPEN_NOMUTEX;
        Ok(Self::from_backing(Backing::Plain(open_handle(path, flags, busy_timeout)?)))
    }
}

/// Returns the path that a `file:` address names; `None` for what is no address.
fn path_of_address(address: &str) -> Option<String> {
    let rest = address.strip_prefix("file:")?;
    let rest = rest.strip_prefix("//").map_or(rest, |rest| rest.find('/').map_or("", |at| &rest[at..]));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let mut path = Vec::with_capacity(rest.len());
    let mut bytes = rest.as_bytes();
    while let Some((&byte, after)) = bytes.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        path.push(decoded.unwrap_or(byte));
        bytes = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(path).ok()
}

pub(crate) fn open_backing(path: &str, options: &OpenOptions, flags: c_int) -> Result<Backing, SqliteError> {
    if !options.read_only && is_replica(path, options)? {
        return open_replica(path, options).map(|replica| Backing::Replica(Box::new(replica)));
    }
    open_plain(path, options, flags).map(Backing::Plain)
}

/// How long a replica that another program has locked is waited for at the least: to take it for a plain file would lose what is written.
const LOCKED_REPLICA_PATIENCE: Duration = Duration::from_secs(5);

/// Tells whether a file is a replica; a plain one that cannot be looked at is SQLite's to refuse in its own words, later.
///
/// A file that waits to be admitted to a workspace is still a plain one, so that a program can go on with it.
pub(crate) fn is_replica(path: &str, options: &OpenOptions) -> Result<bool, SqliteError> {
    if path.is_empty() || path == ":memory:" || !Path::new(path).exists() {
        return Ok(false);
    }
    let path = Path::new(path);
    let is_of = |look: FileLook| matches!(look.kind, FileKind::Replica(_));
    let cannot = |code, error: FileError| Err(SqliteError::new(code, error.to_string()));
    match file::look(path, options.busy_timeout) {
        Ok(look) => Ok(is_of(look)),
        Err(error @ FileError::NewerFormat { .. }) => cannot(ffi::SQLITE_CANTOPEN, error),
        // Every replica has its key file beside it.
        Err(_) if !path.canonicalize().is_ok_and(|path| keyfile::key_path(&path).exists()) => Ok(false),
        Err(FileError::Locked { .. }) => match file::look(path, LOCKED_REPLICA_PATIENCE) {
            Ok(look) => Ok(is_of(look)),
            Err(error @ FileError::Locked { .. }) => cannot(ffi::SQLITE_BUSY, error),
            Err(error) => cannot(ffi::SQLITE_CANTOPEN, error),
        },
        Err(error) => cannot(ffi::SQLITE_CANTOPEN, error),
    }
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

fn open_plain(path: &str, options: &OpenOptions, flags: c_int) -> Result<Connection, SqliteError> {
    let access = match (options.read_only, options.must_exist) {
        (true, _) => ffi::SQLITE_OPEN_READONLY,
        (false, true) => ffi::SQLITE_OPEN_READWRITE,
        (false, false) => ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE,
    };
    open_handle(path, access | flags | ffi::SQLITE_OPEN_NOMUTEX, options.busy_timeout)
}

fn open_handle(path: &str, flags: c_int, busy_timeout: Duration) -> Result<Connection, SqliteError> {
    let name = CString::new(path.split('\0').next().unwrap_or_default())
        .map_err(|_| SqliteError::of_code(ffi::SQLITE_CANTOPEN))?;
    let mut db = ptr::null_mut();
    // SAFETY: the name is a C string and `db` a place for the handle, which is closed if it cannot be used.
    unsafe {
        let code = ffi::sqlite3_open_v2(name.as_ptr(), &raw mut db, flags, ptr::null());
        if code != ffi::SQLITE_OK {
            let error = if db.is_null() { SqliteError::of_code(code) } else { SqliteError::of_connection(db, code) };
            ffi::sqlite3_close(db);
            return Err(error);
        }
        ffi::sqlite3_extended_result_codes(db, 1);
        let conn = Connection::from_handle_owned(db).map_err(|_| SqliteError::of_code(ffi::SQLITE_NOMEM))?;
        conn.busy_timeout(busy_timeout).map_err(|_| SqliteError::of_code(ffi::SQLITE_MISUSE))?;
        everywhere::register(&conn).map_err(|_| SqliteError::of_code(ffi::SQLITE_NOMEM))?;
        Ok(conn)
    }
}
