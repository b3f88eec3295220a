//! SQL that every connection has, to a replica or to a plain file.

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use kithdb_search::vector::{BackgroundConnection, BackgroundFailure, open_background_by};
pub use kithdb_search::vector::{connect_tables, is_made_by, stay_in_foreground};
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};

use crate::capture;
use crate::file::{self, FileKind};
use crate::replica::{OpenOptions, Replica};

/// How long what is done in the background waits for another connection's lock before it looks whether it is to end.
const BUSY_TIMEOUT: Duration = Duration::from_millis(50);

/// Registers it.
///
/// # Errors
/// SQLite's, of which there is none but want of memory.
pub fn register(conn: &Connection) -> rusqlite::Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("kith_version", 0, pure, |_| Ok(env!("CARGO_PKG_VERSION")))?;
    open_background_by(open_background);
    kithdb_search::register(conn, |conn| capture::internal_of(conn).map(|guard| Box::new(guard) as Box<dyn Any>))
}

/// A connection of KithDB's own to a file that the application has open.
enum Background {
    Plain(Connection),
    Replica(Box<Replica>),
}

impl BackgroundConnection for Background {
    fn ready(&mut self) -> Result<&Connection, BackgroundFailure> {
        match self {
            Self::Plain(conn) => Ok(conn),
            Self::Replica(replica) => {
                replica.before_statement()?;
                Ok(replica.conn())
            }
        }
    }
}

/// Opens a file to be written to in the background; what is written to a replica is captured.
fn open_background(path: &Path) -> Result<Box<dyn BackgroundConnection>, BackgroundFailure> {
    let look = file::look(path, BUSY_TIMEOUT)?;
    if look.kind != FileKind::Plain {
        let options = OpenOptions { busy_timeout: BUSY_TIMEOUT, ..OpenOptions::default() };
        return Ok(Box::new(Background::Replica(Box::new(Replica::open(path, options)?))));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(look.path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    register(&conn)?;
    Ok(Box::new(Background::Plain(conn)))
}
