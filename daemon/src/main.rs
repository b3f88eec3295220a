//! The `kith` command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

mod cli;
mod commands;
mod demo;
mod human;
mod render;
mod report;
mod shell;
mod trouble;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::Arguments;
use crate::report::Output;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            report::misuse(&error);
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let output = Output { json: arguments.json };
    // What goes on inside is for those who ask: KITH_LOG=debug.
    let filter = EnvFilter::try_from_env("KITH_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let file = arguments.command.file().map(Path::to_owned);
    match commands::run(arguments.command, output) {
        Ok(code) => code,
        Err(error) if report::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let error = match &file {
                Some(file) => trouble::explain(error, file),
                None => error,
            };
            report::failure(&error, output.json);
            ExitCode::FAILURE
        }
    }
}
