//! Keeps capture in step with which tables are synced, wherever that changes: in a call, in SQL, or in another process.
//!
//! Invariants:
//! 1. A table's trigger for other programs is silent on a connection exactly while capture follows that table there.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kithdb_log::BlindingSecret;
use rusqlite::Connection;

use crate::capture::{Capture, CaptureError};
use crate::catalog::{self, Catalog};
use crate::registry::{Registry, TableState};

/// What the SQL functions of a connection need to follow a change.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) capture: Capture,
    blinding: BlindingSecret,
    captured: Arc<Captured>,
    is_stale: Arc<AtomicBool>,
}

/// The local numbers of the tables that capture follows.
#[derive(Debug, Default)]
pub(crate) struct Captured(RwLock<HashSet<u32>>);

impl Captured {
    pub(crate) fn contains(&self, num: u32) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&num)
    }
}

impl Follow {
    pub(crate) fn new(capture: Capture, blinding: BlindingSecret) -> Self {
        Self { capture, blinding, captured: Arc::default(), is_stale: Arc::default() }
    }

    /// Returns another handle to the same, for SQL functions of the same connection.
    pub(crate) fn share(&self) -> Self {
        Self {
            capture: self.capture.share(),
            blinding: self.blinding.clone(),
            captured: Arc::clone(&self.captured),
            is_stale: Arc::clone(&self.is_stale),
        }
    }

    /// Returns the tables that are followed, for the triggers that ask.
    pub(crate) fn captured(&self) -> Arc<Captured> {
        Arc::clone(&self.captured)
    }

    /// Reads the registry again and has capture follow it.
    pub(crate) fn reload(&self, conn: &Connection) -> Result<Catalog, CaptureError> {
        let catalog = catalog::load(conn, &self.blinding)?;
        self.set(conn, &catalog.registry)?;
        // What was read inside a transaction may be rolled back with it.
        self.is_stale.store(!conn.is_autocommit(), Ordering::Relaxed);
        Ok(catalog)
    }

    fn set(&self, conn: &Connection, registry: &Registry) -> Result<(), CaptureError> {
        self.capture.set_tables(conn, registry)?;
        let synced = registry.tables().iter().filter(|table| table.state == TableState::Synced);
        *self.captured.0.write().unwrap_or_else(PoisonError::into_inner) = synced.map(|table| table.num).collect();
        Ok(())
    }

    /// Tells whether the registry was last read inside a transaction, or a statement was prepared that changes the schema.
    pub(crate) fn is_stale(&self) -> bool {
        let touched = self.capture.needs_refresh();
        if touched {
            self.is_stale.store(true, Ordering::Relaxed);
        }
        self.is_stale.load(Ordering::Relaxed)
    }
}
