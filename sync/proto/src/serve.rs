//! Serving: answering wants in order, as far as the peer's credit goes.
//!
//! Invariants:
//! 1. Bytes in memory for one peer are one load; bytes for all peers together are bounded.
//! 2. An answer always ends with an end frame; what stops without one was cut.

use kithdb_log::codec::put_bytes;
use kithdb_log::{SealedEntry, SequenceNumber, StreamId};

use crate::engine::Engine;
use crate::frame::{Frame, WantId};
use crate::limits::{CHUNK_BYTES, CREDIT_BYTES_MAX, LOAD_BYTES, SERVE_BYTES_MAX, SERVE_IDLE_MS_MAX, WANTS_SERVED_MAX};
use crate::output::{Output, Reason};
use crate::session::{LoadPurpose, Range, Serve};
use crate::types::{RequestId, SessionId};

impl Serve {
    /// Gives up the loaded bytes; they are loaded again when the peer grants credit.
    pub fn release(&mut self) {
        if let Some(range) = self.ranges.front_mut() {
            range.skip += self.sent;
            range.next = range.base;
        }
        self.drop_buffer();
    }

    fn drop_buffer(&mut self) {
        self.buffer = Vec::new();
        self.sent = 0;
        self.idle_deadline = None;
    }

    /// Returns how many bytes may be sent now.
    fn room(&self) -> u64 {
        if self.writable { self.credit } else { 0 }
    }
}

impl Engine {
    pub(crate) fn on_want(
        &mut self,
        id: SessionId,
        want: WantId,
        stream: StreamId,
        from: SequenceNumber,
        credit: u64,
    ) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if want <= session.serve.last_id || from == SequenceNumber::new(0) {
            return Err(Reason::Unexpected("a want that is out of order"));
        }
        if session.serve.ranges.len() >= WANTS_SERVED_MAX {
            return Err(Reason::TooManyWants);
        }
        session.serve.last_id = want;
        session.serve.credit = session.serve.credit.saturating_add(credit).min(CREDIT_BYTES_MAX);
        let until = self.streams.get(&stream).map_or(SequenceNumber::new(0), |stream| stream.height);
        let range = Range { id: want, stream, next: from, base: from, until, offset: 0, skip: 0 };
        session.serve.ranges.push_back(range);
        Ok(())
    }

    pub(crate) fn on_cancel(&mut self, id: SessionId, want: WantId) -> Result<(), Reason> {
        let now = self.now.elapsed_ms;
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.spend_question(now)?;
        let serve = &mut session.serve;
        let Some(index) = serve.ranges.iter().position(|range| range.id == want) else {
            // The answer may have ended while the cancel was on its way.
            return if want <= serve.last_id { Ok(()) } else { Err(Reason::Unexpected("a cancel of nothing")) };
        };
        let range = &mut serve.ranges[index];
        // Nothing more to send: the end frame follows in its turn.
        range.until = SequenceNumber::new(0);
        if index == 0 {
            serve.drop_buffer();
            if let Some(request) = serve.load.take() {
                self.loads.remove(&request);
            }
        }
        Ok(())
    }

    pub(crate) fn on_credit(&mut self, id: SessionId, bytes: u64) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.serve.credit = session.serve.credit.saturating_add(bytes).min(CREDIT_BYTES_MAX);
        Ok(())
    }

    /// Sends as much of the answers as credit allows and asks the store for more.
    pub(crate) fn serve_ranges(&mut self, id: SessionId) -> Result<(), Reason> {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
            let serve = &mut session.serve;
            let room = serve.room();
            let Some(range) = serve.ranges.front_mut() else { return Ok(()) };
            if serve.sent < serve.buffer.len() {
                if room == 0 {
                    serve.idle_deadline.get_or_insert(self.now.elapsed_ms.saturating_add(SERVE_IDLE_MS_MAX));
                    return Ok(());
                }
                serve.idle_deadline = None;
                let left = serve.buffer.len() - serve.sent;
                let len = left.min(CHUNK_BYTES).min(usize::try_from(room).unwrap_or(usize::MAX));
                let bytes = &serve.buffer[serve.sent..serve.sent + len];
                let frame = Frame::Data { id: range.id, offset: range.offset, bytes }.encode();
                range.offset += len as u64;
                serve.sent += len;
                serve.credit -= len as u64;
                self.put(Output::Send { session: id, frame });
                continue;
            }
            if !serve.buffer.is_empty() {
                serve.drop_buffer();
                continue;
            }
            if serve.load.is_some() {
                return Ok(());
            }
            let (stream, next) = (range.stream, range.next);
            if next > range.until {
                let (want, until) = (range.id, range.until);
                serve.ranges.pop_front();
                self.send(id, &Frame::End { id: want, next });
                self.after_end(id, stream, next, until);
                continue;
            }
            if room == 0 {
                return Ok(());
            }
            range.base = next;
            let loaded: usize = self.sessions.values().map(|session| session.serve.buffer.len()).sum();
            if loaded > SERVE_BYTES_MAX {
                return Ok(());
            }
            let request = self.next_request();
            if let Some(session) = self.sessions.get_mut(&id) {
                session.serve.load = Some(request);
            }
            self.loads.insert(request, LoadPurpose::Serve(id));
            self.put(Output::Load { request, stream, from: next, bytes_max: LOAD_BYTES });
            return Ok(());
        }
    }

    /// After an answer the peer is known to have what it was sent; what grew meanwhile is told.
    fn after_end(&mut self, id: SessionId, stream: StreamId, next: SequenceNumber, until: SequenceNumber) {
        self.wake_waiting();
        let Some(known) = self.streams.get_mut(&stream).filter(|known| known.height > SequenceNumber::new(0)) else {
            return;
        };
        let sent = SequenceNumber::new(next.get().saturating_sub(1));
        if until > SequenceNumber::new(0) && sent <= known.height {
            known.raise_claim(id, sent);
        }
        if known.height > known.claimed_height(id)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.outbox.insert(stream);
        }
    }

    pub(crate) fn on_loaded(&mut self, request: RequestId, entries: Vec<SealedEntry>) {
        match self.loads.remove(&request) {
            Some(LoadPurpose::Serve(id)) => self.serve_loaded(id, &entries),
            Some(LoadPurpose::Push(stream, from)) => {
                self.pushes_loading -= 1;
                self.push_loaded(stream, from, entries);
            }
            Some(purpose @ LoadPurpose::Changes(_)) => {
                self.loads.insert(request, purpose);
            }
            None => {}
        }
    }

    fn serve_loaded(&mut self, id: SessionId, entries: &[SealedEntry]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let serve = &mut session.serve;
        serve.load = None;
        let Some(range) = serve.ranges.front_mut() else { return };
        for entry in entries {
            if entry.header.stream != range.stream || entry.header.sequence != range.next {
                break;
            }
            if range.next > range.until {
                break;
            }
            range.next = range.next.next();
            put_bytes(&mut serve.buffer, &entry.encode());
        }
        serve.sent = std::mem::take(&mut range.skip).min(serve.buffer.len());
        if serve.buffer.is_empty() {
            // The store has less than its heights say: end here rather than ask again and again.
            range.until = SequenceNumber::new(0);
        }
        self.touched.insert(id);
    }
}
