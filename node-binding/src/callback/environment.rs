//! The databases of one environment, as its own thread knows them.
//!
//! Invariants:
//! 1. While a job of a database is under way, the process does not end by itself, and the database's JavaScript is kept.
//! 2. No thread of a database outlives the environment.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use napi_sys as sys;

use super::deliver::{self, Factory};
use super::job::{Action, Completion, Job, Outcome, late};
use super::outbox::Outbox;
use super::worker::{Link, work};
use crate::instance::Instance;
use crate::js::{Answer, Js, Thrown, Val};

/// How many shapes a database's factories are kept for.
const FACTORIES_MAX: usize = 1000;

/// One environment's part of the callback face.
pub(crate) struct Environment {
    outbox: Arc<Outbox>,
    function: Cell<sys::napi_threadsafe_function>,
    jobs: Cell<u64>,
    inbox: RefCell<VecDeque<Completion>>,
    sides: RefCell<HashMap<u64, Weak<Side>>>,
    threads: RefCell<Vec<(Arc<Link>, JoinHandle<()>)>>,
    next_link: Cell<u64>,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            outbox: Arc::new(Outbox::new()),
            function: Cell::new(ptr::null_mut()),
            jobs: Cell::default(),
            inbox: RefCell::default(),
            sides: RefCell::default(),
            threads: RefCell::default(),
            next_link: Cell::default(),
        }
    }
}

/// A database on the environment's thread; JavaScript holds it.
pub(crate) struct Side {
    pub(crate) link: Arc<Link>,
    env: sys::napi_env,
    /// The function that takes outcomes: held while jobs are under way, otherwise only known.
    deliver: sys::napi_ref,
    jobs: Cell<u64>,
    /// Whether the thread is to end, and has.
    end: Cell<End>,
    factories: RefCell<HashMap<u64, Rc<Factory>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// Once no job is under way: an answer of the thread's must not come after one that is given for it.
    Soon,
    Done,
}

impl Side {
    /// Lets the thread go: its database is closed for good.
    pub(crate) fn let_go(&self) {
        if self.end.get() == End::No {
            self.end.set(End::Soon);
        }
    }

    fn end_if_due(&self) {
        if self.end.get() == End::Soon && self.jobs.get() == 0 {
            self.end.set(End::Done);
            self.link.queue.end();
        }
    }

    pub(crate) fn deliver(&self, js: Js) -> Answer {
        let mut function = ptr::null_mut();
        // SAFETY: we are inside a callback of the environment, and the reference is deleted with this.
        unsafe { sys::napi_get_reference_value(js.env, self.deliver, &raw mut function) };
        if function.is_null() { Err(Thrown::Plain("the database was collected".to_owned())) } else { Ok(function) }
    }

    pub(crate) fn known_factory(&self, shape: u64) -> Option<Rc<Factory>> {
        self.factories.borrow().get(&shape).cloned()
    }

    pub(crate) fn keep_factory(&self, shape: u64, factory: &Rc<Factory>) {
        let mut factories = self.factories.borrow_mut();
        if factories.len() >= FACTORIES_MAX {
            factories.clear();
        }
        factories.insert(shape, Rc::clone(factory));
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.link.queue.end();
        // SAFETY: dropped in finalizers and at the environment's end only.
        unsafe { sys::napi_delete_reference(self.env, self.deliver) };
    }
}

impl Environment {
    /// Makes a database's thread and what JavaScript holds of it; nothing is opened yet.
    pub(crate) fn begin(&self, js: Js, deliver: Val) -> Answer<Rc<Side>> {
        self.ensure_function(js)?;
        let id = self.next_link.get();
        self.next_link.set(id + 1);
        let link = Arc::new(Link::new(id, Arc::clone(&self.outbox)));
        let of_thread = Arc::clone(&link);
        let thread = std::thread::Builder::new()
            .name("kithdb".to_owned())
            .spawn(move || work(of_thread))
            .map_err(|error| Thrown::Plain(format!("no thread could be started for the database: {error}")))?;
        let mut threads = self.threads.borrow_mut();
        threads.retain(|(_, thread)| !thread.is_finished());
        threads.push((Arc::clone(&link), thread));
        let mut reference = ptr::null_mut();
        // SAFETY: we are inside a callback of the environment, and the value is a function.
        unsafe { sys::napi_create_reference(js.env, deliver, 0, &raw mut reference) };
        let side = Rc::new(Side {
            link,
            env: js.env,
            deliver: reference,
            jobs: Cell::default(),
            end: Cell::new(End::No),
            factories: RefCell::default(),
        });
        let mut sides = self.sides.borrow_mut();
        sides.retain(|_, side| side.strong_count() > 0);
        sides.insert(id, Rc::downgrade(&side));
        Ok(side)
    }

