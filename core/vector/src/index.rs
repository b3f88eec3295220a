//! The interface that every embedding index has.

use crate::error::EmbeddingError;
use crate::metric::Metric;
use crate::slots::{Slot, SlotSet};

/// How an index keeps the embeddings that it compares first; what it returns is compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// 32-bit floats, as given.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers with one scale for each embedding.
    Int8,
    /// One bit for each sign.
    Bit,
}

/// What finds the neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The scan while there are few embeddings, the graph above.
    Auto,
    /// Compares with all embeddings.
    Scan,
    /// The graph of this crate.
    Hnsw,
    /// The graph of the `hnsw_rs` crate.
    HnswRs,
}

/// How an index is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexOptions {
    /// Numbers of each embedding, 1..=[`DIMENSIONS_MAX`](crate::limits::DIMENSIONS_MAX).
    pub dimensions: usize,
    /// What near means.
    pub metric: Metric,
    /// What is compared first.
    pub encoding: Encoding,
    /// What finds the neighbours.
    pub engine: Engine,
    /// Edges of a point above the lowest layer (`M`); twice as many there.
    pub connections: usize,
    /// Candidates kept while a point is inserted (`efConstruction`).
    pub ef_construction: usize,
    /// Where the random layers of the points begin.
    pub seed: u64,
}

/// A question to an index.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// As long as the index's embeddings.
    pub embedding: &'a [f32],
    /// Neighbours wanted (`k`).
    pub count: usize,
    /// Candidates kept while a graph is walked (`ef`), raised to `count` where it is less.
    pub ef: usize,
    /// The slots that may be returned; all if `None`.
    pub allowed: Option<&'a SlotSet>,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Where the embedding is kept.
    pub slot: Slot,
    /// As [`Metric`] defines it, from the exact embeddings.
    pub distance: f32,
}

/// A set of embeddings that can be asked for the nearest of them.
///
/// An answer holds `min(count, allowed and present)` neighbours, the nearest first and equal ones in the order of their slots. An
/// exact index returns the true ones; a graph misses some, as its recall says, but never returns fewer.
pub trait EmbeddingIndex: Send + Sync {
    /// Returns how the index was made.
    fn options(&self) -> &IndexOptions;

    /// Returns the number of embeddings.
    fn len(&self) -> usize;

    /// Says whether there is no embedding.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an embedding in a slot, in the place of what is there.
    ///
    /// # Errors
    /// What is refused leaves the index as it was.
    fn insert(&mut self, slot: Slot, embedding: &[f32]) -> Result<(), EmbeddingError>;

    /// Empties a slot; says whether an embedding was there.
    fn remove(&mut self, slot: Slot) -> bool;

    /// Returns the embedding of a slot as it was given, as exactly as the index keeps it.
    fn embedding(&self, slot: Slot) -> Option<Vec<f32>>;

    /// Returns the nearest embeddings.
    ///
    /// # Errors
    /// The query's embedding is refused as an inserted one would be.
    fn search(&self, query: &Query<'_>) -> Result<Vec<Neighbour>, EmbeddingError>;

    /// Returns the bytes of memory that the index holds, mapped files left out.
    fn memory_bytes(&self) -> usize;
}
