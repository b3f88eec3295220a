//! Tests of `vec0`.

mod files;
mod statements;

use std::path::Path;

use rusqlite::Connection;

/// Registers ours on a connection to a file.
fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

/// Lists the first column.
fn ids(conn: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Returns what is said of a statement that fails.
fn refused(conn: &Connection, sql: &str) -> String {
    let mut statement = match conn.prepare(sql) {
        Ok(statement) => statement,
        Err(error) => return error.to_string(),
    };
    let mut rows = statement.raw_query();
    loop {
        match rows.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{sql} was not refused"),
            Err(error) => return error.to_string(),
        }
    }
}
