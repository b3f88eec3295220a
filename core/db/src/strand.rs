//! Writing anew what is stranded: a file that was restored together with its sidecar cannot know it, and writes other entries under
//! numbers that it had published before. Its own entries from there on are taken back, and their operations are sealed again.
//!
//! The operations are written anew as they are, with fresh stamps, and not as a difference of what the table shows: a difference would
//! miss rows that are kept aside, moves, and rows that died. Of each operation only what still counts goes along (the cells that no
//! other write has overtaken since), so that an old write never beats a newer one. The affected rows are then worked out from the log,
//! as `kith verify` does, so all peers come to the same rows by the same rule.
//!
//! Invariants:
//! 1. All of it is one durable transaction: what is taken back and what is written in its place are on disk together.
//! 2. A stream is taken back once. What is in it afterwards came from peers, so nothing of it can be stranded; what was taken back is
//!    never stored again.
//! 3. Nothing is sealed under an incarnation of which something was taken back, and no arrival number is used twice.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kithdb_log::{
    CellRef, Change, Clock, EntryHash, Hlc, IncarnationId, Opener, Operation, RowsReader, SequenceNumber, Stamp, Step,
    StreamId, TableId, TableSchema,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::apply::{Candidate, Reading, cell_map, context_of, load_candidate};
use crate::entries::{EntryStatus, StreamState, find_stream, last_arrival};
use crate::log_error::LogError;
use crate::merge::{Authors, Life, LifeId, Merge};
use crate::registry::{TableInfo, TableState};
use crate::replay::{rebuild_key, replay};
use crate::replica::Replica;
use crate::seal::{Lanes, SealBudget, seal_in_transaction};
use crate::storage::{get_meta, put_meta};

/// How an entry of this device's, as a peer holds it, stands to the stream here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// It is in the stream, or is the next of it.
    Same,
    /// Another entry is in its place, and the one before it is in both branches, or there is none.
    Forked,
    /// Another entry is in its place, or before it: the branches part further back.
    ForkedBefore,
    /// The branches part, and nothing can be done about it here: this one was taken back, or its table is not synced.
    Settled,
}

/// Where a stream of this device's parts from what peers hold of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnFork {
    /// The stream.
    pub stream: StreamId,
    /// The last entry that both branches have; 0 if there is none.
    pub agreed: SequenceNumber,
}

/// What [`Replica::take_back`] did.
#[derive(Debug, Clone, Default)]
pub struct TakenBack {
    /// Where the streams end now that were given; height 0 if nothing is left.
    pub heads: Vec<StreamState>,
    /// How many entries were taken back.
    pub entries: u64,
    /// How many operations were written anew.
    pub operations: u64,
}

fn left_name(stream: &StreamId) -> String {
    format!("left {} {}", stream.incarnation, stream.lane)
}

/// Returns the first entry that was taken back of a stream; it is never stored again.
pub(crate) fn left(conn: &Connection, stream: &StreamId) -> Result<Option<EntryHash>, LogError> {
    let own = get_meta::<[u8; 32]>(conn, "author")?.is_some_and(|author| author == *stream.author.as_bytes());
    if !own {
        return Ok(None);
    }
    Ok(get_meta::<[u8; 32]>(conn, &left_name(stream))?.map(EntryHash::from_bytes))
}

impl Replica {
    /// Compares an entry of this device's, by its number and hash, with what is stored; without `previous` it is only told whether it differs.
    pub fn compare_own(
        &self,
        stream: &StreamId,
        sequence: SequenceNumber,
        hash: EntryHash,
        previous: Option<EntryHash>,
    ) -> Result<Branch, LogError> {
        let at = |sequence| -> Result<Option<EntryHash>, LogError> {
            let entry = self.load_entries(stream, sequence, 0)?.into_iter().next();
            Ok(entry.filter(|entry| entry.header.sequence == sequence).map(|entry| entry.hash()))
        };
        let here = at(sequence)?;
        let before = match sequence.get() {
            0 | 1 => Some(EntryHash::default()),
            number => at(SequenceNumber::new(number - 1))?,
        };
        let continues = previous.is_some() && before == previous;
        if here == Some(hash) || here.is_none() && continues {
            return Ok(Branch::Same);
        }
        let is_schema = stream.lane == crate::catalog::lane_of(&self.workspace.blinding, TableId::SCHEMA);
        let is_synced = self.registry.by_lane(&stream.lane).is_some_and(|table| table.state == TableState::Synced);
        Ok(if !is_schema && !is_synced || left(&self.conn, stream)?.is_some() {
            Branch::Settled
        } else if continues {
            Branch::Forked
        } else {
            Branch::ForkedBefore
        })
    }

