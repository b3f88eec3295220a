//! SQL that every connection has, to a replica or to a plain file.

use std::any::Any;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::capture;

/// Registers it.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub fn register(conn: &Connection) -> rusqlite::Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("kith_version", 0, pure, |_| Ok(env!("CARGO_PKG_VERSION")))?;
    kithdb_search::register(conn, |conn| capture::internal_of(conn).map(|guard| Box::new(guard) as Box<dyn Any>))
}
