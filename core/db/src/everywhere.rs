//! SQL that every connection has, to a replica or to a plain file.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Registers it.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub fn register(conn: &Connection) -> rusqlite::Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("kith_version", 0, pure, |_| Ok(env!("CARGO_PKG_VERSION")))?;
    crate::search::vector::register(conn)?;
    crate::search::embed::register(conn)?;
    crate::search::text::register(conn)?;
    crate::graph::register(conn)
}
