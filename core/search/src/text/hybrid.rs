//! `kith_hybrid`: text and embedding asked together, the two rankings fused.
//!
//! Weighted reciprocal rank fusion: a row scores the sum, over the arms that found it, of weight / (60 + rank). From Cormack, Clarke
//! and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009, which found 60 to
//! serve well and not to be critical.
//!
//! Invariants:
//! 1. A filter is applied in each arm before its ranking, so that a row that does not satisfy it takes nobody's place.
//! 2. Where no embedding is given, and the table's embeddings are by a declared model, that model embeds the text.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value as Json;

use super::common::Frequencies;
use super::content::Content;
use super::error::TextError;
use super::filter::Filter;
use super::options::{object, unknown};
use super::search::{self, SearchOptions};
use super::table::Arguments;
use crate::embed::embedder;
use crate::function::Row;
use crate::sql::quote;

/// The constant of the source.
const RANK_OFFSET: f64 = 60.0;
/// How many rows of each arm are fused, unless told otherwise, at least.
const POOL_MIN: i64 = 100;
/// … and for each row that is wanted.
const POOL_PER_ROW: i64 = 5;

/// The columns of `kith_hybrid`, in this order; the last five are its arguments.
pub(super) const COLUMNS: &std::ffi::CStr = c"CREATE TABLE x(key, score REAL, text_rank INTEGER, text_score REAL, embedding_rank INTEGER, distance REAL, table_name HIDDEN, query HIDDEN, embedding HIDDEN, k HIDDEN, options HIDDEN)";

struct Options {
    text: SearchOptions,
    filter: Filter,
    text_weight: f64,
    embedding_weight: f64,
    rank_offset: f64,
    pool: i64,
    index: Option<String>,
}

const KNOWN: &str =
    "where, weights ({\"text\":1,\"embedding\":1}), rrf_k, pool, match, and index (the kith_vector table)";

fn parse(content: &Content, json: Option<&str>, limit: i64) -> Result<Options, TextError> {
    let mut options = Options {
        text: SearchOptions::default(),
        filter: Filter::default(),
        text_weight: 1.0,
        embedding_weight: 1.0,
        rank_offset: RANK_OFFSET,
        pool: (limit * POOL_PER_ROW).max(POOL_MIN),
        index: None,
    };
    let Some(json) = json else { return Ok(options) };
    for (name, value) in object("kith_hybrid", json)? {
        let bad = || unknown("kith_hybrid", &name, &value, KNOWN);
        let positive = |value: &Json| value.as_f64().filter(|number| *number >= 0.0).ok_or_else(bad);
        match (name.as_str(), &value) {
            ("where", value) => options.filter.add_where(content, value)?,
            ("weights", Json::Object(map)) => {
                for (arm, weight) in map {
                    match arm.as_str() {
                        "text" => options.text_weight = positive(weight)?,
                        "embedding" => options.embedding_weight = positive(weight)?,
                        _ => return Err(bad()),
                    }
                }
            }
            ("rrf_k", value) => options.rank_offset = positive(value)?,
            ("pool", value) => {
                let pool = value.as_i64().filter(|pool| (1..=search::RESULTS_MAX).contains(pool));
                options.pool = pool.ok_or_else(bad)?;
            }
            ("match", Json::String(how)) if how == "any" || how == "all" => options.text.all = how == "all",
            ("index", Json::String(name)) => options.index = Some(name.clone()),
            _ => return Err(bad()),
        }
    }
    Ok(options)
}

/// What the arms said of a row.
#[derive(Debug, Default)]
struct Fused {
    rowid: i64,
    key: Option<Value>,
    score: f64,
    text: Option<(i64, f64)>,
    embedding: Option<(i64, f64)>,
}

/// What a row is known by in both arms: its rowid, or its key where it has none.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Identity {
    Rowid(i64),
    Key(String),
}

fn identity(content: &Content, rowid: i64, key: &Value) -> Identity {
    match content.rowid {
        Some(_) => Identity::Rowid(rowid),
        None => Identity::Key(format!("{key:?}")),
    }
}

