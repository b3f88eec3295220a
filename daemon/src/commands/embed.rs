//! `kith embed`: embeds what waits for it; the file need not belong to a workspace.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kithdb_core::everywhere::stay_in_foreground;
use kithdb_core::file::shell_word;
use rusqlite::Connection;
use serde_json::json;

use super::database::{Database, said};
use crate::cli::Embed;
use crate::render::visible;
use crate::report::Output;

/// Rows of one step, which a crash may cost.
const ROWS: i64 = 64;

/// Embeds until nothing waits; a model that does not answer ends it.
pub fn run(arguments: &Embed, output: Output) -> Result<ExitCode> {
    // Two that embed at once would ask the model twice.
    stay_in_foreground();
    let mut database = Database::open(&arguments.file)?;
    let tables = tables(database.conn(), arguments.table.as_deref())?;
    let file = shell_word(&arguments.file);
    ensure!(
        !tables.is_empty(),
        "{}; make one with `kith sql {file} \"CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1)\"`",
        match &arguments.table {
            Some(table) => format!("there is no kith_vector table {table} with a source and a model in this file"),
            None => "no kith_vector table in this file has a source and a model".to_owned(),
        }
    );
    for table in tables {
        embed(&mut database, &table, output)?;
        output
            .say(format_args!("every text of {} is embedded", visible(&table)), json!({ "table": table, "left": 0 }))?;
    }
    database.close()?;
    Ok(ExitCode::SUCCESS)
}

fn tables(conn: &Connection, named: Option<&str>) -> Result<Vec<String>> {
    let sql =
        "SELECT name FROM kith_vector_stats WHERE source IS NOT NULL AND (?1 IS NULL OR name = ?1 COLLATE NOCASE)";
    let mut statement = conn.prepare(sql)?;
    let names = statement.query_map([named], |row| row.get(0)).map_err(said)?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

fn embed(database: &mut Database, table: &str, output: Output) -> Result<()> {
    let bar = if output.is_watched() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("embedding {msg} {bar:30} {human_pos}/{human_len} {eta}")?);
    bar.set_message(visible(table).into_owned());
    let (mut most, mut rows, mut is_last_try) = (0, ROWS, false);
    loop {
        let conn = database.ready()?;
        let sql = "SELECT kith_embed_pending(?1, ?2)";
        let left: i64 = match conn.query_row(sql, (table, rows), |row| row.get(0)) {
            Ok(left) => left,
            // One text may keep the others from being embedded; asked for alone, it lets them go before it.
            Err(_) if !is_last_try => {
                is_last_try = rows == 1;
                rows = (rows / 4).max(1);
                continue;
            }
            Err(error) => {
                bar.finish_and_clear();
                return Err(said(error));
            }
        };
        (rows, is_last_try) = (ROWS, false);
        most = most.max(left + ROWS);
        bar.set_length(most.unsigned_abs());
        bar.set_position((most - left).unsigned_abs());
        if left == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
    }
}
