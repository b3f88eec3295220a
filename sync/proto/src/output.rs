//! What the engine asks of its driver, and what it reports.

use kithdb_log::{
    AdminError, AdminOperation, ArrivalNumber, AuthorId, DecodeError, EntryError, EntryHash, JoinRequest, NotAllowed,
    ReplicaId, SealedEntry, SequenceNumber, StreamId,
};

use crate::types::{CloseCode, JoinFault, RequestId, SessionId};

/// Something the driver is to do, in the order given.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send a message over a channel.
    Send {
        /// The session.
        session: SessionId,
        /// The message.
        frame: Vec<u8>,
    },
    /// Close a channel once what was sent before is out. The session is over; no [`crate::Input::PeerDown`] is needed.
    Disconnect {
        /// The session.
        session: SessionId,
        /// Why.
        reason: Reason,
    },
    /// Look up how much of a replica this one holds; answer with [`crate::Input::Recalled`].
    Recall {
        /// The session.
        session: SessionId,
        /// The other replica.
        replica: ReplicaId,
    },
    /// Note that this replica holds everything of another up to an arrival of that one; no answer, and it may be lost.
    Remember {
        /// The other replica.
        replica: ReplicaId,
        /// Its arrival.
        arrival: ArrivalNumber,
    },
    /// Look up the streams that grew after an arrival; answer with [`crate::Input::Changes`].
    LoadChanges {
        /// Names the question.
        request: RequestId,
        /// The arrival of this replica.
        since: ArrivalNumber,
    },
    /// Read entries; answer with [`crate::Input::Loaded`].
    Load {
        /// Names the question.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// The first entry.
        from: SequenceNumber,
        /// Stop before this size is passed, but not before one entry is read.
        bytes_max: usize,
    },
    /// Store entries, all admitted and contiguous in each stream; answer with [`crate::Input::StoreDone`] or
    /// [`crate::Input::StoreError`]. A driver that does not answer at once refuses what builds on an earlier request that
    /// failed: an entry that does not continue what is stored is [`crate::StoreOutcome::Refused`].
    Store {
        /// Names the question.
        request: RequestId,
        /// The entries.
        entries: Vec<SealedEntry>,
    },
    /// Compare an entry of this device's own, as a peer holds it, with the one that is stored; answer with [`crate::Input::Compared`].
    Compare {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// The number of the entry.
        sequence: SequenceNumber,
        /// Its hash.
        hash: EntryHash,
        /// The hash of the entry before it, if the peer showed the entry, whose signature holds; `None` if it only named it.
        previous: Option<EntryHash>,
    },
    /// Store admin operations, all verified; answer with [`crate::Input::AdminStored`] or [`crate::Input::StoreError`].
    StoreAdmin {
        /// Names the question.
        request: RequestId,
        /// The operations, causes before effects.
        operations: Vec<AdminOperation>,
    },
    /// Apply what is stored and not applied yet, some time soon; no answer.
    Apply,
    /// Admit a device that showed a ticket, or refuse; answer with [`crate::Input::Admitted`] or
    /// [`crate::Input::AdmitRefused`].
    AskAdmit {
        /// The session of the device.
        session: SessionId,
        /// What it asks.
        request: JoinRequest,
    },
    /// Call again with [`crate::Input::Timer`] at this time of the clock that never goes back; replaces any earlier one.
    Schedule {
        /// The time in milliseconds.
        at_elapsed_ms: u64,
    },
    /// A [`crate::Joiner`] got in: these are all admin operations of the workspace, causes before effects.
    Joined {
        /// The operations.
        operations: Vec<AdminOperation>,
    },
    /// Something that people or logs may want to know.
    Event(Event),
}

