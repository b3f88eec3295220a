//! Connecting a point.

use std::sync::atomic::Ordering;

use super::points::{Points, Stored};
use super::pool::{key, point};
use super::select::choose;
use super::visited::Scratch;
use super::{Graph, NONE};
use crate::slots::Slot;

/// What an edge is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nearness; pruned when nearer ones fill the list.
    Near,
    /// The tree's edge from a parent.
    Tree,
}

impl Graph {
    /// Connects the embedding of a slot that is not in the graph; does nothing if it is.
    pub fn insert(&mut self, points: &impl Points, slot: Slot) {
        if self.contains(slot) {
            return;
        }
        self.reserve(slot.0);
        if self.len == 1 {
            self.plant(slot.0);
            return;
        }
        self.scratches.with(|scratch| self.connect(points, slot.0, scratch));
    }

    /// Makes the first point the root and the entry.
    pub(super) fn plant(&mut self, slot: u32) {
        self.root = slot;
        self.parents[slot as usize].store(slot, Ordering::Release);
        self.raise_entry(slot);
    }

    /// Makes a point the entry if it is on a higher level.
    fn raise_entry(&self, slot: u32) {
        let packed = u64::from(self.level(slot)) << 32 | u64::from(slot);
        let raise = |old: u64| (old == u64::MAX || packed >> 32 > old >> 32).then_some(packed);
        // Refused where another thread has a higher one: that is right as it is.
        self.entry.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise).ok();
    }

    /// Connects a reserved point, or hangs it on the point that it equals. Its own lists are whole before another list names it: a walk
    /// that comes to it goes on.
    pub(super) fn connect(&self, points: &impl Points, slot: u32, scratch: &mut Scratch) {
        let level = self.level(slot);
        let target = Stored { points, slot };
        let (Some(start), Some((_, top))) = (self.descend(&target, level), self.entry()) else { return };
        let mut starts = vec![start];
        let mut edges = Vec::with_capacity(usize::from(level) + 1);
        for layer in (0..=level.min(top)).rev() {
            self.walk(&target, &starts, self.ef_construction, layer, scratch);
            let Scratch { pool, keys, chosen, .. } = &mut *scratch;
            keys.clear();
            keys.extend(pool.keys().filter(|&key| point(key) != slot));
            if self.hang_on_equal(points, slot, keys) {
                return;
            }
            choose(points, keys, self.connections, |_| false, chosen);
            starts = chosen.iter().map(|&key| point(key)).collect();
            edges.push((layer, starts.clone()));
        }
        for (layer, neighbours) in &edges {
            let (lists, list) = self.list(slot, *layer);
            lists.write(list, neighbours);
        }
        for &neighbour in &starts {
            self.in_degrees[neighbour as usize].fetch_add(1, Ordering::Relaxed);
        }
        let candidates: Vec<u32> = scratch.keys.iter().map(|&key| point(key)).collect();
        self.find_parent(points, slot, &starts, &candidates, scratch);
        for (layer, neighbours) in edges.into_iter().rev() {
            for neighbour in neighbours {
                self.add_edge(points, neighbour, slot, layer, Role::Near, scratch);
            }
        }
        self.raise_entry(slot);
    }

    /// Adds an edge to a list, which is pruned if it is full; says whether a tree's edge found room.
    pub(super) fn add_edge(
        &self,
        points: &impl Points,
        from: u32,
        to: u32,
        layer: u8,
        role: Role,
        scratch: &mut Scratch,
    ) -> bool {
        let _turn = self.turn(from);
        if role == Role::Tree {
            if self.children(from).count() >= self.connections {
                return false;
            }
            self.parents[to as usize].store(from, Ordering::Release);
        }
        let (lists, list) = self.list(from, layer);
        if lists.contains(list, to) {
            return true;
        }
        if lists.push(list, to) {
            if layer == 0 {
                self.in_degrees[to as usize].fetch_add(1, Ordering::Relaxed);
            }
            return true;
        }
        let Scratch { keys, chosen, ids, .. } = scratch;
        keys.clear();
        keys.extend(lists.ids(list).chain([to]).map(|neighbour| key(points.between(from, neighbour), neighbour)));
        keys.sort_unstable();
        let is_child = |neighbour: u32| layer == 0 && self.parent(neighbour) == from;
        choose(points, keys, lists.capacity(), is_child, chosen);
        ids.clear();
        ids.extend(chosen.iter().map(|&key| point(key)));
        if layer == 0 {
            // Both are in the order of the keys.
            let mut stay = chosen.iter().peekable();
            for key in keys.iter() {
                let (neighbour, stays) = (point(*key), stay.next_if_eq(&key).is_some());
                let degree = &self.in_degrees[neighbour as usize];
                match (neighbour == to, stays) {
                    (true, true) => _ = degree.fetch_add(1, Ordering::Relaxed),
                    (false, false) => _ = degree.fetch_sub(1, Ordering::Relaxed),
                    _ => {}
                }
            }
        }
        lists.write(list, ids);
        true
    }

    /// Returns a point's children in the tree.
    pub(super) fn children(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        self.neighbours(slot, 0).filter(move |&neighbour| neighbour != slot && self.parent(neighbour) == slot)
    }

    /// Says whether a point has its place in the tree.
    pub(super) fn is_attached(&self, slot: u32) -> bool {
        self.parent(slot) != NONE
    }
}
