//! Meeting: two replicas find out what one has and the other lacks, at a cost that depends on what changed.
//!
//! Both send a summary. Equal digests end it there. Otherwise each lists the streams that grew since the arrival up to
//! which the other holds everything, and the other asks for what it lacks. At the end each says so with its digest: if the
//! digests still differ, the memory may be wrong (a restored file that counts on from an earlier arrival), and all streams are listed, once.

use kithdb_log::{ArrivalNumber, SequenceNumber, StreamId};

use crate::engine::Engine;
use crate::frame::Frame;
use crate::limits::{BEHIND_MAX, CAUGHT_MAX, HEADS_MAX};
use crate::output::{Event, Output, Reason};
use crate::session::LoadPurpose;
use crate::streams::Probe;
use crate::types::{Digest, RequestId, SessionId, StreamHead};

impl Engine {
    pub(crate) fn on_recalled(&mut self, id: SessionId, remembered: ArrivalNumber) {
        let replica = self.replica;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(peer) = session.peer().filter(|_| session.meeting.remembered.is_none()) else { return };
        // A twin counts arrivals under the same name; what is noted of one is not true of the other.
        let remembered = if peer.replica == replica { ArrivalNumber::new(0) } else { remembered };
        session.meeting.remembered = Some(remembered);
        session.meeting.noted = remembered;
        session.meeting.incomplete |= peer.replica == replica;
        if session.dialer || session.meeting.summary_received.is_some() {
            self.send_summary(id, remembered);
            self.compare(id);
        }
        self.touched.insert(id);
    }

