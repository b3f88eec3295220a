//! The thread that has a database and its statements to itself.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kithdb_sqlite::{Backup, Change, Changes, Database, Interrupter, SqliteError, Trace, TraceEvent};

use super::job::{Action, Completion, Form, Id, Job, MISUSE, Outcome, Parameters, Rows, Target, Use, late};
use super::outbox::Outbox;
use super::prepared::{Pieces, Prepared};
use super::queue::Queue;

/// How long a statement waits for a lock unless the program says otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How many statements are kept prepared that the program gives as text only.
const KEPT_STATEMENTS: usize = 100;

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const INTERNAL: i32 = 2;

/// What the thread and the environment both know of a database.
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) queue: Queue,
    pub(crate) outbox: Arc<Outbox>,
    interrupter: Mutex<Option<Interrupter>>,
    /// Whether a transaction was open after the latest job.
    is_in_transaction: AtomicBool,
}

impl Link {
    pub(crate) fn new(id: u64, outbox: Arc<Outbox>) -> Self {
        Self {
            id,
            queue: Queue::default(),
            outbox,
            interrupter: Mutex::default(),
            is_in_transaction: AtomicBool::new(false),
        }
    }

    /// Makes what runs now end, if anything does.
    pub(crate) fn interrupt(&self) {
        if let Some(interrupter) = &*self.interrupter.lock().unwrap_or_else(PoisonError::into_inner) {
            interrupter.interrupt();
        }
    }

    /// Tells whether a transaction was open after the latest job whose end was told.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.is_in_transaction.load(Ordering::Relaxed)
    }

    /// Makes the thread end soon, whatever it does.
    pub(crate) fn stop(&self) {
        self.queue.stop();
        self.interrupt();
    }
}

/// Tells JavaScript, with how many silent jobs went well before.
struct Teller {
    link: Arc<Link>,
    skipped: Cell<u32>,
}

impl Teller {
    fn tell(&self, outcome: Outcome) {
        self.link.outbox.send(Completion { link: self.link.id, skipped: self.skipped.take(), outcome });
    }
}

impl Pieces for Teller {
    fn is_awaited(&self) -> bool {
        self.link.queue.has_no_pieces()
    }

    fn send(&self, rows: Rows) -> bool {
        self.link.queue.send_piece();
        self.tell(Outcome::Some(rows));
        self.link.queue.wait_for_room()
    }
}

enum Slot {
    Ready(Prepared),
    /// It could not be prepared: nothing that is done with it is heard of.
    Failed,
}

struct Copying {
    /// `None` when it could not be begun, or has ended.
    backup: Option<Backup>,
    _other: Database,
    is_done: bool,
    remaining: i32,
    pages: i32,
}

struct Worker {
    teller: Rc<Teller>,
    statements: HashMap<Id, Slot>,
    kept: HashMap<String, Prepared>,
    /// `None` for one that could not be begun: nothing that is done with it is heard of.
    backups: HashMap<Id, Option<Copying>>,
    trace: Option<Trace>,
    changes: Option<Changes>,
    database: Option<Database>,
}

/// Runs the jobs of a database until there can be no more.
pub(crate) fn work(link: Arc<Link>) {
    let teller = Rc::new(Teller { link: Arc::clone(&link), skipped: Cell::new(0) });
    let mut worker = Worker {
        teller: Rc::clone(&teller),
        statements: HashMap::new(),
        kept: HashMap::new(),
        backups: HashMap::new(),
        trace: None,
        changes: None,
        database: None,
    };
    let mut jobs = VecDeque::new();
    let tell_quiet = || {
        if teller.skipped.get() > 0 {
            teller.tell(Outcome::Quiet);
        }
    };
    while link.queue.take(&mut jobs, tell_quiet) {
        while let Some(Job { action, is_silent }) = jobs.pop_front() {
            let done = catch_unwind(AssertUnwindSafe(|| worker.act(action)));
            let outcome = done.unwrap_or_else(|_| {
                let message = "the addon failed within; please report this";
                Outcome::Failed { error: SqliteError::new(INTERNAL, message), is_prepared: true }
            });
            let is_in_transaction = worker.database.as_ref().is_some_and(|database| !database.is_autocommit());
            link.is_in_transaction.store(is_in_transaction, Ordering::Relaxed);
            if outcome.is_failure() {
                link.queue.fail();
                teller.tell(outcome);
                if !link.queue.wait_until_seen() {
                    break;
                }
            } else if is_silent {
                teller.skipped.set(teller.skipped.get() + 1);
            } else {
                teller.tell(outcome);
            }
            if link.queue.is_stopped() {
                break;
            }
        }
        jobs.clear();
    }
    worker.shut();
}

