//! The index of a `kith_vector` table, and the thread that works on it in the background.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions};
use kithdb_vector::tiered::TieredIndex;
use kithdb_vector::tuning::{RecallGoal, tune};
use rusqlite::Connection;
use rusqlite::limits::Limit;

use super::shared::{Shared, State};
use super::snapshot::{Found, Image, Place};
use super::turn::Turn;

/// Rows that the graph may be behind before a thread is begun for them: comparing so many exactly costs about as much as a walk.
const BEHIND_MAX: usize = 256;
/// Rows brought into the graph while searches wait.
const STEP: usize = 16;
/// How often a process looks whether another one has built the index.
const TURN_ASKED_EVERY: Duration = Duration::from_millis(100);
/// Neighbours of a search for which the candidates of a walk are chosen, and the searches that are tried for it.
const TUNED_COUNT: usize = 10;
const TUNED_SAMPLE: usize = 200;

/// Makes an index that compares everything exactly, for rows of which no index knows yet.
pub(super) fn make_exact(options: &IndexOptions) -> Result<TieredIndex, EmbeddingError> {
    TieredIndex::new(IndexOptions { engine: Engine::Scan, encoding: Encoding::F32, ..options.clone() })
}

/// Makes an index that needs no building, for one reader.
pub(super) fn make_scan(options: &IndexOptions) -> Result<TieredIndex, EmbeddingError> {
    TieredIndex::new(IndexOptions { engine: Engine::Scan, ..options.clone() })
}

/// Returns how many threads build a graph: as many as `PRAGMA threads` says, or half of the processor's, so that the program that
/// searches meanwhile has the others.
pub(super) fn build_threads(conn: &Connection) -> usize {
    let asked = conn.limit(Limit::SQLITE_LIMIT_WORKER_THREADS).ok().and_then(|threads| usize::try_from(threads).ok());
    let half = || std::thread::available_parallelism().map_or(1, |threads| threads.get().div_ceil(2));
    asked.filter(|&threads| threads > 0).unwrap_or_else(half)
}

/// Begins a thread that builds the graph, on so many threads, or brings it forward, if that is due and none is at it.
pub(super) fn work(shared: &Arc<Shared>, state: &State, recall_permille: u32, build_threads: impl FnOnce() -> usize) {
    let index = state.rows.index();
    let is_due = state.rows.is_build_due()
        || index.graph().is_some() && (index.pending() > BEHIND_MAX || is_tuning_due(state))
        || shared.place.is_some() && Place::is_due(state);
    if !is_due || shared.work.is_running.swap(true, Relaxed) {
        return;
    }
    let (kept, build_threads) = (Arc::clone(shared), build_threads());
    let begun = std::thread::Builder::new().name("kith-vector".to_owned()).spawn(move || {
        work_off(&kept, recall_permille, build_threads);
        kept.work.is_running.store(false, Relaxed);
    });
    match begun {
        Ok(thread) => *shared.work.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
        Err(error) => {
            // Searches compare what is not in a graph, so they stay right.
            tracing::warn!(%error, "cannot begin a thread to build the index of embeddings");
            shared.work.is_running.store(false, Relaxed);
        }
    }
}

/// Does all that is due, as long as a connection uses the index.
fn work_off(shared: &Shared, recall_permille: u32, build_threads: usize) {
    let mut turn = None;
    while !shared.is_unused() {
        let is_build_due = shared.read().as_ref().is_some_and(|state| state.rows.is_build_due());
        if let Some(place) = shared.place.as_ref().filter(|_| is_build_due && turn.is_none()) {
            turn = wait_for_turn(shared, place);
            if turn.is_none() {
                break;
            }
            if offer_saved(shared, place) {
                break;
            }
        }
        if step(shared, build_threads) {
            finish(shared, recall_permille, turn);
            break;
        }
    }
}

/// Waits until no other process builds or saves the index; `None` once no connection uses it.
fn wait_for_turn(shared: &Shared, place: &Place) -> Option<Turn> {
    while !shared.is_unused() {
        let turn = Turn::take(&place.path);
        if turn.is_some() {
            return turn;
        }
        // The last connection to be closed ends this.
        std::thread::park_timeout(TURN_ASKED_EVERY);
    }
    None
}