/// What happened inside the engine.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A peer has proven itself.
    PeerJoined {
        /// The session.
        session: SessionId,
        /// Its device.
        author: AuthorId,
        /// Its replica.
        replica: ReplicaId,
    },
    /// A peer did not prove itself, or does not take us for a member.
    Refused {
        /// The session.
        session: SessionId,
    },
    /// Entries of a peer are stored.
    EntriesReceived {
        /// The session.
        session: SessionId,
        /// How many.
        entries: u64,
        /// Their size in bytes.
        bytes: u64,
    },
    /// How far this replica is in getting what a peer has; sent with every [`Event::EntriesReceived`].
    Progress {
        /// The session.
        session: SessionId,
        /// Entries of the peer that were stored since the session began.
        have_entries: u64,
        /// Entries the peer has that this replica lacked, as far as it said; false claims included until they show.
        want_entries: u64,
        /// Bytes of entries received since the session began.
        received_bytes: u64,
    },
    /// This replica has stored everything a peer told it of.
    CaughtUp {
        /// The session.
        session: SessionId,
    },
    /// Both sides hold the same: their digests were equal, at the start of the session or once both had caught up.
    InStep {
        /// The session.
        session: SessionId,
    },
    /// An entry was refused.
    Forged {
        /// The session it came over.
        session: SessionId,
        /// The stream it claims, or the one asked for; names the claimed author.
        stream: Option<StreamId>,
        /// Its place in the stream.
        sequence: Option<SequenceNumber>,
        /// Why.
        refusal: Refusal,
    },
    /// An admin operation was refused.
    AdminRefused {
        /// The session it came over.
        session: SessionId,
        /// Why.
        error: AdminError,
    },
    /// An author signed two entries with one number; the first to arrive is kept. Told of this device itself only if nothing can be
    /// done about it.
    Fork {
        /// The session that showed it.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// The number.
        sequence: SequenceNumber,
        /// The entry that is stored, or the last one of the branch that is.
        kept: EntryHash,
        /// The other one.
        refused: EntryHash,
    },
    /// A peer has less of a stream than it said, or the like.
    FalseClaim {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// The height it claimed.
        claimed: SequenceNumber,
        /// The height that showed.
        found: SequenceNumber,
    },
    /// A peer holds entries of this replica's own stream that it does not: the file was copied or restored.
    /// The driver starts a new incarnation before it seals again.
    OwnStreamAhead {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// The number of the first such entry.
        sequence: SequenceNumber,
    },
    /// A peer calls itself what this replica is called: one file is a copy of the other. The driver starts a new
    /// incarnation.
    SameReplica {
        /// The session.
        session: SessionId,
    },
    /// An entry's clock is too far ahead; it is stored, and applied when its time has come.
    ClockAhead {
        /// The stream.
        stream: StreamId,
        /// Its place in the stream.
        sequence: SequenceNumber,
        /// How far ahead, in milliseconds.
        ahead_ms: u64,
    },
    /// A peer was told of a new member or the like: operations are stored.
    AdminReceived {
        /// The session.
        session: SessionId,
        /// How many.
        operations: usize,
    },
    /// The store does not take entries; receiving waits and serving goes on.
    ReceivingPaused {
        /// Whether the disk is full.
        disk_full: bool,
        /// How long it waits.
        for_ms: u64,
    },
    /// Receiving goes on.
    ReceivingResumed,
    /// An owner did not let this device in.
    JoinRefused {
        /// Why.
        fault: JoinFault,
    },
    /// A device asked to join.
    JoinAsked {
        /// The session.
        session: SessionId,
        /// The device.
        author: AuthorId,
    },
}