impl Worker {
    fn act(&mut self, action: Action) -> Outcome {
        let done = match action {
            Action::Use { how, form, target, parameters } => return self.use_statement(how, form, target, parameters),
            Action::Describe { id } => match self.statements.get(&id) {
                Some(Slot::Ready(prepared)) => return prepared.describe(),
                _ => return Outcome::Dropped,
            },
            Action::Open { path, flags } => self.open(&path, flags),
            Action::Close => self.close(),
            Action::Exec { sql } => self.database().and_then(|database| database.execute_batch(&sql)),
            Action::LoadExtension { path } => self.database().and_then(|database| database.load_extension(&path, None)),
            Action::Wait => Ok(()),
            Action::BusyTimeout { milliseconds } => {
                self.database().and_then(|database| database.set_busy_timeout(milliseconds))
            }
            Action::Limit { limit, value } => self.database().and_then(|database| database.set_limit(limit, value)),
            Action::Watch { trace, profile, change } => self.watch(trace, profile, change),
            Action::Prepare { id, sql } => return self.prepare(id, &sql),
            Action::Reset { id } => match self.statements.get_mut(&id) {
                Some(Slot::Ready(prepared)) => {
                    prepared.reset();
                    Ok(())
                }
                _ => return Outcome::Dropped,
            },
            Action::Finalize { id } => match self.statements.get(&id) {
                Some(Slot::Failed) => return Outcome::Dropped,
                _ => {
                    self.statements.remove(&id);
                    Ok(())
                }
            },
            Action::Late { id } => match self.statements.get(&id) {
                Some(Slot::Failed) => return Outcome::Dropped,
                _ => return late(),
            },
            Action::Forget { id } => {
                self.statements.remove(&id);
                Ok(())
            }
            Action::BackupBegin { id, path, destination, source, is_path_destination } => {
                let copying = self.begin_backup(&path, &destination, &source, is_path_destination);
                let (copying, done) =
                    copying.map_or_else(|error| (None, Err(error)), |copying| (Some(copying), Ok(())));
                self.backups.insert(id, copying);
                done
            }
            Action::BackupStep { id, pages, retried } => return self.step_backup(id, pages, &retried),
            Action::BackupFinish { id } => match self.backups.remove(&id) {
                Some(Some(_)) => Ok(()),
                _ => return Outcome::Dropped,
            },
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed { error, is_prepared: true },
        }
    }

    fn database(&self) -> Result<&Database, SqliteError> {
        self.database.as_ref().ok_or_else(|| SqliteError::new(MISUSE, "Database handle is closed"))
    }

    fn open(&mut self, path: &str, flags: i32) -> Result<(), SqliteError> {
        let database = Database::open_with_flags(path, flags, BUSY_TIMEOUT)?;
        // As SQLite is unless it is built otherwise.
        database.set_foreign_keys(false)?;
        database.set_full_sync(i32::try_from(BUSY_TIMEOUT.as_millis()).unwrap_or(i32::MAX))?;
        let interrupter = database.interrupter()?;
        *self.teller.link.interrupter.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupter);
        self.database = Some(database);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SqliteError> {
        let database = self.database()?.clone();
        self.kept.clear();
        if database.open_statements() > 0 || self.backups.values().flatten().any(|copying| copying.backup.is_some()) {
            let message = "unable to close due to unfinalized statements or unfinished backups";
            return Err(SqliteError::new(BUSY, message));
        }
        self.shut();
        Ok(())
    }

    /// Ends everything and closes the database.
    fn shut(&mut self) {
        self.trace = None;
        self.changes = None;
        self.backups.clear();
        self.kept.clear();
        self.statements.retain(|_, slot| matches!(slot, Slot::Failed));
        *self.teller.link.interrupter.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(database) = self.database.take() {
            // There is nothing left on it, and nothing that the program could do.
            let _ = database.close();
        }
    }

