//! What the engine asks of the replica, done now or when the database can take it.

use kithdb_core::entries::{Stored, StreamState};
use kithdb_core::error::MembershipError;
use kithdb_core::log_error::LogError;
use kithdb_core::replica::Replica;
use kithdb_log::{
    AdminBody, AdminError, AdminOperation, ArrivalNumber, JoinRequest, ReplicaId, SealedEntry, SequenceNumber,
    StreamId, verify_invite_proof,
};
use kithdb_sync::{Event, Input, JoinFault, Output, RequestId, SessionId, StoreError, StoreOutcome, StreamHead};

use super::trouble::in_full;
use super::{Driver, DriverEvent, Effect, Trouble};

/// One question of the engine to the replica.
#[derive(Debug)]
pub(super) enum Task {
    Recall { session: SessionId, replica: ReplicaId },
    LoadChanges { request: RequestId, since: ArrivalNumber },
    Load { request: RequestId, stream: StreamId, from: SequenceNumber, bytes_max: usize },
    Store { request: RequestId, entries: Vec<SealedEntry> },
    StoreAdmin { request: RequestId, operations: Vec<AdminOperation> },
    Admit { session: SessionId, request: Box<JoinRequest> },
}

impl Task {
    const fn is_write(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::StoreAdmin { .. } | Self::Admit { .. })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Recall { .. } => "looking up a peer",
            Self::LoadChanges { .. } | Self::Load { .. } => "reading entries",
            Self::Store { .. } => "storing entries",
            Self::StoreAdmin { .. } => "storing admin operations",
            Self::Admit { .. } => "admitting a device",
        }
    }
}

pub(super) fn head_of(state: &StreamState) -> StreamHead {
    StreamHead { id: state.id, height: state.height, head: state.head }
}

impl Driver {
    /// Gives the engine an input and does what it asks, and what that leads to.
    pub(super) fn tell(&mut self, input: Input) {
        self.answer(input);
        self.carry_out_rest();
    }

    /// Does what the engine has asked and what that leads to.
    pub(super) fn carry_out_rest(&mut self) {
        while let Some(output) = self.outputs.pop_front() {
            self.carry_out(output);
        }
    }

