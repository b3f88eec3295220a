//! Storing what was admitted, and waiting when the store cannot.
//!
//! Invariants:
//! 1. A height counts, is told and is answered for only after the store said that it is durable.
//! 2. While receiving waits, serving goes on and admin operations are still taken.

use std::collections::BTreeSet;

use kithdb_log::{ArrivalNumber, EntryHash, SequenceNumber};

use crate::engine::{Engine, InFlight, StoreInFlight};
use crate::input::{StoreError, StoreOutcome};
use crate::limits::{PAUSE_MS_FIRST, PAUSE_MS_MAX};
use crate::output::{Event, Output, Reason, Refusal};
use crate::types::{RequestId, SessionId, StreamHead};

impl Engine {
    /// Gives what was admitted to the store.
    pub(crate) fn flush_batch(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let batch = std::mem::take(&mut session.receive.batch);
        session.receive.batch_bytes = 0;
        session.receive.batch_deadline = None;
        if batch.is_empty() {
            return;
        }
        let request = self.next_request();
        let in_flight = batch.iter().map(|admitted| InFlight {
            stream: admitted.entry.header.stream,
            sequence: admitted.entry.header.sequence,
            hash: admitted.hash,
            len: admitted.len,
        });
        let store = StoreInFlight { session: id, items: in_flight.collect(), stale: false };
        self.stores.insert(request, store);
        self.put(Output::Store { request, entries: batch.into_iter().map(|admitted| admitted.entry).collect() });
    }

    pub(crate) fn on_store_done(&mut self, request: RequestId, arrival: ArrivalNumber, outcomes: &[StoreOutcome]) {
        let Some(StoreInFlight { session: id, items, stale }) = self.stores.remove(&request) else { return };
        self.arrival = self.arrival.max(arrival);
        self.pause_ms = PAUSE_MS_FIRST;
        self.release_unstored(id, &items);
        let (mut entries, mut bytes) = (0, 0);
        let mut grown: Vec<(_, SequenceNumber)> = Vec::new();
        let mut refused = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(outcome @ (StoreOutcome::Refused | StoreOutcome::Forked)) = outcomes.get(index) {
                if !stale && refused.insert(item.stream) {
                    self.refuse_stored(id, item, *outcome);
                }
                continue;
            }
            entries += 1;
            bytes += item.len as u64;
            if let Some(before) = self.streams.grow(item.stream, item.sequence, item.hash)
                && grown.last().is_none_or(|(stream, _)| *stream != item.stream)
            {
                grown.push((item.stream, before));
            }
        }
        if entries == 0 {
            return;
        }
        for (stream, before) in &grown {
            self.refresh(stream);
            self.announce(*stream, *before);
        }
        self.put(Output::Apply);
        self.report(Event::EntriesReceived { session: id, entries, bytes });
        if let Some(session) = self.sessions.get_mut(&id) {
            session.receive.have_entries += entries;
            let receive = &session.receive;
            let (have_entries, received_bytes) = (receive.have_entries, receive.received_bytes);
            let want_entries = receive.want_entries.max(have_entries);
            self.report(Event::Progress { session: id, have_entries, want_entries, received_bytes });
        }
    }

    fn release_unstored(&mut self, id: SessionId, items: &[InFlight]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let bytes: u64 = items.iter().map(|item| item.len as u64).sum();
        session.receive.unstored = session.receive.unstored.saturating_sub(bytes);
        self.touched.insert(id);
    }

    fn refuse_stored(&mut self, id: SessionId, item: &InFlight, outcome: StoreOutcome) {
        let mut kept = EntryHash::default();
        if let Some(stream) = self.streams.get_mut(&item.stream) {
            stream.roll_back();
            kept = stream.head;
        }
        let (stream, sequence) = (item.stream, item.sequence);
        self.report(if outcome == StoreOutcome::Forked {
            Event::Fork { session: id, stream, sequence, kept, refused: item.hash }
        } else {
            Event::Forged { session: id, stream: Some(stream), sequence: Some(sequence), refusal: Refusal::Store }
        });
        self.give_up_on(id, &item.stream);
    }

    pub(crate) fn on_store_error(&mut self, request: RequestId, error: StoreError) {
        if self.admin_stores.remove(&request).is_some() {
            return;
        }
        let Some(StoreInFlight { session: id, items, .. }) = self.stores.remove(&request) else { return };
        self.release_unstored(id, &items);
        let for_ms = self.pause_ms;
        self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS_MAX);
        self.paused_until = Some(self.now.elapsed_ms.saturating_add(for_ms));
        self.stop_receiving();
        self.report(Event::ReceivingPaused { disk_full: error == StoreError::DiskFull, for_ms });
    }

    /// Takes back every want and forgets what was admitted and is not durable: it will be asked for again.
    fn stop_receiving(&mut self) {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let dropped: usize = session.receive.batch.drain(..).map(|admitted| admitted.len).sum();
            session.receive.unstored = session.receive.unstored.saturating_sub(dropped as u64);
            session.receive.batch_bytes = 0;
            session.receive.batch_deadline = None;
            let wants = session.receive.wants.iter().filter(|pull| !pull.cancelled).map(|pull| pull.stream);
            for stream in wants.collect::<Vec<_>>() {
                self.cancel_pull(id, &stream);
            }
        }
        for store in self.stores.values_mut() {
            store.stale = true;
        }
        for stream in self.streams.roll_back_all() {
            self.refresh(&stream);
        }
    }

    pub(crate) fn resume(&mut self) {
        self.paused_until = None;
        self.report(Event::ReceivingResumed);
        self.touched.extend(self.sessions.keys().copied());
    }

    pub(crate) fn on_local_heads(&mut self, arrival: ArrivalNumber, heads: Vec<StreamHead>) {
        self.arrival = self.arrival.max(arrival);
        for head in heads {
            if let Some(before) = self.streams.grow(head.id, head.height, head.head) {
                self.refresh(&head.id);
                self.announce(head.id, before);
            }
        }
    }

    pub(crate) fn on_load_failed(&mut self, request: RequestId) {
        use crate::session::LoadPurpose;
        match self.loads.remove(&request) {
            Some(LoadPurpose::Serve(id) | LoadPurpose::Changes(id)) => self.close(id, Reason::OwnStore),
            Some(LoadPurpose::Push(stream, from)) => {
                self.pushes_loading -= 1;
                self.push_loaded(stream, from, Vec::new());
            }
            None => {}
        }
    }
}
