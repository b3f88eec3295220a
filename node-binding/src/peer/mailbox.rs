//! The way from other threads to JavaScript: messages, many of which are delivered by one call.
//!
//! Invariants:
//! 1. Node's function is called under the lock, and taken away under the lock before Node frees it.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi_sys as sys;
use serde_json::{Value, json};

use crate::instance::Instance;
use crate::js::{Answer, Js, Thrown, Val};

/// Node's handle of the function.
struct Handle(sys::napi_threadsafe_function);

// SAFETY: Node lets any thread call the function that a handle names.
unsafe impl Send for Handle {}

#[derive(Default)]
struct State {
    /// `None` once the environment has ended.
    handle: Option<Handle>,
    waiting: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Mailbox(Mutex<State>);

/// What Node hands back with each call.
struct Context {
    mailbox: Arc<Mailbox>,
    instance: *const Instance,
}

impl Mailbox {
    /// Makes the mailbox of an environment; it does not keep the program from ending.
    pub(crate) fn new(js: Js, deliver: Val) -> Answer<Arc<Self>> {
        let mailbox = Arc::new(Self::default());
        let name = js.string(b"kithdb")?;
        let context = Box::into_raw(Box::new(Context { mailbox: Arc::clone(&mailbox), instance: js.instance }));
        let mut handle = ptr::null_mut();
        // SAFETY: we are inside a callback of the environment; the context is freed by `drop_context`, at the environment's end.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                js.env,
                deliver,
                ptr::null_mut(),
                name,
                0,
                1,
                context.cast(),
                Some(drop_context),
                context.cast(),
                Some(deliver_all),
                &raw mut handle,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: the box was made above and nobody took it.
            drop(unsafe { Box::from_raw(context) });
            return Err(Thrown::Plain(format!("Node-API made no function for other threads: status {status}")));
        }
        mailbox.lock().handle = Some(Handle(handle));
        mailbox.keep_alive(js, false);
        Ok(mailbox)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message to whoever asked under a number.
    pub(crate) fn post(&self, id: u32, kind: &str, value: Value) {
        self.push(json!([id, kind, value]).to_string(), false);
    }

    /// As [`Self::post`], unless the same message still waits.
    pub(crate) fn post_once(&self, id: u32, kind: &str) {
        self.push(json!([id, kind]).to_string(), true);
    }

    fn push(&self, message: String, is_once: bool) {
        let mut state = self.lock();
        let Some(&Handle(handle)) = state.handle.as_ref() else { return };
        if is_once && state.waiting.contains(&message) {
            return;
        }
        state.waiting.push(message);
        if state.waiting.len() == 1 {
            // SAFETY: Node frees the function after the handle was taken away, which takes the lock that is held here.
            unsafe {
                sys::napi_call_threadsafe_function(
                    handle,
                    ptr::null_mut(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                )
            };
        }
    }

    /// Has the program wait for messages, or not.
    pub(crate) fn keep_alive(&self, js: Js, is_kept: bool) {
        if let Some(Handle(handle)) = &self.lock().handle {
            // SAFETY: we are inside a callback of the environment, whose function it is.
            unsafe {
                if is_kept {
                    sys::napi_ref_threadsafe_function(js.env, *handle)
                } else {
                    sys::napi_unref_threadsafe_function(js.env, *handle)
                }
            };
        }
    }

    /// Delivers nothing any more.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        if let Some(Handle(handle)) = state.handle.take() {
            // SAFETY: the function is there: its own end comes after the hook that calls this.
            unsafe { sys::napi_release_threadsafe_function(handle, sys::ThreadsafeFunctionReleaseMode::abort) };
        }
    }

    fn take(&self) -> Option<String> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        (!waiting.is_empty()).then(|| format!("[{}]", waiting.join(",")))
    }
}

/// # Safety
/// To be called by Node on the environment's thread, with the context; without an environment while it ends.
unsafe extern "C" fn deliver_all(env: sys::napi_env, deliver: Val, context: *mut c_void, _: *mut c_void) {
    if env.is_null() || deliver.is_null() {
        return;
    }
    // SAFETY: the context lives until `drop_context`, after which Node calls no more.
    let Context { mailbox, instance } = unsafe { &*context.cast::<Context>() };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let js = Js { env, instance: *instance };
        let Some(messages) = mailbox.take() else { return };
        // What it throws stays pending, and Node reports it as uncaught.
        let _ = js.string(messages.as_bytes()).and_then(|messages| js.call(deliver, &[messages]));
    }));
}

/// # Safety
/// To be called by Node with the context, once.
unsafe extern "C" fn drop_context(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: the box was made by `Mailbox::new`.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(context)));
}
