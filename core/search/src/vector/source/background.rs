//! The thread that embeds in the background: one for each table with `source=`, as long as a connection of this process uses it.
//!
//! It writes on a connection of its own, which the host opens, since one to a replica must capture what it writes. A model is asked on
//! yet another thread, which nobody waits for: when the last connection of the application closes, the thread ends at once and leaves
//! the file closed, whatever a model is still busy with.
//!
//! Invariants:
//! 1. While a model is asked no lock is held.
//! 2. It writes between the transactions of the application's connections in this process, not meanwhile (`gate.rs`).
//! 3. After a failure it waits, twice as long each time; what it was about to do stays noted.
//! 4. Of the processes that use a file one asks the model: the one that has the turn, from before it reads what waits until nothing
//!    waits or something fails. After a failure others have the turn, who may have a model that answers.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::super::snapshot;
use super::super::turn::Turn;
use super::step::{ask, is_busy};
use super::{Batch, Declaration, Embedder, embedder};
use crate::gate::{Gate, Pass, Writer};

/// Rows of a step.
const ROWS: usize = 64;
/// How often it is looked whether somebody has written.
const LOOK: Duration = Duration::from_millis(300);
/// How often it is looked whether to end while a model is asked.
const END: Duration = Duration::from_millis(20);
/// How long another connection's lock is waited for before the thread looks whether it is to end.
const BUSY: Duration = Duration::from_millis(50);
/// How long it is waited for the application's connections to be in no transaction: one that is never ended is not to keep texts from
/// being embedded for ever.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after the first failure, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(300)];

/// A connection of the host's to a file that the application has open too.
pub trait BackgroundConnection: Send {
    /// Makes ready for a transaction, and lends the connection.
    ///
    /// # Errors
    /// What keeps the host from writing to the file.
    fn ready(&mut self) -> Result<&Connection, BackgroundFailure>;
}

/// Why the host cannot open or use a connection.
pub type BackgroundFailure = Box<dyn std::error::Error + Send + Sync>;

/// Opens a connection to a file, with everything registered that the application's has.
pub type OpenBackground = fn(&Path) -> Result<Box<dyn BackgroundConnection>, BackgroundFailure>;

/// Finds a model by its name.
pub(super) type Find = fn(&str) -> Result<Arc<dyn Embedder>, String>;

static OPEN: OnceLock<OpenBackground> = OnceLock::new();

/// Says how connections for the background are opened; without it nothing is done in the background.
pub fn open_background_by(open: OpenBackground) {
    // The host says the same each time.
    let _ = OPEN.set(open);
}

/// Whether this process embeds by itself only.
static IS_FOREGROUND: AtomicBool = AtomicBool::new(false);

/// Has this process begin no thread to embed texts: what is to be embedded it embeds itself, by `kith_embed_pending`.
pub fn stay_in_foreground() {
    IS_FOREGROUND.store(true, Ordering::Relaxed);
}

thread_local! {
    /// Whether this thread is one of these: its own connection is not to keep it going.
    static IS_BACKGROUND: Cell<bool> = const { Cell::new(false) };
}

type Running = HashMap<(PathBuf, String), Weak<Background>>;

static RUNNING: OnceLock<Mutex<Running>> = OnceLock::new();

