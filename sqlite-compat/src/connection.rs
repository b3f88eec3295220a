//! A database: one connection, shared by the statements that were prepared on it.
//!
//! Invariants:
//! 1. Every statement prepared here is finalized before the connection is closed; one that outlives it is found closed.
//! 2. On a replica, what is known of the synced tables is renewed before a transaction begins.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::fmt;
use std::path::Path;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Once};

use kithdb_core::capture::Authorizer;
use kithdb_core::error::StatementError;
use kithdb_core::gate::{Gate, Inside};
use kithdb_core::replica::{InitOptions, OpenOptions as ReplicaOptions, Replica};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, InterruptHandle, ffi};

use crate::authorizer;
use crate::error::SqliteError;
use crate::open::{OpenOptions, open_backing, refused};
use crate::session::{self, SharedRecording};
use crate::statement::{Statement, Step};

/// Sets what holds for all connections of the process: names that begin with `file:` are names, not addresses,
/// unless the environment says `SQLITE_USE_URI=1`.
///
/// To be called before the first connection is opened; later it has no effect.
pub fn configure_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let are_addresses = std::env::var_os("SQLITE_USE_URI").is_some_and(|value| value == "1");
        // SAFETY: the option takes one int; SQLite refuses, and does nothing, once it is initialised.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_URI, c_int::from(are_addresses)) };
    });
}

/// Returns SQLite's version and the id of its source.
pub fn version() -> (String, String) {
    // SAFETY: both are static strings.
    let texts = unsafe { [CStr::from_ptr(ffi::sqlite3_libversion()), CStr::from_ptr(ffi::sqlite3_sourceid())] };
    let [version, source] = texts.map(|text| text.to_string_lossy().into_owned());
    (version, source)
}

/// What a database stands on.
pub(crate) enum Backing {
    Plain(Connection),
    Replica(Box<Replica>),
}

impl Backing {
    fn conn(&self) -> &Connection {
        match self {
            Self::Plain(conn) => conn,
            Self::Replica(replica) => replica.conn(),
        }
    }
}

/// The cell through which a statement and its database both know the raw statement; null once it is finalized.
pub(crate) type RawStatement = Rc<Cell<*mut ffi::sqlite3_stmt>>;

pub(crate) struct Shared {
    db: Cell<*mut ffi::sqlite3>,
    is_replica: Cell<bool>,
    backing: RefCell<Option<Backing>>,
    statements: RefCell<HashMap<u64, RawStatement>>,
    next_statement: Cell<u64>,
    has_extensions: Cell<bool>,
    sessions: RefCell<Vec<SharedRecording>>,
    /// The authorizer of a plain connection, in a box that stays where it is.
    authorizer: RefCell<Option<Box<Authorizer>>>,
    /// Of the file, once it was asked for.
    gate: RefCell<Option<Arc<Gate>>>,
    /// While this connection is in a transaction, if threads of ours write to a file.
    inside: RefCell<Option<Inside>>,
    /// Whether `PRAGMA synchronous = FULL` could not be done yet.
    pub(crate) owes_full_sync: Cell<bool>,
}

impl Shared {
    /// Returns the open handle.
    pub(crate) fn db(&self) -> Result<*mut ffi::sqlite3, SqliteError> {
        let db = self.db.get();
        if db.is_null() { Err(closed()) } else { Ok(db) }
    }

    pub(crate) fn is_replica(&self) -> bool {
        self.is_replica.get()
    }

    /// Waits until no thread of ours writes to the file, and has them wait for the transaction that may begin now.
    #[cold]
    pub(crate) fn enter_gate(&self) {
        let mut inside = self.inside.borrow_mut();
        let Some(db) = self.db().ok().filter(|_| inside.is_none()) else { return };
        let mut gate = self.gate.borrow_mut();
        if gate.is_none() {
            let backing = self.backing.try_borrow().ok();
            let path = backing.as_ref().and_then(|backing| Some(backing.as_ref()?.conn().path()?.to_owned()));
            *gate = path.filter(|path| !path.is_empty()).map(|path| Gate::of(Path::new(&path)));
        }
        if let Some(gate) = &*gate {
            *inside = Some(if is_idle(db) { gate.enter() } else { gate.enter_late() });
        }
    }

