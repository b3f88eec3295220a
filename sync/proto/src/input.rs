//! What the driver tells the engine.

use kithdb_log::ids::HelloNonce;
use kithdb_log::{
    AdminOperation, ArrivalNumber, EntryHash, IncarnationId, ReplicaId, SealedEntry, SequenceNumber, StreamId,
};

use crate::types::{JoinFault, OwnBranch, RequestId, SessionId, StreamHead};

/// Something that happened outside of the engine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input {
    /// A channel to a peer is open: reliable, ordered, one message at a time, both ends authenticated by the transport.
    PeerUp {
        /// The session's name, never used before.
        session: SessionId,
        /// Whether this side opened the channel.
        dialer: bool,
        /// This side's id in the transport.
        local_transport: Vec<u8>,
        /// The other side's id in the transport.
        remote_transport: Vec<u8>,
        /// Fresh random bytes.
        nonce: HelloNonce,
    },
    /// A channel is gone.
    PeerDown {
        /// The session.
        session: SessionId,
    },
    /// A message came over a channel.
    Frame {
        /// The session.
        session: SessionId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// The channel's outgoing queue has filled up, or has room again. Drivers that never block need not say so.
    Writable {
        /// The session.
        session: SessionId,
        /// Whether there is room.
        writable: bool,
    },
    /// The moment named by [`crate::Output::Schedule`] has come; more calls do no harm.
    Timer,
    /// This replica sealed entries of its own, and they are durable.
    LocalHeads {
        /// The count of arrivals with them.
        arrival: ArrivalNumber,
        /// The streams that grew.
        heads: Vec<StreamHead>,
    },
    /// This replica signed admin operations of its own, and they are durable.
    LocalAdmin {
        /// The operations, causes before effects.
        operations: Vec<AdminOperation>,
    },
    /// This replica began a new incarnation.
    Reincarnated {
        /// The new name of the replica.
        replica: ReplicaId,
        /// The new incarnation.
        incarnation: IncarnationId,
    },
    /// Entries of a stream of this device's own were taken back, durably: it ends here now, at height 0 if nothing is left of it.
    CutBack {
        /// The end of the stream.
        head: StreamHead,
    },
    /// Answers [`crate::Output::Compare`].
    Compared {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// The number of the entry.
        sequence: SequenceNumber,
        /// The hash of the entry as the peer has it.
        hash: EntryHash,
        /// How the two stand to each other.
        branch: OwnBranch,
    },
    /// Answers [`crate::Output::Recall`].
    Recalled {
        /// The session.
        session: SessionId,
        /// The peer's arrival up to which this replica holds everything of it; 0 if they never met.
        remembered: ArrivalNumber,
    },
    /// Answers [`crate::Output::LoadChanges`].
    Changes {
        /// The question.
        request: RequestId,
        /// The streams that grew since.
        streams: Vec<StreamHead>,
    },
    /// Answers [`crate::Output::Load`].
    Loaded {
        /// The question.
        request: RequestId,
        /// The entries, contiguous from the one asked for; at least one if it is stored.
        entries: Vec<SealedEntry>,
    },
    /// Answers [`crate::Output::Load`] and [`crate::Output::LoadChanges`] when the store cannot be read.
    LoadFailed {
        /// The question.
        request: RequestId,
    },
    /// Answers [`crate::Output::Store`]: what is stored is durable now.
    StoreDone {
        /// The question.
        request: RequestId,
        /// The count of arrivals after it.
        arrival: ArrivalNumber,
        /// What became of each entry, in the order given; entries without a word count as stored.
        outcomes: Vec<StoreOutcome>,
    },
    /// Answers [`crate::Output::Store`] and [`crate::Output::StoreAdmin`]: nothing was stored.
    StoreError {
        /// The question.
        request: RequestId,
        /// Why.
        error: StoreError,
    },
    /// Answers [`crate::Output::StoreAdmin`]: the operations are durable now.
    AdminStored {
        /// The question.
        request: RequestId,
    },
    /// Answers [`crate::Output::AskAdmit`]: the device is in, and the operations that let it in are durable.
    Admitted {
        /// The session of the device.
        session: SessionId,
        /// What was signed.
        operations: Vec<AdminOperation>,
    },
    /// Answers [`crate::Output::AskAdmit`]: the device stays out.
    AdmitRefused {
        /// The session of the device.
        session: SessionId,
        /// Why.
        fault: JoinFault,
    },
}

/// What became of an entry that was given to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is stored.
    Stored,
    /// It was stored before.
    AlreadyThere,
    /// The store does not take it.
    Refused,
    /// The store does not take it: it belongs to a branch of the stream that was taken back, or to another one than is stored.
    Forked,
}

/// Why nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room but the reserve for admin operations.
    DiskFull,
    /// Something else.
    Other,
}
