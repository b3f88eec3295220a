//! `kith search`: the rows of a table that fit a text best.

use std::process::ExitCode;

use anyhow::Result;
use rusqlite::types::{Value, ValueRef};

use super::open;
use crate::cli::Search;
use crate::render::{Mode, Rows};
use crate::report::Output;

/// The statement that a search is, and what is bound to it.
fn statement(arguments: &Search, json: bool) -> (&'static str, Vec<Value>) {
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
            "SELECT key, score, text_rank, text_score, embedding_rank, distance FROM kith_hybrid(?1, ?2, kith_embed(?2), ?3)"
        } else {
            "SELECT key, printf('%.4f', score) AS score, text_rank, embedding_rank FROM kith_hybrid(?1, ?2, kith_embed(?2), ?3)"
        };
        return (sql, vec![table, text, limit]);
    }
    let sql = if json {
        "SELECT key, score, snippet, highlight FROM kith_search(?1, ?2, ?3)"
    } else {
        "SELECT key, printf('%.2f', score) AS score, snippet FROM kith_search(?1, ?2, ?3)"
    };
    (sql, vec![table, text, limit])
}

/// Searches a table and prints what is found, best first.
pub fn run(arguments: &Search, output: Output) -> Result<ExitCode> {
    let replica = open(&arguments.file)?;
    let (sql, values) = statement(arguments, output.json);
    let mut statement = replica.conn().prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let count = columns.len();
    let mut printed = Vec::new();
    let mode = if output.json { Mode::Json } else { Mode::Table };
    let mut printer = Rows::new(&mut printed, mode, columns);
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let values = (0..count).map(|index| row.get_ref(index)).collect::<rusqlite::Result<Vec<ValueRef<'_>>>>()?;
        printer.row(&values)?;
    }
    let found = printer.end()?;
    let printed = String::from_utf8_lossy(&printed);
    let nothing = "no row fits; a word is found as it is written, `begin*` finds words that begin so";
    output.line(if found == 0 && !output.json { nothing } else { printed.trim_end_matches('\n') })?;
    Ok(ExitCode::SUCCESS)
}
