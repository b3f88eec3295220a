//! The jobs of one database's thread.
//!
//! Invariants:
//! 1. Jobs are taken in the order in which they were given.
//! 2. After a failure no job is taken until the program was told of it: had it ended there, they would not have been done.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::job::Job;

/// How many pieces of a long result may be on their way; its statement goes on when one of them has arrived.
const PIECES_MAX: usize = 32;

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether the thread sleeps until a job comes.
    is_waiting: bool,
    failures_unseen: usize,
    pieces_under_way: usize,
    is_stopped: bool,
    has_ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panics with it leaves it whole: each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        if state.is_waiting {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Asks for no more jobs, done or not: the thread ends with the one that it has.
    pub(crate) fn stop(&self) {
        self.state().is_stopped = true;
        self.changed.notify_all();
    }

    /// Lets the thread end once all jobs are done.
    pub(crate) fn end(&self) {
        self.state().has_ended = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Swaps all jobs that there are for the empty list that is given; tells whether there can be more.
    ///
    /// Before it sleeps it calls `before_sleep`.
    pub(crate) fn take(&self, jobs: &mut VecDeque<Job>, before_sleep: impl FnOnce()) -> bool {
        let mut state = self.state();
        if state.jobs.is_empty() && !state.is_stopped {
            drop(state);
            before_sleep();
            state = self.state();
        }
        while state.jobs.is_empty() && !state.is_stopped && !state.has_ended {
            state.is_waiting = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_waiting = false;
        }
        if state.is_stopped {
            return false;
        }
        std::mem::swap(&mut state.jobs, jobs);
        !jobs.is_empty()
    }

    /// Notes a failure that is on its way to the program.
    pub(crate) fn fail(&self) {
        self.state().failures_unseen += 1;
    }

    /// Notes that the program has seen a failure.
    pub(crate) fn see(&self) {
        let mut state = self.state();
        state.failures_unseen = state.failures_unseen.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the program has seen all failures; tells whether to go on.
    pub(crate) fn wait_until_seen(&self) -> bool {
        let mut state = self.state();
        while state.failures_unseen > 0 && !state.is_stopped && !state.has_ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_stopped
    }

    /// Notes a piece that is on its way.
    pub(crate) fn send_piece(&self) {
        self.state().pieces_under_way += 1;
    }

    /// Notes a piece that has arrived.
    pub(crate) fn receive_piece(&self) {
        let mut state = self.state();
        state.pieces_under_way = state.pieces_under_way.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Tells whether no piece is on its way.
    pub(crate) fn has_no_pieces(&self) -> bool {
        self.state().pieces_under_way == 0
    }

    /// Waits until one more piece may be sent; tells whether to go on.
    pub(crate) fn wait_for_room(&self) -> bool {
        let mut state = self.state();
        while state.pieces_under_way >= PIECES_MAX && !state.is_stopped && !state.has_ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_stopped
    }
}
