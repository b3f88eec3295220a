//! Graph questions in SQL: `kith_graph` declares a graph over edge tables, and table-valued functions answer questions about it.
//!
//! A graph is a declaration, not a copy: edges are rows of the user's tables and every question reads them as they are, so that what
//! is asked sees exactly what any other query in the same transaction sees.
//!
//! Invariants:
//! 1. Declarations are kept in `kith__graphs`, in plain files too, and are never synced.
//! 2. Nothing but `kith_graph` and `kith_graph_drop` writes, and these two cannot be called from a schema.

mod communities;
mod components;
mod declare;
mod definition;
mod error;
mod fields;
mod filter;
mod gear;
mod infer;
mod known;
mod library;
mod list;
mod neighbors;
mod nodes;
mod pagerank;
mod path;
mod plan;
mod prepared;
mod schema;
mod table;
mod traverse;
mod value;
mod whole;

use rusqlite::Connection;

use crate::Internal;

pub use error::GraphError;

/// Registers the functions.
pub(crate) fn register(conn: &Connection, internal: Internal) -> rusqlite::Result<()> {
    declare::register(conn, internal)?;
    table::register::<list::List>(conn, internal)?;
    table::register::<traverse::Traverse>(conn, internal)?;
    table::register::<neighbors::Neighbors>(conn, internal)?;
    table::register::<path::ShortestPath>(conn, internal)?;
    table::register::<whole::Of<components::Components>>(conn, internal)?;
    table::register::<whole::Of<pagerank::PageRank>>(conn, internal)?;
    table::register::<whole::Of<communities::Communities>>(conn, internal)
}
