//! Which tables are synced: taking one in, taking one out, making one that a peer defined, and the registry of all.
//!
//! Invariants:
//! 1. Every change here happens in one savepoint and renews `tables_version` in `kith__meta`, so that nothing cached goes stale.
//! 2. SQL of a peer runs only if it is one CREATE TABLE and CREATE INDEX statements of that table, tried in a scratch database first.
//! 3. A synced table has triggers that note writes of other programs in `kith__dirty`; they cost our own connections nothing.

use kithdb_log::limits::{KEY_BYTES_MAX, OPERATION_BYTES_MAX, VALUE_BYTES_MAX};
use kithdb_log::{KeyKind, TableId, TableSchema};
use rusqlite::{Connection, OptionalExtension, params};

use crate::catalog::{damaged, parse_state, quarantine_name};
use crate::definition::{LocalTable, read_table, user_tables};
use crate::entries::EntryStatus;
use crate::error::{SyncTableError, TableError, UnsyncTableError};
use crate::later;
use crate::registry::{Registry, TableState};
use crate::storage::{self, get_meta, put_meta};
use crate::vet::vet;
use kithdb_search::sql::{in_savepoint, quote};

/// What became of a table that a peer defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The table was not there and is now.
    Created,
    /// A table of that name was there and fits.
    Adopted {
        /// Whether it has rows of its own, which count as written before sync.
        existing_rows: bool,
    },
    /// The table was synced already.
    AlreadySynced,
    /// The table was taken out with `kith_unsync` and stays out.
    Unsynced,
    /// The table is synced here in another form, which stays: the definition is refused.
    Refused {
        /// What is different.
        reason: String,
    },
    /// The table cannot take part yet; its entries wait.
    Quarantined {
        /// Why, and what to do.
        reason: String,
    },
}

/// What `kith_sync` did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// Tables taken in now.
    pub synced: Vec<String>,
    /// Tables that were synced already.
    pub already: Vec<String>,
    /// Tables left out, each with the reason.
    pub skipped: Vec<(String, String)>,
}

impl SyncReport {
    /// Returns the report as JSON text.
    pub fn to_json(&self) -> String {
        let skipped: Vec<_> = self
            .skipped
            .iter()
            .map(|(table, reason)| serde_json::json!({ "table": table, "reason": reason }))
            .collect();
        serde_json::json!({ "synced": self.synced, "already": self.already, "skipped": skipped }).to_string()
    }
}

/// Renews the number that tells connections to read the registry again; takes the write lock first of all.
pub(crate) fn renew_tables_version(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO kith__meta VALUES('tables_version', random()) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    )?
    .execute([])?;
    Ok(())
}

/// Renews the number that tells connections to read the membership and the life of the file again.
pub(crate) fn renew_workspace_version(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO kith__meta VALUES('workspace_version', random()) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    )?
    .execute([])?;
    Ok(())
}

struct Registered {
    num: u32,
    state: TableState,
    schema: TableSchema,
}

const fn state_text(state: TableState) -> &'static str {
    match state {
        TableState::Synced => "synced",
        TableState::Unsynced => "unsynced",
        TableState::Quarantined => "quarantined",
    }
}

fn registered(conn: &Connection, id: TableId) -> rusqlite::Result<Option<Registered>> {
    conn.prepare_cached("SELECT num, state, schema FROM kith__tables WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| {
            let state: String = row.get(1)?;
            let schema: Vec<u8> = row.get(2)?;
            let schema = TableSchema::decode(&schema).map_err(damaged)?;
            Ok(Registered { num: row.get(0)?, state: parse_state(&state), schema })
        })
        .optional()
}

/// Takes in the tables that `name` means: one, or with `*` all that are fit, now and later.
pub(crate) fn sync(conn: &Connection, name: &str) -> Result<SyncReport, SyncTableError> {
    let mut report = SyncReport::default();
    if name != "*" {
        let (table, is_new) = sync_table(conn, name)?;
        if is_new { &mut report.synced } else { &mut report.already }.push(table);
        return Ok(report);
    }
    in_savepoint(conn, || {
        renew_tables_version(conn)?;
        later::set(conn, true)?;
        for (table, _) in user_tables(conn)? {
            if let Some(reason) = later::reason_against(&table) {
                report.skipped.push((table, reason));
                continue;
            }
            match sync_table(conn, &table) {
                Ok((table, true)) => report.synced.push(table),
                Ok((table, false)) => report.already.push(table),
                Err(SyncTableError::Sqlite(error) | SyncTableError::Table(TableError::Sqlite(error))) => {
                    return Err(SyncTableError::Sqlite(error));
                }
                Err(reason) => report.skipped.push((table, reason.to_string())),
            }
        }
        Ok(())
    })?;
    Ok(report)
}

