//! The table of changes beside a `kith_vector` table, and the triggers that fill it.
//!
//! Every writer of the content table leaves the keys of changed rows here, in its own transaction: this program, a peer's rows as they
//! are merged, another SQLite program. So nothing is noticed too late, and what is rolled back was never noted.
//!
//! Invariants:
//! 1. A number is used once; only a rollback frees it, together with its token. So a row of a known number and token has the known
//!    rows before it.
//! 2. The last row is never deleted.
//! 3. There are no more than [`KEPT_MAX`] rows: who is further behind reads the whole table again.
//! 4. A row without key stands for every row of the content table.

use rusqlite::{Connection, OptionalExtension};

use super::content::Content;
use super::declaration::Declaration;
use super::keys::Key;
use crate::sql::quote;

/// A place in the changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: i64,
    /// Random, so that another file's changes are not taken for this one's.
    pub(super) token: i64,
}

/// A changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) mark: Mark,
    /// `None` if any row may have changed.
    pub(super) key: Option<Key>,
}

/// What follows a place in the changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The place is there; these come after it.
    Follows(Vec<Change>),
    /// The last change is an earlier one.
    Older(Mark),
    /// The place is not there: the changes are of another file, or too many have been forgotten.
    Unknown,
}

/// Rows that are kept, however long a file is open; few enough that a tenth of a large table can change meanwhile. Tests have fewer.
const KEPT_MAX: i64 = if cfg!(test) { 20_000 } else { 1_000_000 };

/// What the triggers of a table are called after its name, in the order in which they are made.
const TRIGGERS: [&str; 4] = ["insert", "update", "rekey", "delete"];

/// Names the table of changes.
pub(super) fn table_name(name: &str) -> String {
    format!("{name}_changes")
}

/// Makes the table and its triggers.
pub(super) fn create(
    conn: &Connection,
    name: &str,
    declaration: &Declaration,
    content: &Content,
) -> rusqlite::Result<()> {
    let columns: String = (0..content.key.len()).map(|number| format!(", key_{number}")).collect();
    conn.execute_batch(&format!(
        "CREATE TABLE main.{}(sequence INTEGER PRIMARY KEY AUTOINCREMENT, token INTEGER NOT NULL DEFAULT (random()){columns})",
        quote(&table_name(name))
    ))?;
    create_triggers(conn, name, declaration, content)?;
    note_all(conn, name)
}

/// Adds the columns that a key of more columns needs, after the content table was made anew.
pub(super) fn widen(conn: &Connection, name: &str, content: &Content) -> rusqlite::Result<()> {
    let table = table_name(name);
    for number in 0..content.key.len() {
        let column = format!("key_{number}");
        if !conn.column_exists(Some("main"), table.as_str(), column.as_str())? {
            conn.execute_batch(&format!("ALTER TABLE main.{} ADD COLUMN {column}", quote(&table)))?;
        }
    }
    Ok(())
}

