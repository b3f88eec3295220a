//! Working out a table's state from its log alone: the slow, plain way, to check or mend what the fast way keeps.
//!
//! Invariants:
//! 1. Every life of a key is in one part, and so is every life that it moved to or came from: what one life hands on to another
//!    never leaves a part.
//! 2. Memory holds one part at a time, and a number or two for every move.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use kithdb_log::{Change, Opener, Operation, RowsReader, Step};
use rusqlite::params;

use crate::apply::{Reading, cell_map, context_of, load_candidate};
use crate::entries::EntryStatus;
use crate::log_error::LogError;
use crate::merge::{Context, Life, LifeId, MergeError, Reason, TableWork, meta_of, parked};
use crate::registry::TableInfo;
use crate::replica::Replica;

/// A table's lives, divided by the hashes of their keys.
pub(crate) struct Division<'r> {
    replica: &'r Replica,
    table: &'r TableInfo,
    /// Drawn anew each time, so that nobody can choose keys that all fall into one part.
    hasher: RandomState,
    /// Leads from the hash of a key that rows were moved to or from to the one that stands for all that it is linked with, in one step
    /// once the division is made.
    linked: HashMap<u64, u64>,
    /// How many births the log tells of: the lives, if nobody wrote one twice.
    births: u64,
    parts: u64,
}

impl<'r> Division<'r> {
    /// Divides a table so that about `lives_max` lives are in each part.
    pub(crate) fn new(replica: &'r Replica, table: &'r TableInfo, lives_max: u64) -> Result<Self, LogError> {
        let mut division =
            Self { replica, table, hasher: RandomState::new(), linked: HashMap::new(), births: 0, parts: 1 };
        read(replica, table, |operation, _| match operation.change {
            Change::Insert => division.births += 1,
            Change::Move { to, .. } => {
                division.births += 1;
                let (from, to) = (division.hasher.hash_one(operation.key), division.hasher.hash_one(to));
                let (from, to) = (division.root_of(from), division.root_of(to));
                if from != to {
                    division.linked.insert(from, to);
                }
            }
            Change::Update | Change::Delete => {}
        })?;
        // A row that was moved often has left a long way behind.
        for hash in division.linked.keys().copied().collect::<Vec<_>>() {
            division.root_of(hash);
        }
        division.parts = division.births.div_ceil(lives_max.max(1)).max(1);
        Ok(division)
    }

    /// Returns the number of parts.
    pub(crate) const fn parts(&self) -> u64 {
        self.parts
    }

    /// Returns about how many lives there are.
    pub(crate) const fn births(&self) -> u64 {
        self.births
    }

    /// Returns the part that a key is in.
    pub(crate) fn part_of(&self, key: &[u8]) -> u64 {
        let hash = self.hasher.hash_one(key);
        self.linked.get(&hash).unwrap_or(&hash) % self.parts
    }

    /// Finds the hash that stands for one, and makes the way there one step.
    fn root_of(&mut self, hash: u64) -> u64 {
        let mut root = hash;
        while let Some(&next) = self.linked.get(&root) {
            root = next;
        }
        let mut hash = hash;
        while hash != root {
            hash = self.linked.insert(hash, root).unwrap_or(root);
        }
        root
    }

    /// Works out every life of one part that the merged entries speak of.
    pub(crate) fn replay(&self, part: u64) -> Result<BTreeMap<LifeId, Life>, LogError> {
        let mut lives: BTreeMap<LifeId, Life> = BTreeMap::new();
        read(self.replica, self.table, |operation, cells| {
            if self.part_of(operation.key) == part {
                join(&mut lives, operation, cells);
            }
        })?;
        follow_links(&mut lives, self.table);
        Ok(lives)
    }
}

/// Works out every life of a table at once: memory grows with the table.
pub(crate) fn replay(replica: &Replica, table: &TableInfo) -> Result<BTreeMap<LifeId, Life>, LogError> {
    Division { replica, table, hasher: RandomState::new(), linked: HashMap::new(), births: 0, parts: 1 }.replay(0)
}

