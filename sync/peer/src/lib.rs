//! A KithDB peer: one replica kept in step with others over the network.
//!
//! [`Peer`] runs on tokio and moves the replica to a thread of its own; [`join`] lets a new device in. [`Driver`] is the part
//! without network, for simulators.
//!
//! ```
//! use kithdb_core::replica::{InitOptions, Replica};
//! use kithdb_log::Role;
//! use kithdb_peer::{JoinOptions, Peer, PeerConfig, PeerEvent, invite, join};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//!
//! // One device founds a workspace and syncs.
//! let mut desk = Replica::init(folder.path().join("desk.db"), InitOptions::new("desk"))?;
//! desk.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)")?;
//! desk.sync_table("notes")?;
//! desk.execute("INSERT INTO notes VALUES('1', 'water the plants')", [])?;
//! let ticket = invite(&mut desk, Role::Writer, 4_102_444_800_000)?;
//! let (desk, mut at_desk) = Peer::start(desk, PeerConfig::loopback()).await?;
//! let address = loop {
//!     if let Some(PeerEvent::Listening { address }) = at_desk.recv().await {
//!         break address;
//!     }
//! };
//!
//! // Another joins with the ticket and receives what is there.
//! let options = JoinOptions { peers: vec![address], mdns: false, ..JoinOptions::new("phone") };
//! let joined = join(folder.path().join("phone.db"), &ticket, options).await?;
//! let (phone, mut at_phone) = Peer::start(joined.replica, PeerConfig::loopback().with_peer(joined.address)).await?;
//! while let Some(event) = at_phone.recv().await {
//!     if matches!(event, PeerEvent::Applied { .. }) {
//!         break;
//!     }
//! }
//! let body = phone.call(|replica| replica.query("SELECT body FROM notes", [], |row| row.get::<_, String>(0))).await??;
//! assert_eq!(body, ["water the plants"]);
//! phone.shutdown().await;
//! desk.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! 1. Correctness rests on sessions alone; gossip, discovery and remembered addresses only decide who is dialled when.
//! 2. Whatever comes from the network ends a session at worst; whatever the database refuses is tried again.

pub mod addresses;
mod config;
pub mod driver;
mod error;
mod event;
mod exchange;
mod gossip;
mod join;
mod json;
mod lock;
mod peer;
mod routes;
mod status;
mod watch;
mod worker;

pub use addresses::{listen_port, local_addresses, port_of_file, ticket_addresses};
pub use config::{JoinOptions, Listen, PeerConfig};
pub use driver::{Driver, DriverError, DriverEvent, Effect, Traffic, Trouble};
pub use error::{InviteError, JoinError, StartError, StoppedError};
pub use event::{Device, PeerEvent, PeerEvents, Tried};
pub use join::{Joined, join, join_pending};
pub use kithdb_net::{Address, AddressError, Path, PeerId};
pub use kithdb_sync::SessionId;
pub use lock::is_running;
pub use peer::{Peer, invite, invite_at};
pub use status::{GossipCounts, PeerStatus, SessionStatus};
pub use watch::FileWatch;
