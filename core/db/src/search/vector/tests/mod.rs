//! Tests of embeddings in SQL.

mod functions;
mod search;
