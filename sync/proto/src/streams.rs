//! What this replica holds of each stream, and what each peer says it holds.
//!
//! Invariants:
//! 1. `height` is durable; `pending_height` is admitted, and its difference to `height` is on its way to the store.
//! 2. At most one session pulls a stream at a time.

use std::collections::BTreeMap;

use kithdb_log::{EntryHash, Membership, SequenceNumber, StreamId};

use crate::types::{Digest, SessionId, StreamHead};

/// What one peer is known or said to hold of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub session: SessionId,
    pub height: SequenceNumber,
    /// The peer has proven useless for this stream: it sent something invalid, or holds the other side of a fork.
    pub stuck: bool,
    /// The peer names another head than ours: its entries are fetched from here on to see whether, and where, the author forked.
    pub probe: Option<Probe>,
}

/// Where a peer's branch of a stream is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub from: SequenceNumber,
    /// How far to go back from there if the branches part still earlier.
    pub step: u64,
}

impl Probe {
    pub const fn at(from: SequenceNumber) -> Self {
        Self { from, step: 1 }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub height: SequenceNumber,
    pub head: EntryHash,
    pub pending_height: SequenceNumber,
    pub pending_head: EntryHash,
    /// The session that the last admitted entry came over.
    pub pending_session: Option<SessionId>,
    pub pull: Option<SessionId>,
    /// Its end is being taken back: nothing is asked for until it is known where it ends.
    pub is_held: bool,
    /// New entries are being loaded to be pushed.
    pub is_pushing: bool,
    pub claims: Vec<Claim>,
}

impl Stream {
    pub fn claim(&self, session: SessionId) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.session == session)
    }

    pub fn claim_mut(&mut self, session: SessionId) -> &mut Claim {
        let index = match self.claims.iter().position(|claim| claim.session == session) {
            Some(index) => index,
            None => {
                self.claims.push(Claim { session, height: SequenceNumber::new(0), stuck: false, probe: None });
                self.claims.len() - 1
            }
        };
        &mut self.claims[index]
    }

    /// Returns the height the session is known or said to hold.
    pub fn claimed_height(&self, session: SessionId) -> SequenceNumber {
        self.claim(session).map_or(SequenceNumber::new(0), |claim| claim.height)
    }

    /// Notes that a session holds at least this much.
    pub fn raise_claim(&mut self, session: SessionId, height: SequenceNumber) {
        let claim = self.claim_mut(session);
        claim.height = claim.height.max(height);
    }

    /// Forgets what was admitted but is not durable.
    pub fn roll_back(&mut self) {
        self.pending_height = self.height;
        self.pending_head = self.head;
    }

    /// Notes that the entry is durable; returns the height before if the stream grew.
    pub fn grow(&mut self, height: SequenceNumber, head: EntryHash) -> Option<SequenceNumber> {
        if height <= self.height {
            return None;
        }
        let before = std::mem::replace(&mut self.height, height);
        self.head = head;
        if self.pending_height < height {
            self.roll_back();
        }
        Some(before)
    }
}

/// All streams that are stored or claimed.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    map: BTreeMap<StreamId, Stream>,
    digest: Option<[u8; 32]>,
}

impl Streams {
    pub fn new(heads: impl IntoIterator<Item = StreamHead>) -> Self {
        let mut streams = Self::default();
        for head in heads {
            streams.entry(head.id).grow(head.height, head.head);
        }
        streams
    }

    pub fn get(&self, id: &StreamId) -> Option<&Stream> {
        self.map.get(id)
    }

    /// Borrows a stream; for changes of height use [`Self::grow`].
    pub fn get_mut(&mut self, id: &StreamId) -> Option<&mut Stream> {
        self.map.get_mut(id)
    }

    pub fn entry(&mut self, id: StreamId) -> &mut Stream {
        self.map.entry(id).or_default()
    }

    /// Notes that an entry is durable; returns the height before if the stream grew.
    pub fn grow(&mut self, id: StreamId, height: SequenceNumber, head: EntryHash) -> Option<SequenceNumber> {
        let before = self.entry(id).grow(height, head)?;
        self.digest = None;
        Some(before)
    }

    /// Notes that a stream ends earlier than it did, and forgets what was wrong with peers that hold more.
    pub fn cut_back(&mut self, head: &StreamHead) {
        self.digest = None;
        let stream = self.entry(head.id);
        (stream.height, stream.head) = (head.height, head.head);
        stream.roll_back();
        stream.is_held = false;
        for claim in &mut stream.claims {
            claim.stuck = false;
            claim.probe = None;
        }
    }

    /// Lists what is stored.
    pub fn heads(&self) -> impl Iterator<Item = StreamHead> {
        let stored = self.map.iter().filter(|(_, stream)| stream.height > SequenceNumber::new(0));
        stored.map(|(id, stream)| StreamHead { id: *id, height: stream.height, head: stream.head })
    }

    /// Hashes all that is stored, with the admin operations.
    pub fn digest(&mut self, membership: &Membership) -> Digest {
        let streams = match self.digest {
            Some(known) => known,
            None => {
                let mut hasher = blake3::Hasher::new_derive_key("kithdb 2026 stream set v1");
                for StreamHead { id, height, head } in self.heads() {
                    hasher.update(id.author.as_bytes());
                    hasher.update(id.incarnation.as_bytes());
                    hasher.update(id.lane.as_bytes());
                    hasher.update(&height.get().to_le_bytes());
                    hasher.update(head.as_bytes());
                }
                *self.digest.insert(*hasher.finalize().as_bytes())
            }
        };
        let mut hasher = blake3::Hasher::new_derive_key("kithdb 2026 replica digest v1");
        hasher.update(&streams);
        hasher.update(&membership.set_hash());
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Notes that a session holds all that is stored here.
    pub fn raise_all(&mut self, session: SessionId) {
        for stream in self.map.values_mut().filter(|stream| stream.height > SequenceNumber::new(0)) {
            let height = stream.height;
            stream.raise_claim(session, height);
        }
    }

    /// Forgets a session; returns the streams it was pulling or that others might pull instead.
    pub fn forget(&mut self, session: SessionId) -> Vec<StreamId> {
        let mut freed = Vec::new();
        self.map.retain(|id, stream| {
            stream.claims.retain(|claim| claim.session != session);
            if stream.pull == Some(session) {
                stream.pull = None;
                freed.push(*id);
            }
            let is_empty = stream.claims.is_empty() && stream.pending_height == SequenceNumber::new(0);
            !is_empty
        });
        freed
    }

    /// Forgets everything that is admitted and not durable; returns the streams concerned.
    pub fn roll_back_all(&mut self) -> Vec<StreamId> {
        let mut changed = Vec::new();
        for (id, stream) in &mut self.map {
            if stream.pending_height != stream.height {
                stream.roll_back();
                changed.push(*id);
            }
        }
        changed
    }
}
