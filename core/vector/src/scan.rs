//! The index that compares with every embedding: right without any building, and the fastest while there are few.

use crate::codes::PreparedQuery;
use crate::error::EmbeddingError;
use crate::index::{EmbeddingIndex, Encoding, IndexOptions, Neighbour, Query};
use crate::rows::BLOCK_ROWS;
use crate::slots::{Slot, SlotSet, ones};
use crate::store::EmbeddingStore;

/// Below this many wanted slots of a block they are compared one by one; comparing a whole block costs about as much as so many.
const BLOCK_WORTH: u32 = 24;

/// Rows that are on their way from memory while one is compared.
const AHEAD: usize = 4;

/// An index that scans.
#[derive(Clone)]
pub struct ScanIndex {
    options: IndexOptions,
    store: EmbeddingStore,
}

impl ScanIndex {
    /// Makes an empty index.
    ///
    /// # Errors
    /// The number of dimensions is out of range.
    pub fn new(options: IndexOptions) -> Result<Self, EmbeddingError> {
        Ok(Self { store: EmbeddingStore::new(&options)?, options })
    }

    /// Makes an index over what a store holds.
    pub fn with_store(options: IndexOptions, store: EmbeddingStore) -> Self {
        Self { options, store }
    }

    /// Returns the embeddings.
    pub fn store(&self) -> &EmbeddingStore {
        &self.store
    }
}

impl EmbeddingIndex for ScanIndex {
    fn options(&self) -> &IndexOptions {
        &self.options
    }

    fn len(&self) -> usize {
        self.store.len()
    }

    fn insert(&mut self, slot: Slot, embedding: &[f32]) -> Result<(), EmbeddingError> {
        self.store.insert(slot, embedding)
    }

    fn remove(&mut self, slot: Slot) -> bool {
        self.store.remove(slot)
    }

    fn embedding(&self, slot: Slot) -> Option<Vec<f32>> {
        self.store.embedding(slot)
    }

    fn search(&self, query: &Query<'_>) -> Result<Vec<Neighbour>, EmbeddingError> {
        Ok(scan(&self.store, &self.store.prepare(query.embedding)?, query.count, query.allowed))
    }

    fn memory_bytes(&self) -> usize {
        self.store.memory_bytes()
    }
}

/// Returns the nearest of all embeddings, or of those in the allowed slots: `min(count, allowed and present)` of them, the nearest
/// first and equal ones in the order of their slots.
///
/// The best by their codes are compared again exactly. Where those are floats, or signs under Hamming, the answer is the true one; else
/// one of the true ones is missing where more embeddings than are compared again seemed nearer.
pub fn scan(store: &EmbeddingStore, query: &PreparedQuery, count: usize, allowed: Option<&SlotSet>) -> Vec<Neighbour> {
    let present = allowed.map_or(store.len(), |allowed| allowed.common(store.occupied()));
    let count = count.min(present);
    if count == 0 {
        return vec![];
    }
    let compared_again = rescored(store, count).min(present);
    let words = store.occupied().words();
    let wanted = |block: usize| match allowed {
        Some(allowed) => words[block] & allowed.words().get(block).copied().unwrap_or(0),
        None => words[block],
    };
    if compared_again == present {
        return rank(store, query, (0..words.len()).flat_map(|block| slots(block, wanted(block))).collect(), count);
    }
    let mut nearest = Nearest::new(compared_again);
    if store.encoding() == Encoding::F32 {
        let all = || (0..words.len()).flat_map(|block| slots(block, wanted(block)));
        let mut ahead = all();
        ahead.by_ref().take(AHEAD).for_each(|slot| store.prefetch_exact(slot));
        for slot in all() {
            // Wanted rows may lie far apart, where the processor fetches none by itself.
            if let Some(next) = ahead.next() {
                store.prefetch_exact(next);
            }
            nearest.offer(store.estimate(query, slot), slot);
        }
        return rank(store, query, nearest.into_slots(), count);
    }
    let mut estimates = [f32::INFINITY; BLOCK_ROWS];
    for block in 0..words.len() {
        let bits = wanted(block);
        if bits.count_ones() >= BLOCK_WORTH {
            store.estimate_block(query, block, bits, &mut estimates);
            let below = nearest.below(&estimates) & bits;
            for bit in ones(below) {
                nearest.offer(estimates[bit as usize], Slot((block * BLOCK_ROWS) as u32 + bit));
            }
        } else {
            for slot in slots(block, bits) {
                nearest.offer(store.estimate(query, slot), slot);
            }
        }
    }
    rank(store, query, nearest.into_slots(), count)
}

fn slots(block: usize, bits: u64) -> impl Iterator<Item = Slot> {
    ones(bits).map(move |bit| Slot((block * BLOCK_ROWS) as u32 + bit))
}

/// Returns how many of the best by their codes are compared again, by how coarse the codes are. Measured: see docs/BENCHMARKS.md.
pub fn rescored(store: &EmbeddingStore, count: usize) -> usize {
    if store.estimates_are_exact() {
        return count;
    }
    match store.encoding() {
        Encoding::F32 | Encoding::F16 => (2 * count).max(20),
        Encoding::Int8 => (4 * count).max(40),
        Encoding::Bit => (32 * count).max(512),
    }
}

/// Compares slots exactly and returns the nearest of them in their order.
pub fn rank(store: &EmbeddingStore, query: &PreparedQuery, slots: Vec<Slot>, count: usize) -> Vec<Neighbour> {
    for &slot in slots.iter().take(AHEAD) {
        store.prefetch_exact(slot);
    }
    let mut neighbours: Vec<Neighbour> = Vec::with_capacity(slots.len());
    for (position, &slot) in slots.iter().enumerate() {
        if let Some(&next) = slots.get(position + AHEAD) {
            store.prefetch_exact(next);
        }
        neighbours.push(Neighbour { slot, distance: store.distance(query, slot) });
    }
    neighbours
        .sort_unstable_by(|left, right| left.distance.total_cmp(&right.distance).then(left.slot.cmp(&right.slot)));
    neighbours.truncate(count);
    neighbours
}

/// Keeps the slots with the smallest estimates. They are offered in ascending order, so that of equal ones the first stay.
struct Nearest {
    limit: usize,
    /// At most twice the limit; the rest is thrown out when it is full, which costs less than keeping an order all the time.
    kept: Vec<(f32, Slot)>,
    /// What is not below this is not among the nearest.
    bound: f32,
}

impl Nearest {
    fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::with_capacity(2 * limit), bound: f32::INFINITY }
    }

    /// Returns one bit for each estimate that is to be offered.
    #[inline]
    fn below(&self, estimates: &[f32; BLOCK_ROWS]) -> u64 {
        let mut bits = 0;
        for (bit, &estimate) in estimates.iter().enumerate() {
            bits |= u64::from(estimate < self.bound) << bit;
        }
        bits
    }

    #[inline]
    fn offer(&mut self, estimate: f32, slot: Slot) {
        if estimate < self.bound {
            self.kept.push((estimate, slot));
            if self.kept.len() == 2 * self.limit {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.limit {
            let order = |left: &(f32, Slot), right: &(f32, Slot)| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1));
            self.kept.select_nth_unstable_by(self.limit - 1, order);
            self.bound = self.kept[self.limit - 1].0;
            self.kept.truncate(self.limit);
        }
    }

    fn into_slots(mut self) -> Vec<Slot> {
        self.shrink();
        self.kept.into_iter().map(|(_, slot)| slot).collect()
    }
}
