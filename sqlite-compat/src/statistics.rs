//! What SQLite counts of a statement, and its text.

use std::ffi::c_int;

use rusqlite::ffi;

use crate::statement::Statement;

/// What SQLite counts while a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Steps forward in scans of whole tables.
    FullScanSteps,
    /// Sorts.
    Sorts,
    /// Rows put into indexes made for one run.
    AutomaticIndexRows,
    /// Instructions.
    Operations,
    /// How often the statement was compiled again.
    Reprepared,
    /// How often it was started.
    Runs,
    /// How often a Bloom filter did not help.
    FilterMisses,
    /// How often a Bloom filter made a step of a join unneeded.
    FilterHits,
    /// The bytes it takes; no count, so that it cannot be set back.
    Memory,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::FullScanSteps,
        Self::Sorts,
        Self::AutomaticIndexRows,
        Self::Operations,
        Self::Reprepared,
        Self::Runs,
        Self::FilterMisses,
        Self::FilterHits,
        Self::Memory,
    ];

    const fn code(self) -> c_int {
        match self {
            Self::FullScanSteps => ffi::SQLITE_STMTSTATUS_FULLSCAN_STEP,
            Self::Sorts => ffi::SQLITE_STMTSTATUS_SORT,
            Self::AutomaticIndexRows => ffi::SQLITE_STMTSTATUS_AUTOINDEX,
            Self::Operations => ffi::SQLITE_STMTSTATUS_VM_STEP,
            Self::Reprepared => ffi::SQLITE_STMTSTATUS_REPREPARE,
            Self::Runs => ffi::SQLITE_STMTSTATUS_RUN,
            Self::FilterMisses => ffi::SQLITE_STMTSTATUS_FILTER_MISS,
            Self::FilterHits => ffi::SQLITE_STMTSTATUS_FILTER_HIT,
            Self::Memory => ffi::SQLITE_STMTSTATUS_MEMUSED,
        }
    }
}

impl Statement {
    /// Tells whether the statement was finalized, by its database too.
    pub fn is_finalized(&self) -> bool {
        self.raw().is_null()
    }

    /// Returns a counter, and sets it back if asked to; 0 of a finalized statement.
    pub fn counter(&self, counter: Counter, is_set_back: bool) -> i32 {
        if self.is_finalized() {
            return 0;
        }
        // SAFETY: the statement is open.
        unsafe { ffi::sqlite3_stmt_status(self.raw(), counter.code(), c_int::from(is_set_back)) }
    }

    /// Returns the statement's own text, without what followed it.
    pub fn sql(&self) -> Option<String> {
        // SAFETY: the statement is open or null, for which there is no text; the text is copied.
        unsafe { crate::statement::text(ffi::sqlite3_sql(self.raw())) }
    }
}
