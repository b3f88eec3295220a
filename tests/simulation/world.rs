//! All nodes of a run, the sessions between them, and one time for all.
//!
//! Invariants:
//! 1. Everything follows from the seed: no thread, no system clock and no system randomness takes part.
//! 2. On a session that does not lie, whatever a node complains of is a failure of the run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kithdb_log::ids::HelloNonce;
use kithdb_peer::{DriverEvent, Effect};
use kithdb_sync::{CloseCode, Event, Input, Reason, SessionId};
use kithdb_tests::random::Random;

use crate::link::{Item, Link, QUEUE_BYTES_HIGH, QUEUE_BYTES_LOW};
use crate::node::{Node, Outcome, during};

/// Counts of what happened, so that a run that does nothing shows.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub steps: u64,
    pub entries: u64,
    pub transactions: u64,
    pub frames: u64,
    pub sessions: u64,
    pub cuts: u64,
    pub crashes: u64,
    pub restores: u64,
    pub copies: u64,
    pub forking_writes: u64,
    pub taken_back: u64,
    pub lives: u64,
    pub held: u64,
    pub torn: u64,
    pub lying_sessions: u64,
    pub lies_ended: u64,
    pub forgeries: u64,
    pub full_disks: u64,
    pub reunion_bytes_max: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.entries += other.entries;
        self.transactions += other.transactions;
        self.frames += other.frames;
        self.sessions += other.sessions;
        self.cuts += other.cuts;
        self.crashes += other.crashes;
        self.restores += other.restores;
        self.copies += other.copies;
        self.forking_writes += other.forking_writes;
        self.taken_back += other.taken_back;
        self.lives += other.lives;
        self.held += other.held;
        self.torn += other.torn;
        self.lying_sessions += other.lying_sessions;
        self.lies_ended += other.lies_ended;
        self.forgeries += other.forgeries;
        self.full_disks += other.full_disks;
        self.reunion_bytes_max = self.reunion_bytes_max.max(other.reunion_bytes_max);
    }
}

/// Everything there is in a run.
pub struct World {
    pub nodes: Vec<Node>,
    pub links: BTreeMap<u64, Link>,
    pub elapsed_ms: u64,
    pub random: Random,
    pub tally: Tally,
    /// A hash of all that was delivered, in order.
    pub trace: u64,
    /// The world is healed: from now on nothing goes wrong.
    pub is_healed: bool,
    pub folder: Option<tempfile::TempDir>,
    /// One in so many deliveries ends with the crash of whoever got it; 0 for none.
    pub crash_chance: usize,
    sessions: BTreeMap<SessionId, (u64, usize)>,
    last_number: u64,
    files: u64,
    says: bool,
}

impl World {
    pub fn new(seed: u64, on_disk: bool) -> Outcome<Self> {
        let folder = if on_disk { Some(tempfile::tempdir().map_err(during("making a folder"))?) } else { None };
        Ok(Self {
            nodes: Vec::new(),
            links: BTreeMap::new(),
            elapsed_ms: 0,
            random: Random::new(seed),
            tally: Tally::default(),
            trace: 0,
            is_healed: false,
            folder,
            crash_chance: 0,
            sessions: BTreeMap::new(),
            last_number: 0,
            files: 0,
            says: std::env::var_os("KITHDB_SAY").is_some(),
        })
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.says {
            println!("{:>9} {}", self.elapsed_ms, what());
        }
    }

    pub fn new_path(&mut self) -> Option<PathBuf> {
        self.files += 1;
        self.folder.as_ref().map(|folder| folder.path().join(format!("{}.db", self.files)))
    }

    /// Returns a number that was never returned before in this run.
    pub const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Returns a seed for randomness of its own.
    pub const fn next_seed(&mut self) -> u64 {
        self.random.bits()
    }

