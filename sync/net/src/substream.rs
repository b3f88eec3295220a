//! The libp2p behaviour that opens and accepts session substreams on a connection of our choice.
//!
//! On the wire this is what `libp2p-stream` speaks (multistream-select, then bytes), and tests/bad_frames.rs talks to it with that crate. It is
//! not used here because it picks a random connection and does not say which (a session could not report its path), drops a substream when two
//! arrive at once, dials by itself when a peer is gone, and keeps one channel for every connection there ever was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, transport::PortUse};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, Stream, StreamProtocol};

use crate::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_PER_PEER_MAX};

/// The name both sides agree on before the first byte of a session.
pub(crate) const SYNC_PROTOCOL: StreamProtocol = StreamProtocol::new("/kithdb/sync/1");

/// What came of a substream.
#[derive(Debug)]
pub(crate) enum HandlerEvent {
    /// The other side opened one.
    Inbound(Stream),
    /// The one we asked for is open, or why it is not.
    Outbound { attempt: u64, result: Result<Stream, String> },
}

/// A [`HandlerEvent`] with where it happened.
#[derive(Debug)]
pub(crate) struct SubstreamEvent {
    pub(crate) peer: libp2p::PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) event: HandlerEvent,
}

/// Opens and accepts session substreams.
#[derive(Default)]
pub(crate) struct Behaviour {
    queue: VecDeque<ToSwarm<SubstreamEvent, u64>>,
}

impl Behaviour {
    /// Asks for a substream on this connection; the answer carries `attempt`, or never comes if the connection closes first.
    pub(crate) fn open(&mut self, peer: libp2p::PeerId, connection: ConnectionId, attempt: u64) {
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: attempt,
        });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = SubstreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: libp2p::PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: libp2p::PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: libp2p::PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.queue.push_back(ToSwarm::GenerateEvent(SubstreamEvent { peer, connection, event }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // No waker: the swarm polls after each call that can fill the queue.
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The part of [`Behaviour`] that lives in one connection's task.
#[derive(Default)]
pub(crate) struct Handler {
    wanted: VecDeque<u64>,
    done: VecDeque<HandlerEvent>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = u64;
    type ToBehaviour = HandlerEvent;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = u64;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(SYNC_PROTOCOL), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, u64, Self::ToBehaviour>> {
        // No waker: the connection polls after each call that can fill the queues.
        if let Some(event) = self.done.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(attempt) = self.wanted.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(SYNC_PROTOCOL), attempt)
                    .with_timeout(HANDSHAKE_TIMEOUT),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, attempt: u64) {
        self.wanted.push_back(attempt);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), u64>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                if self.done.len() < HANDSHAKES_PER_PEER_MAX {
                    self.done.push_back(HandlerEvent::Inbound(protocol));
                } else {
                    tracing::debug!("a peer opens sessions too fast, one is dropped");
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.done.push_back(HandlerEvent::Outbound { attempt: info, result: Ok(protocol) })
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let reason = match error {
                    StreamUpgradeError::Timeout => "the peer did not answer in time".to_owned(),
                    StreamUpgradeError::Apply(never) => impossible(never),
                    StreamUpgradeError::NegotiationFailed => {
                        format!("the program there does not speak {SYNC_PROTOCOL}")
                    }
                    StreamUpgradeError::Io(error) => error.to_string(),
                };
                self.done.push_back(HandlerEvent::Outbound { attempt: info, result: Err(reason) });
            }
            _ => {}
        }
    }
}

fn impossible(never: Infallible) -> String {
    match never {}
}
