//! The hello: both sides show that they know the workspace and prove that they are members.
//!
//! The side that dialled goes first: it shows its proof only to a side whose tag holds, and the other side shows nothing
//! but its tag before that proof holds. A tag covers the transport ids, so that nobody can pass on another's.
//!
//! Invariants:
//! 1. A wrong tag and a wrong proof are refused with the same bytes at the same point.
//! 2. A side that accepted the connection sends nothing of its workspace before the peer is proven a member.

use kithdb_log::ids::{HelloNonce, WorkspaceTag};
use kithdb_log::{AuthorId, HelloContext, HelloProof, ReplicaId, SessionRole, Signature, WorkspaceId, workspace_tag};

use crate::engine::Engine;
use crate::frame::Frame;
use crate::limits::{HANDSHAKE_MS_MAX, SESSIONS_MAX, UNPROVEN_SESSIONS_MAX};
use crate::output::{Event, Output, Reason};
use crate::session::{Peer, Phase, Session};
use crate::types::SessionId;

/// The tag of one side: of the initiator before it knows the other's nonce, of the responder after.
pub(crate) fn hello_tag(workspace: WorkspaceId, context: &HelloContext, role: SessionRole) -> WorkspaceTag {
    let mut hasher = blake3::Hasher::new_derive_key("kithdb 2026 hello tag v1");
    for transport in [&context.initiator_transport, &context.responder_transport] {
        hasher.update(&(transport.len() as u64).to_le_bytes());
        hasher.update(transport);
    }
    hasher.update(context.initiator_nonce.as_bytes());
    match role {
        SessionRole::Initiator => hasher.update(&[0]),
        SessionRole::Responder => hasher.update(&[1]).update(context.responder_nonce.as_bytes()),
    };
    workspace_tag(workspace, &[HelloNonce::from_bytes(*hasher.finalize().as_bytes())])
}

impl Session {
    pub(crate) const fn role(&self) -> SessionRole {
        if self.dialer { SessionRole::Initiator } else { SessionRole::Responder }
    }

    pub(crate) fn context(&self, workspace: WorkspaceId) -> HelloContext {
        let (local, remote) = (self.local_transport.clone(), self.remote_transport.clone());
        let (initiator_transport, responder_transport) = if self.dialer { (local, remote) } else { (remote, local) };
        let (initiator_nonce, responder_nonce) =
            if self.dialer { (self.local_nonce, self.remote_nonce) } else { (self.remote_nonce, self.local_nonce) };
        HelloContext { workspace, initiator_transport, responder_transport, initiator_nonce, responder_nonce }
    }
}

impl Engine {
    pub(crate) fn on_peer_up(
        &mut self,
        id: SessionId,
        dialer: bool,
        local_transport: Vec<u8>,
        remote_transport: Vec<u8>,
        nonce: HelloNonce,
    ) {
        if self.sessions.contains_key(&id) {
            return;
        }
        let deadline = self.now.elapsed_ms.saturating_add(HANDSHAKE_MS_MAX);
        let unproven = self.sessions.values().filter(|session| !session.dialer && session.peer().is_none()).count();
        let is_full = self.sessions.len() >= SESSIONS_MAX || (!dialer && unproven >= UNPROVEN_SESSIONS_MAX);
        let session = Session::new(dialer, local_transport, remote_transport, nonce, deadline);
        let tag = hello_tag(self.workspace, &session.context(self.workspace), SessionRole::Initiator);
        self.sessions.insert(id, session);
        if is_full {
            self.close(id, Reason::TooManySessions);
        } else if dialer {
            self.send(id, &Frame::Hello { nonce, tag });
        }
    }

    pub(crate) fn on_hello(&mut self, id: SessionId, nonce: HelloNonce, tag: WorkspaceTag) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.remote_nonce = nonce;
        session.phase = Phase::Proof;
        let context = session.context(self.workspace);
        session.tag_holds = tag == hello_tag(self.workspace, &context, session.role().other());
        if session.dialer {
            if !session.tag_holds {
                return Err(Reason::Refused);
            }
            self.send_proof(id);
        } else {
            let nonce = session.local_nonce;
            let tag = hello_tag(self.workspace, &context, SessionRole::Responder);
            self.send(id, &Frame::Hello { nonce, tag });
        }
        Ok(())
    }

    fn send_proof(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let proof = HelloProof::sign(&session.context(self.workspace), session.role(), &self.keys);
        let (author, signature) = (proof.author, proof.signature);
        self.send(id, &Frame::Proof { author, replica: self.replica, signature });
    }

    pub(crate) fn on_proof(
        &mut self,
        id: SessionId,
        author: AuthorId,
        replica: ReplicaId,
        signature: Signature,
    ) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let context = session.context(self.workspace);
        let holds = HelloProof { author, signature }.verify(&context, session.role().other()).is_ok();
        if !holds || !session.tag_holds {
            return Err(Reason::Refused);
        }
        let peer = Peer { author, replica };
        if self.membership.get(author).is_some() {
            return self.on_proven(id, peer);
        }
        session.phase = Phase::Admission(peer);
        self.send(id, &Frame::AskAdmin { frontier: Vec::new() });
        Ok(())
    }

    /// Goes on with a peer that is a member.
    pub(crate) fn on_proven(&mut self, id: SessionId, peer: Peer) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.phase = Phase::Proven(peer);
        let (dialer, is_loop) = (session.dialer, session.local_transport == session.remote_transport);
        if is_loop {
            return Err(Reason::SelfConnection);
        }
        let is_twin = peer.replica == self.replica;
        if !is_twin {
            self.keep_one_session(id, peer)?;
        }
        if !dialer {
            self.send_proof(id);
        }
        self.report(Event::PeerJoined { session: id, author: peer.author, replica: peer.replica });
        if is_twin {
            self.report(Event::SameReplica { session: id });
        }
        self.put(Output::Recall { session: id, replica: peer.replica });
        Ok(())
    }

    /// Closes all but one of the sessions with one replica; both sides choose the same.
    fn keep_one_session(&mut self, id: SessionId, peer: Peer) -> Result<(), Reason> {
        let Some(dialer) = self.sessions.get(&id).map(|session| session.dialer) else { return Ok(()) };
        let others = self.sessions.iter().filter(|(other, s)| **other != id && s.peer() == Some(peer));
        let others: Vec<_> = others.map(|(other, session)| (*other, session.dialer)).collect();
        for (other, other_dialer) in others {
            // Dialled by the same side: the older one is most likely dead already. Else the greater replica's stands.
            if other_dialer == dialer || dialer == (self.replica > peer.replica) {
                self.close(other, Reason::Duplicate);
            } else {
                return Err(Reason::Duplicate);
            }
        }
        Ok(())
    }
}