/// Takes in one table; returns its name as stored and whether it was new.
pub(crate) fn sync_table(conn: &Connection, name: &str) -> Result<(String, bool), SyncTableError> {
    in_savepoint(conn, || {
        renew_tables_version(conn)?;
        let local = read_table(conn, name)?;
        let schema = local.to_schema();
        match registered(conn, schema.id())? {
            Some(known) => match known.state {
                TableState::Synced => Ok((local.name, false)),
                TableState::Unsynced => Err(SyncTableError::Unsynced { table: local.name }),
                TableState::Quarantined => {
                    let difference = vet(&known.schema).map(|theirs| local.difference(&theirs)).unwrap_or_else(Some);
                    if let Some(difference) = difference {
                        return Err(SyncTableError::Misfit { table: local.name, difference });
                    }
                    let existing = check_rows(conn, &local)?;
                    set_state(conn, known.num, TableState::Synced, existing)?;
                    put_meta(conn, &quarantine_name(known.num), rusqlite::types::Null)?;
                    create_dirty_triggers(conn, known.num, &local)?;
                    Ok((local.name, true))
                }
            },
            None => {
                let existing = check_rows(conn, &local)?;
                let num = register(conn, &schema, TableState::Synced, existing, false)?;
                create_dirty_triggers(conn, num, &local)?;
                Ok((local.name, true))
            }
        }
    })
}

fn register(
    conn: &Connection,
    schema: &TableSchema,
    state: TableState,
    existing_rows: bool,
    defined_by_peer: bool,
) -> rusqlite::Result<u32> {
    // Zero stands for "sealed by another device"; NULL makes seal() write the schema operation.
    let sequence = defined_by_peer.then_some(0);
    conn.prepare_cached(
        "INSERT INTO kith__tables(id, name, schema, state, existing_rows, uptake, schema_sequence)
         VALUES(?1, ?2, ?3, ?4, ?5, CASE ?5 WHEN 1 THEN x'' END, ?6)",
    )?
    .execute(params![
        schema.id().as_bytes(),
        schema.name,
        schema.encode(),
        state_text(state),
        existing_rows,
        sequence
    ])?;
    let num = u32::try_from(conn.last_insert_rowid())
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, conn.last_insert_rowid()))?;
    storage::create_rows_table(conn, num, schema.key_kind == KeyKind::Auto)?;
    if state == TableState::Synced {
        retry_waiting(conn)?;
    }
    Ok(num)
}

/// Has entries looked at again that waited for a table: one was taken in.
pub(crate) fn retry_waiting(conn: &Connection) -> rusqlite::Result<()> {
    let (waits, for_table) = (EntryStatus::Waiting as i64, EntryStatus::WaitingForTable as i64);
    conn.prepare_cached("UPDATE kith__entries SET status = ?1 WHERE status = ?2")?.execute([waits, for_table])?;
    Ok(())
}

fn set_state(conn: &Connection, num: u32, state: TableState, existing_rows: bool) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE kith__tables SET state = ?2, existing_rows = max(existing_rows, ?3),
           uptake = CASE WHEN ?3 THEN x'' ELSE uptake END WHERE num = ?1",
    )?
    .execute(params![num, state_text(state), existing_rows])?;
    if state == TableState::Synced {
        retry_waiting(conn)?;
    }
    Ok(())
}

/// Takes a table out, whose log is kept; with `*` no table, but those that are made later are no longer taken in.
pub(crate) fn unsync(conn: &Connection, name: &str) -> Result<String, UnsyncTableError> {
    in_savepoint(conn, || {
        renew_tables_version(conn)?;
        if name == "*" && later::is_set(conn)? {
            later::set(conn, false)?;
            return Ok(name.to_owned());
        }
        let found: Option<(u32, String)> = conn
            .prepare_cached(
                "SELECT num, name FROM kith__tables WHERE name = ?1 COLLATE NOCASE AND state <> 'unsynced'",
            )?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((num, table)) = found else {
            return Err(UnsyncTableError::NotSynced { table: name.to_owned() });
        };
        set_state(conn, num, TableState::Unsynced, false)?;
        drop_dirty_triggers(conn, num)?;
        conn.prepare_cached("DELETE FROM kith__dirty WHERE table_num = ?1")?.execute([num])?;
        Ok(table)
    })
}

