//! Turns of the processes that use one file: one of them builds and saves an index, the others load what it saved.
//!
//! A turn is a lock on a file beside the saved index, taken without waiting. The system gives it back when the process ends, however it
//! ends. Two that have a turn at once, because somebody deleted the file in between, do work twice and nothing wrong.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// What the name of the file ends with.
pub(super) const SUFFIX: &str = "-lock";

/// A turn, until it is dropped.
pub(super) struct Turn {
    path: PathBuf,
    /// None where no file can be locked: then there is nobody to take turns with that could save anything.
    file: Option<File>,
}

impl Turn {
    /// Takes the turn for a saved index; `None` if another process has it.
    pub(super) fn take(saved: &Path) -> Option<Self> {
        let mut path = OsString::from(saved);
        path.push(SUFFIX);
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        match file.as_ref().map(File::try_lock) {
            Ok(Err(TryLockError::WouldBlock)) => None,
            Ok(Ok(())) => Some(Self { path, file: file.ok() }),
            Ok(Err(TryLockError::Error(_))) | Err(_) => Some(Self { path, file: None }),
        }
    }

    /// Says whether no other process can have the turn.
    pub(super) const fn is_sole(&self) -> bool {
        self.file.is_some()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Before it is unlocked, so that nobody who has just taken it loses the name.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
