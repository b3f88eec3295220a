//! What a replica knows of its synced tables: the replicated definition and how it maps onto the local table.

use std::collections::HashMap;
use std::sync::Arc;

use kithdb_log::{Affinity, Collation, ColumnId, KeyKind, LaneId, TableId, TableSchema, ValueRef};

use kithdb_log::key;

/// Whether a table's writes are recorded and remote writes applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableState {
    /// Captured and applied.
    Synced,
    /// `kith_unsync` was called: neither captured nor applied; the log is kept.
    Unsynced,
    /// The definition is known but the local table does not fit it; entries wait.
    Quarantined,
}

/// A stored column of a synced table.
#[derive(Debug, Clone)]
pub struct ColumnInfo {
    /// Replicated id.
    pub id: ColumnId,
    /// Name in the local table.
    pub name: String,
    /// How stored values are converted.
    pub affinity: Affinity,
    /// How text is compared.
    pub collation: Collation,
    /// Index among all columns of the local table, generated ones included (what the hook counts by).
    pub table_index: usize,
    /// Index into [`TableInfo::cells`] order if the column is a cell.
    pub cell: Option<usize>,
    /// The auto-numbered table this column refers to by a declared single-column foreign key.
    pub references: Option<TableId>,
}

/// A synced table.
#[derive(Debug)]
pub struct TableInfo {
    /// Local number, used in metadata and pending records.
    pub num: u32,
    /// Replicated id.
    pub id: TableId,
    /// The lane of its rows.
    pub lane: LaneId,
    /// Name in the local database.
    pub name: String,
    /// The replicated definition.
    pub schema: TableSchema,
    /// Whether it takes part.
    pub state: TableState,
    /// What another program changed about the form of a table that is synced, so that writes to it cannot be recorded, with the remedy.
    pub changed: Option<String>,
    /// Whether rows without metadata exist (rows from before sync, at stamp 0).
    pub existing_rows: bool,
    /// Stored columns in definition order.
    pub columns: Vec<ColumnInfo>,
    /// Indexes into `columns` of the primary key, in key order.
    pub key: Vec<usize>,
    /// Indexes into `columns` of the cells: every non-key column, and key columns whose bytes can differ under an equal key.
    pub cells: Vec<usize>,
    /// Replicated ids of the cells, in `cells` order: the columns of a payload.
    pub cell_ids: Vec<ColumnId>,
    /// Cells that take part in a UNIQUE index other than the primary key; all cells if one has an expression.
    pub unique_cells: Vec<bool>,
    /// Whether the table was created WITHOUT ROWID.
    pub without_rowid: bool,
}

impl TableInfo {
    /// Tells whether keys are auto-numbered.
    pub fn is_auto(&self) -> bool {
        self.schema.key_kind == KeyKind::Auto
    }

    /// Encodes the canonical key from the key columns' values in key order; `None` if one is NULL.
    pub fn encode_key<'v>(&self, values: impl IntoIterator<Item = ValueRef<'v>>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(32);
        for (&column, value) in self.key.iter().zip(values) {
            if !key::encode_part(value, self.columns[column].collation, &mut out) {
                return None;
            }
        }
        Some(out)
    }

    /// Finds a cell's index by replicated column id.
    pub fn cell_of(&self, column: ColumnId) -> Option<usize> {
        self.cell_ids.iter().position(|id| *id == column)
    }
}

/// All synced tables of a replica.
#[derive(Debug, Default, Clone)]
pub struct Registry {
    tables: Vec<Arc<TableInfo>>,
    by_name: HashMap<String, usize>,
    by_lane: HashMap<LaneId, usize>,
    by_num: HashMap<u32, usize>,
}

impl Registry {
    /// Collects tables.
    pub fn new(tables: Vec<TableInfo>) -> Self {
        let mut registry = Self::default();
        for (index, table) in tables.into_iter().enumerate() {
            registry.by_name.insert(kithdb_log::ids::fold_name(&table.name), index);
            registry.by_lane.insert(table.lane, index);
            registry.by_num.insert(table.num, index);
            registry.tables.push(Arc::new(table));
        }
        registry
    }
    /// Lists the tables.
    pub fn tables(&self) -> &[Arc<TableInfo>] {
        &self.tables
    }
    /// Finds a table by its name, without regard to ASCII case.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TableInfo>> {
        self.by_name.get(&kithdb_log::ids::fold_name(name)).map(|&index| &self.tables[index])
    }
    /// Finds a table by its lane.
    pub fn by_lane(&self, lane: &LaneId) -> Option<&Arc<TableInfo>> {
        self.by_lane.get(lane).map(|&index| &self.tables[index])
    }
    /// Finds a table by its local number.
    pub fn by_num(&self, num: u32) -> Option<&Arc<TableInfo>> {
        self.by_num.get(&num).map(|&index| &self.tables[index])
    }
}
