//! The indexes there are: made, found, dropped, and kept right where apply writes without triggers.
//!
//! `kith_text_indexes` lists them. Which table an index belongs to is said by its triggers, which follow when the table is renamed.

use rusqlite::{Connection, OptionalExtension, params};

use super::content::{Content, Key};
use super::error::TextError;
use super::options::{IndexOptions, columns};
use super::triggers::{Around, Keeper, keys_table, old_table, trigger_names};
use crate::sql::in_savepoint;
use crate::sql::quote;

const CREATE_LIST: &str = "CREATE TABLE IF NOT EXISTS main.kith_text_indexes(num INTEGER PRIMARY KEY, kind TEXT NOT NULL, table_name TEXT NOT NULL,
    fts TEXT NOT NULL, columns TEXT NOT NULL, tokenizer TEXT NOT NULL, prefix TEXT NOT NULL)";

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
    let listed = if columns.is_empty() { "…".to_owned() } else { columns.join(",") };
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
           WHERE type = 'trigger' AND name = 'kith_text_' || num || '_ai') FROM main.kith_text_indexes ORDER BY num",
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

/// Finds an index that can be asked; `None` if there is none.
pub(super) fn find_live(
    conn: &Connection,
    kind: Kind,
    table: &str,
    column: Option<&str>,
) -> Result<Option<Live>, TextError> {
    let content = Content::read(conn, table)?;
    let Some(index) = find(conn, kind, &content.table, column)? else { return Ok(None) };
    let fits = index.kept.is_some() && index.columns.iter().all(|column| content.columns.contains(column));
    if !fits {
        return Err(TextError::Outdated {
            command: command(kind, &content.table, &index.columns),
            index: index.fts,
            table: content.table,
        });
    }
    Ok(Some(Live { index, content }))
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
        let content = Content::read(conn, table)?;
        if names.is_empty() {
            return Err(TextError::NoColumns { table: content.table });
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
        };
        if let Some(known) = &known {
            index.num = known.num;
            let is_there = conn.table_exists(Some("main"), known.fts.as_str())?;
            let live = Live { index: index.clone(), content: content.clone() };
            if *known == index && is_there && are_triggers_right(conn, &live)? {
                return Ok((index, Outcome::Unchanged, 0));
            }
            remove(conn, known)?;
        }
        let rows = create(conn, &mut index, content)?;
        Ok((index, if known.is_some() { Outcome::Rebuilt } else { Outcome::Created }, rows))
    })
}

/// Tells whether the triggers are those that the table as it stands needs: they name the UNIQUE indexes that there were.
fn are_triggers_right(conn: &Connection, live: &Live) -> rusqlite::Result<bool> {
    let mut statement =
        conn.prepare_cached("SELECT sql FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE")?;
    for (name, needed) in trigger_names(live.index.num).iter().zip(live.keeper("").create_triggers()) {
        let found: Option<String> = statement.query_row([name], |row| row.get(0)).optional()?;
        // SQLite does not keep the name of the database.
        if found.is_none_or(|found| found != needed.replacen("main.", "", 1)) {
            return Ok(false);
        }
    }
    Ok(true)
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
    conn.execute_batch(CREATE_LIST)?;
    let listed = serde_json::to_string(&index.columns).map_err(|error| TextError::argument(error.to_string()))?;
    conn.prepare_cached(
        "INSERT INTO main.kith_text_indexes(kind, table_name, fts, columns, tokenizer, prefix) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![index.kind.name(), index.table, index.fts, listed, index.tokenizer, index.prefix])?;
    index.num = conn.last_insert_rowid();
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let names: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
    let content_setting = match &content.key {
        Key::Rowid(key) => format!("content={}, content_rowid={}", text(&content.table), text(key)),
        Key::Columns(_) => "content=''".to_owned(),
    };
    let prefix = if index.prefix.is_empty() { String::new() } else { format!(", prefix={}", text(&index.prefix)) };
    conn.execute_batch(&format!(
        "CREATE VIRTUAL TABLE main.{} USING fts5({}, {content_setting}, tokenize={}{prefix}{})",
        quote(&index.fts),
        names.join(", "),
        text(&index.tokenizer),
        index.kind.settings()
    ))?;
    let copies: Vec<String> = (0..index.columns.len()).map(|place| format!("c{place}")).collect();
    conn.execute_batch(&format!(
        "CREATE TABLE main.{}(n INTEGER PRIMARY KEY, docid INTEGER NOT NULL UNIQUE, {})",
        old_table(index.num),
        copies.join(", ")
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
    for statement in live.keeper("").create_triggers() {
        conn.execute_batch(&statement)?;
    }
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Drops an index; returns the name of its FTS5 table.
pub(super) fn drop(conn: &Connection, kind: Kind, table: &str, column: Option<&str>) -> Result<String, TextError> {
    in_savepoint(conn, || {
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

fn drop_triggers(conn: &Connection, index: &Index) -> rusqlite::Result<()> {
    for trigger in trigger_names(index.num) {
        conn.execute_batch(&format!("DROP TRIGGER IF EXISTS main.{trigger}"))?;
    }
    Ok(())
}

fn remove(conn: &Connection, index: &Index) -> rusqlite::Result<()> {
    drop_triggers(conn, index)?;
    for table in [&index.fts, &old_table(index.num), &keys_table(index.num)] {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS main.{}", quote(table)))?;
    }
    conn.prepare_cached("DELETE FROM main.kith_text_indexes WHERE num = ?1")?.execute([index.num])?;
    Ok(())
}

/// Returns, for a table that is written without triggers, the statements that keep its indexes right around the write of one row;
/// the key is bound to `?1`, `?2` and so on, in the order of the primary key.
pub fn writes_around(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Around>> {
    let of_table = list(conn)?
        .into_iter()
        .filter(|index| index.kept.as_deref().is_some_and(|kept| kept.eq_ignore_ascii_case(table)));
    let mut out = Vec::new();
    for index in of_table {
        match Content::read(conn, table) {
            Ok(content) => out.push(Live { index, content }.keeper("main.").around()),
            Err(TextError::Sqlite(error)) => return Err(error),
            // The table is not one that can have an index; then none was kept.
            Err(_) => {}
        }
    }
    Ok(out)
}

impl Around {
    /// Runs what comes before the write.
    pub fn before(&self, conn: &Connection, key: &[rusqlite::types::Value]) -> rusqlite::Result<()> {
        conn.prepare_cached(&self.before)?.execute(rusqlite::params_from_iter(key)).map(std::mem::drop)
    }

    /// Runs what comes after the write.
    pub fn after(&self, conn: &Connection, key: &[rusqlite::types::Value]) -> rusqlite::Result<()> {
        for statement in &self.after {
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
