//! What is needed wherever SQL is written.

use rusqlite::{Connection, ffi};

/// Quotes an identifier for use in SQL.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes the lock to write, as the first thing that a transaction does: one that has read already cannot wait for other programs, however
/// long the busy timeout is. `own` is a table of ours, and `create` makes it where it is not there yet.
///
/// # Errors
/// SQLite's.
pub fn lock_to_write(conn: &Connection, own: &str, create: &str) -> rusqlite::Result<()> {
    match conn.prepare_cached(&format!("DELETE FROM main.{} WHERE 0", quote(own))) {
        Ok(mut nothing) => nothing.execute([]).map(drop),
        Err(error) if error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_ERROR) => {
            conn.execute_batch(create)
        }
        Err(error) => Err(error),
    }
}

/// Runs `change` in a savepoint that is undone if it fails.
///
/// # Errors
/// That of `change`, or SQLite's.
pub fn in_savepoint<T, E: From<rusqlite::Error>>(
    conn: &Connection,
    change: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    conn.execute_batch("SAVEPOINT kith__define")?;
    let result = change().and_then(|value| {
        conn.execute_batch("RELEASE kith__define")?;
        Ok(value)
    });
    if result.is_err() {
        // The first error is the one to report; after a failed rollback SQLite has ended the transaction itself.
        let undone = conn.execute_batch("ROLLBACK TO kith__define; RELEASE kith__define");
        if let Err(error) = undone {
            tracing::debug!(%error, "savepoint was gone");
        }
    }
    result
}