    /// Takes back what this file sealed beyond the points where its own streams part from what peers hold, and writes it anew under the
    /// present incarnation, or a new one if the present one forked.
    pub fn take_back(&mut self, forks: &[OwnFork], reason: &str) -> Result<TakenBack, LogError> {
        self.prepare_to_write()?;
        let now_unix_ms = (self.clock)();
        let author = self.workspace.author();
        let outcome = self.merging(|replica| {
            // A try before this one may have begun an incarnation that was rolled back.
            replica.life.reload(&replica.conn, author)?;
            take_back(replica, forks, reason, now_unix_ms)
        });
        if outcome.is_err() {
            self.life.reload(&self.conn, author)?;
        } else {
            self.reload_registry()?;
            self.bind_life()?;
        }
        outcome
    }
}

/// The end of a stream that is taken back.
struct Cut {
    num: i64,
    fork: OwnFork,
    /// The table whose rows it holds; `None` for definitions.
    table: Option<Arc<TableInfo>>,
    entries: Vec<(Candidate, Vec<u8>)>,
}

fn take_back(replica: &mut Replica, forks: &[OwnFork], reason: &str, now_unix_ms: u64) -> Result<TakenBack, LogError> {
    let mut out = TakenBack::default();
    let cuts = find_cuts(replica, forks)?;
    if !cuts.is_empty() {
        if cuts.iter().any(|cut| cut.fork.stream.incarnation == replica.life.incarnation()) {
            let author = replica.workspace.author();
            replica.life.start_incarnation(&replica.conn, author, &replica.entropy, reason)?;
        }
        define_anew(&replica.conn, &cuts)?;
        // The tables show what is pending, the log does not: it must be there before rows are worked out from it.
        seal_in_transaction(replica, SealBudget { bytes: usize::MAX }, now_unix_ms)?;
        let arrival = last_arrival(&replica.conn)?.get() as i64;
        let before = replay_all(replica, &cuts)?;
        out.operations = write_anew(replica, &cuts, &before, now_unix_ms)?;
        for cut in &cuts {
            out.entries += drop_entries(&replica.conn, cut)?;
        }
        keep_arrival(&replica.conn, arrival)?;
        rebuild(replica, &before)?;
    }
    let mut authors = Authors::load(&replica.conn)?;
    for OwnFork { stream, .. } in forks {
        let row = find_stream(&replica.conn, &mut authors, stream)?;
        out.heads.push(row.map_or_else(|| nothing_of(stream), |row| row.state));
    }
    Ok(out)
}

fn nothing_of(stream: &StreamId) -> StreamState {
    StreamState { id: *stream, height: SequenceNumber::default(), head: EntryHash::default(), clock: Hlc::ZERO }
}

fn find_cuts(replica: &Replica, forks: &[OwnFork]) -> Result<Vec<Cut>, LogError> {
    let conn = &replica.conn;
    let mut authors = Authors::load(conn)?;
    let mut reading = Reading { conn, epoch: &replica.workspace.epoch, opener: Opener::new(), keys: BTreeMap::new() };
    let mut cuts = Vec::new();
    for fork in forks {
        let Some(stream) = find_stream(conn, &mut authors, &fork.stream)? else { continue };
        if stream.state.height <= fork.agreed || left(conn, &fork.stream)?.is_some() {
            continue;
        }
        let table = replica.registry.by_lane(&fork.stream.lane).cloned();
        let scope = table.as_ref().map_or(TableId::SCHEMA, |table| table.id);
        let mut select = conn.prepare_cached(
            "SELECT arrival FROM kith__entries WHERE stream = ?1 AND sequence > ?2 ORDER BY sequence",
        )?;
        let arrivals: Vec<i64> = select
            .query_map(params![stream.num, fork.agreed.get() as i64], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut entries = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let Some(candidate) = load_candidate(conn, arrival)? else { continue };
            let payload = reading.open(&candidate, scope)?;
            entries.push((candidate, payload));
        }
        cuts.push(Cut { num: stream.num, fork: *fork, table, entries });
    }
    Ok(cuts)
}

/// Has definitions that are taken back sealed again with what is pending.
fn define_anew(conn: &Connection, cuts: &[Cut]) -> Result<(), LogError> {
    for (_, payload) in cuts.iter().filter(|cut| cut.table.is_none()).flat_map(|cut| &cut.entries) {
        conn.prepare_cached("UPDATE kith__tables SET schema_sequence = NULL WHERE id = ?1")?
            .execute([TableSchema::decode(payload)?.id().as_bytes()])?;
    }
    Ok(())
}

type Lives = BTreeMap<LifeId, Life>;