    pub fn set_clocks(&self) {
        for node in &self.nodes {
            node.set_clock(self.elapsed_ms);
        }
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Opens a session; the other side hears of it when that arrives.
    pub fn connect(&mut self, dialer: usize, listener: usize, rate_bytes: usize, lies: bool) -> Outcome<u64> {
        let number = self.next_number();
        let ends = [dialer, listener].map(|node| (node, SessionId(self.next_number())));
        for (end, (_, session)) in ends.iter().enumerate() {
            self.sessions.insert(*session, (number, end));
        }
        let mut link = Link::new(ends, rate_bytes, lies, self.is_healed);
        link.ends[0].queue.push_back(Item::Open);
        self.links.insert(number, link);
        self.tally.sessions += 1;
        self.tally.lying_sessions += u64::from(lies);
        self.say(|| format!("session {number}: {dialer} dials {listener}{}", if lies { ", lying" } else { "" }));
        self.open(number, 0)?;
        Ok(number)
    }

    fn open(&mut self, number: u64, end: usize) -> Outcome<()> {
        let mut nonce = [0; 32];
        nonce.fill_with(|| self.random.bits() as u8);
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        link.ends[end].is_open = true;
        let (node, session, other) = (link.ends[end].node, link.ends[end].session, link.ends[1 - end].node);
        let transport = |node: usize| format!("node {node}").into_bytes();
        let input = Input::PeerUp {
            session,
            dialer: end == 0,
            local_transport: transport(node),
            remote_transport: transport(other),
            nonce: HelloNonce::from_bytes(nonce),
        };
        self.input(node, input)
    }

    /// Gives a node's driver an input and does what it asks.
    pub fn input(&mut self, node: usize, input: Input) -> Outcome<()> {
        let now = self.nodes[node].now(self.elapsed_ms);
        let Some(driver) = self.nodes[node].driver_mut() else { return Ok(()) };
        let effects = driver.input(input, now);
        self.carry_out(node, effects)
    }

    /// Lets a node look at its file.
    pub fn look(&mut self, node: usize) -> Outcome<()> {
        let now = self.nodes[node].now(self.elapsed_ms);
        let Some(driver) = self.nodes[node].driver_mut() else { return Ok(()) };
        let effects = driver.look(now);
        self.carry_out(node, effects)
    }

    /// Lets a node do a piece of work.
    pub fn work(&mut self, node: usize) -> Outcome<()> {
        let now = self.nodes[node].now(self.elapsed_ms);
        let Some(driver) = self.nodes[node].driver_mut() else { return Ok(()) };
        let effects = driver.work(now);
        self.carry_out(node, effects)
    }

    /// Does what a driver asks; now and then its process dies before it has done all.
    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) -> Outcome<()> {
        let dies = self.crash_chance > 0 && !effects.is_empty() && self.random.below(self.crash_chance) == 0;
        let mut left = if dies { self.random.below(effects.len() + 1) } else { effects.len() };
        for effect in effects {
            // It may have died of what it was told while it did this.
            if left == 0 || !self.nodes[node].is_up() {
                break;
            }
            left -= 1;
            match effect {
                Effect::Send { session, frame } => self.send(node, session, frame)?,
                Effect::Disconnect { session, reason } => self.hang_up(node, session, &reason)?,
                Effect::Schedule { at_elapsed_ms } => self.nodes[node].scheduled = Some(at_elapsed_ms),
                Effect::Event(event) => self.on_event(node, event)?,
                other => return Err(format!("node {node} asks for something unknown: {other:?}")),
            }
        }
        if dies && self.nodes[node].is_up() {
            self.crash(node);
        }
        Ok(())
    }

    fn send(&mut self, node: usize, session: SessionId, frame: Vec<u8>) -> Outcome<()> {
        let Some(&(number, end)) = self.sessions.get(&session) else {
            return Err(format!("node {node} sends over a session that is over"));
        };
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        if !link.ends[end].is_open || link.ends[end].node != node {
            return Err(format!("node {node} sends over session {number}, which it has no part in"));
        }
        link.ends[end].queue.push_back(Item::Frame(frame));
        self.tally.frames += 1;
        self.press(number, end)
    }

