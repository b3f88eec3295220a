//! The task between the network and the replica's thread: it moves frames, keeps time, and dials.
//!
//! Invariants:
//! 1. What comes from the network waits there while the replica's thread is busy; what goes out waits in a queue for each session, and the
//!    engine stops serving a session whose queue is full.
//! 2. Every session the network opened is reported to the thread once, and its end once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kithdb_net::{Address, GossipVerdict, NetEvent, Network, PeerId, SessionId as NetSession, Topic};
use kithdb_sync::SessionId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::event::{PeerEvent, Tried};
use crate::routes::{Ended, Origin, Routes};
use crate::status::GossipCounts;
use crate::worker::{Command, Message};

/// Bytes waiting for one session at which the engine is asked to stop serving it, and at which it may go on.
const QUEUE_BYTES_HIGH: usize = 2 << 20;
const QUEUE_BYTES_LOW: usize = 512 << 10;
/// How long the last frames may take to go out.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the application asks of a running peer.
pub(crate) enum Control {
    Dial(Address),
    Places(oneshot::Sender<Places>),
    Shutdown { done: oneshot::Sender<()>, free_ports: bool },
}

/// What an exchange knows of places.
pub(crate) struct Places {
    pub(crate) listening: Vec<Address>,
    pub(crate) tried: Vec<Tried>,
    pub(crate) gossip: GossipCounts,
}

/// One session's way out.
struct Outgoing {
    peer: PeerId,
    address: Address,
    queue: mpsc::UnboundedSender<Out>,
    waiting_bytes: Arc<AtomicUsize>,
    is_stopped: bool,
    is_proven: bool,
    ended: Option<(Ended, String)>,
}

enum Out {
    Frame(Vec<u8>),
    Close(String),
}

/// What an exchange is built from.
pub(crate) struct ExchangeParts {
    pub(crate) network: Network,
    pub(crate) net_events: mpsc::Receiver<NetEvent>,
    pub(crate) worker: mpsc::Sender<Command>,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    pub(crate) controls: mpsc::UnboundedReceiver<Control>,
    pub(crate) events: mpsc::UnboundedSender<PeerEvent>,
    pub(crate) started: Instant,
    pub(crate) routes: Routes,
    pub(crate) topic: Option<Topic>,
    pub(crate) mdns: bool,
    pub(crate) report_after: Duration,
}

pub(crate) struct Exchange {
    parts: ExchangeParts,
    relief: mpsc::UnboundedReceiver<SessionId>,
    relieve: mpsc::UnboundedSender<SessionId>,
    pumps: JoinSet<()>,
    sessions: HashMap<SessionId, Outgoing>,
    names: HashMap<NetSession, SessionId>,
    last_session: u64,
    /// When the thread wants to be called.
    worker_at: Option<u64>,
    /// When the user is told that nobody was reached.
    lonely_at: Option<u64>,
    listening: Vec<Address>,
    subscribers: BTreeSet<PeerId>,
    gossip: GossipCounts,
    /// Who waits for the end of a shutdown, and whether for free ports too.
    asked: Option<(oneshot::Sender<()>, bool)>,
}

impl Exchange {
    pub(crate) fn new(parts: ExchangeParts) -> Self {
        let (relieve, relief) = mpsc::unbounded_channel();
        let lonely_at = Some(u64::try_from(parts.report_after.as_millis()).unwrap_or(u64::MAX));
        Self {
            parts,
            relief,
            relieve,
            pumps: JoinSet::new(),
            sessions: HashMap::new(),
            names: HashMap::new(),
            last_session: 0,
            worker_at: None,
            lonely_at,
            listening: Vec::new(),
            subscribers: BTreeSet::new(),
            gossip: GossipCounts::default(),
            asked: None,
        }
    }