    /// Lets threads of ours write again, if the connection is in no transaction any more.
    #[inline]
    pub(crate) fn leave_gate(&self) {
        let is_over = || self.db().map_or(true, is_idle);
        if self.inside.borrow().is_some() && is_over() {
            self.inside.take();
        }
    }

    /// Tells whether the application has prepared this statement; a replica has statements of its own.
    pub(crate) fn is_registered(&self, raw: *mut ffi::sqlite3_stmt) -> bool {
        self.statements.try_borrow().is_ok_and(|all| all.values().any(|known| known.get() == raw))
    }

    pub(crate) fn forget(&self, id: u64) {
        self.statements.borrow_mut().remove(&id);
    }

    /// Renews what a replica knows if a transaction may begin now, or what it knows may be wrong.
    pub(crate) fn before_statement(&self) -> Result<(), SqliteError> {
        self.make_ready(Replica::before_statement)
    }

    /// The same for a statement that changes the schema.
    pub(crate) fn before_schema_change(&self) -> Result<(), SqliteError> {
        self.make_ready(Replica::before_schema_change)
    }

    /// Tells whether a statement that is at its first row will be refused when it ends.
    pub(crate) fn will_refuse(&self) -> bool {
        self.backing
            .try_borrow()
            .is_ok_and(|backing| matches!(backing.as_ref(), Some(Backing::Replica(replica)) if replica.will_refuse()))
    }

    /// Makes ready for preparing a statement once more that SQLite did not understand; tells whether that is of any use.
    #[cold]
    pub(crate) fn make_ready_to_prepare(&self) -> bool {
        self.is_replica() && self.make_ready(Replica::before_preparing_again).unwrap_or(true)
    }

    fn make_ready<T: Default>(
        &self,
        ready: impl FnOnce(&mut Replica) -> Result<T, StatementError>,
    ) -> Result<T, SqliteError> {
        let db = self.db()?;
        // A statement within a statement, from a function of the application's, finds it done.
        let Ok(mut backing) = self.backing.try_borrow_mut() else { return Ok(T::default()) };
        let Some(Backing::Replica(replica)) = backing.as_mut() else { return Ok(T::default()) };
        // SAFETY: the handle is open.
        let is_autocommit = unsafe { ffi::sqlite3_get_autocommit(db) } != 0;
        if !is_autocommit && !replica.is_stale() {
            return Ok(T::default());
        }
        ready(replica).map_err(|error| match error {
            StatementError::Sqlite(rusqlite::Error::SqliteFailure(error, message)) => {
                let plain = SqliteError::of_code(error.extended_code);
                message.map_or(plain, |message| SqliteError::new(error.extended_code, message))
            }
            other => SqliteError::new(ffi::SQLITE_ERROR, other.to_string()),
        })
    }

