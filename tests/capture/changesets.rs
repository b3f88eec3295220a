//! Changesets of both sides: SQLite's own sessions on plain SQLite, capture's recorders on the replica.

use std::ffi::{CString, c_int, c_void};
use std::ptr;

use kithdb_core::capture::{CaptureError, ChangesetFormat, ChangesetId};
use kithdb_core::replica::Replica;
use rusqlite::{Connection, Error, ffi};

/// Sessions on a plain connection, which must outlive them, and the like on a replica.
pub struct Sessions(Vec<Pair>);

struct Pair {
    raw: *mut ffi::sqlite3_session,
    ours: ChangesetId,
    of: String,
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: the session was created and not deleted, and its connection is still open.
        unsafe { ffi::sqlite3session_delete(self.raw) };
    }
}

/// The bytes, or SQLite's code for why there are none.
type Taken = Result<Vec<u8>, c_int>;

impl Sessions {
    /// Begins on all tables of each database, and on one table.
    pub fn begin(replica: &Replica, plain: &Connection, table: Option<&String>) -> Result<Self, String> {
        let one = table.map(|table| ("main", Some(table.to_uppercase())));
        let begin = |(schema, table): (&str, Option<String>)| begin(replica, plain, schema, table);
        [("main", None), ("temp", None), ("side", None)]
            .into_iter()
            .chain(one)
            .map(begin)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Compares what was recorded so far; returns how many bytes that is.
    pub fn compare(&self, replica: &Replica) -> Result<u64, String> {
        let mut bytes = 0;
        for pair in &self.0 {
            for format in [ChangesetFormat::Changeset, ChangesetFormat::Patchset] {
                let (ours, sqlites) = (taken(replica, pair.ours, format), taken_by_sqlite(pair.raw, format));
                if ours != sqlites {
                    return Err(format!(
                        "{format:?} of {}: ours is {}, SQLite's is {}",
                        pair.of,
                        shown(&ours),
                        shown(&sqlites)
                    ));
                }
                bytes += ours.map_or(0, |ours| ours.len() as u64);
            }
        }
        Ok(bytes)
    }
}

fn begin(replica: &Replica, plain: &Connection, schema: &str, table: Option<String>) -> Result<Pair, String> {
    let c_text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (c_schema, c_table) = (c_text(schema)?, table.as_deref().map(c_text).transpose()?);
    let ours = replica.begin_changeset(schema, table.as_deref()).map_err(|error| error.to_string())?;
    let mut raw = ptr::null_mut();
    // SAFETY: the connection is open and captures nothing; the names are C strings.
    let code = unsafe { ffi::sqlite3session_create(plain.handle(), c_schema.as_ptr(), &raw mut raw) };
    if code != ffi::SQLITE_OK {
        return Err(format!("no session: {code}"));
    }
    let pair = Pair { raw, ours, of: table.unwrap_or_else(|| schema.to_owned()) };
    // SAFETY: the session was just created; the name is a C string, or null for all tables.
    match unsafe { ffi::sqlite3session_attach(raw, c_table.as_deref().map_or(ptr::null(), |name| name.as_ptr())) } {
        ffi::SQLITE_OK => Ok(pair),
        code => Err(format!("no table: {code}")),
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

fn taken_by_sqlite(raw: *mut ffi::sqlite3_session, format: ChangesetFormat) -> Taken {
    let take = match format {
        ChangesetFormat::Changeset => ffi::sqlite3session_changeset,
        ChangesetFormat::Patchset => ffi::sqlite3session_patchset,
    };
    let (mut length, mut start): (c_int, *mut c_void) = (0, ptr::null_mut());
    // SAFETY: the session is not deleted; the bytes are ours to free after they were copied.
    unsafe {
        match take(raw, &raw mut length, &raw mut start) {
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

fn shown(taken: &Taken) -> String {
    match taken {
        Ok(bytes) => format!("{}", bytes.escape_ascii()),
        Err(code) => format!("the error {code}"),
    }
}
