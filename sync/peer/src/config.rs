//! What a peer is started with.

use std::time::Duration;

use kithdb_net::Address;

/// How long a peer looks for others before it says that it found none.
const REPORT_AFTER: Duration = Duration::from_secs(10);
/// How long the peer waits for the application's write lock before it goes on with other work and tries again later.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// Where a peer listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On every interface, at the port kept in the file (chosen at random the first time), or another one if that is busy.
    Everywhere,
    /// On every interface, at this port.
    Port(u16),
    /// On this machine only, at the port kept in the file, or another one if that is busy.
    Loopback,
    /// On this machine only, at this port; 0 lets the system choose.
    LoopbackPort(u16),
    /// At these addresses.
    At(Vec<Address>),
    /// Nowhere: the peer only dials.
    Nowhere,
}

/// Says where a peer listens and whom it looks for.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Where to listen.
    pub listen: Listen,
    /// Whether to look for peers on the local network, and to be found there.
    pub mdns: bool,
    /// Whether to announce new heads by gossip, a hint that correctness never depends on.
    pub gossip: bool,
    /// Addresses to dial, again and again until there is a session.
    pub peers: Vec<Address>,
    /// Whether to dial the addresses at which peers were reached before.
    pub dial_past_peers: bool,
    /// How long to look for others before [`crate::PeerEvent::NoPeerYet`] is told.
    pub report_after: Duration,
    /// How long the peer waits for a lock that the application holds before it goes on with other work and tries again later.
    pub busy_timeout: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            listen: Listen::Everywhere,
            mdns: true,
            gossip: true,
            peers: Vec::new(),
            dial_past_peers: true,
            report_after: REPORT_AFTER,
            busy_timeout: BUSY_TIMEOUT,
        }
    }
}

impl PeerConfig {
    /// Listens on this machine only, without discovery; for tests and demonstrations.
    pub fn loopback() -> Self {
        Self { listen: Listen::LoopbackPort(0), mdns: false, ..Self::default() }
    }

    /// Adds an address to dial.
    pub fn with_peer(mut self, address: Address) -> Self {
        self.peers.push(address);
        self
    }
}

/// How a device joins a workspace.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The name by which people will know this device, 1 to 64 bytes.
    pub device_name: String,
    /// Further addresses to ask, beside those in the ticket.
    pub peers: Vec<Address>,
    /// Whether to ask peers that are found on the local network.
    pub mdns: bool,
    /// How long to look for a peer that answers.
    pub give_up_after: Duration,
    /// Whether rows that are in the file already merge with rows of equal key.
    pub merge_by_key: bool,
}

impl JoinOptions {
    /// Joins under a device name, with defaults for the rest.
    pub fn new(device_name: impl Into<String>) -> Self {
        Self {
            device_name: device_name.into(),
            peers: Vec::new(),
            mdns: true,
            give_up_after: REPORT_AFTER,
            merge_by_key: false,
        }
    }
}
