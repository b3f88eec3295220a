//! Hears of commits to the database file by any program, through the file system's events.
//!
//! A commit becomes visible a moment after the last write to the log that announces it, so whoever is woken looks again a
//! little later; see [`LOOKS_MS`].

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Milliseconds after an event at which the database is looked at again.
pub(crate) const LOOKS_MS: [u64; 4] = [2, 10, 50, 250];
/// Milliseconds between two looks that no event asked for: the net below the events.
pub(crate) const LOOK_ANYWAY_MS: u64 = 5_000;

/// How long events are left to gather after one was told: a commit of many pages makes thousands.
const GATHER: Duration = Duration::from_millis(2);

/// Watches the files of one database; dropping it ends the watch.
#[derive(Debug)]
pub struct FileWatch {
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Calls `wake` whenever the database, its write-ahead log or its journal changes.
    pub fn start(path: &Path, wake: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let names = path.file_name().map(names_of).unwrap_or_default();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => {
                let is_ours = |path: &std::path::PathBuf| {
                    path.file_name().is_some_and(|name| names.iter().any(|ours| ours == name))
                };
                if event.need_rescan() || (is_change(&event.kind) && event.paths.iter().any(is_ours)) {
                    wake();
                    // This is the watcher's own thread; the system merges equal events that nobody has read yet.
                    std::thread::sleep(GATHER);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the file system's events are incomplete");
                wake();
            }
        })?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(Self { _watcher: watcher })
    }
}

fn names_of(file: &OsStr) -> Vec<OsString> {
    let with = |suffix: &str| {
        let mut name = file.to_owned();
        name.push(suffix);
        name
    };
    vec![with(""), with("-wal"), with("-journal")]
}

fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn writes_to_the_database_wake_and_writes_beside_it_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        std::fs::write(&path, "one").unwrap();
        let (sender, woken) = mpsc::channel();
        let wake = move || {
            // The end of the test may come first.
            let _ = sender.send(());
        };
        let _watch = FileWatch::start(&path, wake).unwrap();
        std::fs::write(folder.path().join("other.db"), "two").unwrap();
        std::fs::read(&path).unwrap();
        std::fs::write(folder.path().join("notes.db-wal"), "three").unwrap();
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
