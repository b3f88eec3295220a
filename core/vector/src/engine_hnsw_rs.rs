//! The graph of the `hnsw_rs` crate in the place of ours: selectable, and a reference. No other module names that crate.
//!
//! What it lacks is made up for here. It has no delete and no update: what is stale is filtered out, and all is built again when
//! most is. It panics on a distance that is negative or not a number, so its distances are made of checked embeddings and mapped to
//! what is positive. It ends the process for parameters out of range; the options that come here are in range. A walk with a narrow
//! filter costs it more than a scan, so it takes none. Its points can be out of reach: an answer that is too short is scanned for.

use hnsw_rs::prelude::{Distance, FilterT, Hnsw};

use crate::distance::Kernels;
use crate::index::{IndexOptions, Query};
use crate::metric::Metric;
use crate::slots::{Slot, SlotSet};
use crate::store::EmbeddingStore;

/// The layers that the crate has at most.
const LAYERS: usize = 16;
/// Points that the crate makes room for; there may be more.
const POINTS_EXPECTED: usize = 10_000;
/// Stale points up to which they are not worth a rebuild.
const STALE_FEW: usize = 1_000;
/// A filter that lets fewer than one in so many pass is not walked.
const SCAN_BELOW: usize = 5;
/// No slot.
const NONE: u32 = u32::MAX;

/// A graph of copies of what a store holds.
pub(crate) struct HnswRsGraph {
    options: IndexOptions,
    graph: Hnsw<'static, f32, Compared>,
    /// The slot of each point of the graph, or [`NONE`] if it is stale.
    slots: Vec<u32>,
    /// The point of each slot, or [`NONE`].
    points: Vec<u32>,
}

/// Distances that are never negative, in the order of the metric's.
struct Compared {
    metric: Metric,
    kernels: &'static Kernels,
}

impl Distance<f32> for Compared {
    fn eval(&self, one: &[f32], other: &[f32]) -> f32 {
        let distance = match self.metric {
            Metric::Cosine => 1.0 - self.kernels.dot_f32(one, other),
            Metric::L2 => self.kernels.squared_l2_f32(one, other),
            Metric::L1 => self.kernels.l1_f32(one, other),
            Metric::InnerProduct => match self.kernels.dot_f32(one, other) {
                product if product > 0.0 => 1.0 / (1.0 + product),
                product => 1.0 - product,
            },
            Metric::Hamming => {
                one.iter().zip(other).filter(|(one, other)| (**one > 0.0) != (**other > 0.0)).count() as f32
            }
        };
        // Rounding may make it a little less than zero; the comparison also takes care of what is not a number.
        if distance > 0.0 { distance } else { 0.0 }
    }
}

fn new_graph(options: &IndexOptions) -> Hnsw<'static, f32, Compared> {
    let compared = Compared { metric: options.metric, kernels: crate::distance::kernels() };
    Hnsw::new(options.connections, POINTS_EXPECTED, LAYERS, options.ef_construction, compared)
}

impl HnswRsGraph {
    /// Makes a graph of what a store holds. The options are in their ranges.
    pub(crate) fn new(options: &IndexOptions, store: &EmbeddingStore) -> Self {
        let (options, graph) = (options.clone(), new_graph(options));
        let mut made = Self { options, graph, slots: Vec::new(), points: Vec::new() };
        for slot in store.occupied().iter() {
            made.connect(store, slot);
        }
        made
    }

    /// Follows a change of a slot of the store.
    pub(crate) fn follow(&mut self, store: &EmbeddingStore, slot: Slot) {
        let point = self.points.get_mut(slot.0 as usize).map_or(NONE, |point| std::mem::replace(point, NONE));
        if let Some(kept) = self.slots.get_mut(point as usize) {
            *kept = NONE;
        }
        if self.slots.len() > STALE_FEW + 2 * store.len() {
            *self = Self::new(&self.options, store);
        } else {
            self.connect(store, slot);
        }
    }

    /// Puts what the store holds in a slot into the graph.
    fn connect(&mut self, store: &EmbeddingStore, slot: Slot) {
        let Some(mut embedding) = store.embedding(slot) else { return };
        self.normalise(&mut embedding);
        let place = slot.0 as usize;
        if self.points.len() <= place {
            self.points.resize(place + 1, NONE);
        }
        self.points[place] = self.slots.len() as u32;
        self.graph.insert((&embedding, self.slots.len()));
        self.slots.push(slot.0);
    }

    /// Makes the length one where only the direction counts.
    fn normalise(&self, embedding: &mut [f32]) {
        if self.options.metric == Metric::Cosine {
            let squares: f64 = embedding.iter().map(|&number| f64::from(number).powi(2)).sum();
            for number in embedding {
                *number = (f64::from(*number) / squares.sqrt()) as f32;
            }
        }
    }

    /// Returns about the nearest slots, in any order; `None` if a scan serves better. The query was checked.
    pub(crate) fn search(&self, store: &EmbeddingStore, query: &Query<'_>, present: usize) -> Option<Vec<Slot>> {
        if present * SCAN_BELOW < store.len() {
            return None;
        }
        let mut asked = query.embedding.to_vec();
        self.normalise(&mut asked);
        let is_allowed = |point: &usize| match self.slots[*point] {
            NONE => false,
            slot => query.allowed.is_none_or(|allowed| allowed.contains(Slot(slot))),
        };
        let ef = query.ef.max(query.count);
        // Its filter costs something even if all pass.
        let is_needed = query.allowed.is_some() || self.slots.len() > store.len();
        let filter = is_needed.then_some(&is_allowed as &dyn FilterT);
        let found = self.graph.search_filter(&asked, ef, ef, filter);
        let slots: SlotSet = found.iter().map(|found| Slot(self.slots[found.d_id])).collect();
        Some(slots.iter().collect())
    }

    /// Returns what the points take at least: the crate does not say.
    pub(crate) fn memory_bytes(&self) -> usize {
        let edges = 2 * self.options.connections * size_of::<usize>();
        self.slots.len() * (edges + self.options.dimensions * size_of::<f32>())
    }
}
