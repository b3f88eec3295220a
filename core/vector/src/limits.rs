//! Every maximum of this crate.

/// Numbers of an embedding at most; the largest published text models have 4,096.
pub const DIMENSIONS_MAX: usize = 8_192;

/// Slots of an index at most: about 256 million.
pub const SLOTS_MAX: u32 = 1 << 28;

/// Connections of a point above the lowest layer at least: with fewer the layers do not thin out.
pub const CONNECTIONS_MIN: usize = 2;

/// Connections of a point above the lowest layer at most; beyond about 48 the paper's authors saw no gain.
pub const CONNECTIONS_MAX: usize = 128;

/// Candidates kept while a point is inserted, at most.
pub const EF_CONSTRUCTION_MAX: usize = 4_096;

/// What the sum of squares of an embedding is below: a quarter of the largest 32-bit float, so that no distance overflows.
pub const SQUARES_MAX: f32 = 8e37;

/// Embeddings from which [`Engine::Auto`](crate::index::Engine::Auto) builds a graph: a scan of 8-bit codes takes about 0.4 ms there,
/// and a graph, which takes a tenth of that, costs 0.3 ms for each insert.
pub const GRAPH_FROM: usize = 20_000;

/// Embeddings from which a graph that was asked for is built at once and not by single inserts.
pub const BUILD_FROM: usize = 1_000;

/// Candidates of a walk at most that tuning tries.
pub const EF_MAX: usize = 4_096;
