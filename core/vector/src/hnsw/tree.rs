//! The tree that keeps every point reachable.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::insert::Role;
use super::points::Points;
use super::pool::{key, point};
use super::visited::Scratch;
use super::{Graph, NONE};

/// Steps towards the root after which a point is taken for unanchored; only embeddings inserted in the order of a line make deeper
/// trees, and then another parent does as well.
const DEPTH_MAX: usize = 4096;

impl Graph {
    /// Gives a new point its parent: the nearest that is in the tree and has room. Only points that are attached already serve, so
    /// that threads which insert at once make no circle.
    pub(super) fn find_parent(
        &self,
        points: &impl Points,
        slot: u32,
        chosen: &[u32],
        others: &[u32],
        scratch: &mut Scratch,
    ) {
        for &parent in chosen.iter().chain(others) {
            if self.is_attached(parent) && self.add_edge(points, parent, slot, 0, Role::Tree, scratch) {
                return;
            }
        }
        self.attach_anywhere(points, slot, scratch);
    }

    /// Says whether the tree's edges lead from the root to a point.
    fn is_anchored(&self, mut slot: u32) -> bool {
        for _ in 0..DEPTH_MAX {
            match self.parent(slot) {
                NONE => return false,
                parent if parent == slot => return slot == self.root,
                parent => slot = parent,
            }
        }
        false
    }

    /// Says whether a point hangs on another in the tree, or is it, or is too deep to tell.
    pub(super) fn is_below(&self, mut slot: u32, other: u32) -> bool {
        for _ in 0..DEPTH_MAX {
            if slot == other {
                return true;
            }
            match self.parent(slot) {
                parent if parent == slot || parent == NONE => return false,
                parent => slot = parent,
            }
        }
        true
    }

    /// Puts a point under the first one below the root that has room: a leaf has, so there is always one.
    fn attach_anywhere(&self, points: &impl Points, slot: u32, scratch: &mut Scratch) {
        let mut ahead = VecDeque::from([self.root]);
        while let Some(parent) = ahead.pop_front() {
            if parent != slot && self.add_edge(points, parent, slot, 0, Role::Tree, scratch) {
                return;
            }
            ahead.extend(self.children(parent));
        }
    }

    /// Gives parents to points that lost theirs, each with all that hangs on it.
    ///
    /// A point below an orphan is not anchored, so no circle is made.
    pub(super) fn adopt(&self, points: &impl Points, mut orphans: Vec<u32>, scratch: &mut Scratch) {
        loop {
            let before = orphans.len();
            orphans.retain(|&orphan| !self.adopt_near(points, orphan, scratch));
            if orphans.len() == before {
                break;
            }
        }
        for orphan in orphans {
            self.attach_anywhere(points, orphan, scratch);
        }
    }

    /// Puts an orphan under the nearest anchored point of its surroundings that has room, if there is one.
    fn adopt_near(&self, points: &impl Points, orphan: u32, scratch: &mut Scratch) -> bool {
        let mut near: Vec<u64> = self
            .neighbours(orphan, 0)
            .flat_map(|neighbour| [neighbour].into_iter().chain(self.neighbours(neighbour, 0)))
            .filter(|&candidate| candidate != orphan && self.is_point(candidate))
            .map(|candidate| key(points.between(orphan, candidate), candidate))
            .collect();
        near.sort_unstable();
        near.dedup();
        near.into_iter()
            .map(point)
            .any(|parent| self.is_anchored(parent) && self.add_edge(points, parent, orphan, 0, Role::Tree, scratch))
    }

    /// Takes a point out of the tree; returns the children that it leaves behind.
    pub(super) fn detach(&self, slot: u32) -> Vec<u32> {
        let children: Vec<u32> = self.children(slot).collect();
        for &child in &children {
            self.parents[child as usize].store(NONE, Ordering::Release);
        }
        self.parents[slot as usize].store(NONE, Ordering::Release);
        children
    }

    /// Makes a tree anew out of the edges of layer 0, from the root on; returns the points that they do not reach.
    pub(super) fn grow_tree(&self) -> Vec<u32> {
        for slot in self.points() {
            self.parents[slot as usize].store(NONE, Ordering::Release);
        }
        if self.root == NONE {
            return self.points().collect();
        }
        self.parents[self.root as usize].store(self.root, Ordering::Release);
        self.claim_from(self.root);
        self.points().filter(|&slot| !self.is_attached(slot)).collect()
    }

    /// Grows the tree from the root, or, if that does not reach all, from the one point that may; returns the points that were not reached.
    ///
    /// The root that a graph had when it was saved is not known, and need not be named by any list: nothing else reaches it then. Of
    /// points that searches begin at one after the other, each for what is left, the last is the only one that can reach all others.
    pub(super) fn find_root(&mut self) -> Vec<u32> {
        let unreached = self.grow_tree();
        let mut last = None;
        for slot in unreached {
            if !self.is_attached(slot) {
                self.parents[slot as usize].store(slot, Ordering::Release);
                self.claim_from(slot);
                last = Some(slot);
            }
        }
        let Some(last) = last else { return Vec::new() };
        self.root = last;
        self.grow_tree()
    }

    /// Makes a point the parent of what only it reaches, and so on.
    pub(super) fn claim_from(&self, slot: u32) {
        let mut ahead = VecDeque::from([slot]);
        while let Some(parent) = ahead.pop_front() {
            for child in self.neighbours(parent, 0) {
                if !self.is_attached(child) {
                    self.parents[child as usize].store(parent, Ordering::Release);
                    ahead.push_back(child);
                }
            }
        }
    }
}
