//! The one task that owns the libp2p swarm: it turns commands into calls and what libp2p reports into events.
//!
//! Invariants:
//! 1. The driver never waits for the application: what it has to say queues up in `notices`, and hints are dropped when too many wait.
//! 2. Every session's task reports back through `notes`; the arbiter changes here only.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::ErrorKind;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, identify, mdns, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::address::Address;
use crate::arbiter::Arbiter;
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::config::NetLimits;
use crate::dialing::{DialId, Dials};
use crate::error::{StartError, root_cause};
use crate::event::{NetEvent, SessionId};
use crate::gossip::GossipId;
use crate::handshake::Instance;
use crate::identity::PeerId;
use crate::limits::{LEAVE_TIMEOUT, NOTICES_MAX, PORT_RELEASE_TIMEOUT};
use crate::network::Command;
use crate::session::Registry;
use crate::transport;

mod connections;
mod gossiping;
mod sessions;
mod shutdown;

use sessions::{Attempt, Note, Running};

/// The state of a running network.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    local: PeerId,
    limits: NetLimits,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<NetEvent>,
    /// What the application has not been told yet.
    notices: VecDeque<NetEvent>,
    registry: Registry,
    arbiter: Arbiter,
    /// The sessions' tasks, also those that are ending.
    running: HashMap<SessionId, Running>,
    attempts: HashMap<u64, Attempt>,
    /// How many openings of a peer are being heard.
    hearings: HashMap<PeerId, usize>,
    /// The peers our application wants a session with, and the address it gave.
    wanted: HashMap<PeerId, Address>,
    links: HashMap<PeerId, Vec<Link>>,
    dials: Dials,
    timers: FuturesUnordered<BoxFuture<'static, Timer>>,
    tasks: JoinSet<()>,
    note_sender: mpsc::UnboundedSender<Note>,
    notes: mpsc::UnboundedReceiver<Note>,
    listeners: HashMap<ListenerId, Address>,
    /// Every address that was ever bound, to wait for at shutdown.
    bound: HashSet<Address>,
    /// Who passed on the gossip that waits for a verdict, oldest first in `unjudged_order`.
    unjudged: HashMap<GossipId, libp2p::PeerId>,
    unjudged_order: VecDeque<GossipId>,
}

/// One connection with a peer.
struct Link {
    connection: ConnectionId,
    remote: Address,
}

/// What is due after a while.
enum Timer {
    /// The next addresses of a dial.
    Stagger(DialId),
    /// Another look at a peer whose own opening should have led to a session.
    Reopen(PeerId),
}

