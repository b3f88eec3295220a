//! A replica: one SQLite file, or a database in memory, whose synced tables are recorded and merged.
//!
//! Invariants:
//! 1. A file of a newer format is never opened for writing.
//! 2. Nothing cached here is trusted across a change of `tables_version` or the schema version.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kithdb_log::{AuthorId, DeviceKeys, TableSchema};
use rusqlite::{Connection, OpenFlags, Params, Row};

use crate::capture::{Authorizer, Capture, CaptureError};
use crate::define::{self, CreateOutcome, SyncReport};
use crate::error::{FileError, InitError, KeyError, OpenError, StatementError, SyncTableError, UnsyncTableError};
use crate::file::{self, FileKind};
use crate::follow::{Follow, TablesVersion};
use crate::functions;
use crate::keyfile;
use crate::later;
use crate::life::Life;
use crate::parts::Held;
use crate::registry::Registry;
use crate::sources::{ClockSource, Entropy, system_clock};
use crate::storage::{self, FILE_FORMAT, get_meta, put_meta};
use crate::workspace::{self, Workspace};

/// How long a statement waits for another process' lock unless told otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Enough for the statements that sync prepares for a few dozen tables.
const CACHED_STATEMENTS: usize = 256;

/// How a replica is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// How long a statement waits for another process' lock.
    pub busy_timeout: Duration,
    /// Tells the time.
    pub clock: ClockSource,
    /// Hands out random bytes.
    pub entropy: Entropy,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { busy_timeout: BUSY_TIMEOUT, clock: system_clock(), entropy: Entropy::system() }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions").field("busy_timeout", &self.busy_timeout).finish_non_exhaustive()
    }
}

/// How a workspace is founded.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The name by which people know this device, 1 to 64 bytes.
    pub device_name: String,
    /// How the file is opened.
    pub open: OpenOptions,
}

impl InitOptions {
    /// Founds a workspace under a device name, with defaults for the rest.
    pub fn new(device_name: impl Into<String>) -> Self {
        Self { device_name: device_name.into(), open: OpenOptions::default() }
    }
}

