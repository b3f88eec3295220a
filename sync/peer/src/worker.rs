//! The thread that owns the replica: it drives the engine and tells in words what happens.
//!
//! Invariants:
//! 1. The thread never waits for the network: what it has to say queues up, and the engine bounds what it sends.
//! 2. It writes while no connection of the application in this process is in a transaction, or after a moment's wait.
//! 3. A commit by any program is looked at by event; the timer of [`LOOK_ANYWAY_MS`] only catches what events miss.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kithdb_core::everywhere::connect_tables;
use kithdb_core::gate::{Gate, Writer};
use kithdb_core::replica::Replica;
use kithdb_log::AuthorId;
use kithdb_log::ids::HelloNonce;
use kithdb_net::{Address, GossipId, GossipVerdict, Path, PeerId};
use kithdb_sync::{Event, Input, Now, Reason, SessionId};
use tokio::sync::{mpsc, oneshot};

use crate::addresses::keep_past_address;
use crate::driver::{Driver, DriverEvent, Effect};
use crate::event::{Device, PeerEvent};
use crate::gossip::Announcement;
use crate::routes::Ended;
use crate::status::SessionStatus;
use crate::watch::{LOOK_ANYWAY_MS, LOOKS_MS};

/// Commands taken up before a piece of work gets its turn.
const COMMANDS_IN_A_ROW: usize = 64;
/// Milliseconds that sealing what is pending and sending it may take at the end.
const LAST_WORK_MS: u64 = 2_000;

/// How long a piece of work waits for the application's transactions to end. If this was not enough, the next one does not wait for the
/// same ones.
const PATIENCE: Duration = Duration::from_secs(1);

/// A function to run on the replica's thread.
pub(crate) type Call = Box<dyn FnOnce(&mut Replica) + Send>;

/// What the thread is told.
pub(crate) enum Command {
    Up {
        session: SessionId,
        dialer: bool,
        local: PeerId,
        remote: PeerId,
        address: Address,
        path: Path,
    },
    Frame {
        session: SessionId,
        bytes: Vec<u8>,
    },
    Down {
        session: SessionId,
        reason: String,
    },
    Writable {
        session: SessionId,
        writable: bool,
    },
    Timer,
    /// Wakes the thread after [`Wake`] was set.
    Wake,
    Call(Call),
    Gossip {
        id: GossipId,
        source: PeerId,
        message: Vec<u8>,
    },
    Status(oneshot::Sender<Vec<SessionStatus>>),
    Shutdown,
}

/// What the thread says.
pub(crate) enum Message {
    Send {
        session: SessionId,
        frame: Vec<u8>,
    },
    Close {
        session: SessionId,
        reason: String,
        ended: Ended,
        tell: bool,
    },
    Proven {
        session: SessionId,
    },
    /// The thread wants a [`Command::Timer`] at this time, in milliseconds since the start.
    Timer {
        at_elapsed_ms: u64,
    },
    Announce(Vec<u8>),
    Verdict {
        id: GossipId,
        source: PeerId,
        verdict: GossipVerdict,
        ahead: bool,
    },
    Event(PeerEvent),
}

/// Set when the database file has changed; many events before the next look count as one.
pub(crate) type Wake = Arc<AtomicBool>;

struct Link {
    address: Address,
    path: Path,
    dialer: bool,
    remote: PeerId,
    author: Option<AuthorId>,
    caught_up: bool,
}

pub(crate) struct Worker {
    driver: Driver,
    /// None of a replica in memory, which the application has no connection to.
    gate: Option<Writer>,
    commands: mpsc::Receiver<Command>,
    messages: mpsc::UnboundedSender<Message>,
    wake: Wake,
    started: Instant,
    links: BTreeMap<SessionId, Link>,
    /// When the database is to be looked at again.
    looks: VecDeque<u64>,
    look_anyway_ms: Option<u64>,
    looked_at: u64,
    driver_at: Option<u64>,
    timer_at: Option<u64>,
    gossip: bool,
    /// When the thread ends at the latest, once it was told to.
    leave_at: Option<u64>,
}

