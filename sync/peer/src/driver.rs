//! The engine and the replica joined: what the engine asks of its store is done at once, what is left goes to the network.
//!
//! There is no async, no network and no clock here, so a simulator drives it the same way as [`crate::Peer`] does.
//!
//! Invariants:
//! 1. What the engine asks is answered in the order of asking; a write the database cannot take now waits, and later writes wait behind it.
//! 2. The engine hears of an entry, a height or an admin operation only after it is durable.
//! 3. Nothing is sealed between hearing that this file is a copy and the start of its new incarnation.

use std::collections::{BTreeMap, VecDeque};

use kithdb_core::apply::ApplyReport;
use kithdb_core::error::OpenError;
use kithdb_core::log_error::LogError;
use kithdb_core::replica::Replica;
use kithdb_core::seal::SealReport;
use kithdb_core::strand::TakenBack;
use kithdb_log::{ArrivalNumber, AuthorId, IncarnationId, ReplicaId, SequenceNumber, StreamId};
use kithdb_sync::{Engine, EngineConfig, Event, Input, JoinFault, Now, Output, Reason, SessionId};

mod tasks;
pub(crate) mod trouble;
mod work;

use tasks::Task;
pub use trouble::Trouble;

/// How much one apply takes up before others get their turn, in bytes of ciphertext.
const APPLY_BYTES: usize = 4 << 20;

/// What a driver's caller is to do, in the order given.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Send a message over a session.
    Send {
        /// The session.
        session: SessionId,
        /// The message.
        frame: Vec<u8>,
    },
    /// Close a session once what was sent before is out; no [`Input::PeerDown`] is needed.
    Disconnect {
        /// The session.
        session: SessionId,
        /// Why.
        reason: Reason,
    },
    /// Call [`Driver::input`] with [`Input::Timer`] at this time of the clock that never goes back; replaces any earlier one.
    Schedule {
        /// The time in milliseconds.
        at_elapsed_ms: u64,
    },
    /// Something that people or logs may want to know.
    Event(DriverEvent),
}

/// What happened inside a driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverEvent {
    /// The engine reports.
    Sync(Event),
    /// Local writes were sealed, and the engine was told.
    Sealed(SealReport),
    /// Stored entries were merged into the tables.
    Applied(ApplyReport),
    /// A trigger of the application's stopped a merge, which was done without any of them.
    TriggersLeftOut {
        /// What went wrong.
        reason: String,
    },
    /// A device was let in.
    Admitted {
        /// The device.
        author: AuthorId,
    },
    /// A device was turned away.
    NotAdmitted {
        /// The device.
        author: AuthorId,
        /// What it is told.
        fault: JoinFault,
        /// Why, in full.
        reason: String,
    },
    /// The file goes on under a new incarnation.
    Reincarnated {
        /// Why.
        reason: String,
    },
    /// The file was restored and had written other entries than it had published: they were taken back and written anew.
    TakenBack {
        /// Why.
        reason: String,
        /// How much it was.
        report: TakenBack,
    },
    /// An entry that is stored here is damaged, so that every peer refuses it; told once.
    Damaged {
        /// The stream.
        stream: StreamId,
        /// The number of the entry.
        sequence: SequenceNumber,
    },
    /// Something could not be done now and is tried again.
    Delayed {
        /// What kind of trouble it is.
        trouble: Trouble,
        /// What was to be done, and what came instead.
        reason: String,
    },
}

/// Says why a driver could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The log could not be read.
    #[error("the replica's log could not be read")]
    Log(#[from] LogError),
    /// The registry or the membership could not be read.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Bytes of frames over one session, counted from the moment the peer had proven itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent_frames: u64,
    /// Frames received.
    pub received_frames: u64,
}

/// Drives one replica's sync: it owns the replica and the engine.
#[derive(Debug)]
pub struct Driver {
    replica: Replica,
    engine: Engine,
    replica_id: ReplicaId,
    incarnation: IncarnationId,
    /// The engine was told of every arrival up to this one.
    told: ArrivalNumber,
    /// SQLite's count of other connections' commits when the file was last looked at.
    seen_version: Option<i64>,
    seal_due: bool,
    apply_due: bool,
    apply_bytes: usize,
    /// Why a new incarnation is due.
    reincarnate: Option<String>,
    /// Own streams of which a peer holds another branch, with the last entry that both have.
    forks: BTreeMap<StreamId, SequenceNumber>,
    /// The user was told of a damaged entry.
    told_damage: bool,
    postponed: VecDeque<Task>,
    /// No work is tried before this time, since the last try met trouble.
    retry_at: Option<u64>,
    retry_ms: u64,
    /// Entries wait for something that no event will tell of: the clock, or a part that is overdue.
    reapply_at: Option<u64>,
    engine_at: Option<u64>,
    scheduled: Option<u64>,
    traffic: BTreeMap<SessionId, Traffic>,
    now: Now,
    outputs: VecDeque<Output>,
    effects: Vec<Effect>,
}

