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

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::Arguments;
use crate::report::Output;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output { json: arguments.json };
    // What goes on inside is for those who ask: KITH_LOG=debug.
    let filter = EnvFilter::try_from_env("KITH_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match commands::run(arguments.command, output) {
        Ok(code) => code,
        Err(error) if report::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report::failure(&error, output.json);
            ExitCode::FAILURE
        }
    }
}
