//! The indexes there are: made, found, dropped, and kept right where apply writes without triggers.
//!
//! `kith_text_indexes` lists them. Which table an index belongs to is said by its triggers, which follow when the table is renamed.

use rusqlite::{Connection, OptionalExtension, params};

use super::content::{Content, Key};
use super::error::TextError;
use super::options::{IndexOptions, columns};
use super::repair::{
    columns_now, command_again, create_triggers, drop_triggers, has_triggers, keep_right, note_schema_version, repair,
};
use super::triggers::{Keeper, Settle, displaced_table, keys_table};
use crate::Internal;
use crate::sql::{in_savepoint, lock_to_write, quote};

const LIST: &str = "kith_text_indexes";
const CREATE_LIST: &str = "CREATE TABLE IF NOT EXISTS main.kith_text_indexes(num INTEGER PRIMARY KEY, kind TEXT NOT NULL, table_name TEXT NOT NULL,
    fts TEXT NOT NULL, columns TEXT NOT NULL, tokenizer TEXT NOT NULL, prefix TEXT NOT NULL, schema_version INTEGER)";

/// What an index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words, for `kith_search`.
    Text,
    /// Groups of three characters of one column, for `kith_fuzzy`.
    Fuzzy,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Fuzzy => "fuzzy",
        }
    }

    /// What FTS5 is told beyond columns, content and tokenizer.
    const fn settings(self) -> &'static str {
        match self {
            Self::Text => "",
            // Only which rows have a trigram is asked, not where.
            Self::Fuzzy => ", detail=none",
        }
    }
}

/// An index as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) num: i64,
    pub(super) kind: Kind,
    /// The table as it was called when the index was made.
    pub(super) table: String,
    /// The FTS5 table.
    pub(super) fts: String,
    pub(super) columns: Vec<String>,
    pub(super) tokenizer: String,
    pub(super) prefix: String,
    /// The table whose triggers keep the index; `None` if they are gone.
    pub(super) kept: Option<String>,
    /// The schema version of the file when the triggers were last found to be right.
    pub(super) schema_version: Option<i64>,
}

/// What became of an index that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Rebuilt,
    Unchanged,
}

/// An index with its table as it stands.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) index: Index,
    pub(super) content: Content,
}

impl Live {
    pub(super) fn keeper(&self, schema: &'static str) -> Keeper<'_> {
        Keeper {
            num: self.index.num,
            fts: &self.index.fts,
            content: &self.content,
            columns: &self.index.columns,
            schema,
        }
    }
}

/// The statement that makes an index of this kind.
pub(super) fn command(kind: Kind, table: &str, columns: &[String]) -> String {
    let text = |text: &str| text.replace('\'', "''");
    let is_plain = |column: &String| !column.contains(',') && column.trim() == column && !column.starts_with('[');
    let listed = if columns.iter().all(is_plain) { columns.join(",") } else { serde_json::json!(columns).to_string() };
    match kind {
        Kind::Text => format!("SELECT kith_text('{}', '{}')", text(table), text(&listed)),
        Kind::Fuzzy => format!("SELECT kith_fuzzy_index('{}', '{}')", text(table), text(&listed)),
    }
}

/// Lists the indexes.
pub(super) fn list(conn: &Connection) -> rusqlite::Result<Vec<Index>> {
    let exists: bool = conn
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = 'kith_text_indexes')")?
        .query_row([], |row| row.get(0))?;
    if !exists {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare_cached(
        "SELECT num, kind, table_name, fts, columns, tokenizer, prefix, (SELECT tbl_name FROM main.sqlite_schema
           WHERE type = 'trigger' AND name = 'kith_text_' || num || '_ai'), schema_version FROM main.kith_text_indexes ORDER BY num",
    )?;
    let rows = statement.query_map([], |row| {
        let kind: String = row.get(1)?;
        let listed: String = row.get(4)?;
        Ok(Index {
            num: row.get(0)?,
            kind: if kind == Kind::Fuzzy.name() { Kind::Fuzzy } else { Kind::Text },
            table: row.get(2)?,
            fts: row.get(3)?,
            columns: columns(&listed),
            tokenizer: row.get(5)?,
            prefix: row.get(6)?,
            kept: row.get(7)?,
            schema_version: row.get(8)?,
        })
    })?;
    rows.collect()
}

fn is_of(index: &Index, table: &str) -> bool {
    index.kept.as_ref().unwrap_or(&index.table).eq_ignore_ascii_case(table)
}

/// Finds the index of a table; of a column, if it is for `kith_fuzzy`.
fn find(conn: &Connection, kind: Kind, table: &str, column: Option<&str>) -> rusqlite::Result<Option<Index>> {
    let is_on =
        |index: &Index| column.is_none_or(|column| index.columns.iter().any(|has| has.eq_ignore_ascii_case(column)));
    Ok(list(conn)?.into_iter().find(|index| index.kind == kind && is_of(index, table) && is_on(index)))
}

