//! Why a call failed: one enum per operation.

use std::io::ErrorKind;

use crate::address::AddressError;
use crate::event::SessionId;
use crate::limits::FRAME_BYTES_MAX;

/// Says why [`Network::start`](crate::Network::start) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An entry of [`NetConfig::listen`](crate::NetConfig::listen) is no address.
    #[error("cannot listen")]
    ListenAddress(#[from] AddressError),
    /// None of the listen addresses could be had.
    #[error("cannot listen on {address}: {reason}; {}", remedy(*.kind))]
    Listen {
        /// The first address that failed.
        address: String,
        /// What the system said.
        reason: String,
        /// What kind of failure it is.
        kind: ErrorKind,
    },
    /// The call was made outside a tokio runtime.
    #[error("the network needs a tokio runtime with I/O and time enabled")]
    Runtime(#[source] tokio::runtime::TryCurrentError),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// A protocol could not be set up.
    #[error("cannot set up {part}")]
    Setup {
        /// Which one.
        part: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

const fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "choose another port or stop the program that holds it",
        ErrorKind::AddrNotAvailable => {
            "that address is not this machine's: give one that is, or 0.0.0.0 for all of them"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need special rights: choose a higher one",
        _ => "choose another address",
    }
}

/// Says why [`Network::send`](crate::Network::send) failed; the frame was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed, or closed while the frame waited for room.
    #[error("{session} is closed")]
    Closed {
        /// The session.
        session: SessionId,
    },
    /// The frame is larger than the other side would take.
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Returns what lies at the bottom of an error's sources, which is what a user can act on.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let shown = cause.to_string();
        if !shown.is_empty() {
            text = shown;
        }
        next = cause.source();
    }
    text
}
