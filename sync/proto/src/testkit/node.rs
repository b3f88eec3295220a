//! One replica: an engine, a store in memory, and the driver between them.

use std::collections::{BTreeMap, VecDeque};

use kithdb_log::*;

use super::TestWorkspace;
use super::workspace::Writer;
use crate::{
    Engine, EngineConfig, Event, Input, JoinFault, Now, Output, OwnBranch, SessionId, StoreError, StoreOutcome,
    StreamHead,
};

/// What a replica keeps; it survives when the engine is dropped and started again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub entries: BTreeMap<StreamId, Vec<SealedEntry>>,
    pub changed_at: BTreeMap<StreamId, u64>,
    pub arrival: u64,
    pub memory: BTreeMap<ReplicaId, ArrivalNumber>,
    /// The first entry of each branch that was taken back.
    pub left: BTreeMap<StreamId, EntryHash>,
    pub fails_with: Option<StoreError>,
    /// A store failed before: what was asked meanwhile may build on what is not there.
    pub has_failed: bool,
    pub stores: usize,
    pub remembered: usize,
}

impl Store {
    pub fn head(&self, id: &StreamId) -> Option<StreamHead> {
        let last = self.entries.get(id)?.last()?;
        Some(StreamHead { id: *id, height: last.header.sequence, head: last.hash() })
    }

    pub fn heads(&self) -> Vec<StreamHead> {
        self.entries.keys().filter_map(|id| self.head(id)).collect()
    }

    /// Stores an entry and checks what the engine has promised about it.
    pub fn put(&mut self, entry: SealedEntry, workspace: WorkspaceId) -> StoreOutcome {
        entry.verify(workspace).expect("only verified entries are stored");
        let id = entry.header.stream;
        let stream = self.entries.entry(id).or_default();
        let height = stream.len() as u64;
        if entry.header.sequence.get() <= height {
            return StoreOutcome::AlreadyThere;
        }
        if self.left.get(&id) == Some(&entry.hash()) {
            return StoreOutcome::Forked;
        }
        if (self.has_failed || self.left.contains_key(&id)) && entry.header.sequence.get() > height + 1 {
            return StoreOutcome::Refused;
        }
        assert_eq!(entry.header.sequence.get(), height + 1, "entries are stored without gaps");
        assert_eq!(entry.header.previous, stream.last().map_or(EntryHash::default(), SealedEntry::hash));
        stream.push(entry);
        self.arrival += 1;
        self.changed_at.insert(id, self.arrival);
        StoreOutcome::Stored
    }

    fn compare(
        &self,
        stream: &StreamId,
        sequence: SequenceNumber,
        hash: EntryHash,
        previous: Option<EntryHash>,
    ) -> OwnBranch {
        let entries = self.entries.get(stream).map_or(&[][..], Vec::as_slice);
        let at = |number: u64| entries.get(number.checked_sub(1)? as usize).map(SealedEntry::hash);
        let before = if sequence.get() == 1 { Some(EntryHash::default()) } else { at(sequence.get() - 1) };
        let continues = previous.is_some() && previous == before;
        match at(sequence.get()) {
            Some(here) if here == hash => OwnBranch::Same,
            None if continues => OwnBranch::Same,
            _ if self.left.contains_key(stream) => OwnBranch::Settled,
            _ if continues => OwnBranch::Forked,
            _ => OwnBranch::ForkedBefore,
        }
    }

    fn changes_since(&self, since: ArrivalNumber) -> Vec<StreamHead> {
        let changed = self.changed_at.iter().filter(|(_, at)| **at > since.get());
        changed.filter_map(|(id, _)| self.head(id)).collect()
    }

    fn load(&self, stream: &StreamId, from: SequenceNumber, bytes_max: usize) -> Vec<SealedEntry> {
        let mut size = 0;
        let entries = self.entries.get(stream).into_iter().flatten();
        let entries = entries.skip(from.get().saturating_sub(1).min(usize::MAX as u64) as usize).enumerate();
        let fits = entries.take_while(|(index, entry)| {
            size += entry.byte_len();
            *index == 0 || size <= bytes_max
        });
        fits.map(|(_, entry)| entry.clone()).collect()
    }
}