/// Reads every operation of a table's merged entries, with the local cells of its columns.
fn read(replica: &Replica, table: &TableInfo, mut each: impl FnMut(&Operation<'_>, &[u16])) -> Result<(), LogError> {
    let conn = &replica.conn;
    let mut reading = Reading { conn, epoch: &replica.workspace.epoch, opener: Opener::new(), keys: BTreeMap::new() };
    let mut select = conn.prepare_cached(
        "SELECT e.arrival FROM kith__entries e JOIN kith__streams s ON s.num = e.stream WHERE s.lane = ?1 AND e.status = ?2 ORDER BY e.arrival",
    )?;
    let arrivals: Vec<i64> = select
        .query_map(params![table.lane.as_bytes(), EntryStatus::Applied as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for arrival in arrivals {
        let Some(candidate) = load_candidate(conn, arrival)? else { continue };
        let payload = reading.open(&candidate, table.id)?;
        let mut reader = RowsReader::open(&payload, context_of(&candidate))?;
        let cells = cell_map(&reader, table)?;
        let mut operation = Operation::default();
        loop {
            match reader.next(&mut operation)? {
                Step::Begin(_) | Step::End(_) => {}
                Step::Operation => each(&operation, &cells),
                Step::Finished => break,
            }
        }
    }
    Ok(())
}

fn join(lives: &mut BTreeMap<LifeId, Life>, operation: &Operation<'_>, cells: &[u16]) {
    let id = LifeId { key: operation.key.to_vec(), origin: operation.origin, generation: operation.generation };
    let life = lives.entry(id.clone()).or_default();
    let target = match operation.change {
        Change::Insert => {
            life.node.join_birth(operation.stamp);
            id
        }
        Change::Update => id,
        Change::Delete => {
            life.node.join_death(operation.stamp);
            id
        }
        Change::Move { to, to_generation } => {
            life.node.join_death(operation.stamp);
            life.join_link(to, to_generation);
            let target = LifeId { key: to.to_vec(), generation: to_generation, ..id };
            lives.entry(target.clone()).or_default().node.join_birth(operation.stamp);
            target
        }
    };
    let life = lives.entry(target).or_default();
    for cell in &operation.cells {
        life.node.join_cell(cells[cell.column], cell.stamp, cell.value);
    }
}

/// Lets late edits follow moved rows until nothing changes.
fn follow_links(lives: &mut BTreeMap<LifeId, Life>, table: &TableInfo) {
    let mut sources: BTreeSet<LifeId> =
        lives.iter().filter(|(_, life)| !life.links.is_empty()).map(|(id, _)| id.clone()).collect();
    while let Some(id) = sources.pop_first() {
        let Some(source) = lives.get(&id).cloned() else { continue };
        for (key, generation) in &source.links {
            let target = LifeId { key: key.clone(), origin: id.origin, generation: *generation };
            let life = lives.entry(target.clone()).or_default();
            let mut changed = false;
            for (cell, content) in &source.node.cells {
                if !table.key.contains(&table.cells[usize::from(*cell)]) {
                    changed |= life.node.join_cell(*cell, content.stamp, &content.value);
                }
            }
            if changed && !life.links.is_empty() {
                sources.insert(target);
            }
        }
    }
}

/// Puts under a key what the log says of it, to be shown or not at the end of the merge; what another program wrote there is lost.
/// A row that stays as it is is not written, so that no trigger of the user's hears of it.
pub(crate) fn rebuild_key<'l>(
    context: &mut Context<'_>,
    work: &mut TableWork<'_>,
    key: &[u8],
    lives: impl Iterator<Item = (&'l LifeId, &'l Life)> + Clone,
) -> Result<(), MergeError> {
    let num = work.info.num;
    let is_there = work.row_values(key)?.is_some();
    let mut kept = None;
    if let Some(meta) = work.meta(&context.authors, key)?.filter(|_| is_there) {
        let shown = work.shown_life(key, &meta)?;
        let values = |life: &Life| life.node.cells.values().map(|cell| cell.value.clone()).collect::<Vec<_>>();
        kept = lives.clone().find(|(id, life)| {
            (id.origin, id.generation) == (meta.origin, meta.generation)
                && life.is_complete(work.info.cells.len())
                && work.info.cells.len() == shown.node.cells.len()
                && values(life) == values(&shown)
        });
    }
    match kept {
        Some((id, life)) => work.replace_meta(&mut context.authors, key, &meta_of(id, life)?)?,
        None => {
            if is_there {
                work.delete(&context.guard, key)?;
            }
            work.delete_meta(key)?;
        }
    }
    parked::remove_under_key(context.conn, num, key)?;
    for (id, life) in lives.filter(|(id, _)| kept.is_none_or(|(kept, _)| kept != *id)) {
        parked::put(context.conn, &mut context.authors, num, id, Reason::Past, life)?;
    }
    work.any_parked = true;
    work.live_parked = true;
    work.claims_changed = true;
    work.dirty.insert(key.to_vec());
    Ok(())
}
