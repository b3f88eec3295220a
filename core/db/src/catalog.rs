//! Builds the registry: each replicated definition beside the local table that holds its rows.
//!
//! Invariants:
//! 1. Columns, cells and so the bytes of a row at birth are in the order of the replicated definition, whatever the local order.
//! 2. A table whose local form lost a column or its key, or has a stored column or UNIQUE index that the definition does not know, is
//!    quarantined here, whatever its stored state.

use std::collections::{BTreeSet, HashMap};

use kithdb_log::ids::fold_name;
use kithdb_log::{BlindingSecret, KeyKind, LaneId, TableId, TableSchema};
use rusqlite::Connection;

use crate::define::has_dirty_triggers;
use crate::definition::{LocalTable, read_table};
use crate::error::TableError;
use crate::registry::{ColumnInfo, Registry, TableInfo, TableState};
use crate::storage::get_meta;
use crate::vet::vet;
use kithdb_log::key;
use kithdb_search::sql::quote;

pub(crate) fn parse_state(text: &str) -> TableState {
    match text {
        "synced" => TableState::Synced,
        "unsynced" => TableState::Unsynced,
        _ => TableState::Quarantined,
    }
}

pub(crate) fn damaged(error: kithdb_log::DecodeError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}

/// Names the value of `kith__meta` that says why a table is quarantined.
pub(crate) fn quarantine_name(num: u32) -> String {
    format!("quarantine_{num}")
}

/// Computes the one lane of a table without tags.
pub(crate) fn lane_of(blinding: &BlindingSecret, table: TableId) -> LaneId {
    BlindingSecret::lane_id(&blinding.blind_table(table), &[])
}

struct Stored {
    num: u32,
    id: TableId,
    name: String,
    schema: TableSchema,
    state: TableState,
    existing_rows: bool,
}

/// The registry, and why tables that should be synced are not.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub registry: Registry,
    pub quarantined: Vec<(u32, String)>,
}

