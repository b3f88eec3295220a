//! What a peer tells its application.

use std::collections::BTreeMap;
use std::fmt;

use kithdb_log::{AuthorId, SequenceNumber};
use kithdb_net::{Address, Path};
use kithdb_sync::SessionId;
use tokio::sync::mpsc;

/// Names a device for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub author: AuthorId,
    /// Its name in the workspace, or the start of its id where the name is not known.
    pub name: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// An address that was tried, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Where.
    pub address: Address,
    /// Why there is no session, as far as it is known; `None` while the dial is under way.
    pub reason: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// Others can reach this peer here.
    Listening {
        /// Where, with the peer's own id.
        address: Address,
    },
    /// The port kept in the file is held by another program; tickets made before name the old one.
    PortBusy {
        /// The port kept in the file.
        wanted: u16,
        /// The one taken instead.
        taken: u16,
    },
    /// One of several places to listen at could not be had.
    ListenFailed {
        /// Where.
        address: Address,
        /// What the system said.
        reason: String,
    },
    /// The local network cannot be searched; everything else works.
    MdnsFailed {
        /// What the system said.
        reason: String,
    },
    /// A peer, of this workspace or another, announced itself on the local network.
    PeerFound {
        /// Where.
        address: Address,
    },
    /// No peer was reached in the time given: what was tried, and where others could reach this one.
    NoPeerYet {
        /// The addresses tried.
        tried: Vec<Tried>,
        /// This peer's own addresses.
        addresses: Vec<Address>,
        /// Whether the local network was searched.
        mdns: bool,
    },
    /// A dial did not lead to a session; it is tried again later.
    DialFailed {
        /// Where.
        address: Address,
        /// What each address answered.
        reason: String,
    },
    /// A session with a member of the workspace stands.
    Connected {
        /// The session.
        session: SessionId,
        /// The device at the other end.
        device: Device,
        /// Where it is.
        address: Address,
        /// What the session runs over.
        path: Path,
    },
    /// A session with a member ended; it is opened again if this side dialled.
    Disconnected {
        /// The session.
        session: SessionId,
        /// The device at the other end.
        device: Device,
        /// Why.
        reason: String,
    },
    /// Whoever is there did not prove to be a member, or did not take this device for one, or broke the protocol.
    Refused {
        /// Where.
        address: Address,
        /// Why.
        reason: String,
    },
    /// Entries of a device have been stored.
    Progress {
        /// The session.
        session: SessionId,
        /// The device at the other end.
        device: Device,
        /// Entries stored since the session began.
        have_entries: u64,
        /// Entries the other side has that this one lacked when it heard of them.
        want_entries: u64,
        /// Bytes of entries received since the session began.
        received_bytes: u64,
    },
    /// This replica has stored everything that the other side told it of.
    CaughtUp {
        /// The session.
        session: SessionId,
        /// The device at the other end.
        device: Device,
    },
    /// Both sides hold the same: they compared what they hold and found no difference.
    InStep {
        /// The session.
        session: SessionId,
        /// The device at the other end.
        device: Device,
    },
    /// Local writes were sealed and offered to the connected peers.
    Sealed {
        /// How many transactions.
        transactions: u64,
        /// How many rows from before sync.
        rows_taken_up: u64,
    },
    /// Entries of other devices were merged into the tables.
    Applied {
        /// How many entries.
        entries: u64,
        /// How many operations.
        operations: u64,
        /// Rows written, by table.
        rows: BTreeMap<String, u64>,
        /// Tables created from another device's definition.
        tables_created: Vec<String>,
        /// Entries that wait for another one, for their table, or for the clock to reach them.
        waiting: u64,
    },
    /// A trigger of the application's stopped a merge, which was done without any of them: what they would have written is not there.
    TriggersLeftOut {
        /// What went wrong.
        reason: String,
    },
    /// A transaction was merged without a part of it that did not arrive in time.
    Torn {
        /// How many.
        transactions: u64,
    },
    /// An entry was not taken, or was stored and will not be merged.
    Forged {
        /// Who is said to have written it.
        device: Option<Device>,
        /// Its place in its stream.
        sequence: Option<SequenceNumber>,
        /// Why.
        reason: String,
    },
    /// An entry of this file's log is damaged, so that every peer refuses it; told once.
    Damaged {
        /// Who wrote it.
        device: Device,
        /// Its place in its stream.
        sequence: SequenceNumber,
    },
    /// A device signed two entries with one number; the first to arrive is kept.
    Fork {
        /// The device.
        device: Device,
        /// The number.
        sequence: SequenceNumber,
    },
    /// An entry's clock is far ahead; it is merged when its time has come.
    ClockAhead {
        /// The device.
        device: Device,
        /// How far, in milliseconds.
        ahead_ms: u64,
    },
    /// This file turned out to be a copy, or older than what was published from it: it goes on under a new incarnation.
    OwnStreamAhead {
        /// What was found.
        reason: String,
    },
    /// This file was restored and had written other entries than it had published: what it wrote was written anew, nothing is lost.
    WrittenAnew {
        /// What was found.
        reason: String,
        /// How many changes of rows were written anew.
        operations: u64,
    },
    /// A device asked to join.
    JoinAsked {
        /// The device; nobody knows its name yet.
        author: AuthorId,
    },
    /// This device let another one in.
    Admitted {
        /// The new member.
        device: Device,
    },
    /// A device that asked to join was turned away.
    JoinRefused {
        /// The device.
        author: AuthorId,
        /// Why.
        reason: String,
    },
    /// Others' invitations and admissions arrived.
    MembersChanged {
        /// How many admin operations.
        operations: usize,
    },
    /// The database does not take entries; receiving waits, serving goes on.
    ReceivingPaused {
        /// Whether the disk is full.
        disk_full: bool,
        /// How long it waits, in milliseconds.
        for_ms: u64,
    },
    /// Receiving goes on.
    ReceivingResumed,
    /// Something could not be done now and is tried again.
    Delayed {
        /// What, and why.
        reason: String,
    },
    /// The peer has stopped by itself: its database or network is gone.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Receives what a peer tells; dropping it is fine.
#[derive(Debug)]
pub struct PeerEvents(pub(crate) mpsc::UnboundedReceiver<PeerEvent>);

impl PeerEvents {
    /// Waits for the next event; `None` once the peer is shut down and everything was told.
    pub async fn recv(&mut self) -> Option<PeerEvent> {
        self.0.recv().await
    }

    /// Takes an event that is there already.
    pub fn try_recv(&mut self) -> Option<PeerEvent> {
        self.0.try_recv().ok()
    }
}
