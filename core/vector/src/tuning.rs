//! Finding the least work that gives the recall that was asked for.

use std::ops::ControlFlow;

use crate::hnsw::{Graph, Question, Target};
use crate::limits::EF_MAX;
use crate::recall::recall;
use crate::scan::{rank, rescored, scan};
use crate::slots::Slot;
use crate::store::EmbeddingStore;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecallGoal {
    /// The share of the true neighbours to be found, 0..=1.
    pub recall: f64,
    /// Neighbours that a question wants.
    pub count: usize,
    /// Stored embeddings that serve as questions. Each costs one scan.
    pub sample: usize,
    /// Which ones they are.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuned {
    /// The smallest `ef` that reached the goal, or [`EF_MAX`] if none did.
    pub ef: usize,
    /// What it reached on the sample.
    pub recall: f64,
    /// Embeddings there were then.
    pub len: usize,
}

impl Tuned {
    /// Says whether the index has grown by a fifth since, so that it should be tuned again.
    pub fn is_due(&self, len: usize) -> bool {
        len > self.len + self.len / 5
    }
}

/// A question of the sample, which must not meet itself.
struct HeldBack<'a> {
    question: Question<'a>,
    slot: Slot,
}

impl Target for HeldBack<'_> {
    fn distance(&self, slot: u32) -> f32 {
        if slot == self.slot.0 { f32::INFINITY } else { self.question.distance(slot) }
    }

    fn prefetch(&self, slot: u32) {
        self.question.prefetch(slot);
    }
}

/// Finds the smallest `ef` whose recall on a sample of the stored embeddings, held back one at a time, is the goal's; by one standard
/// error more, so that the sample's luck does not decide.
///
/// The promise holds for questions that are like what is stored. Under another distribution recall may be less.
///
/// The callback is asked before each scan and each walk; `None` if it broke the tuning off.
pub fn tune(
    store: &EmbeddingStore,
    graph: &Graph,
    goal: &RecallGoal,
    progress: &impl Fn() -> ControlFlow<()>,
) -> Option<Tuned> {
    let sample = sample(store, graph, goal, progress)?;
    let measure = |ef| measure(store, graph, goal, &sample, ef, progress);
    let mut low = goal.count.clamp(1, EF_MAX);
    let mut best = measure(low)?;
    if best.is_enough || sample.is_empty() {
        return Some(Tuned { ef: low, recall: best.recall, len: store.len() });
    }
    // Doubled until it is enough, then halved down between the two; recall grows with `ef`.
    let mut high = low;
    while !best.is_enough && high < EF_MAX {
        low = high;
        high = (high * 2).min(EF_MAX);
        best = measure(high)?;
    }
    while best.is_enough && high - low > 1 + low / 32 {
        let middle = low + (high - low) / 2;
        let measured = measure(middle)?;
        if measured.is_enough {
            (high, best) = (middle, measured);
        } else {
            low = middle;
        }
    }
    Some(Tuned { ef: high, recall: best.recall, len: store.len() })
}

/// A question and its true neighbours.
struct Asked {
    slot: Slot,
    truth: Vec<crate::index::Neighbour>,
}

/// Draws slots that the graph has, evenly spread with a seeded beginning, and finds their true neighbours.
fn sample(
    store: &EmbeddingStore,
    graph: &Graph,
    goal: &RecallGoal,
    progress: &impl Fn() -> ControlFlow<()>,
) -> Option<Vec<Asked>> {
    let slots: Vec<Slot> = store.occupied().iter().filter(|&slot| graph.contains(slot)).collect();
    let step = (slots.len() / goal.sample.max(1)).max(1);
    let first = (goal.seed % step as u64) as usize;
    let drawn = slots.into_iter().skip(first).step_by(step).take(goal.sample);
    let with_truth = drawn.map(|slot| {
        if progress().is_break() {
            return None;
        }
        let mut truth = scan(store, &store.prepare_slot(slot), goal.count + 1, None);
        truth.retain(|found| found.slot != slot);
        truth.truncate(goal.count);
        Some(Asked { slot, truth })
    });
    with_truth.collect()
}

struct Measured {
    recall: f64,
    is_enough: bool,
}

fn measure(
    store: &EmbeddingStore,
    graph: &Graph,
    goal: &RecallGoal,
    sample: &[Asked],
    ef: usize,
    progress: &impl Fn() -> ControlFlow<()>,
) -> Option<Measured> {
    let share = |asked: &Asked| progress().is_continue().then(|| share_found(store, graph, goal, asked, ef));
    let shares: Vec<f64> = sample.iter().map(share).collect::<Option<_>>()?;
    let count = shares.len().max(1) as f64;
    let mean = shares.iter().sum::<f64>() / count;
    let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / count;
    let is_enough = mean - (variance / count).sqrt() >= goal.recall || mean == 1.0;
    Some(Measured { recall: mean, is_enough })
}

fn share_found(store: &EmbeddingStore, graph: &Graph, goal: &RecallGoal, asked: &Asked, ef: usize) -> f64 {
    let query = store.prepare_slot(asked.slot);
    let target = HeldBack { question: Question { store, query: &query }, slot: asked.slot };
    let mut slots = graph.search(&target, ef.max(goal.count) + 1);
    slots.retain(|&slot| slot != asked.slot && store.occupied().contains(slot));
    slots.truncate(rescored(store, goal.count));
    recall(&asked.truth, &rank(store, &query, slots, goal.count), goal.count)
}
