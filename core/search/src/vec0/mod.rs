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
     AND sql LIKE '%USING%vec0%' ORDER BY name";

/// Registers the module on a connection.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub(crate) fn register(conn: &Connection, indexes: Indexes) -> rusqlite::Result<()> {
    table::register(conn, indexes)
}

/// Lists the `vec0` tables by name.
fn table_names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare_cached(TABLES)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = found.collect::<Result<Vec<(String, String)>, _>>()?;
    Ok(found.into_iter().filter(|(_, sql)| is_vec0(sql)).map(|(name, _)| name).collect())
}

/// Lists the `vec0` tables by name, each with the names that the indexes of its embedding columns can have.
pub(crate) fn index_names(conn: &Connection) -> rusqlite::Result<Vec<(String, Vec<String>)>> {
    let of = |name: &String| (0..declaration::EMBEDDINGS_MAX).map(|number| rows::index_name(name, number)).collect();
    Ok(table_names(conn)?.into_iter().map(|name| (name.clone(), of(&name))).collect())
}

/// Says whether a table belongs to a `vec0` table.
pub(crate) fn is_own_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(table_names(conn)?.iter().any(|owner| rows::belongs_to(name, owner)))
}

/// Says whether a CREATE VIRTUAL TABLE has the module `vec0`.
fn is_vec0(sql: &str) -> bool {
    let quotes = ['"', '\'', '`', '[', ']'];
    sql.to_ascii_lowercase().split("using").skip(1).any(|rest| {
        let rest = rest.trim_start().trim_start_matches(quotes).strip_prefix("vec0");
        rest.is_some_and(|rest| rest.trim_start_matches(quotes).trim_start().starts_with('('))
    })
}
