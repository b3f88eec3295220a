//! The sync protocol of KithDB as a state machine without input or output.
//!
//! A driver owns the replica, the transport, the clock and the random source. It tells the [`Engine`] what happened
//! ([`Input`]) and does what comes back ([`Output`]), in order. `docs/PROTOCOL.md` describes the frames.
//!
//! A stranger dials, and learns nothing:
//!
//! ```
//! use kithdb_log::ids::HelloNonce;
//! use kithdb_log::*;
//! use kithdb_sync::{Engine, EngineConfig, Input, Now, Output, SessionId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Fixed bytes stand for what the system's random source gives.
//! let keys = DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32]);
//! let genesis = AdminOperation::genesis(&keys, EpochSecret::from_bytes([4; 32]).id(), [5; 32], "desk", 1_800_000_000_000)?;
//! let mut engine = Engine::new(EngineConfig {
//!     keys,
//!     membership: Membership::from_genesis(genesis.workspace_id(), genesis)?,
//!     replica: ReplicaId::from_bytes([6; 16]),
//!     incarnation: IncarnationId::from_bytes([7; 16]),
//!     arrival: ArrivalNumber::new(0),
//!     streams: vec![],
//! });
//!
//! let (session, now) = (SessionId(1), Now { unix_ms: 1_800_000_000_000, elapsed_ms: 0 });
//! let (local_transport, remote_transport) = (b"desk".to_vec(), b"stranger".to_vec());
//! let nonce = HelloNonce::from_bytes([8; 32]);
//! engine.handle(Input::PeerUp { session, dialer: false, local_transport, remote_transport, nonce }, now);
//! let outputs = engine.handle(Input::Frame { session, bytes: b"\x01\xffknock knock".to_vec() }, now);
//! assert!(outputs.iter().any(|output| matches!(output, Output::Disconnect { .. })));
//! # Ok(())
//! # }
//! ```

mod admin;
mod admit;
mod engine;
mod frame;
mod handshake;
mod input;
mod join;
pub mod limits;
mod meet;
mod output;
mod own;
mod pull;
mod push;
mod serve;
mod session;
mod store;
mod streams;
mod types;

#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

pub use engine::{Engine, EngineConfig};
pub use frame::{Frame, WantId};
pub use input::{Input, StoreError, StoreOutcome};
pub use join::Joiner;
pub use output::{Event, Output, Reason, Refusal};
pub use types::{CloseCode, Digest, JoinFault, Now, OwnBranch, RequestId, SessionId, StreamHead};
