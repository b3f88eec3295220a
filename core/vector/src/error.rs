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
    /// More slots than an index may have.
    #[error("the index is full: it has {} slots", crate::limits::SLOTS_MAX)]
    Full,
}
