//! Receiving: asking for what is missing, putting chunks together, admitting what comes.
//!
//! Invariants:
//! 1. A peer sends what it was asked for, in the order it was asked, within the credit it was granted.
//! 2. What waits in memory is bounded: the window, and one entry under way for each session.

use kithdb_log::codec::{DecodeError, Reader};
use kithdb_log::{ArrivalNumber, EntryHash, SealedEntry, SequenceNumber, StreamId};

use crate::admit::{Verdict, judge};
use crate::engine::Engine;
use crate::frame::{Frame, WantId};
use crate::limits::{
    ASSEMBLY_BYTES_MAX, CREDIT_BYTES_INITIAL, ENTRY_BYTES_MAX, FALSE_CLAIMS_MAX, STALL_BYTES, STALL_MS_MAX,
    STORE_BYTES, STORE_DELAY_MS, WANTS_OUTSTANDING_MAX, WINDOW_BYTES,
};
use crate::output::{Event, Reason, Refusal};
use crate::session::{Admitted, Pull};
use crate::types::{SessionId, StreamHead};

impl Engine {
    /// Asks the peer for streams that nobody is being asked for.
    pub(crate) fn schedule_pulls(&mut self, id: SessionId) {
        if self.paused_until.is_some() {
            return;
        }
        loop {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| session.has_met()) else { return };
            if session.receive.wants.len() >= WANTS_OUTSTANDING_MAX {
                return;
            }
            let Some(stream_id) = session.todo.pop_first() else { return };
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            let Some(claim) = stream.claim(id).copied().filter(|claim| !claim.stuck) else { continue };
            if stream.pull.is_some() || stream.is_held {
                continue;
            }
            let is_ahead = claim.height > stream.pending_height;
            let next = claim.probe.map_or(stream.pending_height.next(), |probe| probe.from);
            stream.pull = Some(id);
            session.receive.last_id = WantId(session.receive.last_id.0 + 1);
            let want = session.receive.last_id;
            session.meeting.is_caught_up &= !is_ahead;
            let claimed = claim.height;
            let pull = Pull { id: want, stream: stream_id, next, claimed, offset: 0, cancelled: false };
            session.receive.wants.push_back(pull);
            self.refresh(&stream_id);
            let credit = self.take_grant(id);
            self.send(id, &Frame::Want { id: want, stream: stream_id, from: next, credit });
        }
    }

    /// Computes how much more credit the peer is to get, and counts it as granted.
    fn take_grant(&mut self, id: SessionId) -> u64 {
        if self.paused_until.is_some() {
            return 0;
        }
        let total: usize = self.sessions.values().map(|session| session.receive.buffer.len()).sum();
        let largest = self.sessions.values().map(|session| session.receive.buffer.len()).max().unwrap_or(0);
        let Some(session) = self.sessions.get_mut(&id) else { return 0 };
        let receive = &mut session.receive;
        if total > ASSEMBLY_BYTES_MAX && receive.buffer.len() < largest {
            return 0;
        }
        let target = if receive.wants.is_empty() { CREDIT_BYTES_INITIAL } else { WINDOW_BYTES };
        let held = receive.granted.saturating_add(receive.unstored);
        if held > target / 2 {
            return 0;
        }
        receive.granted += target - held;
        target - held
    }

    /// Grants the peer more credit if it is due, and watches a peer that owes us something.
    pub(crate) fn top_up(&mut self, id: SessionId) {
        if !self.sessions.get(&id).is_some_and(|session| session.has_met()) {
            return;
        }
        let bytes = self.take_grant(id);
        if bytes > 0 {
            self.send(id, &Frame::Credit { bytes });
        }
        let deadline = self.now.elapsed_ms.saturating_add(STALL_MS_MAX);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let receive = &mut session.receive;
        if receive.wants.is_empty() || receive.granted == 0 {
            receive.stall_deadline = None;
        } else if receive.stall_deadline.is_none() || receive.progress_bytes >= STALL_BYTES {
            receive.progress_bytes = 0;
            receive.stall_deadline = Some(deadline);
        }
    }

    pub(crate) fn on_data(&mut self, id: SessionId, want: WantId, offset: u64, bytes: &[u8]) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if bytes.is_empty() {
            return Err(Reason::Unexpected("data without bytes"));
        }
        session.spend_credit(bytes.len() as u64)?;
        let Some(pull) = session.receive.wants.front_mut().filter(|pull| pull.id == want && pull.offset == offset)
        else {
            return Err(Reason::Unexpected("data that was not due"));
        };
        pull.offset += bytes.len() as u64;
        if pull.cancelled {
            return Ok(());
        }
        let stream = pull.stream;
        let mut buffer = std::mem::take(&mut session.receive.buffer);
        buffer.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            match split_entry(&buffer[used..]) {
                Ok(None) => break,
                Ok(Some((entry_bytes, len))) => {
                    used += len;
                    if !self.take_pulled(id, want, entry_bytes)? {
                        used = buffer.len();
                        break;
                    }
                }
                Err(refusal) => {
                    used = buffer.len();
                    self.refuse(id, Some(stream), None, refusal)?;
                    break;
                }
            }
        }
        buffer.drain(..used);
        if buffer.is_empty() && buffer.capacity() > STORE_BYTES {
            buffer = Vec::new();
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.receive.buffer = buffer;
        }
        self.plan_batch(id);
        Ok(())
    }

    /// Judges one entry of an answer; returns whether to go on with the answer.
    fn take_pulled(&mut self, id: SessionId, want: WantId, bytes: &[u8]) -> Result<bool, Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(false) };
        let Some(pull) = session.receive.wants.front_mut().filter(|pull| pull.id == want) else { return Ok(false) };
        let (stream, expected) = (pull.stream, pull.next);
        let entry = match SealedEntry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => return self.refuse(id, Some(stream), Some(expected), Refusal::Malformed(error)),
        };
        let found = entry.header.sequence;
        if entry.header.stream != stream {
            return self.refuse(id, Some(stream), Some(found), Refusal::OtherStream);
        }
        if found != expected {
            return self.refuse(id, Some(stream), Some(found), Refusal::OutOfOrder { expected, found });
        }
        pull.next = expected.next();
        self.take_entry(id, entry, bytes.len())
    }

    /// Judges an entry and does what follows; returns whether entries after it can be of use.
    pub(crate) fn take_entry(&mut self, id: SessionId, entry: SealedEntry, len: usize) -> Result<bool, Reason> {
        let (stream, sequence) = (entry.header.stream, entry.header.sequence);
        let is_own = stream.author == self.keys.author();
        match judge(&entry, self.workspace, &self.membership, self.streams.get(&stream), is_own) {
            Verdict::Take(hash) => {
                self.admit(id, entry, hash, len);
                Ok(true)
            }
            Verdict::Duplicate => Ok(true),
            // What is looked through is judged further on; what lies beyond is asked for when that is done.
            Verdict::Gap if is_own && self.is_probing(id, &stream) => Ok(true),
            Verdict::Gap => {
                let head = entry.hash();
                self.cancel_pull(id, &stream);
                self.take_claim(id, &StreamHead { id: stream, height: sequence, head });
                Ok(false)
            }
            Verdict::Own(hash) => Ok(self.compare_entry(id, &entry, hash)),
            Verdict::Fork { sequence, kept, refused } => {
                self.report(Event::Fork { session: id, stream, sequence, kept, refused });
                self.show_branch(id, &stream);
                self.give_up_on(id, &stream);
                Ok(false)
            }
            Verdict::UnknownFrontier(error) => {
                let Some(session) = self.sessions.get_mut(&id) else { return Ok(false) };
                if session.admin.retried.contains(&stream) {
                    return self.refuse(id, Some(stream), Some(sequence), Refusal::NotAllowed(error));
                }
                session.admin.awaiting.insert(stream);
                let head = entry.hash();
                self.cancel_pull(id, &stream);
                self.take_claim(id, &StreamHead { id: stream, height: sequence, head });
                self.ask_admin(id);
                Ok(false)
            }
            Verdict::Refuse(refusal) => self.refuse(id, Some(stream), Some(sequence), refusal),
        }
    }

    fn admit(&mut self, id: SessionId, entry: SealedEntry, hash: EntryHash, len: usize) {
        let (stream_id, sequence, clock) = (entry.header.stream, entry.header.sequence, entry.header.clock);
        let before = self.streams.entry(stream_id).pending_session.replace(id);
        if let Some(before) = before.filter(|before| *before != id) {
            // What this entry builds on may wait there for more, and must be stored first.
            self.flush_batch(before);
        }
        let stream = self.streams.entry(stream_id);
        stream.pending_height = sequence;
        stream.pending_head = hash;
        stream.raise_claim(id, sequence);
        if stream_id.author == self.keys.author()
            && stream_id.incarnation == self.incarnation
            && self.own_ahead.insert(stream_id)
        {
            self.report(Event::OwnStreamAhead { session: id, stream: stream_id, sequence });
        }
        if clock.is_ahead_of(self.now.unix_ms) {
            let ahead_ms = clock.unix_ms() - self.now.unix_ms;
            self.report(Event::ClockAhead { stream: stream_id, sequence, ahead_ms });
        }
        self.refresh(&stream_id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.admin.retried.remove(&stream_id);
        session.receive.unstored = session.receive.unstored.saturating_add(len as u64);
        session.receive.batch_bytes += len;
        session.receive.batch.push(Admitted { entry, hash, len });
    }

    /// Stores the batch if it is large enough or the peer waits for us; else it waits a little for more.
    fn plan_batch(&mut self, id: SessionId) {
        let deadline = self.now.elapsed_ms.saturating_add(STORE_DELAY_MS);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let receive = &mut session.receive;
        if receive.batch_bytes >= STORE_BYTES || receive.granted == 0 {
            self.flush_batch(id);
        } else if !receive.batch.is_empty() && receive.batch_deadline.is_none() {
            receive.batch_deadline = Some(deadline);
        }
    }

    /// Reports an entry that is refused and stops asking this peer for its stream.
    pub(crate) fn refuse(
        &mut self,
        id: SessionId,
        stream: Option<StreamId>,
        sequence: Option<SequenceNumber>,
        refusal: Refusal,
    ) -> Result<bool, Reason> {
        self.report(Event::Forged { session: id, stream, sequence, refusal });
        if let Some(stream) = stream {
            self.give_up_on(id, &stream);
        }
        self.count_invalid(id)?;
        Ok(false)
    }

    /// Stops asking this peer for this stream.
    pub(crate) fn give_up_on(&mut self, id: SessionId, stream: &StreamId) {
        self.cancel_pull(id, stream);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.meeting.incomplete = true;
            session.admin.awaiting.remove(stream);
        }
        if let Some(known) = self.streams.get_mut(stream) {
            let claim = known.claim_mut(id);
            claim.stuck = true;
            claim.probe = None;
            self.refresh(stream);
        }
    }

    /// Takes back the want for a stream, if there is one.
    pub(crate) fn cancel_pull(&mut self, id: SessionId, stream: &StreamId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let wants = session.receive.wants.iter_mut().enumerate();
        let found = wants.filter(|(_, pull)| !pull.cancelled).find(|(_, pull)| pull.stream == *stream);
        let Some((index, pull)) = found else { return };
        pull.cancelled = true;
        let want = pull.id;
        if index == 0 {
            session.receive.buffer = Vec::new();
        }
        if let Some(known) = self.streams.get_mut(stream).filter(|known| known.pull == Some(id)) {
            known.pull = None;
        }
        self.send(id, &Frame::Cancel { id: want });
        self.refresh(stream);
    }

    pub(crate) fn on_end(&mut self, id: SessionId, want: WantId, next: SequenceNumber) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if session.receive.wants.front().is_none_or(|pull| pull.id != want) {
            return Err(Reason::Unexpected("an end that was not due"));
        }
        let Some(pull) = session.receive.wants.pop_front() else { return Ok(()) };
        let is_whole = session.receive.buffer.is_empty();
        session.receive.buffer = Vec::new();
        session.receive.stall_deadline = None;
        if pull.cancelled {
            return Ok(());
        }
        if !is_whole || next != pull.next {
            return Err(Reason::Unexpected("an end that does not fit what was sent"));
        }
        self.flush_batch(id);
        let found = SequenceNumber::new(next.get().saturating_sub(1));
        let Some(stream) = self.streams.get_mut(&pull.stream) else { return Ok(()) };
        stream.pull = None;
        let claim = stream.claim_mut(id);
        claim.probe = None;
        let is_false = found < pull.claimed;
        if is_false {
            claim.height = found;
        }
        self.refresh(&pull.stream);
        if is_false {
            let (stream, claimed) = (pull.stream, pull.claimed);
            self.report(Event::FalseClaim { session: id, stream, claimed, found });
            self.count_false_claim(id)?;
        }
        Ok(())
    }

    fn count_false_claim(&mut self, id: SessionId) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.false_claim_count += 1;
        if session.false_claim_count >= FALSE_CLAIMS_MAX { Err(Reason::TooManyFalseClaims) } else { Ok(()) }
    }

    pub(crate) fn on_push(&mut self, id: SessionId, arrival: ArrivalNumber, entries: &[&[u8]]) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.spend_credit(entries.iter().map(|entry| entry.len() as u64).sum())?;
        for bytes in entries {
            let entry = match SealedEntry::decode(bytes) {
                Ok(entry) => entry,
                Err(error) => {
                    self.refuse(id, None, None, Refusal::Malformed(error))?;
                    continue;
                }
            };
            let (stream, height) = (entry.header.stream, entry.header.sequence);
            if self.paused_until.is_some() {
                self.take_claim(id, &StreamHead { id: stream, height, head: entry.hash() });
            } else {
                self.take_entry(id, entry, bytes.len())?;
            }
        }
        self.flush_batch(id);
        self.take_told(id, arrival, false);
        Ok(())
    }
}

/// Splits the first entry off an answer: its bytes, and how many bytes it takes with its length; `None` if it is not all there.
fn split_entry(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Refusal> {
    let mut reader = Reader::new(bytes);
    let size_bytes = match reader.varint("entry length") {
        Ok(size) => size,
        Err(DecodeError::Truncated { .. }) => return Ok(None),
        Err(error) => return Err(Refusal::Malformed(error)),
    };
    if size_bytes > ENTRY_BYTES_MAX as u64 {
        return Err(Refusal::TooLarge { size_bytes });
    }
    match reader.take(size_bytes as usize, "entry") {
        Ok(entry) => Ok(Some((entry, bytes.len() - reader.rest().len()))),
        Err(_) => Ok(None),
    }
}
