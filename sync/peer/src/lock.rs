//! One peer for each file: two would take each other's sessions away, since both are known by one id.
//!
//! Other connections may write as they like; their commits reach others through the peer that runs.

use std::path::Path;

/// Tells whether a file has a running peer, in any process; where that cannot be seen, it says no.
pub fn is_running(database: &Path) -> bool {
    PeerLock::take(database).is_none()
}

/// Holds the right to be a file's peer until it is dropped, also by the end of the process.
#[derive(Debug)]
pub(crate) struct PeerLock {
    #[cfg(unix)]
    _file: Option<std::fs::File>,
}

impl PeerLock {
    /// Takes the lock; `None` if another peer of the file is running.
    ///
    /// It lies on the key file, which is never replaced. Elsewhere than on Unix such a lock would keep other programs from
    /// reading the keys, so there it always succeeds.
    #[cfg(unix)]
    pub(crate) fn take(database: &Path) -> Option<Self> {
        use std::fs::{File, TryLockError};
        let file = match File::open(kithdb_core::keyfile::key_path(database)) {
            Ok(file) => file,
            Err(error) => return Some(Self::without(&error)),
        };
        match file.try_lock() {
            Ok(()) => Some(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => None,
            // Some network file systems know no locks.
            Err(TryLockError::Error(error)) => Some(Self::without(&error)),
        }
    }

    #[cfg(unix)]
    fn without(error: &std::io::Error) -> Self {
        tracing::debug!(%error, "a second peer of the file would not be noticed");
        Self { _file: None }
    }

    #[cfg(not(unix))]
    pub(crate) fn take(_: &Path) -> Option<Self> {
        Some(Self {})
    }
}