/// Offers the next search what another process has saved, if it has a graph; says whether.
fn offer_saved(shared: &Shared, place: &Place) -> bool {
    let guard = shared.read();
    let Some(state) = guard.as_ref() else { return false };
    let declined = *shared.work.declined.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = |found: &Found| found.has_graph && Some(found.mark) != state.saved && Some(found.mark) != declined;
    let is_offered = place.saved(state).is_some_and(|found| is_new(&found));
    shared.work.is_offered.store(is_offered, Release);
    is_offered
}

fn is_tuning_due(state: &State) -> bool {
    let index = state.rows.index();
    index.graph().is_some() && state.tuned.is_none_or(|tuned| tuned.is_due(index.len()))
}

/// Chooses the candidates of a walk and saves the index, as far as that is due. Both read what the index shares, so that nobody waits for
/// them; the tuning is broken off when no connection uses the index any more.
fn finish(shared: &Shared, recall_permille: u32, turn: Option<Turn>) {
    if shared.is_unused() {
        return;
    }
    let copy = |state: &State| {
        let index = state.rows.index();
        Some((index.store().clone(), index.shared_graph()?, index.options().seed))
    };
    let copied = shared.read().as_ref().filter(|state| is_tuning_due(state)).and_then(copy);
    if let Some((store, graph, seed)) = copied {
        let recall = f64::from(recall_permille) / 1000.0;
        let goal = RecallGoal { recall, count: TUNED_COUNT, sample: TUNED_SAMPLE, seed };
        let Some(tuned) = tune(&store, &graph, &goal, &|| go_on(shared)) else { return };
        // Before the graph may change.
        drop((store, graph));
        if let Some(state) = shared.write().as_mut() {
            state.tuned = Some(tuned);
        }
    }
    let Some(place) = &shared.place else { return };
    let image = shared.read().as_ref().filter(|state| Place::is_due(state)).map(Image::of);
    let Some(image) = image else { return };
    // Another process that has the turn saves as well.
    let turn = turn.or_else(|| Turn::take(&place.path));
    let file = turn.as_ref().and_then(|turn| place.save(&image, Some(turn)));
    if let Some(state) = shared.write().as_mut() {
        // Not tried again at once where it cannot be done. What came meanwhile is in the next one.
        state.unsaved = usize::try_from(state.applied.sequence - image.mark.sequence).unwrap_or(0);
        state.saved = if file.is_some() { Some(image.mark) } else { state.saved };
        if let Some(file) = file.filter(|_| state.rows.bound().is_some()) {
            image.move_to(&mut state.rows, &file);
        }
    }
}

/// Does one piece of work; returns whether nothing is left.
fn step(shared: &Shared, threads: usize) -> bool {
    let job = {
        let mut state = shared.write();
        let Some(state) = state.as_mut() else { return true };
        match state.rows.build_job() {
            Some(job) => job,
            None => {
                let index = state.rows.index_mut();
                let is_done = index.graph().is_none() || index.pending() == 0 || index.catch_up(STEP) == 0;
                state.rows.keep_within();
                return is_done;
            }
        }
    };
    shared.work.done.store(0, Relaxed);
    shared.work.total.store(job.len(), Relaxed);
    let built = job.run(threads, &|progress| {
        // Each row is come by twice.
        shared.work.total.store(progress.total, Relaxed);
        shared.work.done.store(progress.done, Relaxed);
        go_on(shared)
    });
    shared.work.total.store(0, Relaxed);
    drop(job);
    let is_broken_off = built.is_none();
    let mut state = shared.write();
    let Some(state) = state.as_mut() else { return true };
    if state.rows.install(built) {
        state.unsaved += state.rows.index().len();
    }
    is_broken_off
}

/// Says whether anybody still uses the index that is worked on.
fn go_on(shared: &Shared) -> ControlFlow<()> {
    if shared.is_unused() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pragma_threads_says_how_many_build() {
        let conn = Connection::open_in_memory().unwrap();
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(build_threads(&conn), processors.div_ceil(2));
        conn.pragma_update(None, "threads", 3).unwrap();
        assert_eq!(build_threads(&conn), 3);
    }
}
