//! `kith_sync('*')`, later: tables that are made after it are taken in by the connections of ours that notice them.
//!
//! Invariants:
//! 1. Tables are taken in between transactions only: within one a table may still be altered, renamed or dropped.
//! 2. A table that is not fit can be made all the same; `kith_tables` says why it is left out.
//! 3. Nobody waits for a lock here: what is locked is tried again with the next statement. What else keeps a table from being taken
//!    in is no failure of the statement that happens to come next.

use std::collections::HashSet;
use std::time::Duration;

use kithdb_log::ids::fold_name;
use rusqlite::{Connection, ErrorCode};

use crate::define;
use crate::definition::{read_table, user_tables};
use crate::error::{SyncTableError, TableError};
use crate::replica::Replica;
use crate::storage::{get_meta, put_meta};
use kithdb_search::sql::{in_savepoint, quote};

/// The name in `kith__meta` of whether every table is to be synced.
const EVERY_TABLE: &str = "every_table";

/// Notes whether tables that are made from now on are to be synced.
pub(crate) fn set(conn: &Connection, is_every_table: bool) -> rusqlite::Result<()> {
    put_meta(conn, EVERY_TABLE, is_every_table)
}

/// Tells whether tables that are made from now on are to be synced.
pub(crate) fn is_set(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(get_meta(conn, EVERY_TABLE)?.unwrap_or(false))
}

/// Tables by which migration tools remember what they ran: another device runs its own migrations.
const MIGRATION_TABLES: &[&str] = &[
    "__drizzle_migrations",
    "__efmigrationshistory",
    "_prisma_migrations",
    "_sqlx_migrations",
    "alembic_version",
    "ar_internal_metadata",
    "django_migrations",
    "flyway_schema_history",
    "goose_db_version",
    "kysely_migration",
    "kysely_migration_lock",
    "knex_migrations",
    "knex_migrations_lock",
    "migrations",
    "mikro_orm_migrations",
    "refinery_schema_history",
    "schema_migrations",
    "sequelizemeta",
    "typeorm_metadata",
];

/// Says why a table is not meant by `*`, if it is not.
pub(crate) fn reason_against(table: &str) -> Option<String> {
    MIGRATION_TABLES.contains(&fold_name(table).as_str()).then(|| {
        format!("{} looks like a migration tool's own table; sync it by its name if you mean it", quote(table))
    })
}

/// Tables that KithDB does not know, each with why it cannot be taken in, if it cannot.
fn unknown(conn: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let known: HashSet<String> = conn
        .prepare_cached("SELECT name FROM kith__tables")?
        .query_map([], |row| Ok(fold_name(&row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut tables = Vec::new();
    for (table, _) in user_tables(conn)? {
        if known.contains(&fold_name(&table)) {
            continue;
        }
        let reason = match (reason_against(&table), read_table(conn, &table)) {
            (Some(reason), _) => Some(reason),
            (None, Ok(_)) => None,
            (None, Err(TableError::Sqlite(error))) => return Err(error),
            (None, Err(reason)) => Some(reason.to_string()),
        };
        tables.push((table, reason));
    }
    Ok(tables)
}

/// The tables that `*` would have synced if they were fit, each with the reason why they are not; none without `*`.
pub(crate) fn left_out(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    if !is_set(conn)? {
        return Ok(Vec::new());
    }
    let reason = |(table, reason): (String, Option<String>)| {
        let reason =
            reason.unwrap_or_else(|| format!("not taken in yet; `SELECT kith_sync({})` says why", text(&table)));
        (table, reason)
    };
    Ok(unknown(conn)?.into_iter().map(reason).collect())
}

fn text(table: &str) -> String {
    format!("'{}'", table.replace('\'', "''"))
}

/// Takes in the tables that are fit.
fn take_in(conn: &Connection) -> rusqlite::Result<()> {
    let fit: Vec<String> =
        unknown(conn)?.into_iter().filter(|(_, reason)| reason.is_none()).map(|(table, _)| table).collect();
    if fit.is_empty() {
        return Ok(());
    }
    in_savepoint(conn, || {
        for table in &fit {
            match define::sync_table(conn, table) {
                Ok(_) => {}
                Err(SyncTableError::Sqlite(error) | SyncTableError::Table(TableError::Sqlite(error))) => {
                    return Err(error);
                }
                // It is listed as left out.
                Err(reason) => tracing::debug!(%reason, "table is left out"),
            }
        }
        Ok(())
    })
}

impl Replica {
    /// Takes in tables that were made since `kith_sync('*')`; tells whether that is to be tried again.
    pub(crate) fn take_in_later_tables(&self) -> rusqlite::Result<bool> {
        if self.read_only || !self.conn.is_autocommit() || !is_set(&self.conn)? {
            return Ok(false);
        }
        let _quiet = self.capture.internal(&self.conn);
        // The application's own: it may have changed since the replica was opened.
        let patience_ms: u32 = self.conn.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
        self.conn.busy_timeout(Duration::ZERO)?;
        let taken = take_in(&self.conn);
        self.conn.busy_timeout(Duration::from_millis(patience_ms.into()))?;
        match taken {
            Err(error)
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) =>
            {
                Ok(true)
            }
            // As where the connection is not to write, by `PRAGMA query_only`. Whoever runs a statement did not ask for this.
            Err(error) => {
                tracing::debug!(%error, "later tables are not taken in");
                Ok(false)
            }
            Ok(()) => Ok(false),
        }
    }
}
