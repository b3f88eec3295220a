//! Turning captured changes into operations: the user's table already shows them, so only metadata, parked lives and the log follow.

use std::borrow::Cow;

use kithdb_log::{CellRef, Change, Generation, Operation, Origin, Stamp, TableId, ValueRef};

use super::meta::RowMeta;
use super::parked::{self, Life, LifeId, Reason};
use super::remote::{DeltaCell, note_cell, park};
use super::table::{TableWork, with_reference};
use super::{Context, Merge, MergeError};
use crate::pending::{DELETE, INSERT, PendingChange, UPDATE};
use crate::registry::TableInfo;

/// Receives the operations that are to be sealed.
pub(crate) trait Sink {
    /// Takes one operation; cell indexes are those of the table's cells.
    fn write(&mut self, table: &TableInfo, operation: &Operation<'_>) -> Result<(), MergeError>;
}

/// A change with its values sorted into key and cells.
struct Row<'a> {
    key: Vec<u8>,
    cells: Vec<Cow<'a, [u8]>>,
}

const NULL_KEY: MergeError =
    MergeError::Decode(kithdb_log::DecodeError::NotCanonical { what: "key of a captured row" });

/// Resolves one captured change that was given `stamp`.
pub(crate) fn resolve(
    merge: &mut Merge<'_>,
    change: &PendingChange<'_>,
    stamp: Stamp,
    uptake: bool,
    sink: &mut dyn Sink,
) -> Result<(), MergeError> {
    merge.open_table(change.table)?;
    let info = merge.tables.get(&change.table).ok_or(MergeError::UnknownTable(change.table))?.info.clone();
    let mut new: Vec<Option<Cow<'_, [u8]>>> = change.new.iter().map(|value| value.map(Cow::Borrowed)).collect();
    for (column, value) in info.columns.iter().zip(&mut new) {
        if let (Some(parent), Some(content)) = (column.references, value.as_mut()) {
            let origin = origin_of_parent(merge, parent, content)?;
            *content = Cow::Owned(with_reference(content.to_vec(), origin)?);
        }
    }
    let (context, table) = merge.with_table(change.table)?;
    let mut local = Local { context, table, info: &info, stamp, uptake, sink };
    match change.kind {
        INSERT => {
            let values: Vec<Cow<'_, [u8]>> = new.into_iter().flatten().collect();
            let row = local.row(&values)?;
            let origin = local.table.origin_of(&local.plain_cells(&change.new)?);
            local.insert(row, origin)
        }
        DELETE => local.delete(&change.old),
        UPDATE => local.update(&change.old, None, &new),
        _ => {
            let key: Vec<&[u8]> = info.key.iter().map(|&column| change.old[column]).collect();
            local.update(&key, Some(&change.old), &new)
        }
    }
}

fn origin_of_parent(merge: &mut Merge<'_>, parent: TableId, value: &[u8]) -> Result<Option<Origin>, MergeError> {
    let ValueRef::Integer(id) = ValueRef::decode_all(value)? else { return Ok(None) };
    let Some(num) = merge.registry.tables().iter().find(|table| table.id == parent).map(|table| table.num) else {
        return Ok(None);
    };
    let (context, table) = merge.with_table(num)?;
    let meta = table.meta(&context.authors, &ValueRef::Integer(id).to_encoded())?;
    Ok(meta.map(|meta| meta.origin))
}

struct Local<'m, 'c> {
    context: &'m mut Context<'c>,
    table: &'m mut TableWork<'c>,
    info: &'m TableInfo,
    stamp: Stamp,
    uptake: bool,
    sink: &'m mut dyn Sink,
}

impl Local<'_, '_> {
    fn key_of<V: AsRef<[u8]>>(&self, key_values: impl Iterator<Item = V>) -> Result<Vec<u8>, MergeError> {
        let mut out = Vec::with_capacity(40);
        for (&column, value) in self.info.key.iter().zip(key_values) {
            if !kithdb_log::key::encode_part(
                ValueRef::decode_all(value.as_ref())?,
                self.info.columns[column].collation,
                &mut out,
            ) {
                return Err(NULL_KEY);
            }
        }
        Ok(out)
    }

