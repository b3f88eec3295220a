//! What the engine asks of the replica, done now or when the database can take it.

use kithdb_core::entries::{StoreReport, Stored, StreamState};
use kithdb_core::error::MembershipError;
use kithdb_core::replica::Replica;
use kithdb_core::strand::Branch;
use kithdb_log::{
    AdminBody, AdminError, AdminOperation, ArrivalNumber, EntryHash, JoinRequest, ReplicaId, SealedEntry,
    SequenceNumber, StreamId, verify_invite_proof,
};
use kithdb_sync::{
    Event, Input, JoinFault, Output, OwnBranch, RequestId, SessionId, StoreError, StoreOutcome, StreamHead,
};

use super::trouble::in_full;
use super::{Driver, DriverEvent, Effect, Trouble};

/// One question of the engine to the replica.
#[derive(Debug)]
pub(super) enum Task {
    Recall { session: SessionId, replica: ReplicaId },
    LoadChanges { request: RequestId, since: ArrivalNumber },
    Load { request: RequestId, stream: StreamId, from: SequenceNumber, bytes_max: usize },
    Store { request: RequestId, entries: Vec<SealedEntry> },
    Compare(OwnEntry),
    StoreAdmin { request: RequestId, operations: Vec<AdminOperation> },
    Admit { session: SessionId, request: Box<JoinRequest> },
}

/// An entry of this device's own, as a peer holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnEntry {
    session: SessionId,
    stream: StreamId,
    sequence: SequenceNumber,
    hash: EntryHash,
    previous: Option<EntryHash>,
}

