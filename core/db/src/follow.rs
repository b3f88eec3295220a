//! Keeps capture in step with which tables are synced, wherever that changes: in a call, in SQL, or in another process.
//!
//! Invariants:
//! 1. A row of a synced table is either captured or noted in `kith__dirty`: the table's trigger for other programs is silent on
//!    a connection exactly while capture follows that table there.
//! 2. What was read inside a transaction is read again once that has ended, since it may have been rolled back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kithdb_log::BlindingSecret;
use rusqlite::Connection;

use crate::capture::{Capture, CaptureError};
use crate::catalog::{self, Catalog};
use crate::registry::TableState;

/// What the synced tables were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablesVersion {
    schema: i64,
    tables: i64,
}

impl TablesVersion {
    pub(crate) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached(
            "SELECT (SELECT schema_version FROM pragma_schema_version),
               (SELECT value FROM main.kith__meta WHERE name = 'tables_version')",
        )?
        .query_row([], |row| Ok(Self { schema: row.get(0)?, tables: row.get::<_, Option<i64>>(1)?.unwrap_or(0) }))
    }
}

/// What a connection's SQL functions, and the replica itself, need to follow a change.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) capture: Capture,
    blinding: BlindingSecret,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    followed: RwLock<Followed>,
    is_stale: AtomicBool,
}

#[derive(Debug, Default)]
struct Followed {
    /// Local numbers of the tables that capture follows.
    tables: HashSet<u32>,
    version: Option<TablesVersion>,
}

impl Follow {
    pub(crate) fn new(capture: Capture, blinding: BlindingSecret) -> Self {
        Self { capture, blinding, shared: Arc::default() }
    }

    /// Returns another handle to the same, for SQL functions of the same connection.
    pub(crate) fn share(&self) -> Self {
        Self { capture: self.capture.share(), blinding: self.blinding.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Tells whether capture follows a table.
    pub(crate) fn is_captured(&self, num: u32) -> bool {
        self.shared.followed.read().unwrap_or_else(PoisonError::into_inner).tables.contains(&num)
    }

    /// Reads the registry again and has capture follow it.
    pub(crate) fn reload(&self, conn: &Connection) -> Result<Catalog, CaptureError> {
        let version = TablesVersion::read(conn)?;
        let catalog = catalog::load(conn, &self.blinding)?;
        self.capture.set_tables(conn, &catalog.registry)?;
        let synced = catalog.registry.tables().iter().filter(|table| table.state == TableState::Synced);
        let followed = Followed { tables: synced.map(|table| table.num).collect(), version: Some(version) };
        *self.shared.followed.write().unwrap_or_else(PoisonError::into_inner) = followed;
        self.shared.is_stale.store(!conn.is_autocommit(), Ordering::Relaxed);
        Ok(catalog)
    }

    /// Reads the registry again if another connection changed it since; for the middle of a statement.
    pub(crate) fn reload_if_changed(&self, conn: &Connection) -> Result<(), CaptureError> {
        let version = TablesVersion::read(conn)?;
        if self.shared.followed.read().unwrap_or_else(PoisonError::into_inner).version != Some(version) {
            self.reload(conn)?;
            // The replica's own registry has yet to follow.
            self.shared.is_stale.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Tells whether the registry was last read inside a transaction, or a statement was prepared that changes the schema.
    pub(crate) fn is_stale(&self) -> bool {
        if self.capture.needs_refresh() {
            self.shared.is_stale.store(true, Ordering::Relaxed);
        }
        self.shared.is_stale.load(Ordering::Relaxed)
    }
}
