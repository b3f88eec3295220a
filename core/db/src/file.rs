//! Looks at a database file before it is opened for good, so that every way it can be unfit has its own sentence.
//!
//! Invariants:
//! 1. Looking never writes to the file, so a newer format stays as it is; but what a crash left half written SQLite recovers.
//! 2. A file that is a database is opened by SQLite alone: on Unix, whoever else closes it takes away the locks of every other
//!    connection that this process has to it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kithdb_log::WorkspaceId;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::error::FileError;
use crate::storage::{FILE_FORMAT, get_meta};

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing yet; the folder is there.
    Missing,
    /// An SQLite database that KithDB has not touched, or an empty file.
    Plain,
    /// A replica of a workspace.
    Replica(WorkspaceId),
    /// A file that waits to be admitted to a workspace.
    Joining,
}

/// A file that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLook {
    /// The path with symbolic links resolved.
    pub path: PathBuf,
    /// What it holds.
    pub kind: FileKind,
    /// Whether it may not be written to.
    pub read_only: bool,
}

/// Appends to the file name: `notes.db` and `-kith-key` make `notes.db-kith-key`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes a path so that a POSIX shell takes it as one word.
pub fn shell_word(path: &Path) -> String {
    let word = path.display().to_string();
    if !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "/._-+,:@".contains(c)) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Looks at a file without writing to it.
pub fn look(path: &Path, busy_timeout: Duration) -> Result<FileLook, FileError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return look_at_missing(path),
        Err(error) => return Err(io_error(path, error)),
    };
    if metadata.is_dir() {
        return Err(FileError::Folder { path: path.to_owned() });
    }
    if !metadata.is_file() {
        return Err(FileError::NotSqlite { path: path.to_owned() });
    }
    let path = &path.canonicalize().map_err(|error| io_error(path, error))?;
    let read_only = metadata.permissions().readonly();
    // SQLite takes an empty file for an empty database.
    if metadata.len() == 0 {
        return Ok(FileLook { path: path.clone(), kind: FileKind::Plain, read_only });
    }
    let kind = look_inside(path, busy_timeout)?;
    Ok(FileLook { path: path.clone(), kind, read_only })
}

fn look_at_missing(path: &Path) -> Result<FileLook, FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| FileError::Folder { path: path.to_owned() })?;
    let folder = folder.canonicalize().map_err(|_| FileError::MissingFolder { path: folder.to_owned() })?;
    Ok(FileLook { path: folder.join(name), kind: FileKind::Missing, read_only: false })
}

fn look_inside(path: &Path, busy_timeout: Duration) -> Result<FileKind, FileError> {
    let classify = |error: rusqlite::Error| match error.sqlite_error_code() {
        // What SQLite cannot open, this cannot open and close either.
        Some(ErrorCode::CannotOpen) => match std::fs::File::open(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => io_error(path, error),
            _ => sqlite_error(path, error),
        },
        _ => sqlite_error(path, error),
    };
    let conn = match open_to_read(path, busy_timeout) {
        Err(error) if awaits_recovery(&error) => open_to_recover(path, busy_timeout),
        opened => opened,
    };
    let conn = conn.map_err(classify)?;
    let ours: bool = conn
        .query_row(
            "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'kith__meta')",
            [],
            |row| row.get(0),
        )
        .map_err(classify)?;
    if !ours {
        return Ok(FileKind::Plain);
    }
    let format = get_meta::<i64>(&conn, "format").map_err(classify)?;
    let found = format.unwrap_or(0);
    if found > FILE_FORMAT {
        return Err(FileError::NewerFormat { path: path.to_owned(), found, known: FILE_FORMAT });
    }
    if get_meta::<String>(&conn, "joining").map_err(classify)?.is_some() {
        return Ok(FileKind::Joining);
    }
    let workspace = get_meta::<[u8; 32]>(&conn, "workspace").map_err(classify)?;
    match workspace {
        Some(workspace) => Ok(FileKind::Replica(WorkspaceId::from_bytes(workspace))),
        None => Err(FileError::Corrupt { path: path.to_owned(), detail: "it names no workspace".to_owned() }),
    }
}