    /// Tells an end when what it sent piles up, and when that is over.
    fn press(&mut self, number: u64, end: usize) -> Outcome<()> {
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        let bytes = link.queued_bytes(end);
        let sender = &mut link.ends[end];
        let turns = if sender.is_full { bytes < QUEUE_BYTES_LOW } else { bytes > QUEUE_BYTES_HIGH };
        if !turns || !sender.is_open {
            return Ok(());
        }
        sender.is_full = !sender.is_full;
        let (node, session, writable) = (sender.node, sender.session, !sender.is_full);
        self.input(node, Input::Writable { session, writable })
    }

    fn hang_up(&mut self, node: usize, session: SessionId, reason: &Reason) -> Outcome<()> {
        let Some((number, end)) = self.sessions.remove(&session) else {
            return Err(format!("node {node} hangs up twice"));
        };
        self.say(|| format!("session {number}: {node} hangs up: {reason}"));
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        link.ends[end].is_open = false;
        link.ends[end].queue.push_back(Item::Close);
        link.ends[1 - end].queue.clear();
        if link.lied {
            self.tally.lies_ended += 1;
        }
        let is_fine = match reason {
            Reason::Duplicate | Reason::ClosedByPeer(CloseCode::Duplicate) => true,
            Reason::HandshakeTimeout | Reason::Stalled | Reason::ClosedByPeer(CloseCode::Timeout) => !link.is_late,
            Reason::OwnStore | Reason::ClosedByPeer(CloseCode::Busy) => !link.is_late,
            _ => false,
        };
        let (lies, late) = (link.lies, link.is_late);
        self.bury(number);
        if is_fine || lies {
            Ok(())
        } else {
            Err(format!("node {node} ended session {number} (late: {late}): {reason}"))
        }
    }

    /// Forgets a session that both sides have left.
    fn bury(&mut self, number: u64) {
        let is_over = self.links.get(&number).is_some_and(|link| {
            !link.ends[0].is_open && !link.ends[1].is_open && !matches!(link.ends[0].queue.front(), Some(Item::Open))
        });
        if is_over && let Some(link) = self.links.remove(&number) {
            for end in link.ends {
                self.sessions.remove(&end.session);
            }
        }
    }

    /// Moves what an end has sent a bit further; returns whether something arrived.
    pub fn deliver(&mut self, number: u64, end: usize) -> Outcome<bool> {
        let Some(link) = self.links.get_mut(&number) else { return Ok(false) };
        link.lie(end, &mut self.random);
        let Some(item) = link.take(end) else { return Ok(false) };
        let (to, session) = (link.ends[1 - end].node, link.ends[1 - end].session);
        match item {
            Item::Open => {
                if self.nodes[to].is_up() {
                    self.open(number, 1 - end)?;
                } else {
                    link.cut_after(1 - end, 0);
                }
            }
            Item::Frame(bytes) => {
                if link.ends[1 - end].is_open {
                    self.mix(&bytes);
                    self.input(to, Input::Frame { session, bytes })?;
                }
            }
            Item::Close => {
                if std::mem::replace(&mut link.ends[1 - end].is_open, false) {
                    self.sessions.remove(&session);
                    self.input(to, Input::PeerDown { session })?;
                }
                self.bury(number);
                return Ok(true);
            }
        }
        self.press(number, end)?;
        self.bury(number);
        Ok(true)
    }

    /// Cuts a session: each side hears of it on its own, after a part of what was under way to it.
    pub fn cut(&mut self, number: u64) {
        let Some(link) = self.links.get_mut(&number) else { return };
        self.tally.cuts += 1;
        for end in [0, 1] {
            let kept = self.random.below(link.ends[end].queue.len() + 1);
            link.cut_after(end, kept);
        }
        self.say(|| format!("session {number}: cut"));
    }

