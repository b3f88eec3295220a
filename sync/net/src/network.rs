//! The handle an application drives the network with.

use std::sync::Arc;

use libp2p::swarm::{self, Swarm};
use tokio::sync::{mpsc, oneshot};

use crate::address::Address;
use crate::config::NetConfig;
use crate::driver::Driver;
use crate::error::{SendError, StartError};
use crate::event::{NetEvent, SessionId};
use crate::gossip::{GossipId, GossipVerdict, Topic};
use crate::identity::PeerId;
use crate::limits::{IDLE_CONNECTION_TIMEOUT, SUBSTREAMS_PER_CONNECTION_MAX};
use crate::session::Registry;
use crate::{behaviour, transport};

/// Drives a running network; clones drive the same one.
///
/// The network stops when [`Network::shutdown`] is called, when the last handle is dropped, or when the receiver of its events is dropped.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    peer_id: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    registry: Registry,
}

/// What a handle asks of the driver.
pub(crate) enum Command {
    Dial(Vec<Address>),
    Close(SessionId, String),
    Subscribe(Topic),
    Unsubscribe(Topic),
    Publish(Topic, Vec<u8>),
    Judge(GossipId, GossipVerdict),
    Shutdown { done: oneshot::Sender<()>, free_ports: bool },
}

impl Network {
    /// Starts a network on the current tokio runtime and returns its handle and what happens on it.
    pub async fn start(config: NetConfig) -> Result<(Network, mpsc::Receiver<NetEvent>), StartError> {
        tokio::runtime::Handle::try_current().map_err(StartError::Runtime)?;
        let listen = config.listen.iter().map(|text| text.parse::<Address>()).collect::<Result<Vec<_>, _>>()?;
        let mut instance = [0; 16];
        getrandom::fill(&mut instance).map_err(StartError::Random)?;

        let keypair = config.secret.keypair();
        let peer_id = config.secret.peer_id();
        let transport = transport::build(&keypair)?;
        let (behaviour, mdns_failure) = behaviour::build(&config, &keypair)?;
        let settings = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE_CONNECTION_TIMEOUT)
            .with_max_negotiating_inbound_streams(SUBSTREAMS_PER_CONNECTION_MAX);
        let swarm = Swarm::new(transport, behaviour, peer_id.0, settings);

        let (commands, command_queue) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::channel(config.limits.events_max.max(1));
        let registry = Registry::default();
        let mut driver =
            Driver::new(swarm, peer_id, instance, config.limits, command_queue, event_sender, registry.clone());
        driver.listen(&listen)?;
        if let Some(reason) = mdns_failure {
            driver.notify(NetEvent::MdnsFailed { reason });
        }
        tracing::info!(peer = %peer_id, "network started");
        tokio::spawn(driver.run());
        let inner = Arc::new(Inner { peer_id, commands, registry });
        Ok((Network { inner }, events))
    }

    /// Returns the peer id others know this process by.
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer_id
    }

    /// Connects to an address and opens a session with the peer there.
    ///
    /// The outcome is an event: `SessionOpened`, `AlreadyConnected` or `DialFailed`.
    pub fn dial(&self, address: Address) {
        self.dial_many(vec![address]);
    }

    /// Connects to one peer at whichever of its addresses answers first; QUIC has a head start of [`DIAL_STAGGER`](crate::DIAL_STAGGER).
    ///
    /// If one of the addresses names the peer, it must be that peer at each of them.
    pub fn dial_many(&self, addresses: Vec<Address>) {
        self.command(Command::Dial(addresses));
    }

    /// Queues a frame of at most [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX) bytes, waiting while the session's queue is full.
    ///
    /// Frames arrive in the order in which they were queued. Success means queued: a session that breaks loses what was under way.
    pub async fn send(&self, session: SessionId, frame: Vec<u8>) -> Result<(), SendError> {
        self.inner.registry.send(session, frame).await
    }

    /// Closes a session after what was queued has gone out, and hangs up.
    ///
    /// `SessionClosed` follows within about two seconds, also if the other side takes nothing any more.
    pub fn close(&self, session: SessionId, reason: impl Into<String>) {
        self.command(Command::Close(session, reason.into()));
    }

    /// Follows a gossip topic and tells every connected peer so.
    pub fn subscribe(&self, topic: Topic) {
        self.command(Command::Subscribe(topic));
    }

    /// Stops following a gossip topic.
    pub fn unsubscribe(&self, topic: Topic) {
        self.command(Command::Unsubscribe(topic));
    }

    /// Publishes a message of at most [`GOSSIP_BYTES_MAX`](crate::GOSSIP_BYTES_MAX) bytes and returns its name.
    ///
    /// What goes nowhere is reported as [`NetEvent::GossipUnsent`]; before a peer has said that it follows the topic, that is normal.
    pub fn publish(&self, topic: Topic, message: Vec<u8>) -> GossipId {
        let id = GossipId::of(&topic, &message);
        self.command(Command::Publish(topic, message));
        id
    }

    /// Says what became of a received gossip message; until then it is not passed on.
    pub fn forward_gossip(&self, id: GossipId, verdict: GossipVerdict) {
        self.command(Command::Judge(id, verdict));
    }

    /// Closes all sessions, stops listening and returns when the ports are free again.
    ///
    /// `SessionClosed` events of a shutdown are delivered if there is room for them.
    pub async fn shutdown(self) {
        self.end(true).await;
    }

    /// As [`Self::shutdown`], for a program that ends: does not wait for a port that the system frees a moment later.
    ///
    /// QUIC holds its port for three seconds more if a dial is under way that nobody has answered.
    pub async fn leave(self) {
        self.end(false).await;
    }

    async fn end(self, free_ports: bool) {
        let (done, finished) = oneshot::channel();
        self.command(Command::Shutdown { done, free_ports });
        // An error means that the network is down already.
        let _ = finished.await;
    }

    fn command(&self, command: Command) {
        if self.inner.commands.send(command).is_err() {
            tracing::debug!("a command came after the network was shut down");
        }
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({})", self.inner.peer_id)
    }
}
