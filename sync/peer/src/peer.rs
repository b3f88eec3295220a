//! The handle of a running peer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kithdb_core::error::MembershipError;
use kithdb_core::log_error::LogError;
use kithdb_core::replica::{OpenOptions, Replica};
use kithdb_log::limits::TICKET_ADDRESSES_MAX;
use kithdb_log::{Role, Ticket};
use kithdb_net::{Address, NetConfig, Network, PeerId, StartError as NetStartError, TransportSecret};
use tokio::sync::{mpsc, oneshot};

use crate::addresses::{choose_port, is_free, keep_port, kept_port, past_addresses, ticket_addresses};
use crate::config::{Listen, PeerConfig};
use crate::driver::{Driver, DriverError};
use crate::error::{InviteError, StartError, StoppedError};
use crate::event::{PeerEvent, PeerEvents};
use crate::exchange::{Control, Exchange, ExchangeParts, Places};
use crate::gossip;
use crate::lock::PeerLock;
use crate::routes::{Origin, Routes};
use crate::status::PeerStatus;
use crate::watch::FileWatch;
use crate::worker::{Command, Worker, WorkerParts};

/// Commands that wait for the replica's thread; what is above waits in the network.
const COMMANDS_MAX: usize = 64;

/// A running peer: it keeps its replica in step with others until it is shut down.
///
/// Dropping it ends everything at once; what was not sent yet is sent by the next start.
#[derive(Debug)]
pub struct Peer {
    peer_id: PeerId,
    controls: mpsc::UnboundedSender<Control>,
    worker: mpsc::Sender<Command>,
    _watch: Option<FileWatch>,
    _lock: Option<PeerLock>,
}

impl Peer {
    /// Opens a replica's file and starts a peer for it.
    pub async fn open(path: impl AsRef<Path>, config: PeerConfig) -> Result<(Self, PeerEvents), StartError> {
        let options = OpenOptions { busy_timeout: config.busy_timeout, ..OpenOptions::default() };
        Self::start(Replica::open(path, options)?, config).await
    }

    /// Starts a peer for a replica, on the current tokio runtime; the replica moves to a thread of its own.
    ///
    /// Other connections to the same file, in this process or others, may go on writing: the peer hears of their commits.
    pub async fn start(replica: Replica, config: PeerConfig) -> Result<(Self, PeerEvents), StartError> {
        if let Some(path) = replica.path().filter(|_| replica.is_read_only()) {
            return Err(StartError::ReadOnly { path: path.to_owned() });
        }
        let lock = match replica.path().map(|path| (path, PeerLock::take(path))) {
            Some((path, None)) => return Err(StartError::AlreadyRunning { path: path.to_owned() }),
            Some((_, lock)) => lock,
            None => None,
        };
        replica.conn().busy_timeout(config.busy_timeout).map_err(|error| failed(error.into()))?;
        let (event_sender, events) = mpsc::unbounded_channel();
        // Not lent to another function: a replica may be moved between threads, but not shared, and so may this future.
        let secret = TransportSecret::from_bytes(*replica.workspace().keys().transport_secret());
        let (loopback, port) = place_to_listen(&replica, &config, &event_sender)?;
        let (network, net_events) = match Network::start(net_config(&config, &secret, loopback, port)).await {
            // Taken between the look and the start.
            Err(NetStartError::Listen { .. }) if matches!(config.listen, Listen::Everywhere | Listen::Loopback) => {
                let taken = choose_port(loopback);
                keep_port(&replica, taken).map_err(failed)?;
                let _ = event_sender.send(PeerEvent::PortBusy { wanted: port, taken });
                Network::start(net_config(&config, &secret, loopback, taken)).await?
            }
            started => started?,
        };

        let started = Instant::now();
        let mut routes = Routes::new(network.peer_id());
        for address in &config.peers {
            routes.add(vec![address.clone()], Origin::Given, 0);
        }
        if config.dial_past_peers {
            for address in past_addresses(&replica).map_err(failed)? {
                routes.add(vec![address], Origin::Past, 0);
            }
        }
        let topic = config.gossip.then(|| gossip::topic(replica.membership()));

        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let wake = Arc::new(AtomicBool::new(false));
        let watch = replica.path().and_then(|path| {
            let (wake, commands) = (wake.clone(), commands.clone());
            let woken = move || {
                // Whoever has been woken and has not looked yet need not be woken again.
                if !wake.swap(true, Ordering::AcqRel) {
                    // A full queue wakes the thread all the same.
                    let _ = commands.try_send(Command::Wake);
                }
            };
            let watch = FileWatch::start(path, woken);
            watch
                .map_err(|error| {
                    let reason = format!("commits of other programs are noticed a second late: {error}");
                    let _ = event_sender.send(PeerEvent::Delayed { reason });
                })
                .ok()
        });
        let (message_sender, messages) = mpsc::unbounded_channel();
        let driver = Driver::new(replica)?;
        let worker = Worker::new(WorkerParts {
            driver,
            commands: command_queue,
            messages: message_sender,
            wake,
            started,
            gossip: config.gossip,
            watched: watch.is_some(),
        });
        std::thread::Builder::new()
            .name("kithdb-replica".to_owned())
            .spawn(move || worker.run())
            .map_err(StartError::Thread)?;

        let peer_id = network.peer_id();
        let (controls, control_queue) = mpsc::unbounded_channel();
        let exchange = Exchange::new(ExchangeParts {
            network,
            net_events,
            worker: commands.clone(),
            messages,
            controls: control_queue,
            events: event_sender,
            started,
            routes,
            topic,
            mdns: config.mdns,
            report_after: config.report_after,
        });
        tokio::spawn(exchange.run());
        Ok((Self { peer_id, controls, worker: commands, _watch: watch, _lock: lock }, PeerEvents(events)))
    }

