//! The store: its estimates, its copies, and its arrays in foreign memory.

use std::sync::Arc;

use kithdb_vector::index::{Encoding, Engine, IndexOptions};
use kithdb_vector::metric::Metric;
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::slots::Slot;
use kithdb_vector::store::{EmbeddingStore, ForeignParts, ForeignRows};

const METRICS: [Metric; 5] = [Metric::Cosine, Metric::L2, Metric::InnerProduct, Metric::L1, Metric::Hamming];
const ENCODINGS: [Encoding; 4] = [Encoding::F32, Encoding::F16, Encoding::Int8, Encoding::Bit];

fn options(metric: Metric, encoding: Encoding) -> IndexOptions {
    IndexOptions {
        dimensions: 96,
        metric,
        encoding,
        engine: Engine::Scan,
        connections: 16,
        ef_construction: 200,
        seed: 1,
    }
}

fn row(number: u32) -> Vec<f32> {
    (0..96u32).map(|position| ((number * 7919 + position * position * 31) as f32 * 0.37).sin()).collect()
}

fn filled(metric: Metric, encoding: Encoding, rows: u32) -> EmbeddingStore {
    let mut store = EmbeddingStore::new(&options(metric, encoding)).expect("good options");
    for number in 0..rows {
        store.insert(Slot(number), &row(number)).expect("the embedding is good");
    }
    store
}

/// What an estimate says as a distance.
fn as_distance(metric: Metric, estimate: f32) -> f32 {
    match metric {
        Metric::L2 => estimate.max(0.0).sqrt(),
        Metric::Hamming => estimate * 96.0 / 2.0,
        _ => estimate,
    }
}

#[test]
fn estimates_are_near_the_distances() {
    for metric in METRICS {
        for (encoding, share) in [(Encoding::F32, 1e-5), (Encoding::F16, 2e-3), (Encoding::Int8, 3e-2)] {
            let store = filled(metric, encoding, 200);
            let question = store.prepare(&row(1_000)).expect("the question is good");
            let spread = (0..200).map(|slot| store.distance(&question, Slot(slot)).abs()).fold(0.0, f32::max);
            for slot in (0..200).map(Slot) {
                let exact = store.distance(&question, slot);
                let estimate = as_distance(metric, store.estimate(&question, slot));
                assert!(
                    (estimate - exact).abs() <= share * spread,
                    "{metric:?} {encoding:?}: {estimate} is not near {exact}"
                );
            }
        }
    }
}

#[test]
fn a_slot_is_compared_with_slots_as_with_questions() {
    for metric in METRICS {
        for encoding in ENCODINGS {
            let store = filled(metric, encoding, 130);
            for left in [0, 64, 129].map(Slot) {
                let question = store.prepare_slot(left);
                let given = store.prepare(&row(left.0)).expect("the question is good");
                for right in (0..130).map(Slot) {
                    let estimate = store.estimate(&question, right);
                    let bound = 2e-3 * estimate.abs().max(10.0);
                    assert!((estimate - store.estimate(&given, right)).abs() <= bound, "{metric:?} {encoding:?}");
                    let between = store.estimate_between(left, right);
                    let bound = if metric == Metric::L1 && encoding == Encoding::Int8 { 1.0 } else { bound };
                    assert!((estimate - between).abs() <= bound, "{metric:?} {encoding:?}: {estimate}, {between}");
                }
            }
        }
    }
}

#[test]
fn clone_shares_memory_and_is_not_changed_by_later_inserts() {
    let mut store = filled(Metric::L2, Encoding::Int8, 3_000);
    let copy = store.clone();
    let question = copy.prepare(&row(70)).expect("the question is good");
    store.insert(Slot(70), &row(5_000)).expect("the embedding is good");
    store.insert(Slot(3_000), &row(3_000)).expect("the embedding is good");
    store.remove(Slot(71));
    assert_eq!(copy.len(), 3_000);
    assert_eq!(copy.distance(&question, Slot(70)), 0.0);
    assert!(store.distance(&question, Slot(70)) > 1.0);
    assert!(copy.occupied().contains(Slot(71)) && !store.occupied().contains(Slot(71)));
    assert_eq!(copy.embedding(Slot(2_999)), Some(row(2_999)));
    assert_eq!(copy.embedding(Slot(3_000)), None);
}

