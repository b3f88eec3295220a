//! Many replicas and the channels between them.

use std::collections::VecDeque;

use kithdb_log::Role;
use kithdb_log::ids::HelloNonce;

use super::workspace::START_UNIX_MS;
use super::{Node, Rng, TestWorkspace};
use crate::{Event, Input, Now, SessionId};

/// A channel: its two ends, and what is under way in each direction.
struct Link {
    ends: [(usize, SessionId); 2],
    queues: [VecDeque<Vec<u8>>; 2],
    up: bool,
}

/// A frame that was delivered.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub from: usize,
    pub to: usize,
    pub bytes: Vec<u8>,
}

pub(crate) struct World {
    pub workspace: TestWorkspace,
    pub nodes: Vec<Node>,
    pub now: Now,
    pub log: Vec<Sent>,
    links: Vec<Link>,
    last_session: u64,
}

impl World {
    /// Makes a workspace of `count` members that all know each other; the first is the founder.
    pub fn new(count: u8) -> Self {
        let mut workspace = TestWorkspace::new();
        let mut keys = vec![workspace.founder.clone()];
        keys.extend((2..=count).map(|number| workspace.add(number, Role::Writer)));
        let mut world = Self::empty(workspace);
        for keys in keys {
            world.add(keys);
        }
        world
    }

    pub fn empty(workspace: TestWorkspace) -> Self {
        let now = Now { unix_ms: START_UNIX_MS, elapsed_ms: 0 };
        Self { workspace, nodes: Vec::new(), now, log: Vec::new(), links: Vec::new(), last_session: 0 }
    }

    /// Adds a replica that knows all members.
    pub fn add(&mut self, keys: kithdb_log::DeviceKeys) -> usize {
        let membership = self.workspace.membership.clone();
        self.nodes.push(Node::new(keys, self.nodes.len() as u8 + 1, membership));
        self.nodes.len() - 1
    }

    /// Opens a channel; returns its number.
    pub fn connect(&mut self, dialer: usize, listener: usize) -> usize {
        let ends = [dialer, listener].map(|node| {
            self.last_session += 1;
            (node, SessionId(self.last_session))
        });
        self.links.push(Link { ends, queues: Default::default(), up: true });
        let nonce = |session: SessionId| HelloNonce::from_bytes([session.0 as u8; 32]);
        let id = |node: usize| format!("transport {node}").into_bytes();
        // The listener's side is up first, as with a real transport that delivers nothing before it.
        for (index, dials) in [(1, false), (0, true)] {
            let ((node, session), (other, _)) = (ends[index], ends[1 - index]);
            let (local_transport, remote_transport) = (id(node), id(other));
            let nonce = nonce(session);
            self.feed(node, Input::PeerUp { session, dialer: dials, local_transport, remote_transport, nonce });
        }
        self.links.len() - 1
    }

    /// Cuts a channel; what was under way is lost.
    pub fn cut(&mut self, link: usize) {
        if !std::mem::replace(&mut self.links[link].up, false) {
            return;
        }
        self.links[link].queues = Default::default();
        for (node, session) in self.links[link].ends {
            self.feed(node, Input::PeerDown { session });
        }
    }

    pub fn is_up(&self, link: usize) -> bool {
        self.links[link].up
    }

    pub fn feed(&mut self, node: usize, input: Input) {
        self.nodes[node].feed(&self.workspace, input, self.now);
        self.collect(node);
    }

    pub fn write(&mut self, node: usize, lane: u8, payload: &[u8]) {
        self.nodes[node].write(&self.workspace, lane, payload, self.now);
        self.collect(node);
    }

    /// Drops a replica's engine with all its channels and starts it again.
    pub fn restart(&mut self, node: usize) {
        for link in 0..self.links.len() {
            if self.links[link].up && self.links[link].ends.iter().any(|(end, _)| *end == node) {
                self.links[link].up = false;
                self.links[link].queues = Default::default();
                for (end, session) in self.links[link].ends {
                    if end != node {
                        self.feed(end, Input::PeerDown { session });
                    }
                }
            }
        }
        self.nodes[node].restart();
    }

    /// Does something bad to the next message that an end has sent: changes, repeats, drops or cuts it short.
    pub fn mutate(&mut self, link: usize, end: usize, rng: &mut Rng) {
        let queue = &mut self.links[link].queues[end];
        let Some(mut bytes) = queue.pop_front().filter(|bytes| !bytes.is_empty()) else { return };
        match rng.below(5) {
            0 => {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
                queue.push_front(bytes);
            }
            1 => {
                queue.push_front(bytes.clone());
                queue.push_front(bytes);
            }
            2 => queue.push_back(bytes),
            3 => {
                bytes.truncate(rng.below(bytes.len()));
                queue.push_front(bytes);
            }
            _ => {}
        }
    }

    /// Lets the answers that a driver kept to itself go.
    pub fn release(&mut self, node: usize) {
        self.nodes[node].withholds = false;
        for input in std::mem::take(&mut self.nodes[node].withheld) {
            self.feed(node, input);
        }
    }