    /// Runs until the peer is shut down or dropped, or the network or the thread is gone.
    ///
    /// A shutdown goes through the thread: it ends when all is sent, and that ends this.
    pub(crate) async fn run(mut self) {
        if let Some(topic) = &self.parts.topic {
            self.parts.network.subscribe(topic.clone());
        }
        let stopped = loop {
            let sleep = tokio::time::sleep_until(self.next_at().into());
            tokio::select! {
                message = self.parts.messages.recv() => match message {
                    Some(message) => self.on_message(message).await,
                    None => break "the thread that owns the database is gone",
                },
                control = self.parts.controls.recv(), if self.asked.is_none() => match control {
                    Some(Control::Shutdown { done, free_ports }) => {
                        self.asked = Some((done, free_ports));
                        self.lonely_at = None;
                        self.command(Command::Shutdown).await;
                    }
                    Some(control) => self.on_control(control),
                    // The handle was dropped: everything ends at once.
                    None => return,
                },
                Some(session) = self.relief.recv() => self.on_relief(session).await,
                () = sleep => self.on_time().await,
                incoming = receive(&self.parts.worker, &mut self.parts.net_events) => match incoming {
                    Some(event) => self.on_net_event(event).await,
                    None => break "the network is gone",
                },
                Some(_) = self.pumps.join_next() => {}
            }
        };
        if self.asked.is_none() {
            self.tell(PeerEvent::Stopped { reason: stopped.to_owned() });
        }
        self.shut_down().await;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.parts.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn next_at(&self) -> Instant {
        let moments = [self.worker_at, self.lonely_at, self.parts.routes.next_at()];
        let ms = moments.into_iter().flatten().min().unwrap_or(u64::from(u32::MAX));
        self.parts.started + Duration::from_millis(ms)
    }

    fn tell(&self, event: PeerEvent) {
        // An application that does not listen is fine.
        let _ = self.parts.events.send(event);
    }

    async fn command(&self, command: Command) {
        // A thread that is gone shows as the end of its messages.
        let _ = self.parts.worker.send(command).await;
    }

    async fn on_time(&mut self) {
        let now = self.now();
        if self.worker_at.is_some_and(|at| at <= now) {
            self.worker_at = None;
            self.command(Command::Timer).await;
        }
        let is_leaving = self.asked.is_some();
        for addresses in self.parts.routes.due(now).into_iter().filter(|_| !is_leaving) {
            self.parts.network.dial_many(addresses);
        }
        if self.lonely_at.is_some_and(|at| at <= now) {
            self.lonely_at = None;
            let (tried, addresses) = (self.parts.routes.tried(), self.listening.clone());
            self.tell(PeerEvent::NoPeerYet { tried, addresses, mdns: self.parts.mdns });
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Dial(address) => {
                let now = self.now();
                self.parts.routes.add(vec![address], Origin::Given, now);
            }
            Control::Places(answer) => {
                let (listening, tried) = (self.listening.clone(), self.parts.routes.tried());
                // Whoever asked may have stopped waiting.
                let _ = answer.send(Places { listening, tried, gossip: self.gossip });
            }
            // Taken by the loop.
            Control::Shutdown { .. } => {}
        }
    }

    async fn on_relief(&mut self, session: SessionId) {
        let Some(outgoing) = self.sessions.get_mut(&session) else { return };
        if std::mem::take(&mut outgoing.is_stopped) {
            self.command(Command::Writable { session, writable: true }).await;
        }
    }

    async fn on_message(&mut self, message: Message) {
        match message {
            Message::Send { session, frame } => {
                let Some(outgoing) = self.sessions.get_mut(&session) else { return };
                let waiting = outgoing.waiting_bytes.fetch_add(frame.len(), Ordering::AcqRel) + frame.len();
                // A queue that is gone belongs to a session whose end is on its way.
                let _ = outgoing.queue.send(Out::Frame(frame));
                if waiting > QUEUE_BYTES_HIGH && !outgoing.is_stopped {
                    outgoing.is_stopped = true;
                    self.command(Command::Writable { session, writable: false }).await;
                }
            }
            Message::Close { session, reason, ended, tell } => {
                let Some(outgoing) = self.sessions.get_mut(&session) else { return };
                let _ = outgoing.queue.send(Out::Close(reason.clone()));
                outgoing.ended = Some((ended, reason.clone()));
                // Strangers on the local network find each other all the time: none of the user's business.
                let (peer, address) = (outgoing.peer, outgoing.address.clone());
                if tell && (!self.parts.mdns || self.parts.routes.is_wanted(peer)) {
                    self.tell(PeerEvent::Refused { address, reason });
                }
            }
            Message::Proven { session } => {
                let Some(outgoing) = self.sessions.get_mut(&session) else { return };
                outgoing.is_proven = true;
                let peer = outgoing.peer;
                let now = self.now();
                self.parts.routes.proven(peer, now);
                self.lonely_at = None;
            }
            Message::Timer { at_elapsed_ms } => self.worker_at = Some(at_elapsed_ms),
            Message::Announce(message) => {
                if let Some(topic) = self.parts.topic.clone().filter(|_| !self.subscribers.is_empty()) {
                    self.gossip.announced += 1;
                    self.parts.network.publish(topic, message);
                }
            }
            Message::Verdict { id, source, verdict, ahead } => {
                match verdict {
                    GossipVerdict::Accept => self.gossip.heard += 1,
                    _ => self.gossip.ignored += 1,
                }
                self.parts.network.forward_gossip(id, verdict);
                if ahead {
                    let now = self.now();
                    self.parts.routes.hurry(source, now);
                }
            }
            Message::Event(event) => self.tell(event),
        }
    }

    async fn on_net_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Frame { session, bytes } => {
                if let Some(session) = self.names.get(&session).copied() {
                    self.command(Command::Frame { session, bytes }).await;
                }
            }
            NetEvent::SessionOpened { session: net, peer, dialer, path, remote } => {
                self.parts.routes.opened(peer, &remote, dialer);
                let session = self.open(net, peer, remote.clone());
                let local = self.parts.network.peer_id();
                self.command(Command::Up { session, dialer, local, remote: peer, address: remote, path }).await;
            }
            NetEvent::SessionClosed { session: net, peer, reason } => self.closed(net, peer, &reason.to_string()).await,
            NetEvent::DialFailed { address, reason } => {
                let now = self.now();
                self.parts.routes.failed(&address, reason.clone(), now);
                self.tell(PeerEvent::DialFailed { address, reason });
            }
            NetEvent::AlreadyConnected { address, peer, .. } => self.parts.routes.reached(&address, peer),
            NetEvent::Listening { address } => {
                self.listening.push(address.clone());
                self.tell(PeerEvent::Listening { address });
            }
            NetEvent::ListenExpired { address } => self.listening.retain(|known| *known != address),
            NetEvent::ListenFailed { address, reason } => self.tell(PeerEvent::ListenFailed { address, reason }),
            NetEvent::MdnsFailed { reason } => {
                self.parts.mdns = false;
                self.tell(PeerEvent::MdnsFailed { reason });
            }
            NetEvent::Discovered { peer, address } => {
                let now = self.now();
                let address = address.with_peer(peer);
                self.parts.routes.add(vec![address.clone()], Origin::Found, now);
                self.tell(PeerEvent::PeerFound { address });
            }
            NetEvent::DiscoveryExpired { address, .. } => self.parts.routes.expire(&address),
            NetEvent::GossipSubscribed { topic, peer } => {
                if self.parts.topic.as_ref() == Some(&topic) {
                    self.subscribers.insert(peer);
                }
            }
            NetEvent::Gossip { id, source, message, .. } => {
                self.command(Command::Gossip { id, source, message }).await;
            }
            NetEvent::GossipUnsent { reason, .. } => tracing::debug!(?reason, "an announcement went nowhere"),
            other => tracing::debug!(?other, "the network reported something unknown"),
        }
    }

    fn open(&mut self, net: NetSession, peer: PeerId, address: Address) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let (queue, queued) = mpsc::unbounded_channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let pump = pump(self.parts.network.clone(), net, session, queued, waiting_bytes.clone(), self.relieve.clone());
        self.pumps.spawn(pump);
        self.names.insert(net, session);
        let (is_stopped, is_proven, ended) = (false, false, None);
        self.sessions.insert(session, Outgoing { peer, address, queue, waiting_bytes, is_stopped, is_proven, ended });
        session
    }

    async fn closed(&mut self, net: NetSession, peer: PeerId, reason: &str) {
        let Some(session) = self.names.remove(&net) else { return };
        let Some(outgoing) = self.sessions.remove(&session) else { return };
        self.subscribers.remove(&peer);
        let now = self.now();
        let (ended, why) = outgoing.ended.unwrap_or_else(|| (Ended::Lost, reason.to_owned()));
        self.parts.routes.closed(peer, ended, &why, now);
        let is_alone = !self.sessions.values().any(|outgoing| outgoing.is_proven);
        if outgoing.is_proven && is_alone {
            let wait = u64::try_from(self.parts.report_after.as_millis()).unwrap_or(u64::MAX);
            self.lonely_at = Some(now.saturating_add(wait));
        }
        self.command(Command::Down { session, reason: reason.to_owned() }).await;
    }

    /// Sends what waits in the queues and closes everything in order; takes a bounded time.
    async fn shut_down(mut self) {
        self.sessions.clear();
        let farewell = async {
            while !self.pumps.is_empty() {
                tokio::select! {
                    _ = self.pumps.join_next() => {}
                    event = self.parts.net_events.recv() => if event.is_none() { break },
                }
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("not everything that was pending could be sent before the end");
        }
        match self.asked {
            Some((done, free_ports)) => {
                if free_ports {
                    self.parts.network.shutdown().await;
                } else {
                    self.parts.network.leave().await;
                }
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            None => self.parts.network.shutdown().await,
        }
    }
}

/// Waits for room in the thread's queue first, then for the network: what the thread cannot take stays in the network.
async fn receive(worker: &mpsc::Sender<Command>, net_events: &mut mpsc::Receiver<NetEvent>) -> Option<NetEvent> {
    let _room = worker.reserve().await.ok()?;
    net_events.recv().await
}

/// Sends one session's frames in order.
async fn pump(
    network: Network,
    net: NetSession,
    session: SessionId,
    mut queue: mpsc::UnboundedReceiver<Out>,
    waiting_bytes: Arc<AtomicUsize>,
    relieve: mpsc::UnboundedSender<SessionId>,
) {
    while let Some(out) = queue.recv().await {
        match out {
            Out::Frame(frame) => {
                let len = frame.len();
                if let Err(error) = network.send(net, frame).await {
                    // Its end is reported by the network.
                    tracing::debug!(%error, "a frame was not sent");
                    return;
                }
                let before = waiting_bytes.fetch_sub(len, Ordering::AcqRel);
                if before > QUEUE_BYTES_LOW && before - len <= QUEUE_BYTES_LOW {
                    let _ = relieve.send(session);
                }
            }
            Out::Close(reason) => {
                network.close(net, reason);
                return;
            }
        }
    }
}
