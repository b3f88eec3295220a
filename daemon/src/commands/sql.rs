//! `kith sql`.

use std::process::ExitCode;

use anyhow::Result;

use super::open;
use crate::cli::Sql;
use crate::render::Mode;
use crate::report::Output;
use crate::shell::Shell;

/// Runs the statements given, or those of standard input.
pub fn run(arguments: &Sql, output: Output) -> Result<ExitCode> {
    let mode = if output.json { Mode::Json } else { arguments.mode };
    let mut shell = Shell::new(open(&arguments.file)?, mode);
    match &arguments.sql {
        Some(sql) => {
            shell.run(sql)?;
        }
        None => shell.run_input()?,
    }
    shell.close()?;
    Ok(ExitCode::SUCCESS)
}
