//! Neighbour lists of fixed stride in one flat array: a count, then the ids.
//!
//! The words are atomic so that threads which build a graph may read a list while another changes it: a reader may see ids of the
//! old and of the new list together, each of which is a point. Writers take turns by the graph's locks. A plain load and a relaxed
//! one are the same instruction on the usual processors.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::distance::prefetch;

pub(super) struct Lists {
    stride: usize,
    words: Vec<AtomicU32>,
}

/// Makes room for so many elements: an eighth more when it has to move, since doubling would leave up to half of a graph unused.
pub(super) fn make_room<T>(kept: &mut Vec<T>, wanted: usize) {
    if wanted > kept.capacity() {
        let beyond = kept.capacity() / 8;
        kept.reserve_exact((wanted + beyond).saturating_sub(kept.len()));
    }
}

/// Copies what no other thread is writing to.
pub(super) fn copied(words: &[AtomicU32]) -> Vec<AtomicU32> {
    words.iter().map(|word| AtomicU32::new(word.load(Ordering::Relaxed))).collect()
}

impl Clone for Lists {
    fn clone(&self) -> Self {
        Self { stride: self.stride, words: copied(&self.words) }
    }
}

impl Lists {
    pub fn new(capacity: usize) -> Self {
        Self { stride: capacity + 1, words: Vec::new() }
    }

    /// Returns how many ids a list holds at most.
    pub fn capacity(&self) -> usize {
        self.stride - 1
    }

    /// Returns the number of lists.
    pub fn count(&self) -> usize {
        self.words.len() / self.stride
    }

    /// Adds empty lists up to a number of them.
    pub fn grow(&mut self, lists: usize) {
        if lists > self.count() {
            make_room(&mut self.words, lists * self.stride);
            self.words.resize_with(lists * self.stride, AtomicU32::default);
        }
    }

    pub fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<AtomicU32>()
    }

    /// Brings a list towards the cache.
    #[inline]
    pub fn prefetch(&self, list: usize) {
        prefetch(&self.words[list * self.stride..][..self.stride]);
    }

    pub fn ids(&self, list: usize) -> impl ExactSizeIterator<Item = u32> + '_ {
        let words = &self.words[list * self.stride..][..self.stride];
        let count = words[0].load(Ordering::Acquire) as usize;
        words[1..=count.min(self.stride - 1)].iter().map(|word| word.load(Ordering::Relaxed))
    }

    pub fn contains(&self, list: usize, id: u32) -> bool {
        self.ids(list).any(|held| held == id)
    }

    /// Adds an id; says whether there was room.
    pub fn push(&self, list: usize, id: u32) -> bool {
        let words = &self.words[list * self.stride..][..self.stride];
        let count = words[0].load(Ordering::Relaxed) as usize;
        let Some(word) = words.get(count + 1) else { return false };
        word.store(id, Ordering::Relaxed);
        words[0].store(count as u32 + 1, Ordering::Release);
        true
    }

    /// Replaces a list by ids that fit.
    pub fn write(&self, list: usize, ids: &[u32]) {
        let words = &self.words[list * self.stride..][..self.stride];
        for (word, &id) in words[1..].iter().zip(ids) {
            word.store(id, Ordering::Relaxed);
        }
        words[0].store(ids.len().min(self.stride - 1) as u32, Ordering::Release);
    }
}
