//! What is shown: of all lives under a key, the one that the rules choose.

use std::collections::BTreeMap;

use kithdb_log::{Generation, Origin, Stamp};

use super::meta::RowMeta;
use super::parked::{self, Life, LifeId, Parked, Reason};
use super::remote::{DeltaCell, hide, note_cell};
use super::table::{TableWork, Written};
use super::{Context, MergeError, claims};

/// Shows what is to be shown under every key where something changed, then settles UNIQUE claims.
pub(crate) fn materialise(context: &mut Context<'_>, table: &mut TableWork<'_>) -> Result<(), MergeError> {
    if table.live_parked {
        // What SQLite refused may pass by now: an index may be gone.
        let refused = parked::with_reason(context.conn, &context.authors, table.info.num, Reason::Refused)?;
        table.dirty.extend(refused.into_iter().map(|life| life.id.key));
    }
    while let Some(key) = table.dirty.pop_first() {
        // Nothing but what is parked can take the place of what is shown.
        if !table.any_parked {
            continue;
        }
        choose(context, table, &key)?;
        // Hiding and showing this key marks it again; it has been dealt with.
        table.dirty.remove(&key);
    }
    if table.claims_changed && table.live_parked {
        claims::settle(context, table)?;
    }
    table.dirty.clear();
    table.claims_changed = false;
    Ok(())
}

fn choose(context: &mut Context<'_>, table: &mut TableWork<'_>, key: &[u8]) -> Result<(), MergeError> {
    let lives = parked::under_key(context.conn, &context.authors, table.info.num, key)?;
    let shown = table.meta(&context.authors, key)?;
    let mut latest: BTreeMap<Origin, Generation> = BTreeMap::new();
    for (origin, generation) in lives
        .iter()
        .map(|life| (life.id.origin, life.id.generation))
        .chain(shown.iter().map(|meta| (meta.origin, meta.generation)))
    {
        let entry = latest.entry(origin).or_insert(generation);
        *entry = generation.max(*entry);
    }
    let cell_count = usize::from(table.cell_count());
    let is_candidate =
        |life: &Parked| latest.get(&life.id.origin) == Some(&life.id.generation) && life.life.is_complete(cell_count);
    let shown_stands = shown.as_ref().filter(|meta| latest.get(&meta.origin) == Some(&meta.generation));
    let mut holder: Option<(Stamp, Origin)> = shown_stands.map(|meta| (meta.birth, meta.origin));
    for life in lives.iter().filter(|life| is_candidate(life)) {
        let rank = (life.life.node.birth.unwrap_or_default(), life.id.origin);
        holder = Some(holder.map_or(rank, |holder| holder.min(rank)));
    }
    let holds = |origin: Origin| holder.is_some_and(|(_, holder)| holder == origin);
    if let Some(meta) = &shown {
        if shown_stands.is_none() {
            hide(context, table, key, meta, Reason::Past)?;
        } else if !holds(meta.origin) {
            hide(context, table, key, meta, Reason::IdTaken)?;
        }
    }
    for life in &lives {
        let reason = if is_candidate(life) {
            if holds(life.id.origin) {
                show(context, table, life)?;
                continue;
            }
            Reason::IdTaken
        } else if latest.get(&life.id.origin) != Some(&life.id.generation) || life.life.node.death.is_some() {
            Reason::Past
        } else {
            Reason::PartMissing
        };
        table.live_parked |= reason != Reason::Past;
        if reason != life.reason {
            table.claims_changed = true;
            parked::set_reason(context.conn, table.info.num, &life.id, reason)?;
        }
    }
    Ok(())
}

/// Puts a parked life into the user's table, or notes what keeps it out.
pub(crate) fn show(context: &mut Context<'_>, table: &mut TableWork<'_>, life: &Parked) -> Result<Written, MergeError> {
    let written = insert_life(context, table, &life.id.key, &life.life)?;
    match written {
        Written::Done => {
            let meta = meta_of(&life.id, &life.life)?;
            parked::remove(context.conn, table.info.num, &life.id)?;
            table.replace_meta(&mut context.authors, &life.id.key, &meta)?;
        }
        Written::Refused(reason) => {
            table.live_parked = true;
            table.claims_changed |= reason == Reason::Unique;
            parked::set_reason(context.conn, table.info.num, &life.id, reason)?;
        }
    }
    Ok(written)
}

pub(crate) fn insert_life(
    context: &Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    life: &Life,
) -> Result<Written, MergeError> {
    table.insert(&context.guard, key, |cell| life.node.cells.get(&cell).map(|cell| cell.value.as_slice()))
}

/// Makes the metadata of a life that is shown.
pub(crate) fn meta_of(id: &LifeId, life: &Life) -> Result<RowMeta, MergeError> {
    let birth = life.node.birth.unwrap_or(Stamp::EXISTING);
    let mut meta = RowMeta { generation: id.generation, ..RowMeta::born(birth, id.origin) };
    for (cell, content) in &life.node.cells {
        note_cell(&mut meta, &DeltaCell { cell: *cell, stamp: content.stamp, value: content.value.as_slice().into() })?;
    }
    Ok(meta)
}