/// Finds an index that can be asked, and brings it up to the table's present UNIQUE indexes; `None` if there is none.
pub(super) fn find_live(
    conn: &Connection,
    internal: Internal,
    kind: Kind,
    table: &str,
    column: Option<&str>,
) -> Result<Option<Live>, TextError> {
    let content = Content::read(conn, table)?;
    let Some(index) = find(conn, kind, &content.table, column)? else { return Ok(None) };
    let has_columns = index.columns.iter().all(|column| content.columns.contains(column));
    let now = columns_now(conn, &index, &content)?;
    let is_renamed = now.as_ref().is_some_and(|now| *now != index.columns);
    if index.kept.is_none() || !has_columns || is_renamed {
        let columns = now.as_ref().unwrap_or(if has_columns { &index.columns } else { &content.texts });
        // What is asked for is found by the column's name.
        let asked: Vec<String> = content
            .columns
            .iter()
            .filter(|name| column.is_some_and(|column| name.eq_ignore_ascii_case(column)))
            .cloned()
            .collect();
        let columns = if asked.is_empty() { columns } else { &asked };
        let command = command_again(&index, &content.table, columns);
        return Err(TextError::Outdated { command, index: index.fts, table: content.table });
    }
    let live = Live { index, content };
    keep_right(conn, internal, &live)?;
    Ok(Some(live))
}

