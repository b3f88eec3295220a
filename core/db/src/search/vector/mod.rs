//! Embeddings in SQL: scalar functions, and the virtual table `kith_vector` over a column of an ordinary table.

mod distance;
mod functions;
mod value;

use rusqlite::Connection;

/// Registers functions and modules on a connection.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub(crate) fn register(conn: &Connection) -> rusqlite::Result<()> {
    functions::register(conn)
}
