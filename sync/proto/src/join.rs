//! Joining: a device with a ticket asks an owner, and gets the workspace's admin operations.
//!
//! The joining side dials. After the hello, where both tags show that both know the workspace, it sends its request in
//! place of a proof. The owner's driver judges the ticket and signs; a refusal names its reason.
//!
//! Invariant: a joiner reports success only for a history that begins with the ticket's workspace, includes what the
//! inviter knew, and makes this device a member.

use kithdb_log::ids::HelloNonce;
use kithdb_log::{
    Added, AdminOperation, DecodeError, DeviceKeys, JoinRequest, Membership, Role, SessionRole, Ticket, WorkspaceId,
};

use crate::engine::Engine;
use crate::frame::Frame;
use crate::handshake::hello_tag;
use crate::input::Input;
use crate::limits::{FRAME_BYTES_MAX, HANDSHAKE_MS_MAX, JOIN_MS_MAX, UNPROVEN_ADMIN_BYTES_MAX};
use crate::output::{Event, Output, Reason};
use crate::session::{Phase, Session};
use crate::types::{JoinFault, Now, SessionId};

impl Engine {
    pub(crate) fn on_join(&mut self, id: SessionId, request: JoinRequest) -> Result<(), Reason> {
        let deadline = self.now.elapsed_ms.saturating_add(JOIN_MS_MAX);
        let is_owner = self.membership.get(self.keys.author()).is_some_and(|member| member.role == Role::Owner);
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if !session.tag_holds || session.dialer {
            return Err(Reason::Refused);
        }
        session.phase = Phase::Joining;
        session.hello_deadline = Some(deadline);
        self.report(Event::JoinAsked { session: id, author: request.author });
        if is_owner {
            self.put(Output::AskAdmit { session: id, request });
        } else {
            self.on_admit_refused(id, JoinFault::NotAnOwner);
        }
        Ok(())
    }

    pub(crate) fn on_admitted(&mut self, id: SessionId, operations: Vec<AdminOperation>) {
        // The operations count whether or not the device is still there to hear of it.
        self.on_local_admin(operations);
        let deadline = self.now.elapsed_ms.saturating_add(HANDSHAKE_MS_MAX);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.phase == Phase::Joining) else {
            return;
        };
        session.phase = Phase::Leaving;
        session.hello_deadline = Some(deadline);
        let all: Vec<_> = self.membership.operations().map(AdminOperation::encode).collect();
        self.send_operations(id, &all, true);
        self.send(id, &Frame::Joined);
    }

    pub(crate) fn on_admit_refused(&mut self, id: SessionId, fault: JoinFault) {
        if self.sessions.get(&id).is_some_and(|session| session.phase == Phase::Joining) {
            self.send(id, &Frame::JoinRefused { fault });
            self.close(id, Reason::JoinRefused(fault));
        }
    }
}

/// Asks to join a workspace with a ticket, over one session that this side dialled.
///
/// It takes [`Input::PeerUp`], [`Input::Frame`], [`Input::PeerDown`] and [`Input::Timer`], and ends with
/// [`Output::Joined`] or an [`Output::Disconnect`] that says why not. Then a new one can try another peer.
#[derive(Debug)]
pub struct Joiner {
    workspace: WorkspaceId,
    ticket: Ticket,
    request: JoinRequest,
    session: Option<(SessionId, Session)>,
    received: Vec<AdminOperation>,
    received_bytes: usize,
    asked: bool,
}

impl Joiner {
    /// Prepares to join with a device's keys; fails if the name is not one that a device can have.
    pub fn new(ticket: Ticket, keys: &DeviceKeys, device_name: &str) -> Result<Self, DecodeError> {
        let workspace = ticket.workspace;
        let request = ticket.secret.request(workspace, keys, device_name)?;
        Ok(Self { workspace, ticket, request, session: None, received: Vec::new(), received_bytes: 0, asked: false })
    }

