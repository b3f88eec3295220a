//! Why a call failed: one enum per operation.

use std::path::PathBuf;

use kithdb_core::error::{JoinError as ReplicaJoinError, MembershipError, OpenError};
use kithdb_core::log_error::LogError;
use kithdb_net::Address;

use crate::driver::DriverError;
use crate::event::Tried;

/// Says why a peer did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The file is not fit.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file may not be written to.
    #[error("{} is read-only, so nothing can be received; make it writable", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Another peer of this file is running.
    #[error(
        "another program syncs {} already; what you write reaches others through that one, so there is nothing to start",
        path.display()
    )]
    AlreadyRunning {
        /// The file.
        path: PathBuf,
    },
    /// The replica's state could not be read.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The network did not start.
    #[error(transparent)]
    Network(#[from] kithdb_net::StartError),
    /// The system gave no thread.
    #[error("the system gives no thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Says that a peer has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer has stopped")]
pub struct StoppedError;

/// Says why no ticket was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The workspace or the database refused.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The port to name in the ticket could not be read or kept.
    #[error("the port to name in the ticket is unknown")]
    Port(#[from] LogError),
}

/// Says why a device did not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The file or the ticket is not fit.
    #[error(transparent)]
    Replica(#[from] ReplicaJoinError),
    /// The network did not start.
    #[error(transparent)]
    Network(#[from] kithdb_net::StartError),
    /// Somebody joins with this file already, or syncs it.
    #[error("another join of {}, or a peer, is running; wait until it has ended, then look whether the file belongs to the workspace", path.display())]
    AlreadyRunning {
        /// The file.
        path: PathBuf,
    },
    /// The ticket's time is over.
    #[error("the ticket has expired; ask for a new one with `kith invite`")]
    Expired,
    /// An owner said no.
    #[error("{reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// Nobody could let this device in.
    #[error("{}", nobody(.tried, *.mdns))]
    NobodyAnswered {
        /// The addresses tried.
        tried: Vec<Tried>,
        /// Where this device listened.
        addresses: Vec<Address>,
        /// Whether the local network was searched.
        mdns: bool,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

fn nobody(tried: &[Tried], mdns: bool) -> String {
    let mut text =
        String::from("no device of the workspace answered; start `kith sync` on the inviting device and try again");
    let searched = if mdns { "the local network" } else { "no local network" };
    text.push_str(&format!(" (tried {searched}"));
    for Tried { address, reason } in tried {
        let reason = reason.as_deref().unwrap_or("no answer yet");
        text.push_str(&format!("; {address}: {reason}"));
    }
    text.push(')');
    text
}
