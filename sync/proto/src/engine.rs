//! The engine: one for each replica, with a session for each peer.
//!
//! Invariants:
//! 1. Nothing here waits, reads a clock or draws a random number: the driver passes all of it in.
//! 2. Whatever a peer sends ends its session at worst; it never panics, and no entry is stored before it is admitted.
//! 3. Nothing is told to a peer that is not durable here, and nothing at all before the peer has proven itself.

use std::collections::{BTreeMap, BTreeSet};

use kithdb_log::{
    AdminOperation, ArrivalNumber, DeviceKeys, EntryHash, IncarnationId, Membership, ReplicaId, SequenceNumber,
    StreamId, WorkspaceId,
};

use crate::frame::Frame;
use crate::input::Input;
use crate::limits::{FRAME_BYTES_MAX, PROTOCOL_VERSION};
use crate::output::{Event, Output, Reason};
use crate::session::{LoadPurpose, Phase, Session};
use crate::streams::Streams;
use crate::types::{CloseCode, Digest, Now, RequestId, SessionId, StreamHead};

/// What an engine starts with, as the replica has it.
#[derive(Debug)]
pub struct EngineConfig {
    /// The device's keys; they sign the hello.
    pub keys: DeviceKeys,
    /// The workspace's admin operations.
    pub membership: Membership,
    /// The name of this replica.
    pub replica: ReplicaId,
    /// The incarnation that new entries are written under.
    pub incarnation: IncarnationId,
    /// The count of arrivals.
    pub arrival: ArrivalNumber,
    /// Every stored stream.
    pub streams: Vec<StreamHead>,
}

/// An entry on its way to the store.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub stream: StreamId,
    pub sequence: SequenceNumber,
    pub hash: EntryHash,
    pub len: usize,
}

/// Entries on their way to the store.
#[derive(Debug)]
pub(crate) struct StoreInFlight {
    pub session: SessionId,
    pub items: Vec<InFlight>,
    /// What they build on may have failed: a refusal says nothing about them, and they will be asked for again.
    pub stale: bool,
}

/// Syncs one replica with its peers.
#[derive(Debug)]
pub struct Engine {
    pub(crate) workspace: WorkspaceId,
    pub(crate) keys: DeviceKeys,
    pub(crate) membership: Membership,
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: IncarnationId,
    /// The count of arrivals here.
    pub(crate) arrival: ArrivalNumber,
    /// The count up to which every live peer has been told of everything.
    pub(crate) announced: ArrivalNumber,
    pub(crate) streams: Streams,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) loads: BTreeMap<RequestId, LoadPurpose>,
    pub(crate) pushes_loading: usize,
    pub(crate) stores: BTreeMap<RequestId, StoreInFlight>,
    pub(crate) admin_stores: BTreeMap<RequestId, (SessionId, Vec<AdminOperation>)>,
    /// When receiving goes on, if it waits.
    pub(crate) paused_until: Option<u64>,
    /// How long the next pause is.
    pub(crate) pause_ms: u64,
    /// Streams of our own that were reported as ahead of us.
    pub(crate) own_ahead: BTreeSet<StreamId>,
    /// Sessions to look after before the call returns.
    pub(crate) touched: BTreeSet<SessionId>,
    pub(crate) now: Now,
    scheduled: Option<u64>,
    last_request: u64,
    outputs: Vec<Output>,
}

