//! What a graph asks of the embeddings that it connects.

use crate::codes::PreparedQuery;
use crate::slots::Slot;
use crate::store::EmbeddingStore;

/// Embeddings by slot. Distances need only have the right order: smaller is nearer.
pub trait Points: Sync {
    /// Returns how far two embeddings are apart; the same in both directions, to the bit.
    fn between(&self, one: u32, other: u32) -> f32;

    /// Says whether two embeddings are the same to the graph.
    fn are_equal(&self, one: u32, other: u32) -> bool;

    /// Brings an embedding towards the cache.
    fn prefetch(&self, slot: u32);
}

/// Where a walk goes: a question, or a stored embedding.
pub trait Target {
    /// Returns how far an embedding is away.
    fn distance(&self, slot: u32) -> f32;

    /// Brings an embedding towards the cache.
    fn prefetch(&self, slot: u32);
}

/// A stored embedding as the target.
pub(super) struct Stored<'a, P> {
    pub points: &'a P,
    pub slot: u32,
}

impl<P: Points> Target for Stored<'_, P> {
    fn distance(&self, slot: u32) -> f32 {
        self.points.between(self.slot, slot)
    }

    fn prefetch(&self, slot: u32) {
        self.points.prefetch(slot);
    }
}

impl Points for EmbeddingStore {
    #[inline]
    fn between(&self, one: u32, other: u32) -> f32 {
        self.estimate_between(Slot(one), Slot(other))
    }

    fn are_equal(&self, one: u32, other: u32) -> bool {
        Self::are_equal(self, Slot(one), Slot(other))
    }

    #[inline]
    fn prefetch(&self, slot: u32) {
        Self::prefetch(self, Slot(slot));
    }
}

/// A question to a store as the target.
pub struct Question<'a> {
    /// Where the embeddings are.
    pub store: &'a EmbeddingStore,
    /// What is asked.
    pub query: &'a PreparedQuery,
}

impl Target for Question<'_> {
    #[inline]
    fn distance(&self, slot: u32) -> f32 {
        self.store.estimate(self.query, Slot(slot))
    }

    #[inline]
    fn prefetch(&self, slot: u32) {
        self.store.prefetch(Slot(slot));
    }
}
