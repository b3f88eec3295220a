//! Turns of the processes that use one file: one of them builds and saves an index, the others load what it saved; and one of them
//! embeds what waits for it.
//!
//! A turn is a lock on a file beside the saved index, taken without waiting. The system gives it back when the process ends, however it
//! ends. Two that have a turn at once, because somebody deleted the file in between, do work twice and nothing wrong.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// What the name of the file ends with.
pub(super) const SUFFIX: &str = "-lock";
/// What the name of the one for embedding ends with, which ends with the other too.
const EMBED_SUFFIX: &str = "-embed-lock";

/// A turn, until it is dropped.
pub(super) struct Turn {
    path: PathBuf,
    /// None where no file can be locked: then there is nobody to take turns with that could save anything.
    file: Option<File>,
}

impl Turn {
    /// Takes the turn for a saved index; `None` if another process has it.
    pub(super) fn take(saved: &Path) -> Option<Self> {
        Self::take_file(behind(saved, SUFFIX))
    }

    /// Takes the turn to embed for the table that a saved index is of; `None` if another process has it.
    pub(super) fn take_to_embed(saved: &Path) -> Option<Self> {
        Self::take_file(behind(saved, EMBED_SUFFIX))
    }

    fn take_file(path: PathBuf) -> Option<Self> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            match file.as_ref().map(File::try_lock) {
                Ok(Err(TryLockError::WouldBlock)) => return None,
                Ok(Err(TryLockError::Error(_))) | Err(_) => return Some(Self { path, file: None }),
                Ok(Ok(())) => {}
            }
            let file = file.ok();
            // Between the opening and the lock, whoever had the turn may have ended it and taken the name away.
            if file.as_ref().is_none_or(|file| is_at(file, &path)) {
                return Some(Self { path, file });
            }
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

fn behind(saved: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(saved);
    path.push(suffix);
    path.into()
}

/// Says whether a file is the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), path.metadata()) {
        (Ok(own), Ok(named)) => (own.dev(), own.ino()) == (named.dev(), named.ino()),
        (_, Err(error)) => error.kind() != std::io::ErrorKind::NotFound,
        (Err(_), Ok(_)) => true,
    }
}

#[cfg(not(unix))]
const fn is_at(_: &File, _: &Path) -> bool {
    true
}
