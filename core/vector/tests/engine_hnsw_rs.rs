//! The engine of the `hnsw_rs` crate behind the interface: what that crate lacks must not show.

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Query};
use kithdb_vector::metric::Metric;
use kithdb_vector::recall::recall;
use kithdb_vector::scan::ScanIndex;
use kithdb_vector::slots::{Slot, SlotSet};
use kithdb_vector::tiered::TieredIndex;

const DIMENSIONS: usize = 16;

fn options(metric: Metric, connections: usize, ef_construction: usize) -> IndexOptions {
    IndexOptions {
        dimensions: DIMENSIONS,
        metric,
        encoding: Encoding::F32,
        engine: Engine::HnswRs,
        connections,
        ef_construction,
        seed: 1,
    }
}

/// xorshift64 of Marsaglia 2003.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }

    fn embedding(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.below(1_000) as f32 / 100.0 - 4.995).collect()
    }
}

/// Changes both indexes alike, then compares their answers; returns the mean recall.
fn churn_and_compare(metric: Metric, allowed: Option<&SlotSet>) -> f64 {
    let mut index = TieredIndex::new(options(metric, 12, 80)).expect("the feature is on");
    let mut exact = ScanIndex::new(options(metric, 12, 80)).expect("good options");
    let mut numbers = Numbers(4);
    for step in 0..3_500 {
        let slot = Slot(numbers.below(900));
        if step < 3_000 || numbers.below(2) == 0 {
            let embedding = numbers.embedding();
            index.insert(slot, &embedding).expect("a good embedding");
            exact.insert(slot, &embedding).expect("a good embedding");
        } else {
            assert_eq!(index.remove(slot), exact.remove(slot));
        }
    }
    assert_eq!(index.len(), exact.len());
    let mean = |count: usize| {
        let mut found = 0.0;
        for _ in 0..50 {
            let query = Query { embedding: &numbers.embedding(), count, ef: 80, allowed };
            let (truth, answer) = (exact.search(&query).expect("good"), index.search(&query).expect("good"));
            assert_eq!(answer.len(), truth.len());
            assert!(answer.iter().all(|found| allowed.is_none_or(|allowed| allowed.contains(found.slot))));
            found += recall(&truth, &answer, count);
        }
        found / 50.0
    };
    [10, 200].map(mean).into_iter().sum::<f64>() / 2.0
}

#[test]
fn updates_and_deletes_are_seen_under_every_metric() {
    for metric in [Metric::Cosine, Metric::L2, Metric::InnerProduct, Metric::L1, Metric::Hamming] {
        let recall = churn_and_compare(metric, None);
        let wanted = if metric == Metric::InnerProduct { 0.8 } else { 0.9 };
        assert!(recall > wanted, "{metric:?}: {recall}");
    }
}

#[test]
fn filtered_answers_are_whole() {
    for share in [2, 100] {
        let allowed: SlotSet = (0..900).filter(|slot| slot % share == 0).map(Slot).collect();
        let recall = churn_and_compare(Metric::Cosine, Some(&allowed));
        assert!(recall > 0.9, "1 of {share}: {recall}");
    }
}

#[test]
fn parameters_and_embeddings_out_of_range_end_no_process() {
    for (connections, ef_construction) in [(0, 0), (100_000, 1)] {
        let mut index =
            TieredIndex::new(options(Metric::Cosine, connections, ef_construction)).expect("they are clamped");
        let mut embedding = vec![1.0; DIMENSIONS];
        // A dot product of the unit embedding with itself that rounds to more than one.
        for slot in 0..50 {
            index.insert(Slot(slot), &embedding).expect("a good embedding");
        }
        embedding[3] = f32::NAN;
        assert_eq!(index.insert(Slot(3), &embedding), Err(EmbeddingError::NotFinite { position: 3 }));
        let query = Query { embedding: &embedding, count: 1, ef: 10, allowed: None };
        assert_eq!(index.search(&query), Err(EmbeddingError::NotFinite { position: 3 }));
        let query = Query { embedding: &[1.0; DIMENSIONS], count: 50, ef: 10, allowed: None };
        assert_eq!(index.search(&query).expect("good").len(), 50);
    }
}
