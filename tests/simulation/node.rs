//! One device: a real replica, in memory or in a file, with its driver, its clock and its crashes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::sources::{ClockSource, Entropy};
use kithdb_log::Role;
use kithdb_peer::Driver;
use kithdb_sync::Now;
use kithdb_tests::pair::START_UNIX_MS;

/// A failure, with what led to it.
pub type Outcome<T> = Result<T, String>;

/// Adds what was being done to an error and its causes.
pub fn during<E: std::error::Error>(what: &str) -> impl FnOnce(E) -> String {
    move |error| {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

/// What a node is when it does not run.
enum State {
    Up(Box<Driver>),
    /// A database in memory outlives the process that it stands for.
    DownInMemory(Box<Replica>),
    DownOnDisk,
}

/// One device of a simulation.
pub struct Node {
    state: Option<State>,
    path: Option<PathBuf>,
    clock: Arc<AtomicU64>,
    /// How far its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// When the process started, in the world's milliseconds.
    started_ms: u64,
    /// When it wants its timer, in its own milliseconds.
    pub scheduled: Option<u64>,
    /// Its file is an older copy and does not know it yet: whatever it seals now forks its own stream.
    pub is_unaware: bool,
    /// It wrote while it did not know: its streams have forked, and nobody must take the branch that it will give up.
    pub has_forked: bool,
    /// A copy of its file was put in its place at some time.
    pub was_restored: bool,
    /// A copy of its files, and how many entries of its own it holds.
    pub backup: Option<(PathBuf, u64)>,
    /// Another program's connection to its file.
    application: Option<Replica>,
    /// That program is in the midst of a transaction.
    pub is_locked: bool,
    /// The file has no room to grow.
    pub has_full_disk: bool,
}

/// Files that together are a replica.
pub const SUFFIXES: [&str; 4] = ["", "-wal", "-kith-key", "-kith-life"];

/// Names a file that lies beside a database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn options(seed: u64, clock: &Arc<AtomicU64>) -> OpenOptions {
    let clock = Arc::clone(clock);
    let source: ClockSource = Arc::new(move || clock.load(Ordering::Relaxed));
    OpenOptions { busy_timeout: Duration::ZERO, clock: source, entropy: Entropy::seeded(seed) }
}

impl Node {
    fn new(path: Option<PathBuf>, clock: Arc<AtomicU64>, started_ms: u64, replica: Replica) -> Outcome<Self> {
        let driver = Driver::new(replica).map_err(during("starting a driver"))?;
        Ok(Self {
            state: Some(State::Up(Box::new(driver))),
            path,
            clock,
            skew_ms: 0,
            started_ms,
            scheduled: None,
            is_unaware: false,
            has_forked: false,
            was_restored: false,
            backup: None,
            application: None,
            is_locked: false,
            has_full_disk: false,
        })
    }

    /// Founds the workspace.
    pub fn found(path: Option<PathBuf>, seed: u64) -> Outcome<Self> {
        let clock = Arc::new(AtomicU64::new(START_UNIX_MS));
        let init = InitOptions { device_name: "founder".to_owned(), open: options(seed, &clock) };
        let replica = match &path {
            Some(path) => Replica::init(path, init),
            None => Replica::open_memory(init),
        };
        Self::new(path, clock, 0, replica.map_err(during("founding"))?)
    }

    /// Lets a device in; only the founder and the newcomer know at once.
    pub fn join(founder: &mut Self, path: Option<PathBuf>, name: String, seed: u64, elapsed_ms: u64) -> Outcome<Self> {
        let clock = Arc::new(AtomicU64::new(START_UNIX_MS + elapsed_ms));
        let now_unix_ms = founder.clock.load(Ordering::Relaxed);
        let owner = founder.driver_mut().ok_or("the founder is down")?.replica_mut();
        let ticket = owner.invite(Role::Writer, START_UNIX_MS * 2, Vec::new()).map_err(during("inviting"))?;
        let join = JoinOptions { device_name: name, merge_by_key: false, open: options(seed, &clock) };
        let pending = match &path {
            None => Replica::prepare_join_memory(&ticket, join),
            Some(path) => Replica::prepare_join(path, &ticket, join),
        };
        let pending = pending.map_err(during("joining"))?;
        let request = pending.request().map_err(during("joining"))?;
        owner.admit(&request, now_unix_ms).map_err(during("admitting"))?;
        let operations: Vec<_> = owner.membership().operations().cloned().collect();
        let replica = pending.complete(&operations).map_err(during("joining"))?;
        Self::new(path, clock, elapsed_ms, replica)
    }

    /// Opens a copy of a file as a node of its own.
    pub fn open_copy(path: PathBuf, seed: u64, elapsed_ms: u64) -> Outcome<Self> {
        let clock = Arc::new(AtomicU64::new(START_UNIX_MS + elapsed_ms));
        let replica = Replica::open(&path, options(seed, &clock)).map_err(during("opening a copy"))?;
        Self::new(Some(path), clock, elapsed_ms, replica)
    }

    /// Returns the file's path, unless it is in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Tells whether it runs.
    pub const fn is_up(&self) -> bool {
        matches!(self.state, Some(State::Up(_)))
    }

    /// Borrows the driver, if it runs.
    pub fn driver(&self) -> Option<&Driver> {
        match &self.state {
            Some(State::Up(driver)) => Some(driver),
            _ => None,
        }
    }

    /// Borrows the driver, if it runs.
    pub fn driver_mut(&mut self) -> Option<&mut Driver> {
        match &mut self.state {
            Some(State::Up(driver)) => Some(driver),
            _ => None,
        }
    }

    /// Tells the time as this node's process sees it.
    pub fn now(&self, elapsed_ms: u64) -> Now {
        Now { unix_ms: self.clock.load(Ordering::Relaxed), elapsed_ms: elapsed_ms - self.started_ms }
    }

    /// Sets the wall clock by the world's time.
    pub fn set_clock(&self, elapsed_ms: u64) {
        let unix_ms = (START_UNIX_MS + elapsed_ms).saturating_add_signed(self.skew_ms);
        self.clock.store(unix_ms, Ordering::Relaxed);
    }

    /// When the timer is due, in the world's milliseconds.
    pub fn timer_at(&self) -> Option<u64> {
        self.scheduled.filter(|_| self.is_up()).map(|at| at + self.started_ms)
    }

    /// Ends the process without any farewell.
    pub fn crash(&mut self) {
        // The limit belonged to the connection.
        self.has_full_disk = false;
        self.scheduled = None;
        self.state = match self.state.take() {
            Some(State::Up(driver)) if self.path.is_none() => {
                Some(State::DownInMemory(Box::new(driver.into_replica())))
            }
            Some(State::Up(driver)) => {
                drop(driver);
                Some(State::DownOnDisk)
            }
            down => down,
        };
    }

    /// Starts the process again.
    pub fn restart(&mut self, seed: u64, elapsed_ms: u64) -> Outcome<()> {
        self.set_clock(elapsed_ms);
        let replica = match (self.state.take(), &self.path) {
            (Some(State::DownInMemory(replica)), _) => *replica,
            (Some(State::DownOnDisk), Some(path)) => {
                Replica::open(path, options(seed, &self.clock)).map_err(during("opening again"))?
            }
            (state, _) => {
                self.state = state;
                return Ok(());
            }
        };
        self.started_ms = elapsed_ms;
        let driver = Driver::new(replica).map_err(during("starting a driver again"))?;
        self.state = Some(State::Up(Box::new(driver)));
        Ok(())
    }

    /// Opens the file as another program, if it is not open, and tells whether that is in a transaction; `None` for one in memory.
    pub fn application(&mut self, seed: u64) -> Outcome<Option<(&mut Replica, &mut bool)>> {
        if let (None, Some(path)) = (&self.application, &self.path) {
            match Replica::open(path, options(seed, &self.clock)) {
                Ok(replica) => self.application = Some(replica),
                Err(error) => return Err(during("opening as another program")(error)),
            }
        }
        Ok(self.application.as_mut().map(|replica| (replica, &mut self.is_locked)))
    }

    /// Ends the other program in the midst of whatever it does.
    pub fn close_application(&mut self) {
        self.application = None;
        self.is_locked = false;
    }

    /// Copies the files into a folder.
    pub fn copy_files(&self, to: &Path) -> Outcome<()> {
        let Some(path) = &self.path else { return Ok(()) };
        for suffix in SUFFIXES {
            let (from, to) = (beside(path, suffix), beside(to, suffix));
            if from.exists() {
                std::fs::copy(from, to).map_err(during("copying"))?;
            }
        }
        Ok(())
    }
}
