//! The parts of a transaction, which may arrive apart: each entry waits until the others that this replica can see are there.

use std::collections::{BTreeMap, BTreeSet};

use kithdb_log::{SequenceNumber, StreamId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::apply::{ApplyReport, Candidate, Reading, TORN_AFTER_MS, check_candidate, load_candidate};
use crate::entries::{EntryStatus, find_stream};
use crate::log_error::LogError;
use crate::merge::Authors;
use crate::registry::{Registry, TableState};

/// What an entry needs to be there before it is merged.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) siblings: Vec<(StreamId, SequenceNumber)>,
    pub(crate) continues: bool,
}

/// An entry that was opened and found good.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) candidate: Candidate,
    /// `None` once it has waited for another batch.
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) table: u32,
    pub(crate) needs: Needs,
}

/// Entries that were found good and wait for other parts, by arrival: what they need is known, so that they are opened again only when
/// it is there.
///
/// Only a memory: what is not in it is opened and checked once more.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<i64, Checked>);

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn holds(&self, candidate: &Candidate) -> bool {
        // Another process may have stored another entry under the number.
        self.0.get(&candidate.arrival()).is_some_and(|known| known.candidate.entry.header == candidate.entry.header)
    }

    pub(crate) fn take(&mut self, candidate: &Candidate) -> Option<Checked> {
        if self.holds(candidate) { self.0.remove(&candidate.arrival()) } else { None }
    }

    pub(crate) fn put(&mut self, mut good: Checked) {
        good.payload = None;
        good.candidate.entry.ciphertext = Vec::new();
        self.0.insert(good.candidate.arrival(), good);
    }
}

/// Finds the entry of a stream that a part begins or goes on in: its arrival and status, if it is stored.
fn find_part(
    conn: &Connection,
    authors: &mut Authors,
    stream: &StreamId,
    sequence: SequenceNumber,
) -> Result<Option<(i64, i64)>, LogError> {
    let Some(stream) = find_stream(conn, authors, stream)? else { return Ok(None) };
    Ok(conn
        .prepare_cached("SELECT arrival, status FROM kith__entries WHERE stream = ?1 AND sequence = ?2")?
        .query_row(params![stream.num, sequence.get() as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Brings the other parts of every transaction into the batch; takes out of it, and returns, what still waits for one.
pub(crate) fn pull_in_parts(
    conn: &Connection,
    registry: &Registry,
    reading: &mut Reading<'_>,
    checked: &mut BTreeMap<i64, Checked>,
    now_unix_ms: u64,
    report: &mut ApplyReport,
) -> Result<Vec<Checked>, LogError> {
    let mut authors = Authors::load(conn)?;
    let mut missing: BTreeSet<i64> = BTreeSet::new();
    let mut edges: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut queue: Vec<i64> = checked.keys().copied().collect();
    while let Some(arrival) = queue.pop() {
        let Some(good) = checked.get(&arrival) else { continue };
        let header = &good.candidate.entry.header;
        let mut parts = good.needs.siblings.clone();
        if good.needs.continues {
            parts.push((header.stream, header.sequence.next()));
        }
        // A lane that this replica does not show would make the transaction wait for nothing.
        parts.retain(|(stream, _)| {
            registry.by_lane(&stream.lane).is_some_and(|table| table.state == TableState::Synced)
        });
        for (stream, sequence) in parts {
            match find_part(conn, &mut authors, &stream, sequence)? {
                Some((_, status)) if status != EntryStatus::Waiting as i64 => {}
                Some((other, _)) => {
                    edges.entry(arrival).or_default().push(other);
                    edges.entry(other).or_default().push(arrival);
                    if !checked.contains_key(&other) && !missing.contains(&other) {
                        match load_candidate(conn, other)?
                            .filter(|part| !part.entry.header.clock.is_ahead_of(now_unix_ms))
                        {
                            Some(part) => {
                                if let Some(good) = check_candidate(conn, registry, reading, part, report)? {
                                    checked.insert(other, good);
                                    queue.push(other);
                                }
                            }
                            None => {
                                missing.insert(other);
                            }
                        }
                    }
                }
                None => {
                    missing.insert(arrival);
                }
            }
        }
    }
    // What waits makes its other parts wait, unless it has waited long enough.
    let overdue = |arrival: i64, checked: &BTreeMap<i64, Checked>| {
        checked
            .get(&arrival)
            .is_some_and(|good| good.candidate.received_unix_ms.saturating_add(TORN_AFTER_MS) <= now_unix_ms)
    };
    let mut waiting: Vec<i64> = missing.into_iter().collect();
    let mut held: BTreeSet<i64> = BTreeSet::new();
    while let Some(arrival) = waiting.pop() {
        if overdue(arrival, checked) {
            report.torn += 1;
            continue;
        }
        if held.insert(arrival) {
            waiting.extend(edges.get(&arrival).into_iter().flatten().filter(|other| !held.contains(other)));
        }
    }
    let out: Vec<Checked> = held.iter().filter_map(|arrival| checked.remove(arrival)).collect();
    report.waiting += out.len() as u64;
    Ok(out)
}