    fn row<'a>(&self, values: &[Cow<'a, [u8]>]) -> Result<Row<'a>, MergeError> {
        Ok(Row {
            key: self.key_of(self.info.key.iter().map(|&column| &values[column]))?,
            cells: self.info.cells.iter().map(|&column| values[column].clone()).collect(),
        })
    }

    /// The cells as they were captured, without references: what the origin of a row is made from.
    fn plain_cells<'a>(&self, values: &[Option<&'a [u8]>]) -> Result<Vec<&'a [u8]>, MergeError> {
        self.info.cells.iter().map(|&column| values[column].ok_or(NULL_KEY)).collect()
    }

    fn emit(
        &mut self,
        key: &[u8],
        origin: Origin,
        generation: Generation,
        change: Change<'_>,
        stamp: Stamp,
        cells: &[DeltaCell<'_>],
    ) -> Result<(), MergeError> {
        let cells = cells
            .iter()
            .map(|cell| CellRef { column: usize::from(cell.cell), stamp: cell.stamp, value: &cell.value })
            .collect();
        self.sink.write(self.info, &Operation { stamp, key, generation, origin, change, cells })
    }

    fn own_cells<'a>(&self, values: &[Cow<'a, [u8]>]) -> Vec<DeltaCell<'a>> {
        let cell = |(cell, value): (usize, &Cow<'a, [u8]>)| DeltaCell {
            cell: cell as u16,
            stamp: self.stamp,
            value: value.clone(),
        };
        values.iter().enumerate().map(cell).collect()
    }

    /// Finds the life that a row born now under this key belongs to; a parked one that still lives is taken up again.
    fn life_to_begin(&mut self, key: &[u8], origin: Origin) -> Result<(Generation, Option<Life>), MergeError> {
        if !self.table.any_parked {
            return Ok((Generation::FIRST, None));
        }
        let lives = parked::under_key(self.context.conn, &self.context.authors, self.info.num, key)?;
        let latest = lives.into_iter().filter(|life| life.id.origin == origin).max_by_key(|life| life.id.generation);
        Ok(match latest {
            None => (Generation::FIRST, None),
            Some(life) if life.life.node.death.is_some() => (life.id.generation.next_life(), None),
            Some(life) => (life.id.generation, Some(life.life)),
        })
    }

    /// Notes the metadata of a row that is shown now, joined with what was parked of the same life.
    fn show(
        &mut self,
        key: &[u8],
        origin: Origin,
        generation: Generation,
        parked: Option<Life>,
        cells: &[DeltaCell<'_>],
    ) -> Result<(), MergeError> {
        let mut birth = self.stamp;
        if let Some(life) = parked {
            birth = life.node.birth.map_or(birth, |known| known.min(birth));
            let id = LifeId { key: key.to_vec(), origin, generation };
            parked::remove(self.context.conn, self.info.num, &id)?;
        }
        let mut meta = RowMeta { generation, ..RowMeta::born(birth, origin) };
        for cell in cells {
            note_cell(&mut meta, cell)?;
        }
        // A row that another program took away may have left its metadata, so this may replace some.
        self.table.put_meta(&mut self.context.authors, key, &meta)?;
        self.mark(key);
        Ok(())
    }

    fn mark(&mut self, key: &[u8]) {
        if self.table.live_parked {
            self.table.dirty.insert(key.to_vec());
            self.table.claims_changed = true;
        }
    }

    fn insert(&mut self, row: Row<'_>, origin: Origin) -> Result<(), MergeError> {
        let (generation, parked) = self.life_to_begin(&row.key, origin)?;
        let cells = self.own_cells(&row.cells);
        self.emit(&row.key, origin, generation, Change::Insert, self.stamp, &cells)?;
        self.show(&row.key, origin, generation, parked, &cells)
    }

    /// Returns the metadata of the row that a change found, and whether it is stored.
    fn known(&mut self, key: &[u8], old: Option<&[&[u8]]>) -> Result<Option<(RowMeta, bool)>, MergeError> {
        if let Some(meta) = self.table.stored_meta(&self.context.authors, key)? {
            return Ok(Some((meta, true)));
        }
        let Some(old) = old.filter(|_| self.table.existing_rows) else { return Ok(None) };
        let cells: Vec<&[u8]> = self.info.cells.iter().map(|&column| old[column]).collect();
        let meta = RowMeta::born(Stamp::EXISTING, self.table.origin_of(&cells));
        if self.uptake {
            // The row's own initial operation has not been made, or may not have been: repeating it does no harm.
            let cells: Vec<DeltaCell<'_>> = cells
                .iter()
                .enumerate()
                .map(|(cell, value)| DeltaCell {
                    cell: cell as u16,
                    stamp: Stamp::EXISTING,
                    value: Cow::Borrowed(*value),
                })
                .collect();
            self.emit(key, meta.origin, Generation::FIRST, Change::Insert, Stamp::EXISTING, &cells)?;
        }
        Ok(Some((meta, false)))
    }

    fn old_life(&self, meta: &RowMeta, old: &[&[u8]]) -> Result<Life, MergeError> {
        let mut life = Life::default();
        life.node.birth = Some(meta.birth);
        for (cell, &column) in self.info.cells.iter().enumerate() {
            let value = with_reference(old[column].to_vec(), meta.reference_of(cell as u16))?;
            life.node.join_cell(cell as u16, meta.stamp_of(cell as u16), &value);
        }
        Ok(life)
    }

    fn delete(&mut self, old: &[&[u8]]) -> Result<(), MergeError> {
        let key = self.key_of(self.info.key.iter().map(|&column| old[column]))?;
        // A row without metadata was another program's and never known to anyone.
        let Some((meta, stored)) = self.known(&key, Some(old))? else { return Ok(()) };
        let mut life = self.old_life(&meta, old)?;
        life.node.join_death(self.stamp);
        self.emit(&key, meta.origin, meta.generation, Change::Delete, self.stamp, &[])?;
        let id = LifeId { key, origin: meta.origin, generation: meta.generation };
        park(self.context, self.table, &id, Reason::Past, &life)?;
        if stored {
            self.table.delete_meta(&id.key)?;
        }
        self.mark(&id.key);
        Ok(())
    }

    fn update(
        &mut self,
        old_key: &[&[u8]],
        old: Option<&[&[u8]]>,
        new: &[Option<Cow<'_, [u8]>>],
    ) -> Result<(), MergeError> {
        let key = self.key_of(old_key.iter())?;
        let new_key =
            self.key_of(self.info.key.iter().zip(old_key).map(|(&column, old)| new[column].as_deref().unwrap_or(old)))?;
        let Some((mut meta, stored)) = self.known(&key, old)? else { return self.adopt(&new_key) };
        if let (Some(old), true) = (old, new_key != key) {
            return self.rekey(key, &new_key, &meta, stored, old, new);
        }
        let mut cells = Vec::new();
        for (cell, &column) in self.info.cells.iter().enumerate() {
            if let Some(value) = &new[column] {
                cells.push(DeltaCell { cell: cell as u16, stamp: self.stamp, value: value.clone() });
            }
        }
        if cells.is_empty() {
            return Ok(());
        }
        self.emit(&key, meta.origin, meta.generation, Change::Update, self.stamp, &cells)?;
        for cell in &cells {
            note_cell(&mut meta, cell)?;
        }
        self.table.put_meta(&mut self.context.authors, &key, &meta)?;
        self.mark(&key);
        Ok(())
    }

    fn rekey(
        &mut self,
        key: Vec<u8>,
        new_key: &[u8],
        meta: &RowMeta,
        stored: bool,
        old: &[&[u8]],
        new: &[Option<Cow<'_, [u8]>>],
    ) -> Result<(), MergeError> {
        let mut life = self.old_life(meta, old)?;
        let (to_generation, parked) = self.life_to_begin(new_key, meta.origin)?;
        let mut cells = Vec::new();
        for (cell, &column) in self.info.cells.iter().enumerate() {
            let cell = cell as u16;
            let (stamp, value) = match (&new[column], life.node.cells.get(&cell)) {
                (Some(value), _) => (self.stamp, value.clone()),
                // Taking up a life that was kept out of sight: the row the user moved here must win whole.
                (None, Some(old)) if parked.is_some() => (self.stamp, Cow::Owned(old.value.clone())),
                (None, Some(old)) => (old.stamp, Cow::Owned(old.value.clone())),
                (None, None) => return Err(NULL_KEY),
            };
            cells.push(DeltaCell { cell, stamp, value });
        }
        let change = Change::Move { to: new_key, to_generation };
        self.emit(&key, meta.origin, meta.generation, change, self.stamp, &cells)?;
        life.node.join_death(self.stamp);
        self.table.move_violations(&key, new_key)?;
        life.join_link(new_key, to_generation);
        let id = LifeId { key, origin: meta.origin, generation: meta.generation };
        park(self.context, self.table, &id, Reason::Past, &life)?;
        if stored {
            self.table.delete_meta(&id.key)?;
        }
        self.mark(&id.key);
        self.show(new_key, meta.origin, to_generation, parked, &cells)
    }

    /// Takes up a row that another program wrote and this one has changed: as it stands now.
    fn adopt(&mut self, key: &[u8]) -> Result<(), MergeError> {
        let Some(cells) = self.table.row_values(key)? else { return Ok(()) };
        let origin = self.table.origin_of(&cells);
        self.insert(Row { key: key.to_vec(), cells: cells.into_iter().map(Cow::Owned).collect() }, origin)
    }
}
