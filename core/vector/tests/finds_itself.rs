//! Stored embeddings find themselves, also where that is hard.

use std::ops::ControlFlow;

use kithdb_vector::hnsw::{Graph, Question};
use kithdb_vector::index::{Encoding, Engine, IndexOptions};
use kithdb_vector::metric::Metric;
use kithdb_vector::slots::Slot;
use kithdb_vector::store::EmbeddingStore;

const DIMENSIONS: usize = 24;
const COUNT: u32 = 8_000;

/// As hard as embeddings come: all directions are alike, and few are much nearer than the others.
fn shapeless_cloud(options: &IndexOptions) -> EmbeddingStore {
    // xorshift64 of Marsaglia 2003.
    let mut state = 77u64;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut store = EmbeddingStore::new(options).expect("a good number of dimensions");
    for slot in 0..COUNT {
        let embedding: Vec<f32> = (0..DIMENSIONS).map(|_| unit() + unit() + unit()).collect();
        store.insert(Slot(slot), &embedding).expect("a good embedding");
    }
    store
}

#[test]
fn points_of_a_shapeless_cloud_find_themselves_after_a_build() {
    // So few edges that without what the build does in the end 91 are lost.
    let options = IndexOptions {
        dimensions: DIMENSIONS,
        metric: Metric::L2,
        encoding: Encoding::F32,
        engine: Engine::Hnsw,
        connections: 5,
        ef_construction: 24,
        seed: 11,
    };
    let store = shapeless_cloud(&options);
    let slots: Vec<Slot> = store.occupied().iter().collect();
    // On several threads the order of insertion is never the same twice.
    for threads in [1, 3, 3, 3] {
        let graph = Graph::build(&store, &slots, &options, threads, &|_| ControlFlow::Continue(())).expect("a graph");
        assert_eq!(graph.check(), Ok(()));
        let is_lost = |slot: &&Slot| {
            let query = store.prepare_slot(**slot);
            graph.search(&Question { store: &store, query: &query }, 64).first() != Some(slot)
        };
        let lost = slots.iter().filter(is_lost).count();
        assert_eq!(lost, 0, "on {threads} threads");
    }
}
