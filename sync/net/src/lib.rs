//! The transports and peer discovery of KithDB: the only crate that knows libp2p.
//!
//! It moves bytes between processes and knows nothing of SQL, of merging or of any other crate of KithDB. What it offers are *sessions*:
//! a session is an authenticated, encrypted, ordered stream of frames with one peer, over QUIC or TCP. There is at most one per peer,
//! also when both dial at the same moment.
//!
//! ```
//! use kithdb_net::{NetConfig, NetEvent, Network, TransportSecret};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Real programs keep their secret in a file; these two are for show.
//! let (alice, mut at_alice) = Network::start(NetConfig::loopback(TransportSecret::from_bytes([1; 32]), 0)).await?;
//! let (bob, mut at_bob) = Network::start(NetConfig::loopback(TransportSecret::from_bytes([2; 32]), 0)).await?;
//!
//! while let Some(event) = at_alice.recv().await {
//!     if let NetEvent::Listening { address } = event {
//!         bob.dial(address);
//!         break;
//!     }
//! }
//! while let Some(event) = at_bob.recv().await {
//!     if let NetEvent::SessionOpened { session, .. } = event {
//!         bob.send(session, b"hello".to_vec()).await?;
//!         break;
//!     }
//! }
//! while let Some(event) = at_alice.recv().await {
//!     if let NetEvent::Frame { bytes, .. } = event {
//!         assert_eq!(bytes, b"hello");
//!         break;
//!     }
//! }
//! bob.shutdown().await;
//! alice.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! 1. Nobody but the application decides to dial: mDNS reports, identify reports, a lost session is reported.
//! 2. What a peer sends is bounded before it is held: frames, sessions, connections, handshakes, gossip (see `limits.rs` and [`NetLimits`]).
//! 3. No type of libp2p appears in the public API.

mod address;
mod arbiter;
mod behaviour;
mod config;
mod dialing;
mod driver;
mod error;
mod event;
mod frame;
mod gossip;
mod handshake;
mod identity;
mod limits;
mod network;
mod session;
mod substream;
mod transport;

pub use address::{Address, AddressError, Path};
pub use config::{NetConfig, NetLimits};
pub use error::{SendError, StartError};
pub use event::{CloseReason, NetEvent, SessionId};
pub use gossip::{GossipId, GossipVerdict, Topic, UnsentReason};
pub use identity::{PeerId, PeerIdError, TransportSecret};
pub use limits::{DIAL_ADDRESSES_MAX, DIAL_STAGGER, FRAME_BYTES_MAX, GOSSIP_BYTES_MAX, TOPIC_BYTES_MAX};
pub use network::Network;
