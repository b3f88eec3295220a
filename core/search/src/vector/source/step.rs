//! One step of embedding: some rows are read, their texts embedded, the embeddings written (`write.rs`).
//!
//! Invariants:
//! 1. No lock is held while the model is asked, but for a transaction of the caller's.
//! 2. An embedding is written only where the text is still the one that was read. What has changed since was noted when it changed.
//! 3. A batch is written in the transaction that it was read in, or was read from committed rows: a rollback frees numbers of notes.
//! 4. Embeddings and how far the work has come are written together, and a write comes first, so that the lock is waited for.

use std::collections::HashSet;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, params_from_iter};

use super::super::content::{Content, ContentError, key_condition};
use super::super::declaration::Declaration;
use super::super::keys::{Key, owned};
use super::label::Label;
use super::queue::{self, Scan, first_scan, key_columns, stale_table};
use crate::embed::Embedder;
use crate::sql::quote;

/// Rows that one step of a scan looks at, at most.
const LOOKS_MAX: usize = 2_000;

/// A row that is to be embedded.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) key: Key,
    pub(super) source: Source,
    /// Its place among the texts; `None` if there is no text to embed.
    pub(super) text: Option<usize>,
    pub(super) is_forced: bool,
}

/// What stands in the text column, byte for byte.
#[derive(Debug)]
pub(super) enum Source {
    Text(Vec<u8>),
    Other(Value),
}

impl Source {
    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Text(text.to_vec()),
            other => Self::Other(owned(other)),
        }
    }
}

impl ToSql for Source {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => Ok(ToSqlOutput::Borrowed(ValueRef::Text(text))),
            Self::Other(value) => value.to_sql(),
        }
    }
}

/// How far a scan has come in a step.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) scan: Scan,
    /// The key of the last row, unless all were looked at.
    pub(super) last: Option<Key>,
    pub(super) remaining: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) name: String,
    pub(super) declaration: Declaration,
    pub(super) model: String,
    pub(super) source: String,
    pub(super) content: Content,
    pub(super) stale: Vec<Stale>,
    texts: Vec<String>,
    /// Notes that the step takes care of.
    pub(super) notes: Vec<i64>,
    pub(super) looked: Option<Looked>,
    is_retry: bool,
}

fn of(error: ContentError) -> rusqlite::Error {
    match error {
        ContentError::Sqlite(error) => error,
        other => super::error(other.to_string()),
    }
}

impl Batch {
    /// Reads up to `count` rows that are to be embedded.
    pub(super) fn read(
        conn: &Connection,
        name: &str,
        declaration: &Declaration,
        count: usize,
    ) -> rusqlite::Result<Self> {
        let (Some(source), Some(model)) = (declaration.source.clone(), declaration.model.clone()) else {
            return Err(super::error(format!("{name:?} has no source= to embed")));
        };
        if !queue::is_declared(conn, name, declaration)? {
            return Err(super::error(format!("kith_vector: {name:?} is gone, or was made anew with other arguments")));
        }
        if !queue::is_there(conn, name, &declaration.content)? {
            return Err(super::error(format!(
                "kith_vector: table {:?} was made anew, so its changes are not noted; run INSERT INTO {}(command) VALUES('rebuild')",
                declaration.content,
                quote(name)
            )));
        }
        let content = Content::read(conn, declaration).map_err(of)?;
        let declaration = declaration.clone();
        let (stale, texts, notes) = Default::default();
        let (name, looked, is_retry) = (name.to_owned(), None, false);
        let mut batch = Self { name, declaration, model, source, content, stale, texts, notes, looked, is_retry };
        batch.read_noted(conn, count, "remaining IS NULL")?;
        if batch.stale.len() < count
            && let Some(scan) = first_scan(conn, &batch.name, &batch.content)?
        {
            batch.read_scanned(conn, scan, count)?;
        }
        let is_scanning = batch.looked.as_ref().is_some_and(|looked| looked.last.is_some());
        if batch.stale.is_empty() && !is_scanning {
            batch.read_noted(conn, count, "remaining IS NOT NULL")?;
            batch.is_retry = !batch.stale.is_empty();
        }
        Ok(batch)
    }

    /// Returns the model's name.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// Says whether there is nothing to do.
    pub(super) const fn is_empty(&self) -> bool {
        self.stale.is_empty() && self.notes.is_empty() && self.looked.is_none()
    }

    /// Says whether there is nothing left but rows that the model did not answer for.
    pub(super) const fn is_retry(&self) -> bool {
        self.is_retry
    }

