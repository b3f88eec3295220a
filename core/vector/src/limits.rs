//! Every maximum of this crate.

/// Numbers of an embedding at most; the largest published text models have 4,096.
pub const DIMENSIONS_MAX: usize = 8_192;

/// Slots of an index at most: about 256 million.
pub const SLOTS_MAX: u32 = 1 << 28;

/// What the sum of squares of an embedding is below: a quarter of the largest 32-bit float, so that no distance overflows.
pub const SQUARES_MAX: f32 = 8e37;
