//! The way of outcomes from the databases' threads to the environment's.
//!
//! Invariants:
//! 1. The threadsafe function is called with the lock held and while it is there only: who takes it away knows that nobody uses it.

use std::collections::VecDeque;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use napi_sys as sys;

use super::job::Completion;

struct State {
    /// Null before there is one and after the environment's end.
    function: sys::napi_threadsafe_function,
    arrived: VecDeque<Completion>,
}

/// One environment's.
pub(crate) struct Outbox(Mutex<State>);

// SAFETY: a threadsafe function is made to be called from any thread, and the mutex guards its place.
unsafe impl Send for Outbox {}
// SAFETY: as above.
unsafe impl Sync for Outbox {}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State { function: ptr::null_mut(), arrived: VecDeque::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panics with it leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, function: sys::napi_threadsafe_function) {
        self.state().function = function;
    }

    /// From now on nobody is told; what has not arrived is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.function = ptr::null_mut();
        state.arrived.clear();
    }

    /// Sends an outcome, and has the environment's thread called once for it.
    pub(crate) fn send(&self, completion: Completion) {
        let mut state = self.state();
        if state.function.is_null() {
            return;
        }
        state.arrived.push_back(completion);
        // SAFETY: the function is there (invariant 1); it takes no data.
        let status = unsafe {
            sys::napi_call_threadsafe_function(
                state.function,
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
        if status == sys::Status::napi_closing {
            state.function = ptr::null_mut();
        }
    }

    /// Swaps what has arrived for the empty list that is given.
    pub(crate) fn receive(&self, completions: &mut VecDeque<Completion>) {
        std::mem::swap(&mut self.state().arrived, completions);
    }
}
