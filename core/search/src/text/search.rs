//! `kith_search`: the rows whose text fits best, ranked by BM25.

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;

use super::common::Frequencies;
use super::content::{Content, Key};
use super::error::TextError;
use super::filter::Filter;
use super::index::{Kind, Live, command, find_live};
use super::mark::{Marker, Marks};
use super::options::{object, unknown};
use super::query::{Clause, expression, in_columns, parse};
use super::repair::command_again;
use super::table::{Arguments, owned};
use crate::Internal;
use crate::function::Row;
use crate::sql::quote;

/// The greatest number of rows that one search returns.
pub(super) const RESULTS_MAX: i64 = 10_000;
/// The number of rows a search returns unless told otherwise.
pub(super) const RESULTS: i64 = 10;

/// A row that was found.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    /// The row's present rowid; its number in the index, for a table without rowids.
    pub(super) rowid: i64,
    /// The primary key's value, or a JSON array of its values.
    pub(super) key: Value,
    /// BM25, greater for what fits better.
    pub(super) score: f64,
    /// The indexed columns; empty if they were not asked for.
    pub(super) texts: Vec<Value>,
}

/// What `kith_search` is asked beyond table, text and number.
#[derive(Debug, Default)]
pub(super) struct SearchOptions {
    /// Whether every word must be there.
    pub(super) all: bool,
    /// The columns that are looked in; all of them, if empty.
    pub(super) columns: Vec<String>,
    /// What a word counts in each column.
    weights: Vec<(String, f64)>,
    pub(super) filter: Filter,
    pub(super) marks: Marks,
}

const KNOWN: &str = "match (\"any\" or \"all\"), columns, weights, where, before, after and words";

impl SearchOptions {
    pub(super) fn parse(live: &Live, json: Option<&str>) -> Result<Self, TextError> {
        let mut options = Self::default();
        let indexed = |name: &str| -> Result<String, TextError> {
            let column = live.content.column(name)?;
            if live.index.columns.iter().any(|known| known == column) {
                return Ok(column.to_owned());
            }
            let columns: Vec<String> = live.index.columns.iter().cloned().chain([column.to_owned()]).collect();
            Err(TextError::argument(format!(
                "column {} is not in the text index {}; run {}",
                quote(column),
                quote(&live.index.fts),
                command_again(&live.index, &live.content.table, &columns)
            )))
        };
        let Some(json) = json else { return Ok(options) };
        for (name, value) in object("kith_search", json)? {
            match (name.as_str(), &value) {
                ("match", Json::String(how)) if how == "any" || how == "all" => options.all = how == "all",
                ("columns", Json::Array(list)) => {
                    for column in list {
                        let column = column.as_str().ok_or_else(|| unknown("kith_search", &name, &value, KNOWN))?;
                        options.columns.push(indexed(column)?);
                    }
                }
                ("weights", Json::Object(map)) => {
                    for (column, weight) in map {
                        let weight = weight.as_f64().filter(|weight| *weight >= 0.0);
                        let weight = weight.ok_or_else(|| unknown("kith_search", &name, &value, KNOWN))?;
                        options.weights.push((indexed(column)?, weight));
                    }
                }
                ("where", value) => options.filter.add_where(&live.content, value)?,
                ("before", Json::String(text)) => options.marks.before.clone_from(text),
                ("after", Json::String(text)) => options.marks.after.clone_from(text),
                ("words", Json::Number(words)) if words.as_i64().is_some_and(|words| (1..=64).contains(&words)) => {
                    options.marks.words = words.as_i64().unwrap_or_default();
                }
                _ => return Err(unknown("kith_search", &name, &value, KNOWN)),
            }
        }
        Ok(options)
    }

    fn bm25(&self, live: &Live) -> Option<String> {
        if self.weights.is_empty() {
            return None;
        }
        let weight = |column: &String| {
            let given = self.weights.iter().find(|(name, _)| name == column);
            format!("{:?}", given.map_or(1.0, |(_, weight)| *weight))
        };
        Some(format!("bm25({})", live.index.columns.iter().map(weight).collect::<Vec<_>>().join(", ")))
    }
}

/// Finds the text index of a table, or says how to make one.
pub(super) fn index_of(conn: &Connection, internal: Internal, table: &str) -> Result<Live, TextError> {
    match find_live(conn, internal, Kind::Text, table, None)? {
        Some(live) => Ok(live),
        None => {
            let content = Content::read(conn, table)?;
            let command = command(Kind::Text, &content.table, &content.texts);
            Err(TextError::NoIndex { table: content.table, command })
        }
    }
}

/// Reads what a person typed, without the words that nearly every document has.
pub(super) fn clauses(
    conn: &Connection,
    live: &Live,
    text: &str,
    all: bool,
    frequencies: &mut Frequencies,
) -> rusqlite::Result<Vec<Clause>> {
    let clauses = parse(text);
    if all { Ok(clauses) } else { frequencies.worth(conn, &live.index.fts, clauses) }
}

