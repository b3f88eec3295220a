//! Small blobs on their way between JavaScript and native code, without Node-API, which takes several times as long.
//!
//! Their bytes are left in memory that both sides know, and a mark stands for each among the values of a row or the parameters of a
//! run; `lib/blobs.js` has the other half.
//!
//! Invariants:
//! 1. The memory holds the rows' blobs of one call at a time: what runs inside another, as a function of the application's may, does
//!    without.
//! 2. No JavaScript runs between the leaving of parameters and the reading of the last of them.

use std::cell::Cell;
use std::ptr;

use crate::js::{Answer, Js, Val};

/// How many blobs of rows and of parameters there is room for, and how long each may be; as in `lib/blobs.js`.
const ROW_SLOTS: usize = 512;
const PARAMETER_SLOTS: usize = 16;
const SLOT_BYTES: usize = 64;
const SLOTS: usize = ROW_SLOTS + PARAMETER_SLOTS;

/// The memory: the lengths of all slots, then the bytes of each.
pub(crate) struct BlobMemory {
    start: *mut u8,
    is_held: Cell<bool>,
}

impl BlobMemory {
    pub(crate) const LEN: usize = SLOTS * (1 + SLOT_BYTES);

    /// Takes the place of [`Self::LEN`] bytes, which stay there as long as the environment.
    pub(crate) fn new(start: *mut u8) -> Self {
        Self { start, is_held: Cell::new(false) }
    }

    /// Returns the parameter's blob that was left in a slot, for as long as no JavaScript runs.
    pub(crate) fn parameter(&self, slot: usize) -> Option<&[u8]> {
        let slot = ROW_SLOTS + slot;
        if slot >= SLOTS {
            return None;
        }
        // SAFETY: there is such a slot, whose bytes JavaScript has written and leaves alone until it runs again (invariant 2).
        unsafe {
            let len = usize::from(*self.start.add(slot)).min(SLOT_BYTES);
            Some(std::slice::from_raw_parts(self.start.add(SLOTS + slot * SLOT_BYTES), len))
        }
    }
}

/// The blobs among the rows' values of one call.
pub(crate) struct Blobs {
    js: Js,
    count: usize,
}

impl Blobs {
    pub(crate) fn new(js: Js) -> Self {
        Self { js, count: 0 }
    }

    /// Leaves a blob and returns the mark that stands for it; `None` if it is not small, or there is no room.
    pub(crate) fn leave(&mut self, blob: &[u8]) -> Option<Answer<Val>> {
        let len = u8::try_from(blob.len()).ok()?;
        if blob.len() > SLOT_BYTES || self.count == ROW_SLOTS {
            return None;
        }
        let (memory, mark) = self.js.instance().blobs()?;
        if self.count == 0 && memory.is_held.replace(true) {
            return None;
        }
        // SAFETY: there is room for this slot, and what is copied lies in SQLite's memory.
        unsafe {
            *memory.start.add(self.count) = len;
            ptr::copy_nonoverlapping(blob.as_ptr(), memory.start.add(SLOTS + self.count * SLOT_BYTES), blob.len());
        }
        self.count += 1;
        Some(mark.get(self.js))
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Forgets all but the first ones.
    pub(crate) fn rewind(&mut self, count: usize) {
        if count == 0 {
            self.clear();
        } else {
            self.count = self.count.min(count);
        }
    }

    /// Forgets them, once their call has ended.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.count) > 0
            && let Some((memory, _)) = self.js.instance().blobs()
        {
            memory.is_held.set(false);
        }
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        self.clear();
    }
}
