//! The rows of one table that were changed, in a hash table that orders them as SQLite's sessions do.
//!
//! Invariants:
//! 1. A record has a field for each column that the table had when it was last looked at.
//! 2. The hash table has at least twice as many places as rows when one is added. It grows as SQLite's grows, and what falls on one
//!    place is in SQLite's order: that is the order of the changes in a changeset.

use rusqlite::ffi;
use rusqlite::types::ValueRef;

use super::columns::Columns;
use super::field::{Field, Fields, operation_byte};

/// How many places the hash table begins with.
const FIRST_PLACES: usize = 256;
/// No row.
const NONE: u32 = u32::MAX;

/// A row that was changed.
pub(super) struct Change {
    /// SQLite's number for what was first done to the row.
    pub(super) operation: u8,
    /// Whether only triggers and foreign keys changed the row.
    pub(super) is_indirect: bool,
    hash: u32,
    /// The next row at the same place.
    next: u32,
    /// The row before its first change; of a row that was inserted, only the key.
    pub(super) record: Vec<u8>,
}

impl Change {
    pub(super) fn is_insert(&self) -> bool {
        self.operation == operation_byte(ffi::SQLITE_INSERT)
    }
}

/// A table that is recorded.
pub(super) struct Table {
    /// As it was first called.
    pub(super) name: String,
    pub(super) columns: Columns,
    /// What changes when a row is added or the hash table grows.
    changes: Vec<Change>,
    places: Vec<u32>,
}

/// The key of a row as the hook shows it, and the hash of it.
pub(super) struct Key<'h> {
    pub(super) fields: Vec<Field<'h>>,
    pub(super) hash: u32,
}

impl Table {
    pub(super) const fn new(name: String) -> Self {
        Self { name, columns: Columns { list: Vec::new(), total: 0 }, changes: Vec::new(), places: Vec::new() }
    }

    /// Tells whether no row was changed.
    pub(super) const fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes over the columns that the table has now, or says with an error code that they do not fit what was recorded.
    pub(super) fn take_over(&mut self, columns: Columns) -> Result<(), i32> {
        if !columns.extend(&self.columns) {
            return Err(ffi::SQLITE_SCHEMA);
        }
        self.columns = columns;
        Ok(())
    }

    /// Completes the records from before columns were added, with their defaults.
    pub(super) fn complete(&mut self, defaults: &[rusqlite::types::Value]) {
        for change in &mut self.changes {
            let known = Fields(&change.record).count();
            for default in defaults.iter().skip(known) {
                Field::from(ValueRef::from(default)).put(&mut change.record);
            }
        }
    }

    /// Makes room for one more row.
    pub(super) fn grow(&mut self) {
        if !self.places.is_empty() && self.changes.len() < self.places.len() / 2 {
            return;
        }
        let count = if self.places.is_empty() { FIRST_PLACES } else { 2 * self.places.len() };
        let before = std::mem::replace(&mut self.places, vec![NONE; count]);
        for mut at in before {
            while let Some(change) = self.changes.get_mut(at as usize) {
                let place = &mut self.places[change.hash as usize % count];
                let next = std::mem::replace(&mut change.next, *place);
                *place = at;
                at = next;
            }
        }
    }

    /// Finds the row with a key.
    pub(super) fn find(&mut self, key: &Key<'_>) -> Option<&mut Change> {
        let mut at = *self.places.get(key.hash as usize % self.places.len().max(1))?;
        loop {
            let change = self.changes.get(at as usize)?;
            // Not by the hash: keys that are equal as numbers need not have the same.
            if self.key_of(&change.record).eq(key.fields.iter().copied()) {
                return self.changes.get_mut(at as usize);
            }
            at = change.next;
        }
    }

    fn key_of<'r>(&'r self, record: &'r [u8]) -> impl Iterator<Item = Field<'r>> {
        let fields = self.columns.list.iter().zip(Fields(record));
        fields.filter(|(column, _)| column.key != 0).map(|(_, (field, _))| field)
    }

    /// Adds a row, for which [`Self::grow`] made room; says with an error code that there are too many.
    pub(super) fn add(&mut self, operation: u8, is_indirect: bool, hash: u32, record: Vec<u8>) -> Result<(), i32> {
        let at = u32::try_from(self.changes.len()).ok().filter(|&at| at != NONE).ok_or(ffi::SQLITE_NOMEM)?;
        let count = self.places.len();
        let place = &mut self.places[hash as usize % count];
        let next = std::mem::replace(place, at);
        self.changes.push(Change { operation, is_indirect, hash, next, record });
        Ok(())
    }

    /// Returns the rows in the order of a changeset.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Change> {
        let get = |at: u32| self.changes.get(at as usize);
        self.places.iter().flat_map(move |&first| std::iter::successors(get(first), move |change| get(change.next)))
    }
}
