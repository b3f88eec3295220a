//! Every maximum of this crate.

/// Numbers of an embedding at most; the largest published text models have 4,096.
pub const DIMENSIONS_MAX: usize = 8_192;

/// Slots of an index at most: about 256 million.
pub const SLOTS_MAX: u32 = 1 << 28;
