//! Joining operations into lives, shown or parked.

use std::borrow::Cow;

use kithdb_log::{Change, Generation, Operation, Origin, Stamp, ValueRef};

use super::meta::RowMeta;
use super::parked::{self, Life, LifeId, Reason};
use super::table::{TableWork, Written};
use super::{Context, MergeError};

/// One written cell on its way into a life.
#[derive(Debug, Clone)]
pub(crate) struct DeltaCell<'a> {
    pub(crate) cell: u16,
    pub(crate) stamp: Stamp,
    pub(crate) value: Cow<'a, [u8]>,
}

/// What is to be joined into one life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delta<'a> {
    pub(crate) birth: Option<Stamp>,
    pub(crate) death: Option<Stamp>,
    pub(crate) link: Option<(Vec<u8>, Generation)>,
    /// In ascending order of cell.
    pub(crate) cells: Vec<DeltaCell<'a>>,
}

/// Joins one operation; `cells[i]` is the local cell of the payload's column `i`.
pub(crate) fn apply(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    operation: &Operation<'_>,
    cells: &[u16],
) -> Result<(), MergeError> {
    let mut delta = Delta::default();
    for cell in &operation.cells {
        delta.cells.push(DeltaCell { cell: cells[cell.column], stamp: cell.stamp, value: Cow::Borrowed(cell.value) });
    }
    if !delta.cells.is_sorted_by_key(|cell| cell.cell) {
        delta.cells.sort_by_key(|cell| cell.cell);
    }
    let (key, origin, generation) = (operation.key, operation.origin, operation.generation);
    match operation.change {
        Change::Insert => delta.birth = Some(operation.stamp),
        Change::Update => {}
        Change::Delete => delta.death = Some(operation.stamp),
        Change::Move { to, to_generation } => {
            delta.death = Some(operation.stamp);
            delta.link = Some((to.to_vec(), to_generation));
            let target =
                Delta { birth: Some(operation.stamp), cells: std::mem::take(&mut delta.cells), ..Delta::default() };
            join(context, table, to, origin, to_generation, target)?;
        }
    }
    join(context, table, key, origin, generation, delta)
}

/// Joins a delta into a life and passes on what follows a moved row.
pub(crate) fn join(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    origin: Origin,
    generation: Generation,
    delta: Delta<'_>,
) -> Result<(), MergeError> {
    let is_fresh = is_whole_insert(table, &delta)
        && !(table.any_parked && parked::any_under_key(context.conn, table.info.num, key)?);
    if is_fresh && insert_fresh(context, table, key, origin, generation, &delta)? {
        return Ok(());
    }
    match table.meta(&context.authors, key)? {
        Some(meta) if meta.origin == origin && meta.generation == generation => {
            join_shown(context, table, key, meta, delta)
        }
        _ => join_parked(context, table, LifeId { key: key.to_vec(), origin, generation }, delta),
    }
}

fn is_whole_insert(table: &TableWork<'_>, delta: &Delta<'_>) -> bool {
    delta.birth.is_some() && delta.death.is_none() && delta.cells.len() == usize::from(table.cell_count())
}

/// The common case: a row nobody here has heard of. Tries before it asks; returns false if there is something in the way.
fn insert_fresh(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    origin: Origin,
    generation: Generation,
    delta: &Delta<'_>,
) -> Result<bool, MergeError> {
    let written =
        table.insert(&context.guard, key, |cell| delta.cells.get(usize::from(cell)).map(|cell| &*cell.value))?;
    if written != Written::Done {
        return Ok(false);
    }
    let mut meta = RowMeta { generation, ..RowMeta::born(delta.birth.unwrap_or(Stamp::EXISTING), origin) };
    for cell in &delta.cells {
        note_cell(&mut meta, cell)?;
    }
    // Where another program took the row away its metadata is still there, and then knows more than this insert.
    table.insert_meta(&mut context.authors, key, &meta)
}

pub(crate) fn note_cell(meta: &mut RowMeta, cell: &DeltaCell<'_>) -> Result<(), MergeError> {
    meta.set_stamp(cell.cell, cell.stamp);
    let origin = match ValueRef::decode_all(&cell.value)? {
        ValueRef::Reference(_, origin) => Some(origin),
        _ => None,
    };
    meta.set_reference(cell.cell, origin);
    Ok(())
}

pub(crate) fn join_into(life: &mut Life, delta: &Delta<'_>) -> bool {
    let mut changed = delta.birth.is_some_and(|birth| life.node.join_birth(birth));
    changed |= delta.death.is_some_and(|death| life.node.join_death(death));
    for cell in &delta.cells {
        changed |= life.node.join_cell(cell.cell, cell.stamp, &cell.value);
    }
    changed
}

