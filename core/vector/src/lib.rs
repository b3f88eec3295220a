//! Embedding indexes: exact scans and graphs over quantised embeddings, free of input and output.
//!
//! ```
//! use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Query};
//! use kithdb_vector::metric::Metric;
//! use kithdb_vector::slots::Slot;
//! use kithdb_vector::tiered::TieredIndex;
//!
//! let mut index = TieredIndex::new(IndexOptions {
//!     dimensions: 3,
//!     metric: Metric::Cosine,
//!     encoding: Encoding::Int8,
//!     engine: Engine::Auto,
//!     connections: 16,
//!     ef_construction: 200,
//!     seed: 1,
//! })?;
//! index.insert(Slot(0), &[1.0, 0.0, 0.0])?;
//! index.insert(Slot(1), &[0.0, 2.0, 0.0])?;
//! index.insert(Slot(2), &[0.1, 0.9, 0.0])?;
//!
//! let query = Query { embedding: &[0.0, 1.0, 0.0], count: 2, ef: 64, allowed: None };
//! let nearest: Vec<Slot> = index.search(&query)?.iter().map(|neighbour| neighbour.slot).collect();
//! assert_eq!(nearest, [Slot(1), Slot(2)]);
//!
//! // Many embeddings: a graph is built on another thread while this one inserts, removes and searches.
//! if let Some(job) = index.build_job() {
//!     let built = std::thread::spawn(move || job.run(2, &|_| std::ops::ControlFlow::Continue(())));
//!     if let Some(graph) = built.join().expect("the build ran") {
//!         index.install(graph);
//!     }
//! }
//! // And brought forward now and then.
//! while index.catch_up(64) > 0 {}
//! # Ok::<(), kithdb_vector::error::EmbeddingError>(())
//! ```

mod codes;
pub mod distance;
#[cfg(feature = "hnsw-rs")]
mod engine_hnsw_rs;
pub mod error;
pub mod hnsw;
pub mod index;
pub mod limits;
pub mod metric;
pub mod recall;
pub mod rows;
pub mod scan;
pub mod slots;
pub mod snapshot;
pub mod store;
pub mod tiered;
pub mod tuning;

pub use codes::PreparedQuery;
