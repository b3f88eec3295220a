//! Small types that frames, inputs and outputs share.

use kithdb_log::{DecodeError, EntryHash, SequenceNumber, StreamId};

/// Names a session; the driver hands them out and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names a question of the engine to its driver, answered by an input with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The time, read by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The wall clock in milliseconds since the Unix epoch, to judge the clocks of entries.
    pub unix_ms: u64,
    /// Milliseconds of a clock that never goes back, for deadlines.
    pub elapsed_ms: u64,
}

macro_rules! opaque_bytes {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// Borrows the raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
    )*};
}

opaque_bytes! {
    /// A hash over all streams and admin operations of a replica.
    Digest;
}

/// How an entry of this device's, as a peer holds it, stands to the stream here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnBranch {
    /// It is in the stream, or the next of it.
    Same,
    /// Another entry is in its place, and both branches have the one before: the driver takes the stream back up to there and says so
    /// with [`crate::Input::CutBack`].
    Forked,
    /// Another entry is in its place, or before it: the branches part further back, or it is not known yet where.
    ForkedBefore,
    /// The branches part and stay so.
    Settled,
}

/// Says how far a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// The stream.
    pub id: StreamId,
    /// The sequence number of its last entry.
    pub height: SequenceNumber,
    /// The hash of its last entry.
    pub head: EntryHash,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Returns the code in a frame.
            pub(crate) const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Finds the meaning of a code.
            pub(crate) const fn from_code(code: u8) -> Result<Self, DecodeError> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    _ => Err(DecodeError::Unknown { what: $what, value: code as u64 }),
                }
            }
        }
    )*};
}

codes! {
    /// Why a peer ended a session, as far as it tells.
    CloseCode, "close code" {
        /// It does not take us for a member of its workspace.
        Refused = 1,
        /// It speaks another version of the protocol.
        Version = 2,
        /// We sent what the protocol does not allow.
        Protocol = 3,
        /// We went above one of its budgets.
        Budget = 4,
        /// It has enough sessions, or failed at something of its own.
        Busy = 5,
        /// It has another session with us.
        Duplicate = 6,
        /// We did not answer in time.
        Timeout = 7,
    }

    /// Why an owner does not let a device in.
    JoinFault, "join fault" {
        /// The ticket has run out.
        Expired = 1,
        /// The ticket has been used.
        Used = 2,
        /// The owner does not know the ticket.
        Unknown = 3,
        /// The peer is no owner, so it cannot let anyone in.
        NotAnOwner = 4,
        /// The ticket's secret has not signed for this device.
        Proof = 5,
        /// The device is a member already.
        AlreadyMember = 6,
        /// The owner failed at something of its own.
        Busy = 7,
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refused => "it does not take this device for a member of its workspace",
            Self::Version => "it speaks another version of the protocol; update the older side",
            Self::Protocol => "it was sent what the protocol does not allow",
            Self::Budget => "it was sent more than it accepts",
            Self::Busy => "it is busy",
            Self::Duplicate => "it has another session with this device",
            Self::Timeout => "it waited too long",
        })
    }
}

impl std::fmt::Display for JoinFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Expired => "the ticket has expired; ask for a new one",
            Self::Used => "the ticket has been used; ask for a new one",
            Self::Unknown => {
                "the owner does not know the ticket yet; try again when it has synced, or ask for a new one"
            }
            Self::NotAnOwner => "the peer is not an owner; connect to a device that is",
            Self::Proof => "the ticket does not belong to this device; ask for a new one",
            Self::AlreadyMember => "the device is a member already; sync instead of joining",
            Self::Busy => "the owner could not admit the device; try again",
        })
    }
}
