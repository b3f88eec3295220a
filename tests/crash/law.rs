//! What must hold after every crash, whatever kind it was.

use std::collections::BTreeMap;

use kithdb_core::entries::Stored;
use kithdb_core::replica::Replica;
use kithdb_log::{SealedEntry, SequenceNumber, StreamId};
use kithdb_tests::{numbered, pair};

const BYTES_PER_LOAD: usize = 8 << 20;

/// A peer that has been given entries and keeps them all.
pub struct Witness {
    replica: Replica,
    given: BTreeMap<(StreamId, SequenceNumber), Vec<u8>>,
}

impl Witness {
    /// Joins the workspace of the replica that will crash.
    pub fn new(owner: &mut Replica, seed: u64) -> Self {
        Self { replica: pair::join(owner, seed), given: BTreeMap::new() }
    }

    /// How many entries it was given.
    pub fn count(&self) -> usize {
        self.given.len()
    }

    /// Takes entries that left the process that crashes.
    pub fn give(&mut self, entries: &[SealedEntry]) -> Result<(), String> {
        for entry in entries {
            let bytes = entry.encode();
            let place = (entry.header.stream, entry.header.sequence);
            if let Some(known) = self.given.insert(place, bytes.clone())
                && known != bytes
            {
                return Err(format!("two entries have number {} in one stream", place.1.get()));
            }
        }
        let report = self.replica.store_entries(entries).map_err(|error| format!("storing failed: {error}"))?;
        match report.outcomes.iter().find(|outcome| !matches!(outcome, Stored::New | Stored::Known)) {
            Some(outcome) => Err(format!("an entry does not follow what was given before: {outcome:?}")),
            None => Ok(()),
        }
    }

    /// Checks that a replica still has, byte for byte, all that was given.
    pub fn check_kept(&self, replica: &Replica) -> Result<(), String> {
        let failed = |error| format!("reading entries failed: {error}");
        let mut kept = BTreeMap::new();
        for stream in replica.sync_state().map_err(failed)?.streams {
            let mut next = SequenceNumber::default().next();
            loop {
                let entries = replica.load_entries(&stream.id, next, BYTES_PER_LOAD).map_err(failed)?;
                let Some(last) = entries.last() else { break };
                next = last.header.sequence.next();
                kept.extend(entries.iter().map(|entry| ((stream.id, entry.header.sequence), entry.encode())));
            }
        }
        for (place, bytes) in &self.given {
            match kept.get(place) {
                Some(there) if there == bytes => {}
                Some(_) => return Err(format!("entry {} was published with other bytes", place.1.get())),
                None => return Err(format!("entry {} was published and is gone", place.1.get())),
            }
        }
        Ok(())
    }

    /// Delivers everything and compares.
    pub fn check_equal(&mut self, replica: &mut Replica) -> Result<(), String> {
        pair::seal_all(replica)?;
        let entries = pair::entries_for(replica, &self.replica)?;
        self.give(&entries)?;
        pair::take_in(&mut self.replica, &[])?;
        let (here, there) = (numbered::dump(replica.conn())?, numbered::dump(self.replica.conn())?);
        if here != there {
            let missing = here.iter().filter(|(key, row)| there.get(*key) != Some(row)).count();
            let extra = there.iter().filter(|(key, row)| here.get(*key) != Some(row)).count();
            return Err(format!("the peer lacks {missing} of {} rows and has {extra} others", here.len()));
        }
        Ok(())
    }

    /// Checks the peer itself, once it has all.
    pub fn verify(&mut self) -> Result<(), String> {
        pair::verify(&mut self.replica)
    }
}

/// Checks a replica that was just opened again: transactions are whole, those up to `required` are there, and all agrees.
pub fn check_opened(replica: &mut Replica, witness: &mut Witness, required: u64, begun: u64) -> Result<u64, String> {
    let last = numbered::last_whole(replica.conn())?;
    if last < required {
        return Err(format!("transaction {required} was acknowledged, but the last one there is {last}"));
    }
    if last > begun {
        return Err(format!("transaction {last} is there, but only {begun} were begun"));
    }
    witness.check_kept(replica)?;
    pair::verify(replica)?;
    witness.check_equal(replica)?;
    Ok(last)
}