/// Makes the triggers; fails where one of that name is there, which may be the user's.
pub(super) fn create_triggers(
    conn: &Connection,
    name: &str,
    declaration: &Declaration,
    content: &Content,
) -> rusqlite::Result<()> {
    let (changes, column) = (quote(&table_name(name)), quote(&declaration.column));
    let keys: Vec<_> = content.key.iter().map(|column| quote(&column.name)).collect();
    let list = (0..keys.len()).map(|number| format!("key_{number}")).collect::<Vec<_>>().join(", ");
    let note = |row: &str| {
        let values = keys.iter().map(|key| format!("{row}.{key}")).collect::<Vec<_>>();
        let named = values.iter().map(|value| format!("{value} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        format!("INSERT INTO {changes}({list}) SELECT {} WHERE {named};", values.join(", "))
    };
    let rekeyed =
        keys.iter().map(|key| format!("old.{key} IS NOT new.{key} COLLATE BINARY")).collect::<Vec<_>>().join(" OR ");
    let forget = format!("DELETE FROM {changes} WHERE sequence <= (SELECT max(sequence) FROM {changes}) - {KEPT_MAX};");
    // An UPDATE names the columns that a generated one is made from, not that one.
    let of_column = if content.is_generated { String::new() } else { format!(" OF {column}") };
    // After the change, when what is noted can be read: a search in a trigger of the user's between the two would lay the old row over
    // the index as if it were the new one.
    let bodies = [
        ("INSERT".to_owned(), String::new(), note("new")),
        (format!("UPDATE{of_column}"), format!("WHEN old.{column} IS NOT new.{column}"), note("new")),
        // Not `UPDATE OF` the key: an INTEGER PRIMARY KEY is also changed by the name rowid.
        ("UPDATE".to_owned(), format!("WHEN {rekeyed}"), note("old") + " " + &note("new")),
        ("DELETE".to_owned(), String::new(), note("old")),
    ];
    for (kind, (event, condition, body)) in TRIGGERS.iter().zip(bodies) {
        conn.execute_batch(&format!(
            "CREATE TRIGGER main.{} AFTER {event} ON {} {condition} BEGIN {body} {forget} END",
            quote(&format!("{name}_{kind}")),
            quote(&declaration.content)
        ))?;
    }
    Ok(())
}

/// Removes the triggers.
pub(super) fn drop_triggers(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    for kind in TRIGGERS {
        conn.execute_batch(&format!("DROP TRIGGER IF EXISTS main.{}", quote(&format!("{name}_{kind}"))))?;
    }
    Ok(())
}

/// Removes the table and its triggers.
pub(super) fn drop_all(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    drop_triggers(conn, name)?;
    conn.execute_batch(&format!("DROP TABLE IF EXISTS main.{}", quote(&table_name(name))))
}

/// Says whether every trigger is there and watches the content table.
pub(super) fn are_triggers_there(conn: &Connection, name: &str, content: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE AND tbl_name = ?2 COLLATE NOCASE";
    let mut statement = conn.prepare_cached(sql)?;
    for kind in TRIGGERS {
        if statement.query_row([&format!("{name}_{kind}"), content], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the name of the table that the triggers are on, wherever they have moved with it.
pub(super) fn watched(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE";
    conn.prepare_cached(sql)?.query_row([format!("{name}_{}", TRIGGERS[0])], |row| row.get(0)).optional()
}

/// Notes that any row may have changed.
pub(super) fn note_all(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("INSERT INTO main.{} DEFAULT VALUES", quote(&table_name(name))))
}

/// Returns the last change.
pub(super) fn last(conn: &Connection, name: &str) -> rusqlite::Result<Mark> {
    let sql = format!("SELECT sequence, token FROM main.{} ORDER BY sequence DESC LIMIT 1", quote(&table_name(name)));
    let read = |row: &rusqlite::Row<'_>| Ok(Mark { sequence: row.get(0)?, token: row.get(1)? });
    Ok(conn.prepare_cached(&sql)?.query_row([], read).optional()?.unwrap_or_default())
}

/// Reads what follows a place.
pub(super) fn tail(conn: &Connection, name: &str, content: &Content, from: Mark) -> rusqlite::Result<Tail> {
    let sql = format!("SELECT * FROM main.{} WHERE sequence >= ?1 ORDER BY sequence", quote(&table_name(name)));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([from.sequence])?;
    let mut changes = Vec::new();
    let mut is_known = false;
    while let Some(row) = rows.next()? {
        let mark = Mark { sequence: row.get(0)?, token: row.get(1)? };
        if !is_known {
            if mark != from {
                return Ok(Tail::Unknown);
            }
            is_known = true;
            continue;
        }
        changes.push(Change { mark, key: content.key_at(row, 2)? });
    }
    drop(rows);
    if is_known { Ok(Tail::Follows(changes)) } else { Ok(Tail::Older(last(conn, name)?)) }
}
