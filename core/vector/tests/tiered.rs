//! The tiered index against an exact scan of the same embeddings.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::hnsw::Progress;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Neighbour, Query};
use kithdb_vector::limits::GRAPH_FROM;
use kithdb_vector::metric::Metric;
use kithdb_vector::recall::recall;
use kithdb_vector::scan::ScanIndex;
use kithdb_vector::slots::{Slot, SlotSet};
use kithdb_vector::tiered::TieredIndex;

const DIMENSIONS: usize = 24;

fn options(engine: Engine, metric: Metric, encoding: Encoding) -> IndexOptions {
    IndexOptions { dimensions: DIMENSIONS, metric, encoding, engine, connections: 12, ef_construction: 80, seed: 3 }
}

/// xorshift64 of Marsaglia 2003.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.next() >> 32) as u32 % end
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5
    }

    /// Near one of 60 centres.
    fn embedding(&mut self) -> Vec<f32> {
        let mut centre = Self(u64::from(self.below(60)) * 7_919 + 1);
        (0..DIMENSIONS).map(|_| centre.unit() + 0.6 * self.unit()).collect()
    }
}

fn keep_going(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn build(index: &mut TieredIndex, threads: usize) {
    let job = index.build_job().expect("a build is due");
    let built = job.run(threads, &keep_going).expect("not broken off");
    assert!(index.install(built));
}

/// Searches a tiered index and an exact one; checks all but recall, which it returns.
fn compare(index: &TieredIndex, exact: &ScanIndex, query: Query<'_>) -> f64 {
    let truth = exact.search(&query).expect("a good question");
    let answer = index.search(&query).expect("a good question");
    assert_eq!(answer.len(), truth.len(), "as many as there are");
    assert!(answer.is_sorted_by(|left, right| (left.distance, left.slot) < (right.distance, right.slot)), "{answer:?}");
    for found in &answer {
        assert!(query.allowed.is_none_or(|allowed| allowed.contains(found.slot)));
        let all = Query { count: 1, allowed: Some(&[found.slot].into_iter().collect()), ..query };
        let [Neighbour { distance, .. }] = exact.search(&all).expect("a good question")[..] else {
            panic!("{found:?} is gone")
        };
        assert!((distance - found.distance).abs() <= 1e-5 * distance.abs().max(1.0));
    }
    recall(&truth, &answer, query.count)
}

fn exact(index: &TieredIndex) -> ScanIndex {
    let options = IndexOptions { encoding: Encoding::F32, engine: Engine::Scan, ..index.options().clone() };
    let mut exact = ScanIndex::new(options).expect("good options");
    for slot in index.store().occupied().iter() {
        exact.insert(slot, &index.embedding(slot).expect("it is occupied")).expect("it was good before");
    }
    exact
}

fn mean_recall(index: &TieredIndex, count: usize, ef: usize, allowed: Option<&SlotSet>) -> f64 {
    let exact = exact(index);
    let mut numbers = Numbers(77);
    let questions = 60;
    let found: f64 = (0..questions)
        .map(|_| compare(index, &exact, Query { embedding: &numbers.embedding(), count, ef, allowed }))
        .sum();
    found / f64::from(questions)
}

fn filled(engine: Engine, metric: Metric, encoding: Encoding, count: u32) -> TieredIndex {
    let mut index = TieredIndex::new(options(engine, metric, encoding)).expect("good options");
    let mut numbers = Numbers(5);
    for slot in 0..count {
        index.insert(Slot(slot), &numbers.embedding()).expect("a good embedding");
    }
    index
}

#[test]
fn graph_of_every_metric_and_encoding_finds_what_a_scan_finds() {
    for metric in [Metric::Cosine, Metric::L2, Metric::InnerProduct, Metric::L1, Metric::Hamming] {
        for encoding in [Encoding::F32, Encoding::F16, Encoding::Int8] {
            let mut index = filled(Engine::Hnsw, metric, encoding, 2_500);
            build(&mut index, 2);
            assert_eq!(index.graph().expect("built").check(), Ok(()));
            let recall = mean_recall(&index, 10, 70, None);
            let wanted = if metric == Metric::InnerProduct { 0.9 } else { 0.95 };
            assert!(recall >= wanted, "{metric:?} {encoding:?}: {recall}");
        }
    }
}

#[test]
fn changes_during_a_build_are_answered_before_and_after_it_is_installed() {
    let mut index = filled(Engine::Hnsw, Metric::Cosine, Encoding::Int8, 4_000);
    let job = index.build_job().expect("a build is due");
    assert!(index.build_job().is_none(), "one build at a time");
    let mut numbers = Numbers(6);
    for slot in 0..300 {
        index.remove(Slot(slot));
        index.insert(Slot(slot + 300), &numbers.embedding()).expect("a good embedding");
        index.insert(Slot(slot + 4_000), &numbers.embedding()).expect("a good embedding");
    }
    assert_eq!(mean_recall(&index, 10, 60, None), 1.0, "the scan answers");
    assert!(index.install(job.run(2, &keep_going).expect("not broken off")));
    assert_eq!(index.pending(), 900);
    let behind = mean_recall(&index, 10, 60, None);
    assert!(behind > 0.97, "{behind}");
    while index.catch_up(50) > 0 {}
    assert_eq!(index.graph().expect("built").check(), Ok(()));
    assert_eq!(index.graph().expect("built").len(), index.len());
    let caught_up = mean_recall(&index, 10, 60, None);
    assert!(caught_up > 0.97, "{caught_up}");
}

#[test]
fn only_the_build_that_is_out_is_installed() {
    let mut index = filled(Engine::Hnsw, Metric::L2, Encoding::F32, 1_200);
    let old = index.build_job().expect("a build is due");
    let old_graph = old.run(1, &keep_going).expect("not broken off");
    drop(old);
    assert!(index.build_job().is_none(), "its graph may still come");
    drop(old_graph);
    let broken_off = index.build_job().expect("a dropped job is out no more");
    assert!(broken_off.run(1, &|_| ControlFlow::Break(())).is_none());
    drop(broken_off);
    let job = index.build_job().expect("due again");
    let mut other = filled(Engine::Hnsw, Metric::L2, Encoding::F32, 1_200);
    let foreign = other.build_job().expect("due").run(1, &keep_going).expect("not broken off");
    assert!(!index.install(foreign));
    assert!(index.install(job.run(1, &keep_going).expect("not broken off")));
}

#[test]
fn whole_regions_may_be_removed() {
    let mut numbers = Numbers(8);
    let (mut hole, mut behind, mut caught_up, mut fresh) = (0.0, 0.0, 0.0, 0.0);
    for _ in 0..4 {
        let mut index = filled(Engine::Hnsw, Metric::Cosine, Encoding::Int8, 4_000);
        build(&mut index, 2);
        let asked = numbers.embedding();
        let query = Query { embedding: &asked, count: 10, ef: 40, allowed: None };
        let nearest = exact(&index).search(&Query { count: 300, ..query }).expect("a good question");
        for found in nearest {
            assert!(index.remove(found.slot));
        }
        hole += compare(&index, &exact(&index), query) / 4.0;
        behind += mean_recall(&index, 10, 40, None) / 4.0;
        assert_eq!(index.catch_up(usize::MAX), 0);
        caught_up += mean_recall(&index, 10, 40, None) / 4.0;
        let mut again = TieredIndex::with_store(index.options().clone(), index.store().clone()).expect("good options");
        build(&mut again, 2);
        fresh += mean_recall(&again, 10, 40, None) / 4.0;
    }
    assert!(hole > 0.9, "in the middle of what is still to be taken out of the graph: {hole}");
    assert!(behind > fresh - 0.01 && caught_up > fresh - 0.01, "behind {behind}, caught up {caught_up}, fresh {fresh}");
}

#[test]
fn filtered_answers_are_whole_at_every_selectivity() {
    let mut index = filled(Engine::Hnsw, Metric::Cosine, Encoding::Int8, 6_000);
    build(&mut index, 2);
    let mut numbers = Numbers(9);
    for share in [1, 2, 3, 10, 100, 1_000, 6_000] {
        let allowed: SlotSet = (0..7_000).filter(|_| numbers.below(share) == 0).map(Slot).collect();
        for count in [1, 10, 400] {
            let recall = mean_recall(&index, count, 40, Some(&allowed));
            assert!(recall > 0.95, "1 of {share}, {count} wanted: {recall}");
        }
    }
    assert_eq!(mean_recall(&index, 10, 40, Some(&SlotSet::default())), 1.0);
    // All of one kind, as a filter on a column often is.
    let asked = Numbers(10).embedding();
    let far: SlotSet = {
        let query = Query { embedding: &asked, count: 6_000, ef: 0, allowed: None };
        exact(&index).search(&query).expect("a good question")[3_000..].iter().map(|found| found.slot).collect()
    };
    let query = Query { embedding: &asked, count: 10, ef: 40, allowed: Some(&far) };
    assert!(compare(&index, &exact(&index), query) > 0.9);
}

#[test]
fn auto_scans_few_embeddings_and_drops_the_graph_when_few_are_left() {
    let mut index = filled(Engine::Auto, Metric::Cosine, Encoding::Int8, GRAPH_FROM as u32 - 1);
    assert!(!index.is_build_due());
    index.insert(Slot(GRAPH_FROM as u32), &Numbers(11).embedding()).expect("a good embedding");
    build(&mut index, 2);
    assert!(index.graph().is_some() && !index.is_build_due());
    let recall = mean_recall(&index, 10, 60, None);
    assert!(recall > 0.95, "{recall}");
    for slot in 0..GRAPH_FROM as u32 / 2 {
        index.remove(Slot(slot));
    }
    assert!(index.graph().is_some());
    index.remove(Slot(GRAPH_FROM as u32 / 2));
    assert!(index.graph().is_none());
    assert_eq!(mean_recall(&index, 10, 60, None), 1.0);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut index = filled(Engine::Hnsw, Metric::Cosine, Encoding::Int8, 50);
    assert_eq!(index.catch_up(usize::MAX), 0);
    let before = index.embedding(Slot(7));
    let mut bad = vec![0.0; DIMENSIONS];
    assert_eq!(index.insert(Slot(7), &bad), Err(EmbeddingError::Zero));
    bad[2] = f32::NAN;
    assert_eq!(index.insert(Slot(7), &bad), Err(EmbeddingError::NotFinite { position: 2 }));
    let query = Query { embedding: &bad, count: 1, ef: 10, allowed: None };
    assert_eq!(index.search(&query), Err(EmbeddingError::NotFinite { position: 2 }));
    assert_eq!((index.embedding(Slot(7)), index.pending()), (before, 0));
}

#[test]
fn random_programs_answer_as_a_model_does() {
    let mut numbers = Numbers(12);
    for encoding in [Encoding::F32, Encoding::Int8, Encoding::Bit] {
        let mut index = filled(Engine::Hnsw, Metric::L2, encoding, 1_500);
        let mut model: BTreeMap<u32, Vec<f32>> =
            (0..1_500).map(|slot| (slot, index.embedding(Slot(slot)).expect("filled"))).collect();
        build(&mut index, 1);
        let mut job = None;
        for step in 0..1_500 {
            let slot = numbers.below(1_700);
            match numbers.below(8) {
                0..3 => assert_eq!(index.remove(Slot(slot)), model.remove(&slot).is_some()),
                3..6 => {
                    let embedding = numbers.embedding();
                    index.insert(Slot(slot), &embedding).expect("a good embedding");
                    model.insert(slot, embedding);
                }
                6 => _ = index.catch_up(numbers.below(20) as usize),
                _ if step % 100 == 0 => job = index.build_job(),
                _ => {
                    if let Some(built) =
                        job.take().and_then(|job: kithdb_vector::tiered::BuildJob| job.run(2, &keep_going))
                    {
                        index.install(built);
                    }
                }
            }
        }
        index.catch_up(usize::MAX);
        assert_eq!(index.graph().expect("built").check(), Ok(()));
        assert!(index.store().occupied().iter().map(|slot| slot.0).eq(model.keys().copied()));
        for (&slot, embedding) in &model {
            assert_eq!(index.embedding(Slot(slot)).as_ref(), Some(embedding));
            let query = Query { embedding, count: 1, ef: 30, allowed: None };
            let found = index.search(&query).expect("a good question")[0];
            assert!(found.slot.0 == slot || found.distance == 0.0, "{encoding:?} {slot}: {found:?}");
        }
    }
}

#[cfg(not(feature = "hnsw-rs"))]
#[test]
fn engine_that_is_not_in_this_build_is_named() {
    let refused = TieredIndex::new(options(Engine::HnswRs, Metric::L2, Encoding::F32)).err();
    assert!(refused.expect("the feature is off").to_string().contains("`hnsw-rs`"));
}
