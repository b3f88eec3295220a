//! Search and graph questions in SQL, on any SQLite connection: to a plain file or to a replica.
//!
//! Nothing here knows of logs, devices or peers. Indexes and declarations belong to one file and are never synced; what they are over
//! are ordinary rows, so that rows of a peer need nothing but a merge that writes them.

mod declared;
pub mod embed;
mod function;
pub mod gate;
pub mod graph;
pub mod sql;
pub mod text;
mod vec0;
pub mod vector;

use std::any::Any;

use rusqlite::Connection;

/// Makes what is done on the connection, until the guard is dropped, a matter between the host and SQLite: neither captured as the
/// user's nor put before the application's authorizer. `None` where the connection has nothing of the kind.
pub type Internal = fn(&Connection) -> Option<Box<dyn Any>>;

/// Registers all functions and virtual tables on a connection, except those of [`text::Change`], which a host wraps.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub fn register(conn: &Connection, internal: Internal) -> rusqlite::Result<()> {
    vec0::register(conn, vector::register(conn)?)?;
    embed::register(conn)?;
    text::register(conn, internal)?;
    graph::register(conn, internal)
}

/// Says whether a table belongs to one of the virtual tables of this crate.
///
/// # Errors
/// SQLite's.
pub fn is_own_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(vector::is_own_table(conn, name)? || vec0::is_own_table(conn, name)?)
}
