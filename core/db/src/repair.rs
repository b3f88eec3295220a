//! `kith verify --repair`: puts rows that another program changed, and KithDB's own notes about them, back to what the log says.
//!
//! Invariants:
//! 1. What the other program had in a row is told before it goes: nothing disappears without a word.
//! 2. A table is put back in one durable transaction.

use std::collections::BTreeSet;

use kithdb_log::{Reader, ValueRef};

use crate::define;
use crate::log_error::LogError;
use crate::merge::{LifeId, Merge};
use crate::registry::{TableInfo, TableState};
use crate::replay::{Division, rebuild_key};
use crate::replica::Replica;
use crate::verify::{LIVES_MAX, VerifyReport, VerifyStage, display_key, display_value};

/// A row that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedRow {
    /// The table.
    pub table: String,
    /// The row's key, as SQL writes it.
    pub key: String,
    /// What the table had under that key, as `column = value, …` in SQL; `None` if there was no row.
    pub found: Option<String>,
}

/// What [`Replica::repair`] did.
#[derive(Debug, Clone, Default)]
pub struct RepairReport {
    /// The rows that were put back.
    pub rows: Vec<RepairedRow>,
    /// What does not agree even now.
    pub left: VerifyReport,
}

impl Replica {
    /// Puts every row back that [`Self::verify`] finds fault with, and verifies again; `progress` is that of [`Self::verify`].
    pub fn repair(&mut self, mut progress: impl FnMut(VerifyStage<'_>, u64, u64)) -> Result<RepairReport, LogError> {
        self.prepare_to_write()?;
        self.durably(|replica| Ok::<_, LogError>(define::restore_dirty_triggers(&replica.conn, &replica.registry)?))?;
        self.reload_registry()?;
        let found = self.verify(&mut progress)?;
        let mut rows = Vec::new();
        for table in self.registry.tables().to_vec() {
            if table.state == TableState::Synced {
                let nothing = BTreeSet::new();
                rows.extend(self.put_back(&table, found.broken.get(&table.num).unwrap_or(&nothing))?);
            }
        }
        Ok(RepairReport { rows, left: self.verify(progress)? })
    }

    fn put_back(&mut self, table: &TableInfo, keys: &BTreeSet<Vec<u8>>) -> Result<Vec<RepairedRow>, LogError> {
        let mut rows = Vec::with_capacity(keys.len());
        self.merging(|replica| {
            rows.clear();
            let conn = &replica.conn;
            conn.prepare_cached("DELETE FROM kith__dirty WHERE table_num = ?1")?.execute([table.num])?;
            if keys.is_empty() {
                return Ok(());
            }
            let division = Division::new(replica, table, LIVES_MAX)?;
            let restore_hook = || replica.capture.install_hook(conn);
            let mut merge = Merge::begin(conn, &replica.registry, &restore_hook)?;
            let (context, work) = merge.with_table(table.num)?;
            for part in 0..division.parts() {
                let mut in_part = keys.iter().filter(|key| division.part_of(key) == part).peekable();
                if in_part.peek().is_none() {
                    continue;
                }
                let lives = division.replay(part)?;
                for key in in_part {
                    let found = work.row_values(key)?.map(|cells| display_row(table, &cells)).transpose()?;
                    rows.push(RepairedRow { table: table.name.clone(), key: display_key(key), found });
                    let first = LifeId { key: key.clone(), origin: Default::default(), generation: Default::default() };
                    let of_key = lives.range(first..).take_while(|(id, _)| id.key == *key);
                    rebuild_key(context, work, key, of_key)?;
                }
            }
            merge.finish()?;
            Ok(())
        })?;
        Ok(rows)
    }
}

/// Shows the cells of a row as SQL would set them.
fn display_row(table: &TableInfo, cells: &[Vec<u8>]) -> Result<String, LogError> {
    let mut parts = Vec::with_capacity(cells.len());
    for (cell, &column) in cells.iter().zip(&table.cells) {
        let value = ValueRef::decode(&mut Reader::new(cell))?;
        parts.push(format!("{} = {}", kithdb_search::sql::quote(&table.columns[column].name), display_value(value)));
    }
    Ok(parts.join(", "))
}
