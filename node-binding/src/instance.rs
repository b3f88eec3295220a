//! What one environment (a main program, a worker) keeps.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::{Rc, Weak};

use napi_sys as sys;

use crate::blobs::BlobMemory;
use crate::callback::Environment;
use crate::database::Db;
use crate::js::{Answer, Js, Kept, Thrown, Val};
use crate::peer::Office;

/// How many numbers a call can hand back beside its value.
pub(crate) const NUMBERS: usize = 4;

#[derive(Default)]
pub(crate) struct Instance {
    brought: OnceCell<Brought>,
    /// The place of an array of [`NUMBERS`] doubles that JavaScript reads after a call.
    numbers: Cell<*mut f64>,
    databases: RefCell<Vec<Weak<Db>>>,
    /// What the callback face keeps.
    pub(crate) callbacks: Environment,
    /// What runs beside JavaScript.
    pub(crate) office: Office,
}

/// What JavaScript brings.
struct Brought {
    make_error: Kept,
    make_rows: Kept,
    object_prototype: Kept,
    blobs: BlobMemory,
    blob_mark: Kept,
    _arrays: [Kept; 2],
}

impl Instance {
    /// Makes the environment's instance, which lives until the environment's end.
    ///
    /// # Safety
    /// To be called once, while the environment is set up, on its thread.
    pub(crate) unsafe fn install(env: sys::napi_env) -> *const Self {
        let instance = Box::into_raw(Box::<Self>::default());
        // SAFETY: the instance is dropped by its finalizer, after the hook that closes the databases.
        unsafe {
            sys::napi_set_instance_data(env, instance.cast(), Some(drop_instance), ptr::null_mut());
            sys::napi_add_env_cleanup_hook(env, Some(close_all), instance.cast());
        }
        instance
    }

    fn brought(&self) -> Answer<&Brought> {
        self.brought.get().ok_or_else(|| Thrown::Plain("the addon was not initialised".to_owned()))
    }

    pub(crate) fn make_error(&self, js: Js) -> Answer {
        self.brought()?.make_error.get(js)
    }

    pub(crate) fn make_rows(&self, js: Js) -> Answer {
        self.brought()?.make_rows.get(js)
    }

    pub(crate) fn object_prototype(&self, js: Js) -> Answer {
        self.brought()?.object_prototype.get(js)
    }

    /// Hands a number to JavaScript beside the call's value.
    pub(crate) fn tell(&self, index: usize, number: f64) {
        let start = self.numbers.get();
        if index < NUMBERS && !start.is_null() {
            // SAFETY: the array has this many doubles, its memory does not move, and it is kept as long as the instance.
            unsafe { *start.add(index) = number };
        }
    }

    /// Returns where small blobs are left, and the mark that stands for one.
    pub(crate) fn blobs(&self) -> Option<(&BlobMemory, &Kept)> {
        self.brought.get().map(|brought| (&brought.blobs, &brought.blob_mark))
    }

    pub(crate) fn add(&self, database: &Rc<Db>) {
        let mut databases = self.databases.borrow_mut();
        databases.retain(|database| database.strong_count() > 0);
        databases.push(Rc::downgrade(database));
    }
}

/// Takes over what JavaScript brings: the makers of errors and of rows, `Object.prototype`, the memory for numbers and that for small
/// blobs, and what stands for one of these; tells whether it is the first to bring them.
pub(crate) fn init(js: Js, arguments: &[Val]) -> Answer {
    let &[make_error, make_rows, object_prototype, numbers, blobs, blob_mark] = arguments else {
        return Err(Thrown::Plain("init takes six arguments".to_owned()));
    };
    let numbers_start = memory(js, numbers, NUMBERS * size_of::<f64>())?;
    let blobs_start = memory(js, blobs, BlobMemory::LEN)?;
    let kept = Brought {
        make_error: Kept::new(js, make_error)?,
        make_rows: Kept::new(js, make_rows)?,
        object_prototype: Kept::new(js, object_prototype)?,
        blobs: BlobMemory::new(blobs_start.cast()),
        blob_mark: Kept::new(js, blob_mark)?,
        _arrays: [Kept::new(js, numbers)?, Kept::new(js, blobs)?],
    };
    let is_first = js.instance().brought.set(kept).is_ok();
    if is_first {
        js.instance().numbers.set(numbers_start.cast());
    }
    js.boolean(is_first)
}

/// Returns the place of an array buffer, which no program but ours has.
fn memory(js: Js, buffer: Val, len_wanted: usize) -> Answer<*mut c_void> {
    let (mut start, mut len) = (ptr::null_mut(), 0);
    // SAFETY: we are inside a callback of the environment, and both places have the right types.
    unsafe { sys::napi_get_arraybuffer_info(js.env, buffer, &raw mut start, &raw mut len) };
    if len < len_wanted {
        return Err(Thrown::Plain("an array of the addon's is too small".to_owned()));
    }
    Ok(start)
}

/// # Safety
/// To be called by Node with the instance, once, before its finalizer.
unsafe extern "C" fn close_all(instance: *mut c_void) {
    // SAFETY: the instance is there until its finalizer runs.
    let instance = unsafe { &*instance.cast::<Instance>() };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        instance.callbacks.shut();
        let databases = instance.databases.take();
        for database in databases.iter().filter_map(Weak::upgrade) {
            database.shut();
        }
    }));
}

/// # Safety
/// To be called by Node with the instance, once, at the end of the environment.
unsafe extern "C" fn drop_instance(_: sys::napi_env, instance: *mut c_void, _: *mut c_void) {
    // SAFETY: the box was made by `install`.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
}
