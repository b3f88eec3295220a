//! Finds the sentence for what SQLite or the system said about a database file, wherever in an error it stands.
//!
//! Invariants:
//! 1. An error that already has a sentence of KithDB's keeps it: only the bare words of SQLite or the system are replaced.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use kithdb_core::error::FileError;
use rusqlite::ffi::{self, ErrorCode};

use crate::human;

/// Below this much free space, what SQLite could not write it could not write for want of room.
const ROOM_BYTES_MIN: u64 = 1 << 20;

/// Replaces an error about a database file by the sentence that names the file and the remedy.
pub fn explain(error: anyhow::Error, file: &Path) -> anyhow::Error {
    // The file need not be there, the folder must.
    let resolved = file
        .canonicalize()
        .or_else(|_| Ok::<_, io::Error>(folder_of(file).canonicalize()?.join(file.file_name().unwrap_or_default())));
    let path = resolved.unwrap_or_else(|_| file.to_owned());
    match sentence(error.as_ref(), &path, &Surroundings::of(&path)) {
        Some(sentence) => sentence,
        None => error,
    }
}

/// What is known of the place where a file lies.
struct Surroundings {
    file_is_read_only: bool,
    /// The folder, if it may not be written to.
    closed_folder: Option<PathBuf>,
    free_bytes: Option<u64>,
}

impl Surroundings {
    fn of(path: &Path) -> Self {
        let folder = folder_of(path);
        Self {
            file_is_read_only: std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly()),
            closed_folder: (!can_write(folder)).then(|| folder.to_owned()),
            free_bytes: free_bytes(path).and_then(Result::ok),
        }
    }

    fn has_room(&self) -> bool {
        self.free_bytes.is_none_or(|free| free >= ROOM_BYTES_MIN)
    }
}

fn sentence(error: &(dyn Error + 'static), path: &Path, place: &Surroundings) -> Option<anyhow::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        // `rusqlite::Error` itself is not seen where an error of ours stands for it; what it comes from is.
        if let Some(code) = cause.downcast_ref::<ffi::Error>() {
            return of_sqlite(*code, path, place);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(disk_full(path, place)),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    place.closed_folder.as_deref().map(|folder| closed_folder(folder, path))
                }
                _ => None,
            };
        }
        next = cause.source();
    }
    None
}

fn of_sqlite(error: ffi::Error, path: &Path, place: &Surroundings) -> Option<anyhow::Error> {
    let owned = || path.to_owned();
    let sentence = match error.code {
        ErrorCode::DatabaseBusy if error.extended_code == ffi::SQLITE_BUSY_SNAPSHOT => anyhow!(
            "another program wrote to {} after this transaction had read from it; roll back and begin again, with BEGIN IMMEDIATE if it is to write",
            path.display()
        ),
        ErrorCode::DatabaseBusy => FileError::Locked { path: owned() }.into(),
        ErrorCode::DatabaseCorrupt => FileError::Corrupt { path: owned(), detail: error_words(error) }.into(),
        ErrorCode::NotADatabase => FileError::NotSqlite { path: owned() }.into(),
        ErrorCode::DiskFull => disk_full(path, place),
        // The index in shared memory, a log or a journal could not be made or made longer.
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if !place.has_room() => disk_full(path, place),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen => match &place.closed_folder {
            Some(folder) if !place.file_is_read_only => closed_folder(folder, path),
            _ if error.code == ErrorCode::ReadOnly => FileError::ReadOnly { path: owned() }.into(),
            _ => return None,
        },
        ErrorCode::SystemIoFailure => anyhow!(
            "{} could not be read or written ({}); check the disk and the system's log, and have a backup at hand",
            path.display(),
            error_words(error)
        ),
        _ => return None,
    };
    Some(sentence)
}

fn error_words(error: ffi::Error) -> String {
    ffi::code_to_str(error.extended_code).to_owned()
}

fn disk_full(path: &Path, place: &Surroundings) -> anyhow::Error {
    let path = path.display();
    match place.free_bytes {
        Some(free) if place.has_room() => anyhow!(
            "there was no room to write {path}, though {} are free now; look for a quota, a `PRAGMA max_page_count` or a full folder of temporary files, and try again",
            human::bytes(free)
        ),
        _ => anyhow!("the disk that holds {path} is full; free some space and try again"),
    }
}

