//! Small blobs on their way to JavaScript, which makes a Buffer of one in a fraction of the time that Node-API takes.
//!
//! Their bytes are left in memory that both sides know, and a mark stands for each among the values of a row; `lib/blobs.js` has the
//! other half.
//!
//! Invariants:
//! 1. The memory holds the blobs of one call at a time: what runs inside another, as a function of the application's may, does without.

use std::cell::Cell;
use std::ptr;

use crate::js::{Answer, Js, Val};

/// How many blobs there is room for, and how long each may be; as in `lib/blobs.js`.
const SLOTS: usize = 512;
const SLOT_BYTES: usize = 64;

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
}

/// The blobs among the values of one call.
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
        if blob.len() > SLOT_BYTES || self.count == SLOTS {
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
