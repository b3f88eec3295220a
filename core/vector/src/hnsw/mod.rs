//! A graph of near neighbours: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
//! Navigable Small World graphs" (arXiv 1603.09320), in flat arrays, with deletes.
//!
//! Beside the paper's layers there is a tree on layer 0: every point but the root has a parent, whose list keeps the edge to it
//! whatever else is pruned. So no prune and no delete can strand a point. An embedding that equals a point's is no point of its own
//! but hangs on that one as its twin: thousands of copies neither fill the lists nor hide what lies behind them.
//!
//! Invariants, which [`Graph::check`] verifies:
//! 1. A list names present points of its layer, none twice, never its own point.
//! 2. Every point is reached from the root by edges of layer 0; the tree's edges alone suffice.
//! 3. The in-degree of a point is the number of layer-0 lists that name it, so that a delete knows when it has found them all.
//! 4. The entry is a point of the highest level.
//! 5. Every twin is in the chain of one point.

mod build;
mod check;
mod insert;
mod levels;
mod lists;
mod points;
mod pool;
mod remove;
mod save;
mod select;
#[cfg(test)]
mod tests;
mod tree;
mod twins;
mod visited;
mod walk;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use build::Progress;
pub use check::GraphFault;
pub use points::{Points, Question, Target};
pub use save::GraphSections;

use crate::index::IndexOptions;
use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_MIN, EF_CONSTRUCTION_MAX};
use crate::slots::Slot;
use levels::{ABSENT, TWIN, level_of};
use lists::{Lists, copied, make_room};
use visited::Scratches;

/// No point.
const NONE: u32 = u32::MAX;
/// Locks of the lists; a list's is found by its slot.
const LOCKS: usize = 1024;

/// The graph. It holds no embedding: those come with each call as [`Points`], which must still be the ones it was built from.
///
/// Searches may run on several threads at once.
pub struct Graph {
    connections: usize,
    ef_construction: usize,
    seed: u64,
    base: Lists,
    upper: Lists,
    /// The first upper list of each slot, kept for its whole life.
    upper_starts: Vec<u32>,
    /// The highest layer of each slot's point, or [`TWIN`] or [`ABSENT`].
    levels: Vec<AtomicU8>,
    /// The tree's parent of each point, the root is its own; of a twin the one before it in the chain.
    parents: Vec<AtomicU32>,
    /// The next twin of each point and twin.
    twins: Vec<AtomicU32>,
    in_degrees: Vec<AtomicU32>,
    /// The entry's level and slot, or none as [`u64::MAX`].
    entry: AtomicU64,
    root: u32,
    len: usize,
    locks: Box<[Mutex<()>]>,
    scratches: Scratches,
}

/// Copies every list: some milliseconds for 100,000 points.
impl Clone for Graph {
    fn clone(&self) -> Self {
        Self {
            connections: self.connections,
            ef_construction: self.ef_construction,
            seed: self.seed,
            base: self.base.clone(),
            upper: self.upper.clone(),
            upper_starts: self.upper_starts.clone(),
            levels: self.levels.iter().map(|level| AtomicU8::new(level.load(Ordering::Relaxed))).collect(),
            parents: copied(&self.parents),
            twins: copied(&self.twins),
            in_degrees: copied(&self.in_degrees),
            entry: AtomicU64::new(self.entry.load(Ordering::Relaxed)),
            root: self.root,
            len: self.len,
            locks: locks(),
            scratches: Scratches::default(),
        }
    }
}

fn locks() -> Box<[Mutex<()>]> {
    (0..LOCKS).map(|_| Mutex::default()).collect()
}

/// Brings the options of a graph into their ranges.
pub(crate) fn clamped(options: IndexOptions) -> IndexOptions {
    let connections = options.connections.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
    let ef_construction = options.ef_construction.clamp(connections, EF_CONSTRUCTION_MAX);
    IndexOptions { connections, ef_construction, ..options }
}

impl Graph {
    /// Makes an empty graph. Options out of range are brought into it.
    pub fn new(options: &IndexOptions) -> Self {
        let IndexOptions { connections, ef_construction, .. } = clamped(options.clone());
        Self {
            connections,
            ef_construction,
            seed: options.seed,
            base: Lists::new(connections * 2),
            upper: Lists::new(connections),
            upper_starts: Vec::new(),
            levels: Vec::new(),
            parents: Vec::new(),
            twins: Vec::new(),
            in_degrees: Vec::new(),
            entry: AtomicU64::new(u64::MAX),
            root: NONE,
            len: 0,
            locks: locks(),
            scratches: Scratches::default(),
        }
    }

