//! What the replica does on its own account: taking up what other connections wrote, sealing, merging, beginning anew.

use kithdb_core::apply::ApplyBudget;
use kithdb_core::seal::SealBudget;
use kithdb_core::strand::OwnFork;
use kithdb_log::ArrivalNumber;
use kithdb_sync::Input;

use super::tasks::head_of;
use super::trouble::in_full;
use super::{APPLY_BYTES, Driver, DriverEvent, Trouble};

/// Milliseconds after which what the database could not take is tried again; doubles up to [`RETRY_MS_MAX`].
const RETRY_MS_FIRST: u64 = 20;
/// Milliseconds of the longest pause while another connection holds the lock.
const RETRY_MS_MAX: u64 = 500;
/// Milliseconds of the pause after trouble that soon trying again is not likely to end.
const TROUBLE_MS: u64 = 5_000;
/// Milliseconds after which entries that wait for the clock are looked at again.
const REAPPLY_MS: u64 = 30_000;
/// Bytes of pending transactions sealed before others get their turn.
const SEAL_BYTES: usize = 8 << 20;

impl Driver {
    pub(super) fn on_timer(&mut self) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= self.now.elapsed_ms);
        let (retry, reapply, engine) = (is_due(self.retry_at), is_due(self.reapply_at), is_due(self.engine_at));
        if retry {
            self.retry_at = None;
        }
        if reapply {
            self.reapply_at = None;
            self.apply_due = true;
        }
        if engine {
            self.engine_at = None;
        }
        // Whoever was called too early is told of the time again.
        self.scheduled = None;
    }

    /// Puts off all work for a while.
    pub(super) fn delay(&mut self, trouble: Trouble, reason: String) {
        let ms = match trouble {
            Trouble::Busy => (self.retry_ms * 2).clamp(RETRY_MS_FIRST, RETRY_MS_MAX),
            Trouble::DiskFull | Trouble::Other => TROUBLE_MS,
        };
        // Worth telling once, not at every try.
        if self.retry_ms == 0 {
            tracing::info!(reason, "the database is in trouble, trying again");
            self.report(DriverEvent::Delayed { trouble, reason });
        }
        self.retry_ms = ms;
        self.retry_at = Some(self.now.elapsed_ms.saturating_add(ms));
    }

    fn delay_for(&mut self, what: &str, error: &(dyn std::error::Error + 'static)) {
        self.delay(Trouble::of(error), format!("{what} waits: {}", in_full(error)));
    }

    /// Takes up what other connections have changed.
    pub(super) fn look_at_file(&mut self) {
        let version: i64 = match self.replica.conn().query_row("PRAGMA data_version", [], |row| row.get(0)) {
            Ok(version) => version,
            Err(error) => return self.delay_for("looking at the database", &error),
        };
        if self.seen_version == Some(version) {
            return;
        }
        match self.replica.reload_registry() {
            // A table may fit again whose entries wait.
            Ok(changed) => self.apply_due |= changed,
            Err(error) => return self.delay_for("looking at the database", &error),
        }
        self.seen_version = Some(version);
        // A commit of another connection means that its lock is free.
        self.retry_at = None;
        self.seal_due = true;
        self.tell_admin();
        self.tell_incarnation();
        if self.tell_arrivals() {
            self.apply_due = true;
        }
    }

    /// Tells the engine of admin operations that did not come through it.
    fn tell_admin(&mut self) {
        let (here, there) = (self.replica.membership(), self.engine.membership());
        if here.set_hash() == there.set_hash() {
            return;
        }
        let news = here.operations().filter(|operation| !there.contains(&operation.hash()));
        let operations: Vec<_> = news.cloned().collect();
        if !operations.is_empty() {
            self.tell(Input::LocalAdmin { operations });
        }
    }

    fn tell_incarnation(&mut self) {
        let (replica, incarnation) = (self.replica.life().replica(), self.replica.life().incarnation());
        if (replica, incarnation) != (self.replica_id, self.incarnation) {
            (self.replica_id, self.incarnation) = (replica, incarnation);
            self.tell(Input::Reincarnated { replica, incarnation });
        }
    }

    /// Tells the engine of entries that did not come through it: sealed here, or stored by another connection.
    pub(super) fn tell_arrivals(&mut self) -> bool {
        let told = self.told;
        let news = self.replica.arrival().and_then(|arrival| {
            let states = if arrival > told { self.replica.changes_since(told)? } else { Vec::new() };
            Ok((arrival, states))
        });
        match news {
            Ok((arrival, states)) if arrival > told => {
                self.told = arrival;
                self.tell(Input::LocalHeads { arrival, heads: states.iter().map(head_of).collect() });
                true
            }
            Ok(_) => false,
            Err(error) => {
                // Looked at again with the next change.
                self.seen_version = None;
                self.delay_for("looking at the database", &error);
                false
            }
        }
    }

    /// Does one piece of work.
    pub(super) fn work_once(&mut self) {
        if !self.has_work() {
            return;
        }
        if self.seen_version.is_none() {
            self.look_at_file();
        }
        if !self.postponed.is_empty() {
            let done = self.retry_postponed();
            self.carry_out_rest();
            if !done {
                return;
            }
        }
        if !self.forks.is_empty() {
            self.take_back();
        } else if self.reincarnate.is_some() {
            self.begin_anew();
        } else if self.seal_due {
            self.seal();
        } else if self.apply_due {
            self.apply();
        }
    }

    /// Takes back what this file wrote in place of what it had published before it was restored, and writes it anew.
    fn take_back(&mut self) {
        let reason = "the file was restored from an older copy and written to before it synced".to_owned();
        let forks: Vec<_> =
            self.forks.iter().map(|(stream, agreed)| OwnFork { stream: *stream, agreed: *agreed }).collect();
        match self.replica.take_back(&forks, &reason) {
            Ok(taken) => {
                self.forks.clear();
                self.retry_ms = 0;
                self.seal_due = true;
                if self.replica.life().incarnation() != self.incarnation {
                    // Whatever else was to end the incarnation has its way too.
                    self.reincarnate = None;
                }
                self.tell_incarnation();
                for head in &taken.heads {
                    self.tell(Input::CutBack { head: head_of(head) });
                }
                // Streams that are shorter now are told with all others: it does no harm to hear of a height twice.
                self.told = ArrivalNumber::new(0);
                self.tell_arrivals();
                self.report(DriverEvent::TakenBack { reason, report: taken });
            }
            Err(error) => self.delay_for("writing anew what was stranded", &error),
        }
    }

    fn begin_anew(&mut self) {
        let Some(reason) = self.reincarnate.take() else { return };
        match self.replica.start_incarnation(&reason) {
            Ok(()) => {
                self.retry_ms = 0;
                self.seal_due = true;
                self.tell_incarnation();
                self.report(DriverEvent::Reincarnated { reason });
            }
            Err(error) => {
                self.delay_for("beginning a new incarnation", &error);
                self.reincarnate = Some(reason);
            }
        }
    }

    fn seal(&mut self) {
        match self.replica.seal(SealBudget { bytes: SEAL_BYTES }) {
            Ok(report) => {
                self.retry_ms = 0;
                self.seal_due = report.more;
                self.tell_incarnation();
                self.tell_arrivals();
                if report.transactions > 0 || report.rows_taken_up > 0 {
                    self.report(DriverEvent::Sealed(report));
                }
                self.tell_of_triggers();
            }
            Err(error) => self.delay_for("sealing local writes", &error),
        }
    }

    fn apply(&mut self) {
        match self.replica.apply_stored(ApplyBudget { bytes: self.apply_bytes }) {
            Ok(report) => {
                self.retry_ms = 0;
                let progress = report.entries > 0 || !report.refused.is_empty();
                self.apply_due = report.more;
                self.apply_bytes = if progress { APPLY_BYTES } else { self.apply_bytes.saturating_mul(2) };
                if report.waiting > 0 && !report.more {
                    self.reapply_at = Some(self.now.elapsed_ms.saturating_add(REAPPLY_MS));
                }
                // Local writes are sealed before anything is merged.
                self.tell_incarnation();
                self.tell_arrivals();
                if progress || !report.tables_created.is_empty() || report.torn > 0 {
                    self.report(DriverEvent::Applied(report));
                }
                self.tell_of_triggers();
            }
            Err(error) => self.delay_for("merging entries", &error),
        }
    }

    fn tell_of_triggers(&mut self) {
        if let Some(reason) = self.replica.take_triggers_left_out() {
            self.report(DriverEvent::TriggersLeftOut { reason });
        }
    }

    /// Returns the arrival up to which the engine was told of everything.
    pub fn told(&self) -> ArrivalNumber {
        self.told
    }
}
