//! Embedding indexes: exact scans and graphs over quantised embeddings, free of input and output.

mod codes;
pub mod distance;
pub mod error;
pub mod hnsw;
pub mod index;
pub mod limits;
pub mod metric;
pub mod recall;
pub mod rows;
pub mod scan;
pub mod slots;
pub mod store;

pub use codes::PreparedQuery;
