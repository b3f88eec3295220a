//! `kith search`: the rows of a table that fit a text best; the file need not belong to a workspace.

use std::process::ExitCode;

use anyhow::Result;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

use super::database::{Database, said};
use crate::cli::Search;
use crate::render::{Mode, Rows};
use crate::report::Output;

/// The statement that a search is, and what is bound to it.
fn statement(arguments: &Search, embedding: Value, json: bool) -> (&'static str, Vec<Value>) {
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
    if arguments.hybrid {
        let sql = if json {
            "SELECT key, score, text_rank, text_score, embedding_rank, distance FROM kith_hybrid(?1, ?2, ?4, ?3)"
        } else {
            "SELECT key, printf('%.4f', score) AS score, text_rank, embedding_rank FROM kith_hybrid(?1, ?2, ?4, ?3)"
        };
        return (sql, vec![table, text, limit, embedding]);
    }
    let sql = if json {
        "SELECT key, score, snippet, highlight FROM kith_search(?1, ?2, ?3)"
    } else {
        "SELECT key, printf('%.3g', score) AS score, snippet FROM kith_search(?1, ?2, ?3)"
    };
    (sql, vec![table, text, limit])
}

/// Embeds what is looked for; NULL where the table's embeddings are by a model that it declares, which is asked by the search itself.
fn embedding(conn: &Connection, arguments: &Search) -> rusqlite::Result<Value> {
    let sql = "SELECT CASE WHEN EXISTS(SELECT 1 FROM kith_vector_stats WHERE content = ?1 COLLATE NOCASE AND model IS NOT NULL) THEN NULL ELSE kith_embed(?2) END";
    conn.query_row(sql, [&arguments.table, &arguments.text], |row| row.get(0))
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
    let embedding = if arguments.hybrid { embedding(conn, arguments).map_err(said)? } else { Value::Null };
    let (sql, values) = statement(arguments, embedding, output.json);
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
