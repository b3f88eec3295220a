//! The file beside a database that holds the device's secret keys: `FILE-kith-key`, mode 0600.
//!
//! Invariants:
//! 1. A key file is never overwritten.
//! 2. A new key file is durable, name and content, before the database refers to it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use kithdb_log::DeviceKeys;
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::file::beside;

/// A key file is a few hundred bytes; what is larger is something else.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Names the key file of a database file.
pub fn key_path(path: &Path) -> PathBuf {
    beside(path, "-kith-key")
}

/// Writes the keys of a new device.
pub(crate) fn create(path: &Path, keys: &DeviceKeys) -> Result<PathBuf, KeyError> {
    let path = key_path(path);
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => KeyError::Exists { path: path.clone() },
        _ => KeyError::Io { path: path.clone(), source },
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let written = file
        .write_all(keys.encode_key_file().as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder(&path));
    if let Err(source) = written {
        remove(&path);
        return Err(KeyError::Io { path, source });
    }
    Ok(path)
}

/// Takes back a key file that no database came to refer to.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "could not remove the unused key file");
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// Folders cannot be opened to be synced here; the system writes names through.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Reads the keys, unless others could read them too.
pub fn load(path: &Path) -> Result<DeviceKeys, KeyError> {
    let path = key_path(path);
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => KeyError::Missing { path: path.clone() },
        _ => KeyError::Io { path: path.clone(), source },
    };
    let file = File::open(&path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(KeyError::Folder { path });
    }
    check_mode(&path, &metadata)?;
    // Reserved in full, so that no growth leaves a copy behind in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|source| match source.kind() {
        ErrorKind::InvalidData => {
            KeyError::Content { path: path.clone(), source: kithdb_log::KeyFileError::NotAKeyFile }
        }
        _ => failed(source),
    })?;
    DeviceKeys::decode_key_file(&text).map_err(|source| KeyError::Content { path, source })
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &std::fs::Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _metadata: &std::fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}