/// What a worker is built from.
pub(crate) struct WorkerParts {
    pub(crate) driver: Driver,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) messages: mpsc::UnboundedSender<Message>,
    pub(crate) wake: Wake,
    pub(crate) started: Instant,
    pub(crate) gossip: bool,
    /// Whether the file system's events tell of commits.
    pub(crate) watched: bool,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        let WorkerParts { driver, commands, messages, wake, started, gossip, watched } = parts;
        let is_file = driver.replica().path().is_some();
        let look_anyway_ms = is_file.then_some(if watched { LOOK_ANYWAY_MS } else { LOOK_ANYWAY_MS / 5 });
        let gate = driver.replica().path().map(|path| Gate::of(path).writer());
        Self {
            driver,
            gate,
            commands,
            messages,
            wake,
            started,
            links: BTreeMap::new(),
            looks: VecDeque::new(),
            look_anyway_ms,
            looked_at: 0,
            driver_at: None,
            timer_at: None,
            gossip,
            leave_at: None,
        }
    }

    /// Runs until it is told to stop, or nobody is there any more.
    pub(crate) fn run(mut self) {
        // What peers send is embedded as it comes, where a table says by which model.
        if let Err(error) = connect_tables(self.driver.replica().conn()) {
            tracing::debug!(%error, "the tables of embeddings were not connected");
        }
        self.look();
        loop {
            for _ in 0..COMMANDS_IN_A_ROW {
                match self.commands.try_recv() {
                    Ok(command) => self.on_command(command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            if self.wake.swap(false, Ordering::AcqRel) {
                let now = self.now().elapsed_ms;
                self.looks = LOOKS_MS.iter().map(|ms| now + ms).collect();
                self.look();
            }
            if self.may_leave() {
                return self.finish();
            }
            self.plan_timer();
            if self.driver.has_work() {
                let effects = self.between_transactions(Driver::work);
                self.carry_out(effects);
                continue;
            }
            if self.wake.load(Ordering::Acquire) {
                continue;
            }
            match self.commands.blocking_recv() {
                Some(command) => self.on_command(command),
                None => return,
            }
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Now { unix_ms: ms(unix), elapsed_ms: ms(self.started.elapsed()) }
    }

    fn say(&self, message: Message) {
        // Nobody listens any more only when the peer is being dropped.
        let _ = self.messages.send(message);
    }

    fn look(&mut self) {
        self.looked_at = self.now().elapsed_ms;
        let effects = self.between_transactions(Driver::look);
        self.carry_out(effects);
    }

    /// Does something that may write, once the application is in no transaction or that has taken too long.
    fn between_transactions(&mut self, act: impl FnOnce(&mut Driver, Now) -> Vec<Effect>) -> Vec<Effect> {
        let _pass = self.gate.as_ref().map(|gate| {
            let patience = if gate.ignores_who_is_inside() { Duration::ZERO } else { PATIENCE };
            gate.pass(patience).unwrap_or_else(|| gate.pass_anyway())
        });
        let now = self.now();
        act(&mut self.driver, now)
    }

    fn on_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Up { session, dialer, local, remote, address, path } => {
                let mut nonce = [0; 32];
                if let Err(error) = getrandom::fill(&mut nonce) {
                    let reason = format!("the system gives no random bytes: {error}");
                    return self.say(Message::Close { session, reason, ended: Ended::Lost, tell: true });
                }
                self.links.insert(session, Link { address, path, dialer, remote, author: None, caught_up: false });
                let (local_transport, remote_transport) = (local.to_bytes(), remote.to_bytes());
                let nonce = HelloNonce::from_bytes(nonce);
                self.input(Input::PeerUp { session, dialer, local_transport, remote_transport, nonce });
            }
            Command::Frame { session, bytes } => self.input(Input::Frame { session, bytes }),
            Command::Down { session, reason } => {
                self.input(Input::PeerDown { session });
                self.forget(session, reason);
            }
            Command::Writable { session, writable } => self.input(Input::Writable { session, writable }),
            Command::Timer => {
                self.timer_at = None;
                // The driver tells of its next time, if it has one; the one that has come would come again at once, for ever.
                self.driver_at = self.driver_at.filter(|at| *at > now.elapsed_ms);
                let is_due = self.looks.front().is_some_and(|at| *at <= now.elapsed_ms);
                while self.looks.front().is_some_and(|at| *at <= now.elapsed_ms) {
                    self.looks.pop_front();
                }
                if is_due || self.look_anyway_at().is_some_and(|at| at <= now.elapsed_ms) {
                    self.look();
                }
                self.input(Input::Timer);
            }
            Command::Wake => {}
            Command::Call(call) => {
                self.between_transactions(|driver, _| {
                    call(driver.replica_mut());
                    Vec::new()
                });
            }
            Command::Gossip { id, source, message } => self.on_gossip(id, source, &message),
            Command::Status(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.status());
            }
            Command::Shutdown => {
                self.leave_at = Some(now.elapsed_ms + LAST_WORK_MS);
                self.look();
            }
        }
    }

    /// Tells whether all was sealed and sent after the thread was told to end, or took too long.
    fn may_leave(&self) -> bool {
        let Some(leave_at) = self.leave_at else { return false };
        let is_done = || {
            let mut proven = self.links.iter().filter(|(_, link)| link.author.is_some());
            !self.driver.has_work() && proven.all(|(session, _)| self.driver.engine().is_served(*session))
        };
        leave_at <= self.now().elapsed_ms || is_done()
    }

    fn input(&mut self, input: Input) {
        let effects = self.between_transactions(|driver, now| driver.input(input, now));
        self.carry_out(effects);
    }

    fn look_anyway_at(&self) -> Option<u64> {
        Some(self.looked_at + self.look_anyway_ms?)
    }

    fn plan_timer(&mut self) {
        let looks = [self.looks.front().copied(), self.look_anyway_at()];
        let next = looks.into_iter().chain([self.driver_at, self.leave_at]).flatten().min();
        // A timer that comes too early does no harm; setting it anew for every look would cost more than the looks.
        if let Some(at_elapsed_ms) = next.filter(|at| self.timer_at.is_none_or(|set| *at < set)) {
            self.timer_at = next;
            self.say(Message::Timer { at_elapsed_ms });
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { session, frame } => self.say(Message::Send { session, frame }),
                Effect::Disconnect { session, reason } => self.close(session, &reason),
                Effect::Schedule { at_elapsed_ms } => self.driver_at = Some(at_elapsed_ms),
                Effect::Event(event) => self.tell(event),
            }
        }
    }

    fn close(&mut self, session: SessionId, reason: &Reason) {
        let ended = match reason {
            Reason::SelfConnection => Ended::Oneself,
            Reason::Refused | Reason::ClosedByPeer(kithdb_sync::CloseCode::Refused) => Ended::Stranger,
            _ => Ended::Lost,
        };
        let is_proven = self.links.get(&session).is_some_and(|link| link.author.is_some());
        let is_join = matches!(reason, Reason::Joined | Reason::JoinRefused(_));
        let tell = !is_proven && !is_join && ended != Ended::Oneself && *reason != Reason::Duplicate;
        let reason = reason.to_string();
        self.say(Message::Close { session, reason: reason.clone(), ended, tell });
        self.forget(session, reason);
    }

    fn forget(&mut self, session: SessionId, reason: String) {
        let Some(link) = self.links.remove(&session) else { return };
        if let Some(author) = link.author {
            self.event(PeerEvent::Disconnected { session, device: self.device(author), reason });
        }
    }

    fn event(&self, event: PeerEvent) {
        self.say(Message::Event(event));
    }

    fn device(&self, author: AuthorId) -> Device {
        // The replica may still be waiting to store what let a new member in.
        let member = self.driver.engine().membership().get(author);
        Device { author, name: member.map_or_else(|| author.short(), |member| member.name.clone()) }
    }

    fn device_of(&self, session: SessionId) -> Option<Device> {
        self.links.get(&session)?.author.map(|author| self.device(author))
    }

    fn on_gossip(&mut self, id: GossipId, source: PeerId, message: &[u8]) {
        let engine = self.driver.engine();
        let Some(announcement) = Announcement::open(message, engine.membership()) else {
            // A member that this device has not heard of yet may have signed it.
            return self.say(Message::Verdict { id, source, verdict: GossipVerdict::Ignore, ahead: false });
        };
        let ahead = announcement.heads.iter().any(|head| {
            engine.heads().find(|known| known.id == head.id).is_none_or(|known| known.height < head.height)
        });
        self.say(Message::Verdict { id, source, verdict: GossipVerdict::Accept, ahead });
    }

    fn status(&self) -> Vec<SessionStatus> {
        let proven = self.links.iter().filter_map(|(session, link)| Some((*session, link, link.author?)));
        proven
            .map(|(session, link, author)| SessionStatus {
                session,
                device: self.device(author),
                address: link.address.clone(),
                path: link.path,
                caught_up: link.caught_up,
                traffic: self.driver.traffic(session).unwrap_or_default(),
            })
            .collect()
    }

    fn tell(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::Sync(event) => self.tell_sync(event),
            DriverEvent::Sealed(report) => {
                if self.gossip && !report.heads.is_empty() {
                    let keys = self.driver.replica().workspace().keys();
                    self.say(Message::Announce(Announcement::sign(keys, &report.heads)));
                }
                let (transactions, rows_taken_up) = (report.transactions, report.rows_taken_up);
                self.event(PeerEvent::Sealed { transactions, rows_taken_up });
            }
            DriverEvent::Applied(report) => {
                for refused in &report.refused {
                    self.event(PeerEvent::Forged {
                        device: Some(self.device(refused.stream.author)),
                        sequence: Some(refused.sequence),
                        reason: refused.reason.clone(),
                    });
                }
                if report.torn > 0 {
                    self.event(PeerEvent::Torn { transactions: report.torn });
                }
                self.event(PeerEvent::Applied {
                    entries: report.entries,
                    operations: report.operations,
                    rows: report.rows_written,
                    tables_created: report.tables_created,
                    waiting: report.waiting,
                });
            }
            DriverEvent::TriggersLeftOut { reason } => self.event(PeerEvent::TriggersLeftOut { reason }),
            DriverEvent::Admitted { author } => self.event(PeerEvent::Admitted { device: self.device(author) }),
            DriverEvent::NotAdmitted { author, reason, .. } => self.event(PeerEvent::JoinRefused { author, reason }),
            DriverEvent::Reincarnated { reason } => self.event(PeerEvent::OwnStreamAhead { reason }),
            DriverEvent::TakenBack { reason, report } => {
                self.event(PeerEvent::WrittenAnew { reason, operations: report.operations });
            }
            DriverEvent::Damaged { stream, sequence } => {
                self.event(PeerEvent::Damaged { device: self.device(stream.author), sequence });
            }
            DriverEvent::Delayed { reason, .. } => self.event(PeerEvent::Delayed { reason }),
        }
    }

    fn tell_sync(&mut self, event: Event) {
        match event {
            Event::PeerJoined { session, author, .. } => self.on_proven(session, author),
            Event::Progress { session, have_entries, want_entries, received_bytes } => {
                if let Some(device) = self.device_of(session) {
                    self.event(PeerEvent::Progress { session, device, have_entries, want_entries, received_bytes });
                }
            }
            Event::CaughtUp { session } => {
                if let Some(link) = self.links.get_mut(&session) {
                    link.caught_up = true;
                }
                if let Some(device) = self.device_of(session) {
                    self.event(PeerEvent::CaughtUp { session, device });
                }
            }
            Event::InStep { session } => {
                if let Some(device) = self.device_of(session) {
                    self.event(PeerEvent::InStep { session, device });
                }
            }
            Event::Forged { session, stream, sequence, refusal } => {
                let device = stream.map(|stream| self.device(stream.author));
                let from = self.device_of(session).map_or_else(String::new, |from| format!(" (received from {from})"));
                let reason = format!("{}{from}", crate::driver::trouble::in_full(&refusal));
                self.event(PeerEvent::Forged { device, sequence, reason });
            }
            Event::AdminRefused { session, error } => {
                let device = self.device_of(session);
                self.event(PeerEvent::Forged { device, sequence: None, reason: error.to_string() });
            }
            Event::Fork { stream, sequence, .. } => {
                self.event(PeerEvent::Fork { device: self.device(stream.author), sequence });
            }
            Event::ClockAhead { stream, ahead_ms, .. } => {
                self.event(PeerEvent::ClockAhead { device: self.device(stream.author), ahead_ms });
            }
            Event::AdminReceived { operations, .. } => self.event(PeerEvent::MembersChanged { operations }),
            Event::ReceivingPaused { disk_full, for_ms } => {
                self.event(PeerEvent::ReceivingPaused { disk_full, for_ms })
            }
            Event::ReceivingResumed => self.event(PeerEvent::ReceivingResumed),
            Event::JoinAsked { author, .. } => self.event(PeerEvent::JoinAsked { author }),
            other => tracing::debug!(?other, "sync"),
        }
    }

    fn on_proven(&mut self, session: SessionId, author: AuthorId) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.author = Some(author);
        let (address, path) = (link.address.clone(), link.path);
        let kept = link.dialer.then(|| address.with_peer(link.remote));
        self.say(Message::Proven { session });
        self.event(PeerEvent::Connected { session, device: self.device(author), address, path });
        // The port of whoever dialled in may be of use for one session only.
        if let Some(address) = kept
            && let Err(error) = keep_past_address(self.driver.replica(), &address)
        {
            tracing::debug!(%error, "the address of a peer was not noted");
        }
    }

    /// Takes leave of every peer and closes the database.
    fn finish(mut self) {
        let sessions: Vec<_> = self.links.keys().copied().collect();
        for session in sessions {
            self.input(Input::PeerDown { session });
            let reason = "this peer was shut down".to_owned();
            self.say(Message::Close { session, reason: reason.clone(), ended: Ended::Lost, tell: false });
            self.forget(session, reason);
        }
        if let Err(error) = self.driver.into_replica().close() {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kithdb_core::replica::InitOptions;

    #[test]
    fn time_that_has_come_and_leaves_nothing_to_do_is_not_asked_for_again() {
        let replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
        let (_command_sender, commands) = mpsc::channel(1);
        let (messages, mut said) = mpsc::unbounded_channel();
        let mut worker = Worker::new(WorkerParts {
            driver: Driver::new(replica).unwrap(),
            commands,
            messages,
            wake: Wake::default(),
            started: Instant::now(),
            gossip: false,
            watched: true,
        });
        worker.carry_out(vec![Effect::Schedule { at_elapsed_ms: 0 }]);
        worker.plan_timer();
        assert!(matches!(said.try_recv(), Ok(Message::Timer { at_elapsed_ms: 0 })));
        worker.on_command(Command::Timer);
        worker.plan_timer();
        assert!(said.try_recv().is_err());
    }
}
