//! Embeddings in SQL: scalar functions, and the virtual table `kith_vector` over a column of an ordinary table.

mod changes;
mod content;
mod cursor;
mod declaration;
mod distance;
mod each;
mod engine;
mod functions;
mod keys;
mod map;
mod module;
mod overlay;
mod plan;
pub(crate) mod rowid_index;
mod rows;
mod search;
mod shared;
mod snapshot;
mod source;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod top_k;
mod turn;
pub(crate) mod value;
mod view;

use std::sync::Arc;

use rusqlite::Connection;

pub(crate) use source::Label;
pub use source::{BackgroundConnection, BackgroundFailure, OpenBackground, open_background_by, stay_in_foreground};

use crate::sql::quote;

/// Lists the `kith_vector` tables by name.
const TABLES: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' \
     AND sql LIKE '%USING%kith\\_vector%' ESCAPE '\\' ORDER BY name";

/// Registers functions and modules on a connection.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub(crate) fn register(conn: &Connection) -> rusqlite::Result<()> {
    functions::register(conn)?;
    each::register(conn)?;
    let held = Arc::<table::Held>::default();
    module::register(conn, &held)?;
    top_k::register(conn, Arc::clone(&held))?;
    source::register(conn, Arc::clone(&held))?;
    stats::register(conn, held)
}

fn table_names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(TABLES)?.query_map([], |row| row.get(0))?.collect()
}

/// Has SQLite connect every `kith_vector` table, so that what is to be embedded is embedded in the background while the connection is
/// open.
///
/// # Errors
/// SQLite's. A table that cannot be connected is left for whoever uses it to hear of.
pub fn connect_tables(conn: &Connection) -> rusqlite::Result<()> {
    for name in table_names(conn)? {
        if let Err(error) = conn.prepare(&format!("SELECT 1 FROM main.{}", quote(&name))) {
            tracing::debug!(%error, name, "a kith_vector table cannot be connected");
        }
    }
    Ok(())
}

/// Says whether a table belongs to a `kith_vector` table.
pub(crate) fn is_own_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let is_its = |owner: &String| {
        let own = source::table_names(owner).into_iter().chain([changes::table_name(owner)]);
        own.into_iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    Ok(table_names(conn)?.iter().any(is_its))
}

/// Has every `kith_vector` table read its content again: rows were written with triggers off.
pub fn note_unwatched_writes(conn: &Connection) -> rusqlite::Result<()> {
    for name in table_names(conn)? {
        if conn.table_exists(Some("main"), changes::table_name(&name).as_str())? {
            changes::note_all(conn, &name)?;
            source::note_all(conn, &name)?;
        }
    }
    Ok(())
}

/// Says whether an embedding, a BLOB of 32-bit floats, bears the label of a model: whether `kith_embed` made it by that model, or a table
/// that embeds by it.
#[must_use]
pub fn is_made_by(model: &str, embedding: &[u8]) -> bool {
    let numbers = embedding.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Label::read(numbers).is_some_and(|label| label.is_of_same_model(Label::of(model, b"")))
}