/// One SQLite connection whose synced tables are recorded and merged; it may move between threads.
pub struct Replica {
    pub(crate) conn: Connection,
    pub(crate) capture: Capture,
    pub(crate) follow: Follow,
    pub(crate) registry: Registry,
    pub(crate) quarantined: Vec<(u32, String)>,
    pub(crate) workspace: Workspace,
    pub(crate) life: Life,
    pub(crate) path: Option<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) clock: ClockSource,
    pub(crate) entropy: Entropy,
    pub(crate) held: Held,
    pub(crate) triggers_left_out: Option<String>,
    version: Option<TablesVersion>,
    /// SQLite's count of other connections' commits before `version` was last looked at for a statement.
    data_version: Option<i64>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("path", &self.path)
            .field("workspace", &self.workspace.id)
            .field("incarnation", &self.life.incarnation())
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// Founds a workspace in a new or plain SQLite file and opens it.
    pub fn init(path: impl AsRef<Path>, options: InitOptions) -> Result<Self, InitError> {
        kithdb_log::admin::check_device_name(&options.device_name).map_err(|_| InitError::DeviceName)?;
        let keys = new_keys(&options.open.entropy).map_err(OpenError::from)?;
        let (path, conn) = create_file(path.as_ref(), &keys, &options.open, |conn| {
            workspace::found(conn, &keys, &options.device_name, (options.open.clock)(), &options.open.entropy)?;
            Life::begin(conn, keys.author(), &options.open.entropy)?;
            Ok(())
        })?;
        let mut replica = Self::assemble(conn, Some(path), false, keys, options.open)?;
        replica.bind_life()?;
        Ok(replica)
    }

    /// Founds a workspace in a database in memory.
    pub fn open_memory(options: InitOptions) -> Result<Self, InitError> {
        kithdb_log::admin::check_device_name(&options.device_name).map_err(|_| InitError::DeviceName)?;
        let keys = new_keys(&options.open.entropy).map_err(OpenError::from)?;
        let conn = Connection::open_in_memory().map_err(OpenError::from)?;
        create_tables(&conn, || {
            workspace::found(&conn, &keys, &options.device_name, (options.open.clock)(), &options.open.entropy)?;
            Life::begin(&conn, keys.author(), &options.open.entropy)?;
            Ok(())
        })?;
        Ok(Self::assemble(conn, None, false, keys, options.open)?)
    }

    /// Opens a replica; a file that may not be written to is opened for inspection.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self, OpenError> {
        let look = file::look(path.as_ref(), options.busy_timeout)?;
        let path = look.path;
        match look.kind {
            FileKind::Missing => return Err(FileError::Missing { path }.into()),
            FileKind::Plain => return Err(OpenError::NotInitialised { path }),
            FileKind::Joining => return Err(OpenError::Joining { path }),
            FileKind::Replica(_) => {}
        }
        let conn = if look.read_only {
            file::open_to_read(&path, options.busy_timeout)
        } else {
            open_to_write(&path, options.busy_timeout)
        };
        let conn = conn.map_err(|error| file::sqlite_error(&path, error))?;
        // Looked at again on this connection: the file may have been replaced, or recovered from a journal, since.
        let format = get_meta::<i64>(&conn, "format").map_err(|error| file::sqlite_error(&path, error))?;
        if let Some(found) = format.filter(|&found| found > FILE_FORMAT) {
            return Err(FileError::NewerFormat { path, found, known: FILE_FORMAT }.into());
        }
        let keys = load_keys(&conn, &path)?;
        let mut replica = Self::assemble(conn, Some(path.clone()), look.read_only, keys, options)?;
        if !replica.read_only {
            match replica.life.check_sidecar(&replica.conn, &path)? {
                Some(reason) => replica.start_incarnation(&reason)?,
                None => replica.bind_life()?,
            }
        }
        Ok(replica)
    }

    /// Builds a replica on a connection to a file that has a workspace.
    pub(crate) fn assemble(
        conn: Connection,
        path: Option<PathBuf>,
        read_only: bool,
        keys: DeviceKeys,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        conn.busy_timeout(options.busy_timeout)?;
        if path.is_some() && !read_only {
            conn.execute_batch("PRAGMA synchronous = NORMAL")?;
        }
        let author = keys.author();
        let workspace = Workspace::load(&conn, keys)?;
        let life = Life::load(&conn, author)?;
        let capture = Capture::install(&conn, options.clock.clone())?;
        let follow = Follow::new(capture.share(), workspace.blinding.clone());
        crate::everywhere::register(&conn)?;
        functions::register(&conn, &follow)?;
        crate::inspect::register(&conn, &workspace)?;
        crate::changes::register(&conn, &workspace)?;
        let mut replica = Self {
            conn,
            capture,
            follow,
            registry: Registry::default(),
            quarantined: Vec::new(),
            workspace,
            life,
            path,
            read_only,
            clock: options.clock,
            entropy: options.entropy,
            held: Held::default(),
            triggers_left_out: None,
            version: None,
            data_version: None,
        };
        replica.reload_registry()?;
        Ok(replica)
    }

    /// Borrows the connection, for the application's SQL.
    pub const fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Returns the file's path; `None` for a database in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Tells whether the file may not be written to.
    pub const fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns the workspace.
    pub const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Returns which life of the file this is.
    pub const fn life(&self) -> &Life {
        &self.life
    }

    /// Returns this device's id.
    pub fn author(&self) -> AuthorId {
        self.workspace.author()
    }

    /// Returns the synced tables as they were when last read; see [`Self::reload_registry`].
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Says why a table that should be synced is not, by its local number.
    pub fn quarantine_reason(&self, num: u32) -> Option<&str> {
        self.quarantined.iter().find(|(quarantined, _)| *quarantined == num).map(|(_, reason)| reason.as_str())
    }

    /// Reads the registry, the membership and the incarnation again if anything about them changed, in this process or another,
    /// and takes in the tables that `kith_sync('*')` is to take in later.
    ///
    /// Costs one small query when nothing did. Whoever runs SQL on [`Self::conn`] calls it before a transaction begins, and
    /// whenever [`Self::is_stale`] says so.
    pub fn reload_registry(&mut self) -> Result<bool, OpenError> {
        self.reload(true)
    }

    fn reload(&mut self, takes_in: bool) -> Result<bool, OpenError> {
        let now = TablesVersion::read(&self.conn)?;
        if !self.follow.is_stale() && self.version == Some(now) {
            return Ok(false);
        }
        let is_first = self.version.is_none();
        let is_to_be_tried_again = if takes_in { self.take_in_later_tables()? } else { later::is_set(&self.conn)? };
        let version = self.follow_change()?;
        if is_to_be_tried_again {
            self.follow.mark_stale();
        }
        if !is_first {
            self.workspace.reload(&self.conn)?;
            self.life.reload(&self.conn, self.workspace.author())?;
        }
        self.version = Some(version);
        Ok(true)
    }

    /// Tells whether what is cached is what the file says; asked in a write transaction, it stays so.
    pub(crate) fn is_current(&self) -> rusqlite::Result<bool> {
        Ok(self.version == Some(TablesVersion::read(&self.conn)?))
    }

    /// Tells whether the synced tables, as known here, may have been rolled back or changed; looks at two flags only.
    pub fn is_stale(&self) -> bool {
        self.follow.is_stale()
    }

    /// Begins a new incarnation of this file, for the reason given.
    pub fn start_incarnation(&mut self, reason: &str) -> Result<(), OpenError> {
        let author = self.workspace.author();
        {
            let _quiet = self.capture.internal(&self.conn);
            self.life.start_incarnation(&self.conn, author, &self.entropy, reason)?;
        }
        // Should the surrounding transaction not commit, the sidecar is ahead and the next open begins yet another life.
        self.bind_life()
    }

    /// Notes in the sidecar that `count` entries of this incarnation are about to leave the process.
    pub fn published(&mut self, count: u64) -> std::io::Result<()> {
        self.life.published(count)
    }

    pub(crate) fn bind_life(&mut self) -> Result<(), OpenError> {
        match &self.path {
            Some(path) => self.life.bind(&self.conn, path),
            None => Ok(()),
        }
    }

    /// Refuses if the file may not be written to.
    pub fn check_writable(&self) -> Result<(), FileError> {
        match &self.path {
            Some(path) if self.read_only => Err(FileError::ReadOnly { path: path.clone() }),
            _ => Ok(()),
        }
    }

    /// Takes in a table, or with `*` all tables that are fit; the same as `SELECT kith_sync(name)`.
    pub fn sync_table(&mut self, name: &str) -> Result<SyncReport, SyncTableError> {
        let report = {
            let _quiet = self.capture.internal(&self.conn);
            define::sync(&self.conn, name)?
        };
        self.follow_change()?;
        Ok(report)
    }

    /// Takes a table out; the same as `SELECT kith_unsync(name)`.
    pub fn unsync_table(&mut self, name: &str) -> Result<(), UnsyncTableError> {
        {
            let _quiet = self.capture.internal(&self.conn);
            define::unsync(&self.conn, name)?;
        }
        self.follow_change()?;
        Ok(())
    }

    /// Makes the table that a peer defined, or takes in the one that is there.
    pub fn create_from_schema(&mut self, schema: &TableSchema) -> Result<CreateOutcome, CaptureError> {
        let outcome = {
            let _quiet = self.capture.internal(&self.conn);
            define::create_from_schema(&self.conn, schema)?
        };
        self.follow_change()?;
        Ok(outcome)
    }

    fn follow_change(&mut self) -> Result<TablesVersion, CaptureError> {
        // What was found good was held against the tables as they were.
        self.held.clear();
        let (catalog, version) = self.follow.reload(&self.conn)?;
        self.registry = catalog.registry;
        self.quarantined = catalog.quarantined;
        // What else another process may have changed is read by `reload_registry`.
        self.version = self.version.map(|known| version.with_workspace_of(known));
        Ok(version)
    }

    /// Runs one statement of the application's.
    pub fn execute(&mut self, sql: &str, params: impl Params) -> Result<usize, StatementError> {
        self.before_statement()?;
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(|e| self.refusal(e))
    }

    /// Runs several statements of the application's.
    pub fn execute_batch(&mut self, sql: &str) -> Result<(), StatementError> {
        self.before_statement()?;
        self.conn.execute_batch(sql).map_err(|error| self.refusal(error))
    }

    /// Runs a query of the application's and reads each row.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StatementError> {
        self.before_statement()?;
        let result = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect::<rusqlite::Result<Vec<T>>>());
        result.map_err(|error| self.refusal(error))
    }

    /// Tells whether a statement that returns rows of what it has written, outside a transaction, will be refused when it ends: all is
    /// written before the first row, and who reads no further would not hear of it.
    pub fn will_refuse(&self) -> bool {
        self.conn.is_autocommit() && self.capture.would_refuse(&self.conn)
    }

    /// Makes ready for preparing a statement once more that SQLite did not understand; tells whether what is known here may be why.
    ///
    /// Where triggers are switched off, a view of another connection cannot be written to.
    pub fn before_preparing_again(&mut self) -> Result<bool, StatementError> {
        let is_of_use = self.conn.is_autocommit() && self.capture.is_in_doubt(&self.conn);
        if is_of_use {
            self.before_statement()?;
        }
        Ok(is_of_use)
    }

    /// Makes ready for a statement of the application's that is run on [`Self::conn`] and may begin a transaction.
    pub fn before_statement(&mut self) -> Result<(), StatementError> {
        self.make_ready(true)
    }

    /// The same for one that changes the schema: tables that `kith_sync('*')` is to take in later wait for one that does not, since
    /// an index or a column may still be missing from the last that was made.
    pub fn before_schema_change(&mut self) -> Result<(), StatementError> {
        self.make_ready(false)
    }

    fn make_ready(&mut self, takes_in: bool) -> Result<(), StatementError> {
        // A reason that nobody asked for belongs to an earlier statement.
        self.capture.take_refusal();
        let _unasked = self.capture.unasked();
        let version = self.data_version();
        // Own changes to what is synced show in two flags, others' in this number.
        if version.is_some() && version == self.data_version && !self.is_stale() {
            return Ok(());
        }
        match self.reload(takes_in) {
            Ok(_) => {
                self.data_version = version;
                Ok(())
            }
            // The statement may be one that needs no lock; a commit looks again at what it was written under.
            Err(error) if error.is_busy() => Ok(()),
            Err(OpenError::Sqlite(error)) => Err(error.into()),
            Err(error) => Err(StatementError::Refused { message: error.to_string() }),
        }
    }

    /// Returns the number that SQLite changes with every commit of another connection; `None` if the file cannot be read now.
    fn data_version(&self) -> Option<i64> {
        self.conn.prepare_cached("PRAGMA data_version").ok()?.query_row([], |row| row.get(0)).ok()
    }

    /// Returns how many rows the application's last INSERT, UPDATE or DELETE changed.
    pub fn changes(&self) -> i64 {
        self.capture.changes(&self.conn)
    }

    /// Returns how many rows the application has changed since the replica was opened.
    pub fn total_changes(&self) -> i64 {
        self.capture.total_changes(&self.conn)
    }

    /// Finds the reason behind a statement that failed on [`Self::conn`]: KithDB's own, or SQLite's.
    pub fn explain(&self, error: rusqlite::Error) -> StatementError {
        self.refusal(error)
    }

    /// Finds the reason behind a statement that failed.
    fn refusal(&self, error: rusqlite::Error) -> StatementError {
        if let Some(refusal) = self.capture.take_refusal() {
            return StatementError::Refused { message: refusal.message };
        }
        if let (Some(path), Some(rusqlite::ErrorCode::ReadOnly)) = (&self.path, error.sqlite_error_code()) {
            return StatementError::Refused { message: file::read_only(path.clone()).to_string() };
        }
        StatementError::Sqlite(error)
    }

    /// Has an authorizer of the application's asked about what KithDB does not refuse itself, or none; statements that are compiled
    /// are compiled again.
    pub fn set_authorizer(&self, authorizer: Option<Authorizer>) -> rusqlite::Result<()> {
        self.capture.set_authorizer(&self.conn, authorizer)
    }

    /// Closes the replica and says so if SQLite could not.
    pub fn close(self) -> rusqlite::Result<()> {
        self.capture.set_authorizer(&self.conn, None)?;
        self.conn.close().map_err(|(_, error)| error)
    }
}

