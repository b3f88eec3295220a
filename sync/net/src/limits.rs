//! Every maximum of this crate; a decoder refuses above it before it allocates.

use std::time::Duration;

/// The most bytes one frame may carry: 1 MiB of payload and 64 KiB for the sync protocol's own headers.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;

/// The most bytes one gossip message may carry.
pub const GOSSIP_BYTES_MAX: usize = 16 * 1024;

/// The most bytes a gossip topic's name may have.
pub const TOPIC_BYTES_MAX: usize = 128;

/// The most addresses one dial may name.
pub const DIAL_ADDRESSES_MAX: usize = 16;

/// The head start of QUIC over TCP when a peer has addresses of both kinds.
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);

/// What gossipsub wraps around a message: peer id, sequence number, topic, signature and tags.
pub(crate) const GOSSIP_ENVELOPE_BYTES_MAX: usize = 1024;

/// How many received gossip messages may wait for the application's verdict; the oldest is forgotten.
pub(crate) const GOSSIP_UNJUDGED_MAX: usize = 1024;

/// How many notices may wait for a slow application before hints (gossip, discovery) are dropped.
pub(crate) const NOTICES_MAX: usize = 1024;

/// How long a connection may take to be made and authenticated; a dial of a silent address fails after it.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a peer may take to open or answer a session.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the side that lost a collision waits for the other's session before it tries again.
pub(crate) const COLLISION_WAIT: Duration = Duration::from_secs(2);

/// How often a session is tried on the connections at hand before the dial is reported as failed.
pub(crate) const OPEN_TRIES_MAX: u32 = 3;

/// How long a closing session may take to hand over what is queued and to hear the other side's end.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// How long a connection without a session is kept.
pub(crate) const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a peer is pinged.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long an answer to a ping may take; the second miss in a row ends a connection that moved nothing meanwhile.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(8);

/// How long QUIC keeps a connection whose other end is silent.
pub(crate) const QUIC_IDLE_MS: u32 = 10_000;

/// How often QUIC shows the other end that this one lives.
pub(crate) const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(3);

/// How many bytes one QUIC stream may have in flight towards us.
pub(crate) const QUIC_STREAM_BYTES_MAX: u32 = 2 * 1024 * 1024;

/// How many bytes one QUIC connection may have in flight towards us.
pub(crate) const QUIC_CONNECTION_BYTES_MAX: u32 = 3 * 1024 * 1024;

/// How many substreams one connection may hold: the session, identify, ping, gossip, and room for retries.
pub(crate) const SUBSTREAMS_PER_CONNECTION_MAX: usize = 32;

/// How many connections one peer may hold: both transports, both directions, and their successors.
pub(crate) const CONNECTIONS_PER_PEER_MAX: u32 = 8;

/// How many connections may be in the making, per direction.
pub(crate) const PENDING_CONNECTIONS_MAX: u32 = 64;

/// How many sessions a peer may be opening with us at one time; more are dropped.
pub(crate) const HANDSHAKES_PER_PEER_MAX: usize = 4;

/// How many sessions of one peer may be running, counting those that are ending: a peer that replaces its session over and over while the
/// application is slow must not take everybody's room.
pub(crate) const SESSIONS_PER_PEER_MAX: usize = 3;

/// How many bytes of small frames are written in one go, and how much of a frame is allocated ahead of its bytes.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// How many bytes a queued frame costs beside its content, so that empty frames are bounded too.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 64;

/// How long shutdown waits for the sockets to be released.
///
/// QUIC holds its socket for three probe timeouts after a close: milliseconds, but 3.1 s if a connection was closed before its first round trip.
pub(crate) const PORT_RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a program that ends waits for the same: enough for connections to say that they are closed.
pub(crate) const LEAVE_TIMEOUT: Duration = Duration::from_millis(200);
