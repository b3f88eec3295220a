//! Building a graph of many embeddings at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::points::Points;
use super::{Graph, visited::Scratch};
use crate::index::IndexOptions;
use crate::slots::Slot;

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Embeddings connected so far.
    pub done: usize,
    /// Embeddings to connect.
    pub total: usize,
}

/// Embeddings that a thread takes at once.
const SHARE: usize = 32;

impl Graph {
    /// Connects the embeddings of many slots on so many threads; `None` if the callback broke it off. The callback comes after about
    /// every 32 embeddings, from any of the threads.
    ///
    /// One thread makes the same graph every time.
    pub fn build(
        points: &impl Points,
        slots: &[Slot],
        options: &IndexOptions,
        threads: usize,
        progress: &(impl Fn(Progress) -> ControlFlow<()> + Sync),
    ) -> Option<Self> {
        let mut graph = Self::new(options);
        graph.make_room(slots.iter().map(|slot| slot.0 as usize + 1).max().unwrap_or(0));
        let mut rest = Vec::with_capacity(slots.len());
        for &slot in slots {
            if !graph.contains(slot) {
                graph.reserve(slot.0);
                rest.push(slot.0);
            }
        }
        let total = rest.len();
        let Some(first) = (total > 0).then(|| rest.remove(0)) else { return Some(graph) };
        graph.plant(first);

        let (next, done, is_broken_off) = (AtomicUsize::new(0), AtomicUsize::new(1), AtomicBool::new(false));
        let work = || {
            let mut scratch = Scratch::default();
            while !is_broken_off.load(Ordering::Relaxed) {
                let start = next.fetch_add(SHARE, Ordering::Relaxed);
                let Some(share) = rest.get(start..rest.len().min(start + SHARE)).filter(|share| !share.is_empty())
                else {
                    break;
                };
                for &slot in share {
                    graph.connect(points, slot, &mut scratch);
                }
                let done = done.fetch_add(share.len(), Ordering::Relaxed) + share.len();
                if progress(Progress { done, total }).is_break() {
                    is_broken_off.store(true, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.max(1) {
                scope.spawn(work);
            }
            work();
        });
        (!is_broken_off.into_inner()).then_some(graph)
    }
}