    /// Ends a node's process; what it sent before may still arrive.
    pub fn crash(&mut self, node: usize) {
        self.say(|| format!("node {node} dies"));
        self.tally.crashes += 1;
        self.nodes[node].crash();
        for number in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.links.get_mut(&number) else { continue };
            for end in [0, 1] {
                if link.ends[end].node == node {
                    link.ends[end].is_open = false;
                    self.sessions.remove(&link.ends[end].session);
                    let kept = self.random.below(link.ends[end].queue.len() + 1);
                    link.cut_after(end, kept);
                    link.ends[1 - end].queue.clear();
                }
            }
            self.bury(number);
        }
    }

    /// Loses what a node that is down has sent and nobody got.
    pub fn forget_sent_by(&mut self, node: usize) {
        for link in self.links.values_mut() {
            for end in [0, 1] {
                if link.ends[end].node == node {
                    link.cut_after(end, 0);
                }
            }
        }
    }

    /// Starts a node's process.
    pub fn restart(&mut self, node: usize) -> Outcome<()> {
        self.say(|| format!("node {node} starts"));
        let (seed, elapsed_ms) = (self.next_seed(), self.elapsed_ms);
        self.nodes[node].restart(seed, elapsed_ms)?;
        self.look(node)
    }

    fn on_event(&mut self, node: usize, event: DriverEvent) -> Outcome<()> {
        self.say(|| format!("node {node}: {event:?}").chars().take(260).collect());
        match event {
            DriverEvent::Sealed(report) => self.tally.transactions += report.transactions,
            DriverEvent::Applied(report) => {
                self.tally.torn += report.torn;
                self.tally.held += report.waiting;
                if let Some(refused) = report.refused.first() {
                    return Err(format!("node {node} stored an entry and refused it: {}", refused.reason));
                }
            }
            DriverEvent::Reincarnated { .. } => {
                self.tally.lives += 1;
                self.nodes[node].is_unaware = false;
            }
            DriverEvent::TakenBack { report, .. } => {
                self.tally.taken_back += report.operations;
                self.nodes[node].is_unaware = false;
            }
            DriverEvent::Sync(event) => return self.on_sync_event(node, &event),
            _ => {}
        }
        Ok(())
    }

    fn on_sync_event(&mut self, node: usize, event: &Event) -> Outcome<()> {
        let session = match event {
            Event::PeerJoined { session, .. } => {
                if let Some((number, end)) = self.sessions.get(session)
                    && let Some(link) = self.links.get_mut(number)
                {
                    link.ends[*end].is_proven = true;
                }
                return Ok(());
            }
            // Peers see both branches of a stream until its author has taken one back, which shortens what it had claimed.
            Event::Fork { .. } | Event::FalseClaim { .. } if self.tally.forking_writes > 0 => return Ok(()),
            Event::Refused { session }
            | Event::Forged { session, .. }
            | Event::AdminRefused { session, .. }
            | Event::Fork { session, .. }
            | Event::FalseClaim { session, .. }
            | Event::SameReplica { session } => *session,
            Event::OwnStreamAhead { .. } if self.nodes[node].was_restored => return Ok(()),
            Event::OwnStreamAhead { session, .. } => *session,
            _ => return Ok(()),
        };
        let lies = self.sessions.get(&session).and_then(|(number, _)| self.links.get(number)).is_none_or(|l| l.lies);
        if lies {
            self.tally.forgeries += 1;
            return Ok(());
        }
        Err(format!("node {node} complains of an honest peer: {event:?}"))
    }

    /// Lists the sessions' ends with something that can move.
    pub fn movable(&self) -> Vec<(u64, usize)> {
        let ends = self.links.iter().flat_map(|(number, link)| [0, 1].map(|end| (*number, end, link)));
        ends.filter(|(_, end, link)| link.can_move(*end)).map(|(number, end, _)| (number, end)).collect()
    }

    /// Lists the nodes with work to do.
    pub fn busy(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|node| self.nodes[*node].driver().is_some_and(kithdb_peer::Driver::has_work))
            .collect()
    }

    /// Lets time pass, with the timers that are due.
    pub fn pass(&mut self, ms: u64) -> Outcome<()> {
        self.elapsed_ms += ms;
        self.set_clocks();
        for node in 0..self.nodes.len() {
            self.fire(node)?;
        }
        Ok(())
    }

    /// Calls a node's timer if it is due.
    pub fn fire(&mut self, node: usize) -> Outcome<()> {
        if self.nodes[node].timer_at().is_some_and(|at| at <= self.elapsed_ms) {
            self.nodes[node].scheduled = None;
            self.input(node, Input::Timer)?;
        }
        Ok(())
    }
}