    /// Returns the id this process is known by on the network.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Dials an address, again and again until there is a session.
    pub fn dial(&self, address: Address) {
        if self.controls.send(Control::Dial(address)).is_err() {
            tracing::debug!("a dial came after the peer had stopped");
        }
    }

    /// Runs something on the peer's own replica and takes up what it committed.
    ///
    /// Sync waits meanwhile; long work belongs on a connection of its own.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Replica) -> T + Send + 'static,
    ) -> Result<T, StoppedError> {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move |replica: &mut Replica| {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(call(replica));
        });
        self.worker.send(Command::Call(call)).await.map_err(|_| StoppedError)?;
        answered.await.map_err(|_| StoppedError)
    }

    /// Makes a ticket for one device; see [`invite`].
    pub async fn invite(&self, role: Role, expires_unix_ms: u64) -> Result<Result<Ticket, InviteError>, StoppedError> {
        self.call(move |replica| invite(replica, role, expires_unix_ms)).await
    }

    /// Tells how the peer stands.
    pub async fn status(&self) -> Result<PeerStatus, StoppedError> {
        let (answer, sessions) = oneshot::channel();
        self.worker.send(Command::Status(answer)).await.map_err(|_| StoppedError)?;
        let (place_answer, places) = oneshot::channel();
        self.controls.send(Control::Places(place_answer)).map_err(|_| StoppedError)?;
        let sessions = sessions.await.map_err(|_| StoppedError)?;
        let Places { listening, tried, gossip } = places.await.map_err(|_| StoppedError)?;
        Ok(PeerStatus { peer_id: self.peer_id, listening, sessions, tried, gossip })
    }

    /// Seals and sends what is pending, closes all sessions and the database, and frees the ports; takes at most some seconds.
    pub async fn shutdown(self) {
        self.end(true).await;
    }

    /// As [`Self::shutdown`], for a program that ends: does not wait for a port that the system frees a moment later, which
    /// takes three seconds if a dial is under way that nobody has answered.
    pub async fn leave(self) {
        self.end(false).await;
    }

    async fn end(self, free_ports: bool) {
        let (done, finished) = oneshot::channel();
        if self.controls.send(Control::Shutdown { done, free_ports }).is_ok() {
            // An error means that the peer has stopped by itself.
            let _ = finished.await;
        }
    }
}

/// Makes a ticket for one device that names where this one can be reached; only owners may.
pub fn invite(replica: &mut Replica, role: Role, expires_unix_ms: u64) -> Result<Ticket, InviteError> {
    invite_at(replica, role, expires_unix_ms, &[])
}

/// As [`invite`], with further addresses, which come first: a ticket has room for few.
pub fn invite_at(
    replica: &mut Replica,
    role: Role,
    expires_unix_ms: u64,
    given: &[Address],
) -> Result<Ticket, InviteError> {
    // Before the port is kept, which would say less clearly what is wrong.
    replica.check_writable().map_err(MembershipError::from)?;
    let given: Vec<String> = given.iter().map(ToString::to_string).collect();
    let own = ticket_addresses(replica)?.into_iter().filter(|address| !given.contains(address));
    let mut addresses: Vec<String> = given.iter().cloned().chain(own).collect();
    addresses.truncate(TICKET_ADDRESSES_MAX);
    Ok(replica.invite(role, expires_unix_ms, addresses)?)
}

fn failed(error: LogError) -> StartError {
    DriverError::Log(error).into()
}

/// Returns whether to listen on this machine only, and at which port.
fn place_to_listen(
    replica: &Replica,
    config: &PeerConfig,
    events: &mpsc::UnboundedSender<PeerEvent>,
) -> Result<(bool, u16), StartError> {
    Ok(match &config.listen {
        Listen::Everywhere | Listen::Loopback => {
            let loopback = config.listen == Listen::Loopback;
            (loopback, kept_or_free_port(replica, loopback, events)?)
        }
        Listen::Port(port) => {
            keep_port(replica, *port).map_err(failed)?;
            (false, *port)
        }
        Listen::LoopbackPort(port) => (true, *port),
        Listen::At(_) | Listen::Nowhere => (false, 0),
    })
}

fn net_config(config: &PeerConfig, secret: &TransportSecret, loopback: bool, port: u16) -> NetConfig {
    let mut net =
        if loopback { NetConfig::loopback(secret.clone(), port) } else { NetConfig::new(secret.clone(), port) };
    match &config.listen {
        Listen::At(addresses) => net.listen = addresses.iter().map(ToString::to_string).collect(),
        Listen::Nowhere => net.listen.clear(),
        _ => {}
    }
    net.mdns = config.mdns;
    net.gossip = config.gossip;
    net
}

fn kept_or_free_port(
    replica: &Replica,
    loopback: bool,
    events: &mpsc::UnboundedSender<PeerEvent>,
) -> Result<u16, StartError> {
    let kept = kept_port(replica).map_err(failed)?;
    if let Some(kept) = kept.filter(|kept| is_free(*kept, loopback)) {
        return Ok(kept);
    }
    let port = choose_port(loopback);
    keep_port(replica, port).map_err(failed)?;
    if let Some(wanted) = kept {
        let _ = events.send(PeerEvent::PortBusy { wanted, taken: port });
    }
    Ok(port)
}
