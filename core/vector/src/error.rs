//! Why an embedding or a question is refused.

/// What is wrong with an embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// Another length than the index's.
    #[error("the embedding has {got} dimensions, the index has {expected}")]
    Dimensions {
        /// Of the index.
        expected: usize,
        /// Of what was given.
        got: usize,
    },
    /// Not a number, or infinite.
    #[error("the embedding's number at position {position} is not finite")]
    NotFinite {
        /// Counted from 0.
        position: usize,
    },
    /// All zero under the cosine metric.
    #[error(
        "the embedding is all zero and has no direction; use another metric than cosine, or no embedding for this row"
    )]
    Zero,
    /// Numbers whose comparison would overflow.
    #[error("the embedding's numbers are too large: the sum of their squares must be below 8e37")]
    TooLarge,
    /// More slots than an index may have.
    #[error("the index is full: it has {} slots", crate::limits::SLOTS_MAX)]
    Full,
    /// An index of no or too many dimensions.
    #[error("an index has 1 to {} dimensions, not {got}", crate::limits::DIMENSIONS_MAX)]
    DimensionsRange {
        /// What was asked for.
        got: usize,
    },
    /// Foreign memory that is shorter than the rows that it should hold.
    #[error("the rows end at byte {expected} of foreign memory that has {got} bytes")]
    ForeignTooShort {
        /// Where they would end.
        expected: usize,
        /// What there is.
        got: usize,
    },
    /// Foreign memory that cannot be used in its place.
    #[error("rows in foreign memory begin on a multiple of 64 bytes")]
    ForeignUnaligned,
    /// The engine `hnsw_rs` where it is not.
    #[error("the engine hnsw_rs is only in a build with the cargo feature `hnsw-rs`; use the engine hnsw")]
    HnswRs,
}