/// One replica.
pub(crate) struct Node {
    pub keys: DeviceKeys,
    pub replica: ReplicaId,
    pub incarnation: IncarnationId,
    pub membership: Membership,
    pub store: Store,
    pub engine: Engine,
    pub events: Vec<Event>,
    pub disconnects: Vec<(SessionId, crate::Reason)>,
    pub scheduled: Option<u64>,
    /// Delivers frames of sessions; taken by the world.
    pub outgoing: VecDeque<(SessionId, Vec<u8>)>,
    /// The driver keeps its answers to itself until it is told to give them.
    pub withholds: bool,
    pub withheld: Vec<Input>,
    pub applies: usize,
    /// Forks of own streams that were found, with the last entry that both branches have.
    pub forks: Vec<(StreamId, SequenceNumber)>,
    forks_due: usize,
    /// The driver does not get round to taking back what forked.
    pub holds_forks: bool,
    pub comparisons: usize,
}

impl Node {
    pub fn new(keys: DeviceKeys, number: u8, membership: Membership) -> Self {
        let replica = ReplicaId::from_bytes([number; 16]);
        let incarnation = IncarnationId::from_bytes([number; 16]);
        let store = Store::default();
        let engine = Self::start(&keys, replica, incarnation, &membership, &store);
        Self {
            keys,
            replica,
            incarnation,
            membership,
            store,
            engine,
            events: Vec::new(),
            disconnects: Vec::new(),
            scheduled: None,
            outgoing: VecDeque::new(),
            withholds: false,
            withheld: Vec::new(),
            applies: 0,
            forks: Vec::new(),
            forks_due: 0,
            holds_forks: false,
            comparisons: 0,
        }
    }

    fn start(
        keys: &DeviceKeys,
        replica: ReplicaId,
        incarnation: IncarnationId,
        membership: &Membership,
        store: &Store,
    ) -> Engine {
        Engine::new(EngineConfig {
            keys: keys.clone(),
            membership: membership.clone(),
            replica,
            incarnation,
            arrival: ArrivalNumber::new(store.arrival),
            streams: store.heads(),
        })
    }

    /// Drops the engine and starts another on what is stored.
    pub fn restart(&mut self) {
        self.engine = Self::start(&self.keys, self.replica, self.incarnation, &self.membership, &self.store);
        self.scheduled = None;
        self.outgoing.clear();
        self.withheld.clear();
    }

    /// Seals an entry here and tells the engine.
    pub fn write(&mut self, workspace: &TestWorkspace, lane: u8, payload: &[u8], now: Now) {
        let entry = self.seal(workspace, lane, payload, Hlc::from_ms(now.unix_ms));
        let id = entry.header.stream;
        assert_eq!(self.store.put(entry, workspace.id()), StoreOutcome::Stored);
        let heads = self.store.head(&id).into_iter().collect();
        self.feed(workspace, Input::LocalHeads { arrival: ArrivalNumber::new(self.store.arrival), heads }, now);
    }

    /// Seals the entry that would come next here.
    pub fn seal(&self, workspace: &TestWorkspace, lane: u8, payload: &[u8], clock: Hlc) -> SealedEntry {
        let writer = Writer { keys: &self.keys, membership: &self.membership, incarnation: self.incarnation };
        let (author, incarnation) = (self.keys.author(), self.incarnation);
        let stream = StreamId { author, incarnation, lane: workspace.lane(lane) };
        let last = self.store.entries.get(&stream).and_then(|entries| entries.last());
        workspace.seal(&writer, lane, last, payload, clock)
    }

