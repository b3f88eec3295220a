//! The scan against a plain list that is sorted, in 64-bit floats.

use std::collections::BTreeMap;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Neighbour, Query};
use kithdb_vector::metric::Metric;
use kithdb_vector::recall::recall;
use kithdb_vector::scan::ScanIndex;
use kithdb_vector::slots::{Slot, SlotSet};
use proptest::prelude::*;

const METRICS: [Metric; 5] = [Metric::Cosine, Metric::L2, Metric::InnerProduct, Metric::L1, Metric::Hamming];
const ENCODINGS: [Encoding; 4] = [Encoding::F32, Encoding::F16, Encoding::Int8, Encoding::Bit];

fn options(dimensions: usize, metric: Metric, encoding: Encoding) -> IndexOptions {
    IndexOptions { dimensions, metric, encoding, engine: Engine::Scan, connections: 16, ef_construction: 200, seed: 1 }
}

fn distance(metric: Metric, left: &[f32], right: &[f32]) -> f64 {
    let pairs = || left.iter().zip(right).map(|(&left, &right)| (f64::from(left), f64::from(right)));
    let dot = || pairs().map(|(left, right)| left * right).sum::<f64>();
    let norm = |numbers: &[f32]| numbers.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::Cosine => 1.0 - dot() / norm(left) / norm(right),
        Metric::L2 => pairs().map(|(left, right)| (left - right).powi(2)).sum::<f64>().sqrt(),
        Metric::InnerProduct => -dot(),
        Metric::L1 => pairs().map(|(left, right)| (left - right).abs()).sum(),
        Metric::Hamming => pairs().filter(|(left, right)| (*left > 0.0) != (*right > 0.0)).count() as f64,
    }
}

/// What an exact answer is compared with.
struct Model {
    metric: Metric,
    rows: BTreeMap<Slot, Vec<f32>>,
}

impl Model {
    fn nearest(&self, question: &[f32], allowed: Option<&SlotSet>) -> Vec<Neighbour> {
        let rows = self.rows.iter().filter(|(slot, _)| allowed.is_none_or(|allowed| allowed.contains(**slot)));
        let mut all: Vec<Neighbour> = rows
            .map(|(&slot, row)| Neighbour { slot, distance: distance(self.metric, row, question) as f32 })
            .collect();
        all.sort_by(|left, right| left.distance.total_cmp(&right.distance).then(left.slot.cmp(&right.slot)));
        all
    }

    /// Checks everything but recall, which it returns.
    fn check(&self, index: &ScanIndex, question: &[f32], count: usize, allowed: Option<&SlotSet>) -> f64 {
        let answer = index.search(&Query { embedding: question, count, ef: 0, allowed }).expect("the question is good");
        let mut truth = self.nearest(question, allowed);
        assert_eq!(answer.len(), count.min(truth.len()), "as many as there are");
        let size = |numbers: &[f32]| numbers.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
        let mut magnitude_max = 0f64;
        for found in &answer {
            let row = &self.rows[&found.slot];
            assert!(allowed.is_none_or(|allowed| allowed.contains(found.slot)), "only allowed slots");
            let magnitude = if self.metric == Metric::InnerProduct { size(row) * size(question) } else { 1.0 };
            magnitude_max = magnitude_max.max(magnitude);
            let exact = distance(self.metric, row, question);
            let bound = 1e-5 * exact.abs().max(magnitude).max(1.0);
            assert!((f64::from(found.distance) - exact).abs() <= bound, "{} is not {exact}", found.distance);
        }
        let in_order = |pair: &[Neighbour]| {
            pair[0].distance < pair[1].distance || (pair[0].distance == pair[1].distance && pair[0].slot < pair[1].slot)
        };
        assert!(answer.windows(2).all(in_order), "nearest first, equal ones in the order of their slots: {answer:?}");
        // Great numbers that cancel each other out leave a small sum, and rounding as great as they were.
        if let (Metric::InnerProduct, Some(last)) = (self.metric, count.min(truth.len()).checked_sub(1)) {
            truth[last].distance += (1e-5 * magnitude_max) as f32;
        }
        recall(&truth, &answer, count)
    }
}