    /// Finds SQLite's words, or KithDB's reason, for a call that has just failed.
    #[cold]
    pub(crate) fn failure(&self, code: c_int) -> SqliteError {
        let Ok(db) = self.db() else { return SqliteError::of_code(code) };
        // SAFETY: the handle is open.
        let found = unsafe { SqliteError::of_connection(db, code) };
        let Ok(backing) = self.backing.try_borrow() else { return found };
        let Some(Backing::Replica(replica)) = backing.as_ref() else { return found };
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(found.code), Some(found.message.clone()));
        match replica.explain(error) {
            StatementError::Refused { message } => SqliteError::new(found.code, message),
            _ => found,
        }
    }

    pub(crate) fn check(&self, code: c_int) -> Result<(), SqliteError> {
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.failure(code)) }
    }

    pub(crate) fn add_session(&self, session: &SharedRecording) {
        self.sessions.borrow_mut().push(Rc::clone(session));
    }

    pub(crate) fn forget_session(&self, session: &SharedRecording) {
        self.sessions.borrow_mut().retain(|kept| !Rc::ptr_eq(kept, session));
    }

    pub(crate) fn backing(&self) -> Ref<'_, Option<Backing>> {
        self.backing.borrow()
    }

    /// Keeps an authorizer in place of the one before, and tells where.
    pub(crate) fn keep_authorizer(&self, asked: Option<Authorizer>) -> *const Authorizer {
        *self.authorizer.borrow_mut() = asked.map(Box::new);
        authorizer::place(self.authorizer.borrow().as_deref())
    }

    pub(crate) fn finalize_statements(&self) {
        // A statement's end may run a virtual table's code, which may prepare another.
        let all = std::mem::take(&mut *self.statements.borrow_mut());
        for raw in all.into_values() {
            // SAFETY: what is registered is prepared on this connection and not finalized; nobody uses it from here on.
            unsafe { ffi::sqlite3_finalize(raw.replace(ptr::null_mut())) };
        }
    }

    fn close(&self) -> Result<(), SqliteError> {
        self.finalize_statements();
        for session in self.sessions.take() {
            // SAFETY: the connection is closed below.
            unsafe { session::end(&session, self.backing.borrow().as_ref()) };
        }
        self.db.set(ptr::null_mut());
        self.is_replica.set(false);
        // What is in the background ends with the connection, and may be waiting for the file.
        self.inside.take();
        self.gate.take();
        let closed = match self.backing.borrow_mut().take() {
            None => Ok(()),
            Some(Backing::Plain(conn)) => conn.close().map_err(|(_, error)| error),
            Some(Backing::Replica(replica)) => replica.close(),
        };
        self.authorizer.take();
        closed.map_err(|error| SqliteError::new(ffi::SQLITE_BUSY, error.to_string()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.close();
    }
}

/// Interrupts a connection from any thread, and does nothing once that is closed.
pub struct Interrupter(InterruptHandle);

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

impl Interrupter {
    /// Makes a running statement end with SQLITE_INTERRUPT.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }
}

/// Says whether a connection is in no transaction, not even in one that only reads.
fn is_idle(db: *mut ffi::sqlite3) -> bool {
    // SAFETY: the handle is open; without a name all databases of the connection count.
    unsafe { ffi::sqlite3_get_autocommit(db) != 0 && ffi::sqlite3_txn_state(db, ptr::null()) == ffi::SQLITE_TXN_NONE }
}

pub(crate) fn closed() -> SqliteError {
    SqliteError::new(ffi::SQLITE_MISUSE, "the database connection is not open")
}

/// A database; a clone is the same connection.
#[derive(Clone)]
pub struct Database {
    pub(crate) shared: Rc<Shared>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("is_open", &self.is_open()).field("is_replica", &self.is_replica()).finish()
    }
}

impl Database {
    pub(crate) fn from_backing(backing: Backing) -> Self {
        // SAFETY: the handle is kept as long as the connection that owns it, and set to null before that is closed.
        let db = unsafe { backing.conn().handle() };
        let is_replica = matches!(backing, Backing::Replica(_));
        Self {
            shared: Rc::new(Shared {
                db: Cell::new(db),
                is_replica: Cell::new(is_replica),
                backing: RefCell::new(Some(backing)),
                statements: RefCell::default(),
                next_statement: Cell::new(0),
                has_extensions: Cell::new(false),
                sessions: RefCell::default(),
                authorizer: RefCell::default(),
                gate: RefCell::default(),
                inside: RefCell::default(),
                owes_full_sync: Cell::new(false),
            }),
        }
    }

    /// Tells whether the database is open.
    pub fn is_open(&self) -> bool {
        !self.shared.db.get().is_null()
    }

    /// Tells whether the database is a KithDB replica.
    pub fn is_replica(&self) -> bool {
        self.shared.is_replica()
    }

    /// Finalizes every statement and closes the connection; closing again does nothing.
    pub fn close(&self) -> Result<(), SqliteError> {
        self.shared.close()
    }

    pub(crate) fn db(&self) -> Result<*mut ffi::sqlite3, SqliteError> {
        self.shared.db()
    }

    pub(crate) fn register(&self, raw: *mut ffi::sqlite3_stmt) -> (u64, RawStatement) {
        let id = self.shared.next_statement.get();
        self.shared.next_statement.set(id + 1);
        let cell = Rc::new(Cell::new(raw));
        self.shared.statements.borrow_mut().insert(id, Rc::clone(&cell));
        (id, cell)
    }

