//! What can go wrong, one enum per operation; every message is one sentence that names the thing and the remedy.

use std::path::PathBuf;

use kithdb_log::{AdminError, AuthorId, KeyFileError, WorkspaceId};

use crate::capture::CaptureError;
use crate::file::shell_word;
use kithdb_search::sql::quote;

/// Reports a database file that is not fit to be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Nothing is there.
    #[error("there is no file {}; check the path, or make a new database with `kith init {}`", path.display(), shell_word(path))]
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// The folder that should hold the file is not there.
    #[error("there is no folder {}; create it first", path.display())]
    MissingFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is there.
    #[error("{} is a folder; give the path of a database file", path.display())]
    Folder {
        /// The path given.
        path: PathBuf,
    },
    /// The user may not read the file.
    #[error("{} cannot be read by this user; check its permissions with `ls -l {}`", path.display(), shell_word(path))]
    Unreadable {
        /// The path given.
        path: PathBuf,
    },
    /// Some other program's file is there.
    #[error("{} is not an SQLite database; give the path of a database file", path.display())]
    NotSqlite {
        /// The path given.
        path: PathBuf,
    },
    /// Another process holds a lock for longer than the timeout.
    #[error("{} is locked by another program; close that program's transaction and try again", path.display())]
    Locked {
        /// The path given.
        path: PathBuf,
    },
    /// A later release wrote the file.
    #[error("{} has format {found}, newer than the {known} this program knows; update kithdb (nothing was written)", path.display())]
    NewerFormat {
        /// The path given.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// SQLite finds the file damaged.
    #[error("{} is damaged ({detail}); restore a backup, or save what can be read with `sqlite3 {} .recover`", path.display(), shell_word(path))]
    Corrupt {
        /// The path given.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// The file may not be written to.
    #[error("{} is read-only; make it writable with `chmod u+w {}`", path.display(), shell_word(path))]
    ReadOnly {
        /// The path given.
        path: PathBuf,
    },
    /// The file may be written to, but not the folder, where SQLite and KithDB keep files beside it.
    #[error(
        "{} is a folder that cannot be written to, and files are kept there beside {}; make it writable with `chmod u+w {}`",
        folder.display(), path.display(), shell_word(folder)
    )]
    ReadOnlyFolder {
        /// The folder.
        folder: PathBuf,
        /// The path given.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{} cannot be opened: {source}", path.display())]
    Io {
        /// The path given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused for another reason.
    #[error("{} cannot be opened: {source}", path.display())]
    Sqlite {
        /// The path given.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// Reports a key file that cannot serve the database beside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key file is gone.
    #[error(
        "the key file {} is missing: without it this device can neither sign nor read; restore it from a backup, or join the workspace again as a new device, with `kith join` and a new file",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A folder is there.
    #[error("{} is a folder, not the key file; move it away and restore the key file from a backup", path.display())]
    Folder {
        /// Where the key file should be.
        path: PathBuf,
    },
    /// Others may read the key file.
    #[error("the key file {} can be read by other users (mode {mode:03o}); run `chmod 600 {}`", path.display(), shell_word(path))]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file is there already.
    #[error(
        "the key file {} exists already; if the database it belonged to is gone for good, move the key file away and try again",
        path.display()
    )]
    Exists {
        /// The key file.
        path: PathBuf,
    },
    /// The key belongs to another database.
    #[error(
        "the key file {} belongs to device {}, but this database is device {}'s; put the right key file beside the database",
        path.display(), found.short(), expected.short()
    )]
    OfOtherDevice {
        /// The key file.
        path: PathBuf,
        /// The device the key file belongs to.
        found: AuthorId,
        /// The device the database belongs to.
        expected: AuthorId,
    },
    /// The content is not a key file.
    #[error("the key file {} cannot be used: {source}", path.display())]
    Content {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// The operating system refused.
    #[error("the key file {} cannot be used: {source}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reports a replica that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is not fit.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key file is not fit.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A plain SQLite file.
    #[error("{} is a plain SQLite database; make it a KithDB database with `kith init {}`", path.display(), shell_word(path))]
    NotInitialised {
        /// The path given.
        path: PathBuf,
    },
    /// A join was begun and not ended.
    #[error("{} waits to be admitted to its workspace; go on with `kith join {} TICKET`", path.display(), shell_word(path))]
    Joining {
        /// The path given.
        path: PathBuf,
    },
    /// KithDB's own tables contradict each other.
    #[error("KithDB's own tables are damaged: {detail}; restore a backup")]
    Damaged {
        /// What was found.
        detail: String,
    },
    /// The system's random source failed.
    #[error("the system gave no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The file that tells copies apart could not be written.
    #[error("the file {} cannot be written: {source}", path.display())]
    Life {
        /// The sidecar file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Capture could not be set up.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// SQLite refused.
    #[error("the database could not be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl OpenError {
    /// Tells whether all that stood in the way is the lock of another connection.
    pub fn is_busy(&self) -> bool {
        let (Self::Sqlite(error) | Self::Capture(CaptureError::Sqlite(error))) = self else { return false };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
    }
}

/// Reports a workspace that could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The file is a replica already.
    #[error("{} belongs to workspace {} already; use it as it is", path.display(), workspace.short())]
    AlreadyInitialised {
        /// The path given.
        path: PathBuf,
        /// Its workspace.
        workspace: WorkspaceId,
    },
    /// The device's name cannot be used.
    #[error("a device name has 1 to 64 bytes without control characters; choose another with `--name`")]
    DeviceName,
    /// Another program's tables have our names.
    #[error("the database has a table named {}, a name that belongs to KithDB; rename it first", quote(table))]
    NameTaken {
        /// The table.
        table: String,
    },
    /// The file could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Reports a join that could not be begun or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The file has rows of its own.
    #[error(
        "{} has rows of its own ({}); join with `--merge-by-key` to merge rows of equal key once their tables are synced, or join with a new file",
        path.display(), tables.join(", ")
    )]
    TablesPresent {
        /// The path given.
        path: PathBuf,
        /// The tables with rows.
        tables: Vec<String>,
    },
    /// The operations are not the ticket's workspace.
    #[error("the peer showed another workspace than the ticket names; ask the inviter for a new ticket")]
    OtherWorkspace,
    /// The operations lack what the inviter knew.
    #[error("the peer knows less of the workspace than the ticket's inviter did; connect to another peer")]
    StaleMembership,
    /// The admission is not there yet.
    #[error("the workspace has not admitted this device yet; wait for an owner to come online")]
    NotAdmitted,
    /// Another device was faster.
    #[error("another device joined with this ticket; ask the inviter for a new ticket")]
    TicketUsed,
    /// The role differs.
    #[error(
        "the workspace admitted this device with another role than the ticket says; ask the inviter for a new ticket"
    )]
    OtherRole,
    /// The secrets are not the ticket's.
    #[error("the secrets handed out are not those of the ticket's workspace; ask the inviter for a new ticket")]
    OtherSecrets,
    /// An operation is not valid.
    #[error("the workspace's membership is not valid: {detail}; connect to another peer")]
    BadMembership {
        /// What was wrong.
        detail: String,
    },
    /// The file could not be made into a replica.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The file could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Reports an invitation or admission that was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Only owners may.
    #[error("only an owner may {action}; this device is a writer, so ask an owner")]
    OwnersOnly {
        /// What was tried.
        action: &'static str,
    },
    /// The workspace's rules refuse it.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The joining device's key is unsafe.
    #[error("the joining device's key is not one that secrets can be wrapped to; let it join anew with a new file")]
    WeakKey(#[from] kithdb_log::WrapError),
    /// The database may not be written to.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system's random source failed.
    #[error("the system gave no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
    /// SQLite refused.
    #[error("the membership could not be stored: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Says why a table cannot be synced as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Nothing of that name.
    #[error("there is no table {}; create it first", quote(table))]
    Missing {
        /// The name given.
        table: String,
    },
    /// A view.
    #[error("{} is a view; sync the tables it reads from", quote(table))]
    View {
        /// The name given.
        table: String,
    },
    /// A virtual table.
    #[error(
        "{} is a virtual table, whose own rows stay in this file; sync the ordinary table it is made from, or copy them into one, and create the virtual table on every device",
        quote(table)
    )]
    Virtual {
        /// The name given.
        table: String,
    },
    /// A table that a virtual table keeps.
    #[error(
        "{} belongs to a virtual table, whose own rows stay in this file; sync the ordinary table that one is made from, or copy them into one",
        quote(table)
    )]
    Shadow {
        /// The name given.
        table: String,
    },
    /// SQLite's or KithDB's own.
    #[error("{} belongs to SQLite or KithDB and is never synced; sync a table of your own", quote(table))]
    Reserved {
        /// The name given.
        table: String,
    },
    /// A TEMP table.
    #[error("{} is a TEMP table, which ends with the connection; create it without TEMP to sync it", quote(table))]
    Temporary {
        /// The name given.
        table: String,
    },
    /// Rows have no identity.
    #[error(
        "table {} has no PRIMARY KEY, so other devices could not tell its rows apart; create it anew with one, such as `id INTEGER PRIMARY KEY`, and copy the rows",
        quote(table)
    )]
    NoPrimaryKey {
        /// The table.
        table: String,
    },
    /// A key lists a column twice.
    #[error(
        "table {} has column {} twice in its PRIMARY KEY; create it anew with each column once",
        quote(table),
        quote(column)
    )]
    RepeatedKeyColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A collation that other devices lack.
    #[error(
        "column {} of table {} uses the collation {collation}, which other devices may not have; use BINARY, NOCASE or RTRIM",
        quote(column),
        quote(table)
    )]
    UnknownCollation {
        /// The table.
        table: String,
        /// The column or index.
        column: String,
        /// The collation.
        collation: String,
    },
    /// Too many columns.
    #[error("table {} has {columns} columns and a synced table has at most {max}; split it", quote(table))]
    TooManyColumns {
        /// The table.
        table: String,
        /// How many it has.
        columns: usize,
        /// How many it may have.
        max: usize,
    },
    /// Too long a definition.
    #[error(
        "the definition of table {} is too long to sync; shorten its names, expressions or number of indexes",
        quote(table)
    )]
    DefinitionTooLong {
        /// The table.
        table: String,
    },
    /// Rows without a key.
    #[error(
        "table {} has {rows} {} with NULL in the primary key, which names no row elsewhere; give them a key or delete them",
        quote(table), if *rows == 1 { "row" } else { "rows" }
    )]
    NullKeys {
        /// The table.
        table: String,
        /// How many rows.
        rows: u64,
    },
    /// Rows too large to send.
    #[error(
        "table {} has {rows} {} above the limits of 64 MiB a value, 96 MiB a row and 1 MiB a key; store them elsewhere first",
        quote(table), if *rows == 1 { "row" } else { "rows" }
    )]
    RowsTooLarge {
        /// The table.
        table: String,
        /// How many rows.
        rows: u64,
    },
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Reports a table that `kith_sync` did not sync.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncTableError {
    /// The table is not fit.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table was synced before.
    #[error(
        "table {} was synced before and taken out with kith_unsync, so its rows may differ from the other devices'; copy its rows into a new table and sync that",
        quote(table)
    )]
    Unsynced {
        /// The table.
        table: String,
    },
    /// The workspace has another table of that name.
    #[error(
        "table {} does not fit the table of that name in the workspace: {difference}; rename it or change it to fit",
        quote(table)
    )]
    Misfit {
        /// The table.
        table: String,
        /// How they differ.
        difference: String,
    },
    /// Options were given.
    #[error("kith_sync takes no options in this version; call kith_sync({}) to sync the whole table", sql_text(table))]
    OptionsNotSupported {
        /// The table.
        table: String,
    },
    /// Capture could not be told.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Reports a table that `kith_unsync` did not take out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsyncTableError {
    /// The table takes no part.
    #[error("table {} is not synced; see `SELECT * FROM kith_tables`", quote(table))]
    NotSynced {
        /// The name given.
        table: String,
    },
    /// Capture could not be told.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Reports a statement of the user that was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// KithDB refused it.
    #[error("{message}")]
    Refused {
        /// Why, and what to do.
        message: String,
    },
    /// SQLite refused it.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
