//! The tables beside a `kith_vector` table with a model: `NAME_model`, what embeds and what keeps it from doing so, and `NAME_stale`,
//! the rows that are to be looked at.
//!
//! Invariants:
//! 1. A number of `NAME_stale` is used once, so that whoever deletes what he has read deletes nothing that was noted since.
//! 2. A scan has looked at every row up to its key as it was at some moment after the scan began; a later change is noted by itself.
//! 3. `remaining` is set in the note of a row that the model did not answer for when it was asked for that row alone.
//! 4. No statement of a trigger can fail where the one of the user's would not: none has a constraint to break.

use rusqlite::{Connection, OptionalExtension};

use super::super::content::Content;
use super::super::declaration::Declaration;
use super::super::keys::Key;
use crate::sql::quote;

/// What the triggers are called after the table's name.
const TRIGGERS: [&str; 2] = ["stale_insert", "stale_update"];

/// What is noted of the work that is left, for `kith_vector_stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Figures {
    /// Rows that are to be looked at, about.
    pub(in super::super) left: i64,
    /// What kept the model from answering when it was last asked.
    pub(in super::super) problem: Option<String>,
}

/// Names the table that tells of the model.
pub(in super::super) fn model_table(name: &str) -> String {
    format!("{name}_model")
}

/// Names the table of rows that are to be looked at.
pub(in super::super) fn stale_table(name: &str) -> String {
    format!("{name}_stale")
}

/// Names both tables.
pub(in super::super) fn table_names(name: &str) -> [String; 2] {
    [model_table(name), stale_table(name)]
}

/// Lists the columns of a key in `NAME_stale`.
pub(super) fn key_columns(content: &Content) -> String {
    (0..content.key.len()).map(|number| format!("key_{number}")).collect::<Vec<_>>().join(", ")
}

/// Makes the tables and the triggers, and has every row looked at.
pub(in super::super) fn create(
    conn: &Connection,
    name: &str,
    declaration: &Declaration,
    content: &Content,
    problem: Option<&str>,
) -> rusqlite::Result<()> {
    let Some(model) = &declaration.model else { return Ok(()) };
    if let Some((other, by)) = embedded_otherwise(conn, declaration)? {
        return Err(super::error(format!(
            "kith_vector: column {:?} of {:?} is embedded for {other:?} already, of {by}; drop {other:?} first, or take another column",
            declaration.column, declaration.content
        )));
    }
    let table = quote(&model_table(name));
    conn.execute_batch(&format!(
        "CREATE TABLE main.{table}(model TEXT NOT NULL, dimensions INTEGER NOT NULL, column_name TEXT NOT NULL, source TEXT, problem TEXT)"
    ))?;
    conn.execute(
        &format!("INSERT INTO main.{table} VALUES(?1, ?2, ?3, ?4, ?5)"),
        rusqlite::params![
            model,
            declaration.options.dimensions as i64,
            declaration.column,
            declaration.source,
            problem
        ],
    )?;
    if declaration.source.is_none() {
        return Ok(());
    }
    let columns: String = (0..content.key.len()).map(|number| format!(", key_{number}")).collect();
    conn.execute_batch(&format!(
        "CREATE TABLE main.{}(sequence INTEGER PRIMARY KEY AUTOINCREMENT, is_scan INTEGER NOT NULL DEFAULT 0, is_forced INTEGER NOT NULL DEFAULT 0, remaining INTEGER{columns})",
        quote(&stale_table(name))
    ))?;
    create_triggers(conn, name, declaration, content)?;
    // Whoever creates the table says which model holds from now on.
    note_scan(conn, name, true)
}

/// Finds a table that embeds into the same column by another model or of another text: each would take the other's embeddings for wrong.
fn embedded_otherwise(conn: &Connection, declaration: &Declaration) -> rusqlite::Result<Option<(String, String)>> {
    if declaration.source.is_none() {
        return Ok(None);
    }
    for other in super::super::table_names(conn)? {
        if !is_there(conn, &other, &declaration.content)? {
            continue;
        }
        let sql = format!(
            "SELECT source || ' by ' || model FROM main.{} WHERE column_name = ?1 COLLATE NOCASE AND NOT (source = ?2 COLLATE NOCASE AND model = ?3)",
            quote(&model_table(&other))
        );
        let values = [Some(&declaration.column), declaration.source.as_ref(), declaration.model.as_ref()];
        if let Some(by) = conn.query_row(&sql, values, |row| row.get(0)).optional()? {
            return Ok(Some((other, by)));
        }
    }
    Ok(None)
}

