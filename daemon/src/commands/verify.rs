//! `kith verify`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use kithdb_core::repair::{RepairReport, RepairedRow};
use kithdb_core::verify::{Problem, VerifyReport, VerifyStage};
use serde_json::json;

use super::open;
use crate::human;
use crate::render::visible;
use crate::report::Output;

/// Checks a replica, and mends it if asked to; exit code 1 if something does not agree.
pub fn run(file: &Path, repair: bool, output: Output) -> Result<ExitCode> {
    let mut replica = open(file)?;
    let bar = if output.is_watched() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let counted = ProgressStyle::with_template("checking {msg} {bar:30} {human_pos}/{human_len}")?;
    bar.set_style(ProgressStyle::with_template("checking {msg}")?);
    let mut told = None;
    let progress = |stage: VerifyStage<'_>, done, total| {
        let message = match stage {
            VerifyStage::Entries => "entries".to_owned(),
            VerifyStage::Rows(table) => format!("rows of {}", visible(table)),
            _ => "the file".to_owned(),
        };
        if told.as_ref() != Some(&message) {
            if stage != VerifyStage::File {
                bar.set_style(counted.clone());
            }
            bar.set_message(message.clone());
            told = Some(message);
        }
        bar.set_length(total);
        bar.set_position(done);
    };
    let (rows, report) = if repair {
        let RepairReport { rows, left } = replica.repair(progress)?;
        (rows, left)
    } else {
        (Vec::new(), replica.verify(progress)?)
    };
    bar.finish_and_clear();
    replica.close()?;
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    let checked = format!(
        "checked {}, {} and {}",
        human::counted(report.entries, "sealed entry"),
        human::counted(report.rows, "row"),
        human::counted(report.parked, "parked row")
    );
    let mut text = if report.is_clean() {
        format!("ok: {checked}; all agree")
    } else {
        let count = problems.len() as u64 + report.unnamed;
        format!("{checked}; found {}:", human::counted(count, "problem"))
    };
    if !rows.is_empty() {
        let put_back: Vec<String> = rows.iter().map(put_back).collect();
        let count = human::counted(rows.len() as u64, "row");
        text = format!("put back {count}, which another program had changed:\n{}\n{text}", put_back.join("\n"));
    } else if repair {
        text = format!("there was nothing to put back\n{text}");
    }
    for problem in &problems {
        text.push_str("\n  ");
        text.push_str(&visible(problem));
    }
    if report.unnamed > 0 {
        text.push_str(&format!("\n  and {} more", human::count(report.unnamed)));
    }
    for advice in advice(&report) {
        text.push('\n');
        text.push_str(advice);
    }
    output.say(
        text,
        json!({
            "clean": report.is_clean(), "entries": report.entries, "rows": report.rows, "parked": report.parked,
            "problems": problems, "unnamed": report.unnamed, "put_back": rows.iter().map(as_json).collect::<Vec<_>>(),
        }),
    )?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what can be done about what was found.
fn advice(report: &VerifyReport) -> Vec<&'static str> {
    let is_row = |problem: &Problem| matches!(problem, Problem::ChangedElsewhere { .. } | Problem::State { .. });
    let is_damage = |problem: &Problem| matches!(problem, Problem::File { .. } | Problem::Entry { .. });
    let mut out = Vec::new();
    if report.problems.iter().any(is_row) {
        out.push("with --repair these rows are put back to what the log says, and what they were is told");
    }
    if report.problems.iter().any(is_damage) {
        out.push("the file or its log is damaged: restore a backup, or join the workspace again with a new file");
    }
    out
}

/// Says what a row was that was put back.
fn put_back(row: &RepairedRow) -> String {
    let was = row.found.as_ref().map_or_else(|| "there was none".to_owned(), |found| format!("it was {found}"));
    visible(&format!("  table {}, row {}: {was}", row.table, row.key)).into_owned()
}

fn as_json(row: &RepairedRow) -> serde_json::Value {
    json!({ "table": row.table, "key": row.key, "found": row.found })
}