impl Task {
    const fn is_write(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::StoreAdmin { .. } | Self::Admit { .. })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Recall { .. } => "looking up a peer",
            Self::LoadChanges { .. } | Self::Load { .. } | Self::Compare(_) => "reading entries",
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
            Output::Compare { session, stream, sequence, hash, previous } => {
                self.begin(Task::Compare(OwnEntry { session, stream, sequence, hash, previous }));
            }
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
        } else if let Err(reason) = self.attempt(&task) {
            self.postponed.push_back(task);
            self.delay(Trouble::Busy, reason);
        }
    }

    /// Tries what waited, in order, until the database is busy again.
    pub(super) fn retry_postponed(&mut self) -> bool {
        while let Some(task) = self.postponed.pop_front() {
            if let Err(reason) = self.attempt(&task) {
                self.postponed.push_front(task);
                self.delay(Trouble::Busy, reason);
                return false;
            }
        }
        true
    }

    /// Does a task and answers the engine; says why the database cannot take it now if it is busy.
    fn attempt(&mut self, task: &Task) -> Result<(), String> {
        let answer = match task {
            Task::Recall { session, replica } => {
                let remembered = match self.replica.peer_memory(*replica) {
                    Ok(remembered) => remembered,
                    // Without the note everything is compared, which is slower and right.
                    Err(error) => self.note_trouble(task, &error).map(|_| ArrivalNumber::new(0))?,
                };
                Input::Recalled { session: *session, remembered }
            }
            Task::LoadChanges { request, since } => match self.replica.changes_since(*since) {
                Ok(states) => Input::Changes { request: *request, streams: states.iter().map(head_of).collect() },
                Err(error) => self.note_trouble(task, &error).map(|_| Input::LoadFailed { request: *request })?,
            },
            Task::Load { request, stream, from, bytes_max } => {
                match self.replica.load_entries(stream, *from, *bytes_max) {
                    Ok(entries) => {
                        self.look_for_damage(&entries);
                        Input::Loaded { request: *request, entries }
                    }
                    Err(error) => self.note_trouble(task, &error).map(|_| Input::LoadFailed { request: *request })?,
                }
            }
            Task::Compare(entry) => self.compare(task, entry)?,
            Task::Store { request, entries } => match self.replica.store_entries(entries) {
                Ok(report) => self.on_stored(*request, &report),
                Err(error) => self.note_trouble(task, &error).map(|trouble| store_error(*request, trouble))?,
            },
            Task::StoreAdmin { request, operations } => match self.replica.store_admin(operations) {
                Ok(report) => {
                    for (hash, error) in &report.refused {
                        tracing::warn!(%hash, %error, "the replica refused an admin operation that the engine took");
                    }
                    Input::AdminStored { request: *request }
                }
                Err(error) => self.note_trouble(task, &error).map(|trouble| store_error(*request, trouble))?,
            },
            Task::Admit { session, request } => self.admit(*session, request)?,
        };
        self.answer(answer);
        Ok(())
    }

    /// Tells the user, once, of an entry that peers are going to refuse. It is sent all the same: so they learn which one cannot be had
    /// here, and ask others for it.
    fn look_for_damage(&mut self, entries: &[SealedEntry]) {
        let damaged = entries.iter().filter(|_| !self.told_damage).find(|entry| !entry.has_own_ciphertext());
        if let Some(SealedEntry { header, .. }) = damaged {
            self.told_damage = true;
            self.report(DriverEvent::Damaged { stream: header.stream, sequence: header.sequence });
        }
    }

    /// Compares an entry of this device's own with what is stored; where the two part, what was stored is due to be taken back.
    fn compare(&mut self, task: &Task, entry: &OwnEntry) -> Result<Input, String> {
        let OwnEntry { session, stream, sequence, hash, previous } = *entry;
        let branch = match self.replica.compare_own(&stream, sequence, hash, previous) {
            Ok(Branch::Forked) => {
                let agreed = SequenceNumber::new(sequence.get().saturating_sub(1));
                let earliest = self.forks.entry(stream).or_insert(agreed);
                *earliest = agreed.min(*earliest);
                OwnBranch::Forked
            }
            Ok(Branch::ForkedBefore) => OwnBranch::ForkedBefore,
            Ok(Branch::Settled) => OwnBranch::Settled,
            Ok(Branch::Same) => OwnBranch::Same,
            // Compared again at the next meeting.
            Err(error) => self.note_trouble(task, &error).map(|_| OwnBranch::Same)?,
        };
        Ok(Input::Compared { session, stream, sequence, hash, branch })
    }

    fn on_stored(&mut self, request: RequestId, report: &StoreReport) -> Input {
        self.retry_ms = 0;
        let stored = report.outcomes.iter().filter(|outcome| **outcome == Stored::New).count() as u64;
        if report.arrival.get() == self.told.get() + stored {
            self.told = report.arrival;
        } else {
            // Another connection stored something in between: the engine hears of that first, or it would count it as told.
            self.tell_arrivals();
        }
        let outcomes = report.outcomes.iter().map(outcome_of).collect();
        Input::StoreDone { request, arrival: report.arrival, outcomes }
    }

    fn admit(&mut self, session: SessionId, request: &JoinRequest) -> Result<Input, String> {
        let author = request.author;
        // The invitation may have been made by another process a moment ago.
        self.look_at_file();
        match self.replica.admit(request, self.now.unix_ms) {
            Ok(operation) => {
                self.report(DriverEvent::Admitted { author });
                Ok(Input::Admitted { session, operations: vec![operation] })
            }
            // The device was let in before and lost the answer: its secrets are wrapped to its own key.
            Err(MembershipError::Admin(AdminError::AlreadyMember { .. } | AdminError::InviteUsed))
                if is_admitted_by(&self.replica, request) =>
            {
                Ok(Input::Admitted { session, operations: Vec::new() })
            }
            Err(error) if Trouble::of(&error) == Trouble::Busy => {
                Err(format!("admitting a device waits: {}", in_full(&error)))
            }
            Err(error) => {
                let fault = fault_of(&error);
                self.report(DriverEvent::NotAdmitted { author, fault, reason: in_full(&error) });
                Ok(Input::AdmitRefused { session, fault })
            }
        }
    }

    /// Reports why a task failed, unless the database is only busy.
    fn note_trouble(&mut self, task: &Task, error: &(dyn std::error::Error + 'static)) -> Result<Trouble, String> {
        let (trouble, name) = (Trouble::of(error), task.name());
        if trouble == Trouble::Busy {
            return Err(format!("{name} waits: {}", in_full(error)));
        }
        let reason = format!("{name} failed: {}", in_full(error));
        tracing::warn!(reason);
        self.report(DriverEvent::Delayed { trouble, reason });
        Ok(trouble)
    }
}

fn store_error(request: RequestId, trouble: Trouble) -> Input {
    let error = if trouble == Trouble::DiskFull { StoreError::DiskFull } else { StoreError::Other };
    Input::StoreError { request, error }
}

const fn outcome_of(stored: &Stored) -> StoreOutcome {
    match stored {
        Stored::New => StoreOutcome::Stored,
        Stored::Known => StoreOutcome::AlreadyThere,
        Stored::Gap => StoreOutcome::Refused,
        Stored::Fork { .. } => StoreOutcome::Forked,
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
