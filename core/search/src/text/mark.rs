//! Snippets and highlights of the rows that were found.
//!
//! FTS5 marks what it reads from its content table, which an index of a table without INTEGER PRIMARY KEY does not have, and one of a
//! renamed table looks for under the old name. So the few rows that were found are indexed once more, in memory, and marked there.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::error::TextError;
use super::index::Index;
use super::query::in_columns;
use super::search::Hit;
use crate::sql::quote;

/// How what fits is marked.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    pub(super) before: String,
    pub(super) after: String,
    /// About how many words a snippet has.
    pub(super) words: i64,
}

impl Default for Marks {
    fn default() -> Self {
        // Nothing that a browser would take for markup: the text around it is not escaped.
        Self { before: "[".to_owned(), after: "]".to_owned(), words: 16 }
    }
}

/// An FTS5 table in memory.
pub(super) struct Marker<'a> {
    conn: Connection,
    index: &'a Index,
    marks: &'a Marks,
}

impl<'a> Marker<'a> {
    pub(super) fn new(index: &'a Index, marks: &'a Marks) -> Result<Self, TextError> {
        let conn = Connection::open_in_memory()?;
        let columns: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
        conn.execute_batch(&format!(
            "BEGIN; CREATE VIRTUAL TABLE {} USING fts5({}, tokenize='{}')",
            quote(&index.fts),
            columns.join(", "),
            index.tokenizer.replace('\'', "''")
        ))?;
        Ok(Self { conn, index, marks })
    }

    /// Returns snippet and highlight of each row; the highlight is a JSON object of columns.
    pub(super) fn mark(
        &self,
        expression: &str,
        columns: &[String],
        hits: &[Hit],
    ) -> Result<Vec<(Value, Value)>, TextError> {
        let (fts, count) = (quote(&self.index.fts), self.index.columns.len());
        let places = vec!["?"; count].join(", ");
        let mut insert = self.conn.prepare(&format!("INSERT INTO {fts} VALUES({places})"))?;
        for hit in hits {
            insert.execute(rusqlite::params_from_iter(&hit.texts))?;
        }
        let highlights: Vec<String> = (0..count).map(|place| format!("highlight({fts}, {place}, ?2, ?3)")).collect();
        let sql = format!(
            "SELECT rowid, snippet({fts}, -1, ?2, ?3, '…', ?4), {} FROM {fts} WHERE {fts} MATCH ?1",
            highlights.join(", ")
        );
        let mut out = vec![(Value::Null, Value::Null); hits.len()];
        let mut statement = self.conn.prepare(&sql)?;
        let expression = in_columns(expression, columns);
        let mut rows =
            statement.query(rusqlite::params![expression, self.marks.before, self.marks.after, self.marks.words])?;
        while let Some(row) = rows.next()? {
            let place: usize = row.get::<_, i64>(0)?.try_into().unwrap_or(0);
            let mut highlight = serde_json::Map::new();
            for (column, name) in self.index.columns.iter().enumerate() {
                highlight.insert(name.clone(), text_of(row, column + 2)?.into());
            }
            if let Some(slot) = place.checked_sub(1).and_then(|place| out.get_mut(place)) {
                let snippet = text_of(row, 1)?.map_or(Value::Null, Value::Text);
                *slot = (snippet, Value::Text(serde_json::Value::Object(highlight).to_string()));
            }
        }
        Ok(out)
    }
}

/// Reads text that may come from a blob.
fn text_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let bytes = row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}
