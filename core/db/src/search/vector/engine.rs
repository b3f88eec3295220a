//! Which index a `kith_vector` table has.

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions};
use kithdb_vector::scan::ScanIndex;

/// Makes the index of a table.
pub(super) fn make(options: &IndexOptions) -> Result<Box<dyn EmbeddingIndex>, EmbeddingError> {
    Ok(Box::new(ScanIndex::new(options.clone())?))
}

/// Makes an index that compares everything exactly, for rows of which no index knows yet.
pub(super) fn make_exact(options: &IndexOptions) -> Result<Box<dyn EmbeddingIndex>, EmbeddingError> {
    let options = IndexOptions { engine: Engine::Scan, encoding: Encoding::F32, ..options.clone() };
    Ok(Box::new(ScanIndex::new(options)?))
}

/// Makes an index that needs no building, for one reader.
pub(super) fn make_scan(options: &IndexOptions) -> Result<Box<dyn EmbeddingIndex>, EmbeddingError> {
    Ok(Box::new(ScanIndex::new(IndexOptions { engine: Engine::Scan, ..options.clone() })?))
}