    fn ensure_function(&self, js: Js) -> Answer<()> {
        if !self.function.get().is_null() {
            return Ok(());
        }
        let name = js.string(b"kithdb")?;
        let mut function = ptr::null_mut();
        // SAFETY: we are inside a callback of the environment; the instance outlives the function, which is closed before.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                js.env,
                ptr::null_mut(),
                ptr::null_mut(),
                name,
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::from_ref::<Instance>(js.instance()).cast_mut().cast(),
                Some(deliver::call),
                &raw mut function,
            )
        };
        if status != sys::Status::napi_ok {
            return Err(Thrown::Plain(format!("Node-API refused a threadsafe function with status {status}")));
        }
        // SAFETY: the function was made just now. It keeps the process from its end while jobs are under way only.
        unsafe { sys::napi_unref_threadsafe_function(js.env, function) };
        self.function.set(function);
        self.outbox.open(function);
        Ok(())
    }

    pub(crate) fn submit(&self, js: Js, side: &Side, job: Job) {
        if self.jobs.replace(self.jobs.get() + 1) == 0 {
            // SAFETY: the function is there until the environment's end.
            unsafe { sys::napi_ref_threadsafe_function(js.env, self.function.get()) };
        }
        if side.jobs.replace(side.jobs.get() + 1) == 0 {
            // SAFETY: the reference is the side's.
            unsafe { sys::napi_reference_ref(js.env, side.deliver, ptr::null_mut()) };
        }
        if side.end.get() == End::Done {
            let (skipped, outcome) = answer_after_end(job);
            self.outbox.send(Completion { link: side.link.id, skipped, outcome });
        } else {
            side.link.queue.push(job);
        }
    }

    /// Notes that jobs have ended and JavaScript was told.
    pub(crate) fn end_jobs(&self, js: Js, side: &Side, count: u64) {
        if count == 0 {
            return;
        }
        self.jobs.set(self.jobs.get().saturating_sub(count));
        side.jobs.set(side.jobs.get().saturating_sub(count));
        if side.jobs.get() == 0 {
            // SAFETY: as in `submit`.
            unsafe { sys::napi_reference_unref(js.env, side.deliver, ptr::null_mut()) };
            side.end_if_due();
        }
        if self.jobs.get() == 0 {
            // SAFETY: as in `submit`.
            unsafe { sys::napi_unref_threadsafe_function(js.env, self.function.get()) };
        }
    }

    pub(crate) fn side(&self, link: u64) -> Option<Rc<Side>> {
        self.sides.borrow().get(&link)?.upgrade()
    }

    pub(crate) fn next(&self) -> Option<Completion> {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.is_empty() {
            self.outbox.receive(&mut inbox);
        }
        inbox.pop_front()
    }

    /// Ends all threads, which close their databases; called when the environment ends.
    pub(crate) fn shut(&self) {
        self.outbox.close();
        let threads = self.threads.take();
        for (link, _) in &threads {
            link.stop();
        }
        for (link, thread) in threads {
            // A statement that was about to begin has not heard of the interruption.
            while !thread.is_finished() {
                link.interrupt();
                std::thread::sleep(Duration::from_millis(1));
            }
            // One that has panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Answers for a thread that has ended: how many silent jobs went well, and what else there is to say.
fn answer_after_end(job: Job) -> (u32, Outcome) {
    let outcome = match job.action {
        Action::Wait | Action::Forget { .. } => Outcome::Done,
        Action::Late { .. } => late(),
        // Whatever this was asked of ended with the database.
        _ => Outcome::Dropped,
    };
    match outcome {
        Outcome::Done | Outcome::Dropped if job.is_silent => (1, Outcome::Quiet),
        other => (0, other),
    }
}
