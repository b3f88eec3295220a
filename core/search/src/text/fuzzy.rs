//! `kith_fuzzy`: the rows whose value of a column is written most like a text.
//!
//! With an index (`kith_fuzzy_index`) the rows that share a group of three characters with the text are candidates, those that share
//! most first. One edit changes at most three groups of the text, a swap of neighbours four; so a row that shares `s` of `n` groups is
//! at least `(n - s) / 4` edits away, and the candidates end where none can beat what was found.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;

use super::content::{Content, Key};
use super::distance::{confidence, confidence_max, fold};
use super::error::TextError;
use super::filter::Filter;
use super::index::{Kind, Live, command, find_live};
use super::options::{object, unknown};
use super::search::key_of;
use super::table::{Arguments, owned};
use crate::function::Row;
use crate::sql::quote;

/// The most rows that are read without an index.
const SCANNED_MAX: usize = 50_000;
/// The most candidates that are read with one.
const CANDIDATES_MAX: usize = 20_000;
/// The longest text that is looked for, in characters.
const TEXT_CHARS_MAX: usize = 200;
/// What is less like the text than this is left out, unless told otherwise.
const CONFIDENCE_MIN: f64 = 0.4;
/// How many groups one edit may change, at most.
const GROUPS_PER_EDIT: usize = 4;

/// The columns of `kith_fuzzy`, in this order; the last five are its arguments.
pub(super) const COLUMNS: &std::ffi::CStr = c"CREATE TABLE x(key, value, score REAL, distance INTEGER, table_name HIDDEN, column_name HIDDEN, text HIDDEN, k HIDDEN, options HIDDEN)";

struct Found {
    row: Row,
    score: f64,
    distance: usize,
}

struct Best {
    wanted: usize,
    min: f64,
    found: Vec<Found>,
}

impl Best {
    /// The confidence that a further row needs.
    fn bar(&self) -> f64 {
        if self.found.len() < self.wanted { self.min } else { self.found.last().map_or(self.min, |last| last.score) }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.wanted
    }

    fn offer(&mut self, wanted: &[char], row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
        let value = owned(row.get_ref(2)?);
        let text = match &value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Null | Value::Blob(_) => return Ok(()),
        };
        let folded = fold(&text);
        let most = confidence_max(wanted.len(), folded.len());
        if most < self.min || self.is_full() && most < self.bar() {
            return Ok(());
        }
        let (distance, score) = confidence(wanted, &folded);
        if score < self.min {
            return Ok(());
        }
        let row = Row {
            rowid: row.get(0)?,
            values: vec![owned(row.get_ref(1)?), value, Value::Real(score), Value::Integer(distance as i64)],
        };
        let before = |other: &Found| {
            other.score > score || other.score == score && (other.distance, other.row.rowid) < (distance, row.rowid)
        };
        let place = self.found.partition_point(before);
        if place < self.wanted {
            self.found.insert(place, Found { row, score, distance });
            self.found.truncate(self.wanted);
        }
        Ok(())
    }
}

struct Options {
    min: f64,
    filter: Filter,
}

fn parse(content: &Content, json: Option<&str>) -> Result<Options, TextError> {
    let mut options = Options { min: CONFIDENCE_MIN, filter: Filter::default() };
    let Some(json) = json else { return Ok(options) };
    for (name, value) in object("kith_fuzzy", json)? {
        match (name.as_str(), &value) {
            ("min", Json::Number(number)) if number.as_f64().is_some_and(|min| (0.0..=1.0).contains(&min)) => {
                options.min = number.as_f64().unwrap_or(CONFIDENCE_MIN);
            }
            ("where", value) => options.filter.add_where(content, value)?,
            _ => return Err(unknown("kith_fuzzy", &name, &value, "min (from 0 to 1) and where")),
        }
    }
    Ok(options)
}

/// Runs `kith_fuzzy`.
pub(super) fn rows(conn: &Connection, arguments: &Arguments) -> Result<Vec<Row>, TextError> {
    let table = arguments.text(0, "the table's name")?;
    let content = Content::read(conn, &table)?;
    let column = content.column(&arguments.text(1, "the column's name")?)?.to_owned();
    let text = arguments.text(2, "the text to look for")?;
    let limit = arguments.limit(3, super::search::RESULTS, super::search::RESULTS_MAX)?;
    let mut options = parse(&content, arguments.optional_text(4, "the options")?.as_deref())?;
    for rowids in &arguments.rowids {
        options.filter.add_rowids(rowids);
    }
    let wanted = fold(&text);
    if wanted.len() > TEXT_CHARS_MAX {
        return Err(TextError::argument(format!(
            "kith_fuzzy compares whole values and looks for at most {TEXT_CHARS_MAX} characters; use kith_search for longer texts"
        )));
    }
    let mut best = Best { wanted: usize::try_from(limit).unwrap_or(1), min: options.min, found: Vec::new() };
    let groups = groups(&wanted);
    let live = find_live(conn, arguments.internal, Kind::Fuzzy, &content.table, Some(&column))?;
    match live {
        Some(live) if !groups.is_empty() => with_index(conn, &live, &groups, &wanted, &options.filter, &mut best)?,
        _ => scan(conn, &content, &column, &wanted, &options.filter, &mut best)?,
    }
    Ok(best.found.into_iter().map(|found| found.row).collect())
}

