//! Tests of embeddings in SQL.

mod filters;
mod functions;
mod random;
mod saved;
mod search;
mod triggers;
