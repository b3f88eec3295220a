//! A database, as JavaScript holds it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use kithdb_sqlite::{Backup, Database, OpenOptions, SqliteError, Statement};

use crate::js::{Answer, Js, Kept, Thrown, Val, type_error};
use crate::statement::Statements;

/// Sets what a face wants of a connection.
pub(crate) type Configure = Box<dyn Fn(&Database) -> Answer<()>>;

pub(crate) struct Db {
    pub(crate) database: Database,
    path: String,
    options: OpenOptions,
    /// Sets what the face wants of a connection, whenever there is a new one.
    configure: Configure,
    /// Told of each statement before it runs.
    verbose: Option<Kept>,
    /// Whether SQLite is running a statement right now, so that whatever is called is called from a function.
    pub(crate) is_executing: Cell<bool>,
    /// Whether an authorizer of the program's is being asked.
    pub(crate) is_authorizing: Cell<bool>,
    /// How many iterators are not at their end.
    pub(crate) iterators: Cell<u32>,
    pub(crate) is_unsafe: Cell<bool>,
    /// Whether JavaScript runs while statements do.
    pub(crate) has_functions: Cell<bool>,
    backups: RefCell<Vec<Weak<RefCell<Backup>>>>,
    /// Whether the file is joining a workspace, closed for so long.
    pub(crate) is_away: Cell<bool>,
    pub(crate) statements: Statements,
}

/// What a database's value owns; it is read as the `Rc` that it is in memory.
#[repr(transparent)]
pub(crate) struct Owner(pub(crate) Rc<Db>);

impl Drop for Owner {
    fn drop(&mut self) {
        // Statements have the database, here and in JavaScript: here it would stay for ever, there they are gone with it.
        self.0.statements.clear();
    }
}

impl Db {
    /// Makes what JavaScript holds of an open database.
    pub(crate) fn new(
        js: Js,
        database: Database,
        path: String,
        options: OpenOptions,
        verbose: Option<Kept>,
        configure: Configure,
    ) -> Answer<Rc<Self>> {
        configure(&database)?;
        let db = Rc::new(Self {
            database,
            path,
            options,
            configure,
            verbose,
            is_executing: Cell::default(),
            is_authorizing: Cell::default(),
            iterators: Cell::default(),
            is_unsafe: Cell::default(),
            has_functions: Cell::default(),
            backups: RefCell::default(),
            is_away: Cell::default(),
            statements: Statements::default(),
        });
        js.instance().add(&db);
        Ok(db)
    }

    pub(crate) fn check_open(&self) -> Answer<()> {
        if self.database.is_open() { Ok(()) } else { type_error("The database connection is not open") }
    }

    /// Prepares, during which functions and virtual tables of the program's may run.
    pub(crate) fn prepare<'t>(&self, sql: &'t str) -> Result<(Option<Statement>, &'t str), SqliteError> {
        let was_executing = self.is_executing.replace(true);
        let prepared = self.database.prepare(sql);
        self.is_executing.set(was_executing);
        prepared
    }

    /// Refuses what cannot be done from inside a function of the application's.
    pub(crate) fn check_not_executing(&self) -> Answer<()> {
        if self.is_executing.get() { busy() } else { Ok(()) }
    }

    /// Refuses what may be done between statements only, whatever mode the database is in.
    fn check_at_rest(&self) -> Answer<()> {
        self.check_open()?;
        if self.is_executing.get() || self.iterators.get() > 0 { busy() } else { Ok(()) }
    }

    /// Refuses what would pull the ground from under an iterator.
    pub(crate) fn check_no_iterators(&self) -> Answer<()> {
        if self.iterators.get() > 0 && !self.is_unsafe.get() { busy() } else { Ok(()) }
    }

    /// Tells `verbose` of a statement that is about to run, under which it must not use the database.
    pub(crate) fn tell_verbose(&self, js: Js, sql: impl FnOnce() -> Option<String>) -> Answer<()> {
        if let Some(verbose) = &self.verbose {
            let text = js.string(sql().unwrap_or_default().as_bytes())?;
            let was_executing = self.is_executing.replace(true);
            let told = js.call(verbose.get(js)?, &[text]);
            self.is_executing.set(was_executing);
            told?;
        }
        Ok(())
    }

    pub(crate) fn add_backup(&self, backup: &Rc<RefCell<Backup>>) {
        let mut backups = self.backups.borrow_mut();
        backups.retain(|backup| backup.strong_count() > 0);
        backups.push(Rc::downgrade(backup));
    }

    /// Closes a plain file so that it can join a workspace.
    pub(crate) fn leave(&self) -> Answer<()> {
        self.check_at_rest()?;
        if self.options.read_only {
            return type_error("A database that was opened with readonly cannot join a workspace");
        }
        self.database.release()?;
        self.is_away.set(true);
        Ok(())
    }

    /// Opens a file again that has left, unless it was closed meanwhile.
    pub(crate) fn come_back(&self, path: &str) -> Answer<()> {
        if !self.is_away.replace(false) {
            return Ok(());
        }
        self.database.reopen(path, &self.options)?;
        (self.configure)(&self.database)
    }

    /// Ends everything that runs on the database and closes it.
    pub(crate) fn shut(&self) {
        for backup in self.backups.take().iter().filter_map(Weak::upgrade) {
            if let Ok(mut backup) = backup.try_borrow_mut() {
                backup.finish();
            }
        }
        // What a statement's end runs must not close again. What goes wrong the program could do nothing about.
        let was_executing = self.is_executing.replace(true);
        let _ = self.database.close();
        self.is_executing.set(was_executing);
    }
}

