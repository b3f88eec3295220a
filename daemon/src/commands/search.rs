//! `kith search`: the rows of a table that fit a text best; the file need not belong to a workspace.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use kithdb_core::everywhere;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use serde_json::json;

use super::database::{Database, said};
use crate::cli::Search;
use crate::render::{Mode, Rows, visible};
use crate::report::Output;

/// The statement that a search is, and what is bound to it.
fn statement(arguments: &Search, asked: Option<Asked>, json: bool) -> (&'static str, Vec<Value>) {
    let text = Value::Text(arguments.text.clone());
    let limit = Value::Integer(i64::from(arguments.rows));
    let table = Value::Text(arguments.table.clone());
    if let Some(column) = &arguments.fuzzy {
        let sql = if json {
            "SELECT key, value, score, distance FROM kith_fuzzy(?1, ?2, ?3, ?4)"
        } else {
            "SELECT key, printf('%.2f', score) AS score, value FROM kith_fuzzy(?1, ?2, ?3, ?4)"
        };
        return (sql, vec![table, Value::Text(column.clone()), text, limit]);
    }
    if let Some(Asked { index, embedding }) = asked {
        let sql = if json {
            "SELECT key, score, text_rank, text_score, embedding_rank, distance FROM kith_hybrid(?1, ?2, ?4, ?3, ?5)"
        } else {
            "SELECT key, printf('%.4f', score) AS score, text_rank, embedding_rank FROM kith_hybrid(?1, ?2, ?4, ?3, ?5)"
        };
        let options = index.map_or_else(|| json!({}), |index| json!({ "index": index })).to_string();
        return (sql, vec![table, text, limit, embedding, Value::Text(options)]);
    }
    let sql = if json {
        "SELECT key, score, snippet, highlight FROM kith_search(?1, ?2, ?3)"
    } else {
        "SELECT key, printf('%.3g', score) AS score, snippet FROM kith_search(?1, ?2, ?3)"
    };
    (sql, vec![table, text, limit])
}

/// How the embeddings are asked in a hybrid search.
struct Asked {
    /// The kith_vector table; none where there is nothing in the text to embed.
    index: Option<String>,
    /// What is looked for, embedded; NULL where the table declares the model, which the search then asks itself.
    embedding: Value,
}

/// Embeddings that are looked at to learn which model made them.
const LOOKS: i64 = 100;

