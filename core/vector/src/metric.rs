//! What "near" means.

/// How far two embeddings are apart; smaller is nearer under each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// One minus the cosine of the angle, 0..=2. The zero embedding has no direction and is refused.
    Cosine,
    /// The Euclidean distance (its root is taken).
    L2,
    /// The negated inner product, so that the greatest product is the nearest.
    InnerProduct,
    /// The sum of absolute differences.
    L1,
    /// The number of differing signs; a number above zero is a one bit.
    Hamming,
}
