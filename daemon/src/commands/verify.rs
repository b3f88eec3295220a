//! `kith verify`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use kithdb_core::verify::VerifyStage;
use serde_json::json;

use super::open;
use crate::human;
use crate::render::visible;
use crate::report::Output;

/// Checks a replica; exit code 1 if something does not agree.
pub fn run(file: &Path, output: Output) -> Result<ExitCode> {
    let mut replica = open(file)?;
    let bar = if output.is_watched() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let counted = ProgressStyle::with_template("checking {msg} {bar:30} {human_pos}/{human_len}")?;
    bar.set_style(ProgressStyle::with_template("checking {msg}")?);
    let mut told = None;
    let report = replica.verify(|stage, done, total| {
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
    })?;
    bar.finish_and_clear();
    replica.close()?;
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    let checked = format!(
        "checked {}, {} and {}",
        human::counted(report.entries, "entry"),
        human::counted(report.rows, "row"),
        human::counted(report.parked, "parked row")
    );
    let mut text = if report.is_clean() {
        format!("ok: {checked}; all agree")
    } else {
        let count = problems.len() as u64 + report.unnamed;
        format!("{checked}; found {}:", human::counted(count, "problem"))
    };
    for problem in &problems {
        text.push_str("\n  ");
        text.push_str(&visible(problem));
    }
    if report.unnamed > 0 {
        text.push_str(&format!("\n  and {} more", human::count(report.unnamed)));
    }
    output.say(
        text,
        json!({
            "clean": report.is_clean(), "entries": report.entries, "rows": report.rows, "parked": report.parked,
            "problems": problems, "unnamed": report.unnamed,
        }),
    )?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