/// Finds which embeddings are asked, and embeds what is looked for by the model that made them and by no other.
fn ask_embeddings(conn: &Connection, arguments: &Search) -> Result<Asked> {
    let sql = "SELECT name, column_name, model FROM kith_vector_stats WHERE content = ?1 COLLATE NOCASE ORDER BY model IS NULL, name";
    let mut statement = conn.prepare(sql)?;
    let tables: Vec<(String, String, Option<String>)> = statement
        .query_map([&arguments.table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(said)?
        .collect::<rusqlite::Result<_>>()
        .map_err(said)?;
    let table = visible(&arguments.table);
    let Some((first, column, declared)) = tables.first() else {
        ensure!(conn.table_exists(Some("main"), arguments.table.as_str())?, "no such table: {table}");
        let [content, index] = [table.to_string(), format!("{table}_vectors")].map(|name| quoted(&name));
        bail!(
            "{content} has no index of embeddings; run CREATE VIRTUAL TABLE {index} USING kith_vector(content={content}, column=embedding, \
             source=body, model=lexical-1) with your columns"
        );
    };
    let embed = |index: &String, model: &str| -> Result<Asked> {
        let sql = "SELECT kith_embed(?1, ?2)";
        let embedding: Value = conn.query_row(sql, [arguments.text.as_str(), model], |row| row.get(0)).map_err(said)?;
        Ok(Asked { index: Some(index.clone()).filter(|_| embedding != Value::Null), embedding })
    };
    let declares = |index: &String| Asked { index: Some(index.clone()), embedding: Value::Null };
    let wanted = arguments.model.as_deref();
    let by_model = |(_, _, model): &&(String, String, Option<String>)| model.as_deref() == wanted;
    match (wanted, declared) {
        (None, Some(_)) => Ok(declares(first)),
        (None, None) => match is_lexical(conn, &arguments.table, column)? {
            Some(true) => embed(first, LEXICAL),
            // There is nothing to compare with.
            None => Ok(Asked { index: None, embedding: Value::Null }),
            Some(false) => bail!(
                "{first} does not say which model made its embeddings, and embeddings of different models cannot be compared; name it \
                 with --model, or create {first} with model="
            ),
        },
        (Some(model), _) => {
            if let Some((index, ..)) = tables.iter().find(by_model) {
                return Ok(declares(index));
            }
            let undeclared = tables.iter().find(|(_, _, model)| model.is_none());
            let Some((index, ..)) = undeclared else {
                bail!(
                    "the embeddings of {table} are by the model {}, as {first} declares, and those of different models cannot be compared; \
                     leave --model out",
                    declared.as_deref().unwrap_or_default()
                );
            };
            embed(index, model)
        }
    }
}

/// What `kith_embed` takes where no model is named.
const LEXICAL: &str = "lexical-1";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Says whether the embeddings of a column are by the lexical model, as far as some of them tell; `None` if there are none.
fn is_lexical(conn: &Connection, table: &str, column: &str) -> Result<Option<bool>> {
    let [table, column] = [table, column].map(quoted);
    let sql = format!("SELECT {column} FROM main.{table} WHERE {column} IS NOT NULL LIMIT {LOOKS}");
    let mut statement = conn.prepare(&sql).map_err(said)?;
    let mut rows = statement.query([]).map_err(said)?;
    let mut are_all = None;
    while let Some(row) = rows.next().map_err(said)? {
        let is_one = matches!(row.get_ref(0)?, ValueRef::Blob(embedding) if everywhere::is_made_by(LEXICAL, embedding));
        are_all = Some(is_one);
        if !is_one {
            break;
        }
    }
    Ok(are_all)
}

/// What to say when nothing is found.
fn nothing(arguments: &Search) -> String {
    let Some(column) = &arguments.fuzzy else {
        return "no row fits; a word is found as it is written, `begin*` finds words that begin so, `--fuzzy COLUMN` misspelt values"
            .to_owned();
    };
    let [table, column, text] = [&arguments.table, column, &arguments.text].map(|word| word.replace('\'', "''"));
    format!(
        "no value is written much like this; `min` lets less likely ones through, in SQL: \
         SELECT key, value, score FROM kith_fuzzy('{table}', '{column}', '{text}', {}, '{{\"min\":0.2}}')",
        arguments.rows
    )
}

/// Searches a table and prints what is found, best first.
pub fn run(arguments: &Search, output: Output) -> Result<ExitCode> {
    let database = Database::open(&arguments.file)?;
    let (found, printed) = ask(database.conn(), arguments, output)?;
    database.close()?;
    if found == 0 && !output.json {
        output.line(nothing(arguments))?;
    } else {
        output.line(printed.trim_end_matches('\n'))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns how many rows were found, and what to print of them.
fn ask(conn: &Connection, arguments: &Search, output: Output) -> Result<(u64, String)> {
    let asked = if arguments.hybrid { Some(ask_embeddings(conn, arguments)?) } else { None };
    let (sql, values) = statement(arguments, asked, output.json);
    let mut statement = conn.prepare(sql).map_err(said)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let count = columns.len();
    let mut printed = Vec::new();
    let mode = if output.json { Mode::Json } else { Mode::Table };
    let mut printer = Rows::new(&mut printed, mode, columns);
    let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(said)?;
    while let Some(row) = rows.next().map_err(said)? {
        let values = (0..count).map(|index| row.get_ref(index)).collect::<rusqlite::Result<Vec<ValueRef<'_>>>>()?;
        printer.row(&values)?;
    }
    let found = printer.end()?;
    Ok((found, String::from_utf8_lossy(&printed).into_owned()))
}