/// Finds the `kith_vector` table whose model embeds what is searched for, and embeds it.
fn embed(
    conn: &Connection,
    content: &Content,
    named: Option<&str>,
    text: &str,
) -> Result<Option<(Embeddings, Value)>, TextError> {
    let sql = "SELECT name, column_name, model FROM kith_vector_stats WHERE model IS NOT NULL AND content = ?1 COLLATE NOCASE AND (?2 IS NULL OR name = ?2 COLLATE NOCASE) ORDER BY name LIMIT 1";
    let found = conn
        .prepare_cached(sql)?
        .query_row(rusqlite::params![content.table, named], |row| {
            Ok((Embeddings { name: row.get(0)?, column: row.get(1)? }, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((embeddings, model)) = found else {
        // Who names a table of embeddings wants it asked.
        let Some(named) = named else { return Ok(None) };
        let Embeddings { name, .. } = embeddings_of(conn, content, Some(named))?;
        return Err(TextError::argument(format!(
            "{} declares no model that embeds the text; give an embedding as the third argument of kith_hybrid, or create it with model=",
            quote(&name)
        )));
    };
    let answer = embedder(&model).and_then(|model| model.embed(&[text]));
    let numbers = answer.map_err(|error| TextError::argument(format!("kith_hybrid: {error}")))?.pop().flatten();
    let blob = numbers.map(|numbers| numbers.into_iter().flat_map(f32::to_le_bytes).collect());
    Ok(blob.map(|blob| (embeddings, Value::Blob(blob))))
}

/// A `kith_vector` table and the column that its query is written to.
struct Embeddings {
    name: String,
    column: String,
}

fn embeddings_of(conn: &Connection, content: &Content, named: Option<&str>) -> Result<Embeddings, TextError> {
    let found = conn
        .prepare_cached(
            "SELECT name, column_name FROM kith_vector_stats WHERE content = ?1 COLLATE NOCASE AND (?2 IS NULL OR name = ?2 COLLATE NOCASE) ORDER BY name LIMIT 1",
        )?
        .query_row(rusqlite::params![content.table, named], |row| Ok(Embeddings { name: row.get(0)?, column: row.get(1)? }))
        .optional()?;
    found.ok_or_else(|| {
        TextError::argument(format!(
            "{} has no index of embeddings{}; run CREATE VIRTUAL TABLE {} USING kith_vector(content={}, column=embedding, dims=384) with your column and its dimension",
            quote(&content.table),
            named.map_or_else(String::new, |name| format!(" called {}", quote(name))),
            quote(&format!("{}_embeddings", content.table)),
            content.table
        ))
    })
}

/// Returns rowid, key and distance of the nearest rows that the filter lets through.
fn nearest(
    conn: &Connection,
    content: &Content,
    embeddings: &Embeddings,
    embedding: &Value,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<(i64, Value, f64)>, TextError> {
    let mut values = vec![embedding.clone(), Value::Integer(limit)];
    let mut among = String::new();
    if !filter.is_empty() {
        let (name, column) = match content.rowid {
            Some(rowid) => ("rowid", format!("t.{rowid}")),
            None => ("key", search::key_of(&content.key)),
        };
        let conditions = filter.to_sql(&column, &mut values);
        among = format!(" AND {name} IN (SELECT {column} FROM main.{} t WHERE 1{conditions})", quote(&content.table));
    }
    let sql = format!(
        "SELECT rowid, key, distance FROM main.{} WHERE {} MATCH ? AND k = ?{among} ORDER BY distance",
        quote(&embeddings.name),
        quote(&embeddings.column)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows =
        statement.query_map(rusqlite::params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Runs `kith_hybrid`.
pub(super) fn rows(
    conn: &Connection,
    arguments: &Arguments,
    frequencies: &mut Frequencies,
) -> Result<Vec<Row>, TextError> {
    let content = Content::read(conn, &arguments.text(0, "the table's name")?)?;
    let text = arguments.optional_text(1, "the text to look for, or NULL")?;
    let given = arguments.value(2);
    let limit = arguments.limit(3, search::RESULTS, search::RESULTS_MAX)?;
    let mut options = parse(&content, arguments.optional_text(4, "the options")?.as_deref(), limit)?;
    for rowids in &arguments.rowids {
        if content.rowid.is_none() {
            return Err(TextError::argument("a table WITHOUT ROWID is filtered by the option \"where\""));
        }
        options.filter.add_rowids(rowids);
    }
    if text.is_none() && given.is_none() {
        return Err(TextError::argument("kith_hybrid is asked with a text, an embedding, or both"));
    }
    let mut fused: HashMap<Identity, Fused> = HashMap::new();
    if let Some(text) = &text {
        let live = search::index_of(conn, arguments.internal, &content.table)?;
        options.text.filter = options.filter.clone();
        let clauses = search::clauses(conn, &live, text, options.text.all, frequencies)?;
        for (place, hit) in
            search::search(conn, &live, &clauses, &options.text, options.pool, false)?.into_iter().enumerate()
        {
            let rank = place as i64 + 1;
            let row = fused.entry(identity(&content, hit.rowid, &hit.key)).or_default();
            row.rowid = hit.rowid;
            row.key = Some(hit.key);
            row.text = Some((rank, hit.score));
            row.score += options.text_weight / (options.rank_offset + rank as f64);
        }
    }
    let index = options.index.as_deref();
    let asked = match (given, &text) {
        (Some(embedding), _) => Some((embeddings_of(conn, &content, index)?, embedding.clone())),
        (None, Some(text)) => embed(conn, &content, index, text)?,
        (None, None) => None,
    };
    if let Some((embeddings, embedding)) = asked {
        let nearest = nearest(conn, &content, &embeddings, &embedding, &options.filter, options.pool)?;
        for (place, (rowid, key, distance)) in nearest.into_iter().enumerate() {
            let rank = place as i64 + 1;
            let row = fused.entry(identity(&content, rowid, &key)).or_default();
            if row.key.is_none() {
                row.rowid = rowid;
                row.key = Some(key);
            }
            row.embedding = Some((rank, distance));
            row.score += options.embedding_weight / (options.rank_offset + rank as f64);
        }
    }
    let mut fused: Vec<Fused> = fused.into_values().collect();
    let best_rank = |row: &Fused| {
        let rank = |arm: Option<(i64, f64)>| arm.map_or(i64::MAX, |(rank, _)| rank);
        (rank(row.text).min(rank(row.embedding)), row.rowid)
    };
    fused
        .sort_by(|left, right| right.score.total_cmp(&left.score).then_with(|| best_rank(left).cmp(&best_rank(right))));
    fused.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(fused.into_iter().map(to_row).collect())
}

fn to_row(fused: Fused) -> Row {
    let arm = |arm: Option<(i64, f64)>| match arm {
        Some((rank, measure)) => [Value::Integer(rank), Value::Real(measure)],
        None => [Value::Null, Value::Null],
    };
    let mut values = vec![fused.key.unwrap_or(Value::Null), Value::Real(fused.score)];
    values.extend(arm(fused.text));
    values.extend(arm(fused.embedding));
    Row { rowid: Some(fused.rowid), values }
}
