//! `kith sql`.

use std::process::ExitCode;

use anyhow::Result;

use super::database::Database;
use crate::cli::Sql;
use crate::render::Mode;
use crate::report::{self, Output};
use crate::shell::Shell;

/// Runs the statements given, or those of standard input.
pub fn run(arguments: &Sql, output: Output) -> Result<ExitCode> {
    let mode = if output.json { Mode::Json } else { arguments.mode };
    let database = Database::open(&arguments.file)?;
    if let Some(lacks) = database.lacks()
        && !output.json
    {
        report::note(lacks);
    }
    let mut shell = Shell::new(database, mode);
    match &arguments.sql {
        Some(sql) => {
            shell.run(sql)?;
        }
        None => shell.run_input()?,
    }
    shell.close()?;
    Ok(ExitCode::SUCCESS)
}
