//! Sync inside the program: peers that run, devices that are invited and join, files that are watched.
//!
//! JavaScript asks under a number; what comes of it is posted to the environment's mailbox under that number, as JSON
//! (`lib/kith/mailbox.js`).
//!
//! Invariants:
//! 1. JavaScript's thread never waits here: what takes time runs on the process' runtime.
//! 2. Nothing is posted to an environment that has ended, and nothing that it began goes on.

mod mailbox;
mod membership;
mod options;
mod running;
mod watching;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use napi_sys as sys;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use crate::database::Db;
use crate::instance::Instance;
use crate::js::{Answer, Js, Thrown, Val};
use mailbox::Mailbox;

pub(crate) use membership::{invite, join, reopen};
pub(crate) use running::{close, open, status};
pub(crate) use watching::{mark, watch};

/// Threads for the network of all peers of the process; each peer has one more, for its database.
const THREADS: usize = 2;

/// What one environment has running.
#[derive(Default)]
pub(crate) struct Office {
    mailbox: OnceCell<Arc<Mailbox>>,
    /// How many things that run keep the program from ending.
    holds: Cell<u32>,
    peers: RefCell<HashMap<u32, running::Asks>>,
    tasks: RefCell<Vec<AbortHandle>>,
    watches: RefCell<HashMap<u32, kithdb_peer::FileWatch>>,
}

impl Office {
    fn mailbox(&self) -> Answer<&Arc<Mailbox>> {
        self.mailbox.get().ok_or_else(|| Thrown::Plain("the mailbox was not set up".to_owned()))
    }

    /// Runs something that ends with the environment at the latest.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Answer<()> {
        let handle = runtime()?.spawn(task).abort_handle();
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        tasks.push(handle);
        Ok(())
    }

    /// Ends everything at once: what was not sent yet is sent by the next start.
    fn end(&self) {
        if let Some(mailbox) = self.mailbox.get() {
            mailbox.shut();
        }
        // A peer ends when nobody can ask it any more.
        self.peers.take();
        self.watches.take();
        for task in self.tasks.take() {
            task.abort();
        }
    }
}

/// Returns the runtime that all environments of the process share; it is never ended.
fn runtime() -> Answer<&'static Runtime> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let start = || Builder::new_multi_thread().worker_threads(THREADS).thread_name("kithdb-net").enable_all().build();
    RUNTIME
        .get_or_init(start)
        .as_ref()
        .map_err(|error| Thrown::Plain(format!("the system gives no threads for the network: {error}")))
}

fn missing<T>() -> Answer<T> {
    Err(Thrown::Plain("a native function was called with too few arguments".to_owned()))
}

fn number(js: Js, value: Val) -> Answer<u32> {
    Ok(js.integer(value)?.cast_unsigned())
}

/// Sets up the mailbox: the function that is given the messages.
pub(crate) fn listen(js: Js, arguments: &[Val]) -> Answer {
    let Some(&deliver) = arguments.first() else { return missing() };
    let office = &js.instance().office;
    if office.mailbox.get().is_none() {
        let mailbox = Mailbox::new(js, deliver)?;
        // After the mailbox, so that it is called before Node takes the mailbox' function away.
        // SAFETY: the instance is there until its finalizer runs, which is after all hooks.
        unsafe { sys::napi_add_env_cleanup_hook(js.env, Some(end), js.instance.cast_mut().cast()) };
        let _ = office.mailbox.set(mailbox);
    }
    js.undefined()
}

/// Returns the file of a database; nothing for one in memory.
pub(crate) fn file(js: Js, arguments: &[Val]) -> Answer {
    let Some(&db) = arguments.first() else { return missing() };
    let db = js.native::<Rc<Db>>(db)?;
    db.check_open()?;
    js.string(db.database.file()?.unwrap_or_default().as_bytes())
}

/// Keeps the program from ending, or with `false` no longer.
pub(crate) fn hold(js: Js, arguments: &[Val]) -> Answer {
    let Some(&is_more) = arguments.first() else { return missing() };
    let office = &js.instance().office;
    let before = office.holds.get();
    let after = if js.truth(is_more)? { before + 1 } else { before.saturating_sub(1) };
    office.holds.set(after);
    if (before == 0) != (after == 0) {
        office.mailbox()?.keep_alive(js, after > 0);
    }
    js.undefined()
}

/// # Safety
/// To be called by Node with the instance, before its finalizer.
unsafe extern "C" fn end(instance: *mut c_void) {
    // SAFETY: the instance is there until its finalizer runs.
    let instance = unsafe { &*instance.cast::<Instance>() };
    let _ = catch_unwind(AssertUnwindSafe(|| instance.office.end()));
}