/// Makes the triggers, which are not to be there yet, and adds the columns that a key of more columns needs.
pub(in super::super) fn create_triggers(
    conn: &Connection,
    name: &str,
    declaration: &Declaration,
    content: &Content,
) -> rusqlite::Result<()> {
    let Some(source) = &declaration.source else { return Ok(()) };
    let table = stale_table(name);
    for number in 0..content.key.len() {
        let column = format!("key_{number}");
        if !conn.column_exists(Some("main"), table.as_str(), column.as_str())? {
            conn.execute_batch(&format!("ALTER TABLE main.{} ADD COLUMN {column}", quote(&table)))?;
        }
    }
    let keys: Vec<_> = content.key.iter().map(|column| quote(&column.name)).collect();
    let values = keys.iter().map(|key| format!("new.{key}")).collect::<Vec<_>>();
    let named = values.iter().map(|value| format!("{value} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
    let watched = [quote(source), quote(&declaration.column)];
    let changed = watched.iter().chain(&keys).map(|column| format!("old.{column} IS NOT new.{column} COLLATE BINARY"));
    let changed = changed.collect::<Vec<_>>().join(" OR ");
    // Not `UPDATE OF`: a generated column and an INTEGER PRIMARY KEY also change by other names.
    let events = [("INSERT", String::new()), ("UPDATE", format!("WHEN {changed}"))];
    for (kind, (event, condition)) in TRIGGERS.iter().zip(events) {
        conn.execute_batch(&format!(
            "CREATE TRIGGER main.{} AFTER {event} ON {} {condition} BEGIN INSERT INTO {}({}) SELECT {} WHERE {named}; END",
            quote(&format!("{name}_{kind}")),
            quote(&declaration.content),
            quote(&table),
            key_columns(content),
            values.join(", "),
        ))?;
    }
    Ok(())
}

/// Removes the triggers.
pub(in super::super) fn drop_triggers(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    for kind in TRIGGERS {
        conn.execute_batch(&format!("DROP TRIGGER IF EXISTS main.{}", quote(&format!("{name}_{kind}"))))?;
    }
    Ok(())
}

/// Removes the tables and the triggers.
pub(in super::super) fn drop_all(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    drop_triggers(conn, name)?;
    for table in table_names(name) {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS main.{}", quote(&table)))?;
    }
    Ok(())
}

/// Changes the name of the tables and the triggers.
pub(in super::super) fn rename(
    conn: &Connection,
    names: [&str; 2],
    declaration: &Declaration,
    content: &Content,
) -> rusqlite::Result<()> {
    let [from, to] = names;
    drop_triggers(conn, from)?;
    for (from, to) in table_names(from).iter().zip(table_names(to)) {
        if conn.table_exists(Some("main"), from.as_str())? {
            conn.execute_batch(&format!("ALTER TABLE main.{} RENAME TO {}", quote(from), quote(&to)))?;
        }
    }
    create_triggers(conn, to, declaration, content)
}

/// Says whether the table is still declared like this: another connection may have dropped it and made it otherwise.
pub(super) fn is_declared(conn: &Connection, name: &str, declaration: &Declaration) -> rusqlite::Result<bool> {
    let table = model_table(name);
    if !conn.table_exists(Some("main"), table.as_str())? {
        return Ok(false);
    }
    let sql = format!(
        "SELECT EXISTS(SELECT 1 FROM main.{} WHERE model = ?1 AND dimensions = ?2 AND column_name = ?3 AND source IS ?4)",
        quote(&table)
    );
    let Declaration { model, column, source, options, .. } = declaration;
    let values = rusqlite::params![model, options.dimensions as i64, column, source];
    conn.prepare_cached(&sql)?.query_row(values, |row| row.get(0))
}

/// Says whether rows are noted for a table, and by every trigger.
pub(super) fn is_there(conn: &Connection, name: &str, content: &str) -> rusqlite::Result<bool> {
    if !conn.table_exists(Some("main"), stale_table(name).as_str())? {
        return Ok(false);
    }
    let sql = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE AND tbl_name = ?2 COLLATE NOCASE";
    let mut statement = conn.prepare_cached(sql)?;
    for kind in TRIGGERS {
        if statement.query_row([&format!("{name}_{kind}"), content], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Has every row looked at, if the table embeds any: rows were written with triggers off.
pub(in super::super) fn note_all(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    if conn.table_exists(Some("main"), stale_table(name).as_str())? { note_scan(conn, name, false) } else { Ok(()) }
}

/// Begins a scan; one that is to embed what other models have made too is forced.
fn note_scan(conn: &Connection, name: &str, is_forced: bool) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO main.{}(is_scan, is_forced) VALUES(1, ?1)", quote(&stale_table(name)));
    conn.prepare_cached(&sql)?.execute([is_forced]).map(drop)
}

/// Returns the dimension that was stored with the model.
pub(in super::super) fn stored_dimensions(conn: &Connection, name: &str) -> rusqlite::Result<Option<usize>> {
    let table = model_table(name);
    if !conn.table_exists(Some("main"), table.as_str())? {
        return Ok(None);
    }
    let stored = conn.query_row(&format!("SELECT dimensions FROM main.{}", quote(&table)), [], |row| row.get(0));
    Ok(stored.optional()?.and_then(|count: i64| usize::try_from(count).ok()))
}

/// Notes what keeps the model from answering, or that nothing does.
pub(super) fn set_problem(conn: &Connection, name: &str, problem: Option<&str>) -> rusqlite::Result<()> {
    let sql = format!("UPDATE main.{} SET problem = ?1 WHERE problem IS NOT ?1", quote(&model_table(name)));
    conn.prepare_cached(&sql)?.execute([problem]).map(drop)
}

/// Counts rows that are to be looked at: none only if nothing is left; a row may be counted twice.
pub(super) fn left(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE NOT is_scan) + coalesce(sum(max(coalesce(remaining, 1), 1)) FILTER (WHERE is_scan), 0) FROM main.{}",
        quote(&stale_table(name))
    );
    conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

/// Reads what is noted of a table with a model.
pub(in super::super) fn figures(conn: &Connection, name: &str) -> rusqlite::Result<Figures> {
    let [model, stale] = table_names(name);
    if !conn.table_exists(Some("main"), model.as_str())? {
        return Ok(Figures::default());
    }
    let sql = format!("SELECT problem FROM main.{}", quote(&model));
    let problem = conn.query_row(&sql, [], |row| row.get::<_, Option<String>>(0)).optional()?.flatten();
    let left = if conn.table_exists(Some("main"), stale.as_str())? { left(conn, name)? } else { 0 };
    Ok(Figures { left, problem })
}

/// A scan under way.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) sequence: i64,
    pub(super) is_forced: bool,
    /// The key of the last row that was looked at; `None` if it has not begun.
    pub(super) after: Option<Key>,
    /// Rows that are left, about; `None` if they were not counted.
    pub(super) remaining: Option<i64>,
}

/// Returns the scan that was begun first.
pub(super) fn first_scan(conn: &Connection, name: &str, content: &Content) -> rusqlite::Result<Option<Scan>> {
    let sql = format!(
        "SELECT sequence, is_forced, remaining, {} FROM main.{} WHERE is_scan ORDER BY sequence LIMIT 1",
        key_columns(content),
        quote(&stale_table(name))
    );
    let read = |row: &rusqlite::Row<'_>| {
        let after = content.key_at(row, 3)?;
        Ok(Scan { sequence: row.get(0)?, is_forced: row.get(1)?, remaining: row.get(2)?, after })
    };
    conn.prepare_cached(&sql)?.query_row([], read).optional()
}