    fn collect(&mut self, node: usize) {
        while let Some((session, bytes)) = self.nodes[node].outgoing.pop_front() {
            let link = self.links.iter_mut().find(|link| link.ends.contains(&(node, session)) && link.up);
            if let Some(link) = link {
                let end = usize::from(link.ends[1] == (node, session));
                link.queues[end].push_back(bytes);
            }
        }
        let gone: Vec<_> = self.nodes[node].disconnects.iter().map(|(session, _)| *session).collect();
        for link in &mut self.links {
            // The other end learns of it when the queue is empty; see `deliver`.
            if link.up && link.ends.iter().any(|(end, session)| *end == node && gone.contains(session)) {
                let end = usize::from(link.ends[1].0 == node);
                link.queues[1 - end].clear();
            }
        }
    }

    fn is_closed_by(&self, link: usize, end: usize) -> bool {
        let (node, session) = self.links[link].ends[end];
        self.nodes[node].disconnects.iter().any(|(gone, _)| *gone == session)
    }

    /// Lists the (channel, end) pairs with something to deliver.
    pub fn deliverable(&self) -> Vec<(usize, usize)> {
        let pairs = (0..self.links.len()).flat_map(|link| [(link, 0), (link, 1)]);
        pairs
            .filter(|&(link, end)| {
                self.links[link].up && (!self.links[link].queues[end].is_empty() || self.is_closed_by(link, end))
            })
            .collect()
    }

    /// Delivers the next message that an end has sent, or the news that it has closed the channel.
    pub fn deliver(&mut self, link: usize, end: usize) {
        let ((from, _), (to, session)) = (self.links[link].ends[end], self.links[link].ends[1 - end]);
        match self.links[link].queues[end].pop_front() {
            Some(bytes) if !self.is_closed_by(link, 1 - end) => {
                self.log.push(Sent { from, to, bytes: bytes.clone() });
                self.feed(to, Input::Frame { session, bytes });
            }
            Some(_) => {}
            None => {
                self.links[link].up = false;
                self.links[link].queues = Default::default();
                self.feed(to, Input::PeerDown { session });
            }
        }
    }

    /// Delivers everything until nothing is under way; time stands still but for timers that are due soon.
    pub fn run(&mut self) {
        let mut steps = 0;
        while let Some(&(link, end)) = self.deliverable().first() {
            self.deliver(link, end);
            steps += 1;
            assert!(steps < 1_000_000, "the peers never come to rest");
        }
    }

    /// Lets time pass and timers fire, and delivers nothing.
    pub fn pass_only(&mut self, ms: u64) {
        self.now.unix_ms += ms;
        self.now.elapsed_ms += ms;
        for node in 0..self.nodes.len() {
            self.feed(node, Input::Timer);
        }
    }

    /// Lets time pass and timers fire, and delivers what comes of it.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.elapsed_ms + ms;
        loop {
            self.run();
            let next = self.nodes.iter().filter_map(|node| node.scheduled).min().filter(|at| *at <= end);
            let at = next.unwrap_or(end).max(self.now.elapsed_ms);
            self.now.unix_ms += at - self.now.elapsed_ms;
            self.now.elapsed_ms = at;
            let Some(at) = next else { break };
            for node in 0..self.nodes.len() {
                if self.nodes[node].scheduled.is_some_and(|due| due <= at) {
                    self.nodes[node].scheduled = None;
                    self.feed(node, Input::Timer);
                }
            }
        }
        self.run();
    }

    /// Asserts that these replicas hold the same, and know it.
    pub fn assert_equal(&mut self, nodes: &[usize]) {
        let first = nodes[0];
        let digest = self.nodes[first].engine.digest();
        for &node in &nodes[1..] {
            let (left, right) = (&self.nodes[first].store.entries, &self.nodes[node].store.entries);
            let heights =
                |entries: &std::collections::BTreeMap<_, Vec<_>>| entries.values().map(Vec::len).collect::<Vec<_>>();
            assert_eq!(heights(left), heights(right), "replicas {first} and {node} differ");
            assert!(left == right, "replicas {first} and {node} differ in content");
            assert_eq!(self.nodes[node].engine.digest(), digest);
            let admin = |node: &Node| node.membership.set_hash();
            assert_eq!(admin(&self.nodes[first]), admin(&self.nodes[node]));
        }
    }

    /// Asserts that nobody refused, forged or closed anything.
    pub fn assert_honest(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.disconnects, [], "replica {index}");
            let bad = node.events.iter().find(|event| {
                matches!(
                    event,
                    Event::Forged { .. }
                        | Event::Fork { .. }
                        | Event::FalseClaim { .. }
                        | Event::Refused { .. }
                        | Event::AdminRefused { .. }
                        | Event::OwnStreamAhead { .. }
                )
            });
            assert_eq!(bad, None, "replica {index}");
        }
    }
}
