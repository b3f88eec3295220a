//! Keeps capture in step with which tables are synced, wherever that changes: in a call, in SQL, or in another process.
//!
//! Invariants:
//! 1. What was read inside a transaction is read again once that has ended, since it may have been rolled back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kithdb_log::BlindingSecret;
use rusqlite::Connection;

use crate::capture::{Capture, CaptureError};
use crate::catalog::{self, Catalog};

/// What the synced tables were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablesVersion {
    /// SQLite's own number of the schema.
    pub(crate) schema: i64,
    /// Random, renewed with every change of which tables are synced.
    pub(crate) tables: i64,
    /// Random, renewed with every change of who belongs to the workspace and which life of the file this is.
    workspace: i64,
}

impl TablesVersion {
    /// Returns this version as far as tables go, and the other one's for the rest.
    pub(crate) const fn with_workspace_of(self, other: Self) -> Self {
        Self { workspace: other.workspace, ..self }
    }

    pub(crate) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached(
            "SELECT (SELECT schema_version FROM pragma_schema_version),
               (SELECT value FROM main.kith__meta WHERE name = 'tables_version'),
               (SELECT value FROM main.kith__meta WHERE name = 'workspace_version')",
        )?
        .query_row([], |row| {
            let number = |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.unwrap_or(0));
            Ok(Self { schema: number(0)?, tables: number(1)?, workspace: number(2)? })
        })
    }
}

/// What a connection's SQL functions, and the replica itself, need to follow a change.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) capture: Capture,
    blinding: BlindingSecret,
    is_stale: Arc<AtomicBool>,
}

impl Follow {
    pub(crate) fn new(capture: Capture, blinding: BlindingSecret) -> Self {
        Self { capture, blinding, is_stale: Arc::default() }
    }

    /// Returns another handle to the same, for SQL functions of the same connection.
    pub(crate) fn share(&self) -> Self {
        Self { capture: self.capture.share(), blinding: self.blinding.clone(), is_stale: Arc::clone(&self.is_stale) }
    }

    /// Reads the registry again and has capture follow it.
    pub(crate) fn reload(&self, conn: &Connection) -> Result<(Catalog, TablesVersion), CaptureError> {
        let version = TablesVersion::read(conn)?;
        let catalog = catalog::load(conn, &self.blinding)?;
        self.capture.set_tables(conn, &catalog.registry)?;
        self.capture.expect(conn, version)?;
        self.is_stale.store(!conn.is_autocommit(), Ordering::Relaxed);
        Ok((catalog, version))
    }

    /// Has the registry be read again before the next statement.
    pub(crate) fn mark_stale(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Tells whether the registry was last read inside a transaction, or a statement was prepared that changes the schema.
    pub(crate) fn is_stale(&self) -> bool {
        if self.capture.needs_refresh() {
            self.is_stale.store(true, Ordering::Relaxed);
        }
        self.is_stale.load(Ordering::Relaxed)
    }
}
