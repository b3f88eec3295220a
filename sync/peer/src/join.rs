//! Joining: a device with a ticket finds an owner and becomes a member.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kithdb_core::join::{JoinOptions as ReplicaOptions, PendingJoin};
use kithdb_core::replica::Replica;
use kithdb_log::ids::HelloNonce;
use kithdb_log::{AdminOperation, DeviceKeys, Ticket};
use kithdb_net::{Address, NetConfig, NetEvent, Network, PeerId, SessionId as NetSession, TransportSecret};
use kithdb_sync::{Input, JoinFault, Joiner, Now, Output, Reason, SessionId};
use tokio::sync::mpsc;

use crate::config::JoinOptions;
use crate::error::JoinError;
use crate::lock::PeerLock;
use crate::routes::{Ended, Origin, Routes};

/// How much longer an owner that has answered may take.
const ANSWER_MS: u64 = 20_000;
/// Milliseconds of the moment for which a refusal waits for another owner that may say yes.
const SECOND_OPINION_MS: u64 = 1_000;

/// A device that has joined.
#[derive(Debug)]
pub struct Joined {
    /// Its replica, still empty; start a [`crate::Peer`] with it to receive what is there.
    pub replica: Replica,
    /// Where the owner was that let it in: dial it first.
    pub address: Address,
}

/// Joins the ticket's workspace with a new file, or goes on with one that waits to be admitted.
///
/// A file that could not join goes on waiting: call again with the same ticket.
pub async fn join(path: impl AsRef<Path>, ticket: &Ticket, options: JoinOptions) -> Result<Joined, JoinError> {
    if ticket.expires_unix_ms <= unix_ms() {
        return Err(JoinError::Expired);
    }
    let joining = Joining::begin(path.as_ref()).ok_or_else(|| already_running(path.as_ref()))?;
    let mut replica_options = ReplicaOptions::new(options.device_name.clone());
    replica_options.merge_by_key = options.merge_by_key;
    let pending = Replica::prepare_join(&joining.path, ticket, replica_options)?;
    // From here on other processes can be kept off, too.
    let _lock = PeerLock::take(&joining.path).ok_or_else(|| already_running(path.as_ref()))?;
    join_pending(pending, options).await
}

fn already_running(path: &Path) -> JoinError {
    JoinError::AlreadyRunning { path: path.to_owned() }
}

/// The files that this process joins with: two joins of one file would take each other's keys for what was there.
static JOINING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Holds the right to join with a file, within this process, until it is dropped.
struct Joining {
    path: PathBuf,
}

impl Joining {
    fn begin(path: &Path) -> Option<Self> {
        // One that is not there yet is known by its folder; what is wrong with that is said later.
        let known = path.canonicalize().or_else(|error| match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) if folder.as_os_str().is_empty() => {
                Ok(Path::new(".").canonicalize()?.join(name))
            }
            (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
            _ => Err(error),
        });
        let path = known.unwrap_or_else(|_| path.to_owned());
        let is_first = JOINING.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        is_first.then_some(Self { path })
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        JOINING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

/// Finds an owner for a file that waits to be admitted.
pub async fn join_pending(pending: PendingJoin, options: JoinOptions) -> Result<Joined, JoinError> {
    let secret = TransportSecret::from_bytes(*pending.keys().transport_secret());
    let mut config = NetConfig::new(secret, 0);
    config.listen.clear();
    config.mdns = options.mdns;
    config.gossip = false;
    let (network, events) = Network::start(config).await?;
    let mut search = Search::new(&pending, network.clone(), events, &options);
    let found = search.run().await;
    drop(search);
    network.shutdown().await;
    let (operations, address) = found?;
    match pending.complete(&operations) {
        Ok(replica) => Ok(Joined { replica, address }),
        Err(incomplete) => Err(incomplete.error.into()),
    }
}

fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

/// One session with somebody who may be an owner.
struct Attempt {
    joiner: Joiner,
    session: SessionId,
    address: Address,
    peer: PeerId,
    ended: Option<(Ended, String)>,
}

/// Looks for an owner and asks.
struct Search<'a> {
    // Not the whole of what waits: a database may be moved between threads, but not shared.
    ticket: &'a Ticket,
    keys: &'a DeviceKeys,
    device_name: &'a str,
    network: Network,
    events: mpsc::Receiver<NetEvent>,
    routes: Routes,
    attempts: HashMap<NetSession, Attempt>,
    last_session: u64,
    started: Instant,
    give_up_at: u64,
    /// The most telling refusal so far.
    refusal: Option<String>,
    /// Who gave an answer that asking again does not change.
    answered: HashSet<PeerId>,
    mdns: bool,
    done: Option<(Vec<AdminOperation>, Address)>,
}

impl<'a> Search<'a> {
    fn new(
        pending: &'a PendingJoin,
        network: Network,
        events: mpsc::Receiver<NetEvent>,
        options: &JoinOptions,
    ) -> Self {
        let mut routes = Routes::new(network.peer_id());
        let in_ticket = pending.ticket().addresses.iter().filter_map(|text| text.parse().ok());
        routes.add(in_ticket.collect(), Origin::Given, 0);
        for address in &options.peers {
            routes.add(vec![address.clone()], Origin::Given, 0);
        }
        Self {
            ticket: pending.ticket(),
            keys: pending.keys(),
            device_name: pending.device_name(),
            network,
            events,
            routes,
            attempts: HashMap::new(),
            last_session: 0,
            started: Instant::now(),
            give_up_at: u64::try_from(options.give_up_after.as_millis()).unwrap_or(u64::MAX),
            refusal: None,
            answered: HashSet::new(),
            mdns: options.mdns,
            done: None,
        }
    }