    /// Takes in what happened and returns what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Output> {
        match input {
            Input::PeerUp { session: id, dialer, local_transport, remote_transport, nonce }
                if self.session.is_none() =>
            {
                let deadline = now.elapsed_ms.saturating_add(JOIN_MS_MAX);
                let session = Session::new(dialer, local_transport, remote_transport, nonce, deadline);
                let tag = hello_tag(self.workspace, &session.context(self.workspace), SessionRole::Initiator);
                self.session = Some((id, session));
                if !dialer {
                    return self.give_up(Reason::Unexpected("the joining side dials"));
                }
                let frame = Frame::Hello { nonce, tag }.encode();
                vec![Output::Send { session: id, frame }, Output::Schedule { at_elapsed_ms: deadline }]
            }
            Input::Frame { session, bytes } if self.is_session(session) => match self.on_frame(&bytes) {
                Ok(outputs) => outputs,
                Err(reason) => self.give_up(reason),
            },
            Input::PeerDown { session } if self.is_session(session) => {
                self.session = None;
                Vec::new()
            }
            Input::Timer if self.is_late(now) => self.give_up(Reason::HandshakeTimeout),
            _ => Vec::new(),
        }
    }

    fn is_session(&self, session: SessionId) -> bool {
        self.session.as_ref().is_some_and(|(id, _)| *id == session)
    }

    fn is_late(&self, now: Now) -> bool {
        self.session.as_ref().is_some_and(|(_, s)| s.hello_deadline.is_some_and(|deadline| deadline <= now.elapsed_ms))
    }

    fn give_up(&mut self, reason: Reason) -> Vec<Output> {
        let Some((session, _)) = self.session.take() else { return Vec::new() };
        let mut outputs = Vec::new();
        if let Some(code) = reason.close_code() {
            outputs.push(Output::Send { session, frame: Frame::Close { code }.encode() });
        }
        if let Reason::JoinRefused(fault) = reason {
            outputs.push(Output::Event(Event::JoinRefused { fault }));
        }
        outputs.push(Output::Disconnect { session, reason });
        outputs
    }

    fn on_frame(&mut self, bytes: &[u8]) -> Result<Vec<Output>, Reason> {
        if bytes.len() <= FRAME_BYTES_MAX && bytes.first().is_some_and(|v| *v != crate::limits::PROTOCOL_VERSION) {
            return Err(Reason::Version);
        }
        match Frame::decode(bytes).map_err(Reason::Malformed)? {
            Frame::Hello { nonce, tag } if !self.asked => self.on_hello(nonce, &tag),
            Frame::Admin { operations, .. } if self.asked => {
                self.received_bytes += operations.iter().map(|operation| operation.len() + 1).sum::<usize>();
                if self.received_bytes > UNPROVEN_ADMIN_BYTES_MAX {
                    return Err(Reason::TooMuchUnproven);
                }
                for operation in operations {
                    self.received.push(AdminOperation::decode(operation).map_err(Reason::Malformed)?);
                }
                Ok(Vec::new())
            }
            Frame::Joined if self.asked => self.on_joined(),
            Frame::JoinRefused { fault } if self.asked => Err(Reason::JoinRefused(fault)),
            Frame::Close { code } => Err(Reason::ClosedByPeer(code)),
            _ => Err(Reason::Unexpected("it does not belong in a session that asks to join")),
        }
    }

    fn on_hello(&mut self, nonce: HelloNonce, tag: &kithdb_log::ids::WorkspaceTag) -> Result<Vec<Output>, Reason> {
        let Some((id, session)) = &mut self.session else { return Ok(Vec::new()) };
        session.remote_nonce = nonce;
        // Only who knows the workspace gets to see this device's name and proof.
        if *tag != hello_tag(self.workspace, &session.context(self.workspace), SessionRole::Responder) {
            return Err(Reason::Refused);
        }
        self.asked = true;
        Ok(vec![Output::Send { session: *id, frame: Frame::Join(self.request.clone()).encode() }])
    }

    fn on_joined(&mut self) -> Result<Vec<Output>, Reason> {
        let operations = std::mem::take(&mut self.received);
        let mut rest = operations.iter().cloned();
        let genesis = rest.next().ok_or(Reason::WrongHistory)?;
        let mut membership = Membership::from_genesis(self.workspace, genesis).map_err(|_| Reason::WrongHistory)?;
        for operation in rest {
            match membership.add(operation) {
                Ok(Added::Added | Added::AlreadyKnown) => {}
                Ok(Added::MissingParents(_)) | Err(_) => return Err(Reason::WrongHistory),
            }
        }
        let is_whole = self.ticket.frontier.iter().all(|hash| membership.contains(hash));
        let is_member = membership.get(self.request.author).is_some_and(|member| member.role == self.ticket.role);
        if !is_whole || !is_member || membership.epoch() != self.ticket.epoch {
            return Err(Reason::WrongHistory);
        }
        let mut outputs = vec![Output::Joined { operations }];
        outputs.extend(self.give_up(Reason::Joined));
        Ok(outputs)
    }
}