/// Why an entry was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is larger than an entry may be.
    #[error("the entry has {size_bytes} bytes, more than allowed")]
    TooLarge {
        /// The claimed size.
        size_bytes: u64,
    },
    /// Its bytes are not an entry of a known version.
    #[error("the entry is malformed")]
    Malformed(#[source] DecodeError),
    /// It breaks a rule that anyone can check: workspace, lane, ciphertext or signature.
    #[error("the entry is not what its author signed")]
    Invalid(#[source] EntryError),
    /// It is of another stream than was asked for.
    #[error("the entry is of another stream than was asked for")]
    OtherStream,
    /// Its author may not write.
    #[error("the entry's author may not write")]
    NotAllowed(#[source] NotAllowed),
    /// It leaves a gap or repeats a number.
    #[error("the entry has number {found}, expected {expected}")]
    OutOfOrder {
        /// The number due.
        expected: SequenceNumber,
        /// The number found.
        found: SequenceNumber,
    },
    /// The store did not take it.
    #[error("the store refused the entry")]
    Store,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The peer does not know the workspace, or did not prove that it is a member.
    #[error("the peer did not prove that it is a member of this workspace")]
    Refused,
    /// The peer speaks another version.
    #[error("the peer speaks another version of the protocol; update the older side")]
    Version,
    /// A message is no frame.
    #[error("the peer sent a malformed frame")]
    Malformed(#[source] DecodeError),
    /// A frame came that does not fit the state of the session.
    #[error("the peer sent an unexpected frame: {0}")]
    Unexpected(&'static str),
    /// The hello took too long.
    #[error("the peer did not prove itself in time")]
    HandshakeTimeout,
    /// The peer owes entries and sends none, or next to none.
    #[error("the peer stopped sending what it owes")]
    Stalled,
    /// The peer sent more entries than it was allowed.
    #[error("the peer sent more than its credit")]
    CreditExceeded,
    /// The peer asked for too many ranges.
    #[error("the peer asked for too many ranges at once")]
    TooManyWants,
    /// The peer sent too much that is invalid.
    #[error("the peer sent too many invalid entries or operations")]
    TooManyInvalid,
    /// The peer claimed too much that is not so.
    #[error("the peer made too many false claims")]
    TooManyFalseClaims,
    /// The peer asked too many costly questions.
    #[error("the peer asked too many questions")]
    TooManyQuestions,
    /// The peer sent too many admin operations before it had proven itself.
    #[error("the peer sent too much before it proved itself")]
    TooMuchUnproven,
    /// There are enough sessions.
    #[error("there are too many sessions")]
    TooManySessions,
    /// Another session with the same replica goes on.
    #[error("there is another session with the same peer")]
    Duplicate,
    /// Both ends are this replica.
    #[error("the peer is this replica itself")]
    SelfConnection,
    /// The store of this replica failed.
    #[error("the store of this replica failed")]
    OwnStore,
    /// The peer ended the session.
    #[error("the peer ended the session: {0}")]
    ClosedByPeer(CloseCode),
    /// A device asked to join and was refused.
    #[error("the device was not let in: {0}")]
    JoinRefused(JoinFault),
    /// What the owner sent does not make this device a member of the ticket's workspace.
    #[error("the history that the owner sent is not the one the ticket names")]
    WrongHistory,
    /// The device is in; the next session syncs.
    #[error("the device has joined")]
    Joined,
}

impl Reason {
    /// Returns what the other side is told; `None` if it is not told.
    pub(crate) const fn close_code(&self) -> Option<CloseCode> {
        Some(match self {
            Self::Refused => CloseCode::Refused,
            Self::Version => CloseCode::Version,
            Self::Malformed(_) | Self::Unexpected(_) => CloseCode::Protocol,
            Self::HandshakeTimeout | Self::Stalled => CloseCode::Timeout,
            Self::CreditExceeded
            | Self::TooManyWants
            | Self::TooManyInvalid
            | Self::TooManyFalseClaims
            | Self::TooManyQuestions
            | Self::TooMuchUnproven => CloseCode::Budget,
            Self::TooManySessions | Self::OwnStore => CloseCode::Busy,
            Self::Duplicate | Self::SelfConnection => CloseCode::Duplicate,
            Self::ClosedByPeer(_) | Self::JoinRefused(_) | Self::WrongHistory | Self::Joined => return None,
        })
    }
}
