//! Walks through the graph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Graph;
use super::points::Target;
use super::pool::{key, point};
use super::visited::Scratch;
use crate::slots::Slot;

impl Graph {
    /// Returns about the `ef` slots nearest to a target, the nearest first; all of them if there are no more than `ef`, since the walk
    /// also begins at the root.
    pub fn search(&self, target: &impl Target, ef: usize) -> Vec<Slot> {
        let Some(start) = self.descend(target, 0) else { return Vec::new() };
        self.scratches.with(|scratch| {
            self.walk(target, &[start, self.root], ef, 0, scratch);
            let found = scratch.pool.keys().map(point);
            found.flat_map(|found| [found].into_iter().chain(self.twins_of(found))).take(ef).map(Slot).collect()
        })
    }

    /// Returns about the `ef` allowed slots nearest to a target, the nearest first; `None` if more of them had to be looked at than the
    /// budget says.
    pub fn search_allowed(
        &self,
        target: &impl Target,
        ef: usize,
        is_allowed: impl Fn(Slot) -> bool,
        budget: usize,
    ) -> Option<Vec<Slot>> {
        let Some(start) = self.descend(target, 0) else { return Some(Vec::new()) };
        self.scratches.with(|scratch| {
            scratch.begin(self.levels.len());
            let Scratch { visited, fresh, pool, .. } = scratch;
            pool.begin(ef);
            let mut spent = 0;
            let mut ahead = BinaryHeap::new();
            fresh.clear();
            fresh.extend([start, self.root].into_iter().filter(|&start| visited.insert(start)));
            loop {
                spent += fresh.len();
                for &found in &*fresh {
                    let distance = target.distance(found);
                    let key = key(distance, found);
                    if pool.wants(key) {
                        ahead.push(Reverse(key));
                        if is_allowed(Slot(found)) {
                            pool.offer(distance, found);
                        }
                        for twin in self.twins_of(found).take(budget) {
                            spent += 1;
                            if is_allowed(Slot(twin)) {
                                pool.offer(distance, twin);
                            }
                        }
                    }
                }
                if spent > budget {
                    return None;
                }
                let Some(Reverse(nearest)) = ahead.pop() else { break };
                if pool.is_beyond(nearest) {
                    break;
                }
                fresh.clear();
                for neighbour in self.neighbours(point(nearest), 0) {
                    if visited.insert(neighbour) {
                        target.prefetch(neighbour);
                        fresh.push(neighbour);
                    }
                }
            }
            Some(pool.keys().map(|key| Slot(point(key))).collect())
        })
    }

    /// Returns the point nearest to the target, as far as the layers above one show.
    pub(super) fn descend(&self, target: &impl Target, above: u8) -> Option<u32> {
        let (mut nearest, top) = self.entry()?;
        if top <= above {
            return Some(nearest);
        }
        let mut distance = target.distance(nearest);
        for layer in (above + 1..=top).rev() {
            loop {
                let here = nearest;
                for neighbour in self.neighbours(here, layer) {
                    target.prefetch(neighbour);
                }
                for neighbour in self.neighbours(here, layer) {
                    let found = target.distance(neighbour);
                    if found < distance {
                        (nearest, distance) = (neighbour, found);
                    }
                }
                if nearest == here {
                    break;
                }
            }
        }
        Some(nearest)
    }

    /// Fills the scratch's pool with about the `ef` points of a layer nearest to the target.
    pub(super) fn walk(&self, target: &impl Target, starts: &[u32], ef: usize, layer: u8, scratch: &mut Scratch) {
        self.walk_until(target, starts, ef, layer, |_| false, scratch);
    }

    /// Does the same, but ends as soon as it comes to a point that is looked for; says whether it did.
    pub(super) fn walk_until(
        &self,
        target: &impl Target,
        starts: &[u32],
        ef: usize,
        layer: u8,
        is_end: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) -> bool {
        scratch.begin(self.levels.len());
        let Scratch { visited, fresh, pool, .. } = scratch;
        pool.begin(ef);
        for &start in starts {
            if is_end(start) {
                return true;
            }
            if visited.insert(start) {
                pool.offer(target.distance(start), start);
            }
        }
        while let Some(nearest) = pool.expand() {
            fresh.clear();
            for neighbour in self.neighbours(nearest, layer) {
                if is_end(neighbour) {
                    return true;
                }
                if visited.insert(neighbour) {
                    target.prefetch(neighbour);
                    fresh.push(neighbour);
                }
            }
            for &found in &*fresh {
                if pool.offer(target.distance(found), found) {
                    // One of the next to be expanded.
                    self.prefetch_list(found, layer);
                }
            }
        }
        false
    }
}
