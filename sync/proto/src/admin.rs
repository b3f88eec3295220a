//! Admin operations: asked for, sent and taken in before the entries that name them.

use kithdb_log::{Added, AdminHash, AdminOperation};

use crate::engine::Engine;
use crate::frame::Frame;
use crate::limits::{FRAME_BYTES_MAX, INVALID_MAX, OPERATIONS_MAX, STALL_MS_MAX, UNPROVEN_ADMIN_BYTES_MAX};
use crate::output::{Event, Output, Reason};
use crate::session::Phase;
use crate::types::{RequestId, SessionId};

impl Engine {
    /// Asks the peer for the admin operations we lack; an answer under way is followed by a second question.
    pub(crate) fn ask_admin(&mut self, id: SessionId) {
        let deadline = self.now.elapsed_ms.saturating_add(STALL_MS_MAX);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.admin.asked.is_some() {
            session.admin.ask_again = true;
            return;
        }
        session.admin.asked = Some(deadline);
        let frontier = self.membership.frontier();
        self.send(id, &Frame::AskAdmin { frontier });
    }

    pub(crate) fn on_ask_admin(&mut self, id: SessionId, frontier: &[AdminHash]) -> Result<(), Reason> {
        let now = self.now.elapsed_ms;
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.spend_question(now)?;
        let operations: Vec<_> = self.membership.operations_after(frontier).iter().map(|op| op.encode()).collect();
        self.send_operations(id, &operations, true);
        Ok(())
    }

    /// Answers a side that knows the workspace and not this device: with what let this device in, and no more.
    pub(crate) fn on_ask_admission(&mut self, id: SessionId) -> Result<(), Reason> {
        let own = self.keys.author();
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        // The side that accepted has sent no proof yet, so nobody can have missed who it is.
        if !session.dialer || session.admin.proved_admission {
            return Err(Reason::Unexpected("nothing was said that this could ask about"));
        }
        session.admin.proved_admission = true;
        let Some(admitted) = self.membership.get(own).map(|member| member.admitted) else {
            return Err(Reason::Refused);
        };
        let past = self.membership.operations().filter(|op| self.membership.covers(&[admitted], &[op.hash()]));
        let past: Vec<_> = past.map(AdminOperation::encode).collect();
        self.send_operations(id, &past, true);
        Ok(())
    }

    /// Sends encoded operations in as many frames as they take; `is_answer` marks the last as the end of an answer.
    pub(crate) fn send_operations(&mut self, id: SessionId, operations: &[Vec<u8>], is_answer: bool) {
        let mut rest = operations;
        loop {
            let mut size = 16;
            let fits = rest.iter().take(OPERATIONS_MAX).take_while(|operation| {
                size += operation.len() + 5;
                size <= FRAME_BYTES_MAX
            });
            let (now, later) = rest.split_at(fits.count());
            rest = later;
            let last = is_answer && rest.is_empty();
            self.send(id, &Frame::Admin { last, operations: now.iter().map(Vec::as_slice).collect() });
            if rest.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn on_admin(&mut self, id: SessionId, last: bool, operations: &[&[u8]]) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let phase = session.phase;
        if matches!(phase, Phase::Admission(_)) {
            session.admin.unproven_bytes += operations.iter().map(|operation| operation.len() + 1).sum::<usize>();
            if session.admin.unproven_bytes > UNPROVEN_ADMIN_BYTES_MAX {
                return Err(Reason::TooMuchUnproven);
            }
        }
        let (added, is_gap) = self.add_operations(id, operations)?;
        if !added.is_empty() {
            let request = self.next_request();
            self.admin_stores.insert(request, (id, added.clone()));
            self.put(Output::StoreAdmin { request, operations: added });
        }
        match phase {
            Phase::Admission(peer) if last => {
                if self.membership.get(peer.author).is_none() {
                    return Err(Reason::Refused);
                }
                self.on_proven(id, peer)
            }
            Phase::Proven(_) => {
                if last {
                    self.on_admin_answered(id);
                }
                if is_gap {
                    self.ask_admin(id);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes in what holds; returns it, and whether something came before its causes.
    fn add_operations(&mut self, id: SessionId, operations: &[&[u8]]) -> Result<(Vec<AdminOperation>, bool), Reason> {
        let (mut added, mut is_gap) = (Vec::new(), false);
        let mut failed = Ok(());
        for bytes in operations {
            let outcome = match AdminOperation::decode(bytes) {
                Ok(operation) => self.membership.add(operation.clone()).map(|outcome| (outcome, operation)),
                Err(error) => Err(kithdb_log::AdminError::Malformed(error)),
            };
            match outcome {
                Ok((Added::Added, operation)) => added.push(operation),
                Ok((Added::AlreadyKnown, _)) => {}
                Ok((Added::MissingParents(_), _)) => is_gap = true,
                Err(error) => {
                    self.report(Event::AdminRefused { session: id, error });
                    failed = self.count_invalid(id);
                    if failed.is_err() {
                        break;
                    }
                }
            }
        }
        // What held before the fault counts all the same, but the session must not go on.
        if let Err(reason) = failed {
            if !added.is_empty() {
                let request = self.next_request();
                self.admin_stores.insert(request, (id, added.clone()));
                self.put(Output::StoreAdmin { request, operations: added });
            }
            return Err(reason);
        }
        Ok((added, is_gap))
    }

    pub(crate) fn count_invalid(&mut self, id: SessionId) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.invalid_count += 1;
        if session.invalid_count >= INVALID_MAX { Err(Reason::TooManyInvalid) } else { Ok(()) }
    }

    fn on_admin_answered(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.admin.asked = None;
        if std::mem::take(&mut session.admin.ask_again) {
            self.ask_admin(id);
            return;
        }
        let awaiting = std::mem::take(&mut session.admin.awaiting);
        for stream in &awaiting {
            session.admin.retried.insert(*stream);
        }
        for stream in &awaiting {
            self.refresh(stream);
        }
    }

    pub(crate) fn on_admin_stored(&mut self, request: RequestId) {
        let Some((source, operations)) = self.admin_stores.remove(&request) else { return };
        self.report(Event::AdminReceived { session: source, operations: operations.len() });
        self.tell_operations(Some(source), &operations);
    }

    pub(crate) fn on_local_admin(&mut self, operations: Vec<AdminOperation>) {
        // They were judged when they were signed; what does not hold is not passed on.
        let held = operations.into_iter().filter(|operation| self.membership.add(operation.clone()).is_ok());
        let held: Vec<_> = held.collect();
        self.tell_operations(None, &held);
    }

    fn tell_operations(&mut self, source: Option<SessionId>, operations: &[AdminOperation]) {
        let encoded: Vec<_> = operations.iter().map(AdminOperation::encode).collect();
        let live = self.sessions.iter().filter(|(id, session)| session.is_live() && Some(**id) != source);
        let live: Vec<_> = live.map(|(id, _)| *id).collect();
        for id in live.into_iter().filter(|_| !encoded.is_empty()) {
            self.send_operations(id, &encoded, false);
        }
    }
}
