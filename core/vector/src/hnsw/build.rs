//! Building a graph of many embeddings at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::Graph;
use super::insert::Role;
use super::points::{Points, Stored};
use super::pool::point;
use super::visited::Scratch;
use crate::index::IndexOptions;
use crate::slots::Slot;

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done so far.
    pub done: usize,
    /// Steps to do: two for each embedding, the first of which takes by far the longest.
    pub total: usize,
}

/// Embeddings that a thread takes at once.
const SHARE: usize = 32;

/// Embeddings for each thread that one thread connects before the others begin: early ones hold the graph together, and threads
/// that start at once do not see each other's.
const FIRST: usize = 64;

/// Candidates of the walk by which each embedding looks for itself in the end.
const CONFIRM_EF: usize = 32;

impl Graph {
    /// Connects the embeddings of many slots on so many threads, then has each look for itself; `None` if the callback broke it off.
    /// The callback comes after about every 32 embeddings, from any of the threads.
    ///
    /// One thread makes the same graph every time.
    pub fn build(
        points: &impl Points,
        slots: &[Slot],
        options: &IndexOptions,
        threads: usize,
        progress: &(impl Fn(Progress) -> ControlFlow<()> + Sync),
    ) -> Option<Self> {
        let mut graph = Self::new(options);
        graph.make_room(slots.iter().map(|slot| slot.0 as usize + 1).max().unwrap_or(0));
        let mut rest = Vec::with_capacity(slots.len());
        for &slot in slots {
            if !graph.contains(slot) {
                graph.reserve(slot.0);
                rest.push(slot.0);
            }
        }
        let total = rest.len() * 2;
        let Some(first) = (total > 0).then(|| rest.remove(0)) else { return Some(graph) };
        graph.plant(first);

        let done = AtomicUsize::new(2);
        let report = |steps| progress(Progress { done: done.fetch_add(steps, Ordering::Relaxed) + steps, total });
        let connect = |slot, scratch: &mut Scratch| graph.connect(points, slot, scratch);
        let (early, late) = rest.split_at(if threads > 1 { rest.len().min(FIRST * threads) } else { 0 });
        share_out(early, 1, &connect, &report)?;
        share_out(late, threads, &connect, &report)?;
        share_out(&rest, threads, &|slot, scratch| graph.confirm(points, slot, scratch), &report)?;
        Some(graph)
    }

    /// Looks for a point as a search would, and connects it to where the walk ends if that is elsewhere.
    ///
    /// An early point may have been connected to the wrong region, when the right one was hardly there. What the walk found nearest has
    /// no neighbour that is nearer still, so the heuristic takes the point into its list.
    fn confirm(&self, points: &impl Points, slot: u32, scratch: &mut Scratch) {
        let target = Stored { points, slot };
        let Some(start) = self.descend(&target, 0).filter(|_| self.is_point(slot)) else { return };
        self.walk(&target, &[start, self.root], CONFIRM_EF, 0, scratch);
        if scratch.pool.keys().any(|key| point(key) == slot) {
            return;
        }
        let nearest = scratch.pool.keys().next().map(point);
        if let Some(nearest) = nearest {
            self.add_edge(points, nearest, slot, 0, Role::Near, scratch);
        }
    }
}

/// Does something for each slot on so many threads; `None` if the report broke it off.
fn share_out(
    slots: &[u32],
    threads: usize,
    act: &(impl Fn(u32, &mut Scratch) + Sync),
    report: &(impl Fn(usize) -> ControlFlow<()> + Sync),
) -> Option<()> {
    let (next, is_broken_off) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut scratch = Scratch::default();
        while !is_broken_off.load(Ordering::Relaxed) {
            let start = next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(share) = slots.get(start..slots.len().min(start + SHARE)).filter(|share| !share.is_empty()) else {
                break;
            };
            for &slot in share {
                act(slot, &mut scratch);
            }
            if report(share.len()).is_break() {
                is_broken_off.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    (!is_broken_off.into_inner()).then_some(())
}