    fn send_summary(&mut self, id: SessionId, remembered: ArrivalNumber) {
        let digest = self.digest();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.meeting.summary_sent = Some(digest);
        }
        self.send(id, &Frame::Summary { arrival: self.arrival, digest, remembered });
    }

    pub(crate) fn on_summary(
        &mut self,
        id: SessionId,
        arrival: ArrivalNumber,
        digest: Digest,
        remembered: ArrivalNumber,
    ) -> Result<(), Reason> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let is_early = session.dialer && session.meeting.summary_sent.is_none();
        if session.meeting.summary_received.is_some() || is_early {
            return Err(Reason::Unexpected("a summary comes once, the dialler's first"));
        }
        session.meeting.summary_received = Some((arrival, digest, remembered));
        session.hello_deadline = None;
        if let Some(recalled) = session.meeting.remembered.filter(|_| !session.dialer) {
            self.send_summary(id, recalled);
        }
        self.compare(id);
        Ok(())
    }

    /// Compares the two summaries once both are there.
    fn compare(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (Some(sent), Some((arrival, received, remembered))) =
            (session.meeting.summary_sent, session.meeting.summary_received)
        else {
            return;
        };
        if sent == received {
            session.meeting.is_told = true;
            session.meeting.told = arrival;
            session.meeting.is_caught_up = true;
            session.meeting.has_told = true;
            session.set_marked(self.arrival, self.now.elapsed_ms);
            // Both know that they are equal, so neither has to say so.
            session.meeting.caught_sent = true;
            self.streams.raise_all(id);
            self.report(Event::CaughtUp { session: id });
            self.report(Event::InStep { session: id });
            return;
        }
        // More than we ever counted is the memory of a life that a restored file has forgotten.
        let since = if remembered > self.arrival { ArrivalNumber::new(0) } else { remembered };
        session.meeting.since = since;
        self.ask_admin(id);
        self.load_changes(id, since);
    }

    /// Lists everything for live peers: what they remember may be of a life that a restored file has forgotten.
    pub(crate) fn list_all(&mut self) {
        let met = self.sessions.iter_mut().filter(|(_, session)| session.has_met());
        let partly =
            met.filter(|(_, session)| session.meeting.since > ArrivalNumber::new(0) && !session.meeting.full_sent);
        let partly: Vec<_> = partly
            .map(|(id, session)| {
                session.meeting.full_sent = true;
                *id
            })
            .collect();
        for id in partly {
            self.load_changes(id, ArrivalNumber::new(0));
        }
    }

    fn load_changes(&mut self, id: SessionId, since: ArrivalNumber) {
        let request = self.next_request();
        self.loads.insert(request, LoadPurpose::Changes(id));
        self.put(Output::LoadChanges { request, since });
    }

    pub(crate) fn on_changes(&mut self, request: RequestId, streams: Vec<StreamHead>) {
        let Some(LoadPurpose::Changes(id)) = self.loads.remove(&request) else { return };
        let heads: Vec<_> = streams.iter().filter_map(|head| self.head_for(id, &head.id)).collect();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.meeting.has_told = true;
        }
        self.send_heads(id, &heads, Some(true), self.arrival);
    }

    /// Returns what to tell a session of a stream; `None` if it has it.
    pub(crate) fn head_for(&self, session: SessionId, id: &StreamId) -> Option<StreamHead> {
        let stream = self.streams.get(id)?;
        // Equal heights are told too: the heads may differ, and then the author has forked.
        let is_news = stream.height > SequenceNumber::new(0) && stream.claimed_height(session) <= stream.height;
        is_news.then_some(StreamHead { id: *id, height: stream.height, head: stream.head })
    }

    /// Sends heads in as many frames as they take; the last carries the arrival and, for an answer, its end.
    pub(crate) fn send_heads(
        &mut self,
        id: SessionId,
        heads: &[StreamHead],
        complete: Option<bool>,
        arrival: ArrivalNumber,
    ) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.set_marked(arrival, self.now.elapsed_ms);
        }
        let mut rest = heads;
        loop {
            let (now, later) = rest.split_at(rest.len().min(HEADS_MAX));
            rest = later;
            let is_last = rest.is_empty();
            let frame = Frame::Have {
                arrival: if is_last { arrival } else { ArrivalNumber::new(0) },
                complete: is_last && complete == Some(true),
                heads: now.to_vec(),
            };
            self.send(id, &frame);
            if is_last {
                return;
            }
        }
    }

    pub(crate) fn on_have(
        &mut self,
        id: SessionId,
        arrival: ArrivalNumber,
        complete: bool,
        heads: &[StreamHead],
    ) -> Result<(), Reason> {
        for head in heads {
            self.take_claim(id, head);
        }
        self.take_told(id, arrival, complete);
        Ok(())
    }

    /// Notes that the peer has told everything up to an arrival of its own.
    pub(crate) fn take_told(&mut self, id: SessionId, arrival: ArrivalNumber, complete: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.meeting.is_told |= complete;
        if session.meeting.is_told {
            session.meeting.told = session.meeting.told.max(arrival);
        }
    }

    /// Notes what the peer says it has of a stream.
    pub(crate) fn take_claim(&mut self, id: SessionId, head: &StreamHead) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if head.height == SequenceNumber::new(0) {
            return;
        }
        let known = self.streams.get(&head.id);
        let stored = known.map_or(SequenceNumber::new(0), |stream| stream.height);
        if head.height > stored && session.behind.len() >= BEHIND_MAX && !session.behind.contains(&head.id) {
            session.meeting.incomplete = true;
            return;
        }
        let claimed = known.map_or(SequenceNumber::new(0), |stream| stream.claimed_height(id));
        let news = head.height.get().saturating_sub(claimed.max(stored).get());
        session.receive.want_entries = session.receive.want_entries.saturating_add(news);
        let stream = self.streams.entry(head.id);
        let is_other = stream.height == head.height && stream.head != head.head;
        stream.raise_claim(id, head.height);
        let claim = stream.claim_mut(id);
        if is_other && !claim.stuck && claim.probe.is_none() {
            claim.probe = Some(Probe::at(head.height));
        }
        let is_news = head.height > claimed && !claim.stuck;
        self.refresh(&head.id);
        if is_news && head.height < stored && head.id.author == self.keys.author() {
            self.compare_head(id, head);
        }
    }

    pub(crate) fn on_caught(&mut self, id: SessionId, arrival: ArrivalNumber, digest: Digest) -> Result<(), Reason> {
        self.take_told(id, arrival, false);
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.meeting.caught_count += 1;
        if session.meeting.caught_count > CAUGHT_MAX {
            return Err(Reason::TooManyQuestions);
        }
        session.meeting.caught_received = Some(digest);
        self.compare_after(id);
        Ok(())
    }

    /// Sees whether the session has what it was told of; reports and says so the first time.
    pub(crate) fn check_caught_up(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let is_done = session.meeting.is_told && session.behind.is_empty() && session.admin.asked.is_none();
        if !is_done || session.meeting.is_caught_up {
            return;
        }
        session.meeting.is_caught_up = true;
        let say = !std::mem::replace(&mut session.meeting.caught_sent, true);
        self.report(Event::CaughtUp { session: id });
        if say {
            let (digest, arrival) = (self.digest(), self.mark());
            if let Some(session) = self.sessions.get_mut(&id) {
                session.set_marked(arrival, self.now.elapsed_ms);
                session.meeting.caught_digest = Some(digest);
            }
            self.send(id, &Frame::Caught { arrival, digest });
            self.compare_after(id);
        } else {
            self.is_in_step(id);
        }
    }

    /// Tells whether both sides have said that they have caught up and hold the same now; reports it, and says so to a peer that was
    /// told another digest before.
    fn is_in_step(&mut self, id: SessionId) -> bool {
        let Some(meeting) = self.sessions.get(&id).map(|session| &session.meeting) else { return false };
        let Some(theirs) = meeting.caught_received.filter(|_| meeting.caught_sent) else { return false };
        let said = meeting.caught_digest;
        let digest = self.digest();
        if theirs != digest {
            return false;
        }
        self.streams.raise_all(id);
        self.report(Event::InStep { session: id });
        let arrival = if said.is_some_and(|said| said != digest) { Some(self.mark()) } else { None };
        if let (Some(session), Some(arrival)) = (self.sessions.get_mut(&id), arrival) {
            session.meeting.caught_digest = Some(digest);
            session.set_marked(arrival, self.now.elapsed_ms);
            self.send(id, &Frame::Caught { arrival, digest });
        }
        true
    }

    /// Compares the digests once both sides have said that they have caught up.
    fn compare_after(&mut self, id: SessionId) {
        if self.is_in_step(id) {
            return;
        }
        let Some(meeting) = self.sessions.get_mut(&id).map(|session| &mut session.meeting) else { return };
        // That something else changed meanwhile may be all, or hide that what the peer remembers is not so: nobody can tell.
        let is_over = meeting.caught_sent && meeting.caught_received.is_some();
        if is_over && meeting.since > ArrivalNumber::new(0) && !meeting.full_sent {
            meeting.full_sent = true;
            self.load_changes(id, ArrivalNumber::new(0));
        }
    }

    /// Notes how much of the peer is durable here, now and then.
    pub(crate) fn note(&mut self, id: SessionId) {
        let now = self.now.elapsed_ms;
        if self.sessions.get(&id).and_then(|session| session.note_deadline()).is_some_and(|at| at <= now) {
            self.note_now(id);
        }
    }

    /// Notes how much of the peer is durable here, if that is more than was noted.
    pub(crate) fn note_now(&mut self, id: SessionId) {
        let now = self.now.elapsed_ms;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (Some(peer), Some(_)) = (session.peer(), session.note_deadline()) else { return };
        session.meeting.noted = session.meeting.told;
        session.meeting.noted_at = Some(now);
        let arrival = session.meeting.told;
        self.put(Output::Remember { replica: peer.replica, arrival });
    }
}
