//! What JavaScript asks of a database's thread, and what comes of it.

use std::sync::Arc;

use kithdb_sqlite::{ChangeKind, SqliteError};

use super::values::Values;

/// SQLite's code for a call that makes no sense.
pub(crate) const MISUSE: i32 = 21;

/// What a statement or a backup is known by on both sides.
pub(crate) type Id = u32;

/// Which parameter a value is for.
#[derive(Debug)]
pub(crate) enum Place {
    Number(usize),
    Name(String),
    /// A name without the character before it; one that there is not is left alone.
    Bare(String),
}

/// The values of one run.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pub(crate) values: Values,
    /// Where each is to go; empty when they go one after the other.
    pub(crate) places: Vec<Place>,
}

/// What rows look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// Whether they are arrays.
    pub(crate) is_raw: bool,
    /// Whether their integers are bigints.
    pub(crate) is_safe: bool,
}

/// The statement that is meant.
#[derive(Debug)]
pub(crate) enum Target {
    /// One that was prepared before.
    Prepared(Id),
    /// One that is prepared for this run, and finalized after it.
    Once(String),
}

/// What is done with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Bind,
    Run,
    Get,
    All,
    Each,
    /// The next rows, some at a time, from where the statement is.
    Next,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    Open {
        path: String,
        flags: i32,
    },
    Close,
    Exec {
        sql: String,
    },
    LoadExtension {
        path: String,
    },
    Wait,
    BusyTimeout {
        milliseconds: i32,
    },
    Limit {
        limit: i32,
        value: i32,
    },
    Watch {
        trace: bool,
        profile: bool,
        change: bool,
    },
    Prepare {
        id: Id,
        sql: String,
    },
    Use {
        how: Use,
        form: Form,
        target: Target,
        parameters: Parameters,
    },
    /// Tell what the statement returns.
    Describe {
        id: Id,
    },
    Reset {
        id: Id,
    },
    Finalize {
        id: Id,
    },
    /// The statement was finalized before, which is an error unless it never came to be.
    Late {
        id: Id,
    },
    /// Nobody has the statement any more.
    Forget {
        id: Id,
    },
    BackupBegin {
        id: Id,
        path: String,
        destination: String,
        source: String,
        is_path_destination: bool,
    },
    BackupStep {
        id: Id,
        pages: i32,
        retried: Vec<i32>,
    },
    BackupFinish {
        id: Id,
    },
}

/// An action, and whether anybody is to hear of its success.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) action: Action,
    pub(crate) is_silent: bool,
}

/// What the columns of rows are called; one for all rows that a statement returns until its schema changes.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) id: u64,
    pub(crate) names: Vec<String>,
}

/// Rows as values, one row's after another's.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) shape: Arc<Shape>,
    pub(crate) form: Form,
    pub(crate) values: Values,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    Ran {
        last_id: i64,
        /// Those of the latest statement that may have changed something.
        changes: i64,
        /// Whether this one has.
        has_changed: bool,
    },
    Described {
        /// Each column's name, its origin, table, database and declared type.
        columns: Vec<[Option<String>; 5]>,
        parameters: usize,
    },
    /// The only row asked for, or none.
    Row(Option<Rows>),
    /// All rows, or none.
    All(Option<Rows>),
    /// Some rows of many; more, or the end, will follow.
    Some(Rows),
    /// `is_prepared` tells whether the statement came to be.
    Failed {
        error: SqliteError,
        is_prepared: bool,
    },
    /// Nothing was done, and nobody is to hear of it.
    Dropped,
    /// So many silent jobs, told of by `skipped`, and nothing else.
    Quiet,
    Traced {
        sql: String,
    },
    Profiled {
        sql: String,
        nanoseconds: u64,
    },
    Changed {
        kind: ChangeKind,
        database: String,
        table: String,
        rowid: i64,
    },
    BackedUp {
        step: Result<bool, SqliteError>,
        has_failed: bool,
        remaining: i32,
        pages: i32,
    },
}

/// An outcome on its way to JavaScript.
#[derive(Debug)]
pub(crate) struct Completion {
    /// The database's link.
    pub(crate) link: u64,
    /// How many silent jobs have succeeded since the completion before.
    pub(crate) skipped: u32,
    pub(crate) outcome: Outcome,
}

impl Outcome {
    /// Tells whether a job ends with it.
    pub(crate) const fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Some(_) | Self::Quiet | Self::Traced { .. } | Self::Profiled { .. } | Self::Changed { .. }
        )
    }

    /// Tells whether it is a failure that the program is to see before anything else is done.
    pub(crate) const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::BackedUp { step: Err(_), .. })
    }
}

/// What is said of a use of a statement that was finalized before.
pub(crate) fn late() -> Outcome {
    let error = SqliteError::new(MISUSE, "Statement is already finalized");
    Outcome::Failed { error, is_prepared: true }
}
