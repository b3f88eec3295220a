//! Announcements of new heads by gossip: hints only, anti-entropy does the work.
//!
//! A message is `version u8 | author 32 | count | count x (incarnation 16 | lane 32 | height | head 32) | signature 64`.
//!
//! Invariant: a message is passed on only if a member of the workspace signed it.

use kithdb_core::entries::StreamState;
use kithdb_log::codec::put_varint;
use kithdb_log::{
    AuthorId, DecodeError, DeviceKeys, EntryHash, IncarnationId, LaneId, Membership, Reader, SequenceNumber, Signature,
    StreamId, verify_signature,
};
use kithdb_net::{GOSSIP_BYTES_MAX, Topic};
use kithdb_sync::StreamHead;

const VERSION: u8 = 1;
const DOMAIN: &str = "kithdb 2026 gossip heads v1";
/// Greatest number of heads in one message; what is above is left to anti-entropy.
const HEADS_MAX: usize = 128;

/// Names the topic of a workspace in its epoch, without showing either.
pub(crate) fn topic(membership: &Membership) -> Topic {
    let mut hasher = blake3::Hasher::new_derive_key("kithdb 2026 gossip topic v1");
    hasher.update(membership.workspace().as_bytes());
    hasher.update(membership.epoch().as_bytes());
    Topic::new(format!("kith/{}", hasher.finalize().to_hex()))
}

/// New heads of one device's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) author: AuthorId,
    pub(crate) heads: Vec<StreamHead>,
}

impl Announcement {
    /// Signs what grew here.
    pub(crate) fn sign(keys: &DeviceKeys, states: &[StreamState]) -> Vec<u8> {
        let author = keys.author();
        let own: Vec<_> = states.iter().filter(|state| state.id.author == author).take(HEADS_MAX).collect();
        let mut out = vec![VERSION];
        out.extend_from_slice(author.as_bytes());
        put_varint(&mut out, own.len() as u64);
        for state in own {
            out.extend_from_slice(state.id.incarnation.as_bytes());
            out.extend_from_slice(state.id.lane.as_bytes());
            put_varint(&mut out, state.height.get());
            out.extend_from_slice(state.head.as_bytes());
        }
        let signature = keys.sign(DOMAIN, &out);
        out.extend_from_slice(signature.as_bytes());
        out
    }

    /// Reads a message; `None` if no member of the workspace signed it.
    pub(crate) fn open(bytes: &[u8], membership: &Membership) -> Option<Self> {
        let split = bytes.len().checked_sub(Signature::LEN).filter(|_| bytes.len() <= GOSSIP_BYTES_MAX)?;
        let (message, signature) = bytes.split_at(split);
        let announcement = Self::decode(message).ok()?;
        membership.get(announcement.author)?;
        let signature = Signature::from_slice(signature)?;
        verify_signature(&announcement.author, DOMAIN, message, &signature).ok()?;
        Some(announcement)
    }

    fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        match reader.byte("announcement version")? {
            VERSION => {}
            other => return Err(DecodeError::Unknown { what: "announcement version", value: u64::from(other) }),
        }
        let author = AuthorId::from_bytes(reader.array("author")?);
        let count = reader.count(HEADS_MAX, "heads")?;
        let mut heads = Vec::new();
        for _ in 0..count {
            let incarnation = IncarnationId::from_bytes(reader.array("incarnation")?);
            let lane = LaneId::from_bytes(reader.array("lane")?);
            heads.push(StreamHead {
                id: StreamId { author, incarnation, lane },
                height: SequenceNumber::new(reader.varint("height")?),
                head: EntryHash::from_bytes(reader.array("head")?),
            });
        }
        reader.finish("announcement")?;
        Ok(Self { author, heads })
    }
}

#[cfg(test)]
mod tests {
    use kithdb_log::{AdminOperation, EpochSecret, Hlc};

    use super::*;

    fn keys(n: u8) -> DeviceKeys {
        DeviceKeys::from_seeds([n; 32], [n + 1; 32], [n + 2; 32])
    }

    fn workspace() -> Membership {
        let epoch = EpochSecret::from_bytes([4; 32]).id();
        let genesis = AdminOperation::genesis(&keys(1), epoch, [5; 32], "desk", 1).unwrap();
        Membership::from_genesis(genesis.workspace_id(), genesis).unwrap()
    }

    fn state(author: AuthorId, height: u64) -> StreamState {
        let (incarnation, lane) = (IncarnationId::from_bytes([1; 16]), LaneId::from_bytes([2; 32]));
        StreamState {
            id: StreamId { author, incarnation, lane },
            height: SequenceNumber::new(height),
            head: EntryHash::from_bytes([3; 32]),
            clock: Hlc::ZERO,
        }
    }

    #[test]
    fn announcement_of_a_member_is_read_back_without_other_devices_heads() {
        let own = keys(1);
        let states = [state(own.author(), 7), state(keys(9).author(), 8)];
        let announcement = Announcement::open(&Announcement::sign(&own, &states), &workspace()).unwrap();
        assert_eq!(announcement.author, own.author());
        let heights: Vec<_> = announcement.heads.iter().map(|head| head.height.get()).collect();
        assert_eq!(heights, [7]);
    }

    #[test]
    fn strangers_and_altered_announcements_are_refused() {
        let stranger = keys(20);
        let message = Announcement::sign(&stranger, &[state(stranger.author(), 1)]);
        assert_eq!(Announcement::open(&message, &workspace()), None);

        let good = Announcement::sign(&keys(1), &[state(keys(1).author(), 1)]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Announcement::open(&bad, &workspace()), None, "byte {at}");
        }
        for len in 0..good.len() {
            assert_eq!(Announcement::open(&good[..len], &workspace()), None, "cut at {len}");
        }
    }

    #[test]
    fn largest_announcement_fits_a_gossip_message_and_topics_differ() {
        let own = keys(1);
        let states = vec![state(own.author(), u64::MAX); 1000];
        assert!(Announcement::sign(&own, &states).len() <= GOSSIP_BYTES_MAX);
        let epoch = EpochSecret::from_bytes([4; 32]).id();
        let genesis = AdminOperation::genesis(&own, epoch, [6; 32], "desk", 1).unwrap();
        let other = Membership::from_genesis(genesis.workspace_id(), genesis).unwrap();
        assert_ne!(topic(&workspace()), topic(&other));
    }
}