/// Makes the keys of a new device.
pub(crate) fn new_keys(entropy: &Entropy) -> Result<DeviceKeys, getrandom::Error> {
    Ok(DeviceKeys::from_seeds(entropy.array()?, entropy.array()?, entropy.array()?))
}

/// Reads the key file and checks that it is this database's.
pub(crate) fn load_keys(conn: &Connection, path: &Path) -> Result<DeviceKeys, OpenError> {
    let keys = keyfile::load(path)?;
    let expected = get_meta::<[u8; 32]>(conn, "author")?.map(AuthorId::from_bytes);
    match expected {
        Some(expected) if expected != keys.author() => {
            let path = keyfile::key_path(path);
            Err(KeyError::OfOtherDevice { path, found: keys.author(), expected }.into())
        }
        _ => Ok(keys),
    }
}

fn open_to_write(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(busy_timeout)?;
    Ok(conn)
}

/// Creates KithDB's tables and fills them, in one transaction.
pub(crate) fn create_tables(conn: &Connection, fill: impl FnOnce() -> Result<(), OpenError>) -> Result<(), InitError> {
    conn.execute_batch("BEGIN IMMEDIATE").map_err(OpenError::from)?;
    let result = write_tables(conn, fill);
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = conn.execute_batch(end).map_err(OpenError::from);
    result?;
    Ok(ended?)
}