    fn watch(&mut self, trace: bool, profile: bool, change: bool) -> Result<(), SqliteError> {
        let database = self.database()?.clone();
        self.trace = None;
        self.changes = None;
        if trace || profile {
            let teller = Rc::clone(&self.teller);
            self.trace = Some(database.trace(trace, profile, move |event| {
                teller.tell(match event {
                    TraceEvent::Statement(sql) => Outcome::Traced { sql },
                    TraceEvent::Profile { sql, nanoseconds } => Outcome::Profiled { sql, nanoseconds },
                });
            })?);
        }
        if change {
            let teller = Rc::clone(&self.teller);
            self.changes = Some(database.watch_changes(move |Change { kind, database, table, rowid }| {
                teller.tell(Outcome::Changed { kind, database, table, rowid });
            })?);
        }
        Ok(())
    }

    fn prepare(&mut self, id: Id, sql: &str) -> Outcome {
        match self.database().and_then(|database| Prepared::new(database, sql)) {
            Ok(prepared) => {
                self.statements.insert(id, Slot::Ready(prepared));
                Outcome::Done
            }
            Err(error) => {
                self.statements.insert(id, Slot::Failed);
                Outcome::Failed { error, is_prepared: false }
            }
        }
    }

    fn use_statement(&mut self, how: Use, form: Form, target: Target, parameters: Parameters) -> Outcome {
        let database = match self.database() {
            Ok(database) => database.clone(),
            Err(error) => return Outcome::Failed { error, is_prepared: true },
        };
        let done = match target {
            Target::Prepared(id) => match self.statements.get_mut(&id) {
                Some(Slot::Ready(prepared)) => prepared.use_as(how, form, parameters, &database, &*self.teller),
                _ => return Outcome::Dropped,
            },
            Target::Once(sql) => {
                let mut prepared = match self.kept.remove(&sql) {
                    Some(prepared) => prepared,
                    None => match Prepared::new(&database, &sql) {
                        Ok(prepared) => prepared,
                        Err(error) => return Outcome::Failed { error, is_prepared: false },
                    },
                };
                let done = prepared.use_as(how, form, parameters, &database, &*self.teller);
                if done.is_ok() && may_be_kept(&sql) {
                    prepared.renew();
                    if self.kept.len() >= KEPT_STATEMENTS {
                        self.kept.clear();
                    }
                    self.kept.insert(sql, prepared);
                }
                done
            }
        };
        done.unwrap_or_else(|error| Outcome::Failed { error, is_prepared: true })
    }

    fn begin_backup(
        &self,
        path: &str,
        destination: &str,
        source: &str,
        is_path_destination: bool,
    ) -> Result<Copying, SqliteError> {
        let database = self.database()?;
        let flags = super::OPEN_DEFAULT;
        let other = Database::open_with_flags(path, flags, Duration::ZERO)?;
        let (from, to) = if is_path_destination { (database, &other) } else { (&other, database) };
        // As the original: a database that is not there is found out by the first step.
        let backup = match Backup::between(from, source, to, destination) {
            Ok(backup) => Some(backup),
            Err(error) if to.is_replica() => return Err(error),
            Err(_) => None,
        };
        Ok(Copying { backup, _other: other, is_done: false, remaining: 0, pages: 0 })
    }

    fn step_backup(&mut self, id: Id, pages: i32, retried: &[i32]) -> Outcome {
        let Some(Some(copying)) = self.backups.get_mut(&id) else { return Outcome::Dropped };
        let step = match copying.backup.as_mut().map(|backup| backup.step(pages)) {
            None => Ok(copying.is_done),
            Some(Ok(progress)) => {
                (copying.remaining, copying.pages) = (progress.remaining, progress.total);
                match progress.code & 0xff {
                    code @ (BUSY | LOCKED) => Err(SqliteError::of_code(code)),
                    _ => Ok(progress.is_done),
                }
            }
            Some(Err(error)) => Err(error),
        };
        let is_retried = |error: &SqliteError| retried.is_empty() || retried.contains(&(error.code & 0xff));
        let has_ended = match &step {
            Ok(is_done) => *is_done,
            Err(error) => !is_retried(error),
        };
        if has_ended {
            copying.backup = None;
        }
        copying.is_done |= matches!(step, Ok(true));
        let has_failed = copying.backup.is_none() && !copying.is_done;
        Outcome::BackedUp { step, has_failed, remaining: copying.remaining, pages: copying.pages }
    }
}

/// Tells whether a statement does the same each time it is run; a PRAGMA may do its work when it is prepared.
fn may_be_kept(sql: &str) -> bool {
    let start = sql.trim_ascii_start();
    ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"]
        .iter()
        .any(|word| start.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}
