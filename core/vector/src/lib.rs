//! Embedding indexes: exact scans and graphs over quantised embeddings, free of input and output.

pub mod error;
pub mod hnsw;
pub mod index;
pub mod limits;
pub mod metric;
pub mod slots;
