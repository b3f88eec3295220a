//! A plain view of what is parked, with full author ids, to compare replicas by.

use kithdb_log::{ColumnId, Generation, Origin, Stamp};

use crate::log_error::LogError;
use crate::merge::{Authors, Reason, parked};
use crate::replica::Replica;

/// One parked life of a row, free of this replica's own numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedLife {
    /// The canonical key.
    pub key: Vec<u8>,
    /// Which row under the key.
    pub origin: Origin,
    /// Which life of the row.
    pub generation: Generation,
    /// Why it is not shown.
    pub reason: Reason,
    /// The least stamp of an insert, if one has arrived.
    pub birth: Option<Stamp>,
    /// The greatest stamp of a delete, if it was deleted.
    pub death: Option<Stamp>,
    /// Each cell's column, stamp and encoded value.
    pub cells: Vec<(ColumnId, Stamp, Vec<u8>)>,
    /// The keys and lives it went on as, in ascending order.
    pub moved_to: Vec<(Vec<u8>, Generation)>,
}

impl Replica {
    /// Lists the parked lives of a table by key, origin and generation; nothing for a table that is not known.
    pub fn parked_dump(&self, table: &str) -> Result<Vec<ParkedLife>, LogError> {
        let Some(table) = self.registry.by_name(table) else { return Ok(Vec::new()) };
        let authors = Authors::load(&self.conn)?;
        let mut out = Vec::new();
        for life in parked::all(&self.conn, &authors, table.num)? {
            let cells = life.life.node.cells.into_iter();
            out.push(ParkedLife {
                key: life.id.key,
                origin: life.id.origin,
                generation: life.id.generation,
                reason: life.reason,
                birth: life.life.node.birth,
                death: life.life.node.death,
                cells: cells
                    .map(|(cell, content)| (table.cell_ids[usize::from(cell)], content.stamp, content.value))
                    .collect(),
                moved_to: life.life.links,
            });
        }
        out.sort_by(|left, right| {
            (&left.key, left.origin, left.generation).cmp(&(&right.key, right.origin, right.generation))
        });
        Ok(out)
    }
}
