//! Rows that differ, for one reader, from what the shared index holds: written by its own transaction and not committed, or
//! changed by others after its snapshot was taken.

use std::collections::HashSet;

use kithdb_vector::slots::SlotSet;
use rusqlite::Connection;

use super::changes::Mark;
use super::content::Content;
use super::keys::{Key, KeyHash};
use super::rows::Rows;
use super::shared::State;

/// See the module.
pub(super) struct Overlay {
    /// The rows as the reader sees them.
    pub(super) rows: Rows,
    /// Their keys, those of deleted rows among them: what the index says of these does not count.
    touched: HashSet<Key, KeyHash>,
    /// The slots of these keys in the index.
    pub(super) hidden: SlotSet,
    /// The place of the index that this lies over.
    pub(super) base: Mark,
    /// The version of the index then.
    pub(super) version: u64,
    /// The last change that the reader sees.
    pub(super) last: Mark,
}

impl Overlay {
    /// Begins one over an index, for a reader that sees the changes up to `last`.
    pub(super) fn new(rows: Rows, base: &State, last: Mark) -> Self {
        let (touched, hidden) = (HashSet::default(), SlotSet::default());
        Self { rows, touched, hidden, base: base.applied, version: base.version, last }
    }

    /// Reads changed rows as the reader sees them.
    pub(super) fn add<'k>(
        &mut self,
        conn: &Connection,
        content: &Content,
        base: &Rows,
        keys: impl Iterator<Item = &'k Key>,
    ) -> rusqlite::Result<()> {
        for key in keys.collect::<HashSet<_, KeyHash>>() {
            self.rows.put(key, content.find(conn, key)?);
            if self.touched.insert(key.clone())
                && let Some(slot) = base.slot(key)
            {
                self.hidden.insert(slot);
            }
        }
        Ok(())
    }

    /// Returns how many rows differ.
    pub(super) fn len(&self) -> usize {
        self.touched.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.touched.contains(key)
    }
}
