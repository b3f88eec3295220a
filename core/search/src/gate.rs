//! Lets transactions of the application and writes of this process's own threads pass a file one after the other.
//!
//! SQLite has writers wait for a lock, as long as the busy timeout says, and refuses one at once whose snapshot is not the newest any more
//! (SQLITE_BUSY_SNAPSHOT). An application with one connection meets neither, so it is not to meet them because a thread of ours writes:
//! that thread reads and writes only while no connection of the application is in a transaction, and a transaction that would begin
//! meanwhile waits for it.
//!
//! Invariants:
//! 1. Neither side waits for ever: each goes on after a time, and then meets what SQLite has for it. That is so for the transactions of
//!    that time only: those that begin once they are over take turns again.
//! 2. Somebody of the application who comes while another one of it is inside waits for nobody: both may be the same thread.
//! 3. Who is waiting goes before whoever comes again: a loop of transactions lets a thread pass, and a loop of passes lets transactions
//!    begin.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// How long a transaction waits at most for who passes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Threads of ours that may write to some file.
static WRITERS: AtomicUsize = AtomicUsize::new(0);

static GATES: OnceLock<Mutex<HashMap<PathBuf, Weak<Gate>>>> = OnceLock::new();

/// Says whether the application has to ask a gate at all. One that is in a transaction when the first thread begins is not known of; it
/// asks with its next statement.
#[inline]
pub fn is_watched() -> bool {
    WRITERS.load(Ordering::Relaxed) > 0
}

#[derive(Default)]
struct State {
    /// Connections of the application that are in a transaction.
    inside: usize,
    /// Threads of ours that want to write.
    waiting: usize,
    passing: usize,
    /// Connections of the application that wait for who passes.
    entering: usize,
    /// Whether one that waited goes before the next who would pass.
    owes_entry: bool,
    /// How often the last one that was inside has left.
    emptied: u64,
}

impl State {
    /// Says whether a connection of the application has to wait. A thread that has waited for all to leave goes first.
    const fn is_taken(&self) -> bool {
        self.inside == 0 && (self.passing > 0 || self.waiting > 0 && !self.owes_entry)
    }

    /// Says whether a thread of ours has to wait.
    const fn is_closed(&self) -> bool {
        self.inside > 0 || self.passing > 0 || self.owes_entry
    }
}

