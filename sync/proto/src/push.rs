//! Telling live peers what is new: small entries go out at once to peers that can take them, heads to all others.

use kithdb_log::{ArrivalNumber, SealedEntry, SequenceNumber, StreamId};

use crate::engine::Engine;
use crate::frame::Frame;
use crate::limits::PUSH_BYTES_MAX;
use crate::output::Output;
use crate::session::{LoadPurpose, Session};
use crate::types::{SessionId, StreamHead};

impl Engine {
    /// Tells live peers that a stream grew; a peer that is known to have it already, as its source is, hears nothing.
    pub(crate) fn announce(&mut self, id: StreamId, before: SequenceNumber) {
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.is_pushing {
            // What is being loaded is followed by what grew meanwhile.
            return;
        }
        let lacks = |(session_id, session): &(&SessionId, &mut Session)| {
            session.is_live() && stream.claimed_height(**session_id) < stream.height
        };
        let mut can_push = false;
        for (session_id, session) in self.sessions.iter_mut().filter(lacks) {
            can_push |= session.serve.credit > 0 && stream.claimed_height(*session_id) == before;
        }
        if can_push {
            self.load_push(id, before.next());
            return;
        }
        for (_, session) in self.sessions.iter_mut().filter(lacks) {
            // Whoever is being answered about this stream is told at the end of the answer.
            if !session.serve.ranges.iter().any(|range| range.stream == id) {
                session.outbox.insert(id);
            }
        }
    }

    fn load_push(&mut self, id: StreamId, from: SequenceNumber) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_pushing = true;
        }
        let request = self.next_request();
        self.pushes_loading += 1;
        self.loads.insert(request, LoadPurpose::Push(id, from));
        self.put(Output::Load { request, stream: id, from, bytes_max: PUSH_BYTES_MAX });
    }

    /// Pushes what was loaded to every live peer that lacks exactly that; the others are told of it.
    pub(crate) fn push_loaded(&mut self, id: StreamId, from: SequenceNumber, entries: Vec<SealedEntry>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.is_pushing = false;
        let height = stream.height;
        let before = SequenceNumber::new(from.get().saturating_sub(1));
        let encoded: Vec<_> = entries.iter().map(SealedEntry::encode).collect();
        let bytes: usize = encoded.iter().map(Vec::len).sum();
        let last = entries.last().map(|entry| entry.header.sequence).filter(|_| bytes <= PUSH_BYTES_MAX);
        let arrival = if last == Some(height) { self.mark() } else { self.announced };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let mut pushed = Vec::new();
        for (session_id, session) in self.sessions.iter_mut().filter(|(_, session)| session.is_live()) {
            let claimed = stream.claimed_height(*session_id);
            if claimed >= height {
                continue;
            }
            match last {
                Some(last) if claimed == before && session.serve.credit >= bytes as u64 && session.has_met() => {
                    session.serve.credit -= bytes as u64;
                    session.set_marked(arrival, self.now.elapsed_ms);
                    stream.raise_claim(*session_id, last);
                    pushed.push(*session_id);
                    if last < height {
                        session.outbox.insert(id);
                    }
                }
                _ if !session.serve.ranges.iter().any(|range| range.stream == id) => {
                    session.outbox.insert(id);
                }
                _ => {}
            }
        }
        if !pushed.is_empty() {
            let frame = Frame::Push { arrival, entries: encoded.iter().map(Vec::as_slice).collect() }.encode();
            for session in pushed {
                self.put(Output::Send { session, frame: frame.clone() });
            }
        }
    }

    /// Returns the arrival up to which live peers know everything once the outboxes are empty.
    pub(crate) fn mark(&mut self) -> ArrivalNumber {
        if self.pushes_loading == 0 {
            self.announced = self.arrival;
        }
        self.announced
    }

    /// Sends the heads that peers are to hear of.
    pub(crate) fn flush_outboxes(&mut self) {
        let waiting = self.sessions.iter().filter(|(_, session)| !session.outbox.is_empty() && session.is_live());
        let waiting: Vec<SessionId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let outbox = std::mem::take(&mut session.outbox);
            let heads = outbox.iter().filter_map(|stream| self.head_for(id, stream));
            let heads: Vec<_> = heads.filter(|head| !self.is_known_to(id, head)).collect();
            if !heads.is_empty() {
                let arrival = self.mark();
                self.send_heads(id, &heads, None, arrival);
            }
        }
    }

    /// Tells peers now and then how far they were told everything, so that they need not hear it again after a cut: what
    /// came from a peer raises the count here and is never sent back.
    pub(crate) fn send_marks(&mut self) {
        let (arrival, now) = (self.mark(), self.now.elapsed_ms);
        let due = self.sessions.iter().filter(|(_, s)| s.mark_deadline(arrival).is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send_heads(id, &[], None, arrival);
        }
    }

    fn is_known_to(&self, session: SessionId, head: &StreamHead) -> bool {
        self.streams.get(&head.id).is_some_and(|stream| stream.claimed_height(session) >= head.height)
    }
}
