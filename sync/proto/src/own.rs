//! Streams of this device's own of which a peer holds another branch: the file was restored from a copy and has written since.
//!
//! The driver knows the stored entries, so it compares: [`Output::Compare`]. A peer that names a head that is not ours is asked for that
//! entry; where the branches part still earlier it is asked again from further back, twice as far each time, so that a long branch
//! costs few rounds and is fetched no more than about twice.
//!
//! Invariants:
//! 1. Nothing is taken back on a mere claim: the peer must show an entry that this device signed.
//! 2. From the moment the fork is found until the driver has said where the stream ends, nobody is asked for the stream.

use kithdb_log::{EntryHash, SealedEntry, SequenceNumber, StreamId};

use crate::engine::Engine;
use crate::output::{Event, Output};
use crate::streams::Probe;
use crate::types::{OwnBranch, SessionId, StreamHead};

impl Engine {
    /// Has a head that a peer names below ours compared.
    pub(crate) fn compare_head(&mut self, session: SessionId, head: &StreamHead) {
        let StreamHead { id: stream, height: sequence, head: hash } = *head;
        self.put(Output::Compare { session, stream, sequence, hash, previous: None });
    }

    /// Has an entry that a peer shows compared; returns whether entries after it can be of use.
    pub(crate) fn compare_entry(&mut self, session: SessionId, entry: &SealedEntry, hash: EntryHash) -> bool {
        let (stream, sequence) = (entry.header.stream, entry.header.sequence);
        let Some(known) = self.streams.get_mut(&stream) else { return false };
        let height = known.height;
        known.raise_claim(session, sequence);
        if sequence <= height {
            let previous = Some(entry.header.previous);
            self.put(Output::Compare { session, stream, sequence, hash, previous });
            return true;
        }
        // The peer's branch names another entry before this one than ours: it is looked through from there.
        let claim = known.claim_mut(session);
        if claim.probe.is_some() || claim.stuck {
            return !claim.stuck;
        }
        claim.probe = Some(Probe::at(height.max(SequenceNumber::new(1))));
        self.cancel_pull(session, &stream);
        self.refresh(&stream);
        false
    }

    /// Tells whether the session's branch of a stream is being looked through.
    pub(crate) fn is_probing(&self, session: SessionId, stream: &StreamId) -> bool {
        self.streams.get(stream).and_then(|known| known.claim(session)).is_some_and(|claim| claim.probe.is_some())
    }

    pub(crate) fn on_compared(
        &mut self,
        session: SessionId,
        stream: StreamId,
        sequence: SequenceNumber,
        hash: EntryHash,
        branch: OwnBranch,
    ) {
        let Some(known) = self.streams.get_mut(&stream).filter(|known| !known.is_held) else { return };
        let kept = known.head;
        if !self.sessions.contains_key(&session) || known.claim(session).is_some_and(|claim| claim.stuck) {
            return;
        }
        match branch {
            OwnBranch::Same => {}
            OwnBranch::ForkedBefore => {
                let claim = known.claim_mut(session);
                let back = match claim.probe {
                    None => Probe::at(sequence),
                    // An entry further on than where the look-through began says nothing new.
                    Some(probe) if probe.from != sequence => return,
                    Some(Probe { from, step }) => {
                        let from = SequenceNumber::new(from.get().saturating_sub(step).max(1));
                        Probe { from, step: step.saturating_mul(2) }
                    }
                };
                claim.probe = Some(back);
                self.cancel_pull(session, &stream);
                self.refresh(&stream);
            }
            OwnBranch::Forked => {
                known.is_held = true;
                // So that it counts as something that is still to come.
                known.claim_mut(session).probe = Some(Probe::at(sequence));
                let pulling = known.pull.unwrap_or(session);
                self.cancel_pull(pulling, &stream);
                self.refresh(&stream);
            }
            OwnBranch::Settled => {
                self.report(Event::Fork { session, stream, sequence, kept, refused: hash });
                self.give_up_on(session, &stream);
            }
        }
    }

    /// Goes on from where a stream ends now.
    pub(crate) fn on_cut_back(&mut self, head: &StreamHead) {
        self.streams.cut_back(head);
        for store in self.stores.values_mut() {
            store.stale |= store.items.iter().any(|item| item.stream == head.id);
        }
        self.refresh(&head.id);
    }

    /// Tells a device that holds another branch of its own stream which one is held here, once.
    pub(crate) fn show_branch(&mut self, id: SessionId, stream: &StreamId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.peer().is_none_or(|peer| peer.author != stream.author) {
            return;
        }
        if let Some(claim) = self.streams.get_mut(stream).map(|known| known.claim_mut(id)).filter(|claim| !claim.stuck)
        {
            // It has nothing of this branch, as far as is known here.
            claim.height = SequenceNumber::new(0);
            session.outbox.insert(*stream);
        }
    }
}
