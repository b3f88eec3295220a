//! A peer whose every frame is written by the test.

use kithdb_log::ids::{HelloNonce, WorkspaceTag};
use kithdb_log::*;

use super::World;
use crate::handshake::hello_tag;
use crate::types::Digest;
use crate::{Frame, Input, Reason, SessionId};

/// One end of a session with `node`, dialled by the puppet.
pub(crate) struct Puppet {
    pub node: usize,
    pub session: SessionId,
    context: HelloContext,
    /// What the node sent, in order.
    pub received: Vec<Vec<u8>>,
}

impl Puppet {
    /// Opens a channel to a node and says nothing.
    pub fn connect(world: &mut World, node: usize, number: u64) -> Self {
        let session = SessionId(1_000_000 + number);
        let context = HelloContext {
            workspace: world.workspace.id(),
            initiator_transport: format!("puppet {number}").into_bytes(),
            responder_transport: b"node".to_vec(),
            initiator_nonce: HelloNonce::from_bytes([number as u8; 32]),
            responder_nonce: HelloNonce::from_bytes([0xee; 32]),
        };
        let mut puppet = Self { node, session, context, received: Vec::new() };
        let input = Input::PeerUp {
            session,
            dialer: false,
            local_transport: puppet.context.responder_transport.clone(),
            remote_transport: puppet.context.initiator_transport.clone(),
            nonce: puppet.context.responder_nonce,
        };
        puppet.feed(world, input);
        puppet
    }

    pub fn feed(&mut self, world: &mut World, input: Input) {
        let now = world.now;
        let node = &mut world.nodes[self.node];
        node.feed(&world.workspace, input, now);
        self.take(world);
    }

    /// Takes what the node has sent to the puppet, also because of others.
    pub fn take(&mut self, world: &mut World) {
        let node = &mut world.nodes[self.node];
        let (mine, others): (Vec<_>, Vec<_>) =
            node.outgoing.drain(..).partition(|(session, _)| *session == self.session);
        node.outgoing = others.into();
        self.received.extend(mine.into_iter().map(|(_, bytes)| bytes));
    }

    pub fn send(&mut self, world: &mut World, frame: &Frame<'_>) {
        self.send_bytes(world, frame.encode());
    }

    pub fn send_bytes(&mut self, world: &mut World, bytes: Vec<u8>) {
        let session = self.session;
        self.feed(world, Input::Frame { session, bytes });
    }

    pub fn tag(&self) -> WorkspaceTag {
        hello_tag(self.context.workspace, &self.context, SessionRole::Initiator)
    }

    pub fn hello(&mut self, world: &mut World) {
        let (nonce, tag) = (self.context.initiator_nonce, self.tag());
        self.send(world, &Frame::Hello { nonce, tag });
    }

    pub fn proof(&self, keys: &DeviceKeys) -> HelloProof {
        HelloProof::sign(&self.context, SessionRole::Initiator, keys)
    }

    /// Says hello and proves to be the holder of `keys`.
    pub fn prove(&mut self, world: &mut World, keys: &DeviceKeys) {
        self.hello(world);
        let HelloProof { author, signature } = self.proof(keys);
        let mut replica = [0xaa; 16];
        replica[..8].copy_from_slice(&self.session.0.to_le_bytes());
        self.send(world, &Frame::Proof { author, replica: ReplicaId::from_bytes(replica), signature });
    }

    /// Goes through the hello and a first meeting with nothing to offer.
    pub fn meet(&mut self, world: &mut World, keys: &DeviceKeys) {
        self.prove(world, keys);
        let (arrival, remembered) = (ArrivalNumber::new(1), ArrivalNumber::new(0));
        self.send(world, &Frame::Summary { arrival, digest: Digest::from_bytes([0xdd; 32]), remembered });
        self.send(world, &Frame::Admin { last: true, operations: vec![] });
        self.received.clear();
    }

    /// Returns why the node ended the session.
    pub fn end_reason<'w>(&self, world: &'w World) -> Option<&'w Reason> {
        let ends = &world.nodes[self.node].disconnects;
        ends.iter().find(|(session, _)| *session == self.session).map(|(_, reason)| reason)
    }

    /// Finds the want for a stream.
    pub fn want(&self, stream: &StreamId) -> Option<(crate::WantId, SequenceNumber, u64)> {
        self.received.iter().rev().find_map(|bytes| match Frame::decode(bytes) {
            Ok(Frame::Want { id, stream: wanted, from, credit }) if wanted == *stream => Some((id, from, credit)),
            _ => None,
        })
    }
}