/// Makes the index of a table, or makes it anew if it is another one than was asked for.
pub(super) fn make(
    conn: &Connection,
    kind: Kind,
    table: &str,
    names: &[String],
    options: &IndexOptions,
) -> Result<(Index, Outcome, i64), TextError> {
    in_savepoint(conn, || {
        lock_to_write(conn, LIST, CREATE_LIST)?;
        let content = Content::read(conn, table)?;
        if names.is_empty() {
            return Err(TextError::NoColumns { command: command(kind, &content.table, &content.texts) });
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let column = content.column(name)?.to_owned();
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let fts = options.name.clone().unwrap_or_else(|| match kind {
            Kind::Text => format!("{}_text", content.table),
            Kind::Fuzzy => format!("{}_{}_fuzzy", content.table, columns[0]),
        });
        let column = (kind == Kind::Fuzzy).then(|| columns[0].as_str());
        let known = find(conn, kind, &content.table, column)?;
        let mut index = Index {
            num: 0,
            kind,
            table: content.table.clone(),
            fts,
            columns,
            tokenizer: options.tokenizer.clone(),
            prefix: options.prefix.clone(),
            kept: Some(content.table.clone()),
            schema_version: None,
        };
        if let Some(known) = &known {
            (index.num, index.schema_version) = (known.num, known.schema_version);
            let is_there = conn.table_exists(Some("main"), known.fts.as_str())?;
            let is_renamed = columns_now(conn, known, &content)?.is_some_and(|now| now != known.columns);
            if *known == index && is_there && !is_renamed && has_triggers(conn, known)? {
                let live = Live { index, content };
                repair(conn, &live)?;
                return Ok((live.index, Outcome::Unchanged, 0));
            }
            remove(conn, known)?;
        }
        let rows = create(conn, &mut index, content)?;
        Ok((index, if known.is_some() { Outcome::Rebuilt } else { Outcome::Created }, rows))
    })
}

/// Creates the tables and triggers of an index and fills it; returns how many rows it holds.
fn create(conn: &Connection, index: &mut Index, content: Content) -> Result<i64, TextError> {
    let taken: Option<String> = conn
        .prepare_cached(
            "SELECT name FROM main.sqlite_schema WHERE name COLLATE NOCASE IN (?1, ?1 || '_data', ?1 || '_idx', ?1 || '_docsize', ?1 || '_config')",
        )?
        .query_row([&index.fts], |row| row.get(0))
        .optional()?;
    if let Some(name) = taken {
        return Err(TextError::NameTaken { name });
    }
    if kithdb_log::ids::is_reserved(&index.fts) {
        return Err(TextError::NameTaken { name: index.fts.clone() });
    }
    let listed = serde_json::to_string(&index.columns).map_err(|error| TextError::argument(error.to_string()))?;
    conn.prepare_cached(
        "INSERT INTO main.kith_text_indexes(kind, table_name, fts, columns, tokenizer, prefix) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![index.kind.name(), index.table, index.fts, listed, index.tokenizer, index.prefix])?;
    index.num = conn.last_insert_rowid();
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let names: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
    let prefix = if index.prefix.is_empty() { String::new() } else { format!(", prefix={}", text(&index.prefix)) };
    conn.execute_batch(&format!(
        "CREATE VIRTUAL TABLE main.{} USING fts5({}, tokenize={}{prefix}{})",
        quote(&index.fts),
        names.join(", "),
        text(&index.tokenizer),
        index.kind.settings()
    ))?;
    if let Key::Columns(columns) = &content.key {
        let definitions: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!("k{place} {} NOT NULL", column.definition))
            .collect();
        let keys: Vec<String> = (0..columns.len()).map(|place| format!("k{place}")).collect();
        conn.execute_batch(&format!(
            "CREATE TABLE main.{}(docid INTEGER PRIMARY KEY, {}, UNIQUE({}))",
            keys_table(index.num),
            definitions.join(", "),
            keys.join(", ")
        ))?;
    }
    let live = Live { index: index.clone(), content };
    let mut rows = 0;
    for statement in live.keeper("main.").fill() {
        rows = conn.execute(&statement, [])?;
    }
    // FTS5 keeps the memory of its largest batch, and goes through it with every small one; but it begins afresh when SQLite reads the
    // schema anew, as it does when a table is renamed.
    let displaced = displaced_table(index.num);
    conn.execute_batch(&format!(
        "CREATE TABLE main.{displaced}_new(n INTEGER PRIMARY KEY, docid INTEGER NOT NULL UNIQUE);
         ALTER TABLE main.{displaced}_new RENAME TO {displaced}"
    ))?;
    create_triggers(conn, &live)?;
    note_schema_version(conn, index.num)?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Drops an index; returns the name of its FTS5 table.
pub(super) fn drop(conn: &Connection, kind: Kind, table: &str, column: Option<&str>) -> Result<String, TextError> {
    in_savepoint(conn, || {
        lock_to_write(conn, LIST, CREATE_LIST)?;
        let Some(index) = find(conn, kind, table, column)? else {
            return Err(TextError::argument(format!(
                "{} has no such index; SELECT * FROM kith_text_indexes lists those there are",
                quote(table)
            )));
        };
        remove(conn, &index)?;
        Ok(index.fts)
    })
}

fn remove(conn: &Connection, index: &Index) -> rusqlite::Result<()> {
    drop_triggers(conn, index)?;
    for table in [&index.fts, &displaced_table(index.num), &keys_table(index.num)] {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS main.{}", quote(table)))?;
    }
    conn.prepare_cached("DELETE FROM main.kith_text_indexes WHERE num = ?1")?.execute([index.num])?;
    Ok(())
}

/// Returns, for a table that is written without triggers, the statements that make its indexes right after the write of one row.
///
/// # Errors
/// SQLite's.
pub fn settles_of(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Settle>> {
    let of_table = list(conn)?
        .into_iter()
        .filter(|index| index.kept.as_deref().is_some_and(|kept| kept.eq_ignore_ascii_case(table)));
    let mut out = Vec::new();
    for index in of_table {
        match Content::read(conn, table) {
            Ok(content) => out.push(Live { index, content }.keeper("main.").settle()),
            Err(TextError::Sqlite(error)) => return Err(error),
            // The table is not one that can have an index; then none was kept.
            Err(_) => {}
        }
    }
    Ok(out)
}

impl Settle {
    /// Makes the index right for the row of a key, in the order of the primary key.
    ///
    /// # Errors
    /// SQLite's.
    pub fn run(&self, conn: &Connection, key: &[rusqlite::types::Value]) -> rusqlite::Result<()> {
        for statement in &self.statements {
            let mut statement = conn.prepare_cached(statement)?;
            // Not every statement asks for the key.
            let key = &key[..statement.parameter_count().min(key.len())];
            statement.execute(rusqlite::params_from_iter(key))?;
        }
        Ok(())
    }
}

/// Makes every index anew, after writes that no trigger saw. One that cannot be made is left without triggers, which searches say.
pub fn rebuild_all(conn: &Connection) -> rusqlite::Result<()> {
    for index in list(conn)? {
        let Some(table) = &index.kept else { continue };
        let options = IndexOptions {
            tokenizer: index.tokenizer.clone(),
            prefix: index.prefix.clone(),
            name: Some(index.fts.clone()),
        };
        let made = in_savepoint(conn, || {
            remove(conn, &index)?;
            make(conn, index.kind, table, &index.columns, &options)
        });
        match made {
            Ok(_) => {}
            Err(TextError::Sqlite(error)) if !is_the_index(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, index = index.fts, "a text index could not be made anew");
                drop_triggers(conn, &index)?;
            }
        }
    }
    Ok(())
}

/// Tells whether a failure lies in an index or its settings rather than in the file or the machine.
fn is_the_index(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CORRUPT_VTAB, SQLITE_ERROR};
    error.sqlite_error().is_some_and(|error| matches!(error.extended_code, SQLITE_ERROR | SQLITE_CORRUPT_VTAB))
}
