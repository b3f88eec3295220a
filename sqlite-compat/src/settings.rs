//! What is set on a connection as a whole, and what it tells about itself.

use std::ffi::{CStr, CString};
use std::ptr;

use rusqlite::ffi;

use crate::connection::Database;
use crate::error::SqliteError;
use crate::open::OpenOptions;
use crate::statement::Step;
use crate::value::ValueRef;

/// What SQLite can be told to refuse beyond a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The bytes of a text, blob or row.
    Length,
    /// The bytes of a statement's text.
    SqlLength,
    /// The columns of a table, index, view, or of a statement's rows.
    Column,
    /// The depth of an expression.
    ExpressionDepth,
    /// The terms of a compound SELECT.
    CompoundSelect,
    /// The instructions of a compiled statement.
    VirtualMachineOperations,
    /// The arguments of a function.
    FunctionArguments,
    /// The databases that can be attached.
    Attached,
    /// The bytes of a pattern of LIKE or GLOB.
    LikePatternLength,
    /// The greatest number of a parameter.
    VariableNumber,
    /// The depth of triggers within triggers.
    TriggerDepth,
}

impl Limit {
    /// Returns SQLite's number for the limit.
    pub const fn code(self) -> i32 {
        match self {
            Self::Length => ffi::SQLITE_LIMIT_LENGTH,
            Self::SqlLength => ffi::SQLITE_LIMIT_SQL_LENGTH,
            Self::Column => ffi::SQLITE_LIMIT_COLUMN,
            Self::ExpressionDepth => ffi::SQLITE_LIMIT_EXPR_DEPTH,
            Self::CompoundSelect => ffi::SQLITE_LIMIT_COMPOUND_SELECT,
            Self::VirtualMachineOperations => ffi::SQLITE_LIMIT_VDBE_OP,
            Self::FunctionArguments => ffi::SQLITE_LIMIT_FUNCTION_ARG,
            Self::Attached => ffi::SQLITE_LIMIT_ATTACHED,
            Self::LikePatternLength => ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
            Self::VariableNumber => ffi::SQLITE_LIMIT_VARIABLE_NUMBER,
            Self::TriggerDepth => ffi::SQLITE_LIMIT_TRIGGER_DEPTH,
        }
    }
}

impl Database {
    /// Opens a database whose name may be an address that begins with `file:`; such names also work in ATTACH then.
    ///
    /// What the address means is SQLite's to say: the file that it has opened is looked at, and opened again if it is a replica.
    pub fn open_with_uri(name: &str, options: &OpenOptions) -> Result<Self, SqliteError> {
        if !name.starts_with("file:") {
            return Self::open_flagged(name, options, ffi::SQLITE_OPEN_URI);
        }
        let plain = Self::open_plain_with_uri(name, options)?;
        let Some(path) = plain.location("main")? else { return Ok(plain) };
        if plain.is_read_only("main")? || !crate::open::is_replica(&path, options)? {
            return Ok(plain);
        }
        plain.close()?;
        Self::open(&path, options)
    }

    /// The same, but what is opened is plain SQLite, whatever the file is.
    pub fn open_plain_with_uri(name: &str, options: &OpenOptions) -> Result<Self, SqliteError> {
        Self::open_plain_flagged(name, options, ffi::SQLITE_OPEN_URI)
    }

    /// Tells whether nothing can be written to one of the connection's databases.
    fn is_read_only(&self, schema: &str) -> Result<bool, SqliteError> {
        let (db, schema) = (self.db()?, c_name(schema)?);
        // SAFETY: the handle is open and the name a C string.
        Ok(unsafe { ffi::sqlite3_db_readonly(db, schema.as_ptr()) } == 1)
    }

    /// Returns the file of one of the connection's databases; `None` for one in memory, a temporary one, and one that is not there.
    pub fn location(&self, schema: &str) -> Result<Option<String>, SqliteError> {
        let (db, schema) = (self.db()?, c_name(schema)?);
        // SAFETY: the handle is open and the name a C string; the file's name is SQLite's and is copied.
        unsafe {
            let name = ffi::sqlite3_db_filename(db, schema.as_ptr());
            if name.is_null() || *name == 0 {
                return Ok(None);
            }
            Ok(Some(CStr::from_ptr(name).to_string_lossy().into_owned()))
        }
    }

    /// Returns a limit.
    pub fn limit(&self, limit: Limit) -> Result<i32, SqliteError> {
        let db = self.db()?;
        // SAFETY: the handle is open; a negative value changes nothing.
        Ok(unsafe { ffi::sqlite3_limit(db, limit.code(), -1) })
    }

