//! Durable transactions of KithDB's own: invisible to the user's connection state and on disk when they return.

use rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY;

use crate::entries::StreamState;
use crate::log_error::LogError;
use crate::replica::Replica;

/// Size of the page cache during a merge: SQLite counts KiB when the number is negative.
const CACHE_KIB: i64 = -(64 << 10);

impl Replica {
    /// Runs something in one write transaction with `synchronous = EXTRA`, which differs from FULL with a rollback journal only:
    /// there the removal of the journal is the commit, and must be on disk too. Capture is suspended and foreign keys are not enforced (a
    /// cascade arrives as data of its own); rolls back on error.
    pub(crate) fn durably<T, E: From<rusqlite::Error>>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        const EXTRA: i64 = 3;
        let synchronous: i64 = self.conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        // SQLite switches this off at the end of every transaction, but the user meant one of his own.
        let defer: bool = self.conn.pragma_query_value(None, "defer_foreign_keys", |row| row.get(0))?;
        let foreign_keys = self.conn.db_config(SQLITE_DBCONFIG_ENABLE_FKEY)?;
        let raise = synchronous < EXTRA && self.path.is_some();
        if raise {
            self.conn.pragma_update(None, "synchronous", EXTRA)?;
        }
        if foreign_keys {
            self.conn.set_db_config(SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
        }
        // A merge touches the table, its index and the metadata at scattered places: SQLite's 2 MiB would spill pages back and forth.
        let cache: i64 = self.conn.pragma_query_value(None, "cache_size", |row| row.get(0))?;
        self.conn.pragma_update(None, "cache_size", CACHE_KIB)?;
        let outcome = self.quietly(run);
        self.conn.pragma_update(None, "cache_size", cache)?;
        if foreign_keys {
            self.conn.set_db_config(SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
        }
        if raise {
            self.conn.pragma_update(None, "synchronous", synchronous)?;
        }
        if defer {
            self.conn.pragma_update(None, "defer_foreign_keys", true)?;
        }
        outcome
    }

    /// Makes sure that what is cached is true and that this file may be written to.
    pub(crate) fn prepare_to_write(&mut self) -> Result<(), LogError> {
        self.reload_registry()?;
        Ok(())
    }

    fn quietly<T, E: From<rusqlite::Error>>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let suspended = self.capture.suspend();
        let quiet = self.capture.internal(&self.conn);
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = run(self).and_then(|out| {
            quiet.recount(&self.conn)?;
            self.conn.execute_batch("COMMIT")?;
            Ok(out)
        });
        if outcome.is_err() && !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        drop(quiet);
        drop(suspended);
        outcome
    }

    /// Notes in the sidecar that entries up to these heads may leave the process.
    pub(crate) fn note_published(&mut self, heads: &[StreamState]) -> Result<(), LogError> {
        if heads.is_empty() {
            return Ok(());
        }
        let count = crate::life::published_by_file(&self.conn, self.life.author_num())?;
        if let Err(error) = self.life.published(count) {
            // Without the note a restored copy of the file might not be recognised; the entries themselves are safe.
            tracing::warn!(%error, "cannot update the sidecar beside the database");
        }
        Ok(())
    }
}
