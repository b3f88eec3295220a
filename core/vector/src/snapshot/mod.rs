//! The bytes of a saved index: what makes it ready at once after a restart. docs/FORMAT.md has the layout.
//!
//! A snapshot is a cache: the rows are the truth, and whatever is wrong with it is answered by building the index again.
//!
//! Invariants:
//! 1. No bytes make the decoder panic, or allocate more than in proportion to their length.
//! 2. A graph that is decoded passes [`Graph::check`], whatever the bytes were.

mod decode;
mod encode;
mod header;
mod keys;

pub use decode::{Depth, Snapshot, decode, decode_own_store, decode_without_graph};
pub use encode::{Saved, encode};
pub use header::{Identity, SnapshotHeader, read_header};
pub use keys::Keys;

#[cfg(doc)]
use crate::hnsw::Graph;
use crate::hnsw::GraphFault;

/// Why bytes are no snapshot that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It does not begin as a snapshot does.
    #[error("this is no snapshot of an index; delete it, the index is built again")]
    Foreign,
    /// A version that this program does not know.
    #[error(
        "the snapshot has version {version}, this program knows {}; delete it, the index is built again",
        header::VERSION
    )]
    Version {
        /// Of the snapshot.
        version: u32,
    },
    /// Bytes end too early, or numbers do not agree with each other.
    #[error("the snapshot is damaged in its {part}; delete it, the index is built again")]
    Damaged {
        /// Where.
        part: &'static str,
    },
    /// A graph that does not hold together.
    #[error("the graph of the snapshot is damaged; delete it, the index is built again")]
    Graph(#[from] GraphFault),
    /// Numbers are saved as little-endian machines keep them.
    #[error("snapshots are for little-endian machines; keep the index in memory on this one")]
    ByteOrder,
}