    /// Gives the engine an input and does what it asks for until there is nothing left to do but to send.
    pub fn feed(&mut self, workspace: &TestWorkspace, input: Input, now: Now) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.engine.handle(input, now) {
                match self.obey(workspace, output, now) {
                    Some(answer) if self.withholds => self.withheld.push(answer),
                    Some(answer) => inputs.push_back(answer),
                    None => {}
                }
            }
            if inputs.is_empty() && self.forks_due > 0 && !self.holds_forks {
                inputs.extend(self.take_back(workspace, now));
            }
        }
    }

    /// Takes own streams back to where they forked and seals as many entries under a new incarnation.
    fn take_back(&mut self, workspace: &TestWorkspace, now: Now) -> Vec<Input> {
        let due = self.forks.split_off(self.forks.len() - std::mem::take(&mut self.forks_due));
        if due.iter().any(|(stream, _)| stream.incarnation == self.incarnation) {
            self.incarnation = IncarnationId::from_bytes([self.incarnation.as_bytes()[0] + 0x40; 16]);
            self.replica = ReplicaId::from_bytes(*self.incarnation.as_bytes());
        }
        let mut inputs = vec![Input::Reincarnated { replica: self.replica, incarnation: self.incarnation }];
        let mut heads = Vec::new();
        for (stream, agreed) in &due {
            let stranded = self.store.entries.get_mut(stream).unwrap().split_off(agreed.get() as usize);
            self.store.left.insert(*stream, stranded[0].hash());
            let lane = workspace.lane_number(stream.lane);
            for entry in stranded {
                let anew = self.seal(workspace, lane, entry.hash().as_bytes(), Hlc::from_ms(now.unix_ms));
                let id = anew.header.stream;
                assert_eq!(self.store.put(anew, workspace.id()), StoreOutcome::Stored);
                heads.push(self.store.head(&id).unwrap());
            }
            let nothing = StreamHead { id: *stream, height: *agreed, head: EntryHash::default() };
            inputs.push(Input::CutBack { head: self.store.head(stream).unwrap_or(nothing) });
        }
        self.forks.extend(due);
        inputs.push(Input::LocalHeads { arrival: ArrivalNumber::new(self.store.arrival), heads });
        inputs
    }

    fn obey(&mut self, workspace: &TestWorkspace, output: Output, now: Now) -> Option<Input> {
        match output {
            Output::Send { session, frame } => {
                assert!(frame.len() <= crate::limits::FRAME_BYTES_MAX);
                self.outgoing.push_back((session, frame));
            }
            Output::Disconnect { session, reason } => self.disconnects.push((session, reason)),
            Output::Recall { session, replica } => {
                let remembered = self.store.memory.get(&replica).copied().unwrap_or_default();
                return Some(Input::Recalled { session, remembered });
            }
            Output::Remember { replica, arrival } => {
                self.store.remembered += 1;
                self.store.memory.insert(replica, arrival);
            }
            Output::LoadChanges { request, since } => {
                return Some(Input::Changes { request, streams: self.store.changes_since(since) });
            }
            Output::Load { request, stream, from, bytes_max } => {
                let entries = self.store.load(&stream, from, bytes_max);
                return Some(Input::Loaded { request, entries });
            }
            Output::Store { request, entries } => {
                if let Some(error) = self.store.fails_with {
                    self.store.has_failed = true;
                    return Some(Input::StoreError { request, error });
                }
                self.store.stores += 1;
                let outcomes = entries.into_iter().map(|entry| self.store.put(entry, workspace.id())).collect();
                let arrival = ArrivalNumber::new(self.store.arrival);
                return Some(Input::StoreDone { request, arrival, outcomes });
            }
            Output::Compare { session, stream, sequence, hash, previous } => {
                self.comparisons += 1;
                let branch = self.store.compare(&stream, sequence, hash, previous);
                let agreed = SequenceNumber::new(sequence.get().saturating_sub(1));
                if branch == OwnBranch::Forked && !self.forks.contains(&(stream, agreed)) {
                    self.forks.push((stream, agreed));
                    self.forks_due += 1;
                }
                return Some(Input::Compared { session, stream, sequence, hash, branch });
            }
            Output::StoreAdmin { request, operations } => {
                for operation in operations {
                    assert_eq!(self.membership.add(operation), Ok(Added::Added));
                }
                return Some(Input::AdminStored { request });
            }
            Output::Apply => self.applies += 1,
            Output::AskAdmit { session, request } => {
                let owner = self.keys.clone();
                return Some(match workspace.admit(&owner, &mut self.membership, &request, now.unix_ms) {
                    Ok(operation) => Input::Admitted { session, operations: vec![operation] },
                    Err(error) => Input::AdmitRefused { session, fault: fault_of(&error) },
                });
            }
            Output::Schedule { at_elapsed_ms } => self.scheduled = Some(at_elapsed_ms),
            Output::Joined { .. } => panic!("an engine does not join"),
            Output::Event(event) => self.events.push(event),
        }
        None
    }

    pub fn has_event(&self, matches: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(matches)
    }
}

fn fault_of(error: &AdminError) -> JoinFault {
    match error {
        AdminError::InviteExpired { .. } => JoinFault::Expired,
        AdminError::InviteUsed => JoinFault::Used,
        AdminError::InviteUnknown => JoinFault::Unknown,
        AdminError::Proof => JoinFault::Proof,
        AdminError::AlreadyMember { .. } => JoinFault::AlreadyMember,
        AdminError::NotAnOwner { .. } => JoinFault::NotAnOwner,
        _ => JoinFault::Busy,
    }
}
