//! A session between two nodes: a reliable, ordered channel of frames that may be slow, stuck or cut; or one that lies.

use std::collections::VecDeque;

use kithdb_sync::SessionId;
use kithdb_tests::random::Random;

/// Bytes under way above which a sender is told to wait.
pub const QUEUE_BYTES_HIGH: usize = 512 << 10;
/// Bytes under way below which it may go on.
pub const QUEUE_BYTES_LOW: usize = 128 << 10;
/// In so many of a hundred frames a lying channel does something bad.
const LIE_PERCENT: usize = 12;

/// Something under way.
#[derive(Debug, Clone)]
pub enum Item {
    Open,
    Frame(Vec<u8>),
    Close,
}

/// One side of a session.
#[derive(Debug)]
pub struct End {
    pub node: usize,
    pub session: SessionId,
    pub is_open: bool,
    /// It was told that the channel is full.
    pub is_full: bool,
    /// Its peer has proven itself.
    pub is_proven: bool,
    /// What it has sent and the other side has not got.
    pub queue: VecDeque<Item>,
    /// What it sends is stuck.
    pub is_blocked: bool,
    /// Bytes of the first frame that have gone over.
    pub moved_bytes: usize,
}

/// A session between two nodes; the first end dialled.
#[derive(Debug)]
pub struct Link {
    pub ends: [End; 2],
    /// Bytes that go over at a time.
    pub rate_bytes: usize,
    /// The channel may have changed what it carried.
    pub lies: bool,
    /// It still does.
    is_lying: bool,
    /// It has changed something.
    pub lied: bool,
    /// It was opened after the world was healed.
    pub is_late: bool,
    earlier: Option<Vec<u8>>,
}

impl Link {
    pub fn new(ends: [(usize, SessionId); 2], rate_bytes: usize, lies: bool, is_late: bool) -> Self {
        let end = |(node, session)| End {
            node,
            session,
            is_open: false,
            is_full: false,
            is_proven: false,
            queue: VecDeque::new(),
            is_blocked: false,
            moved_bytes: 0,
        };
        Self { ends: ends.map(end), rate_bytes, lies, is_lying: lies, lied: false, is_late, earlier: None }
    }

    /// Makes the channel fast, open and honest.
    pub fn stop_trouble(&mut self) {
        self.rate_bytes = usize::MAX;
        self.is_lying = false;
        for end in &mut self.ends {
            end.is_blocked = false;
        }
    }

    /// Tells whether an end has sent something that can go over now.
    pub fn can_move(&self, end: usize) -> bool {
        !self.ends[end].is_blocked && !self.ends[end].queue.is_empty()
    }

    /// Moves bytes over; returns what has arrived whole.
    pub fn take(&mut self, end: usize) -> Option<Item> {
        let sender = &mut self.ends[end];
        if let Some(Item::Frame(bytes)) = sender.queue.front() {
            sender.moved_bytes = sender.moved_bytes.saturating_add(self.rate_bytes);
            if sender.moved_bytes < bytes.len() {
                return None;
            }
            sender.moved_bytes = 0;
        }
        sender.queue.pop_front()
    }

    pub fn queued_bytes(&self, end: usize) -> usize {
        let len = |item: &Item| if let Item::Frame(bytes) = item { bytes.len() } else { 0 };
        self.ends[end].queue.iter().map(len).sum()
    }

    /// Loses the end of what is under way from an end, and closes behind the rest.
    pub fn cut_after(&mut self, end: usize, kept: usize) {
        let sender = &mut self.ends[end];
        sender.queue.truncate(kept);
        sender.queue.push_back(Item::Close);
        sender.is_blocked = false;
    }

    /// Does something bad to what is first under way: changes, shortens, repeats, swaps, drops or replaces it.
    pub fn lie(&mut self, end: usize, random: &mut Random) {
        if !self.is_lying || !random.percent(LIE_PERCENT) {
            return;
        }
        let queue = &mut self.ends[end].queue;
        if !matches!(queue.front(), Some(Item::Frame(_))) {
            return;
        }
        let Some(Item::Frame(mut bytes)) = queue.pop_front() else { return };
        self.lied = true;
        let replay = self.earlier.replace(bytes.clone());
        match random.below(8) {
            0 | 1 => {
                if !bytes.is_empty() {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
                queue.push_front(Item::Frame(bytes));
            }
            2 => {
                bytes.truncate(random.below(bytes.len() + 1));
                queue.push_front(Item::Frame(bytes));
            }
            3 => {
                queue.push_front(Item::Frame(bytes.clone()));
                queue.push_front(Item::Frame(bytes));
            }
            4 => {
                let next = queue.pop_front();
                queue.push_front(Item::Frame(bytes));
                if let Some(next) = next {
                    queue.push_front(next);
                }
            }
            5 => queue.push_front(Item::Frame((0..random.below(300)).map(|_| random.bits() as u8).collect())),
            6 => {
                queue.push_front(Item::Frame(bytes));
                queue.push_front(Item::Frame(replay.unwrap_or_default()));
            }
            _ => {}
        }
    }
}
