//! Tests of embeddings in SQL.

mod filters;
mod functions;
mod memory;
mod random;
mod saved;
mod search;
mod triggers;