/// Works out every table that is affected, with what is about to be taken back.
fn replay_all(replica: &Replica, cuts: &[Cut]) -> Result<BTreeMap<u32, Lives>, LogError> {
    let mut before = BTreeMap::new();
    for cut in cuts {
        // Something of it may have come from a peer and wait to be merged: it counts too.
        replica
            .conn
            .prepare_cached("UPDATE kith__entries SET status = ?3 WHERE stream = ?1 AND sequence > ?2 AND status = ?4")?
            .execute(params![
                cut.num,
                cut.fork.agreed.get() as i64,
                EntryStatus::Applied as i64,
                EntryStatus::Waiting as i64
            ])?;
    }
    for table in cuts.iter().filter_map(|cut| cut.table.as_ref()) {
        if let Entry::Vacant(slot) = before.entry(table.num) {
            slot.insert(replay(replica, table)?);
        }
    }
    Ok(before)
}

/// An operation on its way into another entry, with the transaction it was part of.
struct Stranded<'a> {
    transaction: (Hlc, IncarnationId),
    table: &'a Arc<TableInfo>,
    operation: Operation<'a>,
}

fn read_all<'a>(cuts: &'a [Cut]) -> Result<Vec<Stranded<'a>>, LogError> {
    let mut out = Vec::new();
    for cut in cuts {
        let Some(table) = &cut.table else { continue };
        for (candidate, payload) in &cut.entries {
            let mut reader = RowsReader::open(payload, context_of(candidate))?;
            let cells = cell_map(&reader, table)?;
            let mut transaction = (Hlc::ZERO, cut.fork.stream.incarnation);
            let mut operation = Operation::default();
            loop {
                match reader.next(&mut operation)? {
                    Step::Begin(head) => transaction.0 = head.clock,
                    Step::End(_) => {}
                    Step::Operation => {
                        let mut operation = operation.clone();
                        for cell in &mut operation.cells {
                            cell.column = usize::from(cells[cell.column]);
                        }
                        operation.cells.sort_by_key(|cell| cell.column);
                        out.push(Stranded { transaction, table, operation });
                    }
                    Step::Finished => break,
                }
            }
        }
    }
    // The parts of one transaction meet again, in the order in which it was written.
    out.sort_by_key(|stranded| (stranded.transaction, stranded.operation.stamp.clock));
    Ok(out)
}

/// Seals the operations that are stranded under the present incarnation; returns how many.
fn write_anew(
    replica: &Replica,
    cuts: &[Cut],
    before: &BTreeMap<u32, Lives>,
    now_unix_ms: u64,
) -> Result<u64, LogError> {
    let conn = &replica.conn;
    let mut clock = Clock::after(Hlc::from_u64(get_meta::<i64>(conn, "clock")?.unwrap_or(0) as u64));
    let (author, incarnation) = (replica.workspace.author(), replica.life.incarnation());
    let mut lanes = Lanes::open(replica, now_unix_ms)?;
    let mut fresh: HashMap<Stamp, Stamp> = HashMap::new();
    let nothing = Lives::new();
    let mut count = 0;
    for transaction in read_all(cuts)?.chunk_by(|left, right| left.transaction == right.transaction) {
        let stamped = transaction.iter().map(|stranded| stranded.operation.stamp);
        let stamped: Vec<Stamp> = stamped.filter(|stamp| *stamp != Stamp::EXISTING).collect();
        let first = clock.tick(now_unix_ms, stamped.len() as u64)?;
        for (index, stamp) in stamped.into_iter().enumerate() {
            let clock = Hlc::from_u64(first.as_u64().saturating_add(index as u64));
            fresh.insert(stamp, Stamp { clock, author, incarnation });
        }
        let mut kept: Vec<(&Arc<TableInfo>, Operation<'_>)> = Vec::new();
        for stranded in transaction {
            let lives = before.get(&stranded.table.num).unwrap_or(&nothing);
            kept.extend(what_counts(&stranded.operation, lives, &fresh).map(|operation| (stranded.table, operation)));
        }
        if kept.is_empty() {
            continue;
        }
        let tables: BTreeMap<u32, Arc<TableInfo>> =
            kept.iter().map(|(table, _)| (table.num, Arc::clone(table))).collect();
        let tables: Vec<Arc<TableInfo>> = tables.into_values().collect();
        lanes.begin(&tables, first)?;
        for (table, operation) in &kept {
            lanes.write_operation(table, operation)?;
        }
        lanes.end(&tables);
        count += kept.len() as u64;
    }
    lanes.finish()?;
    put_meta(conn, "clock", clock.last().as_u64() as i64)?;
    Ok(count)
}

/// Gives an operation its fresh stamp and leaves out what other writes have overtaken; `None` if nothing of it counts any more.
fn what_counts<'a>(operation: &Operation<'a>, lives: &Lives, fresh: &HashMap<Stamp, Stamp>) -> Option<Operation<'a>> {
    if operation.stamp == Stamp::EXISTING {
        // Stamp zero is below every write, here as there.
        return Some(operation.clone());
    }
    let restamped = |stamp: Stamp| fresh.get(&stamp).copied().unwrap_or(stamp);
    let id = LifeId { key: operation.key.to_vec(), origin: operation.origin, generation: operation.generation };
    let life = match operation.change {
        Change::Move { to, to_generation } => {
            lives.get(&LifeId { key: to.to_vec(), generation: to_generation, ..id.clone() })
        }
        _ => lives.get(&id),
    };
    let wins = |cell: &&CellRef<'a>| {
        let known = life.and_then(|life| life.node.cells.get(&(cell.column as u16)));
        known.is_some_and(|known| known.stamp == cell.stamp)
    };
    let cells: Vec<CellRef<'a>> =
        operation.cells.iter().filter(wins).map(|cell| CellRef { stamp: restamped(cell.stamp), ..*cell }).collect();
    let counts = match operation.change {
        Change::Insert => !cells.is_empty() || life.is_some_and(|life| life.node.birth == Some(operation.stamp)),
        Change::Update => !cells.is_empty(),
        Change::Delete => life.is_some_and(|life| life.node.death == Some(operation.stamp)),
        Change::Move { .. } => true,
    };
    counts.then(|| Operation { stamp: restamped(operation.stamp), cells, ..operation.clone() })
}