/// Opens a file read-only; a write-ahead log that cannot be shared here is left aside if there is nothing in it.
pub fn open_to_read(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let try_open = || {
        let conn =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(busy_timeout)?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok::<_, rusqlite::Error>(conn)
    };
    match try_open() {
        Err(error) if cannot_share(&error) && wal_is_empty(path) => {
            let mut uri = String::from("file:");
            for byte in path.as_os_str().as_encoded_bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
                    other => uri.push_str(&format!("%{other:02x}")),
                }
            }
            uri.push_str("?immutable=1");
            Connection::open_with_flags(
                uri,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )
        }
        other => other,
    }
}

/// Tells whether what failed is that no write-ahead log, or no index of it, can be made beside the file.
fn cannot_share(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
        || error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_DIRECTORY)
}

/// Tells whether a file cannot be read before what a crash left half written is undone or completed.
fn awaits_recovery(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error().map(|error| error.extended_code),
        Some(ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTINIT)
    )
}

/// Lets SQLite recover the file, which any program that opens it does; nothing else is written.
fn open_to_recover(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(busy_timeout)?;
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

fn wal_is_empty(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).map_or(true, |metadata| metadata.len() == 0)
}

fn io_error(path: &Path, source: std::io::Error) -> FileError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied => FileError::Unreadable { path },
        ErrorKind::NotFound => FileError::Missing { path },
        _ => FileError::Io { path, source },
    }
}

/// Tells a file that may not be written to, or one that SQLite keeps beside it, from one whose folder may not.
pub(crate) fn read_only(path: PathBuf) -> FileError {
    let may_be_written_to = |path: &Path| std::fs::metadata(path).map(|metadata| !metadata.permissions().readonly());
    let is_writable = may_be_written_to(&path).unwrap_or(false);
    // They outlive a program that ended without closing, or were made by another user.
    let beside = ["-wal", "-shm", "-journal"].map(|suffix| beside(&path, suffix));
    if let Some(file) = beside.into_iter().find(|file| is_writable && may_be_written_to(file).is_ok_and(|may| !may)) {
        return FileError::ReadOnly { path: file };
    }
    match path.parent() {
        Some(folder) if is_writable => FileError::ReadOnlyFolder { folder: folder.to_owned(), path },
        _ => FileError::ReadOnly { path },
    }
}

/// Finds the sentence for what SQLite said about a file.
pub(crate) fn sqlite_error(path: &Path, source: rusqlite::Error) -> FileError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => FileError::NotSqlite { path },
        Some(ErrorCode::DatabaseCorrupt) => FileError::Corrupt { path, detail: source.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => FileError::Locked { path },
        Some(ErrorCode::ReadOnly) => read_only(path),
        Some(ErrorCode::PermissionDenied) => FileError::Unreadable { path },
        _ => FileError::Sqlite { path, source },
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn advice(modes: &[(&str, u32)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for (suffix, mode) in modes {
            let file = beside(&path, suffix);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(*mode)).unwrap();
        }
        let text = read_only(path).to_string();
        text.replace(&format!("{}/", folder.path().display()), "")
            .replace(&folder.path().display().to_string(), "FOLDER")
    }

    #[test]
    fn what_may_not_be_written_to_is_named() {
        assert_eq!(advice(&[("", 0o444)]), "a.db is read-only; make it writable with `chmod u+w a.db`");
        for suffix in ["-wal", "-shm", "-journal"] {
            let expected = format!("a.db{suffix} is read-only; make it writable with `chmod u+w a.db{suffix}`");
            assert_eq!(advice(&[("", 0o644), (suffix, 0o444)]), expected);
            assert_eq!(
                advice(&[("", 0o444), (suffix, 0o444)]),
                "a.db is read-only; make it writable with `chmod u+w a.db`"
            );
        }
        assert!(advice(&[("", 0o644), ("-wal", 0o644)]).starts_with("FOLDER is a folder that cannot be written to"));
    }
}
