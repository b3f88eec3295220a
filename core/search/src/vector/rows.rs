//! Rows in an index: their embeddings, their keys, and those that were left out.

use std::collections::BTreeMap;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Query};
use kithdb_vector::slots::{Slot, SlotSet};
use kithdb_vector::snapshot::Keys;
use kithdb_vector::tiered::{BuildJob, BuiltGraph, TieredIndex, Way};

use super::content::Found;
use super::keys::{Key, KeyMap};
use super::memory::Bound;

/// What a left-out row takes, about: its key and a reason that is not kept, in a tree that is two thirds full.
const REFUSED_BYTES: usize = size_of::<(Key, Option<String>)>() * 3 / 2;
/// Left-out rows of which the reason is kept; of the others only the number.
const REASONS_MAX: usize = 1000;

/// Rows that were left out, with the reasons as far as they are kept.
pub(super) type Refused = BTreeMap<Key, Option<String>>;

/// See the module.
pub(super) struct Rows {
    index: TieredIndex,
    keys: KeyMap,
    refused: Refused,
    /// `None` where memory is not bounded.
    bound: Option<Bound>,
}

/// A row and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Near {
    pub(super) key: Key,
    pub(super) distance: f32,
}

impl Rows {
    pub(super) fn new(index: TieredIndex, bound: Option<Bound>) -> Self {
        Self { index, keys: KeyMap::default(), refused: BTreeMap::new(), bound }
    }

    /// Takes over what was saved.
    pub(super) fn of_saved(index: TieredIndex, keys: KeyMap, refused: Refused, bound: Option<Bound>) -> Self {
        let mut rows = Self { index, keys, refused, bound };
        rows.keep_within();
        rows
    }

    /// Returns the keys in the order of their slots, as they are saved.
    pub(super) fn saved_keys(&self) -> Keys {
        self.keys.to_saved()
    }

    /// Says whether the keys are integers.
    pub(super) fn has_integer_keys(&self) -> bool {
        matches!(self.keys.used().next().and_then(|slot| self.keys.key(slot)), Some(Key::Integer(_)))
    }

    /// Gives a row its place before it is put there.
    pub(super) fn place(&mut self, key: &Key) {
        self.keys.claim(key);
    }

    /// Makes the index hold what a row holds now.
    pub(super) fn put(&mut self, key: &Key, found: Found) {
        self.refused.remove(key);
        let refusal = match found {
            Found::Nothing => {
                self.remove(key);
                return;
            }
            Found::Embedding(embedding) => {
                let slot = self.keys.claim(key);
                match self.index.insert(slot, &embedding) {
                    Ok(()) => return self.keep_within(),
                    Err(error) => error.to_string(),
                }
            }
            Found::Refused(reason) => reason,
        };
        self.remove(key);
        let reason = (self.refused.len() < REASONS_MAX).then_some(refusal);
        self.refused.insert(key.clone(), reason);
    }

    /// Takes a row out, of which it is no longer known either why it was left out.
    pub(super) fn remove(&mut self, key: &Key) {
        self.refused.remove(key);
        if let Some(slot) = self.keys.release(key) {
            self.index.remove(slot);
        }
    }

    /// Returns the keys of all rows, those that were left out among them.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.used().filter_map(|slot| self.keys.key(slot)).chain(self.refused.keys())
    }

    /// Returns how many slots there are, in use or not.
    pub(super) const fn slots(&self) -> usize {
        self.keys.len()
    }

    /// Returns the keys in a range of slots.
    pub(super) fn keys_in(&self, slots: std::ops::Range<usize>) -> impl Iterator<Item = &Key> {
        slots.filter_map(|slot| self.keys.key(Slot(u32::try_from(slot).ok()?)))
    }

    /// Says whether a row is in the index.
    pub(super) fn slot(&self, key: &Key) -> Option<Slot> {
        self.keys.slot(key)
    }

    /// Returns the slots of the rows whose key is such.
    pub(super) fn slots_where<'r>(&'r self, is_such: impl Fn(&Key) -> bool + 'r) -> impl Iterator<Item = Slot> + 'r {
        self.keys.used().filter(move |&slot| self.keys.key(slot).is_some_and(&is_such))
    }

    /// Returns the slots of all rows but some.
    pub(super) fn all_but(&self, left_out: &SlotSet) -> SlotSet {
        self.keys.used().filter(|slot| !left_out.contains(*slot)).collect()
    }

    /// Returns the rows nearest to a query, and how they were found.
    pub(super) fn search(&self, query: &Query<'_>) -> Result<(Vec<Near>, Way), EmbeddingError> {
        let near = |slot: Slot, distance| self.keys.key(slot).map(|key| Near { key: key.clone(), distance });
        let (answers, way) = self.index.search_by(query)?;
        Ok((answers.into_iter().filter_map(|answer| near(answer.slot, answer.distance)).collect(), way))
    }

    pub(super) const fn index(&self) -> &TieredIndex {
        &self.index
    }

    pub(super) const fn index_mut(&mut self) -> &mut TieredIndex {
        &mut self.index
    }

    /// Returns the rows that were left out, with the reasons as far as they are kept.
    pub(super) const fn refused(&self) -> &Refused {
        &self.refused
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.key_bytes()
    }

    /// Returns the bytes of memory that the keys take, by estimate, with those of left-out rows.
    fn key_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.refused.len() * REFUSED_BYTES
    }

    /// Returns the bound on the memory, if there is one.
    pub(super) const fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Moves embeddings to a file where the memory has come near its bound.
    pub(super) fn keep_within(&mut self) {
        let key_bytes = self.key_bytes();
        if let Some(bound) = &mut self.bound {
            bound.keep(&mut self.index, key_bytes);
        }
    }

    /// Says whether a graph should be built now, and may be.
    pub(super) fn is_build_due(&self) -> bool {
        self.index.is_build_due() && self.has_room_for_graph()
    }

    /// Says whether a graph of all rows fits the bound.
    pub(super) fn has_room_for_graph(&self) -> bool {
        self.bound.as_ref().is_none_or(|bound| bound.has_room_for_graph(&self.index, self.key_bytes()))
    }

    /// Returns what is to build the graph, if that is due, with room for it made.
    pub(super) fn build_job(&mut self) -> Option<BuildJob> {
        if !self.index.is_build_due() {
            return None;
        }
        if !self.has_room_for_graph() {
            // What there is of one is not worth bringing forward.
            self.index.forget_graph();
            return None;
        }
        if let Some(bound) = &mut self.bound {
            bound.expect_graph(&self.index);
        }
        self.keep_within();
        self.index.build_job()
    }

    /// Takes what came of a build; says whether it is searched from now on.
    pub(super) fn install(&mut self, built: Option<BuiltGraph>) -> bool {
        if let Some(bound) = &mut self.bound {
            bound.expect_nothing();
        }
        let is_installed = built.is_some_and(|built| self.index.install(built));
        self.keep_within();
        is_installed
    }

    /// Says why the memory is not what was asked for, or why there is no graph.
    pub(super) fn memory_problem(&self) -> Option<String> {
        self.bound.as_ref()?.problem(&self.index, self.key_bytes())
    }
}