#[test]
fn emptied_slot_can_still_be_compared() {
    let mut store = filled(Metric::Cosine, Encoding::Int8, 10);
    let question = store.prepare(&row(3)).expect("the question is good");
    let before = store.estimate(&question, Slot(5));
    assert!(store.remove(Slot(5)) && !store.remove(Slot(5)));
    assert_eq!(store.estimate(&question, Slot(5)), before);
    assert_eq!(store.embedding(Slot(5)), None);
}

/// Bytes whose start lies on a cache line, or just behind one.
struct Placed(Vec<u8>, usize);

impl Placed {
    fn new(bytes: &[u8], shift: usize) -> Self {
        let mut placed = vec![0; bytes.len() + 128 + shift];
        let start = placed.as_ptr().align_offset(64) + shift;
        placed[start..start + bytes.len()].copy_from_slice(bytes);
        Self(placed, start)
    }
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.0[self.1..]
    }
}

#[test]
fn store_in_foreign_memory_answers_as_the_one_that_was_written() {
    for (metric, encoding) in
        METRICS.into_iter().flat_map(|metric| ENCODINGS.map(|encoding| (metric, encoding))).collect::<Vec<_>>()
    {
        for shift in [0, 4] {
            let mut written = filled(metric, encoding, 2_100);
            written.remove(Slot(9));
            let foreign = |pieces: Vec<&[u8]>| {
                let bytes: ForeignBytes = Arc::new(Placed::new(&pieces.concat(), shift));
                ForeignRows { bytes, start: 0 }
            };
            let parts = ForeignParts {
                rows: written.rows(),
                occupied: written.occupied().clone(),
                codes: foreign(written.code_pieces().collect()),
                scalars: foreign(written.scalars_pieces().collect()),
                exact: foreign(written.exact_pieces().collect()),
            };
            let mut read = EmbeddingStore::with_foreign(&options(metric, encoding), parts).expect("long enough");
            assert_eq!(read.memory_bytes() < 20_000, shift == 0, "{} bytes", read.memory_bytes());
            for store in [&mut written, &mut read] {
                store.insert(Slot(1_500), &row(9_000)).expect("the embedding is good");
                store.insert(Slot(2_200), &row(9_001)).expect("the embedding is good");
            }
            assert_eq!(read.occupied(), written.occupied());
            let question = written.prepare(&row(4_000)).expect("the question is good");
            for slot in written.occupied().iter() {
                assert_eq!(read.estimate(&question, slot), written.estimate(&question, slot));
                assert_eq!(read.distance(&question, slot), written.distance(&question, slot));
            }
            assert!(read.memory_bytes() < 4_000_000);
        }
    }
}

#[test]
fn foreign_memory_that_is_too_short_is_refused() {
    let written = filled(Metric::L2, Encoding::Int8, 100);
    let bytes: ForeignBytes = Arc::new(Placed::new(&written.exact_pieces().collect::<Vec<_>>().concat(), 0));
    let rows = |start| ForeignRows { bytes: Arc::clone(&bytes), start };
    let parts = |rows_count, exact_start| ForeignParts {
        rows: rows_count,
        occupied: written.occupied().clone(),
        codes: rows(0),
        scalars: rows(0),
        exact: rows(exact_start),
    };
    let options = options(Metric::L2, Encoding::Int8);
    assert!(EmbeddingStore::with_foreign(&options, parts(100, 0)).is_ok());
    for (rows_count, exact_start) in [(100, 1_000), (99, 0), (usize::MAX, 0), (100, usize::MAX)] {
        assert!(EmbeddingStore::with_foreign(&options, parts(rows_count, exact_start)).is_err());
    }
}
