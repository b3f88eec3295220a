//! The project's commands: `cargo xtask demo | test | check | bench`.
//!
//! Each command first looks for what it needs and sets up what is missing (see `setup` and `tools`).

mod check;
mod demo;
mod fuzz;
mod mappers;
mod setup;
mod shell;
mod suite;
mod tidy;
mod tools;
mod wordnet_extract;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::shell::Workspace;

/// The project's commands. Each one sets up what it needs first.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build `kith` and run `kith demo`: two peers on real data write apart, then sync.
    Demo {
        /// Arguments for `kith demo`, such as `--from FILE.db`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run everything that proves that it works.
    Test,
    /// Run formatting, lints, licences, unused dependencies, spelling and the project's own rules.
    Check,
    /// Measure against plain SQLite, in release mode.
    Bench {
        /// Arguments for the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Make the committed extract of WordNet again from a folder with its dictionary files.
    #[command(hide = true)]
    WordnetExtract {
        /// The folder that holds data.noun, data.verb, data.adj and data.adv.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    match arguments.command {
        Command::Demo { arguments } => demo::run(&workspace, &arguments),
        Command::Test => suite::run(&workspace),
        Command::Check => check::run(&workspace),
        Command::Bench { arguments } => {
            setup::require(&[setup::C_COMPILER])?;
            let mut bench = workspace.cargo();
            bench.args(["run", "--release", "--package", "kithdb-tests", "--bin", "bench", "--"]).args(arguments);
            shell::run(&mut bench)
        }
        Command::WordnetExtract { folder } => wordnet_extract::run(&workspace, &folder),
    }
}
