//! The graph over plain embeddings, against the exact answer.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::index::{Encoding, Engine};
use crate::metric::Metric;

/// Embeddings compared by the squared Euclidean distance.
#[derive(Default)]
struct Plain {
    dimensions: usize,
    numbers: Vec<f32>,
}

impl Plain {
    fn at(&self, slot: u32) -> &[f32] {
        &self.numbers[slot as usize * self.dimensions..][..self.dimensions]
    }

    fn set(&mut self, slot: u32, embedding: &[f32]) {
        let end = (slot as usize + 1) * self.dimensions;
        if self.numbers.len() < end {
            self.numbers.resize(end, 0.0);
        }
        self.numbers[end - self.dimensions..end].copy_from_slice(embedding);
    }

    fn count(&self) -> u32 {
        (self.numbers.len() / self.dimensions) as u32
    }
}

fn squared(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum()
}

impl Points for Plain {
    fn between(&self, one: u32, other: u32) -> f32 {
        squared(self.at(one), self.at(other))
    }

    fn are_equal(&self, one: u32, other: u32) -> bool {
        self.at(one) == self.at(other)
    }

    fn prefetch(&self, _: u32) {}
}

struct Asked<'a>(&'a Plain, &'a [f32]);

impl Target for Asked<'_> {
    fn distance(&self, slot: u32) -> f32 {
        squared(self.0.at(slot), self.1)
    }

    fn prefetch(&self, _: u32) {}
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

    /// Near one of 40 centres.
    fn embedding(&mut self, dimensions: usize) -> Vec<f32> {
        let mut centre = Numbers(u64::from(self.below(40)) * 7919 + 1);
        (0..dimensions).map(|_| centre.unit() + 0.4 * self.unit()).collect()
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

fn options() -> IndexOptions {
    IndexOptions {
        dimensions: 16,
        metric: Metric::L2,
        encoding: Encoding::F32,
        engine: Engine::Hnsw,
        connections: 8,
        ef_construction: 60,
        seed: 11,
    }
}

fn clustered(count: u32, seed: u64) -> Plain {
    let mut numbers = Numbers(seed);
    let mut points = Plain { dimensions: 16, ..Plain::default() };
    for slot in 0..count {
        points.set(slot, &numbers.embedding(16));
    }
    points
}

fn slots(range: std::ops::Range<u32>) -> Vec<Slot> {
    range.map(Slot).collect()
}

fn keep_going(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn built(points: &Plain, threads: usize) -> Graph {
    let graph =
        Graph::build(points, &slots(0..points.count()), &options(), threads, &keep_going).expect("not broken off");
    assert_eq!(graph.check(), Ok(()));
    graph
}

/// The share of the true ten nearest that walks find, equal distances counted as found.
fn recall(graph: &Graph, points: &Plain, ef: usize) -> f64 {
    let mut numbers = Numbers(99);
    let (mut found, mut wanted) = (0, 0);
    for _ in 0..200 {
        let asked = numbers.embedding(16);
        let mut all: Vec<f32> = graph.slots().map(|slot| squared(points.at(slot.0), &asked)).collect();
        all.sort_by(f32::total_cmp);
        all.truncate(10);
        let furthest = *all.last().expect("there are points");
        let answer = graph.search(&Asked(points, &asked), ef);
        found += answer.iter().take(10).filter(|slot| squared(points.at(slot.0), &asked) <= furthest).count();
        wanted += all.len();
    }
    found as f64 / wanted as f64
}

fn assert_all_find_themselves(graph: &Graph, points: &Plain) {
    for slot in graph.slots() {
        let answer = graph.search(&Asked(points, points.at(slot.0)), 64);
        assert!(
            answer.first().is_some_and(|&first| points.at(first.0) == points.at(slot.0)),
            "{slot:?} found {answer:?}"
        );
    }
}

#[test]
fn every_point_finds_itself_and_recall_is_high() {
    let points = clustered(3_000, 5);
    let graph = built(&points, 1);
    assert_all_find_themselves(&graph, &points);
    let recall = recall(&graph, &points, 60);
    assert!(recall > 0.98, "{recall}");
}

#[test]
fn one_thread_builds_what_single_inserts_build() {
    let points = clustered(400, 6);
    let bulk = built(&points, 1);
    let mut single = Graph::new(&options());
    for slot in slots(0..400) {
        single.insert(&points, slot);
    }
    assert_eq!(single.check(), Ok(()));
    for slot in bulk.points() {
        assert!(bulk.neighbours(slot, 0).eq(single.neighbours(slot, 0)));
    }
}

#[test]
fn parallel_build_loses_no_edge_and_strands_no_point() {
    let points = clustered(3_000, 7);
    let alone = recall(&built(&points, 1), &points, 60);
    for threads in [2, 4, 8] {
        let graph = built(&points, threads);
        assert_eq!(graph.len(), 3_000);
        assert_all_find_themselves(&graph, &points);
        let together = recall(&graph, &points, 60);
        assert!(together > alone - 0.01, "{threads} threads: {together}, one: {alone}");
    }
}

#[test]
fn build_that_is_broken_off_gives_no_graph() {
    let points = clustered(200, 8);
    let graph = Graph::build(&points, &slots(0..200), &options(), 2, &|progress: Progress| {
        if progress.done > 60 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(graph.is_none());
}

#[test]
fn recall_after_half_was_replaced_is_that_of_a_fresh_graph() {
    let mut points = clustered(3_000, 9);
    let mut graph = built(&points, 1);
    let mut numbers = Numbers(10);
    for _ in 0..1_500 {
        let slot = numbers.below(3_000);
        graph.remove(&points, &[Slot(slot)]);
        points.set(slot, &numbers.embedding(16));
        graph.insert(&points, Slot(slot));
    }
    assert_eq!(graph.check(), Ok(()));
    assert_all_find_themselves(&graph, &points);
    let fresh = built(&points, 1);
    for ef in [15, 40] {
        let (churned, fresh) = (recall(&graph, &points, ef), recall(&fresh, &points, ef));
        assert!(churned > fresh - 0.01, "ef {ef}: {churned}, fresh {fresh}");
    }
}

#[test]
fn recall_after_half_was_removed_at_once_is_that_of_a_fresh_graph() {
    let points = clustered(3_000, 12);
    let mut graph = built(&points, 1);
    let mut numbers = Numbers(13);
    let gone: Vec<Slot> = (0..3_000).map(Slot).filter(|_| numbers.below(2) == 0).collect();
    graph.remove(&points, &gone);
    assert_eq!(graph.check(), Ok(()));
    assert_eq!(graph.len(), 3_000 - gone.len());
    assert_all_find_themselves(&graph, &points);
    let rest: Vec<Slot> = graph.slots().collect();
    let fresh = Graph::build(&points, &rest, &options(), 1, &keep_going).expect("not broken off");
    let (mended, fresh) = (recall(&graph, &points, 30), recall(&fresh, &points, 30));
    assert!(mended > fresh - 0.01, "{mended}, fresh {fresh}");
}

#[test]
fn thousands_of_equal_points_hide_nothing() {
    let mut points = clustered(2_500, 14);
    let same = vec![0.5; 16];
    for slot in 250..2_250 {
        points.set(slot, &same);
    }
    for threads in [1, 4] {
        let mut graph = built(&points, threads);
        assert_all_find_themselves(&graph, &points);
        let answer = graph.search(&Asked(&points, &same), 500);
        let equal = answer.iter().filter(|slot| points.at(slot.0) == same).count();
        assert_eq!(equal, 500);
        graph.remove(&points, &slots(251..2_250));
        assert_eq!(graph.check(), Ok(()));
        assert_eq!(graph.search(&Asked(&points, &same), 10)[0], Slot(250));
        assert_all_find_themselves(&graph, &points);
    }
}

#[test]
fn removing_one_of_two_equal_points_leaves_the_other() {
    let mut points = clustered(500, 15);
    for slot in 0..250 {
        let twin = points.at(slot).to_vec();
        points.set(slot + 250, &twin);
    }
    let mut graph = built(&points, 1);
    for slot in 0..250 {
        let gone = if slot % 2 == 0 { slot } else { slot + 250 };
        graph.remove(&points, &[Slot(gone)]);
        let stays = if slot % 2 == 0 { slot + 250 } else { slot };
        assert_eq!(graph.search(&Asked(&points, points.at(gone)), 10)[0], Slot(stays));
    }
    assert_eq!(graph.check(), Ok(()));
}

#[test]
fn removing_the_hubs_and_the_entry_strands_nothing() {
    let points = clustered(1_000, 16);
    let mut graph = built(&points, 1);
    while graph.len() > 20 {
        let (entry, _) = graph.entry().expect("there are points");
        let root = graph.root;
        let hub = graph
            .points()
            .max_by_key(|&slot| graph.in_degrees[slot as usize].load(Ordering::Relaxed))
            .expect("there are points");
        graph.remove(&points, &[Slot(entry), Slot(root), Slot(hub)]);
        assert_eq!(graph.check(), Ok(()));
    }
    assert_all_find_themselves(&graph, &points);
    let rest: Vec<Slot> = graph.slots().collect();
    graph.remove(&points, &rest);
    assert!(graph.is_empty());
    assert_eq!(graph.check(), Ok(()));
    assert_eq!(graph.search(&Asked(&points, points.at(0)), 10), []);
    graph.insert(&points, Slot(3));
    assert_eq!(graph.search(&Asked(&points, points.at(0)), 10), [Slot(3)]);
}

#[test]
fn embeddings_along_a_line_stay_reachable_in_any_order() {
    let mut points = Plain { dimensions: 1, ..Plain::default() };
    for slot in 0..6_000u16 {
        points.set(u32::from(slot), &[f32::from(slot)]);
    }
    let mut graph = built(&points, 1);
    assert_all_find_themselves(&graph, &points);
    for slot in (1..6_000).step_by(100) {
        graph.remove(&points, &[Slot(slot)]);
    }
    assert_eq!(graph.check(), Ok(()));
}

#[test]
fn allowed_walk_returns_allowed_points_within_its_budget() {
    let points = clustered(2_000, 17);
    let graph = built(&points, 1);
    let asked = Numbers(18).embedding(16);
    let target = Asked(&points, &asked);
    let is_allowed = |slot: Slot| slot.0 % 2 == 1;
    let answer = graph.search_allowed(&target, 40, is_allowed, 2_000).expect("within the budget");
    let mut exact = slots(0..2_000);
    exact.retain(|&slot| is_allowed(slot));
    exact.sort_by(|one, other| target.distance(one.0).total_cmp(&target.distance(other.0)));
    assert_eq!(answer.len(), 40);
    assert_eq!(answer[..10], exact[..10]);
    assert_eq!(graph.search_allowed(&target, 40, is_allowed, 30), None);
    assert_eq!(graph.search_allowed(&target, 40, |slot| slot == Slot(1_234), 2_000), Some(vec![Slot(1_234)]));
}

#[test]
fn check_finds_what_is_broken_and_repair_mends_it() {
    let points = clustered(1_000, 19);
    let mut graph = built(&points, 1);
    for slot in 0..1_000 {
        let stays: Vec<u32> = graph.neighbours(slot, 0).filter(|&named| !(100..150).contains(&named)).collect();
        graph.base.write(slot as usize, &stays);
    }
    graph.base.write(7, &[7, 5_000, 8, 8]);
    assert_eq!(graph.check(), Err(GraphFault::Edge { from: 7, to: 7, layer: 0 }));
    assert!(graph.repair(&points) >= 50);
    assert_eq!(graph.check(), Ok(()));
    assert_all_find_themselves(&graph, &points);
    graph.entry.store(1_001, Ordering::Relaxed);
    assert_eq!(graph.check(), Err(GraphFault::Entry));
    assert_eq!(graph.repair(&points), 0);
    graph.in_degrees[3].fetch_add(1, Ordering::Relaxed);
    assert!(matches!(graph.check(), Err(GraphFault::InDegree { slot: 3, .. })));
}

#[test]
fn searches_run_on_several_threads_at_once() {
    let points = clustered(1_000, 20);
    let graph = built(&points, 2);
    let alone: Vec<_> = (0..1_000).map(|slot| graph.search(&Asked(&points, points.at(slot)), 20)).collect();
    thread_scope(|slot| assert_eq!(graph.search(&Asked(&points, points.at(slot)), 20), alone[slot as usize]));
}

fn thread_scope(run: impl Fn(u32) + Sync) {
    std::thread::scope(|scope| {
        for start in 0..4 {
            let run = &run;
            scope.spawn(move || (start..1_000).step_by(4).for_each(run));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Few places for the embeddings, so that many are equal; every step leaves the invariants.
    #[test]
    fn any_inserts_and_removes_keep_the_invariants(
        steps in proptest::collection::vec((0u32..60, any::<bool>(), 0u8..4, 0u8..4), 1..150),
        connections in 2usize..5,
    ) {
        let mut graph = Graph::new(&IndexOptions { connections, ef_construction: 8, ..options() });
        let mut points = Plain { dimensions: 2, ..Plain::default() };
        let mut model = std::collections::BTreeMap::new();
        for (slot, is_insert, x, y) in steps {
            graph.remove(&points, &[Slot(slot)]);
            model.remove(&slot);
            if is_insert {
                let embedding = [f32::from(x), f32::from(y)];
                points.set(slot, &embedding);
                graph.insert(&points, Slot(slot));
                model.insert(slot, embedding);
            }
            prop_assert_eq!(graph.check(), Ok(()));
            prop_assert!(graph.slots().map(|slot| slot.0).eq(model.keys().copied()));
        }
        for (slot, embedding) in &model {
            prop_assert_eq!(points.at(*slot), embedding);
            prop_assert_eq!(graph.search(&Asked(&points, embedding), 60).first().map(|first| points.at(first.0)), Some(&embedding[..]));
        }
    }
}
