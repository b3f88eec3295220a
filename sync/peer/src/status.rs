//! What a peer says about itself when asked.

use kithdb_net::{Address, Path, PeerId};
use kithdb_sync::SessionId;

use crate::driver::Traffic;
use crate::event::{Device, Tried};

/// One session with a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// Its name.
    pub session: SessionId,
    /// The device at the other end.
    pub device: Device,
    /// Where it is.
    pub address: Address,
    /// What the session runs over.
    pub path: Path,
    /// Whether this replica has stored everything that the other side told it of, at least once.
    pub caught_up: bool,
    /// What went over the session since the other side had proven itself.
    pub traffic: Traffic,
}

/// How a peer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The id this process is known by on the network.
    pub peer_id: PeerId,
    /// Where others can reach it.
    pub listening: Vec<Address>,
    /// Its sessions with members.
    pub sessions: Vec<SessionStatus>,
    /// The addresses that led to no session.
    pub tried: Vec<Tried>,
    /// What went over gossip.
    pub gossip: GossipCounts,
}

/// What went over gossip since the start; a hint beside the sessions, which carry everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GossipCounts {
    /// Announcements of this device's new heads that were handed to the network.
    pub announced: u64,
    /// Announcements of members that came in.
    pub heard: u64,
    /// Messages that no known member had signed; they are not passed on.
    pub ignored: u64,
}
