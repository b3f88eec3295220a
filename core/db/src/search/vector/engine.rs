//! The index of a `kith_vector` table, and the thread that works on it in the background.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{Encoding, Engine, IndexOptions};
use kithdb_vector::tiered::TieredIndex;

use super::shared::{Shared, State};

/// Rows that the graph may be behind before a thread is begun for them: comparing so many exactly costs about as much as a walk.
const BEHIND_MAX: usize = 256;
/// Rows brought into the graph while searches wait.
const STEP: usize = 16;

/// Makes an index that compares everything exactly, for rows of which no index knows yet.
pub(super) fn make_exact(options: &IndexOptions) -> Result<TieredIndex, EmbeddingError> {
    TieredIndex::new(IndexOptions { engine: Engine::Scan, encoding: Encoding::F32, ..options.clone() })
}

/// Makes an index that needs no building, for one reader.
pub(super) fn make_scan(options: &IndexOptions) -> Result<TieredIndex, EmbeddingError> {
    TieredIndex::new(IndexOptions { engine: Engine::Scan, ..options.clone() })
}

/// Begins a thread that builds the graph or brings it forward, if that is due and none is at it.
pub(super) fn work(shared: &Arc<Shared>, state: &State) {
    let index = state.rows.index();
    let is_due = index.is_build_due() || index.graph().is_some() && index.pending() > BEHIND_MAX;
    if !is_due || shared.work.is_running.swap(true, Relaxed) {
        return;
    }
    let weak = Arc::downgrade(shared);
    let begun = std::thread::Builder::new().name("kith-vector".to_owned()).spawn(move || {
        while let Some(shared) = weak.upgrade() {
            let is_done = step(&shared, || weak.strong_count() <= 1);
            if is_done {
                shared.work.is_running.store(false, Relaxed);
                break;
            }
        }
    });
    if let Err(error) = begun {
        // Searches compare what is not in a graph, so they stay right.
        tracing::warn!(%error, "cannot begin a thread to build the index of embeddings");
        shared.work.is_running.store(false, Relaxed);
    }
}

/// Does one piece of work; returns whether nothing is left, or the index is not used any more.
fn step(shared: &Arc<Shared>, is_unused: impl Fn() -> bool + Sync) -> bool {
    let job = {
        let mut state = shared.write();
        let Some(state) = state.as_mut() else { return true };
        match state.rows.index_mut().build_job() {
            Some(job) => job,
            None => {
                let index = state.rows.index_mut();
                return index.graph().is_none() || index.pending() == 0 || index.catch_up(STEP) == 0;
            }
        }
    };
    shared.work.total.store(job.len(), Relaxed);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().div_ceil(2));
    let built = job.run(threads, &|progress| {
        shared.work.done.store(progress.done, Relaxed);
        if is_unused() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    shared.work.total.store(0, Relaxed);
    drop(job);
    match (built, shared.write().as_mut()) {
        (Some(built), Some(state)) => !state.rows.index_mut().install(built) && is_unused(),
        _ => true,
    }
}
