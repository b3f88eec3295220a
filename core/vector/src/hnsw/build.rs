//! Building a graph of many embeddings at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Graph;
use super::insert::Role;
use super::points::{Points, Stored};
use super::pool::{key, point};
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

/// Rounds at most in which those that did not find themselves, and those around them, look once more. Each has far fewer than the one
/// before.
const ROUNDS_MAX: usize = 8;

/// Times at most that all look for themselves: an edge that helps one may lead the walk to another elsewhere, far away from it. The last
/// time finds nothing to change; hard sets take three.
const PASSES_MAX: usize = 10;

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
        let mut changes = graph.confirm_all(points, &rest, threads, &report)?;
        let report = |_| progress(Progress { done: total, total });
        for _ in 1..PASSES_MAX {
            if changes.is_empty() {
                break;
            }
            for _ in 0..ROUNDS_MAX {
                let again = graph.settle_changes(points, changes);
                changes = graph.confirm_all(points, &again, threads, &report)?;
                if changes.is_empty() {
                    break;
                }
            }
            changes = graph.confirm_all(points, &rest, threads, &report)?;
        }
        Some(graph)
    }

    /// Has points look for themselves; returns what came of those that did not find themselves, in their order.
    fn confirm_all(
        &self,
        points: &impl Points,
        slots: &[u32],
        threads: usize,
        report: &(impl Fn(usize) -> ControlFlow<()> + Sync),
    ) -> Option<Vec<Change>> {
        let changes = Mutex::new(Vec::new());
        let confirm = |slot, scratch: &mut Scratch| {
            if let Some(change) = self.confirm(points, slot, scratch) {
                changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
            }
        };
        share_out(slots, threads, &confirm, report)?;
        let mut changes = changes.into_inner().unwrap_or_else(PoisonError::into_inner);
        changes.sort_unstable_by_key(|change| change.slot);
        Some(changes)
    }

    /// Looks for a point as a search would; `None` if it is found, and then by a search with more candidates too, which goes on from all
    /// that this one goes on from. Otherwise it is connected to where the walk ended: to the nearest point there whose list has room, so
    /// that no other edge is lost.
    ///
    /// An early point may have been connected to the wrong region, when the right one was hardly there, or all lists around it are full
    /// of others. Each point that the walk kept is one that it went on from, so any of them serves.
    fn confirm(&self, points: &impl Points, slot: u32, scratch: &mut Scratch) -> Option<Change> {
        let target = Stored { points, slot };
        let start = self.descend(&target, 0).filter(|_| self.is_point(slot))?;
        if self.walk_until(&target, &[start, self.root], CONFIRM_EF, 0, |found| found == slot, scratch) {
            return None;
        }
        let found: Vec<u32> = scratch.pool.keys().map(point).collect();
        let has_room = |near: u32| self.neighbours(near, 0).len() < self.base.capacity();
        let connected = found.iter().copied().find(|&near| has_room(near));
        if let Some(near) = connected {
            self.add_edge(points, near, slot, 0, Role::Near, scratch);
        }
        Some(Change { slot, found, connected })
    }

    /// Connects the points of changes that found no list with room. They are hung in the tree where their walks ended, since the tree's
    /// edges are kept in full lists too; no two threads may do that at once, or they could make a circle. Where that cannot be done either
    /// another edge is given up. Returns the points that are to look for themselves again.
    fn settle_changes(&self, points: &impl Points, changes: Vec<Change>) -> Vec<u32> {
        let mut again = Vec::new();
        self.scratches.with(|scratch| {
            for Change { slot, found, connected } in changes {
                let connected = connected.or_else(|| {
                    found.iter().copied().find(|&near| {
                        again.extend(self.neighbours(near, 0));
                        !self.is_below(near, slot) && self.add_edge(points, near, slot, 0, Role::Tree, scratch)
                    })
                });
                let connected = connected.or_else(|| {
                    let &nearest = found.first()?;
                    self.displace(points, nearest, slot);
                    Some(nearest)
                });
                // A new edge also leads walks to others elsewhere.
                for near in connected.into_iter().chain([slot]) {
                    again.push(near);
                    again.extend(self.neighbours(near, 0));
                }
            }
        });
        again.sort_unstable();
        again.dedup();
        again
    }

    /// Puts a point in a full list, in the place of the farthest one that the tree does not need: no more than half of a list are children.
    fn displace(&self, points: &impl Points, from: u32, to: u32) {
        let _turn = self.turn(from);
        let mut ids: Vec<u32> = self.neighbours(from, 0).collect();
        let far = |&(_, &id): &(usize, &u32)| key(points.between(from, id), id);
        let others = ids.iter().enumerate().filter(|(_, id)| self.parent(**id) != from);
        let Some((place, &before)) = others.max_by_key(far).filter(|_| !ids.contains(&to)) else { return };
        ids[place] = to;
        self.base.write(from as usize, &ids);
        self.in_degrees[before as usize].fetch_sub(1, Ordering::Relaxed);
        self.in_degrees[to as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A point that did not find itself.
struct Change {
    slot: u32,
    /// What the walk found, the nearest first.
    found: Vec<u32>,
    /// Which of these it was connected to.
    connected: Option<u32>,
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