    async fn run(&mut self) -> Result<(Vec<AdminOperation>, Address), JoinError> {
        loop {
            if let Some(done) = self.done.take() {
                return Ok(done);
            }
            let at = [Some(self.deadline()), self.routes.next_at()].into_iter().flatten().min();
            let at = self.started + Duration::from_millis(at.unwrap_or(self.give_up_at));
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event).await?,
                    None => return Err(self.nobody()),
                },
                () = tokio::time::sleep_until(at.into()) => {
                    let now = self.now().elapsed_ms;
                    if self.deadline() <= now {
                        return Err(self.nobody());
                    }
                    for addresses in self.routes.due(now) {
                        self.network.dial_many(addresses);
                    }
                }
            }
        }
    }

    /// An owner that is about to answer is given its time.
    fn deadline(&self) -> u64 {
        if self.attempts.is_empty() { self.give_up_at } else { self.give_up_at.saturating_add(ANSWER_MS) }
    }

    fn now(&self) -> Now {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { unix_ms: unix_ms(), elapsed_ms }
    }

    fn nobody(&mut self) -> JoinError {
        match self.refusal.take() {
            Some(reason) => JoinError::Refused { reason },
            None => JoinError::NobodyAnswered { tried: self.routes.tried(), addresses: Vec::new(), mdns: self.mdns },
        }
    }

    async fn on_event(&mut self, event: NetEvent) -> Result<(), JoinError> {
        let now = self.now();
        match event {
            NetEvent::SessionOpened { session: net, peer, dialer, remote, .. } => {
                self.routes.opened(peer, &remote, dialer);
                if self.answered.contains(&peer) {
                    self.network.close(net, "this device was answered already");
                    return Ok(());
                }
                self.ask(net, peer, dialer, remote).await?;
            }
            NetEvent::Frame { session: net, bytes } => {
                let Some(attempt) = self.attempts.get_mut(&net) else { return Ok(()) };
                let session = attempt.session;
                let outputs = attempt.joiner.handle(Input::Frame { session, bytes }, now);
                self.carry_out(net, outputs).await;
            }
            NetEvent::SessionClosed { session: net, peer, reason } => {
                let Some(attempt) = self.attempts.remove(&net) else { return Ok(()) };
                let (ended, why) = attempt.ended.unwrap_or_else(|| (Ended::Lost, reason.to_string()));
                self.routes.closed(peer, ended, &why, now.elapsed_ms);
            }
            NetEvent::DialFailed { address, reason } => self.routes.failed(&address, reason, now.elapsed_ms),
            NetEvent::AlreadyConnected { address, peer, .. } => self.routes.reached(&address, peer),
            NetEvent::Discovered { peer, address } => {
                self.routes.add(vec![address.with_peer(peer)], Origin::Found, now.elapsed_ms);
            }
            NetEvent::DiscoveryExpired { address, .. } => self.routes.expire(&address),
            NetEvent::MdnsFailed { .. } => self.mdns = false,
            _ => {}
        }
        Ok(())
    }

    async fn ask(&mut self, net: NetSession, peer: PeerId, dialer: bool, address: Address) -> Result<(), JoinError> {
        let joiner = Joiner::new(self.ticket.clone(), self.keys, self.device_name)
            .map_err(|_| kithdb_core::error::JoinError::from(kithdb_core::error::InitError::DeviceName))?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce)?;
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let mut attempt = Attempt { joiner, session, address, peer, ended: None };
        let input = Input::PeerUp {
            session,
            dialer,
            local_transport: self.network.peer_id().to_bytes(),
            remote_transport: peer.to_bytes(),
            nonce: HelloNonce::from_bytes(nonce),
        };
        let outputs = attempt.joiner.handle(input, self.now());
        self.attempts.insert(net, attempt);
        self.carry_out(net, outputs).await;
        Ok(())
    }

    async fn carry_out(&mut self, net: NetSession, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { frame, .. } => {
                    // A session that is gone reports its end itself.
                    let _ = self.network.send(net, frame).await;
                }
                Output::Disconnect { reason, .. } => {
                    self.on_end(net, &reason);
                    self.network.close(net, reason.to_string());
                }
                Output::Joined { operations } => {
                    let Some(attempt) = self.attempts.get(&net) else { continue };
                    self.done = Some((operations, attempt.address.with_peer(attempt.peer)));
                }
                // The search has its own deadline.
                _ => {}
            }
        }
    }

    fn on_end(&mut self, net: NetSession, reason: &Reason) {
        let now = self.now().elapsed_ms;
        let Some(attempt) = self.attempts.get_mut(&net) else { return };
        let ended = match reason {
            Reason::Refused | Reason::ClosedByPeer(kithdb_sync::CloseCode::Refused) => Ended::Stranger,
            _ => Ended::Lost,
        };
        attempt.ended = Some((ended, reason.to_string()));
        match reason {
            Reason::JoinRefused(fault) => {
                self.refusal = Some(fault.to_string());
                // These do not change with time; another owner may know better, but not after long.
                if !matches!(fault, JoinFault::NotAnOwner | JoinFault::Busy | JoinFault::Unknown) {
                    self.give_up_at = self.give_up_at.min(now.saturating_add(SECOND_OPINION_MS));
                    self.answered.insert(attempt.peer);
                    attempt.ended = Some((Ended::Answered, reason.to_string()));
                }
            }
            Reason::WrongHistory | Reason::Version => self.refusal = Some(reason.to_string()),
            _ => {}
        }
    }
}
