//! A file to ask questions of, which need not belong to a workspace.

use std::path::Path;

use anyhow::{Result, anyhow};
use kithdb_core::everywhere;
use kithdb_core::file::{self, FileKind};
use kithdb_core::replica::Replica;
use rusqlite::{Connection, OpenFlags};

use super::{BUSY_TIMEOUT, open};

/// A replica, or a plain file, which stays one.
pub enum Database {
    Replica(Box<Replica>),
    Plain(Connection),
}

impl Database {
    /// Opens a file that is there; one that may not be written to is opened to be read.
    pub fn open(path: &Path) -> Result<Self> {
        let look = file::look(path, BUSY_TIMEOUT)?;
        if look.kind != FileKind::Plain {
            return Ok(Self::Replica(Box::new(open(path)?)));
        }
        let access = if look.read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
        let conn = Connection::open_with_flags(&look.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        everywhere::register(&conn)?;
        Ok(Self::Plain(conn))
    }

    pub fn conn(&self) -> &Connection {
        match self {
            Self::Replica(replica) => replica.conn(),
            Self::Plain(conn) => conn,
        }
    }

    /// Makes ready for a transaction after others may have changed the tables, and lends the connection.
    pub fn ready(&mut self) -> Result<&Connection> {
        if let Self::Replica(replica) = self {
            replica.before_statement()?;
        }
        Ok(self.conn())
    }

    pub fn close(self) -> Result<()> {
        match self {
            Self::Replica(replica) => Ok(replica.close()?),
            Self::Plain(conn) => conn.close().map_err(|(_, error)| error.into()),
        }
    }
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
