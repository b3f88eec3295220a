//! Changesets of both sides: SQLite's own sessions on plain SQLite, capture's recorders on the replica.

use std::ffi::{CString, c_int, c_void};
use std::ptr;

use kithdb_core::capture::{CaptureError, ChangesetFormat, ChangesetId};
use kithdb_core::replica::Replica;
use rusqlite::{Connection, Error, ffi};

/// Sessions on a plain connection, which must outlive them, and the like on a replica.
pub struct Sessions(Vec<Pair>);

struct Pair {
    sqlites: SqliteSession,
    ours: ChangesetId,
    of: String,
}

/// The bytes, or SQLite's code for why there are none.
type Taken = Result<Vec<u8>, c_int>;

/// A session of SQLite's, on a connection that must outlive it.
pub struct SqliteSession(*mut ffi::sqlite3_session);

impl Drop for SqliteSession {
    fn drop(&mut self) {
        // SAFETY: the session was created and not deleted, and its connection is still open.
        unsafe { ffi::sqlite3session_delete(self.0) };
    }
}

impl SqliteSession {
    /// Begins on a connection that captures nothing, on one table or on all.
    pub fn begin(plain: &Connection, schema: &str, table: Option<&str>) -> Self {
        let c_text = |text: &str| CString::new(text).expect("a name");
        let (schema, table) = (c_text(schema), table.map(c_text));
        let mut raw = ptr::null_mut();
        // SAFETY: the connection is open and captures nothing; the names are C strings, or null for all tables.
        unsafe {
            assert_eq!(ffi::sqlite3session_create(plain.handle(), schema.as_ptr(), &raw mut raw), ffi::SQLITE_OK);
            let table = table.as_deref().map_or(ptr::null(), |name| name.as_ptr());
            assert_eq!(ffi::sqlite3session_attach(raw, table), ffi::SQLITE_OK);
        }
        Self(raw)
    }

    /// Returns what was changed so far.
    pub fn take(&self, format: ChangesetFormat) -> Taken {
        let take = match format {
            ChangesetFormat::Changeset => ffi::sqlite3session_changeset,
            ChangesetFormat::Patchset => ffi::sqlite3session_patchset,
        };
        let (mut length, mut start): (c_int, *mut c_void) = (0, ptr::null_mut());
        // SAFETY: the session is not deleted; the bytes are ours to free after they were copied.
        unsafe {
            match take(self.0, &raw mut length, &raw mut start) {
                ffi::SQLITE_OK if start.is_null() => Ok(Vec::new()),
                ffi::SQLITE_OK => {
                    let length = usize::try_from(length).expect("a length");
                    let bytes = std::slice::from_raw_parts(start.cast::<u8>(), length).to_vec();
                    ffi::sqlite3_free(start);
                    Ok(bytes)
                }
                code => Err(code & 0xff),
            }
        }
    }
}

impl Sessions {
    /// Begins on all tables of each database, and on one table.
    pub fn begin(replica: &Replica, plain: &Connection, table: Option<&String>) -> Result<Self, String> {
        let one = table.map(|table| ("main", Some(table.to_uppercase())));
        let begin = |(schema, table): (&str, Option<String>)| Pair::begin(replica, plain, schema, table);
        let all = [("main", None), ("temp", None), ("side", None)].into_iter();
        all.chain(one).map(begin).collect::<Result<_, _>>().map(Self)
    }

    /// Compares what was recorded so far; returns how many bytes that is.
    pub fn compare(&self, replica: &Replica) -> Result<u64, String> {
        let mut bytes = 0;
        for pair in &self.0 {
            for format in [ChangesetFormat::Changeset, ChangesetFormat::Patchset] {
                let (ours, sqlites) = (taken(replica, pair.ours, format), pair.sqlites.take(format));
                if ours != sqlites {
                    let (ours, sqlites) = (shown(&ours), shown(&sqlites));
                    return Err(format!("{format:?} of {}: ours is {ours}, SQLite's is {sqlites}", pair.of));
                }
                bytes += ours.map_or(0, |ours| ours.len() as u64);
            }
        }
        Ok(bytes)
    }
}

impl Pair {
    fn begin(replica: &Replica, plain: &Connection, schema: &str, table: Option<String>) -> Result<Self, String> {
        let ours = replica.begin_changeset(schema, table.as_deref()).map_err(|error| error.to_string())?;
        let sqlites = SqliteSession::begin(plain, schema, table.as_deref());
        Ok(Self { sqlites, ours, of: table.unwrap_or_else(|| schema.to_owned()) })
    }
}

fn taken(replica: &Replica, id: ChangesetId, format: ChangesetFormat) -> Taken {
    replica.changeset(id, format).map_err(|error| match error {
        CaptureError::Sqlite(Error::SqliteFailure(error, _) | Error::SqlInputError { error, .. }) => {
            error.extended_code & 0xff
        }
        other => panic!("{other}"),
    })
}

fn shown(taken: &Taken) -> String {
    match taken {
        Ok(bytes) => format!("{}", bytes.escape_ascii()),
        Err(code) => format!("the error {code}"),
    }
}
