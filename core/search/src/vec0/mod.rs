//! The virtual table `vec0` of sqlite-vec, over this crate's own index.
//!
//! Rows are kept in one ordinary table, and each embedding column of it has an index as `kith_vector` makes it. What is written here is
//! written there, in the same transaction; so savepoints, rollbacks, crashes and other processes need nothing more.
//!
//! Invariants:
//! 1. Each write is one statement on the table of rows, which happens wholly or not at all.
//! 2. A search compares exactly, as sqlite-vec does, unless the declaration names a recall.
//! 3. No panic leaves these functions.

mod cursor;
mod declaration;
mod module;
mod plan;
mod rows;
mod table;
#[cfg(test)]
mod tests;
mod values;

use rusqlite::Connection;

use crate::vector::rowid_index::Indexes;

/// Lists the `vec0` tables, and others that name it somewhere.
const TABLES: &str = "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' \
     AND sql LIKE '%USING%vec0%'";

/// Registers the module on a connection.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub(crate) fn register(conn: &Connection) -> rusqlite::Result<()> {
    module::register(conn, &Indexes::default())
}

/// Says whether a table belongs to a `vec0` table.
pub(crate) fn is_own_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let mut statement = conn.prepare_cached(TABLES)?;
    let owners = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let owners = owners.collect::<Result<Vec<(String, String)>, _>>()?;
    Ok(owners.iter().any(|(owner, sql)| is_vec0(sql) && rows::belongs_to(name, owner)))
}

/// Says whether a CREATE VIRTUAL TABLE has the module `vec0`.
fn is_vec0(sql: &str) -> bool {
    let quotes = ['"', '\'', '`', '[', ']'];
    sql.to_ascii_lowercase().split("using").skip(1).any(|rest| {
        let rest = rest.trim_start().trim_start_matches(quotes).strip_prefix("vec0");
        rest.is_some_and(|rest| rest.trim_start_matches(quotes).trim_start().starts_with('('))
    })
}
