//! Verifying a graph, and mending one that is broken.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::insert::Role;
use super::levels::{TWIN, level_of};
use super::points::{Points, Stored};
use super::pool::point;
use super::select::choose;
use super::visited::Scratch;
use super::{Graph, NONE};

/// What is wrong with a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphFault {
    /// A list names what it may not: an empty slot, a point of lower layers, its own point, or one twice (invariant 1).
    #[error("slot {from} has a wrong edge to slot {to} on layer {layer}; repair or rebuild the graph")]
    Edge {
        /// Whose list.
        from: u32,
        /// What it names.
        to: u32,
        /// Of the list.
        layer: u8,
    },
    /// The tree's edges do not lead from the root to a point (invariant 2).
    #[error("slot {slot} cannot be reached; repair or rebuild the graph")]
    Unreachable {
        /// Of the point.
        slot: u32,
    },
    /// An in-degree that is not the number of lists that name the point (invariant 3).
    #[error("slot {slot} is named by {found} lists and {counted} were counted; repair or rebuild the graph")]
    InDegree {
        /// Of the point.
        slot: u32,
        /// Lists that name it.
        found: u32,
        /// What the graph says.
        counted: u32,
    },
    /// An entry that is not of the highest level, or none (invariant 4).
    #[error("walks begin at a wrong point; repair or rebuild the graph")]
    Entry,
    /// An embedding that is said to equal a point's hangs on none, or wrongly (invariant 5).
    #[error("slot {slot} hangs on no point; rebuild the graph")]
    Twin {
        /// Of the embedding.
        slot: u32,
    },
    /// A level that is not the one drawn for the slot.
    #[error("slot {slot} is on a wrong level; rebuild the graph")]
    Level {
        /// Of the point.
        slot: u32,
    },
}

impl Graph {
    /// Verifies the invariants of the whole graph.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), GraphFault> {
        let mut found = vec![0u32; self.levels.len()];
        for slot in self.points() {
            let level = self.level(slot);
            if level != level_of(self.seed, slot, self.connections) {
                return Err(GraphFault::Level { slot });
            }
            for layer in 0..=level {
                if let Some(to) = self.wrong_edge(slot, layer) {
                    return Err(GraphFault::Edge { from: slot, to, layer });
                }
            }
            for neighbour in self.neighbours(slot, 0) {
                found[neighbour as usize] += 1;
            }
        }
        for (slot, (&found, counted)) in (0u32..).zip(found.iter().zip(&self.in_degrees)) {
            let counted = counted.load(Ordering::Relaxed);
            if found != counted {
                return Err(GraphFault::InDegree { slot, found, counted });
            }
        }
        self.check_entry()?;
        self.check_twins()?;
        self.check_tree()
    }

    fn check_entry(&self) -> Result<(), GraphFault> {
        let highest = self.points().map(|slot| self.level(slot)).max();
        let is_right = match self.entry() {
            Some((slot, level)) => Some(level) == highest && self.is_point(slot) && self.level(slot) == level,
            None => highest.is_none(),
        };
        if is_right { Ok(()) } else { Err(GraphFault::Entry) }
    }

    fn check_twins(&self) -> Result<(), GraphFault> {
        let mut hanging = BTreeSet::new();
        for slot in self.points() {
            let mut before = slot;
            for twin in self.twins_of(slot) {
                if self.level(twin) != TWIN || self.parent(twin) != before || !hanging.insert(twin) {
                    return Err(GraphFault::Twin { slot: twin });
                }
                before = twin;
            }
        }
        let lost = self.slots().find(|slot| self.level(slot.0) == TWIN && !hanging.contains(&slot.0));
        lost.map_or(Ok(()), |slot| Err(GraphFault::Twin { slot: slot.0 }))
    }

    fn check_tree(&self) -> Result<(), GraphFault> {
        let mut reached = vec![false; self.levels.len()];
        let mut ahead: Vec<u32> =
            self.points().filter(|&slot| slot == self.root && self.parent(slot) == slot).collect();
        while let Some(slot) = ahead.pop() {
            reached[slot as usize] = true;
            ahead.extend(self.children(slot));
        }
        match self.points().find(|&slot| !reached[slot as usize]) {
            Some(slot) => Err(GraphFault::Unreachable { slot }),
            None => Ok(()),
        }
    }

    /// Returns a point that a list may not name.
    fn wrong_edge(&self, slot: u32, layer: u8) -> Option<u32> {
        let mut seen = BTreeSet::new();
        self.neighbours(slot, layer).find(|&to| !self.may_name(slot, to, layer) || !seen.insert(to))
    }

    pub(super) fn may_name(&self, from: u32, to: u32, layer: u8) -> bool {
        from != to && self.is_point(to) && self.level(to) >= layer
    }

    /// Makes the invariants true again; returns how many points could not be reached.
    pub fn repair(&mut self, points: &impl Points) -> usize {
        for slot in self.points() {
            for layer in 0..=self.level(slot) {
                if self.wrong_edge(slot, layer).is_some() {
                    let mut seen = BTreeSet::new();
                    let ids: Vec<u32> = self
                        .neighbours(slot, layer)
                        .filter(|&to| self.may_name(slot, to, layer) && seen.insert(to))
                        .collect();
                    let (lists, list) = self.list(slot, layer);
                    lists.write(list, &ids);
                }
            }
        }
        self.settle();
        let unreached = self.grow_tree();
        let this = &*self;
        self.scratches.with(|scratch| {
            for &slot in &unreached {
                let target = Stored { points, slot };
                this.walk(&target, &[this.root], this.ef_construction, 0, scratch);
                let Scratch { pool, keys, chosen, .. } = &mut *scratch;
                keys.clear();
                keys.extend(pool.keys().filter(|&key| point(key) != slot));
                choose(points, keys, this.connections, |_| false, chosen);
                let others: Vec<u32> = keys.iter().map(|&key| point(key)).collect();
                let near: Vec<u32> = chosen.iter().map(|&key| point(key)).collect();
                if !this.is_attached(slot) {
                    this.find_parent(points, slot, &near, &others, scratch);
                    this.claim_from(slot);
                }
                for from in near {
                    this.add_edge(points, from, slot, 0, Role::Near, scratch);
                }
            }
        });
        unreached.len()
    }

    /// Counts the in-degrees and finds the entry, which becomes the root.
    pub(super) fn settle(&mut self) {
        for degree in &mut self.in_degrees {
            *degree.get_mut() = 0;
        }
        self.len = self.slots().count();
        let mut highest: Option<u32> = None;
        for slot in self.points().collect::<Vec<_>>() {
            for neighbour in self.base.ids(slot as usize) {
                *self.in_degrees[neighbour as usize].get_mut() += 1;
            }
            if highest.is_none_or(|highest| self.level(slot) > self.level(highest)) {
                highest = Some(slot);
            }
        }
        self.root = highest.unwrap_or(NONE);
        *self.entry.get_mut() = highest.map_or(u64::MAX, |slot| u64::from(self.level(slot)) << 32 | u64::from(slot));
    }
}