/// Reads the registry.
pub(crate) fn load(conn: &Connection, blinding: &BlindingSecret) -> rusqlite::Result<Catalog> {
    let mut statement =
        conn.prepare_cached("SELECT num, id, name, schema, state, existing_rows FROM kith__tables ORDER BY num")?;
    let stored = statement
        .query_map([], |row| {
            let schema: Vec<u8> = row.get(3)?;
            let state: String = row.get(4)?;
            Ok(Stored {
                num: row.get(0)?,
                id: TableId::from_bytes(row.get(1)?),
                name: row.get(2)?,
                schema: TableSchema::decode(&schema).map_err(damaged)?,
                state: parse_state(&state),
                existing_rows: row.get(5)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // A reference is replicated with the row it means only where the parent's numbers are handed out by SQLite.
    let parents: HashMap<String, (TableId, String)> = stored
        .iter()
        .filter(|table| table.schema.key_kind == KeyKind::Auto)
        .filter_map(|table| {
            let key = table.schema.columns.get(usize::from(*table.schema.key.first()?))?;
            Some((fold_name(&table.name), (table.id, key.name.clone())))
        })
        .collect();
    let mut catalog = Catalog::default();
    let mut tables = Vec::with_capacity(stored.len());
    for table in stored {
        let (local, reason) = match read_table(conn, &table.name) {
            Ok(local) => {
                let mut reason = changed_elsewhere(&local, &table.schema);
                if reason.is_none() && table.state == TableState::Synced && !has_dirty_triggers(conn, table.num)? {
                    reason = Some(made_anew(&local.name));
                }
                (Some(local), reason)
            }
            Err(TableError::Sqlite(error)) => return Err(error),
            Err(TableError::Missing { .. }) if table.state == TableState::Synced => (None, Some(dropped(&table))),
            Err(reason) => (None, Some(reason.to_string())),
        };
        let mut state = table.state;
        let mut changed = None;
        if state == TableState::Quarantined {
            let reason = get_meta::<Option<String>>(conn, &quarantine_name(table.num))?.flatten();
            catalog.quarantined.push((table.num, reason.unwrap_or_default()));
        } else if let (Some(reason), TableState::Synced) = (reason, state) {
            catalog.quarantined.push((table.num, reason.clone()));
            state = TableState::Quarantined;
            changed = Some(reason);
        }
        let lane = lane_of(blinding, table.id);
        let info = table_info(Stored { state, ..table }, lane, local.as_ref(), &parents);
        tables.push(TableInfo { changed, ..info });
    }
    catalog.registry = Registry::new(tables);
    Ok(catalog)
}

/// Says how to get back a table that another program dropped.
fn dropped(table: &Stored) -> String {
    format!(
        "another program dropped the synced table {}; make it again with `{}`, then run `kith verify FILE --repair` to get its rows back from the log",
        table.name, table.schema.sql
    )
}

/// Says how to get the rows back of a table that another program dropped and made again.
fn made_anew(table: &str) -> String {
    format!(
        "another program made the synced table {table} anew, or dropped its triggers; run `kith verify FILE --repair` to get its rows back from the log"
    )
}

/// Says what another program changed about a table so that rows can no longer be recorded whole, with the remedy.
fn changed_elsewhere(local: &LocalTable, schema: &TableSchema) -> Option<String> {
    let (table, unsync) = (&local.name, format!("call kith_unsync('{}')", local.name.replace('\'', "''")));
    if let Some(difference) = local.misfit(schema) {
        return Some(format!(
            "the columns of the synced table {table} were changed by another program: {difference}; change them back there, or {unsync}"
        ));
    }
    if let Some(column) = local.unknown_column(schema) {
        return Some(format!(
            "another program added the column {} to the synced table {table}, where its values would not be recorded; run `ALTER TABLE {} DROP COLUMN {}` there, or {unsync}",
            column.name,
            quote(table),
            quote(&column.name)
        ));
    }
    let remedy = changed_uniqueness(local, schema)?;
    Some(format!(
        "the UNIQUE indexes of the synced table {table} are not those of the other devices, where other rows would be kept out; {remedy}, or {unsync}"
    ))
}

/// Says how to get back the UNIQUE indexes that a definition names, if they allow other rows than those that are there.
fn changed_uniqueness(local: &LocalTable, schema: &TableSchema) -> Option<String> {
    let unique = |indexes: &[String]| -> BTreeSet<String> {
        indexes.iter().filter(|sql| sql.starts_with("CREATE UNIQUE")).cloned().collect()
    };
    let (here, there) = (unique(&local.indexes), unique(&schema.indexes));
    if here == there {
        return None;
    }
    // Written in another way they may still mean the same.
    vet(schema).ok()?.difference(local)?;
    Some(match (there.difference(&here).next(), here.difference(&there).next()) {
        (Some(missing), _) => format!("run `{missing}`"),
        (None, Some(extra)) => format!("drop the one made by `{extra}`"),
        (None, None) => return None,
    })
}

fn table_info(
    table: Stored,
    lane: LaneId,
    local: Option<&LocalTable>,
    parents: &HashMap<String, (TableId, String)>,
) -> TableInfo {
    let ids = table.schema.column_ids();
    let key: Vec<usize> = table.schema.key.iter().map(|&column| usize::from(column)).collect();
    let mut columns = Vec::with_capacity(ids.len());
    let mut cells = Vec::new();
    for (index, (column, id)) in table.schema.columns.iter().zip(&ids).enumerate() {
        let position = local.and_then(|local| local.position(&column.name));
        let here = position.and_then(|position| local.map(|local| &local.columns[position]));
        let is_cell = !key.contains(&index) || key::is_ambiguous(column.affinity, column.collation);
        let references = position.and_then(|position| reference(local?, position, parents));
        columns.push(ColumnInfo {
            id: *id,
            name: here.map_or_else(|| column.name.clone(), |here| here.name.clone()),
            affinity: column.affinity,
            collation: column.collation,
            // Without a local column the table is quarantined and the index is not used.
            table_index: here.map_or(index, |here| here.table_index),
            cell: is_cell.then_some(cells.len()),
            references,
        });
        if is_cell {
            cells.push(index);
        }
    }
    let unique_cells =
        cells.iter().map(|&cell| local.is_some_and(|local| is_unique(local, &columns[cell].name))).collect();
    TableInfo {
        num: table.num,
        id: table.id,
        lane,
        name: local.map_or(table.name, |local| local.name.clone()),
        state: table.state,
        changed: None,
        existing_rows: table.existing_rows,
        key,
        cell_ids: cells.iter().map(|&cell| ids[cell]).collect(),
        columns,
        cells,
        unique_cells,
        without_rowid: local.is_some_and(|local| local.without_rowid),
        schema: table.schema,
    }
}

fn is_unique(local: &LocalTable, column: &str) -> bool {
    let Some(position) = local.position(column) else { return false };
    local.unique.iter().any(|index| index.columns.as_ref().is_none_or(|columns| columns.contains(&position)))
}

fn reference(local: &LocalTable, column: usize, parents: &HashMap<String, (TableId, String)>) -> Option<TableId> {
    let declared = local.references.iter().find(|reference| reference.column == column)?;
    let (id, key) = parents.get(&fold_name(&declared.parent))?;
    let is_key = declared.parent_column.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(key));
    is_key.then_some(*id)
}
