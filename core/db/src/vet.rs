//! Tries a definition from a peer in a scratch database before any of it touches the user's file.
//!
//! Invariants:
//! 1. Nothing but CREATE TABLE with a column list and CREATE INDEX is ever run, one statement each.
//! 2. What passes creates exactly the table and indexes it names, with exactly the columns and key it claims.

use kithdb_log::TableSchema;
use rusqlite::Connection;

use crate::definition::{LocalTable, read_table};
use kithdb_log::ids::is_reserved;

/// Reads what a definition would create, or says what is wrong with it.
pub(crate) fn vet(schema: &TableSchema) -> Result<LocalTable, String> {
    if is_reserved(&schema.name) {
        return Err("uses a name that belongs to SQLite or KithDB".to_owned());
    }
    if schema.earlier_uses != 0 || schema.columns.iter().any(|column| column.earlier_uses != 0) {
        return Err("needs a later version of kithdb; update it".to_owned());
    }
    if !creates_table(&schema.sql, &schema.name) {
        return Err("is not one plain CREATE TABLE statement".to_owned());
    }
    let creates_index = |sql: &String| sql.starts_with("CREATE INDEX ") || sql.starts_with("CREATE UNIQUE INDEX ");
    if !schema.indexes.iter().all(creates_index) {
        return Err("has an index that is not one plain CREATE INDEX statement".to_owned());
    }
    let scratch = Connection::open_in_memory().map_err(|error| format!("could not be tried: {error}"))?;
    for sql in std::iter::once(&schema.sql).chain(&schema.indexes) {
        // `execute` refuses text that holds more than one statement.
        scratch.execute(sql, []).map_err(|error| format!("cannot be run here: {error}"))?;
    }
    let other: bool = scratch
        .query_row(
            // AUTOINCREMENT brings SQLite's own table of sequences along.
            "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name <> 'sqlite_sequence'
                 AND (tbl_name <> ?1 OR type NOT IN ('table', 'index') OR name LIKE 'kith\\_%' ESCAPE '\\'))
               OR EXISTS(SELECT 1 FROM sqlite_temp_schema)",
            [&schema.name],
            |row| row.get(0),
        )
        .map_err(|error| error.to_string())?;
    if other {
        return Err("creates something else than the table it names".to_owned());
    }
    let table = read_table(&scratch, &schema.name).map_err(|error| format!("cannot be synced: {error}"))?;
    let mut claimed = schema.clone();
    claimed.indexes.sort();
    let mut made = table.to_schema();
    made.indexes.sort();
    if made != claimed { Err("does not create what it claims".to_owned()) } else { Ok(table) }
}

/// Tells whether a text begins as SQLite stores `CREATE TABLE name(...`; so it cannot be TEMP, qualified, or `AS SELECT`.
fn creates_table(sql: &str, name: &str) -> bool {
    let Some(rest) = sql.strip_prefix("CREATE TABLE ") else { return false };
    let Some((written, rest)) = split_name(rest) else { return false };
    written == name && skip_blanks(rest).starts_with('(')
}

/// Splits a leading identifier off, unquoted.
fn split_name(text: &str) -> Option<(String, &str)> {
    let first = text.chars().next()?;
    let close = match first {
        '"' | '`' | '\'' => first,
        '[' => ']',
        _ => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
            let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
            return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
        }
    };
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != close {
            name.push(c);
        } else if close != ']' && chars.peek().is_some_and(|&(_, next)| next == close) {
            name.push(c);
            chars.next();
        } else {
            return Some((name, &text[at + c.len_utf8()..]));
        }
    }
    None
}

/// Skips white space and comments.
fn skip_blanks(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        if let Some(comment) = text.strip_prefix("--") {
            text = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = text.strip_prefix("/*") {
            text = comment.find("*/").map_or("", |end| &comment[end + 2..]);
        } else {
            return text;
        }
    }
}
