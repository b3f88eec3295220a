//! What the hook must know of a synced table, and finding it by the name the hook is given.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::Arc;

use kithdb_log::Affinity;
use rusqlite::Connection;

use crate::registry::{Registry, TableInfo, TableState};
use kithdb_search::sql::quote;

/// A stored column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Index among all columns, generated ones included.
    pub(super) index: c_int,
    /// Whether integers stand for reals: SQLite stores whole reals as integers where the affinity says so.
    pub(super) is_real: bool,
}

/// A synced table.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) num: u32,
    pub(super) name: String,
    /// Number of all columns, or `None` where the local table is not what the registry says.
    pub(super) width: Option<c_int>,
    /// What another program changed about the table, if the registry knows.
    pub(super) changed: Option<String>,
    pub(super) columns: Vec<Column>,
    /// Indexes into `columns`.
    pub(super) key: Vec<usize>,
    /// Whether updates carry the whole old row.
    pub(super) has_existing_rows: bool,
    /// Reads the stored columns of the row with a given rowid or key.
    pub(super) select: String,
    pub(super) without_rowid: bool,
}

impl Shape {
    /// Describes a table as the registry has it, if the local table still fits.
    pub(super) fn of_table(conn: &Connection, info: &TableInfo) -> rusqlite::Result<Self> {
        let mut names = Vec::new();
        let mut xinfo = conn.prepare_cached("SELECT name FROM pragma_table_xinfo(?1, 'main') ORDER BY cid")?;
        let mut rows = xinfo.query([&info.name])?;
        while let Some(row) = rows.next()? {
            names.push(row.get::<_, String>(0)?);
        }
        let fits = info
            .columns
            .iter()
            .all(|column| names.get(column.table_index).is_some_and(|name| name.eq_ignore_ascii_case(&column.name)));
        let columns: Vec<_> = info.columns.iter().map(|column| quote(&column.name)).collect();
        let place = if info.without_rowid {
            let key: Vec<_> = info.key.iter().map(|&column| format!("{} IS ?", columns[column])).collect();
            key.join(" AND ")
        } else {
            // A user's column may be called rowid, but hardly oid and _rowid_ as well.
            let free = ["rowid", "_rowid_", "oid"]
                .into_iter()
                .find(|alias| !names.iter().any(|name| name.eq_ignore_ascii_case(alias)));
            format!("{} = ?", free.unwrap_or("rowid"))
        };
        Ok(Self {
            num: info.num,
            name: info.name.clone(),
            width: if fits && info.changed.is_none() { c_int::try_from(names.len()).ok() } else { None },
            changed: info.changed.clone(),
            columns: info
                .columns
                .iter()
                .map(|column| Column {
                    index: c_int::try_from(column.table_index).unwrap_or(c_int::MAX),
                    is_real: column.affinity == Affinity::Real,
                })
                .collect(),
            key: info.key.clone(),
            has_existing_rows: info.existing_rows,
            select: format!("SELECT {} FROM main.{} WHERE {place}", columns.join(", "), quote(&info.name)),
            without_rowid: info.without_rowid,
        })
    }

    /// Length of the mask of changed columns.
    #[inline]
    pub(super) fn mask_len(&self) -> usize {
        self.columns.len().div_ceil(8)
    }
}

/// The synced tables.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    list: Vec<Shape>,
    by_name: HashMap<String, usize>,
    /// The table found last: most statements write one table.
    last: Cell<usize>,
    /// The name last asked for that is no synced table.
    missed: RefCell<Vec<u8>>,
    /// What the shapes were made from.
    source: Vec<Arc<TableInfo>>,
}

impl Shapes {
    pub(super) fn new(list: Vec<Shape>) -> Self {
        let by_name = list.iter().enumerate().map(|(index, shape)| (shape.name.to_ascii_lowercase(), index)).collect();
        Self { list, by_name, ..Self::default() }
    }

    /// Describes the synced tables of a registry.
    pub(super) fn of_registry(conn: &Connection, registry: &Registry) -> rusqlite::Result<Self> {
        // A table that was changed elsewhere has no width, so that a write to it fails the commit instead of going unrecorded.
        let synced = registry.tables().iter().filter(|info| info.state == TableState::Synced || info.changed.is_some());
        let list = synced.map(|info| Shape::of_table(conn, info)).collect::<rusqlite::Result<_>>()?;
        Ok(Self { source: registry.tables().to_vec(), ..Self::new(list) })
    }

    /// Tells whether the shapes were made from exactly these tables.
    pub(super) fn are_of(&self, registry: &Registry) -> bool {
        let tables = registry.tables();
        self.source.len() == tables.len()
            && self.source.iter().zip(tables).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }

    /// Finds a synced table by the name in the local schema.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<&Shape> {
        match self.list.get(self.last.get()) {
            Some(shape) if shape.name.as_bytes() == name => Some(shape),
            _ => self.find_other(name),
        }
    }

    fn find_other(&self, name: &[u8]) -> Option<&Shape> {
        if self.missed.borrow().as_slice() == name {
            return None;
        }
        let folded = std::str::from_utf8(name).ok().map(str::to_ascii_lowercase);
        let found = folded.and_then(|name| self.by_name.get(&name).copied());
        match found {
            Some(index) => {
                self.last.set(index);
                self.list.get(index)
            }
            None => {
                let mut missed = self.missed.borrow_mut();
                missed.clear();
                missed.extend_from_slice(name);
                None
            }
        }
    }

    /// Finds a synced table by number.
    pub(super) fn by_num(&self, num: u32) -> Option<&Shape> {
        self.list.iter().find(|shape| shape.num == num)
    }

    /// Tells whether a table of this name is synced.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(&name.to_ascii_lowercase())
    }
}