/// The different groups of three characters in a text.
fn groups(text: &[char]) -> Vec<String> {
    let mut groups: Vec<String> = text.windows(3).map(|group| group.iter().collect()).collect();
    groups.sort_unstable();
    groups.dedup();
    // FTS5 reads up to the first NUL.
    groups.retain(|group| !group.contains('\0'));
    groups
}

fn scan(
    conn: &Connection,
    content: &Content,
    column: &str,
    wanted: &[char],
    filter: &Filter,
    best: &mut Best,
) -> Result<(), TextError> {
    let rowid = match (&content.key, content.rowid) {
        (Key::Rowid(key), _) => format!("t.{}", quote(key)),
        (_, Some(rowid)) => format!("t.{rowid}"),
        // A table without rowids that was not indexed has no numbers for its rows.
        (_, None) => "0".to_owned(),
    };
    let mut values = Vec::new();
    let conditions = filter.to_sql(&rowid, &mut values);
    let sql = format!(
        "SELECT {rowid}, {}, t.{} FROM main.{} t WHERE 1{conditions}",
        key_of(&content.key),
        quote(column),
        quote(&content.table)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut scanned = 0;
    while let Some(row) = rows.next()? {
        scanned += 1;
        if scanned > SCANNED_MAX {
            return Err(TextError::argument(format!(
                "{} has more than {SCANNED_MAX} rows, too many to compare one by one; {}",
                quote(&content.table),
                if wanted.len() < 3 {
                    "look for at least three characters".to_owned()
                } else {
                    format!("run {}", command(Kind::Fuzzy, &content.table, &[column.to_owned()]))
                }
            )));
        }
        best.offer(wanted, row)?;
    }
    Ok(())
}

fn with_index(
    conn: &Connection,
    live: &Live,
    groups: &[String],
    wanted: &[char],
    filter: &Filter,
    best: &mut Best,
) -> Result<(), TextError> {
    let fts = quote(&live.index.fts);
    let mut shared: HashMap<i64, usize> = HashMap::new();
    let mut statement = conn.prepare_cached(&format!("SELECT rowid FROM main.{fts} WHERE {fts} MATCH ?1"))?;
    for group in groups {
        let mut rows = statement.query([format!("\"{}\"", group.replace('"', "\"\""))])?;
        while let Some(row) = rows.next()? {
            *shared.entry(row.get(0)?).or_default() += 1;
        }
    }
    let mut candidates: Vec<(usize, i64)> = shared.into_iter().map(|(docid, count)| (count, docid)).collect();
    candidates.sort_unstable_by_key(|(count, docid)| (std::cmp::Reverse(*count), *docid));
    let rowid = super::search::rowid_of(live);
    let mut values = Vec::new();
    let conditions = filter.to_sql(&rowid, &mut values);
    let keeper = live.keeper("main.");
    let sql = format!(
        "SELECT {rowid}, {}, t.{} FROM {} WHERE {} = ?{conditions}",
        key_of(&live.content.key),
        quote(&live.index.columns[0]),
        keeper.rows(),
        keeper.docid()
    );
    let mut statement = conn.prepare_cached(&sql)?;
    for (count, docid) in candidates.into_iter().take(CANDIDATES_MAX) {
        let edits = groups.len().saturating_sub(count).div_ceil(GROUPS_PER_EDIT);
        // A longer value lowers the share of the edits, but each further character is an edit.
        let most = wanted.len() as f64 / (wanted.len() + edits) as f64;
        if most < best.min || best.is_full() && most < best.bar() {
            break;
        }
        let bound = std::iter::once(Value::Integer(docid)).chain(values.iter().cloned());
        let mut rows = statement.query(rusqlite::params_from_iter(bound))?;
        if let Some(row) = rows.next()? {
            best.offer(wanted, row)?;
        }
    }
    Ok(())
}
