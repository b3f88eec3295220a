//! A KithDB peer: one replica kept in step with others over the network.

pub mod addresses;
mod config;
pub mod driver;
mod error;
mod event;
mod exchange;
mod gossip;
mod join;
mod peer;
mod routes;
mod status;
mod watch;
mod worker;

pub use addresses::{listen_port, local_addresses, ticket_addresses};
pub use config::{JoinOptions, Listen, PeerConfig};
pub use driver::{Driver, DriverError, DriverEvent, Effect, Traffic, Trouble};
pub use error::{InviteError, JoinError, StartError, StoppedError};
pub use event::{Device, PeerEvent, PeerEvents, Tried};
pub use join::{Joined, join, join_pending};
pub use kithdb_net::{Address, AddressError, Path, PeerId};
pub use kithdb_sync::SessionId;
pub use peer::{Peer, invite};
pub use status::{PeerStatus, SessionStatus};
