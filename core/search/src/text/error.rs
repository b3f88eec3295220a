//! Why a text index cannot be made or asked.

use crate::sql::quote;

/// Reports why a text index cannot be made or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Nothing of that name.
    #[error("there is no table {}; create it first", quote(table))]
    NoTable {
        /// The name given.
        table: String,
    },
    /// A view, a virtual table or one that belongs to SQLite or KithDB.
    #[error("{} is not an ordinary table; index the table that its rows come from", quote(table))]
    NotATable {
        /// The name given.
        table: String,
    },
    /// Rows have no identity that lasts.
    #[error(
        "table {} has no PRIMARY KEY, so VACUUM may renumber its rows; create it anew with one, such as `id INTEGER PRIMARY KEY`, and copy the rows",
        quote(table)
    )]
    NoPrimaryKey {
        /// The table.
        table: String,
    },
    /// A column that the table does not have.
    #[error("table {} has no column {}; its columns are {columns}", quote(table), quote(column))]
    NoColumn {
        /// The table.
        table: String,
        /// The name given.
        column: String,
        /// Those there are.
        columns: String,
    },
    /// No columns were named.
    #[error("no column to index was named; run {command}, or name others of its columns")]
    NoColumns {
        /// The statement with the columns that hold text.
        command: String,
    },
    /// The table has no index of this kind.
    #[error("{} has no text index; run {command}", quote(table))]
    NoIndex {
        /// The table.
        table: String,
        /// The statement that makes one.
        command: String,
    },
    /// The table was made anew, or its columns were renamed, since it was indexed.
    #[error(
        "the text index {} no longer fits table {}, which was changed since; run {command}",
        quote(index),
        quote(table)
    )]
    Outdated {
        /// The FTS5 table.
        index: String,
        /// The table.
        table: String,
        /// The statement that makes the index anew.
        command: String,
    },
    /// The name that the index would have is taken.
    #[error(
        "the name {} is taken, which the index would have; give it another one with the option {{\"name\":\"…\"}}",
        quote(name)
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// An argument is not what it should be.
    #[error("{0}")]
    Argument(String),
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl TextError {
    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self::Argument(text.into())
    }
}