/// See the module.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    /// Finds the gate of a file.
    pub fn of(file: &Path) -> Arc<Self> {
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let mut gates = GATES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
        let known = gates.entry(file).or_default();
        known.upgrade().unwrap_or_else(|| {
            let gate = Arc::<Self>::default();
            *known = Arc::downgrade(&gate);
            gate
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection of the application in, which is to begin a transaction, once nobody passes.
    pub fn enter(self: &Arc<Self>) -> Inside {
        self.enter_within(PATIENCE)
    }

    fn enter_within(self: &Arc<Self>, patience: Duration) -> Inside {
        let mut state = self.state();
        if state.is_taken() {
            state.entering += 1;
            let is_taken = |state: &mut State| state.is_taken();
            (state, _) =
                self.changed.wait_timeout_while(state, patience, is_taken).unwrap_or_else(PoisonError::into_inner);
            state.entering -= 1;
        }
        state.owes_entry = false;
        state.inside += 1;
        drop(state);
        Inside(Arc::clone(self))
    }

    /// Counts a connection of the application that is in a transaction already, so that nobody can be waited for.
    pub fn enter_late(self: &Arc<Self>) -> Inside {
        self.state().inside += 1;
        Inside(Arc::clone(self))
    }

    /// Counts a thread that is going to write to the file now and then.
    pub fn writer(self: &Arc<Self>) -> Writer {
        WRITERS.fetch_add(1, Ordering::Relaxed);
        Writer { gate: Arc::clone(self), ignored: Cell::new(None) }
    }
}

/// A connection of the application in a transaction, until it is dropped.
#[must_use]
pub struct Inside(Arc<Gate>);

impl Drop for Inside {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.inside -= 1;
        state.emptied += u64::from(state.inside == 0);
        let is_awaited = state.inside == 0 && state.waiting > 0;
        drop(state);
        if is_awaited {
            self.0.changed.notify_all();
        }
    }
}

/// A thread that writes to the file now and then, until it is dropped.
pub struct Writer {
    gate: Arc<Gate>,
    /// What `emptied` was when it passed while somebody was inside.
    ignored: Cell<Option<u64>>,
}

impl Writer {
    /// Lets the thread pass if all connections of the application are out within a time.
    pub fn pass(&self, patience: Duration) -> Option<Pass<'_>> {
        let gate = &*self.gate;
        let mut state = gate.state();
        state.waiting += 1;
        let is_closed = |state: &mut State| state.is_closed();
        (state, _) =
            gate.changed.wait_timeout_while(state, patience, is_closed).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        if state.is_closed() {
            drop(state);
            // Those who let it go first are not to wait for it any longer.
            gate.changed.notify_all();
            return None;
        }
        state.passing += 1;
        Some(Pass(gate))
    }

    /// Lets the thread pass though somebody is inside who takes too long. Whoever comes after all of those have left waits for it.
    pub fn pass_anyway(&self) -> Pass<'_> {
        let mut state = self.gate.state();
        self.ignored.set((state.inside > 0).then_some(state.emptied));
        state.passing += 1;
        Pass(&self.gate)
    }

    /// Says whether the thread has passed regardless of those inside before: they are not waited for once more.
    pub fn ignores_who_is_inside(&self) -> bool {
        self.ignored.get() == Some(self.gate.state().emptied)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        WRITERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to write, until it is dropped.
#[must_use]
pub struct Pass<'g>(&'g Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.passing -= 1;
        state.owes_entry = state.entering > 0;
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn nobody_passes_while_a_connection_is_inside() {
        let gate = Arc::<Gate>::default();
        let writer = gate.writer();
        assert!(is_watched());
        let (first, second) = (gate.enter(), gate.enter_late());
        assert!(writer.pass(SHORT).is_none());
        drop(first);
        assert!(writer.pass(SHORT).is_none());
        drop(second);
        let pass = writer.pass(SHORT);
        assert!(pass.is_some() && gate.writer().pass(SHORT).is_none());
    }

    #[test]
    fn whoever_enters_waits_for_one_that_passes() {
        let gate = Arc::<Gate>::default();
        let (writer, has_passed) = (gate.writer(), AtomicBool::new(false));
        let pass = writer.pass(SHORT).unwrap();
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let _inside = gate.enter();
                has_passed.load(Ordering::SeqCst)
            });
            while gate.state().entering == 0 {
                thread::yield_now();
            }
            has_passed.store(true, Ordering::SeqCst);
            drop(pass);
            assert!(entered.join().unwrap());
        });
    }

    #[test]
    fn a_loop_of_short_transactions_lets_a_thread_pass() {
        let gate = Arc::<Gate>::default();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut before = gate.enter();
                while !is_over.load(Ordering::SeqCst) {
                    // A transaction within another connection's: it does not wait for who is waiting.
                    drop(gate.enter());
                    drop(before);
                    before = gate.enter();
                }
            });
            let writer = gate.writer();
            for _ in 0..100 {
                let passed = writer.pass(LONG).is_some();
                assert!(passed);
            }
            is_over.store(true, Ordering::SeqCst);
        });
    }

    #[test]
    fn who_waits_to_enter_goes_before_the_next_pass() {
        let gate = Arc::<Gate>::default();
        let writer = gate.writer();
        for _ in 0..100 {
            let pass = writer.pass(LONG);
            thread::scope(|scope| {
                let entered = scope.spawn(|| gate.enter());
                while gate.state().entering == 0 {
                    thread::yield_now();
                }
                drop(pass);
                // Whether it has woken up by now or not.
                assert!(writer.pass(Duration::ZERO).is_none());
                drop(entered.join().unwrap());
            });
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        let gate = Arc::<Gate>::default();
        let writer = gate.writer();
        let pass = writer.pass(SHORT);
        // As where the thread that passes runs what wants to enter.
        let inside = gate.enter_within(SHORT);
        drop(pass);
        assert!(writer.pass(SHORT).is_none());
        drop(inside);
        assert!(writer.pass(SHORT).is_some());
    }

    #[test]
    fn who_takes_too_long_is_passed_by_and_whoever_comes_later_takes_turns_again() {
        let gate = Arc::<Gate>::default();
        let writer = gate.writer();
        let slow = gate.enter();
        assert!(writer.pass(Duration::ZERO).is_none() && !writer.ignores_who_is_inside());
        let pass = writer.pass_anyway();
        // Maybe by the thread of the slow one.
        drop(gate.enter());
        drop(slow);
        thread::scope(|scope| {
            let entered = scope.spawn(|| gate.enter_within(LONG));
            while gate.state().entering == 0 {
                assert!(!entered.is_finished(), "it did not wait");
                thread::yield_now();
            }
            drop(pass);
            let inside = entered.join().unwrap();
            // It is none of those that took too long.
            assert!(!writer.ignores_who_is_inside());
            drop(writer.pass_anyway());
            assert!(writer.ignores_who_is_inside());
            drop(inside);
            assert!(!writer.ignores_who_is_inside() && writer.pass(Duration::ZERO).is_some());
        });
    }

    #[test]
    fn a_file_has_one_gate_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        std::fs::write(&file, "").unwrap();
        let gate = Gate::of(&file);
        assert!(Arc::ptr_eq(&gate, &Gate::of(&folder.path().join(".").join("a.db"))));
        assert!(!Arc::ptr_eq(&gate, &Gate::of(&folder.path().join("b.db"))));
    }
}
