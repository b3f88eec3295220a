//! What tuning promises.

use std::cell::Cell;
use std::ops::ControlFlow;

use kithdb_vector::hnsw::Graph;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Query};
use kithdb_vector::metric::Metric;
use kithdb_vector::recall::recall;
use kithdb_vector::scan::scan;
use kithdb_vector::slots::Slot;
use kithdb_vector::store::EmbeddingStore;
use kithdb_vector::tiered::TieredIndex;
use kithdb_vector::tuning::{RecallGoal, Tuned, tune};

const DIMENSIONS: usize = 32;

/// xorshift64 of Marsaglia 2003.
struct Numbers(u64);

impl Numbers {
    fn embedding(&mut self) -> Vec<f32> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        std::iter::repeat_with(next).take(DIMENSIONS).collect()
    }
}

fn options() -> IndexOptions {
    IndexOptions {
        dimensions: DIMENSIONS,
        metric: Metric::Cosine,
        encoding: Encoding::Int8,
        engine: Engine::Hnsw,
        connections: 8,
        ef_construction: 60,
        seed: 1,
    }
}

fn to_the_end(store: &EmbeddingStore, graph: &Graph, goal: RecallGoal) -> Tuned {
    tune(store, graph, &goal, &|| ControlFlow::Continue(())).expect("not broken off")
}

#[test]
fn tuned_ef_reaches_the_goal_on_questions_that_are_not_stored() {
    let (mut store, mut numbers) = (EmbeddingStore::new(&options()).expect("good options"), Numbers(3));
    for slot in 0..12_000 {
        store.insert(Slot(slot), &numbers.embedding()).expect("a good embedding");
    }
    let slots: Vec<Slot> = store.occupied().iter().collect();
    let graph = Graph::build(&store, &slots, &options(), 2, &|_| ControlFlow::Continue(())).expect("not broken off");
    let tuned = [0.5, 0.8, 0.95]
        .map(|recall| to_the_end(&store, &graph, RecallGoal { recall, count: 10, sample: 200, seed: 5 }));
    assert!(tuned.is_sorted_by_key(|tuned| tuned.ef) && tuned[0].ef < tuned[2].ef, "{tuned:?}");
    assert_eq!(
        tuned[1],
        to_the_end(&store, &graph, RecallGoal { recall: 0.8, count: 10, sample: 200, seed: 5 }),
        "again the same"
    );
    // It can be broken off anywhere: among the scans, and among the walks.
    let goal = RecallGoal { recall: 0.8, count: 10, sample: 200, seed: 5 };
    for steps_max in [0, 1, 199, 200, 201, 450] {
        let steps = Cell::new(0);
        let count = || {
            steps.set(steps.get() + 1);
            if steps.get() > steps_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert_eq!(tune(&store, &graph, &goal, &count), None);
        assert_eq!(steps.get(), steps_max + 1, "nothing is done after the break");
    }
    let index = TieredIndex::with_graph(options(), store, graph).expect("good options");
    for (tuned, goal) in tuned.iter().zip([0.5, 0.8, 0.95]) {
        let found: f64 = (0..100)
            .map(|_| {
                let embedding = &numbers.embedding();
                let prepared = index.store().prepare(embedding).expect("a good question");
                let truth = scan(index.store(), &prepared, 10, None);
                let answer = index
                    .search(&Query { embedding, count: 10, ef: tuned.ef, allowed: None })
                    .expect("a good question");
                recall(&truth, &answer, 10)
            })
            .sum();
        assert!(found / 100.0 > goal - 0.03, "{tuned:?}: {found} of 100");
    }
}

#[test]
fn tuning_is_due_after_a_fifth_of_growth() {
    let tuned = Tuned { ef: 40, recall: 0.96, len: 1_000 };
    assert!(!tuned.is_due(1_000) && !tuned.is_due(1_200) && tuned.is_due(1_201));
}

#[test]
fn tuning_nothing_is_cheap_and_right() {
    let store = EmbeddingStore::new(&options()).expect("good options");
    let tuned = to_the_end(&store, &Graph::new(&options()), RecallGoal { recall: 0.9, count: 10, sample: 50, seed: 1 });
    assert_eq!((tuned.ef, tuned.len), (10, 0));
}