/// Makes the table that a peer defined, or takes in the one that is there.
pub(crate) fn create_from_schema(conn: &Connection, schema: &TableSchema) -> rusqlite::Result<CreateOutcome> {
    in_savepoint(conn, || {
        renew_tables_version(conn)?;
        let known = registered(conn, schema.id())?;
        let state = known.as_ref().map(|known| known.state);
        if state == Some(TableState::Unsynced) {
            return Ok(CreateOutcome::Unsynced);
        }
        let fit = match vet(schema) {
            Ok(theirs) if state == Some(TableState::Synced) => match read_table(conn, &schema.name) {
                Ok(local) => match local.difference(&theirs) {
                    None => return Ok(CreateOutcome::AlreadySynced),
                    Some(difference) => Err(misfit(&schema.name, &difference)),
                },
                Err(TableError::Sqlite(error)) => return Err(error),
                Err(reason) => Err(reason.to_string()),
            },
            Ok(theirs) => fit(conn, schema, &theirs)?,
            Err(reason) => Err(format!("the definition of table {} from a peer {reason}", quote(&schema.name))),
        };
        let fit = match fit {
            Ok(fit) => fit,
            // Whoever comes second does not stop a table that is in use.
            Err(reason) if state == Some(TableState::Synced) => return Ok(CreateOutcome::Refused { reason }),
            Err(reason) => {
                let num = match known {
                    Some(known) => {
                        set_state(conn, known.num, TableState::Quarantined, false)?;
                        drop_dirty_triggers(conn, known.num)?;
                        known.num
                    }
                    None => register(conn, schema, TableState::Quarantined, false, true)?,
                };
                put_meta(conn, &quarantine_name(num), &reason)?;
                return Ok(CreateOutcome::Quarantined { reason });
            }
        };
        let num = match known {
            Some(known) => {
                set_state(conn, known.num, TableState::Synced, fit.existing_rows)?;
                put_meta(conn, &quarantine_name(known.num), rusqlite::types::Null)?;
                known.num
            }
            None => register(conn, schema, TableState::Synced, fit.existing_rows, true)?,
        };
        create_dirty_triggers(conn, num, &fit.local)?;
        Ok(if fit.created {
            CreateOutcome::Created
        } else {
            CreateOutcome::Adopted { existing_rows: fit.existing_rows }
        })
    })
}

struct Fit {
    local: LocalTable,
    existing_rows: bool,
    created: bool,
}

fn misfit(table: &str, difference: &str) -> String {
    SyncTableError::Misfit { table: table.to_owned(), difference: difference.to_owned() }.to_string()
}

/// Finds or makes the local table for a vetted definition; the inner error is the reason why it cannot be.
fn fit(conn: &Connection, schema: &TableSchema, theirs: &LocalTable) -> rusqlite::Result<Result<Fit, String>> {
    let local = match read_table(conn, &schema.name) {
        Ok(local) => local,
        Err(TableError::Missing { .. }) => {
            let created = in_savepoint(conn, || {
                conn.execute(&schema.sql, [])?;
                for index in &schema.indexes {
                    conn.execute(index, [])?;
                }
                Ok::<_, rusqlite::Error>(())
            });
            match created {
                Ok(()) => {}
                // Only what the statement itself says keeps a table out; a full disk or a lock is for the caller.
                Err(error)
                    if error
                        .sqlite_error()
                        .is_some_and(|error| error.extended_code & 0xff == rusqlite::ffi::SQLITE_ERROR) =>
                {
                    return Ok(Err(format!("table {} could not be created: {error}", quote(&schema.name))));
                }
                Err(error) => return Err(error),
            }
            return Ok(match read_table(conn, &schema.name) {
                Ok(local) => match local.difference(theirs) {
                    None => Ok(Fit { local, existing_rows: false, created: true }),
                    Some(difference) => Err(misfit(&schema.name, &difference)),
                },
                Err(TableError::Sqlite(error)) => return Err(error),
                Err(reason) => Err(reason.to_string()),
            });
        }
        Err(TableError::Sqlite(error)) => return Err(error),
        Err(reason) => return Ok(Err(reason.to_string())),
    };
    if let Some(difference) = local.difference(theirs) {
        return Ok(Err(misfit(&local.name, &difference)));
    }
    let existing_rows = match check_rows(conn, &local) {
        Ok(existing_rows) => existing_rows,
        Err(TableError::Sqlite(error)) => return Err(error),
        Err(reason) => return Ok(Err(reason.to_string())),
    };
    let merge_by_key = get_meta::<bool>(conn, "merge_by_key")?.unwrap_or(false);
    if existing_rows && !merge_by_key {
        return Ok(Err(format!(
            "table {} has rows of its own; run `SELECT kith_sync({})` to merge them with the workspace's rows of equal key",
            quote(&local.name),
            sql_text(&local.name)
        )));
    }
    Ok(Ok(Fit { local, existing_rows, created: false }))
}

fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Checks the rows of a table that is taken in; tells whether there are any.
fn check_rows(conn: &Connection, table: &LocalTable) -> Result<bool, TableError> {
    let name = quote(&table.name);
    let any: bool = conn.query_row(&format!("SELECT EXISTS(SELECT 1 FROM main.{name})"), [], |row| row.get(0))?;
    if !any {
        return Ok(false);
    }
    let size = |column: &usize| format!("ifnull(octet_length({}),0)", quote(&table.columns[*column].name));
    let all: Vec<usize> = (0..table.columns.len()).collect();
    let sizes: Vec<String> = all.iter().map(size).collect();
    let nulls: Vec<String> =
        table.key.iter().map(|&column| format!("{} IS NULL", quote(&table.columns[column].name))).collect();
    let large: Vec<String> = sizes.iter().map(|size| format!("{size} > {VALUE_BYTES_MAX}")).collect();
    let key: Vec<String> = table.key.iter().map(size).collect();
    let sql = format!(
        "SELECT count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {} OR {} > {OPERATION_BYTES_MAX} OR {} > {KEY_BYTES_MAX})
         FROM main.{name}",
        balanced(&nulls, " OR "),
        balanced(&large, " OR "),
        balanced(&sizes, " + "),
        balanced(&key, " + ")
    );
    let (nulls, large): (i64, i64) = conn.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if nulls > 0 {
        return Err(TableError::NullKeys { table: table.name.clone(), rows: nulls.unsigned_abs() });
    }
    if large > 0 {
        return Err(TableError::RowsTooLarge { table: table.name.clone(), rows: large.unsigned_abs() });
    }
    Ok(true)
}

/// Joins expressions as a balanced tree: SQLite limits the depth of an expression, and tables may have 2000 columns.
fn balanced(parts: &[String], operator: &str) -> String {
    match parts {
        [] => "0".to_owned(),
        [one] => format!("({one})"),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            format!("({}{operator}{})", balanced(left, operator), balanced(right, operator))
        }
    }
}

/// The events of the triggers that note writes of other programs.
const DIRTY_EVENTS: [(&str, &str); 3] = [("i", "INSERT"), ("u", "UPDATE"), ("d", "DELETE")];

/// Creates the triggers that note writes of other programs.
///
/// A program without KithDB answers 0 to `sqlite_compileoption_used('KITH_CAPTURE')`; our connections answer 1, and mostly run
/// with triggers switched off altogether.
fn create_dirty_triggers(conn: &Connection, num: u32, table: &LocalTable) -> rusqlite::Result<()> {
    let key = |row: &str| match table.key.as_slice() {
        [column] => format!("{row}.{}", quote(&table.columns[*column].name)),
        columns => columns
            .iter()
            .map(|&column| format!("quote({row}.{})", quote(&table.columns[column].name)))
            .collect::<Vec<_>>()
            .join("||','||"),
    };
    drop_dirty_triggers(conn, num)?;
    for (letter, event) in DIRTY_EVENTS {
        let note = |row: &str| {
            format!(
                "INSERT INTO kith__dirty(table_num, rowkey, operation) VALUES({num}, {}, '{}')",
                key(row),
                event.to_ascii_lowercase()
            )
        };
        let body = match event {
            "INSERT" => note("new"),
            "DELETE" => note("old"),
            // A changed key touches two rows.
            _ => format!(
                "{}; INSERT INTO kith__dirty(table_num, rowkey, operation) SELECT {num}, {new}, 'update' WHERE {new} IS NOT {old}",
                note("old"),
                new = key("new"),
                old = key("old")
            ),
        };
        conn.execute_batch(&format!(
            "CREATE TRIGGER main.kith__dirty_{num}_{letter} AFTER {event} ON {}
             WHEN NOT sqlite_compileoption_used('KITH_CAPTURE') BEGIN {body}; END",
            quote(&table.name)
        ))?;
    }
    Ok(())
}

/// Creates the triggers again where another program took them away, as one does that makes a table anew.
pub(crate) fn restore_dirty_triggers(conn: &Connection, registry: &Registry) -> rusqlite::Result<()> {
    for table in registry.tables().iter().filter(|table| table.changed.is_some()) {
        match read_table(conn, &table.name) {
            Ok(local) if !has_dirty_triggers(conn, table.num)? => create_dirty_triggers(conn, table.num, &local)?,
            Err(TableError::Sqlite(error)) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Tells whether the triggers that note writes of other programs are there.
pub(crate) fn has_dirty_triggers(conn: &Connection, num: u32) -> rusqlite::Result<bool> {
    let name = format!("kith__dirty_{num}_");
    conn.prepare_cached(
        "SELECT count(*) = 3 FROM main.sqlite_schema WHERE type = 'trigger' AND name IN (?1 || 'i', ?1 || 'u', ?1 || 'd')",
    )?
    .query_row([name], |row| row.get(0))
}

fn drop_dirty_triggers(conn: &Connection, num: u32) -> rusqlite::Result<()> {
    for (letter, _) in DIRTY_EVENTS {
        conn.execute_batch(&format!("DROP TRIGGER IF EXISTS main.kith__dirty_{num}_{letter}"))?;
    }
    Ok(())
}
