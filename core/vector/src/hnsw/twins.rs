//! Embeddings that equal a point's.
//!
//! They hang on the point in a chain, linked in both directions: `twins` names the next, `parents` the one before.

use std::sync::atomic::Ordering;

use super::levels::TWIN;
use super::points::Points;
use super::pool::{key, point};
use super::{Graph, NONE};

impl Graph {
    /// Hangs a new embedding on the point that it equals, if there is one among the candidates; says whether.
    ///
    /// One that twins hang on already becomes a point.
    pub(super) fn hang_on_equal(&self, points: &impl Points, slot: u32, candidates: &[u64]) -> bool {
        if self.next_twin(slot) != NONE {
            return false;
        }
        // What is equal is as far from it as it is from itself, to the bit; under the inner product others may be nearer.
        let own = key(points.between(slot, slot), 0) >> 32;
        let as_far = candidates.iter().skip_while(|&&key| key >> 32 < own).take_while(|&&key| key >> 32 == own);
        let Some(equal) = as_far.map(|&key| point(key)).find(|&candidate| points.are_equal(slot, candidate)) else {
            return false;
        };
        self.set_level(slot, TWIN);
        self.hang(equal, slot);
        true
    }

    /// Hangs a twin on its point.
    pub(super) fn hang(&self, point: u32, twin: u32) {
        let _turn = self.turn(point);
        self.link(twin, self.next_twin(point));
        self.link(point, twin);
    }

    /// Says whether a twin hangs on no point.
    pub(super) fn is_loose(&self, twin: u32) -> bool {
        self.parent(twin) == NONE
    }

    fn link(&self, one: u32, next: u32) {
        self.twins[one as usize].store(next, Ordering::Release);
        if let Some(parent) = self.parents.get(next as usize) {
            parent.store(one, Ordering::Release);
        }
    }

    fn next_twin(&self, slot: u32) -> u32 {
        self.twins[slot as usize].load(Ordering::Acquire)
    }

    /// Returns the twins of a point.
    pub(super) fn twins_of(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        let next = |slot| Some(self.next_twin(slot)).filter(|&twin| twin != NONE);
        std::iter::successors(next(slot), move |&twin| next(twin))
    }

    /// Takes a twin out of its chain.
    pub(super) fn unlink_twin(&self, twin: u32) {
        self.link(self.parent(twin), self.next_twin(twin));
        self.forget_twin(twin);
    }

    /// Takes the first twin off a point that goes, with the rest of the chain hanging on it.
    pub(super) fn take_twins(&self, slot: u32) -> Option<u32> {
        let first = self.next_twin(slot);
        self.twins[slot as usize].store(NONE, Ordering::Release);
        (first != NONE).then_some(first)
    }

    fn forget_twin(&self, twin: u32) {
        self.twins[twin as usize].store(NONE, Ordering::Release);
        self.parents[twin as usize].store(NONE, Ordering::Release);
    }
}
