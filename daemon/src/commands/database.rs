//! A file to ask questions of, which need not belong to a workspace.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use kithdb_core::error::{FileError, OpenError, StatementError};
use kithdb_core::everywhere;
use kithdb_core::file::{self, FileKind, shell_word};
use kithdb_core::replica::{OpenOptions, Replica};
use rusqlite::{Connection, OpenFlags};

use super::BUSY_TIMEOUT;

/// A file of any kind that questions can be asked of.
pub enum Database {
    /// One that belongs to a workspace.
    Replica(Box<Replica>),
    /// A plain file, which stays one.
    Plain {
        /// Its path.
        path: PathBuf,
        /// A connection that may write if the file may be written to.
        conn: Connection,
    },
    /// A replica that may not be written to.
    ReadOnly {
        /// Its path.
        path: PathBuf,
        /// A connection that reads.
        conn: Connection,
    },
}

impl Database {
    /// Opens a file that is there; one that may not be written to is opened to be read.
    pub fn open(path: &Path) -> Result<Self> {
        let look = file::look(path, BUSY_TIMEOUT)?;
        match look.kind {
            FileKind::Plain => {
                let conn = if look.read_only { open_to_read(&look.path)? } else { open_to_write(&look.path)? };
                Ok(Self::Plain { path: look.path, conn })
            }
            // It says what a file lacks that is not there, or waits to be admitted.
            FileKind::Replica(_) | FileKind::Missing | FileKind::Joining => match open_replica(path) {
                Ok(replica) => Ok(Self::Replica(Box::new(replica))),
                Err(OpenError::File(FileError::ReadOnly { .. } | FileError::ReadOnlyFolder { .. })) => {
                    Ok(Self::ReadOnly { conn: open_to_read(&look.path)?, path: look.path })
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The connection.
    pub fn conn(&self) -> &Connection {
        match self {
            Self::Replica(replica) => replica.conn(),
            Self::Plain { conn, .. } | Self::ReadOnly { conn, .. } => conn,
        }
    }

    /// The file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Replica(replica) => replica.path(),
            Self::Plain { path, .. } | Self::ReadOnly { path, .. } => Some(path),
        }
    }

    /// Says what a file cannot do that is no replica, or may only be read.
    pub fn lacks(&self) -> Option<String> {
        match self {
            Self::Replica(_) => None,
            Self::Plain { path, .. } => Some(format!(
                "{} is a plain SQLite database and belongs to no workspace, so nothing is recorded or sent; `kith init {}` makes it a KithDB database",
                path.display(),
                shell_word(path)
            )),
            Self::ReadOnly { path, .. } => {
                Some(format!("{} may not be written to, so it can only be asked", path.display()))
            }
        }
    }

    /// Finds the reason behind a statement that failed.
    pub fn explain(&self, error: rusqlite::Error) -> StatementError {
        match self {
            Self::Replica(replica) => replica.explain(error),
            Self::Plain { .. } | Self::ReadOnly { .. } => StatementError::Sqlite(error),
        }
    }

    /// Learns which tables are synced, as another process or a statement may have changed it.
    pub fn reload_registry(&mut self) -> Result<()> {
        match self {
            Self::Replica(replica) => {
                replica.reload_registry()?;
                Ok(())
            }
            Self::Plain { .. } | Self::ReadOnly { .. } => Ok(()),
        }
    }

    /// Makes ready for a transaction after others may have changed the tables, and lends the connection.
    pub fn ready(&mut self) -> Result<&Connection> {
        if let Self::Replica(replica) = self {
            replica.before_statement()?;
        }
        Ok(self.conn())
    }

    /// Closes the file.
    pub fn close(self) -> Result<()> {
        match self {
            Self::Replica(replica) => Ok(replica.close()?),
            Self::Plain { conn, .. } | Self::ReadOnly { conn, .. } => conn.close().map_err(|(_, error)| error.into()),
        }
    }
}

fn open_replica(path: &Path) -> Result<Replica, OpenError> {
    Replica::open(path, OpenOptions { busy_timeout: BUSY_TIMEOUT, ..OpenOptions::default() })
}

fn open_to_write(path: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    everywhere::register(&conn)?;
    Ok(conn)
}

fn open_to_read(path: &Path) -> Result<Connection> {
    let conn = file::open_to_read(path, BUSY_TIMEOUT)?;
    everywhere::register(&conn)?;
    Ok(conn)
}

/// Keeps the sentence of an error of ours, without SQLite's code for it.
pub fn said(error: rusqlite::Error) -> anyhow::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(message)) if code.extended_code == rusqlite::ffi::SQLITE_ERROR => {
            anyhow!(message)
        }
        error => error.into(),
    }
}
