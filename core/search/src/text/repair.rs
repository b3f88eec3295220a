//! What keeps the triggers of an index those that the table needs, whatever UNIQUE indexes come and go.
//!
//! Whoever changes the schema changes its version, which is compared by each search.

use rusqlite::{Connection, OptionalExtension, TransactionState};

use super::content::Content;
use super::error::TextError;
use super::index::{Index, Kind, Live, command};
use super::options::IndexOptions;
use super::triggers::{Keeper, trigger_names};
use crate::Internal;
use crate::sql::{in_savepoint, quote};

fn schema_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA main.schema_version")?.query_row([], |row| row.get(0))
}

/// After a change of the schema: makes the triggers anew if the table's UNIQUE indexes are others now, and takes out what they missed.
///
/// A search does so where it may. Where it may not (the file is read-only, another program writes, a transaction reads an older state of
/// the file), the rows it finds are right all the same; the scores count rows that are gone.
pub(super) fn keep_right(conn: &Connection, internal: Internal, live: &Live) -> Result<(), TextError> {
    if live.index.schema_version == Some(schema_version(conn)?) {
        return Ok(());
    }
    let is_reading = !conn.is_autocommit() && conn.transaction_state(Some("main"))? != TransactionState::Write;
    if is_reading || conn.is_readonly("main")? {
        return Ok(());
    }
    let _quiet = internal(conn);
    match in_savepoint(conn, || repair(conn, live)) {
        Err(TextError::Sqlite(error)) if is_no_time_to_write(&error) => {
            tracing::debug!(%error, index = live.index.fts, "a text index is brought up to the table's indexes another time");
            Ok(())
        }
        outcome => outcome,
    }
}

/// See [`keep_right`].
pub(super) fn repair(conn: &Connection, live: &Live) -> Result<(), TextError> {
    if !are_triggers_right(conn, live)? {
        drop_triggers(conn, &live.index)?;
        create_triggers(conn, live)?;
    }
    // An index may have been there for a while and be gone again.
    for statement in live.keeper("main.").sweep() {
        conn.prepare_cached(&statement)?.execute([])?;
    }
    note_schema_version(conn, live.index.num)
}

pub(super) fn note_schema_version(conn: &Connection, num: i64) -> Result<(), TextError> {
    let version = schema_version(conn)?;
    conn.prepare_cached("UPDATE main.kith_text_indexes SET schema_version = ?2 WHERE num = ?1")?
        .execute([num, version])?;
    Ok(())
}

/// Tells whether a failure means no more than that nothing can be written just now.
fn is_no_time_to_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, PermissionDenied, ReadOnly};
    error
        .sqlite_error_code()
        .is_some_and(|code| matches!(code, CannotOpen | DatabaseBusy | DatabaseLocked | PermissionDenied | ReadOnly))
}

fn trigger(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT sql FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Tells whether the triggers are there that every index has: without one of them, it may have missed any change.
pub(super) fn has_triggers(conn: &Connection, index: &Index) -> rusqlite::Result<bool> {
    for name in trigger_names(index.num).iter().filter(|name| !name.ends_with("_bi") && !name.ends_with("_bu")) {
        if trigger(conn, name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells whether the triggers are those that the table as it stands needs: they name its UNIQUE indexes.
fn are_triggers_right(conn: &Connection, live: &Live) -> rusqlite::Result<bool> {
    let needed = live.keeper("").create_triggers();
    for name in trigger_names(live.index.num) {
        // SQLite does not keep the name of the database.
        let needed = needed.iter().find(|(needed, _)| *needed == name).map(|(_, sql)| sql.replacen("main.", "", 1));
        if trigger(conn, &name)? != needed {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn create_triggers(conn: &Connection, live: &Live) -> rusqlite::Result<()> {
    for (_, statement) in live.keeper("").create_triggers() {
        conn.execute_batch(&statement)?;
    }
    Ok(())
}

pub(super) fn drop_triggers(conn: &Connection, index: &Index) -> rusqlite::Result<()> {
    for trigger in trigger_names(index.num) {
        conn.execute_batch(&format!("DROP TRIGGER IF EXISTS main.{trigger}"))?;
    }
    Ok(())
}

/// Returns what the columns that were indexed are called now: where one is renamed, SQLite renames it in the triggers. `None` if they do
/// not tell.
pub(super) fn columns_now(
    conn: &Connection,
    index: &Index,
    content: &Content,
) -> rusqlite::Result<Option<Vec<String>>> {
    let [_, after_insert, ..] = trigger_names(index.num);
    let Some(sql) = trigger(conn, &after_insert)? else { return Ok(None) };
    let listed = index.columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
    let keeper = Keeper { num: index.num, fts: &index.fts, content, columns: &index.columns, schema: "" };
    let Some((_, mut rest)) = sql.split_once(&format!("(rowid, {listed}) SELECT {}", keeper.docid())) else {
        return Ok(None);
    };
    let mut now = Vec::with_capacity(index.columns.len());
    for _ in &index.columns {
        // The longest that fits: a quote in a name looks like its end.
        let fits = content.columns.iter().map(|column| (column, format!(", t.{}", quote(column))));
        let found = fits.filter(|(_, term)| rest.starts_with(term.as_str())).max_by_key(|(_, term)| term.len());
        let Some((column, term)) = found else { return Ok(None) };
        now.push(column.clone());
        rest = &rest[term.len()..];
    }
    Ok(Some(now))
}

/// The statement that makes an index anew over these columns, otherwise as it is.
pub(super) fn command_again(index: &Index, table: &str, columns: &[String]) -> String {
    let (command, usual) = (command(index.kind, table, columns), IndexOptions::default());
    let mut options = serde_json::Map::new();
    if index.tokenizer != usual.tokenizer {
        options.insert("tokenizer".to_owned(), index.tokenizer.clone().into());
    }
    if !index.prefix.is_empty() {
        let lengths: Vec<u64> = index.prefix.split(' ').filter_map(|length| length.parse().ok()).collect();
        options.insert("prefix".to_owned(), lengths.into());
    }
    // As it would be called without the option, after the table may have been renamed.
    if index.fts != format!("{table}_text") {
        options.insert("name".to_owned(), index.fts.clone().into());
    }
    match command.strip_suffix(')') {
        Some(begun) if index.kind == Kind::Text && !options.is_empty() => {
            format!("{begun}, '{}')", serde_json::Value::Object(options).to_string().replace('\'', "''"))
        }
        _ => command,
    }
}