    /// Returns the number of embeddings.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether there is no embedding.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says whether a slot's embedding is in the graph.
    pub fn contains(&self, slot: Slot) -> bool {
        self.level(slot.0) != ABSENT
    }

    /// Returns the slots of the embeddings, ascending.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        (0u32..)
            .zip(&self.levels)
            .filter(|(_, level)| level.load(Ordering::Relaxed) != ABSENT)
            .map(|(slot, _)| Slot(slot))
    }

    /// Returns the bytes of memory that a graph of so many slots takes about, while it is built and after.
    pub fn memory_bytes_of(options: &IndexOptions, slots: usize) -> usize {
        let IndexOptions { connections, .. } = clamped(options.clone());
        // Beside its lists a slot has four words, its level, and a mark in each of two walks. Each layer has `connections` times fewer
        // points than the one below, and the array of the upper lists may have an eighth more room than there are.
        let each = (2 * connections + 1 + 4) * size_of::<u32>() + 3;
        let upper = slots / (connections - 1) + slots / (8 * (connections - 1)) + 64;
        slots * each + upper * (connections + 1) * size_of::<u32>()
    }

    /// Returns the bytes of memory that the graph holds.
    pub fn memory_bytes(&self) -> usize {
        self.base.bytes()
            + self.upper.bytes()
            + (self.upper_starts.capacity()
                + self.parents.capacity()
                + self.twins.capacity()
                + self.in_degrees.capacity())
                * size_of::<u32>()
            + self.levels.capacity()
            + self.scratches.bytes()
    }

    fn level(&self, slot: u32) -> u8 {
        self.levels.get(slot as usize).map_or(ABSENT, |level| level.load(Ordering::Relaxed))
    }

    fn set_level(&self, slot: u32, level: u8) {
        self.levels[slot as usize].store(level, Ordering::Relaxed);
    }

    /// Says whether a slot has a point, with lists.
    fn is_point(&self, slot: u32) -> bool {
        self.level(slot) < TWIN
    }

    fn points(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.levels).filter(|(_, level)| level.load(Ordering::Relaxed) < TWIN).map(|(slot, _)| slot)
    }

    /// Returns the point where walks begin, and its level.
    fn entry(&self) -> Option<(u32, u8)> {
        let packed = self.entry.load(Ordering::Acquire);
        (packed != u64::MAX).then_some((packed as u32, (packed >> 32) as u8))
    }

    /// Returns the array and the number of a point's list.
    fn list(&self, slot: u32, layer: u8) -> (&Lists, usize) {
        match layer {
            0 => (&self.base, slot as usize),
            _ => (&self.upper, self.upper_starts[slot as usize] as usize + usize::from(layer) - 1),
        }
    }

    fn neighbours(&self, slot: u32, layer: u8) -> impl ExactSizeIterator<Item = u32> + '_ {
        let (lists, list) = self.list(slot, layer);
        lists.ids(list)
    }

    /// Brings a point's list towards the cache.
    #[inline]
    fn prefetch_list(&self, slot: u32, layer: u8) {
        let (lists, list) = self.list(slot, layer);
        lists.prefetch(list);
    }

    fn parent(&self, slot: u32) -> u32 {
        self.parents[slot as usize].load(Ordering::Acquire)
    }

    /// Waits for the turn to change a point's lists.
    fn turn(&self, slot: u32) -> MutexGuard<'_, ()> {
        self.locks[slot as usize % LOCKS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for so many slots.
    fn make_room(&mut self, slots: usize) {
        if self.levels.len() < slots {
            make_room(&mut self.levels, slots);
            make_room(&mut self.upper_starts, slots);
            make_room(&mut self.parents, slots);
            make_room(&mut self.twins, slots);
            make_room(&mut self.in_degrees, slots);
            self.levels.resize_with(slots, || AtomicU8::new(ABSENT));
            self.upper_starts.resize(slots, NONE);
            self.parents.resize_with(slots, || AtomicU32::new(NONE));
            self.twins.resize_with(slots, || AtomicU32::new(NONE));
            self.in_degrees.resize_with(slots, AtomicU32::default);
            self.base.grow(slots);
        }
    }

    /// Makes room for a slot and gives it its level; it has no edge yet.
    fn reserve(&mut self, slot: u32) {
        self.make_room(slot as usize + 1);
        let level = level_of(self.seed, slot, self.connections);
        if level > 0 && self.upper_starts[slot as usize] == NONE {
            let start = self.upper.count();
            self.upper_starts[slot as usize] = start as u32;
            self.upper.grow(start + usize::from(level));
        }
        self.set_level(slot, level);
        self.len += 1;
    }
}
