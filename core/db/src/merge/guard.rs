//! Keeps the user's triggers from writing twice: what they write to synced tables arrives as data of its own.
//!
//! Triggers of ours that keep a search index write to no synced table: they run unguarded, and what is written without triggers is
//! told to the index another way.
//!
//! While remote writes are applied, each synced table has a TEMP BEFORE trigger that lets the one write through that apply makes and
//! ignores what triggers nest inside it. Writes of triggers to tables that are not synced happen as they would anywhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, params};

use super::MergeError;
use super::table::from_key;
use crate::registry::Registry;
use kithdb_search::sql::quote;
use kithdb_search::text::{Settle, settles_of};

const OFF: i64 = -1;

/// The guard of one merge; installed only where the schema has triggers of the user's.
#[derive(Debug)]
pub(crate) struct Guard<'c> {
    conn: &'c Connection,
    writes: Arc<AtomicI64>,
    guarded: Vec<u32>,
    names: HashMap<u32, String>,
    /// What stands in for the triggers of search indexes, by table, once it was needed.
    settles: RefCell<HashMap<u32, Rc<Vec<Settle>>>>,
    /// Whether triggers were switched off, to be switched on again.
    switched_off: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.switched_off
            && let Err(error) = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)
        {
            tracing::error!(%error, "cannot switch triggers on again");
        }
    }
}

impl<'c> Guard<'c> {
    /// Makes a guard that guards nothing.
    pub(crate) fn none(conn: &'c Connection) -> Self {
        Self {
            conn,
            writes: Arc::new(AtomicI64::new(OFF)),
            guarded: Vec::new(),
            names: HashMap::new(),
            settles: RefCell::default(),
            switched_off: false,
        }
    }

    /// Puts the guard in place if the user has triggers.
    pub(crate) fn install(conn: &'c Connection, registry: &Registry) -> rusqlite::Result<Self> {
        let mut guard = Self::none(conn);
        let exists = |condition: &str| -> rusqlite::Result<bool> {
            conn.prepare_cached(&format!(
                "SELECT EXISTS(SELECT 1 FROM main.sqlite_master WHERE type = 'trigger' AND {condition})
                   OR EXISTS(SELECT 1 FROM temp.sqlite_master WHERE type = 'trigger' AND {condition})",
            ))?
            .query_row([], |row| row.get(0))
        };
        if !exists("name NOT LIKE 'kith\\_%' ESCAPE '\\'")? {
            // Triggers that note the writes of other programs have nothing to do here: having none makes SQLite's work lighter.
            let has_indexes = exists("name NOT LIKE 'kith\\_\\_%' ESCAPE '\\'")?;
            if !has_indexes && conn.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER)? {
                conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
                guard.switched_off = true;
            }
            return Ok(guard);
        }
        let writes = guard.writes.clone();
        conn.create_scalar_function("kith__nested", 0, FunctionFlags::SQLITE_UTF8, move |_| {
            if writes.load(Ordering::Relaxed) == OFF {
                return Ok(0);
            }
            Ok(i64::from(writes.fetch_add(1, Ordering::Relaxed) > 0))
        })?;
        // A table that was taken out of sync and dropped, or that another program dropped, is known still.
        for table in registry.tables() {
            if !conn.table_exists(Some("main"), table.name.as_str())? {
                continue;
            }
            for event in ["INSERT", "UPDATE", "DELETE"] {
                conn.execute_batch(&format!(
                    "CREATE TEMP TRIGGER {} BEFORE {event} ON main.{} WHEN kith__nested() BEGIN SELECT RAISE(IGNORE); END",
                    trigger(table.num, event),
                    quote(&table.name)
                ))?;
            }
            guard.guarded.push(table.num);
            guard.names.insert(table.num, table.name.clone());
        }
        Ok(guard)
    }

    /// Tells whether the user has triggers.
    pub(crate) fn has_triggers(&self) -> bool {
        !self.guarded.is_empty()
    }

    /// Runs one write of apply's own; what triggers nest inside it on synced tables vanishes. A failed write leaves nothing behind,
    /// whatever a trigger raised; one that rolled the whole transaction back is an error of its own.
    pub(crate) fn write<T>(
        &self,
        run: impl FnOnce() -> rusqlite::Result<T>,
    ) -> Result<rusqlite::Result<T>, MergeError> {
        if !self.has_triggers() {
            return Ok(run());
        }
        self.conn.prepare_cached("SAVEPOINT kith__write")?.execute([])?;
        self.writes.store(0, Ordering::Relaxed);
        let out = run();
        self.writes.store(OFF, Ordering::Relaxed);
        if self.conn.is_autocommit() {
            return Err(MergeError::RolledBackByTrigger);
        }
        if out.is_err() {
            self.conn.execute_batch("ROLLBACK TO kith__write")?;
        }
        self.conn.prepare_cached("RELEASE kith__write")?.execute([])?;
        Ok(out)
    }

    /// Runs something with every trigger switched off.
    pub(crate) fn without_triggers<T>(&self, run: impl FnOnce() -> T) -> rusqlite::Result<T> {
        let before = self.conn.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER)?;
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        let out = run();
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, before)?;
        Ok(out)
    }

    /// Runs one write of a row with every trigger switched off, and has the search indexes of its table follow.
    pub(crate) fn without_triggers_on<T>(
        &self,
        table: u32,
        key: &[u8],
        run: impl FnOnce() -> T,
    ) -> Result<T, MergeError> {
        let settles = self.settles_of(table)?;
        let out = self.without_triggers(run)?;
        if !settles.is_empty() {
            let key = from_key(key)?;
            for settle in settles.iter() {
                settle.run(self.conn, &key)?;
            }
        }
        Ok(out)
    }

    fn settles_of(&self, table: u32) -> rusqlite::Result<Rc<Vec<Settle>>> {
        if let Some(known) = self.settles.borrow().get(&table) {
            return Ok(Rc::clone(known));
        }
        let found = match self.names.get(&table) {
            Some(name) => Rc::new(settles_of(self.conn, name)?),
            None => Rc::default(),
        };
        self.settles.borrow_mut().insert(table, Rc::clone(&found));
        Ok(found)
    }

    /// Takes the guard away.
    pub(crate) fn remove(self) -> rusqlite::Result<()> {
        for num in &self.guarded {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                self.conn.execute_batch(&format!("DROP TRIGGER IF EXISTS temp.{}", trigger(*num, event)))?;
            }
        }
        Ok(())
    }
}

fn trigger(num: u32, event: &str) -> String {
    format!("kith__guard_{num}_{}", event.to_ascii_lowercase())
}

/// Notes that a shown row breaks a rule that is not enforced on apply.
pub(crate) fn note_violation(
    conn: &Connection,
    table: u32,
    key: &[u8],
    kind: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO kith__violations(table_num, key, kind, detail) VALUES(?1, ?2, ?3, ?4)
         ON CONFLICT(table_num, key, kind) DO UPDATE SET detail = excluded.detail",
    )?
    .execute(params![table, key, kind, detail])?;
    Ok(())
}

/// Forgets what was noted about a row.
pub(crate) fn clear_violations(conn: &Connection, table: u32, key: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM kith__violations WHERE table_num = ?1 AND key = ?2")?
        .execute(params![table, key])?;
    Ok(())
}

/// Forgets what was noted about a row under one kind.
pub(crate) fn clear_violation(conn: &Connection, table: u32, key: &[u8], kind: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM kith__violations WHERE table_num = ?1 AND key = ?2 AND kind = ?3")?
        .execute(params![table, key, kind])?;
    Ok(())
}
