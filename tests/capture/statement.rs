//! Running SQL through SQLite's own interface, so that nothing between hides what it says.
//!
//! rusqlite resets statements without telling what came of it and turns some codes into others; here each code, message and
//! value is taken as it comes.

use std::ffi::{CStr, CString, c_int};

use rusqlite::{Connection, ffi};

/// What SQLite says about a call that failed: extended code and message.
pub type Complaint = (c_int, String);

/// Values of a row, as text that tells types and bytes apart.
pub type Row = Vec<String>;

/// A prepared statement; it must go before its connection does.
pub struct Statement {
    raw: *mut ffi::sqlite3_stmt,
}

fn complaint(conn: &Connection) -> Complaint {
    // SAFETY: the handle is open while `conn` is borrowed; the message is copied before any other call.
    unsafe {
        let db = conn.handle();
        let message = CStr::from_ptr(ffi::sqlite3_errmsg(db)).to_string_lossy().into_owned();
        (ffi::sqlite3_extended_errcode(db), message)
    }
}

impl Statement {
    /// Prepares the first statement of a text.
    pub fn prepare(conn: &Connection, sql: &str) -> Result<Self, Complaint> {
        let mut raw = std::ptr::null_mut();
        let length = c_int::try_from(sql.len()).expect("statements are short");
        // SAFETY: the handle is open, the text is valid for its length, and the result goes to a place of ours.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(conn.handle(), sql.as_ptr().cast(), length, &raw mut raw, std::ptr::null_mut())
        };
        if code == ffi::SQLITE_OK { Ok(Self { raw }) } else { Err(complaint(conn)) }
    }

    /// Tells whether the statement may change the database.
    pub fn writes(&self) -> bool {
        // SAFETY: the statement is alive until it is dropped.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw) == 0 }
    }

    /// Steps to the next row; `None` at the end.
    pub fn step(&mut self, conn: &Connection) -> Result<Option<Row>, Complaint> {
        // SAFETY: the statement is alive until it is dropped.
        match unsafe { ffi::sqlite3_step(self.raw) } {
            ffi::SQLITE_ROW => Ok(Some(self.row())),
            ffi::SQLITE_DONE => Ok(None),
            _ => Err(complaint(conn)),
        }
    }

    /// Resets the statement and tells what came of it.
    pub fn reset(&mut self, conn: &Connection) -> Result<(), Complaint> {
        // SAFETY: the statement is alive until it is dropped.
        match unsafe { ffi::sqlite3_reset(self.raw) } {
            ffi::SQLITE_OK => Ok(()),
            _ => Err(complaint(conn)),
        }
    }

    fn row(&self) -> Row {
        // SAFETY: the statement stands on a row.
        let columns = unsafe { ffi::sqlite3_column_count(self.raw) };
        (0..columns).map(|column| self.value(column)).collect()
    }

    fn value(&self, column: c_int) -> String {
        // SAFETY: the statement stands on a row and the column is in range; bytes are copied before the next call, and their
        // pointer is looked at only where there are any.
        unsafe {
            let bytes = || {
                let start: *const u8 = ffi::sqlite3_column_blob(self.raw, column).cast();
                let length = usize::try_from(ffi::sqlite3_column_bytes(self.raw, column)).unwrap_or(0);
                if length == 0 { &[][..] } else { std::slice::from_raw_parts(start, length) }
            };
            match ffi::sqlite3_column_type(self.raw, column) {
                ffi::SQLITE_INTEGER => ffi::sqlite3_column_int64(self.raw, column).to_string(),
                ffi::SQLITE_FLOAT => {
                    let real = ffi::sqlite3_column_double(self.raw, column);
                    format!("real {real:?} {:016x}", real.to_bits())
                }
                ffi::SQLITE_TEXT => format!("text {}", bytes().escape_ascii()),
                ffi::SQLITE_BLOB => format!("blob {}", bytes().escape_ascii()),
                _ => "NULL".to_owned(),
            }
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the statement was made by `prepare` and is not used again.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}

/// Runs a statement to its end, or to a row where it is reset.
pub fn run(conn: &Connection, sql: &str, rows_max: usize) -> (Vec<Row>, Option<Complaint>) {
    let mut rows = Vec::new();
    let mut statement = match Statement::prepare(conn, sql) {
        Ok(statement) => statement,
        Err(complaint) => return (rows, Some(complaint)),
    };
    while rows.len() < rows_max {
        match statement.step(conn) {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => break,
            Err(complaint) => return (rows, Some(complaint)),
        }
    }
    let complaint = statement.reset(conn).err();
    (rows, complaint)
}

/// Writes bytes into a blob that stays as long as it is.
pub fn write_blob(
    conn: &Connection,
    table: &str,
    column: &str,
    rowid: i64,
    offset: i32,
    bytes: &[u8],
) -> Result<(), Complaint> {
    let name = |text: &str| CString::new(text).expect("names hold no NUL");
    let (table, column) = (name(table), name(column));
    let mut blob = std::ptr::null_mut();
    let length = c_int::try_from(bytes.len()).expect("pieces are short");
    // SAFETY: the handle is open, the names are C strings, and the result goes to a place of ours; the blob is written from
    // valid bytes and closed once, also if it could not be opened.
    unsafe {
        let db = conn.handle();
        let mut code =
            ffi::sqlite3_blob_open(db, c"main".as_ptr(), table.as_ptr(), column.as_ptr(), rowid, 1, &raw mut blob);
        let mut failed = (code != ffi::SQLITE_OK).then(|| complaint(conn));
        if code == ffi::SQLITE_OK {
            code = ffi::sqlite3_blob_write(blob, bytes.as_ptr().cast(), length, offset);
            failed = (code != ffi::SQLITE_OK).then(|| complaint(conn));
        }
        code = ffi::sqlite3_blob_close(blob);
        if code != ffi::SQLITE_OK && failed.is_none() {
            failed = Some(complaint(conn));
        }
        failed.map_or(Ok(()), Err)
    }
}
