//! Building a graph of many embeddings at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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

/// Rounds at most in which those that did not find themselves, or whose edges had to make room, look once more. Each has far fewer than
/// the one before.
const ROUNDS_MAX: usize = 8;

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
        let again = Mutex::new(Vec::new());
        let confirm = |slot, scratch: &mut Scratch| {
            let lost = graph.confirm(points, slot, Role::Near, scratch);
            if !lost.is_empty() {
                again.lock().unwrap_or_else(PoisonError::into_inner).extend(lost);
            }
        };
        share_out(&rest, threads, &confirm, &report)?;
        let mut again = again.into_inner().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ROUNDS_MAX {
            again.sort_unstable();
            again.dedup();
            let this = &graph;
            again = graph.scratches.with(|scratch| {
                again.iter().flat_map(|&slot| this.confirm(points, slot, Role::Tree, scratch)).collect()
            });
        }
        Some(graph)
    }

    /// Looks for a point as a search would, and connects it to where the walk ends if that is elsewhere. Returns the points that are to
    /// look for themselves again: this one, and those whose edges had to make room.
    ///
    /// An early point may have been connected to the wrong region, when the right one was hardly there. What the walk found nearest has
    /// no neighbour that is nearer still, so the heuristic takes the point into its list, unless that is full of others nearer to it. A
    /// tree's edge is taken all the same, but no two threads may move points in the tree.
    fn confirm(&self, points: &impl Points, slot: u32, role: Role, scratch: &mut Scratch) -> Vec<u32> {
        let target = Stored { points, slot };
        let Some(start) = self.descend(&target, 0).filter(|_| self.is_point(slot)) else { return Vec::new() };
        self.walk(&target, &[start, self.root], CONFIRM_EF, 0, scratch);
        let found: Vec<u32> = scratch.pool.keys().map(point).collect();
        if found.contains(&slot) {
            return Vec::new();
        }
        let mut again = vec![slot];
        for nearest in found {
            if role == Role::Tree && (slot == self.root || self.is_below(nearest, slot)) {
                continue;
            }
            let before: Vec<u32> = self.neighbours(nearest, 0).collect();
            if self.add_edge(points, nearest, slot, 0, role, scratch) {
                let (lists, list) = self.list(nearest, 0);
                again.extend(before.into_iter().filter(|&neighbour| !lists.contains(list, neighbour)));
                break;
            }
        }
        again
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