/// Few different numbers, so that rows are often equal or equally far.
fn embedding(dimensions: usize) -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        proptest::collection::vec(prop_oneof![Just(-1.0f32), Just(0.0), Just(1.0), Just(2.0)], dimensions),
        proptest::collection::vec(-1.0f32..1.0, dimensions),
        proptest::collection::vec(-1e3f32..1e3, dimensions),
    ]
    .prop_filter("a direction", |numbers| numbers.iter().any(|&number| number != 0.0))
}

#[derive(Debug, Clone)]
struct Program {
    dimensions: usize,
    steps: Vec<(u32, Option<Vec<f32>>)>,
    questions: Vec<(Vec<f32>, usize)>,
    allowed: Vec<u32>,
}

fn program() -> impl Strategy<Value = Program> {
    (prop_oneof![1usize..20, 60usize..70]).prop_flat_map(|dimensions| {
        (
            proptest::collection::vec((0u32..400, proptest::option::weighted(0.8, embedding(dimensions))), 0..300),
            proptest::collection::vec((embedding(dimensions), prop_oneof![0usize..5, 5usize..500]), 1..4),
            proptest::collection::vec(0u32..450, 0..200),
        )
            .prop_map(move |(steps, questions, allowed)| Program { dimensions, steps, questions, allowed })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scan_answers_as_a_sorted_list_does(program in program()) {
        for metric in METRICS {
            for encoding in ENCODINGS {
                let mut index = ScanIndex::new(options(program.dimensions, metric, encoding)).expect("good options");
                let mut model = Model { metric, rows: BTreeMap::new() };
                for (number, embedding) in &program.steps {
                    let slot = Slot(*number);
                    match embedding {
                        Some(embedding) => {
                            index.insert(slot, embedding).expect("the embedding is good");
                            model.rows.insert(slot, embedding.clone());
                        }
                        None => prop_assert_eq!(index.remove(slot), model.rows.remove(&slot).is_some()),
                    }
                }
                prop_assert_eq!(index.len(), model.rows.len());
                let allowed: SlotSet = program.allowed.iter().map(|&number| Slot(number)).collect();
                for (question, count) in &program.questions {
                    for allowed in [None, Some(&allowed)] {
                        let recall = model.check(&index, question, *count, allowed);
                        if index.store().estimates_are_exact() {
                            prop_assert_eq!(recall, 1.0, "{:?} {:?}", metric, encoding);
                        }
                    }
                }
                for (&slot, row) in &model.rows {
                    let kept = index.embedding(slot).expect("it was inserted");
                    let is_near = |(&kept, &row): (&f32, &f32)| (kept - row).abs() <= 1e-6 * row.abs().max(1e-3);
                    prop_assert!(kept.iter().zip(row).all(is_near), "{:?} is not {:?}", kept, row);
                }
            }
        }
    }
}

/// A plain generator (Marsaglia's xorshift64), so that a failure repeats.
fn random_floats(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

#[test]
fn codes_with_exact_comparison_of_the_best_find_nearly_all() {
    let mut next = random_floats(7);
    let dimensions = 100;
    let mut make = |centres: &[Vec<f32>], spread: f32| -> Vec<f32> {
        let centre = &centres[((next() + 1.0) * 0.5 * centres.len() as f32) as usize % centres.len()];
        centre.iter().map(|number| number + spread * next()).collect()
    };
    let centres: Vec<Vec<f32>> = (0..40).map(|_| make(&[vec![0.0; dimensions]], 1.0)).collect();
    let rows: Vec<Vec<f32>> = (0..5_000).map(|_| make(&centres, 0.6)).collect();
    let questions: Vec<Vec<f32>> = (0..30).map(|_| make(&centres, 0.6)).collect();
    let half: SlotSet = (0..5_000).step_by(2).map(Slot).collect();
    let tenth: SlotSet = (0..5_000).step_by(10).map(Slot).collect();
    for metric in METRICS {
        let model = Model { metric, rows: (0..).map(Slot).zip(rows.clone()).collect() };
        for (encoding, least) in
            [(Encoding::F32, 1.0), (Encoding::F16, 1.0), (Encoding::Int8, 0.999), (Encoding::Bit, 0.95)]
        {
            let mut index = ScanIndex::new(options(dimensions, metric, encoding)).expect("good options");
            for (slot, row) in (0..).map(Slot).zip(&rows) {
                index.insert(slot, row).expect("the embedding is good");
            }
            for allowed in [None, Some(&half), Some(&tenth)] {
                let recalls = questions.iter().map(|question| model.check(&index, question, 10, allowed));
                let mean = recalls.sum::<f64>() / questions.len() as f64;
                assert!(mean >= least, "{metric:?} {encoding:?}: {mean}");
            }
        }
    }
}

#[test]
fn unusable_embeddings_are_refused_and_change_nothing() {
    for metric in METRICS {
        let mut index = ScanIndex::new(options(3, metric, Encoding::Int8)).expect("good options");
        index.insert(Slot(0), &[1.0, 2.0, 3.0]).expect("the embedding is good");
        let mut refused = vec![
            (vec![1.0, 2.0], EmbeddingError::Dimensions { expected: 3, got: 2 }),
            (vec![1.0, 2.0, f32::NAN], EmbeddingError::NotFinite { position: 2 }),
            (vec![1.0, f32::INFINITY, 0.0], EmbeddingError::NotFinite { position: 1 }),
            (vec![1e19, 1.0, 0.0], EmbeddingError::TooLarge),
        ];
        if metric == Metric::Cosine {
            refused.push((vec![0.0, -0.0, 0.0], EmbeddingError::Zero));
        }
        for (embedding, error) in refused {
            assert_eq!(index.insert(Slot(0), &embedding), Err(error.clone()));
            assert_eq!(index.insert(Slot(1), &embedding), Err(error.clone()));
            let query = Query { embedding: &embedding, count: 1, ef: 0, allowed: None };
            assert_eq!(index.search(&query), Err(error));
        }
        assert_eq!(index.len(), 1);
        assert_eq!(index.insert(Slot(1 << 28), &[1.0, 2.0, 3.0]), Err(EmbeddingError::Full));
        let kept = index.embedding(Slot(0)).expect("it is still there");
        assert!(kept.iter().zip([1.0, 2.0, 3.0]).all(|(kept, given)| (kept - given).abs() < 1e-6), "{kept:?}");
    }
    for dimensions in [0, 8_193] {
        let error = ScanIndex::new(options(dimensions, Metric::L2, Encoding::F32)).err();
        assert_eq!(error, Some(EmbeddingError::DimensionsRange { got: dimensions }));
    }
}

#[test]
fn tiny_and_huge_embeddings_are_compared_right() {
    for encoding in ENCODINGS {
        for scale in [1e-38f32, 1e-20, 1e-6, 1.0, 1e6, 1e17] {
            let mut index = ScanIndex::new(options(4, Metric::Cosine, encoding)).expect("good options");
            for (slot, row) in
                [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]].into_iter().enumerate()
            {
                index.insert(Slot(slot as u32), &row.map(|number: f32| number * scale)).expect("it has a direction");
            }
            let query = Query { embedding: &[2.0, 0.0, 0.0, 0.0], count: 3, ef: 0, allowed: None };
            let answer = index.search(&query).expect("the question is good");
            let distances: Vec<f32> = answer.iter().map(|found| found.distance).collect();
            let expected = [0.0, 1.0 - 0.5f32.sqrt(), 2.0];
            let is_near = |(got, expected): (&f32, f32)| (got - expected).abs() < 1e-6;
            assert!(distances.iter().zip(expected).all(is_near), "{encoding:?} {scale}: {distances:?}");
        }
    }
}

#[test]
fn equal_embeddings_come_in_the_order_of_their_slots() {
    for encoding in ENCODINGS {
        let mut index = ScanIndex::new(options(8, Metric::Cosine, encoding)).expect("good options");
        for slot in (0..2_000).rev() {
            index.insert(Slot(slot), &[0.5; 8]).expect("the embedding is good");
        }
        index.remove(Slot(3));
        let query = Query { embedding: &[1.0; 8], count: 5, ef: 0, allowed: None };
        let answer = index.search(&query).expect("the question is good");
        assert_eq!(answer.iter().map(|found| found.slot.0).collect::<Vec<_>>(), [0, 1, 2, 4, 5], "{encoding:?}");
    }
}
