//! Who has a session with whom: pure decisions, no I/O, no clock.
//!
//! Invariants:
//! 1. At most one session per peer.
//! 2. When both sides open at once, the session opened by the smaller peer id (as bytes) stays and the other is refused, in whatever order the
//!    messages arrive; never both, never none.
//! 3. A peer that opens a session while we hold one with it has lost that one: the new one takes its place. An opening older than the held
//!    session is told apart by its number and refused.

use std::collections::HashMap;

use crate::event::SessionId;
use crate::handshake::{Instance, Preface, Reply, Verdict};
use crate::identity::PeerId;

/// The sessions and attempts of one network.
pub(crate) struct Arbiter {
    local: PeerId,
    instance: Instance,
    attempts: u64,
    sessions: u64,
    peers: HashMap<PeerId, Standing>,
}

/// How we stand with one peer.
#[derive(Default)]
struct Standing {
    /// The number of the attempt under way.
    opening: Option<u64>,
    live: Option<Live>,
}

struct Live {
    session: SessionId,
    /// The peer's attempts up to this one are older than the session.
    instance: Instance,
    void_through: u64,
}

/// What to do with an opening by a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inbound {
    pub(crate) reply: Reply,
    /// The new session if accepted, and the one it replaces.
    pub(crate) accepted: Option<(SessionId, Option<SessionId>)>,
}

/// What to do with the answer to our opening.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outbound {
    /// The session is open.
    Open(SessionId),
    /// The peer's own opening is the one that counts; look again after a while.
    Wait,
    /// The peer takes no more sessions.
    Full,
    /// A newer session or attempt stands; drop the stream.
    Stale,
}

impl Arbiter {
    pub(crate) fn new(local: PeerId, instance: Instance) -> Self {
        Self { local, instance, attempts: 0, sessions: 0, peers: HashMap::new() }
    }

    /// Returns the open session with this peer.
    pub(crate) fn session(&self, peer: &PeerId) -> Option<SessionId> {
        Some(self.peers.get(peer)?.live.as_ref()?.session)
    }

    /// Tells whether we are opening a session with this peer.
    pub(crate) fn is_opening(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|p| p.opening.is_some())
    }

    /// Starts an attempt, unless there is a session or an attempt already.
    pub(crate) fn begin(&mut self, peer: PeerId) -> Option<Preface> {
        let standing = self.peers.entry(peer).or_default();
        if standing.live.is_some() || standing.opening.is_some() {
            return None;
        }
        self.attempts += 1;
        standing.opening = Some(self.attempts);
        Some(Preface { instance: self.instance, attempt: self.attempts })
    }

    /// Gives up an attempt; false if it did not stand any more.
    pub(crate) fn abandon(&mut self, peer: PeerId, attempt: u64) -> bool {
        let Some(standing) = self.peers.get_mut(&peer) else {
            return false;
        };
        let stood = standing.opening == Some(attempt);
        if stood {
            standing.opening = None;
        }
        self.forget_if_idle(peer);
        stood
    }

    /// Judges an opening by a peer.
    pub(crate) fn inbound(&mut self, peer: PeerId, preface: Preface, room: bool) -> Inbound {
        let standing = self.peers.entry(peer).or_default();
        let leftover = standing
            .live
            .as_ref()
            .is_some_and(|live| live.instance == preface.instance && preface.attempt <= live.void_through);
        let ours_wins = standing.opening.is_some() && self.local.to_bytes() < peer.to_bytes();
        let verdict = if leftover || ours_wins {
            Verdict::Collision
        } else if !room {
            Verdict::Full
        } else {
            Verdict::Accept
        };
        let accepted = (verdict == Verdict::Accept).then(|| {
            self.sessions += 1;
            let session = SessionId(self.sessions);
            standing.opening = None;
            let old =
                standing.live.replace(Live { session, instance: preface.instance, void_through: preface.attempt });
            (session, old.map(|live| live.session))
        });
        self.forget_if_idle(peer);
        Inbound { reply: Reply { verdict, instance: self.instance, void_through: self.attempts }, accepted }
    }

    /// Judges the answer to our opening.
    pub(crate) fn outbound(&mut self, peer: PeerId, attempt: u64, reply: Reply) -> Outbound {
        let Some(standing) = self.peers.get_mut(&peer) else {
            return Outbound::Stale;
        };
        if standing.opening != Some(attempt) || standing.live.is_some() {
            return Outbound::Stale;
        }
        standing.opening = None;
        let outcome = match reply.verdict {
            Verdict::Accept => {
                self.sessions += 1;
                let session = SessionId(self.sessions);
                standing.live = Some(Live { session, instance: reply.instance, void_through: reply.void_through });
                Outbound::Open(session)
            }
            Verdict::Collision => Outbound::Wait,
            Verdict::Full => Outbound::Full,
        };
        self.forget_if_idle(peer);
        outcome
    }

    /// Notes that a session is over.
    pub(crate) fn closed(&mut self, peer: PeerId, session: SessionId) {
        if let Some(standing) = self.peers.get_mut(&peer)
            && standing.live.as_ref().is_some_and(|l| l.session == session)
        {
            standing.live = None;
        }
        self.forget_if_idle(peer);
    }

    fn forget_if_idle(&mut self, peer: PeerId) {
        if self.peers.get(&peer).is_some_and(|p| p.live.is_none() && p.opening.is_none()) {
            self.peers.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests;