    pub(crate) fn note_extension(&self) {
        self.shared.has_extensions.set(true);
    }

    /// Runs every statement of a text to its end, unless `before`, which is told of each, is against it.
    pub fn execute_each<E: From<SqliteError>>(
        &self,
        sql: &str,
        mut before: impl FnMut(&Statement) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = sql;
        while !rest.is_empty() {
            let (statement, tail) = self.prepare(rest.trim_ascii_start())?;
            if let Some(statement) = statement {
                before(&statement)?;
                while statement.step()? == Step::Row {}
            }
            rest = tail;
        }
        Ok(())
    }

    /// Runs every statement of a text to its end.
    pub fn execute_batch(&self, sql: &str) -> Result<(), SqliteError> {
        self.execute_each(sql, |_| Ok(()))
    }

    /// Tells whether no transaction is open.
    pub fn is_autocommit(&self) -> bool {
        // SAFETY: the handle is open when it is not null.
        self.db().map_or(true, |db| unsafe { ffi::sqlite3_get_autocommit(db) } != 0)
    }

    fn of_replica<T>(&self, ask: impl FnOnce(&Replica) -> T) -> Option<T> {
        if !self.is_replica() {
            return None;
        }
        match self.shared.backing.try_borrow().ok()?.as_ref()? {
            Backing::Replica(replica) => Some(ask(replica)),
            Backing::Plain(_) => None,
        }
    }

    /// Returns how many rows the last INSERT, UPDATE or DELETE changed.
    pub fn changes(&self) -> i64 {
        if let Some(count) = self.of_replica(Replica::changes) {
            return count;
        }
        // SAFETY: the handle is open when it is not null.
        self.db().map_or(0, |db| unsafe { ffi::sqlite3_changes64(db) })
    }

    /// Returns how many rows were changed since the database was opened.
    pub fn total_changes(&self) -> i64 {
        if let Some(count) = self.of_replica(Replica::total_changes) {
            return count;
        }
        // SAFETY: the handle is open when it is not null.
        self.db().map_or(0, |db| unsafe { ffi::sqlite3_total_changes64(db) })
    }

    /// Returns the key of the last row that was inserted.
    pub fn last_insert_rowid(&self) -> i64 {
        // SAFETY: the handle is open when it is not null.
        self.db().map_or(0, |db| unsafe { ffi::sqlite3_last_insert_rowid(db) })
    }

    /// Sets how long a statement waits for another connection's lock.
    pub fn set_busy_timeout(&self, milliseconds: i32) -> Result<(), SqliteError> {
        let db = self.db()?;
        // SAFETY: the handle is open.
        self.shared.check(unsafe { ffi::sqlite3_busy_timeout(db, milliseconds) })
    }

