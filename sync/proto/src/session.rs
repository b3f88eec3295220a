//! The state of one session.

use std::collections::{BTreeSet, VecDeque};

use kithdb_log::ids::HelloNonce;
use kithdb_log::{ArrivalNumber, AuthorId, ReplicaId, SealedEntry, SequenceNumber, StreamId};

use crate::frame::WantId;
use crate::limits::{CREDIT_BYTES_INITIAL, QUESTION_INTERVAL_MS, QUESTIONS_BURST};
use crate::output::Reason;
use crate::types::{Digest, RequestId, SessionId};

/// Who is at the other end, once its signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub author: AuthorId,
    pub replica: ReplicaId,
}

/// How far the hello has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for the other side's hello.
    Hello,
    /// Waits for the other side's proof.
    Proof,
    /// The proof holds for a device that is not known yet: waits for the operations that let it in.
    Admission(Peer),
    /// The device asked to join: waits for the driver.
    Joining,
    /// The device was told the history; waits for it to leave.
    Leaving,
    /// The other side is a member.
    Proven(Peer),
}

/// A range asked of the peer.
#[derive(Debug)]
pub(crate) struct Pull {
    pub id: WantId,
    pub stream: StreamId,
    /// The sequence number of the next entry to come.
    pub next: SequenceNumber,
    /// The height the peer claimed when it was asked.
    pub claimed: SequenceNumber,
    /// Bytes of the answer that have come.
    pub offset: u64,
    pub cancelled: bool,
}

/// An admitted entry.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub entry: SealedEntry,
    pub hash: kithdb_log::EntryHash,
    pub len: usize,
}

/// What comes in.
#[derive(Debug)]
pub(crate) struct Receive {
    pub wants: VecDeque<Pull>,
    pub last_id: WantId,
    /// What has come of the entry under way, for the first of `wants`.
    pub buffer: Vec<u8>,
    /// Bytes the peer may still send.
    pub granted: u64,
    /// Bytes of entries that are admitted and not durable.
    pub unstored: u64,
    /// Entries that wait for more, to be stored in one go.
    pub batch: Vec<Admitted>,
    pub batch_bytes: usize,
    pub batch_deadline: Option<u64>,
    /// When the peer must have shown progress.
    pub stall_deadline: Option<u64>,
    pub progress_bytes: u64,
    pub have_entries: u64,
    pub want_entries: u64,
    pub received_bytes: u64,
}

/// A range the peer asked for.
#[derive(Debug)]
pub(crate) struct Range {
    pub id: WantId,
    pub stream: StreamId,
    /// The first entry that is not in the buffer yet.
    pub next: SequenceNumber,
    /// The first entry of the buffer.
    pub base: SequenceNumber,
    /// The last entry to send.
    pub until: SequenceNumber,
    /// Bytes of the answer that were sent.
    pub offset: u64,
    /// Bytes of the buffer that were sent before it was dropped.
    pub skip: usize,
}

/// What goes out.
#[derive(Debug)]
pub(crate) struct Serve {
    pub ranges: VecDeque<Range>,
    pub last_id: WantId,
    /// Loaded bytes of the first range.
    pub buffer: Vec<u8>,
    pub sent: usize,
    pub load: Option<RequestId>,
    /// Bytes the peer takes.
    pub credit: u64,
    pub writable: bool,
    /// When the buffer is given up for want of credit.
    pub idle_deadline: Option<u64>,
}

/// How far the two sides have compared what they hold.
#[derive(Debug, Default)]
pub(crate) struct Meeting {
    /// The peer's arrival up to which we hold everything.
    pub remembered: Option<ArrivalNumber>,
    pub summary_sent: Option<Digest>,
    pub summary_received: Option<(ArrivalNumber, Digest, ArrivalNumber)>,
    /// Where our list of streams began; 0 if it was complete.
    pub since: ArrivalNumber,
    pub full_sent: bool,
    /// The peer has listed everything that it was to list.
    pub is_told: bool,
    /// The peer's arrival up to which it has told us everything.
    pub told: ArrivalNumber,
    /// The last note of `told`.
    pub noted: ArrivalNumber,
    pub noted_at: Option<u64>,
    /// Our arrival up to which the peer knows that it was told everything, and when it was told that.
    pub marked: ArrivalNumber,
    pub marked_at: Option<u64>,
    /// We have answered the peer's summary, or it was equal to ours.
    pub has_told: bool,
    pub is_caught_up: bool,
    pub caught_sent: bool,
    /// The digest that was last sent with it.
    pub caught_digest: Option<Digest>,
    pub caught_received: Option<Digest>,
    pub caught_count: u32,
    /// Something the peer told of will not be stored: what it told is not to be taken for had.
    pub incomplete: bool,
}

/// What is known and planned about admin operations.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    /// When the answer to our question must be there, if we asked.
    pub asked: Option<u64>,
    pub ask_again: bool,
    /// Streams with entries that name operations we do not have.
    pub awaiting: BTreeSet<StreamId>,
    /// Streams that waited once.
    pub retried: BTreeSet<StreamId>,
    pub unproven_bytes: usize,
    pub proved_admission: bool,
}

/// One connection to one peer.
#[derive(Debug)]
pub(crate) struct Session {
    pub dialer: bool,
    pub local_transport: Vec<u8>,
    pub remote_transport: Vec<u8>,
    pub local_nonce: HelloNonce,
    pub remote_nonce: HelloNonce,
    /// The other side's tag is that of our workspace.
    pub tag_holds: bool,
    pub phase: Phase,
    /// When the hello must be over.
    pub hello_deadline: Option<u64>,
    pub meeting: Meeting,
    pub admin: Admin,
    pub receive: Receive,
    pub serve: Serve,
    /// Streams of which the peer has more than is durable here.
    pub behind: BTreeSet<StreamId>,
    /// Streams to ask the peer for.
    pub todo: BTreeSet<StreamId>,
    /// Streams to tell the peer of.
    pub outbox: BTreeSet<StreamId>,
    pub invalid_count: u32,
    pub false_claim_count: u32,
    questions: u64,
    questions_at: u64,
}