/// Why the driver's loop ended.
enum Stop {
    Asked { done: oneshot::Sender<()>, free_ports: bool },
    Abandoned,
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        local: PeerId,
        instance: Instance,
        limits: NetLimits,
        commands: mpsc::UnboundedReceiver<Command>,
        events: mpsc::Sender<NetEvent>,
        registry: Registry,
    ) -> Self {
        let (note_sender, notes) = mpsc::unbounded_channel();
        Self {
            swarm,
            local,
            limits,
            commands,
            events,
            notices: VecDeque::new(),
            registry,
            arbiter: Arbiter::new(local, instance),
            running: HashMap::new(),
            attempts: HashMap::new(),
            hearings: HashMap::new(),
            wanted: HashMap::new(),
            links: HashMap::new(),
            dials: Dials::default(),
            timers: FuturesUnordered::new(),
            tasks: JoinSet::new(),
            note_sender,
            notes,
            listeners: HashMap::new(),
            bound: HashSet::new(),
            unjudged: HashMap::new(),
            unjudged_order: VecDeque::new(),
        }
    }

    /// Starts to listen; fails only if none of the addresses can be had.
    pub(crate) fn listen(&mut self, addresses: &[Address]) -> Result<(), StartError> {
        let mut failure = None;
        for address in addresses {
            let place = address.without_peer();
            let listening = transport::check_address(&place).map_err(|error| (root_cause(&error), error.kind()));
            let listening = listening.and_then(|()| {
                let started = self.swarm.listen_on(place.multiaddr().clone());
                started.map_err(|error| (root_cause(&error), ErrorKind::Other))
            });
            match listening {
                Ok(listener) => {
                    self.listeners.insert(listener, place);
                }
                Err((reason, kind)) => {
                    tracing::warn!(%address, reason, "cannot listen");
                    failure.get_or_insert_with(|| (address.to_string(), reason.clone(), kind));
                    self.notify(NetEvent::ListenFailed { address: place, reason });
                }
            }
        }
        match failure {
            Some((address, reason, kind)) if self.listeners.is_empty() => {
                Err(StartError::Listen { address, reason, kind })
            }
            _ => Ok(()),
        }
    }

    /// Queues an event for the application.
    pub(crate) fn notify(&mut self, event: NetEvent) {
        self.notices.push_back(event);
    }

    /// Queues an event that may be dropped if the application is slow; false if it was.
    fn hint(&mut self, event: NetEvent) -> bool {
        let room = self.notices.len() < NOTICES_MAX;
        if room {
            self.notices.push_back(event);
        } else {
            tracing::debug!(?event, "the application is slow, a hint is dropped");
        }
        room
    }

    fn after(&self, delay: std::time::Duration, timer: Timer) {
        self.timers.push(
            async move {
                tokio::time::sleep(delay).await;
                timer
            }
            .boxed(),
        );
    }

    /// Runs until it is told to stop or nobody listens any more.
    pub(crate) async fn run(mut self) {
        let events = self.events.clone();
        let stop = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = self.commands.recv() => {
                    // An application that acts on SessionClosed finds the session gone: the note of its end was sent before the event.
                    while let Ok(note) = self.notes.try_recv() {
                        self.on_note(note);
                    }
                    match command {
                        Some(Command::Shutdown { done, free_ports }) => break Stop::Asked { done, free_ports },
                        Some(command) => self.on_command(command),
                        None => break Stop::Abandoned,
                    }
                }
                Some(note) = self.notes.recv() => self.on_note(note),
                Some(timer) = self.timers.next(), if !self.timers.is_empty() => self.on_timer(timer),
                Some(result) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = result {
                        tracing::error!(%error, "a session's task failed");
                    }
                }
                permit = events.reserve(), if !self.notices.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.notices.pop_front()) {
                        permit.send(event);
                    }
                }
                () = events.closed() => break Stop::Abandoned,
            }
        };
        drop(events);
        let is_leaving = matches!(stop, Stop::Asked { free_ports: false, .. });
        self.shut_down(if is_leaving { LEAVE_TIMEOUT } else { PORT_RELEASE_TIMEOUT }).await;
        if let Stop::Asked { done, .. } = stop {
            // Who asked may have stopped waiting.
            let _ = done.send(());
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial(addresses) => self.dial(addresses),
            Command::Close(session, reason) => self.close_session(session, reason),
            Command::Subscribe(topic) => self.subscribe(topic),
            Command::Unsubscribe(topic) => self.unsubscribe(topic),
            Command::Publish(topic, message) => self.publish(topic, message),
            Command::Judge(id, verdict) => self.judge(id, verdict),
            // Taken by the loop.
            Command::Shutdown { .. } => {}
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Stagger(dial) => self.try_next_group(dial),
            Timer::Reopen(peer) => self.reopen(peer),
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(PeerId(peer_id), connection_id, &endpoint)
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let cause = cause.map(|error| root_cause(&error));
                self.on_disconnected(PeerId(peer_id), connection_id, cause);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_error(connection_id, peer_id.map(PeerId), &error)
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(%send_back_addr, error = root_cause(&error), "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = Address::from_multiaddr(address) {
                    tracing::info!(%address, "listening");
                    self.bound.insert(address.clone());
                    let address = address.with_peer(self.local);
                    self.notify(NetEvent::Listening { address });
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listen_expired(address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                if let (Some(address), Err(error)) = (self.listeners.remove(&listener_id), reason) {
                    let reason = root_cause(&error);
                    self.notify(NetEvent::ListenFailed { address, reason });
                }
                for address in addresses {
                    self.listen_expired(address);
                }
            }
            SwarmEvent::ListenerError { listener_id, error } => {
                tracing::warn!(listener = ?self.listeners.get(&listener_id), %error, "a listener had an error");
            }
            _ => {}
        }
    }

    fn listen_expired(&mut self, address: Multiaddr) {
        if let Some(address) = Address::from_multiaddr(address) {
            let address = address.with_peer(self.local);
            self.notify(NetEvent::ListenExpired { address });
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Substreams(event) => self.on_substream(event),
            BehaviourEvent::Ping(ping::Event { connection, result, .. }) => self.on_ping(connection, result),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    if let Some(address) = Address::from_multiaddr(address) {
                        let peer = PeerId(peer);
                        self.hint(NetEvent::Discovered { peer, address });
                    }
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(gone)) => {
                for (peer, address) in gone {
                    if let Some(address) = Address::from_multiaddr(address) {
                        let peer = PeerId(peer);
                        self.hint(NetEvent::DiscoveryExpired { peer, address });
                    }
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                tracing::debug!(peer = %peer_id, agent = info.agent_version, "identified");
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Limits(_) => {}
        }
    }
}