/// SQL for the rowid of a row `t`, or of its number in the index.
pub(super) fn rowid_of(live: &Live) -> String {
    match (&live.content.key, live.content.rowid) {
        (Key::Rowid(key), _) => format!("t.{}", quote(key)),
        (Key::Columns(_), Some(rowid)) => format!("t.{rowid}"),
        (Key::Columns(_), None) => "m.docid".to_owned(),
    }
}

/// SQL for the key of a row `t` as one value.
pub(super) fn key_of(key: &Key) -> String {
    let names = key.names();
    match names.as_slice() {
        [one] => format!("t.{}", quote(one)),
        many => {
            // A blob is nothing that JSON could hold.
            let part = |name: &&str| {
                let column = format!("t.{}", quote(name));
                format!("CASE typeof({column}) WHEN 'blob' THEN hex({column}) ELSE {column} END")
            };
            format!("json_array({})", many.iter().map(part).collect::<Vec<_>>().join(", "))
        }
    }
}

/// SQL that joins the rows `t` of the table to those of the FTS5 table.
fn joined(live: &Live) -> String {
    let (fts, table) = (quote(&live.index.fts), quote(&live.content.table));
    match &live.content.key {
        Key::Rowid(key) => format!("main.{fts} CROSS JOIN main.{table} t ON t.{} = {fts}.rowid", quote(key)),
        Key::Columns(columns) => {
            let equal: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(place, column)| format!("t.{} = m.k{place}", quote(&column.name)))
                .collect();
            format!(
                "main.{fts} CROSS JOIN main.{} m ON m.docid = {fts}.rowid CROSS JOIN main.{table} t ON {}",
                super::triggers::keys_table(live.index.num),
                equal.join(" AND ")
            )
        }
    }
}

/// Finds the best rows.
pub(super) fn search(
    conn: &Connection,
    live: &Live,
    clauses: &[Clause],
    options: &SearchOptions,
    limit: i64,
    with_texts: bool,
) -> Result<Vec<Hit>, TextError> {
    let Some(expression) = expression(clauses, options.all) else { return Ok(Vec::new()) };
    let fts = quote(&live.index.fts);
    let rowid = rowid_of(live);
    let texts: String = if with_texts {
        live.index.columns.iter().map(|column| format!(", t.{}", quote(column))).collect()
    } else {
        String::new()
    };
    let mut values = vec![Value::Text(in_columns(&expression, &options.columns))];
    let ranked = options.bm25(live).map_or_else(String::new, |function| {
        values.push(Value::Text(function));
        " AND rank MATCH ?".to_owned()
    });
    let filter = options.filter.to_sql(&rowid, &mut values);
    values.push(Value::Integer(limit));
    // CROSS JOIN keeps the index in front, whose order is that of the rank, so that only the rows returned are looked up.
    let sql = format!(
        "SELECT {rowid}, {}, -{fts}.rank{texts} FROM {} WHERE {fts} MATCH ?{ranked}{filter} ORDER BY {fts}.rank LIMIT ?",
        key_of(&live.content.key),
        joined(live)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
        let texts = if with_texts { live.index.columns.len() } else { 0 };
        Ok(Hit {
            rowid: row.get(0)?,
            key: owned(row.get_ref(1)?),
            score: row.get(2)?,
            texts: (3..3 + texts).map(|place| row.get_ref(place).map(owned)).collect::<rusqlite::Result<_>>()?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The columns of `kith_search`, in this order; the last four are its arguments.
pub(super) const COLUMNS: &std::ffi::CStr = c"CREATE TABLE x(key, score REAL, snippet TEXT, highlight TEXT, table_name HIDDEN, query HIDDEN, k HIDDEN, options HIDDEN)";
const SNIPPET: u64 = 1 << 2;
const HIGHLIGHT: u64 = 1 << 3;

/// Runs `kith_search`.
pub(super) fn rows(
    conn: &Connection,
    arguments: &Arguments,
    frequencies: &mut Frequencies,
) -> Result<Vec<Row>, TextError> {
    let table = arguments.text(0, "the table's name")?;
    let text = arguments.text(1, "the text to look for")?;
    let limit = arguments.limit(2, RESULTS, RESULTS_MAX)?;
    let live = index_of(conn, arguments.internal, &table)?;
    let mut options = SearchOptions::parse(&live, arguments.optional_text(3, "the options")?.as_deref())?;
    for rowids in &arguments.rowids {
        options.filter.add_rowids(rowids);
    }
    let clauses = clauses(conn, &live, &text, options.all, frequencies)?;
    let wants_marks = arguments.used & (SNIPPET | HIGHLIGHT) != 0;
    let hits = search(conn, &live, &clauses, &options, limit, wants_marks)?;
    let marked = if wants_marks && !hits.is_empty() {
        Marker::new(&live.index, &options.marks)?.mark(&clauses, &options.columns, &hits)?
    } else {
        Vec::new()
    };
    let mut marked = marked.into_iter();
    Ok(hits
        .into_iter()
        .map(|hit| {
            let (snippet, highlight) = marked.next().unwrap_or((Value::Null, Value::Null));
            Row { rowid: Some(hit.rowid), values: vec![hit.key, Value::Real(hit.score), snippet, highlight] }
        })
        .collect())
}
