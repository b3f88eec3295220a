//! A connection with sqlite-vec and one with ours, both of the same SQLite.

use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr;

use anyhow::{Result, bail, ensure};
use rusqlite::types::Value;
use rusqlite::{Connection, ffi};

use crate::answers::{Answer, are_alike};

/// See the module.
pub struct Pair {
    pub theirs: Connection,
    pub ours: Connection,
}

impl Pair {
    /// Opens both in memory.
    pub fn open(extension: &Path) -> Result<Self> {
        let (theirs, ours) = (Connection::open_in_memory()?, Connection::open_in_memory()?);
        load(&theirs, extension)?;
        register(&ours)?;
        Ok(Self { theirs, ours })
    }

    /// Runs a statement on both.
    pub fn run(&self, sql: &str) -> [Answer; 2] {
        [answer(&self.theirs, sql), answer(&self.ours, sql)]
    }

    /// Runs a statement on both, which must answer alike: with rows that are equal or with an error each. Returns how many rows.
    pub fn same(&self, sql: &str) -> Result<Option<usize>> {
        let [theirs, ours] = self.run(sql);
        ensure!(are_alike(&theirs, &ours), "{sql}\n  sqlite-vec: {theirs:?}\n  ours: {ours:?}");
        Ok(ours.ok().map(|rows| rows.len()))
    }

    /// Runs a statement on both, which must not answer alike, and ours as it is written here.
    pub fn differs(&self, sql: &str, expected: &str) -> Result<Option<usize>> {
        let [theirs, ours] = self.run(sql);
        ensure!(!are_alike(&theirs, &ours), "no difference any more: {sql}\n  {ours:?}");
        let written = match &ours {
            Ok(rows) => {
                rows.iter().map(|row| row.iter().map(write).collect::<Vec<_>>().join("|")).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.clone(),
        };
        ensure!(written.contains(expected) && (ours.is_err() || written == expected), "{sql}\n  ours: {written}");
        Ok(ours.ok().map(|rows| rows.len()))
    }
}

fn write(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Registers ours.
pub fn register(conn: &Connection) -> Result<()> {
    Ok(kithdb_search::register(conn, |_| None)?)
}

fn answer(conn: &Connection, sql: &str) -> Answer {
    let rows = || -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut statement = conn.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push((0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?);
        }
        Ok(all)
    };
    rows().map_err(|error| error.to_string())
}

/// Loads sqlite-vec.
pub fn load(conn: &Connection, extension: &Path) -> Result<()> {
    let path = CString::new(extension.to_string_lossy().as_bytes())?;
    let mut message = ptr::null_mut();
    // SAFETY: the handle is open, the name is a C string, and the message is freed after it was copied.
    unsafe {
        let db = conn.handle();
        let (switch, none) = (ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, ptr::null_mut::<c_int>());
        ffi::sqlite3_db_config(db, switch, 1 as c_int, none);
        let code = ffi::sqlite3_load_extension(db, path.as_ptr(), c"sqlite3_vec_init".as_ptr(), &raw mut message);
        if code == ffi::SQLITE_OK {
            return Ok(());
        }
        let text = if message.is_null() {
            format!("code {code}")
        } else {
            CStr::from_ptr(message).to_string_lossy().into_owned()
        };
        ffi::sqlite3_free(message.cast());
        bail!("sqlite-vec cannot be loaded from {}: {text}", extension.display())
    }
}