    /// Returns the texts that are to be embedded.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    pub(super) fn content_table(&self) -> String {
        format!("main.{}", quote(&self.declaration.content))
    }

    fn columns(&self) -> String {
        format!("{}, {}", quote(&self.source), quote(&self.declaration.column))
    }

    /// Reads rows that were noted by triggers, or because the model did not answer for them.
    fn read_noted(&mut self, conn: &Connection, count: usize, which: &str) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT sequence, is_forced, {} FROM main.{} WHERE NOT is_scan AND {which} ORDER BY sequence",
            key_columns(&self.content),
            quote(&stale_table(&self.name))
        );
        let find = format!(
            "SELECT {} FROM {} WHERE {}",
            self.columns(),
            self.content_table(),
            key_condition(&self.content.key, 1)
        );
        let mut find = conn.prepare_cached(&find)?;
        let mut statement = conn.prepare_cached(&sql)?;
        let mut notes = statement.query([])?;
        let mut seen = HashSet::new();
        while self.stale.len() < count && self.notes.len() < count.max(LOOKS_MAX) {
            let Some(note) = notes.next()? else { break };
            self.notes.push(note.get(0)?);
            let Some(key) = self.content.key_at(note, 2)? else { continue };
            if !seen.insert(key.clone()) {
                continue;
            }
            let is_forced = note.get(1)?;
            let found = find
                .query_row(params_from_iter(key.parts()), |row| {
                    let is_stale = self.is_stale(row.get_ref(0)?, row.get_ref(1)?, is_forced);
                    is_stale.then(|| row.get_ref(0).map(Source::of)).transpose()
                })
                .optional()?;
            if let Some(Some(source)) = found {
                self.add(key, source, is_forced);
            }
        }
        Ok(())
    }

    /// Goes on with a scan.
    fn read_scanned(&mut self, conn: &Connection, scan: Scan, count: usize) -> rusqlite::Result<()> {
        let (table, keys) = (self.content_table(), &self.content.key);
        let names: Vec<_> = keys.iter().map(|column| quote(&column.name)).collect();
        let ordered: Vec<_> =
            keys.iter().map(|column| format!("{} COLLATE {}", quote(&column.name), column.collation_name())).collect();
        let named = names.iter().map(|name| format!("{name} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let marks = (1..=keys.len()).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
        let after = if scan.after.is_none() {
            String::new()
        } else if keys.len() == 1 {
            format!(" AND {} > ?1", ordered[0])
        } else {
            format!(" AND ({}) > ({marks})", ordered.join(", "))
        };
        let counted = match scan.remaining {
            Some(remaining) => remaining,
            None => conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?,
        };
        let sql = format!(
            "SELECT {}, {} FROM {table} WHERE {named}{after} ORDER BY {} LIMIT {LOOKS_MAX}",
            names.join(", "),
            self.columns(),
            ordered.join(", ")
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(scan.after.iter().flat_map(Key::parts)))?;
        let (mut looks, mut last) = (0, None);
        let is_all = loop {
            if looks == LOOKS_MAX || self.stale.len() == count {
                break false;
            }
            let Some(row) = rows.next()? else { break true };
            looks += 1;
            let Some(key) = self.content.key_at(row, 0)? else { continue };
            let first = self.content.key.len();
            if self.is_stale(row.get_ref(first)?, row.get_ref(first + 1)?, scan.is_forced) {
                let source = Source::of(row.get_ref(first)?);
                self.add(key.clone(), source, scan.is_forced);
            }
            last = Some(key);
        };
        let remaining = (counted - looks as i64).max(1);
        self.looked = Some(Looked { scan, last: last.filter(|_| !is_all), remaining });
        Ok(())
    }

    /// Judges a row: whether the embedding that stands there is not to stay.
    fn is_stale(&self, source: ValueRef<'_>, embedding: ValueRef<'_>, is_forced: bool) -> bool {
        let (text, numbers) = match (source, embedding) {
            (ValueRef::Text(text), ValueRef::Blob(bytes)) => (text, bytes.as_chunks::<4>().0),
            // A text in which there is nothing to embed is asked for again, and nothing is written.
            (ValueRef::Text(_), _) => return true,
            (_, embedding) => return embedding != ValueRef::Null,
        };
        let Some(label) = Label::read(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes))) else { return true };
        let right = Label::of(&self.model, text);
        if label.is_of_same_model(right) {
            return label != right || numbers.len() != self.declaration.options.dimensions;
        }
        is_forced || !label.is_of_same_text(right)
    }

    fn add(&mut self, key: Key, source: Source, is_forced: bool) {
        let text = match &source {
            Source::Text(text) => {
                self.texts.push(String::from_utf8_lossy(text).into_owned());
                Some(self.texts.len() - 1)
            }
            _ => None,
        };
        self.stale.push(Stale { key, source, text, is_forced });
    }

    /// Asks the model; the reason is given if it does not answer.
    pub(super) fn ask(&self, model: &dyn Embedder) -> Result<Vec<Option<Vec<f32>>>, String> {
        ask(model, &self.model, self.declaration.options.dimensions, &self.texts)
    }
}

/// Says whether somebody else holds the lock that is needed.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Asks a model for the embeddings of texts, and checks what it answers.
pub(super) fn ask(
    model: &dyn Embedder,
    name: &str,
    dimensions: usize,
    texts: &[String],
) -> Result<Vec<Option<Vec<f32>>>, String> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let answers = model.embed(&texts).map_err(|error| error.to_string())?;
    let is_right = answers
        .iter()
        .flatten()
        .all(|embedding| embedding.len() == dimensions && embedding.iter().all(|number| number.is_finite()));
    if answers.len() == texts.len() && is_right {
        return Ok(answers);
    }
    Err(format!(
        "the embedding model {name:?} did not answer with finite embeddings of {dimensions} dimensions; if it was changed, drop the kith_vector table and create it again"
    ))
}