    /// Sets how long a text or blob may be, in bytes; SQLite has a limit of its own above which it does not go.
    pub fn set_length_limit(&self, bytes: i32) -> Result<(), SqliteError> {
        let db = self.db()?;
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, bytes) };
        Ok(())
    }

    /// Sets one of SQLite's limits by its number; SQLite does not go above its own.
    pub fn set_limit(&self, limit: i32, value: i32) -> Result<(), SqliteError> {
        let db = self.db()?;
        // SAFETY: the handle is open; SQLite does nothing for a number it does not know.
        unsafe { ffi::sqlite3_limit(db, limit, value) };
        Ok(())
    }

    /// Enforces foreign keys, or not.
    pub fn set_foreign_keys(&self, are_enforced: bool) -> Result<(), SqliteError> {
        self.configure(&[(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, are_enforced)])
    }

    /// Tells how many statements are prepared and not finalized.
    pub fn open_statements(&self) -> usize {
        self.shared.statements.borrow().len()
    }

    /// Returns what interrupts this connection from any thread.
    pub fn interrupter(&self) -> Result<Interrupter, SqliteError> {
        self.with_connection(|conn| Interrupter(conn.get_interrupt_handle()))
    }

    /// Makes a running statement end with SQLITE_INTERRUPT.
    pub fn interrupt(&self) {
        if let Ok(db) = self.db() {
            // SAFETY: the handle is open.
            unsafe { ffi::sqlite3_interrupt(db) };
        }
    }

    /// Refuses, or allows, text in double quotes where a column's name would be.
    pub fn set_double_quoted_strings(&self, are_allowed: bool) -> Result<(), SqliteError> {
        self.configure(&[
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, are_allowed),
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, are_allowed),
        ])
    }

    /// Lets SQL change what protects the file from itself, or not.
    pub fn set_defensive(&self, is_defensive: bool) -> Result<(), SqliteError> {
        self.configure(&[(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, is_defensive)])
    }

    /// Returns the path of the database's file, as SQLite opened it; `None` for a database in memory or in a temporary file.
    pub fn file(&self) -> Result<Option<String>, SqliteError> {
        let path = |conn: &Connection| conn.path().filter(|path| !path.is_empty()).map(str::to_owned);
        self.with_connection(path)
    }

    /// Lends the connection that all stands on.
    pub(crate) fn with_connection<T>(&self, run: impl FnOnce(&Connection) -> T) -> Result<T, SqliteError> {
        let backing = self.shared.backing.borrow();
        Ok(run(backing.as_ref().ok_or_else(closed)?.conn()))
    }

    fn configure(&self, switches: &[(DbConfig, bool)]) -> Result<(), SqliteError> {
        let set = |conn: &Connection| {
            switches.iter().try_for_each(|&(switch, is_on)| conn.set_db_config(switch, is_on).map(drop))
        };
        self.with_connection(set)?.map_err(|error| SqliteError::new(ffi::SQLITE_ERROR, error.to_string()))
    }

    /// Loads an extension; its entry point is guessed from the file's name unless it is given.
    pub fn load_extension(&self, path: &str, entry_point: Option<&str>) -> Result<(), SqliteError> {
        let db = self.db()?;
        let c_text = |text: &str| {
            CString::new(text).map_err(|_| SqliteError::new(ffi::SQLITE_ERROR, "a name holds a zero byte"))
        };
        let (path, entry_point) = (c_text(path)?, entry_point.map(c_text).transpose()?);
        self.note_extension();
        let mut message = ptr::null_mut();
        // SAFETY: the handle is open, the names are C strings, and the message is freed after it was copied.
        unsafe {
            let mut code = ffi::sqlite3_db_config(
                db,
                ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
                1 as c_int,
                ptr::null_mut::<c_int>(),
            );
            if code == ffi::SQLITE_OK {
                let entry = entry_point.as_deref().map_or(ptr::null(), CStr::as_ptr);
                code = ffi::sqlite3_load_extension(db, path.as_ptr(), entry, &raw mut message);
                ffi::sqlite3_db_config(
                    db,
                    ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
                    0 as c_int,
                    ptr::null_mut::<c_int>(),
                );
            }
            if code == ffi::SQLITE_OK {
                return Ok(());
            }
            if message.is_null() {
                return Err(SqliteError::of_connection(db, code));
            }
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            ffi::sqlite3_free(message.cast());
            Err(SqliteError::new(code, text))
        }
    }

    /// Returns a database as the bytes of its file; `None` when there is no such database or no memory.
    pub fn serialize(&self, schema: &str) -> Result<Option<Vec<u8>>, SqliteError> {
        let db = self.db()?;
        let Ok(schema) = CString::new(schema) else { return Ok(None) };
        let mut len: ffi::sqlite3_int64 = -1;
        // SAFETY: the handle is open, the name a C string; the bytes are SQLite's to free after they were copied.
        unsafe {
            let bytes = ffi::sqlite3_serialize(db, schema.as_ptr(), &raw mut len, 0);
            if bytes.is_null() {
                // An empty database has no pages yet.
                return Ok((len == 0).then(Vec::new));
            }
            let copy = std::slice::from_raw_parts(bytes, usize::try_from(len).unwrap_or(0)).to_vec();
            ffi::sqlite3_free(bytes.cast());
            Ok(Some(copy))
        }
    }

    /// Opens a database in memory from the bytes of a file.
    pub fn deserialize(bytes: &[u8], options: &OpenOptions) -> Result<Self, SqliteError> {
        let database = Self::open(":memory:", &OpenOptions { read_only: false, must_exist: false, ..options.clone() })?;
        if bytes.is_empty() {
            return Ok(database);
        }
        let db = database.db()?;
        let no_memory = || SqliteError::of_code(ffi::SQLITE_NOMEM);
        let len = i64::try_from(bytes.len()).map_err(|_| no_memory())?;
        let access =
            if options.read_only { ffi::SQLITE_DESERIALIZE_READONLY } else { ffi::SQLITE_DESERIALIZE_RESIZEABLE };
        // SAFETY: the copy is SQLite's from the call on, which frees it in any case; its size is that of the bytes.
        let code = unsafe {
            let copy = ffi::sqlite3_malloc64(bytes.len() as u64).cast::<u8>();
            if copy.is_null() {
                return Err(no_memory());
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
            let flags = access | ffi::SQLITE_DESERIALIZE_FREEONCLOSE;
            ffi::sqlite3_deserialize(db, c"main".as_ptr(), copy, len, len, flags)
        };
        database.shared.check(code)?;
        Ok(database)
    }

    fn has_schema(&self) -> Result<bool, SqliteError> {
        let (statement, _) = self.prepare("SELECT 1 FROM sqlite_schema LIMIT 1")?;
        Ok(statement.map(|statement| statement.step()).transpose()? == Some(Step::Row))
    }

    /// Founds a workspace in an open plain file, which goes on as a replica.
    ///
    /// Statements prepared before are finalized; functions and extensions would be lost, so none may have been added.
    pub fn found(&self, path: &str, device_name: &str, options: &OpenOptions) -> Result<(), SqliteError> {
        self.check_convertible()?;
        let in_memory = path.is_empty() || path == ":memory:";
        if in_memory && self.has_schema()? {
            let message = "the database in memory is not empty; found the workspace before you create tables";
            return Err(SqliteError::new(ffi::SQLITE_ERROR, message));
        }
        let open = ReplicaOptions { busy_timeout: options.busy_timeout, ..ReplicaOptions::default() };
        let init = InitOptions { device_name: device_name.to_owned(), open };
        self.shared.close()?;
        let founded = if in_memory { Replica::open_memory(init) } else { Replica::init(path, init) };
        match founded {
            Ok(replica) => {
                self.take_up(Backing::Replica(Box::new(replica)));
                Ok(())
            }
            Err(why) => {
                self.reopen(path, options)?;
                let is_busy =
                    matches!(&why, kithdb_core::error::InitError::Open(why) if refused(why).code == ffi::SQLITE_BUSY);
                let code = if is_busy { ffi::SQLITE_BUSY } else { ffi::SQLITE_ERROR };
                Err(SqliteError::new(code, why.to_string()))
            }
        }
    }

    /// Closes an open plain file so that it can become a replica; [`Self::reopen`] opens it again.
    ///
    /// Statements prepared before are finalized; functions and extensions would be lost, so none may have been added.
    pub fn release(&self) -> Result<(), SqliteError> {
        self.check_convertible()?;
        self.shared.close()
    }

    /// Opens a file in place of one that was closed, as whatever it is now.
    pub fn reopen(&self, path: &str, options: &OpenOptions) -> Result<(), SqliteError> {
        self.shared.close()?;
        self.take_up(open_backing(path, options, 0)?);
        Ok(())
    }

    fn take_up(&self, backing: Backing) {
        // SAFETY: as in `from_backing`.
        self.shared.db.set(unsafe { backing.conn().handle() });
        self.shared.is_replica.set(matches!(backing, Backing::Replica(_)));
        self.shared.has_extensions.set(false);
        *self.shared.backing.borrow_mut() = Some(backing);
    }

    /// Refuses unless this is a plain database without anything that another connection would not have.
    fn check_convertible(&self) -> Result<(), SqliteError> {
        let error = |message: &str| Err(SqliteError::new(ffi::SQLITE_ERROR, message));
        self.db()?;
        if self.is_replica() {
            return error("the database already belongs to a workspace; kith_members lists its devices");
        }
        if self.shared.has_extensions.get() {
            return error("functions or extensions were added to this connection; found or join the workspace first");
        }
        if !self.is_autocommit() {
            return error("a transaction is open; end it before a workspace is founded or joined");
        }
        Ok(())
    }
}