    /// Gives the engine an answer; what it asks then comes after what it asked before.
    fn answer(&mut self, input: Input) {
        let outputs = self.engine.handle(input, self.now);
        self.outputs.extend(outputs);
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { session, frame } => {
                if let Some(traffic) = self.traffic.get_mut(&session) {
                    traffic.sent_bytes += frame.len() as u64;
                    traffic.sent_frames += 1;
                }
                self.effects.push(Effect::Send { session, frame });
            }
            Output::Disconnect { session, reason } => {
                self.traffic.remove(&session);
                self.effects.push(Effect::Disconnect { session, reason });
            }
            Output::Recall { session, replica } => self.begin(Task::Recall { session, replica }),
            Output::Remember { replica, arrival } => {
                // A lost note costs a longer reunion, nothing else.
                if let Err(error) = self.replica.remember_peer(replica, arrival) {
                    tracing::debug!(error = in_full(&error), "a peer's arrival was not noted");
                }
            }
            Output::LoadChanges { request, since } => self.begin(Task::LoadChanges { request, since }),
            Output::Load { request, stream, from, bytes_max } => {
                self.begin(Task::Load { request, stream, from, bytes_max });
            }
            Output::Store { request, entries } => self.begin(Task::Store { request, entries }),
            Output::StoreAdmin { request, operations } => self.begin(Task::StoreAdmin { request, operations }),
            Output::Apply => {
                self.apply_due = true;
                self.reapply_at = None;
            }
            Output::AskAdmit { session, request } => {
                self.begin(Task::Admit { session, request: Box::new(request) });
            }
            Output::Schedule { at_elapsed_ms } => self.engine_at = Some(at_elapsed_ms),
            Output::Event(event) => self.on_event(event),
            other => tracing::debug!(?other, "the engine asked for something unknown"),
        }
    }

    fn on_event(&mut self, event: Event) {
        match &event {
            Event::PeerJoined { session, .. } => {
                self.traffic.insert(*session, Default::default());
            }
            Event::OwnStreamAhead { stream, sequence, .. } => self.on_own_stream_ahead(stream, *sequence),
            Event::Fork { stream, sequence, .. }
                if stream.author == self.replica.author() && stream.incarnation == self.incarnation =>
            {
                self.reincarnate =
                    Some(format!("a peer holds another entry {sequence} of this device: it was restored from a copy"));
            }
            Event::SameReplica { .. } => {
                self.reincarnate = Some("a copy of this database is in use elsewhere".to_owned());
            }
            _ => {}
        }
        self.report(DriverEvent::Sync(event));
    }

    fn on_own_stream_ahead(&mut self, stream: &StreamId, sequence: SequenceNumber) {
        // Another process on this file may have written and published what this engine has not heard of yet.
        let stored = self.replica.load_entries(stream, sequence, 0).is_ok_and(|entries| !entries.is_empty());
        if stored {
            self.look_at_file();
        } else {
            self.reincarnate = Some(format!(
                "a peer holds entry {sequence} of this device, which this file does not: it is an older copy"
            ));
        }
    }

    fn begin(&mut self, task: Task) {
        if task.is_write() && self.postponed.iter().any(Task::is_write) {
            self.postponed.push_back(task);
        } else if let Err((task, reason)) = self.attempt(task) {
            self.postponed.push_back(task);
            self.delay(Trouble::Busy, reason);
        }
    }

    /// Tries what waited, in order, until the database is busy again.
    pub(super) fn retry_postponed(&mut self) -> bool {
        while let Some(task) = self.postponed.pop_front() {
            if let Err((task, reason)) = self.attempt(task) {
                self.postponed.push_front(task);
                self.delay(Trouble::Busy, reason);
                return false;
            }
        }
        true
    }

    /// Does a task and answers the engine; gives it back if the database is busy.
    fn attempt(&mut self, task: Task) -> Result<(), (Task, String)> {
        let name = task.name();
        let busy =
            |error: &(dyn std::error::Error + 'static), task| Err((task, format!("{name} waits: {}", in_full(error))));
        match task {
            Task::Recall { session, replica } => {
                let remembered = match self.replica.peer_memory(replica) {
                    Ok(remembered) => remembered,
                    Err(error) if is_busy(&error) => return busy(&error, Task::Recall { session, replica }),
                    // Without the note everything is compared, which is slower and right.
                    Err(error) => self.warn(name, &error, ArrivalNumber::new(0)),
                };
                self.answer(Input::Recalled { session, remembered });
            }
            Task::LoadChanges { request, since } => match self.replica.changes_since(since) {
                Ok(states) => {
                    self.answer(Input::Changes { request, streams: states.iter().map(head_of).collect() });
                }
                Err(error) if is_busy(&error) => return busy(&error, Task::LoadChanges { request, since }),
                Err(error) => {
                    let input = self.warn(name, &error, Input::LoadFailed { request });
                    self.answer(input);
                }
            },
            Task::Load { request, stream, from, bytes_max } => {
                match self.replica.load_entries(&stream, from, bytes_max) {
                    Ok(entries) => self.answer(Input::Loaded { request, entries }),
                    Err(error) if is_busy(&error) => {
                        return busy(&error, Task::Load { request, stream, from, bytes_max });
                    }
                    Err(error) => {
                        let input = self.warn(name, &error, Input::LoadFailed { request });
                        self.answer(input);
                    }
                }
            }
            Task::Store { request, entries } => match self.replica.store_entries(&entries) {
                Ok(report) => {
                    self.retry_ms = 0;
                    let stored = report.outcomes.iter().filter(|outcome| **outcome == Stored::New).count() as u64;
                    if report.arrival.get() == self.told.get() + stored {
                        self.told = report.arrival;
                    } else {
                        // Another connection stored something in between: the engine hears of that first, or it would count it as told.
                        self.tell_arrivals();
                    }
                    let outcomes = report.outcomes.iter().map(outcome_of).collect();
                    self.answer(Input::StoreDone { request, arrival: report.arrival, outcomes });
                }
                Err(error) if is_busy(&error) => return busy(&error, Task::Store { request, entries }),
                Err(error) => self.fail_store(name, request, &error),
            },
            Task::StoreAdmin { request, operations } => match self.replica.store_admin(&operations) {
                Ok(report) => {
                    for (hash, error) in &report.refused {
                        tracing::warn!(%hash, %error, "the replica refused an admin operation that the engine took");
                    }
                    self.answer(Input::AdminStored { request });
                }
                Err(error) if is_busy(&error) => return busy(&error, Task::StoreAdmin { request, operations }),
                Err(error) => self.fail_store(name, request, &error),
            },
            Task::Admit { session, request } => return self.admit(session, request),
        }
        Ok(())
    }

    fn admit(&mut self, session: SessionId, request: Box<JoinRequest>) -> Result<(), (Task, String)> {
        let author = request.author;
        // The invitation may have been made by another process a moment ago.
        self.look_at_file();
        match self.replica.admit(&request, self.now.unix_ms) {
            Ok(operation) => {
                self.answer(Input::Admitted { session, operations: vec![operation] });
                self.report(DriverEvent::Admitted { author });
            }
            // The device was let in before and lost the answer: its secrets are wrapped to its own key.
            Err(MembershipError::Admin(AdminError::AlreadyMember { .. } | AdminError::InviteUsed))
                if is_admitted_by(&self.replica, &request) =>
            {
                self.answer(Input::Admitted { session, operations: Vec::new() });
            }
            Err(error) if is_busy(&error) => {
                return Err((
                    Task::Admit { session, request },
                    format!("admitting a device waits: {}", in_full(&error)),
                ));
            }
            Err(error) => {
                let fault = fault_of(&error);
                self.answer(Input::AdmitRefused { session, fault });
                self.report(DriverEvent::NotAdmitted { author, fault, reason: in_full(&error) });
            }
        }
        Ok(())
    }

    fn warn<T>(&mut self, what: &str, error: &LogError, instead: T) -> T {
        let (trouble, reason) = (Trouble::of(error), format!("{what} failed: {}", in_full(error)));
        tracing::warn!(reason);
        self.report(DriverEvent::Delayed { trouble, reason });
        instead
    }

    fn fail_store(&mut self, what: &str, request: RequestId, error: &(dyn std::error::Error + 'static)) {
        let (trouble, reason) = (Trouble::of(error), format!("{what} failed: {}", in_full(error)));
        tracing::warn!(reason);
        self.report(DriverEvent::Delayed { trouble, reason });
        let error = if trouble == Trouble::DiskFull { StoreError::DiskFull } else { StoreError::Other };
        self.answer(Input::StoreError { request, error });
    }
}

fn is_busy(error: &(dyn std::error::Error + 'static)) -> bool {
    Trouble::of(error) == Trouble::Busy
}

const fn outcome_of(stored: &Stored) -> StoreOutcome {
    match stored {
        Stored::New => StoreOutcome::Stored,
        Stored::Known => StoreOutcome::AlreadyThere,
        Stored::Gap | Stored::Fork { .. } => StoreOutcome::Refused,
    }
}

/// Tells whether a member asks again with the ticket and the keys it was let in with.
fn is_admitted_by(replica: &Replica, request: &JoinRequest) -> bool {
    let JoinRequest { invite_key, author, exchange_key, proof, .. } = request;
    let (workspace, membership) = (replica.workspace().id(), replica.membership());
    let Some(member) = membership.get(*author).filter(|member| member.exchange_key == *exchange_key) else {
        return false;
    };
    let admitted = membership.operation(&member.admitted).map(|operation| &operation.body);
    let asked = membership.find_invite(invite_key).map(|(hash, _)| hash);
    matches!(admitted, Some(AdminBody::Admit { invite, .. }) if Some(*invite) == asked)
        && verify_invite_proof(invite_key, workspace, *author, exchange_key, proof).is_ok()
}

const fn fault_of(error: &MembershipError) -> JoinFault {
    match error {
        MembershipError::OwnersOnly { .. } => JoinFault::NotAnOwner,
        MembershipError::WeakKey(_) => JoinFault::Proof,
        MembershipError::Admin(error) => match error {
            AdminError::InviteExpired { .. } => JoinFault::Expired,
            AdminError::InviteUsed => JoinFault::Used,
            AdminError::InviteUnknown => JoinFault::Unknown,
            AdminError::NotAMember { .. } | AdminError::NotAnOwner { .. } => JoinFault::NotAnOwner,
            AdminError::Proof | AdminError::WeakKey { .. } | AdminError::InviteRole { .. } => JoinFault::Proof,
            AdminError::AlreadyMember { .. } => JoinFault::AlreadyMember,
            _ => JoinFault::Busy,
        },
        _ => JoinFault::Busy,
    }
}