impl Session {
    pub fn new(
        dialer: bool,
        local_transport: Vec<u8>,
        remote_transport: Vec<u8>,
        local_nonce: HelloNonce,
        hello_deadline: u64,
    ) -> Self {
        Self {
            dialer,
            local_transport,
            remote_transport,
            local_nonce,
            remote_nonce: HelloNonce::default(),
            tag_holds: false,
            phase: Phase::Hello,
            hello_deadline: Some(hello_deadline),
            meeting: Meeting::default(),
            admin: Admin::default(),
            receive: Receive {
                wants: VecDeque::new(),
                last_id: WantId(0),
                buffer: Vec::new(),
                granted: CREDIT_BYTES_INITIAL,
                unstored: 0,
                batch: Vec::new(),
                batch_bytes: 0,
                batch_deadline: None,
                stall_deadline: None,
                progress_bytes: 0,
                have_entries: 0,
                want_entries: 0,
                received_bytes: 0,
            },
            serve: Serve {
                ranges: VecDeque::new(),
                last_id: WantId(0),
                buffer: Vec::new(),
                sent: 0,
                load: None,
                credit: CREDIT_BYTES_INITIAL,
                writable: true,
                idle_deadline: None,
            },
            behind: BTreeSet::new(),
            todo: BTreeSet::new(),
            outbox: BTreeSet::new(),
            invalid_count: 0,
            false_claim_count: 0,
            questions: QUESTIONS_BURST,
            questions_at: 0,
        }
    }

    /// Returns who is at the other end, if proven.
    pub const fn peer(&self) -> Option<Peer> {
        match self.phase {
            Phase::Proven(peer) => Some(peer),
            _ => None,
        }
    }

    /// Tells whether the peer is to hear of every change: it has our summary, so it knows what came before.
    pub const fn is_live(&self) -> bool {
        self.peer().is_some() && self.meeting.summary_sent.is_some()
    }

    /// Tells whether both summaries are exchanged.
    pub const fn has_met(&self) -> bool {
        self.is_live() && self.meeting.summary_received.is_some()
    }

    /// Takes one costly question from the peer's budget.
    pub fn spend_question(&mut self, elapsed_ms: u64) -> Result<(), Reason> {
        let earned = elapsed_ms.saturating_sub(self.questions_at) / QUESTION_INTERVAL_MS;
        if earned > 0 {
            self.questions = self.questions.saturating_add(earned).min(QUESTIONS_BURST);
            self.questions_at = elapsed_ms;
        }
        self.questions = self.questions.checked_sub(1).ok_or(Reason::TooManyQuestions)?;
        Ok(())
    }

    /// Takes received bytes from the credit that was granted.
    pub fn spend_credit(&mut self, bytes: u64) -> Result<(), Reason> {
        self.receive.granted = self.receive.granted.checked_sub(bytes).ok_or(Reason::CreditExceeded)?;
        self.receive.received_bytes = self.receive.received_bytes.saturating_add(bytes);
        self.receive.progress_bytes = self.receive.progress_bytes.saturating_add(bytes);
        Ok(())
    }

    /// Returns the next moment at which this session wants to be looked at.
    pub fn deadline(&self, announced: ArrivalNumber) -> Option<u64> {
        let moments = [
            self.hello_deadline,
            self.admin.asked,
            self.receive.batch_deadline,
            self.receive.stall_deadline,
            self.serve.idle_deadline,
            self.note_deadline(),
            self.mark_deadline(announced),
        ];
        moments.into_iter().flatten().min()
    }

    /// Returns when the peer is next to hear how far it was told everything, if it does not know.
    pub fn mark_deadline(&self, announced: ArrivalNumber) -> Option<u64> {
        let is_due = self.meeting.has_told && announced > self.meeting.marked;
        is_due.then(|| self.meeting.marked_at.map_or(0, |at| at.saturating_add(crate::limits::REMEMBER_INTERVAL_MS)))
    }

    /// Notes that the peer hears this now.
    pub fn set_marked(&mut self, arrival: ArrivalNumber, elapsed_ms: u64) {
        self.meeting.marked = self.meeting.marked.max(arrival);
        self.meeting.marked_at = Some(elapsed_ms);
    }

    /// Tells whether this session may be waiting for memory that others hold.
    pub fn is_waiting_for_memory(&self) -> bool {
        let serve = &self.serve;
        let waits_to_load = !serve.ranges.is_empty() && serve.load.is_none() && serve.buffer.is_empty();
        waits_to_load || (!self.receive.wants.is_empty() && self.receive.granted == 0)
    }

    /// Returns when what the peer told is next to be noted, if there is something to note.
    pub fn note_deadline(&self) -> Option<u64> {
        let meeting = &self.meeting;
        let is_had = meeting.is_told && meeting.is_caught_up && !meeting.incomplete && self.behind.is_empty();
        (is_had && meeting.told > meeting.noted)
            .then(|| meeting.noted_at.map_or(0, |at| at.saturating_add(crate::limits::REMEMBER_INTERVAL_MS)))
    }
}

/// Why a request to the driver was made.
#[derive(Debug)]
pub(crate) enum LoadPurpose {
    /// To answer a want.
    Serve(SessionId),
    /// To push new entries of a stream from this number on.
    Push(StreamId, SequenceNumber),
    /// To list what changed.
    Changes(SessionId),
}
