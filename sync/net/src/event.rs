//! What the network tells the application.

use std::fmt;

use crate::address::{Address, Path};
use crate::gossip::{GossipId, Topic, UnsentReason};
use crate::identity::PeerId;

/// Names one session of this process; never used twice by one [`Network`](crate::Network).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.0)
    }
}

/// One thing that happened.
///
/// Of one session the application sees `SessionOpened`, then its frames in the order they were sent, then `SessionClosed`.
/// Two sessions with one peer never overlap. Events wait in a bounded channel: who reads them slowly slows the peers down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetEvent {
    /// Peers can reach this process here; the address carries its own peer id.
    Listening {
        /// Where.
        address: Address,
    },
    /// An address of the configuration cannot be listened on.
    ListenFailed {
        /// Where.
        address: Address,
        /// What the system said.
        reason: String,
    },
    /// Peers can no longer reach this process here: an interface went away.
    ListenExpired {
        /// Where.
        address: Address,
    },
    /// A peer announced itself on the local network; whether to dial it is the application's decision.
    Discovered {
        /// Who it says it is; proven only by a session.
        peer: PeerId,
        /// Where it says it listens.
        address: Address,
    },
    /// A peer's announcement ran out: stop suggesting the address; sessions stay.
    DiscoveryExpired {
        /// Who.
        peer: PeerId,
        /// Where it was.
        address: Address,
    },
    /// The local network cannot be searched; everything else works.
    MdnsFailed {
        /// What the system said.
        reason: String,
    },
    /// A session with a peer is ready for frames.
    SessionOpened {
        /// Its name.
        session: SessionId,
        /// Who is at the other end, proven by the transport's handshake.
        peer: PeerId,
        /// Whether this side opened it; the other side then sees `false`.
        dialer: bool,
        /// What it runs over.
        path: Path,
        /// Where the other end is.
        remote: Address,
    },
    /// A frame came in.
    Frame {
        /// In this session.
        session: SessionId,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// A session is over; reconnecting is the application's decision.
    SessionClosed {
        /// Its name.
        session: SessionId,
        /// Who was at the other end.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// No session came of a dial.
    DialFailed {
        /// The first address of the dial.
        address: Address,
        /// What each address answered.
        reason: String,
    },
    /// A dial reached a peer with which there is a session already.
    AlreadyConnected {
        /// The first address of the dial.
        address: Address,
        /// Who it is.
        peer: PeerId,
        /// The session that stays.
        session: SessionId,
    },
    /// A peer said that it follows a topic: what was unsent before may be published again.
    GossipSubscribed {
        /// The topic.
        topic: Topic,
        /// The peer.
        peer: PeerId,
    },
    /// A gossip message came in and waits for [`Network::forward_gossip`](crate::Network::forward_gossip).
    Gossip {
        /// The topic.
        topic: Topic,
        /// Its name, the hash of topic and message.
        id: GossipId,
        /// Who wrote and signed it, not who passed it on.
        source: PeerId,
        /// Its content.
        message: Vec<u8>,
    },
    /// A published message went nowhere; gossip is a hint, nothing is lost.
    GossipUnsent {
        /// The topic.
        topic: Topic,
        /// The message's name.
        id: GossipId,
        /// Why.
        reason: UnsentReason,
    },
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The application closed it.
    Local {
        /// What it gave as the reason.
        reason: String,
    },
    /// The other side closed it between two frames; a cut connection can look the same.
    ClosedByPeer,
    /// The other side announced a frame over the limit.
    FrameTooLarge {
        /// The announced size.
        bytes: u32,
    },
    /// The other side's stream ended inside a frame.
    FrameCut {
        /// The announced size.
        expected_bytes: u32,
        /// What came of it.
        received_bytes: u32,
    },
    /// The connection broke.
    Lost {
        /// What the transport said.
        reason: String,
    },
    /// The other side answered no ping and moved no bytes.
    Unresponsive,
    /// The other side lost this session and opened another.
    Replaced,
    /// This network was shut down.
    Shutdown,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Local { reason } => write!(f, "closed here: {reason}"),
            CloseReason::ClosedByPeer => f.write_str("closed by the peer"),
            CloseReason::FrameTooLarge { bytes } => {
                write!(f, "the peer announced a frame of {bytes} bytes, over the limit")
            }
            CloseReason::FrameCut { expected_bytes, received_bytes } => {
                write!(f, "the peer's stream ended after {received_bytes} of a frame's {expected_bytes} bytes")
            }
            CloseReason::Lost { reason } => write!(f, "connection lost: {reason}"),
            CloseReason::Unresponsive => f.write_str("the peer no longer answers"),
            CloseReason::Replaced => f.write_str("the peer opened a new session instead"),
            CloseReason::Shutdown => f.write_str("the network was shut down"),
        }
    }
}
