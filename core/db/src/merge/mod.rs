//! Merging into a replica: the state of rows, the user's table as its materialisation, local and remote writes by one rule.
//!
//! A row is a set of *lives* (key, origin, odd generation); each life is a [`kithdb_log::Node`]. The life that is shown has its values in
//! the user's table and its stamps in `kith__rows_N`; every other life is in `kith_parked`.
//!
//! Invariants:
//! 1. What is shown and what is parked is a function of the set of operations, whatever the order of their arrival.
//! 2. Merging never fails on a constraint: a life that cannot be shown is parked with its values and goes on merging.
//! 3. A life is either shown or parked, never both.

mod authors;
mod claims;
mod guard;
mod local;
mod materialise;
mod meta;
pub(crate) mod parked;
mod remote;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use kithdb_log::DecodeError;
use rusqlite::Connection;

pub(crate) use self::authors::Authors;
pub(crate) use self::guard::Guard;
pub(crate) use self::local::{Sink, resolve};
pub(crate) use self::materialise::meta_of;
pub(crate) use self::meta::RowMeta;
pub use self::parked::Reason;
pub(crate) use self::parked::{Life, LifeId};
pub(crate) use self::remote::apply;
pub(crate) use self::table::{TableWork, from_sql};
use crate::registry::{Registry, TableInfo};

/// Reports why a merge could not be carried out; the transaction is to be rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// SQLite failed.
    #[error("cannot merge into the database")]
    Sqlite(#[from] rusqlite::Error),
    /// Stored metadata or an operation is not what the format says.
    #[error("cannot merge")]
    Decode(#[from] DecodeError),
    /// A trigger of the user's rolled the transaction back.
    #[error("a trigger rolled the merge back")]
    RolledBackByTrigger,
    /// The operations could not be passed on to be sealed.
    #[error("an operation could not be sealed")]
    SinkFailed,
    /// A table is not known.
    #[error("table number {0} is not registered")]
    UnknownTable(u32),
}

impl MergeError {
    /// Tells whether a trigger may be to blame: it rolled back, or it does not compile, as when a table it writes to is not there, or
    /// the search index that it keeps is damaged.
    pub(crate) fn may_be_a_triggers(&self) -> bool {
        match self {
            Self::RolledBackByTrigger => true,
            Self::Sqlite(error) => {
                use rusqlite::ffi::{SQLITE_CORRUPT_VTAB, SQLITE_ERROR};
                error
                    .sqlite_error()
                    .is_some_and(|error| matches!(error.extended_code, SQLITE_ERROR | SQLITE_CORRUPT_VTAB))
            }
            _ => false,
        }
    }
}

/// What every step of a merge needs.
pub(crate) struct Context<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) authors: Authors,
    pub(crate) guard: Guard<'c>,
    /// Puts capture's preupdate hook back after a probe borrowed the hook's place.
    pub(crate) restore_hook: &'c dyn Fn(),
}

/// One merge: lives inside one transaction on a connection whose capture is suspended.
pub(crate) struct Merge<'c> {
    pub(crate) context: Context<'c>,
    pub(crate) tables: BTreeMap<u32, TableWork<'c>>,
    registry: &'c Registry,
}

impl<'c> Merge<'c> {
    /// Starts a merge inside the caller's transaction.
    pub(crate) fn begin(
        conn: &'c Connection,
        registry: &'c Registry,
        restore_hook: &'c dyn Fn(),
    ) -> Result<Self, MergeError> {
        let context =
            Context { conn, authors: Authors::load(conn)?, guard: Guard::install(conn, registry)?, restore_hook };
        Ok(Self { context, tables: BTreeMap::new(), registry })
    }

    /// Starts a merge that only looks.
    pub(crate) fn inspect(
        conn: &'c Connection,
        registry: &'c Registry,
        restore_hook: &'c dyn Fn(),
    ) -> Result<Self, MergeError> {
        let context = Context { conn, authors: Authors::load(conn)?, guard: Guard::none(conn), restore_hook };
        Ok(Self { context, tables: BTreeMap::new(), registry })
    }

    /// Makes sure that a table is at hand.
    pub(crate) fn open_table(&mut self, num: u32) -> Result<(), MergeError> {
        if !self.tables.contains_key(&num) {
            let info: &Arc<TableInfo> = self.registry.by_num(num).ok_or(MergeError::UnknownTable(num))?;
            self.tables.insert(num, TableWork::new(self.context.conn, info.clone())?);
        }
        Ok(())
    }

    /// Returns the context and a table, both to be changed.
    pub(crate) fn with_table(&mut self, num: u32) -> Result<(&mut Context<'c>, &mut TableWork<'c>), MergeError> {
        self.open_table(num)?;
        let table = self.tables.get_mut(&num).ok_or(MergeError::UnknownTable(num))?;
        Ok((&mut self.context, table))
    }

    /// Tells whether what is shown must be worked out again somewhere.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.tables.values().any(|table| !table.dirty.is_empty() || table.claims_changed && table.live_parked)
    }

    /// Ends a merge after which the user's tables are still ahead of the metadata, so that nothing may be shown or hidden yet.
    pub(crate) fn break_off(self) -> Result<(), MergeError> {
        drop(self.tables);
        self.context.guard.remove()?;
        Ok(())
    }

    /// Works out what is shown wherever something changed; ends the merge. Returns rows written per table name.
    pub(crate) fn finish(mut self) -> Result<BTreeMap<String, u64>, MergeError> {
        let mut written = BTreeMap::new();
        for table in self.tables.values_mut() {
            materialise::materialise(&mut self.context, table)?;
            table.recheck_violations(&self.context.guard)?;
            if table.existing_rows && !table.info.existing_rows {
                crate::define::renew_tables_version(self.context.conn)?;
                self.context
                    .conn
                    .prepare_cached("UPDATE kith__tables SET existing_rows = 1 WHERE num = ?1")?
                    .execute([table.info.num])?;
            }
            if table.rows_written > 0 {
                written.insert(table.info.name.clone(), table.rows_written);
            }
        }
        // Statements must be gone before the guard's triggers can be dropped.
        drop(self.tables);
        self.context.guard.remove()?;
        Ok(written)
    }
}
