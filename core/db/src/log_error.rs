//! What can go wrong while entries are sealed, stored and applied.

use kithdb_log::{ClockAheadError, ColumnId, DecodeError, EpochId};

use crate::error::OpenError;
use crate::merge::MergeError;

/// Reports why the log could not be read or written; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// SQLite failed.
    #[error("the database refused")]
    Sqlite(#[from] rusqlite::Error),
    /// Bytes are not what the format says.
    #[error("malformed bytes")]
    Decode(#[from] DecodeError),
    /// Merging failed.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// An entry could not be sealed.
    #[error("an entry could not be sealed")]
    Seal(#[from] kithdb_log::seal::SealError),
    /// An entry could not be opened.
    #[error("an entry could not be opened")]
    Open(#[from] kithdb_log::seal::OpenError),
    /// The key of a stream could not be opened.
    #[error("the key of a stream could not be opened")]
    OpenSlot(#[from] kithdb_log::keys::OpenSlotError),
    /// The clock is wrong.
    #[error(transparent)]
    Clock(#[from] ClockAheadError),
    /// The system's random source failed.
    #[error("the system gave no random bytes")]
    Random(#[from] getrandom::Error),
    /// The file's incarnation could not be renewed.
    #[error(transparent)]
    Life(#[from] OpenError),
    /// A part of KithDB's own tables is missing or damaged.
    #[error("{what} is damaged; run `kith verify` and restore a backup")]
    Damaged {
        /// What is damaged.
        what: &'static str,
    },
    /// The entry belongs to an epoch whose secret this device does not hold.
    #[error("the entry was sealed in epoch {epoch}, whose secret this device does not hold")]
    UnknownEpoch {
        /// The epoch.
        epoch: EpochId,
    },
    /// The definition of a table does not fit the one in use here.
    #[error("{reason}")]
    Definition {
        /// What is different.
        reason: String,
    },
    /// The rows are of a table of the same name that was made apart.
    #[error(
        "the rows are of another table {table} than the one here, made apart and differently: {reason}; make one of the two anew under another name"
    )]
    OtherDefinition {
        /// The table.
        table: String,
        /// What is different.
        reason: String,
    },
    /// The payload's table is not the lane's.
    #[error("the entry's rows belong to another table than its lane")]
    WrongTable,
    /// The payload names a column that the table does not have.
    #[error("the entry names the unknown column {column}")]
    UnknownColumn {
        /// The column.
        column: ColumnId,
    },
}