fn write_tables(conn: &Connection, fill: impl FnOnce() -> Result<(), OpenError>) -> Result<(), InitError> {
    let taken: Option<String> = {
        use rusqlite::OptionalExtension;
        // Graphs are declared in plain files too.
        let sql = "SELECT name FROM sqlite_schema WHERE (name LIKE 'kith\\_\\_%' ESCAPE '\\' OR name = 'kith_parked' COLLATE NOCASE)
                     AND name <> 'kith__graphs'";
        conn.query_row(sql, [], |row| row.get(0)).optional().map_err(OpenError::from)?
    };
    if let Some(table) = taken {
        return Err(InitError::NameTaken { table });
    }
    conn.execute_batch(storage::CREATE).map_err(OpenError::from)?;
    put_meta(conn, "format", FILE_FORMAT).map_err(OpenError::from)?;
    fill()?;
    Ok(())
}

/// Turns a new or plain SQLite file into one of KithDB's, with its key file; a failure leaves no trace.
pub(crate) fn create_file(
    path: &Path,
    keys: &DeviceKeys,
    options: &OpenOptions,
    fill: impl FnOnce(&Connection) -> Result<(), OpenError>,
) -> Result<(PathBuf, Connection), InitError> {
    let look = file::look(path, options.busy_timeout).map_err(OpenError::from)?;
    let path = look.path;
    match look.kind {
        FileKind::Replica(workspace) => return Err(InitError::AlreadyInitialised { path, workspace }),
        FileKind::Joining => return Err(OpenError::Joining { path }.into()),
        FileKind::Missing | FileKind::Plain => {}
    }
    if look.read_only {
        return Err(OpenError::from(FileError::ReadOnly { path }).into());
    }
    let key_file = keyfile::create(&path, keys).map_err(OpenError::from)?;
    let created = (|| {
        let classify = |error| InitError::Open(file::sqlite_error(&path, error).into());
        let conn = open_to_write(&path, options.busy_timeout).map_err(classify)?;
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(classify)?;
        // A workspace that was founded or joined is on disk, whatever SQLite's default is.
        conn.execute_batch("PRAGMA synchronous = FULL").map_err(classify)?;
        if mode != "wal" {
            tracing::warn!(path = %path.display(), mode, "the file cannot have a write-ahead log; writes will be slower");
        }
        create_tables(&conn, || fill(&conn)).map_err(|error| match error {
            InitError::Open(OpenError::Sqlite(error)) => classify(error),
            other => other,
        })?;
        Ok(conn)
    })();
    match created {
        Ok(conn) => Ok((path, conn)),
        Err(error) => {
            keyfile::remove(&key_file);
            if look.kind == FileKind::Missing {
                // SQLite removes its own log when the connection closes; an empty file may be left.
                let _ = std::fs::remove_file(&path);
            }
            Err(error)
        }
    }
}
