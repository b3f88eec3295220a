//! What a network is started with.

use crate::identity::TransportSecret;

/// Says who to be, where to listen and how much to allow.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The key this process proves its peer id with.
    pub secret: TransportSecret,
    /// Where to listen, as texts of [`Address`](crate::Address); none means dial only.
    ///
    /// An address that cannot be had is reported as [`NetEvent::ListenFailed`](crate::NetEvent::ListenFailed);
    /// only if none can be had does the start fail.
    pub listen: Vec<String>,
    /// Whether to look for peers on the local network and to be found there.
    pub mdns: bool,
    /// Whether to take part in gossip.
    pub gossip: bool,
    /// How much to allow.
    pub limits: NetLimits,
}

impl NetConfig {
    /// Listens on every interface: QUIC and TCP on this port (0 lets the system choose), IPv4, and IPv6 where there is any.
    pub fn new(secret: TransportSecret, port: u16) -> Self {
        Self {
            secret,
            listen: vec![
                format!("/ip4/0.0.0.0/udp/{port}/quic-v1"),
                format!("/ip4/0.0.0.0/tcp/{port}"),
                format!("/ip6/::/udp/{port}/quic-v1"),
                format!("/ip6/::/tcp/{port}"),
            ],
            mdns: true,
            gossip: true,
            limits: NetLimits::default(),
        }
    }

    /// Listens on this machine only, without discovery; for tests and demonstrations.
    pub fn loopback(secret: TransportSecret, port: u16) -> Self {
        Self {
            listen: vec![format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), format!("/ip4/127.0.0.1/tcp/{port}")],
            mdns: false,
            ..Self::new(secret, port)
        }
    }
}

/// Bounds what peers can make this process hold.
///
/// The memory for the network stays below the sum of `connections_max` times 3 MiB, `sessions_max` times (`queue_bytes_max` and 1.1 MiB),
/// and `events_max` times 1.1 MiB; far less in practice, since only busy connections fill their windows. Yamux's window on a TCP connection
/// may grow further, but only as far as this side reads what comes (twice the bandwidth-delay product).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetLimits {
    /// The most connections at a time, in both directions.
    pub connections_max: u32,
    /// The most sessions at a time.
    pub sessions_max: usize,
    /// The most bytes that wait to be sent in one session; at least one frame always fits.
    pub queue_bytes_max: usize,
    /// The most events that wait for the application.
    pub events_max: usize,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self { connections_max: 128, sessions_max: 64, queue_bytes_max: 4 * 1024 * 1024, events_max: 32 }
    }
}