impl Engine {
    /// Starts an engine without sessions.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            workspace: config.membership.workspace(),
            keys: config.keys,
            membership: config.membership,
            replica: config.replica,
            incarnation: config.incarnation,
            arrival: config.arrival,
            announced: config.arrival,
            streams: Streams::new(config.streams),
            sessions: BTreeMap::new(),
            loads: BTreeMap::new(),
            pushes_loading: 0,
            stores: BTreeMap::new(),
            admin_stores: BTreeMap::new(),
            paused_until: None,
            pause_ms: crate::limits::PAUSE_MS_FIRST,
            own_ahead: BTreeSet::new(),
            touched: BTreeSet::new(),
            now: Now::default(),
            scheduled: None,
            last_request: 0,
            outputs: Vec::new(),
        }
    }

    /// Takes in what happened and returns what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Output> {
        self.now = now;
        self.dispatch(input);
        self.settle();
        std::mem::take(&mut self.outputs)
    }

    /// Returns the admin operations known here.
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Lists the streams that are stored, as far as the engine was told.
    pub fn heads(&self) -> impl Iterator<Item = StreamHead> {
        self.streams.heads()
    }

    /// Returns a hash of all that is stored; equal replicas have equal digests.
    pub fn digest(&mut self) -> Digest {
        self.streams.digest(&self.membership)
    }

    /// Lists the sessions whose peer has proven itself.
    pub fn proven_sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.iter().filter(|(_, session)| session.peer().is_some()).map(|(id, _)| *id)
    }

    /// Tells whether everything stored here was sent over a session, or is known to be at the other end.
    pub fn is_served(&self, session: SessionId) -> bool {
        let Some(state) = self.sessions.get(&session).filter(|state| state.has_met()) else { return false };
        state.serve.ranges.is_empty()
            && self.streams.heads().all(|head| {
                let claim = self.streams.get(&head.id).and_then(|stream| stream.claim(session));
                // Who holds another branch takes nothing of this one.
                claim.is_some_and(|claim| claim.height >= head.height || claim.stuck)
            })
    }

    /// Tells whether entries that peers sent are admitted and not stored yet.
    pub fn is_storing(&self) -> bool {
        !self.stores.is_empty() || self.sessions.values().any(|session| !session.receive.batch.is_empty())
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::PeerUp { session, dialer, local_transport, remote_transport, nonce } => {
                self.on_peer_up(session, dialer, local_transport, remote_transport, nonce);
            }
            Input::PeerDown { session } => self.end(session),
            Input::Frame { session, bytes } => {
                if self.sessions.contains_key(&session)
                    && let Err(reason) = self.on_frame(session, &bytes)
                {
                    self.close(session, reason);
                }
            }
            Input::Writable { session, writable } => {
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.serve.writable = writable;
                    self.touched.insert(session);
                }
            }
            Input::Timer => self.on_timer(),
            Input::LocalHeads { arrival, heads } => self.on_local_heads(arrival, heads),
            Input::LocalAdmin { operations } => self.on_local_admin(operations),
            Input::Reincarnated { replica, incarnation } => {
                self.replica = replica;
                self.incarnation = incarnation;
                self.own_ahead.clear();
                self.list_all();
            }
            Input::CutBack { head } => self.on_cut_back(&head),
            Input::Compared { session, stream, sequence, hash, branch } => {
                self.on_compared(session, stream, sequence, hash, branch);
            }
            Input::Recalled { session, remembered } => self.on_recalled(session, remembered),
            Input::Changes { request, streams } => self.on_changes(request, streams),
            Input::Loaded { request, entries } => self.on_loaded(request, entries),
            Input::LoadFailed { request } => self.on_load_failed(request),
            Input::StoreDone { request, arrival, outcomes } => self.on_store_done(request, arrival, &outcomes),
            Input::StoreError { request, error } => self.on_store_error(request, error),
            Input::AdminStored { request } => self.on_admin_stored(request),
            Input::Admitted { session, operations } => self.on_admitted(session, operations),
            Input::AdmitRefused { session, fault } => self.on_admit_refused(session, fault),
        }
    }

    fn on_frame(&mut self, id: SessionId, bytes: &[u8]) -> Result<(), Reason> {
        let Some(session) = self.sessions.get(&id) else { return Ok(()) };
        if session.phase == Phase::Hello
            && bytes.len() <= FRAME_BYTES_MAX
            && bytes.first().is_some_and(|version| *version != PROTOCOL_VERSION)
        {
            return Err(Reason::Version);
        }
        let frame = Frame::decode(bytes).map_err(Reason::Malformed)?;
        self.touched.insert(id);
        match (session.phase, frame) {
            (_, Frame::Close { code }) => Err(Reason::ClosedByPeer(code)),
            (Phase::Hello, Frame::Hello { nonce, tag }) => self.on_hello(id, nonce, tag),
            (Phase::Proof, Frame::Proof { author, replica, signature }) => {
                self.on_proof(id, author, replica, signature)
            }
            (Phase::Proof, Frame::Join(request)) => self.on_join(id, request),
            (Phase::Proof, Frame::AskAdmin { .. }) => self.on_ask_admission(id),
            (Phase::Admission(_) | Phase::Proven(_), Frame::Admin { last, operations }) => {
                self.on_admin(id, last, &operations)
            }
            (Phase::Proven(_), Frame::AskAdmin { frontier }) => self.on_ask_admin(id, &frontier),
            (Phase::Proven(_), Frame::Summary { arrival, digest, remembered }) => {
                self.on_summary(id, arrival, digest, remembered)
            }
            (Phase::Proven(_), frame) if session.meeting.summary_received.is_some() => match frame {
                Frame::Have { arrival, complete, heads } => self.on_have(id, arrival, complete, &heads),
                Frame::Caught { arrival, digest } => self.on_caught(id, arrival, digest),
                Frame::Want { id: want, stream, from, credit } => self.on_want(id, want, stream, from, credit),
                Frame::Cancel { id: want } => self.on_cancel(id, want),
                Frame::Credit { bytes } => self.on_credit(id, bytes),
                Frame::Data { id: want, offset, bytes } => self.on_data(id, want, offset, bytes),
                Frame::End { id: want, next } => self.on_end(id, want, next),
                Frame::Push { arrival, entries } => self.on_push(id, arrival, &entries),
                _ => Err(Reason::Unexpected("it does not belong in a proven session")),
            },
            _ => Err(Reason::Unexpected("it does not belong here")),
        }
    }

    /// Does what follows from all changes of one call.
    fn settle(&mut self) {
        // Each step may touch further sessions, but only by freeing a stream for them, which ends.
        while let Some(id) = self.touched.pop_first() {
            self.schedule_pulls(id);
            self.top_up(id);
            if let Err(reason) = self.serve_ranges(id) {
                self.close(id, reason);
                continue;
            }
            self.check_caught_up(id);
            self.note(id);
        }
        self.flush_outboxes();
        self.send_marks();
        let announced = self.announced;
        let deadlines = self.sessions.values().filter_map(|session| session.deadline(announced));
        let next = deadlines.chain(self.paused_until).min();
        if let Some(next) = next {
            let at_elapsed_ms = next.max(self.now.elapsed_ms.saturating_add(1));
            if self.scheduled.is_none_or(|known| known <= self.now.elapsed_ms || at_elapsed_ms < known) {
                self.scheduled = Some(at_elapsed_ms);
                self.put(Output::Schedule { at_elapsed_ms });
            }
        }
    }

    fn on_timer(&mut self) {
        let now = self.now.elapsed_ms;
        if self.paused_until.is_some_and(|until| until <= now) {
            self.resume();
        }
        let due: Vec<_> =
            self.sessions.iter().filter(|(_, s)| s.deadline(self.announced).is_some_and(|at| at <= now)).collect();
        let due: Vec<_> = due.into_iter().map(|(id, _)| *id).collect();
        for id in due {
            self.touched.insert(id);
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let is_due = |deadline: Option<u64>| deadline.is_some_and(|at| at <= now);
            if is_due(session.hello_deadline) {
                let reason = if session.phase == Phase::Leaving { Reason::Joined } else { Reason::HandshakeTimeout };
                self.close(id, reason);
                continue;
            }
            if is_due(session.receive.stall_deadline) || is_due(session.admin.asked) {
                self.close(id, Reason::Stalled);
                continue;
            }
            let stores = is_due(session.receive.batch_deadline);
            if is_due(session.serve.idle_deadline) {
                session.serve.release();
                self.wake_waiting();
            }
            if stores {
                self.flush_batch(id);
            }
        }
    }

    /// Ends a session from this side.
    pub(crate) fn close(&mut self, id: SessionId, reason: Reason) {
        let Some(was_met) = self.sessions.get(&id).map(Session::has_met) else { return };
        if let Some(code) = reason.close_code() {
            self.send(id, &Frame::Close { code });
        }
        let refused = matches!(reason, Reason::Refused | Reason::ClosedByPeer(CloseCode::Refused));
        if refused && !was_met {
            self.put(Output::Event(Event::Refused { session: id }));
        }
        self.end(id);
        self.put(Output::Disconnect { session: id, reason });
    }

    /// Forgets a session; what it had delivered whole is kept.
    fn end(&mut self, id: SessionId) {
        self.flush_batch(id);
        self.note_now(id);
        if self.sessions.remove(&id).is_none() {
            return;
        }
        self.touched.remove(&id);
        for stream in self.streams.forget(id) {
            self.refresh(&stream);
        }
        // A load for a push goes on: it is for whoever is left.
        self.loads
            .retain(|_, purpose| !matches!(purpose, LoadPurpose::Serve(of) | LoadPurpose::Changes(of) if *of == id));
        // The memory it held for what it was sending or asking for may let others go on.
        self.wake_waiting();
    }

    /// Looks after the sessions that may go on because memory became free.
    pub(crate) fn wake_waiting(&mut self) {
        self.touched.extend(self.sessions.iter().filter(|(_, s)| s.is_waiting_for_memory()).map(|(id, _)| *id));
    }

    /// Computes anew which sessions lack this stream and which are to be asked for it.
    pub(crate) fn refresh(&mut self, id: &StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        for claim in &stream.claims {
            let Some(session) = self.sessions.get_mut(&claim.session) else { continue };
            let is_behind = !claim.stuck && (claim.height > stream.height || claim.probe.is_some());
            if is_behind {
                session.behind.insert(*id);
            } else {
                session.behind.remove(id);
            }
            let is_free = stream.pull.is_none() && !stream.is_held && !session.admin.awaiting.contains(id);
            if !claim.stuck && is_free && (claim.height > stream.pending_height || claim.probe.is_some()) {
                session.todo.insert(*id);
            } else {
                session.todo.remove(id);
            }
            self.touched.insert(claim.session);
        }
    }

    pub(crate) fn put(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub(crate) fn report(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    pub(crate) fn send(&mut self, session: SessionId, frame: &Frame<'_>) {
        let frame = frame.encode();
        debug_assert!(frame.len() <= FRAME_BYTES_MAX);
        self.outputs.push(Output::Send { session, frame });
    }

    pub(crate) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }
}