impl Driver {
    /// Builds an engine that knows what the replica holds.
    pub fn new(mut replica: Replica) -> Result<Self, DriverError> {
        replica.reload_registry()?;
        let state = replica.sync_state()?;
        let engine = Engine::new(EngineConfig {
            keys: replica.workspace().keys().clone(),
            membership: replica.membership().clone(),
            replica: state.replica,
            incarnation: replica.life().incarnation(),
            arrival: state.arrival,
            streams: state.streams.iter().map(tasks::head_of).collect(),
        });
        Ok(Self {
            replica_id: state.replica,
            incarnation: replica.life().incarnation(),
            told: state.arrival,
            replica,
            engine,
            seen_version: None,
            // What a crash left behind is sealed and applied first.
            seal_due: true,
            apply_due: true,
            apply_bytes: APPLY_BYTES,
            reincarnate: None,
            forks: BTreeMap::new(),
            told_damage: false,
            postponed: VecDeque::new(),
            retry_at: None,
            retry_ms: 0,
            reapply_at: None,
            engine_at: None,
            scheduled: None,
            traffic: BTreeMap::new(),
            now: Now::default(),
            outputs: VecDeque::new(),
            effects: Vec::new(),
        })
    }

    /// Takes in what happened and returns what is to be done; then [`Self::work`] while [`Self::has_work`].
    pub fn input(&mut self, input: Input, now: Now) -> Vec<Effect> {
        self.now = now;
        match &input {
            Input::Frame { session, bytes } => {
                if let Some(traffic) = self.traffic.get_mut(session) {
                    traffic.received_bytes += bytes.len() as u64;
                    traffic.received_frames += 1;
                }
            }
            Input::PeerDown { session } => {
                self.traffic.remove(session);
            }
            Input::Timer => self.on_timer(),
            _ => {}
        }
        self.tell(input);
        self.finish()
    }

    /// Looks whether another connection, in this process or another, has changed the database.
    ///
    /// Costs one small query if not.
    pub fn look(&mut self, now: Now) -> Vec<Effect> {
        self.now = now;
        self.look_at_file();
        self.finish()
    }

    /// Does a piece of what is due: writes that waited, sealing, merging.
    pub fn work(&mut self, now: Now) -> Vec<Effect> {
        self.now = now;
        self.work_once();
        self.finish()
    }

    /// Tells whether [`Self::work`] would do something.
    pub fn has_work(&self) -> bool {
        let is_due = self.seal_due
            || self.apply_due
            || self.reincarnate.is_some()
            || !self.forks.is_empty()
            || !self.postponed.is_empty();
        is_due && self.retry_at.is_none()
    }

    /// Borrows the replica.
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Borrows the replica to be changed; what was committed is taken up by the next [`Self::work`].
    pub fn replica_mut(&mut self) -> &mut Replica {
        // Our own commits do not show in SQLite's count of others' commits.
        self.seen_version = None;
        self.seal_due = true;
        &mut self.replica
    }

    /// Borrows the engine.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns a hash of all that is stored; replicas that hold the same have the same.
    pub fn digest(&mut self) -> kithdb_sync::Digest {
        self.engine.digest()
    }

    /// Returns what went over a session since its peer had proven itself; `None` if there is no such session.
    pub fn traffic(&self, session: SessionId) -> Option<Traffic> {
        self.traffic.get(&session).copied()
    }

    /// Gives the replica back.
    pub fn into_replica(self) -> Replica {
        self.replica
    }

    fn report(&mut self, event: DriverEvent) {
        self.effects.push(Effect::Event(event));
    }

    fn finish(&mut self) -> Vec<Effect> {
        let next = [self.engine_at, self.retry_at, self.reapply_at].into_iter().flatten().min();
        if let Some(at_elapsed_ms) = next.filter(|_| next != self.scheduled) {
            self.effects.push(Effect::Schedule { at_elapsed_ms });
        }
        self.scheduled = next;
        std::mem::take(&mut self.effects)
    }
}