/// The thread, until the last one lets go of it.
pub(in super::super) struct Background {
    /// What it embeds for: the table may be dropped and made otherwise while another connection still has this one.
    declaration: Declaration,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Finds the thread for a table, or begins it; none for a database that no second connection can be opened to.
    pub(in super::super) fn of(conn: &Connection, name: &str, declaration: &Declaration) -> Option<Arc<Self>> {
        let open = *OPEN.get()?;
        let path = conn.path().filter(|path| !path.is_empty()).map(PathBuf::from)?;
        if !declaration.is_in_background || declaration.source.is_none() || IS_BACKGROUND.get() {
            return None;
        }
        if IS_FOREGROUND.load(Ordering::Relaxed) || conn.is_readonly("main").unwrap_or(true) {
            return None;
        }
        let path = path.canonicalize().unwrap_or(path);
        let find: Find = |model| embedder(model).map_err(|error| error.to_string());
        let mut running = RUNNING.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, background| background.strong_count() > 0);
        let known = running.entry((path.clone(), name.to_ascii_lowercase())).or_default();
        if let Some(background) = known.upgrade().filter(|background| background.declaration == *declaration) {
            return Some(background);
        }
        let background = Arc::new(Self::begin(open, path, name.to_owned(), declaration.clone(), find)?);
        *known = Arc::downgrade(&background);
        Some(background)
    }

    /// Begins a thread.
    pub(super) fn begin(
        open: OpenBackground,
        path: PathBuf,
        name: String,
        declaration: Declaration,
        find: Find,
    ) -> Option<Self> {
        let (stop, stopped) = mpsc::channel();
        let declared = declaration.clone();
        let gate = Gate::of(&path).writer();
        let worker = Worker { open, path, gate, name, declaration, find, stopped, asked: None };
        let thread = std::thread::Builder::new().name("kith-embed".to_owned()).spawn(move || {
            IS_BACKGROUND.set(true);
            worker.run();
        });
        match thread {
            Ok(thread) => Some(Self { declaration: declared, stop: Some(stop), thread: Some(thread) }),
            Err(error) => {
                // kith_embed_pending and `kith embed` do the same.
                tracing::warn!(%error, "cannot begin a thread to embed texts");
                None
            }
        }
    }
}

impl Drop for Background {
    /// Ends the thread, so that its connection is closed.
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that embeds texts has failed");
        }
    }
}

/// What the model said.
type Answers = Result<Vec<Option<Vec<f32>>>, String>;

struct Worker {
    open: OpenBackground,
    path: PathBuf,
    gate: Writer,
    name: String,
    declaration: Declaration,
    find: Find,
    stopped: Receiver<()>,
    /// The thread that asks the model, once there was something to ask.
    asked: Option<(Sender<Vec<String>>, Receiver<Answers>)>,
}

/// The thread is to end.
struct Ended;