/// Takes the entries out of the log; returns how many.
fn drop_entries(conn: &Connection, cut: &Cut) -> Result<u64, LogError> {
    let (agreed, num) = (cut.fork.agreed.get() as i64, cut.num);
    if let Some((first, _)) = cut.entries.first() {
        put_meta(conn, &left_name(&cut.fork.stream), first.entry.hash().as_bytes())?;
    }
    let dropped = conn.execute("DELETE FROM kith__entries WHERE stream = ?1 AND sequence > ?2", [num, agreed])?;
    conn.execute("DELETE FROM kith__openings WHERE stream = ?1 AND sequence > ?2", [num, agreed])?;
    let last: Option<i64> = conn
        .query_row("SELECT arrival FROM kith__entries WHERE stream = ?1 AND sequence = ?2", [num, agreed], |row| {
            row.get(0)
        })
        .optional()?;
    match last.map(|arrival| load_candidate(conn, arrival)).transpose()?.flatten() {
        Some(last) => conn.execute(
            "UPDATE kith__streams SET height = ?2, head = ?3, clock = ?4, arrival = ?5 WHERE num = ?1",
            params![num, agreed, last.entry.hash().as_bytes(), last.entry.header.clock.as_u64() as i64, last.arrival()],
        )?,
        None => conn.execute("DELETE FROM kith__streams WHERE num = ?1", [num])?,
    };
    Ok(dropped as u64)
}

/// Sees to it that no number up to `arrival` is given to an entry again, if what had the greatest is gone and nothing came after it.
fn keep_arrival(conn: &Connection, arrival: i64) -> Result<(), LogError> {
    let last = last_arrival(conn)?.get() as i64;
    if last < arrival {
        conn.execute("UPDATE kith__entries SET arrival = ?2 WHERE arrival = ?1", [last, arrival + 1])?;
        conn.execute("UPDATE kith__streams SET arrival = ?2 WHERE arrival = ?1", [last, arrival + 1])?;
    }
    Ok(())
}

/// Works out anew, from the log as it is now, every row that is not what it was.
fn rebuild(replica: &Replica, before: &BTreeMap<u32, Lives>) -> Result<(), LogError> {
    let Replica { conn, capture, registry, .. } = replica;
    let restore_hook = || capture.install_hook(conn);
    let mut merge = Merge::begin(conn, registry, &restore_hook)?;
    for (num, before) in before {
        let Some(table) = registry.by_num(*num) else { continue };
        let after = replay(replica, table)?;
        let ids = before.keys().chain(after.keys());
        let changed: BTreeSet<&Vec<u8>> =
            ids.filter(|id| before.get(*id) != after.get(*id)).map(|id| &id.key).collect();
        let (context, work) = merge.with_table(*num)?;
        for key in changed {
            let from = LifeId { key: key.clone(), origin: Default::default(), generation: Default::default() };
            rebuild_key(context, work, key, after.range(from..).take_while(|(id, _)| id.key == *key))?;
        }
    }
    merge.finish()?;
    Ok(())
}