    /// Has a plain database's commits wait for the disk in WAL mode too, which this SQLite does not by itself; then waits for locks
    /// as given, in milliseconds.
    ///
    /// A file that cannot be read now, because it is locked or no database, is tried again with every statement that is prepared, until it
    /// can: opening is not the time to say so.
    pub fn set_full_sync(&self, busy_timeout_ms: i32) -> Result<(), SqliteError> {
        self.set_busy_timeout(busy_timeout_ms)?;
        self.shared.owes_full_sync.set(!self.is_replica());
        self.settle_full_sync()
    }

    /// Does what [`Self::set_full_sync`] could not do yet.
    pub(crate) fn settle_full_sync(&self) -> Result<(), SqliteError> {
        if !self.shared.owes_full_sync.replace(false) {
            return Ok(());
        }
        let busy_timeout_ms = self.busy_timeout()?;
        self.set_busy_timeout(0)?;
        let set = self.execute_batch("PRAGMA synchronous = FULL");
        self.set_busy_timeout(busy_timeout_ms)?;
        self.shared.owes_full_sync.set(set.is_err());
        Ok(())
    }

    /// Returns how long a statement waits for another connection's lock, in milliseconds.
    fn busy_timeout(&self) -> Result<i32, SqliteError> {
        let (statement, _) = self.prepare("PRAGMA busy_timeout")?;
        if let Some(statement) = statement
            && statement.step()? == Step::Row
            && let ValueRef::Integer(milliseconds) = statement.column(0)
        {
            return Ok(i32::try_from(milliseconds).unwrap_or(i32::MAX));
        }
        Ok(0)
    }

    /// Replaces one of the connection's databases by one in memory, from the bytes of a file; it can grow and be written to.
    pub fn deserialize_into(&self, schema: &str, bytes: &[u8]) -> Result<(), SqliteError> {
        let db = self.db()?;
        if self.is_replica() {
            return Err(SqliteError::new(
                ffi::SQLITE_ERROR,
                "a database that belongs to a workspace cannot be replaced: its record would not fit; \
                 deserialize into a connection of its own and copy the rows",
            ));
        }
        let schema = c_name(schema)?;
        let no_memory = || SqliteError::of_code(ffi::SQLITE_NOMEM);
        let len = i64::try_from(bytes.len()).map_err(|_| no_memory())?;
        // SAFETY: the copy is SQLite's from the call on, which frees it in any case; its size is that of the bytes.
        let code = unsafe {
            let copy = ffi::sqlite3_malloc64(bytes.len() as u64).cast::<u8>();
            if copy.is_null() {
                return Err(no_memory());
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
            let flags = ffi::SQLITE_DESERIALIZE_FREEONCLOSE | ffi::SQLITE_DESERIALIZE_RESIZEABLE;
            ffi::sqlite3_deserialize(db, schema.as_ptr(), copy, len, len, flags)
        };
        self.shared.check(code)
    }

    /// Finalizes every statement; each is found closed from then on.
    pub fn finalize_statements(&self) {
        self.shared.finalize_statements();
    }
}

pub(crate) fn c_name(name: &str) -> Result<CString, SqliteError> {
    CString::new(name).map_err(|_| SqliteError::new(ffi::SQLITE_ERROR, "a name holds a zero byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str) -> Database {
        Database::open_with_uri(name, &OpenOptions::default()).expect("the database opens")
    }

    #[test]
    fn address_is_understood_and_a_plain_name_is_a_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a b.db");
        let address = format!("file://{}", path.display()).replace(' ', "%20");
        assert_eq!(open(&address).location("main").expect("open"), Some(path.display().to_string()));
        assert_eq!(open("file::memory:").location("main").expect("open"), None);
        let name = path.display().to_string();
        assert_eq!(open(&name).location("main").expect("open"), Some(name));
    }

    #[test]
    fn address_of_a_replica_opens_the_replica() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("replica.db").display().to_string();
        let plain = open(&path);
        plain.found(&path, "laptop", &OpenOptions::default()).expect("the workspace is founded");
        plain.close().expect("closes");
        assert!(open(&format!("file:{path}")).is_replica());
        assert!(!open(&format!("file:{path}?mode=ro")).is_replica());
    }

    #[test]
    fn replica_is_not_replaced() {
        let database = open(":memory:");
        let bytes = database.serialize("main").expect("open").expect("there is a database");
        database.found(":memory:", "laptop", &OpenOptions::default()).expect("the workspace is founded");
        let refused = database.deserialize_into("main", &bytes).expect_err("refused");
        assert!(refused.message.contains("belongs to a workspace"), "{refused}");
    }

    #[test]
    fn limits_are_read_and_set() {
        let database = open(":memory:");
        database.set_limit(Limit::Attached.code(), 2).expect("set");
        assert_eq!(database.limit(Limit::Attached), Ok(2));
        assert_eq!(database.limit(Limit::TriggerDepth), Ok(1000));
    }
}
