//! Graph questions in SQL, against what they should answer.

mod changes;
mod declare;
mod kept;
mod paths;
mod questions;
mod random;
mod whole;

use rusqlite::Connection;
use rusqlite::types::Value;

/// Opens a plain database in memory.
fn open() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn
}

/// People who follow each other: a cycle, a loop, two edges between the same two, ends that are NULL, and one whom nobody knows.
fn social() -> Connection {
    let conn = open();
    conn.execute_batch(
        r#"CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, age INTEGER);
           CREATE TABLE follows(src INTEGER, dst INTEGER, kind TEXT, since INTEGER);
           CREATE INDEX follows_src ON follows(src);
           INSERT INTO people VALUES(1, 'ann', 30), (2, 'bob', 40), (3, 'cy', 20), (4, 'dee', 50), (5, 'eve', 60);
           INSERT INTO follows VALUES(1, 2, 'knows', 2019), (2, 3, 'knows', 2020), (3, 1, 'likes', 2021), (2, 4, 'likes', 2022),
             (1, 1, 'knows', 2023), (1, 2, 'likes', 2024), (4, NULL, 'knows', 2025), (NULL, 5, 'knows', 2026);
           SELECT kith_graph('social', '{"nodes":"people","edges":"follows","from":"src","to":"dst","type":"kind"}')"#,
    )
    .unwrap();
    conn
}

fn show(value: Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => text,
        Value::Blob(blob) => format!("{blob:?}"),
    }
}

/// Runs a query and returns its rows, each as one line.
fn rows(conn: &Connection, sql: &str) -> Vec<String> {
    try_rows(conn, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn try_rows(conn: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(sql)?;
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        Ok((0..width).map(|at| row.get(at).map(show)).collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    });
    rows?.collect()
}

/// Returns what is said of a query that fails.
fn error(conn: &Connection, sql: &str) -> String {
    match try_rows(conn, sql).expect_err(sql) {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    }
}
