//! Working out a table's state from its log alone: the slow, plain way, to check or mend what the fast way keeps.

use std::collections::{BTreeMap, BTreeSet};

use kithdb_log::{Change, Opener, Operation, RowsReader, Step};

use crate::apply::{Reading, cell_map, context_of, load_candidate};
use crate::entries::EntryStatus;
use crate::log_error::LogError;
use crate::merge::{Context, Life, LifeId, MergeError, Reason, TableWork, meta_of, parked};
use crate::registry::TableInfo;
use crate::replica::Replica;

/// Every life of a table that its merged entries speak of.
///
/// Memory grows with the table: all keys and values of all lives are held at once.
pub(crate) fn replay(replica: &Replica, table: &TableInfo) -> Result<BTreeMap<LifeId, Life>, LogError> {
    let conn = &replica.conn;
    let mut reading = Reading { conn, epoch: &replica.workspace.epoch, opener: Opener::new(), keys: BTreeMap::new() };
    let mut select = conn.prepare(
        "SELECT e.arrival FROM kith__entries e JOIN kith__streams s ON s.num = e.stream WHERE s.lane = ?1 AND e.status = ?2 ORDER BY e.arrival",
    )?;
    let arrivals: Vec<i64> = select
        .query_map(rusqlite::params![table.lane.as_bytes(), EntryStatus::Applied as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut lives: BTreeMap<LifeId, Life> = BTreeMap::new();
    for arrival in arrivals {
        let Some(candidate) = load_candidate(conn, arrival)? else { continue };
        let payload = reading.open(&candidate, table.id)?;
        let mut reader = RowsReader::open(&payload, context_of(&candidate))?;
        let cells = cell_map(&reader, table)?;
        let mut operation = Operation::default();
        loop {
            match reader.next(&mut operation)? {
                Step::Begin(_) | Step::End(_) => {}
                Step::Operation => join(&mut lives, &operation, &cells),
                Step::Finished => break,
            }
        }
    }
    follow_links(&mut lives, table);
    Ok(lives)
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