impl Worker {
    fn run(mut self) {
        let mut pause = PAUSES[0];
        loop {
            let opened = self.pass().map(|_pass| (self.open)(&self.path));
            let done = match opened {
                Ok(Ok(mut own)) => self.work(&mut *own, &mut pause),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no connection to embed texts on");
                    Ok(())
                }
                Err(Ended) => return,
            };
            // The connection is closed: what went wrong may have been its doing.
            if done.and_then(|()| self.wait(pause)).is_err() {
                return;
            }
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Makes steps until something goes wrong with the connection.
    fn work(&mut self, own: &mut dyn BackgroundConnection, pause: &mut Duration) -> Result<(), Ended> {
        let mut rows = ROWS;
        let mut turn = None;
        loop {
            let pass = self.pass()?;
            let conn = match own.ready() {
                Ok(conn) => conn,
                Err(error) => {
                    tracing::debug!(%error, "the connection to embed texts on is not ready");
                    return Ok(());
                }
            };
            let read = conn.busy_timeout(BUSY).and_then(|()| {
                let version = conn.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))?;
                Ok((version, Batch::read(conn, &self.name, &self.declaration, rows)?))
            });
            drop(pass);
            let (version, batch) = match read {
                Ok(read) => read,
                Err(error) if is_busy(&error) => {
                    self.wait(LOOK)?;
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, table = self.name, "texts cannot be read to be embedded");
                    return Ok(());
                }
            };
            if batch.is_empty() {
                turn = None;
                self.wait_for_change(conn, version, Duration::MAX)?;
                continue;
            }
            if turn.is_none() {
                turn = Some(self.wait_for_turn()?);
                // Whoever had it has embedded what was read.
                continue;
            }
            let reason = match self.ask(&batch)? {
                Ok(answers) => match self.write(conn, &batch, &answers)? {
                    Ok(()) => {
                        (rows, *pause) = (ROWS, PAUSES[0]);
                        continue;
                    }
                    Err(error) => {
                        let _pass = self.pass()?;
                        batch.note_refusal(conn, &error);
                        error.to_string()
                    }
                },
                Err(reason) => {
                    let _pass = self.pass()?;
                    if let Err(error) = batch.note_failure(conn, &reason) {
                        tracing::debug!(%error, reason, "a failure was not noted");
                    }
                    reason
                }
            };
            tracing::info!(table = self.name, reason, "texts are not embedded, trying again");
            turn = None;
            // It may be one of the texts that keeps the others from being embedded.
            rows = (rows / 4).max(1);
            if batch.is_retry() {
                // Others, which it may answer for, are not to wait as long.
                self.wait_for_change(conn, version, *pause)?;
            } else {
                self.wait(*pause)?;
            }
            *pause = (*pause * 2).min(PAUSES[1]);
        }
    }

    fn wait(&self, time: Duration) -> Result<(), Ended> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Ended),
        }
    }

    /// Waits until no other process embeds for the table.
    fn wait_for_turn(&self) -> Result<Turn, Ended> {
        let saved = snapshot::path(&self.path, &self.name);
        loop {
            match Turn::take_to_embed(&saved) {
                Some(turn) => return Ok(turn),
                None => self.wait(LOOK)?,
            }
        }
    }

    /// Waits until somebody else has committed something, or for a time at most.
    fn wait_for_change(&self, conn: &Connection, version: i64, time: Duration) -> Result<(), Ended> {
        let (mut waited, mut kept_out) = (Duration::ZERO, Duration::ZERO);
        loop {
            self.wait(LOOK)?;
            waited += LOOK;
            if waited >= time {
                return Ok(());
            }
            // Who only reads keeps others from committing too, where there is no WAL.
            let pass = self.gate.pass(Duration::ZERO);
            kept_out = if pass.is_some() { Duration::ZERO } else { kept_out + LOOK };
            if pass.is_none() && kept_out < PATIENCE {
                continue;
            }
            // Whatever keeps it from being read is met by the next step.
            if conn.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)) != Ok(version) {
                return Ok(());
            }
        }
    }

    /// Asks the model on a thread of its own.
    fn ask(&mut self, batch: &Batch) -> Result<Answers, Ended> {
        if batch.texts().is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let (model, dimensions, find) = (batch.model().to_owned(), self.declaration.options.dimensions, self.find);
        let (texts, answers) = self.asked.get_or_insert_with(|| {
            let (texts, asked) = mpsc::channel::<Vec<String>>();
            let (answer, answers) = mpsc::channel();
            let begun = std::thread::Builder::new().name("kith-embed-model".to_owned()).spawn(move || {
                while let Ok(texts) = asked.recv() {
                    let answered = find(&model).and_then(|found| ask(&*found, &model, dimensions, &texts));
                    if answer.send(answered).is_err() {
                        break;
                    }
                }
            });
            if let Err(error) = begun {
                tracing::warn!(%error, "cannot begin a thread to ask a model");
            }
            (texts, answers)
        });
        if texts.send(batch.texts().to_vec()).is_ok() {
            loop {
                match answers.recv_timeout(END) {
                    Ok(answered) => return Ok(answered),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                    return Err(Ended);
                }
            }
        }
        self.asked = None;
        Ok(Err(format!("the embedding model {:?} failed with an internal error; please report it", batch.model())))
    }

    /// Waits until the application's connections are in no transaction; where that takes too long, passes anyway, and does not wait for
    /// the same transactions again.
    fn pass(&self) -> Result<Pass<'_>, Ended> {
        let tries = if self.gate.ignores_who_is_inside() { 1 } else { PATIENCE.as_millis() / END.as_millis() };
        for _ in 0..tries {
            if let Some(pass) = self.gate.pass(END) {
                return Ok(pass);
            }
            self.wait(Duration::ZERO)?;
        }
        Ok(self.gate.pass_anyway())
    }

    /// Writes what the model said, as soon as nobody else is writing.
    fn write(
        &self,
        conn: &Connection,
        batch: &Batch,
        answers: &[Option<Vec<f32>>],
    ) -> Result<rusqlite::Result<()>, Ended> {
        loop {
            let pass = self.pass()?;
            let written = batch.write(conn, answers);
            drop(pass);
            match written {
                Err(error) if is_busy(&error) => self.wait(BUSY)?,
                written => return Ok(written.map(drop)),
            }
        }
    }
}