fn closed_folder(folder: &Path, path: &Path) -> anyhow::Error {
    FileError::ReadOnlyFolder { folder: folder.to_owned(), path: path.to_owned() }.into()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn can_write(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    // A folder that is not there has a sentence of its own.
    !folder.is_dir() || access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn can_write(_folder: &Path) -> bool {
    true
}

/// Tells how much room the disk has that holds a path, which need not be there; `None` where that is not looked up.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> Option<io::Result<u64>> {
    let folder = if path.is_dir() { path } else { folder_of(path) };
    let space = rustix::fs::statvfs(folder).map_err(io::Error::from);
    Some(space.map(|space| space.f_bavail.saturating_mul(space.f_frsize)))
}

/// Tells how much room the disk has that holds a path, which need not be there; `None` where that is not looked up.
#[cfg(not(unix))]
pub fn free_bytes(_path: &Path) -> Option<io::Result<u64>> {
    None
}

#[cfg(test)]
mod tests {
    use kithdb_core::error::OpenError;
    use kithdb_core::log_error::LogError;

    use super::*;

    const ROOMY: Surroundings =
        Surroundings { file_is_read_only: false, closed_folder: None, free_bytes: Some(1 << 30) };

    fn said(error: impl Into<anyhow::Error>, place: &Surroundings) -> String {
        sentence(error.into().as_ref(), Path::new("d/a.db"), place).map_or_else(String::new, |error| error.to_string())
    }

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("bare words".to_owned()))
    }

    #[test]
    fn one_sentence_whichever_error_carries_the_lock() {
        let expected = "d/a.db is locked by another program; close that program's transaction and try again";
        assert_eq!(said(sqlite(ffi::SQLITE_BUSY), &ROOMY), expected);
        assert_eq!(said(LogError::Sqlite(sqlite(ffi::SQLITE_BUSY_RECOVERY)), &ROOMY), expected);
        assert_eq!(said(OpenError::Sqlite(sqlite(ffi::SQLITE_BUSY)), &ROOMY), expected);
        let context = anyhow::Error::from(LogError::Life(OpenError::Sqlite(sqlite(ffi::SQLITE_BUSY)))).context("outer");
        assert_eq!(said(context, &ROOMY), expected);
        assert!(said(sqlite(ffi::SQLITE_BUSY_SNAPSHOT), &ROOMY).contains("BEGIN IMMEDIATE"));
    }

    #[test]
    fn damaged_pages_are_told_like_a_damaged_header() {
        insta::assert_snapshot!(said(LogError::Sqlite(sqlite(ffi::SQLITE_CORRUPT)), &ROOMY), @"d/a.db is damaged (database disk image is malformed); restore a backup, or save what can be read with `sqlite3 d/a.db .recover`");
        insta::assert_snapshot!(said(sqlite(ffi::SQLITE_NOTADB), &ROOMY), @"d/a.db is not an SQLite database; give the path of a database file");
    }

    #[test]
    fn full_disk_is_told_from_a_broken_one() {
        let full = Surroundings { free_bytes: Some(0), ..ROOMY };
        let expected = "the disk that holds d/a.db is full; free some space and try again";
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CANTOPEN] {
            assert_eq!(said(sqlite(code), &full), expected);
        }
        assert_eq!(said(io::Error::from(io::ErrorKind::StorageFull), &full), expected);
        assert!(said(sqlite(ffi::SQLITE_FULL), &ROOMY).contains("1.0 GiB are free now"));
        assert!(said(sqlite(ffi::SQLITE_IOERR_READ), &ROOMY).contains("check the disk"));
    }

    #[test]
    fn closed_folder_is_told_from_a_read_only_file() {
        let closed = Surroundings { closed_folder: Some("d".into()), ..ROOMY };
        let expected = "d is a folder that cannot be written to, and files are kept there beside d/a.db; make it writable with `chmod u+w d`";
        for code in [ffi::SQLITE_READONLY_DIRECTORY, ffi::SQLITE_CANTOPEN, ffi::SQLITE_READONLY] {
            assert_eq!(said(sqlite(code), &closed), expected);
        }
        assert_eq!(said(io::Error::from(io::ErrorKind::PermissionDenied), &closed), expected);
        let file = Surroundings { file_is_read_only: true, ..ROOMY };
        assert_eq!(
            said(sqlite(ffi::SQLITE_READONLY), &file),
            "d/a.db is read-only; make it writable with `chmod u+w d/a.db`"
        );
    }

    #[test]
    fn other_errors_keep_their_words() {
        assert_eq!(said(sqlite(ffi::SQLITE_CONSTRAINT), &ROOMY), "");
        assert_eq!(said(anyhow!("there is no file"), &ROOMY), "");
        assert_eq!(said(io::Error::from(io::ErrorKind::BrokenPipe), &ROOMY), "");
    }
}
