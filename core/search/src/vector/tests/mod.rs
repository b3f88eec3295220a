//! Tests of embeddings in SQL.

mod functions;
mod random;
mod saved;
mod search;
