//! Taking points out, with the lists that named them mended.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;

use super::levels::{ABSENT, TWIN, level_of};
use super::points::Points;
use super::pool::{key, point};
use super::select::is_occluded;
use super::visited::Scratch;
use super::{Graph, NONE};
use crate::slots::Slot;

/// Points removed at once, at most, whose in-neighbours are looked for around them; for more the whole array is read once.
const FEW: usize = 8;
/// Points beyond removed ones, at most, that a list is mended from.
const BEYOND_MAX: usize = 128;

impl Graph {
    /// Takes points out. Their embeddings are not looked at, those of the others are.
    ///
    /// Every list that named one gets the neighbours beyond it that the heuristic of the insert would take, so that recall stays what
    /// it was under any number of removals. Many at once cost far less than one by one.
    pub fn remove(&mut self, points: &impl Points, slots: &[Slot]) {
        let mut gone = BTreeSet::new();
        for &Slot(slot) in slots {
            match self.level(slot) {
                ABSENT => {}
                TWIN => {
                    self.unlink_twin(slot);
                    self.set_level(slot, ABSENT);
                    self.len -= 1;
                }
                _ => _ = gone.insert(slot),
            }
        }
        if gone.is_empty() {
            return;
        }
        let heirs: Vec<u32> = gone.iter().filter_map(|&slot| self.take_twins(slot)).collect();
        self.remove_points(points, &gone);
        for heir in heirs {
            self.set_level(heir, level_of(self.seed, heir, self.connections));
            if self.root == NONE {
                self.plant(heir);
            } else {
                self.parents[heir as usize].store(NONE, Ordering::Release);
                self.scratches.with(|scratch| self.connect(points, heir, scratch));
            }
        }
    }

    fn remove_points(&mut self, points: &impl Points, gone: &BTreeSet<u32>) {
        let had_upper = gone.iter().any(|&slot| self.level(slot) > 0);
        let mut torn = self.named_by(gone);
        let mut levels = Vec::with_capacity(gone.len());
        for &slot in gone {
            levels.push(self.level(slot));
            self.set_level(slot, ABSENT);
        }
        torn.retain(|&slot| self.is_point(slot));
        self.len -= gone.len();

        let mut orphans: Vec<u32> = gone.iter().flat_map(|&slot| self.detach(slot)).collect();
        orphans.retain(|&slot| self.is_point(slot));
        if gone.contains(&self.root) {
            self.root = orphans.pop().unwrap_or(NONE);
            if let Some(parent) = self.parents.get(self.root as usize) {
                parent.store(self.root, Ordering::Release);
            }
        }
        self.scratches.with(|scratch| {
            for slot in torn {
                self.mend(points, slot, 0, scratch);
            }
            if had_upper {
                self.mend_upper(points, scratch);
            }
            for (&slot, level) in gone.iter().zip(levels) {
                self.clear(slot, level);
            }
            for &slot in gone {
                self.in_degrees[slot as usize].store(0, Ordering::Relaxed);
            }
            self.adopt(points, orphans, scratch);
        });
        if self.entry().is_some_and(|(slot, _)| gone.contains(&slot)) {
            let highest = self.points().max_by_key(|&slot| self.level(slot));
            let packed = highest.map_or(u64::MAX, |slot| u64::from(self.level(slot)) << 32 | u64::from(slot));
            self.entry.store(packed, Ordering::Release);
        }
    }

    /// Returns the points whose layer-0 lists name one of these.
    fn named_by(&self, gone: &BTreeSet<u32>) -> BTreeSet<u32> {
        if gone.len() > FEW {
            return self.points().filter(|&slot| self.neighbours(slot, 0).any(|named| gone.contains(&named))).collect();
        }
        gone.iter().flat_map(|&slot| self.in_neighbours(slot)).collect()
    }

    /// Returns the points whose layer-0 lists name one: most are near it, and the in-degree says when none is missing.
    fn in_neighbours(&self, slot: u32) -> BTreeSet<u32> {
        let degree = self.in_degrees[slot as usize].load(Ordering::Relaxed) as usize;
        let names = |&near: &u32| self.base.contains(near as usize, slot);
        let mut found = BTreeSet::new();
        for near in self.neighbours(slot, 0) {
            found.extend([near].iter().filter(|near| names(near)));
        }
        for near in self.neighbours(slot, 0) {
            if found.len() == degree {
                return found;
            }
            found.extend(self.neighbours(near, 0).filter(names));
        }
        if found.len() < degree {
            found.extend(self.points().filter(names));
        }
        found
    }

    /// Takes absent points out of a list and connects to what lies beyond them.
    fn mend(&self, points: &impl Points, slot: u32, layer: u8, scratch: &mut Scratch) {
        let (lists, list) = self.list(slot, layer);
        let (mut stay, gone): (Vec<u32>, Vec<u32>) = lists.ids(list).partition(|&neighbour| self.is_point(neighbour));
        if gone.is_empty() {
            return;
        }
        scratch.begin(self.levels.len());
        let Scratch { visited, keys, chosen, .. } = scratch;
        visited.insert(slot);
        for &neighbour in stay.iter().chain(&gone) {
            visited.insert(neighbour);
        }
        keys.clear();
        let mut ahead = VecDeque::from(gone);
        while let Some(absent) = ahead.pop_front() {
            for beyond in self.neighbours(absent, layer) {
                if keys.len() >= BEYOND_MAX || !visited.insert(beyond) {
                    continue;
                }
                if self.is_point(beyond) {
                    points.prefetch(beyond);
                    keys.push(key(0.0, beyond));
                } else {
                    ahead.push_back(beyond);
                }
            }
        }
        for candidate in keys.iter_mut() {
            *candidate = key(points.between(slot, point(*candidate)), point(*candidate));
        }
        keys.sort_unstable();
        chosen.clear();
        chosen.extend(stay.iter().map(|&neighbour| key(points.between(slot, neighbour), neighbour)));
        for &candidate in keys.iter() {
            if stay.len() == lists.capacity() {
                break;
            }
            if !is_occluded(points, candidate, chosen) {
                chosen.push(candidate);
                stay.push(point(candidate));
                if layer == 0 {
                    self.in_degrees[point(candidate) as usize].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        lists.write(list, &stay);
    }

    fn mend_upper(&self, points: &impl Points, scratch: &mut Scratch) {
        for slot in self.points() {
            for layer in 1..=self.level(slot) {
                self.mend(points, slot, layer, scratch);
            }
        }
    }

    /// Empties the lists of a point that is out.
    fn clear(&self, slot: u32, level: u8) {
        for neighbour in self.neighbours(slot, 0) {
            self.in_degrees[neighbour as usize].fetch_sub(1, Ordering::Relaxed);
        }
        for layer in 0..=level {
            let (lists, list) = self.list(slot, layer);
            lists.write(list, &[]);
        }
    }
}