fn join_shown(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    meta: RowMeta,
    delta: Delta<'_>,
) -> Result<(), MergeError> {
    if delta.death.is_some() {
        let life = take(context, table, key, &meta)?;
        return end_life(
            context,
            table,
            LifeId { key: key.to_vec(), origin: meta.origin, generation: meta.generation },
            life,
            delta,
        );
    }
    let mut merged = meta.clone();
    let mut current: Option<Vec<Vec<u8>>> = None;
    let mut winners: Vec<&DeltaCell<'_>> = Vec::new();
    for cell in &delta.cells {
        let old = meta.stamp_of(cell.cell);
        let wins = match cell.stamp.cmp(&old) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            // Equal stamps carry equal values, but for rows from before sync, which several peers may have brought.
            std::cmp::Ordering::Equal if cell.stamp == Stamp::EXISTING => {
                if current.is_none() {
                    current = table.row_values(key)?;
                }
                let old = current.as_ref().and_then(|values| values.get(usize::from(cell.cell)));
                let old = old
                    .cloned()
                    .map(|value| super::table::with_reference(value, meta.reference_of(cell.cell)))
                    .transpose()?;
                old.is_none_or(|old| *cell.value > *old)
            }
            std::cmp::Ordering::Equal => false,
        };
        if wins {
            winners.push(cell);
        }
    }
    if let Some(birth) = delta.birth.filter(|birth| *birth < meta.birth) {
        merged.set_birth(birth, table.cell_count());
    }
    if !winners.is_empty() {
        let values: Vec<(u16, &[u8])> = winners.iter().map(|cell| (cell.cell, &*cell.value)).collect();
        match table.update(&context.guard, key, &values)? {
            Written::Done => {
                for cell in &winners {
                    note_cell(&mut merged, cell)?;
                }
                table.claims_changed |= winners.iter().any(|cell| table.info.unique_cells[usize::from(cell.cell)]);
            }
            Written::Refused(reason) => {
                let mut life = take(context, table, key, &meta)?;
                join_into(&mut life, &delta);
                let id = LifeId { key: key.to_vec(), origin: meta.origin, generation: meta.generation };
                return park(context, table, &id, reason, &life);
            }
        }
    }
    if merged != meta {
        // A row from before sync has no metadata yet, though it has a meaning.
        table.put_meta(&mut context.authors, key, &merged)?;
        if merged.birth < meta.birth {
            table.dirty.insert(key.to_vec());
        }
    }
    Ok(())
}

fn join_parked(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    id: LifeId,
    delta: Delta<'_>,
) -> Result<(), MergeError> {
    let life = parked::get(context.conn, &context.authors, table.info.num, &id)?.unwrap_or_default();
    end_life(context, table, id, life, delta)
}

/// Joins into a life that is parked, and hands on to the keys it moved to what is new.
fn end_life(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    id: LifeId,
    mut life: Life,
    delta: Delta<'_>,
) -> Result<(), MergeError> {
    join_into(&mut life, &delta);
    let new_link = delta.link.filter(|(key, generation)| life.join_link(key, *generation));
    park(context, table, &id, Reason::Past, &life)?;
    table.dirty.insert(id.key.clone());
    // Key columns that are cells belong to the old key and stay behind.
    let follows = |table: &TableWork<'_>, cell: u16| !table.info.key.contains(&table.info.cells[usize::from(cell)]);
    if let Some((key, generation)) = new_link {
        let cells = life.node.cells.iter().filter(|(cell, _)| follows(table, **cell)).map(|(cell, content)| {
            DeltaCell { cell: *cell, stamp: content.stamp, value: Cow::Owned(content.value.clone()) }
        });
        let onward = Delta { cells: cells.collect(), ..Delta::default() };
        join_if_new(context, table, &key, id.origin, generation, onward)?;
    }
    if !delta.cells.is_empty() {
        for (key, generation) in life.links.clone() {
            let cells = delta.cells.iter().filter(|cell| follows(table, cell.cell)).cloned().collect();
            join_if_new(context, table, &key, id.origin, generation, Delta { cells, ..Delta::default() })?;
        }
    }
    Ok(())
}

/// Follows a link; ends where nothing is new, so that a circle of moves comes to rest.
fn join_if_new(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    origin: Origin,
    generation: Generation,
    delta: Delta<'_>,
) -> Result<(), MergeError> {
    let id = LifeId { key: key.to_vec(), origin, generation };
    let shown =
        table.meta(&context.authors, key)?.filter(|meta| meta.origin == origin && meta.generation == generation);
    let mut known = match shown {
        Some(meta) => table.shown_life(key, &meta)?,
        None => parked::get(context.conn, &context.authors, table.info.num, &id)?.unwrap_or_default(),
    };
    if join_into(&mut known, &delta) { join(context, table, key, origin, generation, delta) } else { Ok(()) }
}

/// Takes the shown row under a key out of the user's table; the caller parks what it returns.
pub(crate) fn take(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    meta: &RowMeta,
) -> Result<Life, MergeError> {
    let life = table.shown_life(key, meta)?;
    table.delete(&context.guard, key)?;
    table.delete_meta(key)?;
    table.dirty.insert(key.to_vec());
    table.claims_changed = true;
    Ok(life)
}

/// Takes the shown row under a key out of the user's table and parks it.
pub(crate) fn hide(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    key: &[u8],
    meta: &RowMeta,
    reason: Reason,
) -> Result<(), MergeError> {
    let life = take(context, table, key, meta)?;
    let id = LifeId { key: key.to_vec(), origin: meta.origin, generation: meta.generation };
    park(context, table, &id, reason, &life)
}

pub(crate) fn park(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    id: &LifeId,
    reason: Reason,
    life: &Life,
) -> Result<(), MergeError> {
    table.any_parked = true;
    if reason != Reason::Past {
        table.live_parked = true;
        table.claims_changed = true;
    }
    parked::put(context.conn, &mut context.authors, table.info.num, id, reason, life)
}