fn busy<T>() -> Answer<T> {
    type_error("This database connection is busy executing a query")
}

fn missing<T>() -> Answer<T> {
    Err(Thrown::Plain("a native function was called with too few arguments".to_owned()))
}

/// Opens a database: name or buffer, read only, must exist, timeout, verbose, length of the longest string.
pub(crate) fn open(js: Js, arguments: &[Val]) -> Answer {
    let &[source, read_only, must_exist, timeout, verbose, longest] = arguments else { return missing() };
    let options = OpenOptions {
        read_only: js.truth(read_only)?,
        must_exist: js.truth(must_exist)?,
        busy_timeout: Duration::from_millis(js.integer(timeout)?.unsigned_abs().into()),
    };
    let is_function = js.kind(verbose)? == napi_sys::ValueType::napi_function;
    let verbose = if is_function { Some(Kept::new(js, verbose)?) } else { None };
    let (path, database) = if js.is_buffer(source)? {
        (String::from(":memory:"), Database::deserialize(js.bytes(source)?, &options)?)
    } else {
        let path = js.string_of(source)?;
        let database = Database::open(&path, &options)?;
        (path, database)
    };
    let longest = js.integer(longest)?;
    let configure = Box::new(move |database: &Database| configure(database, longest));
    let db = Db::new(js, database, path, options, verbose, configure)?;
    js.external(Owner(db))
}

/// Sets what better-sqlite3 compiles into its SQLite.
fn configure(database: &Database, longest: i32) -> Answer<()> {
    database.set_length_limit(longest)?;
    database.set_double_quoted_strings(false)?;
    database.set_defensive(true)?;
    // No lock is needed, so that a file that is not a database is only found out by the first statement.
    database.execute_batch("PRAGMA cache_size = -16000").or(Ok(()))
}

fn db<'v>(js: Js, arguments: &[Val]) -> Answer<&'v Rc<Db>> {
    match arguments.first() {
        Some(value) => js.native::<Rc<Db>>(*value),
        None => missing(),
    }
}

/// Closes; closing again does nothing.
pub(crate) fn close(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    db.is_away.set(false);
    if db.database.is_open() {
        db.check_at_rest()?;
        db.shut();
    }
    js.undefined()
}

/// Runs all statements of a text.
pub(crate) fn exec(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&sql) = arguments.get(1) else { return missing() };
    db.check_open()?;
    db.check_not_executing()?;
    db.check_no_iterators()?;
    let sql = js.string_of(sql)?;
    db.is_executing.set(true);
    let done = db.database.execute_each(&sql, |statement| db.tell_verbose(js, || statement.expanded_sql()));
    db.is_executing.set(false);
    done.and_then(|()| js.undefined())
}

pub(crate) fn is_open(js: Js, arguments: &[Val]) -> Answer {
    js.boolean(db(js, arguments)?.database.is_open())
}

pub(crate) fn in_transaction(js: Js, arguments: &[Val]) -> Answer {
    js.boolean(!db(js, arguments)?.database.is_autocommit())
}

pub(crate) fn is_replica(js: Js, arguments: &[Val]) -> Answer {
    js.boolean(db(js, arguments)?.database.is_replica())
}

/// Founds a workspace in the open database, under a device's name.
pub(crate) fn found(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&name) = arguments.get(1) else { return missing() };
    db.check_at_rest()?;
    if db.options.read_only {
        return type_error("A database that was opened with readonly cannot found a workspace");
    }
    let name = js.string_of(name)?;
    let founded = db.database.found(&db.path, &name, &db.options);
    if db.database.is_open() {
        (db.configure)(&db.database)?;
    }
    founded?;
    js.undefined()
}

pub(crate) fn unsafe_mode(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&is_unsafe) = arguments.get(1) else { return missing() };
    let is_unsafe = js.truth(is_unsafe)?;
    if db.database.is_open() {
        db.database.set_defensive(!is_unsafe)?;
    }
    db.is_unsafe.set(is_unsafe);
    js.undefined()
}

/// Refuses unless the database is open and at rest.
pub(crate) fn check(js: Js, arguments: &[Val]) -> Answer {
    db(js, arguments)?.check_at_rest()?;
    js.undefined()
}

/// Refuses unless the database is open and, but in unsafe mode, at rest.
pub(crate) fn check_idle(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    db.check_open()?;
    db.check_not_executing()?;
    db.check_no_iterators()?;
    js.undefined()
}

pub(crate) fn load_extension(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let &[_, path, entry_point] = arguments else { return missing() };
    check(js, arguments)?;
    let path = js.string_of(path)?;
    let has_entry_point = js.kind(entry_point)? == napi_sys::ValueType::napi_string;
    let entry_point = if has_entry_point { Some(js.string_of(entry_point)?) } else { None };
    db.database.load_extension(&path, entry_point.as_deref())?;
    js.undefined()
}

pub(crate) fn serialize(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&schema) = arguments.get(1) else { return missing() };
    check(js, arguments)?;
    match db.database.serialize(&js.string_of(schema)?)? {
        Some(bytes) => js.buffer(&bytes),
        None => Err(Thrown::Plain("Out of memory".to_owned())),
    }
}
