//! The project's commands: `cargo xtask demo | test | check | bench | dist`.
//!
//! Each command first looks for what it needs and sets up what is missing (see `setup` and `tools`).

mod check;
mod demo;
mod flags;
mod fuzz;
mod mappers;
mod measured;
mod model;
mod node;
mod search;
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
    /// Measure in release mode: against plain SQLite, or with `node` the Node package against the originals, with `search` the search by
    /// embeddings against other libraries, with `graph` traversals against recursive queries.
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(subcommand)]
        subject: Option<BenchSubject>,
        /// Arguments for the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Pack what users install.
    Dist {
        #[command(subcommand)]
        what: DistWhat,
    },
    /// Make the committed extract of WordNet again from a folder with its dictionary files.
    #[command(hide = true)]
    WordnetExtract {
        /// The folder that holds data.noun, data.verb, data.adj and data.adv.
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum DistWhat {
    /// The Node package and the package of this platform's addon, as tarballs for npm in `dist/npm` of the target folder.
    Node,
}

#[derive(Subcommand)]
enum BenchSubject {
    /// The Node package against better-sqlite3 and node:sqlite, by processor time.
    Node {
        /// How often each pair is measured.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// Measure against originals only whose names hold this.
        #[arg(long)]
        only: Option<String>,
    },
    /// The search by embeddings against hnswlib, usearch, hnsw_rs and sqlite-vec, by processor time on one thread, and through SQL.
    Search {
        /// How often each pair is measured.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Measure one part only.
        #[arg(long, value_enum)]
        only: Option<search::Part>,
        /// Measure one set only: minilm-10k or topics-100k.
        #[arg(long)]
        set: Option<String>,
        /// Measure a million embeddings too, which takes 6 GB of disk and was not run to its end yet.
        #[arg(long)]
        million: bool,
    },
    /// Traversals of WordNet against the recursive query that a user would write, by processor time.
    Graph {
        /// How often each pair is measured.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
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
    flags::renew(&workspace)?;
    match arguments.command {
        Command::Demo { arguments } => demo::run(&workspace, &arguments),
        Command::Test => suite::run(&workspace),
        Command::Check => check::run(&workspace),
        Command::Bench { subject: Some(BenchSubject::Node { rounds, only }), .. } => {
            node::bench::run(&workspace, rounds, only.as_deref())
        }
        Command::Bench { subject: Some(BenchSubject::Search { rounds, only, set, million }), .. } => {
            search::run(&workspace, rounds, only, set.as_deref(), million)
        }
        Command::Bench { subject: Some(BenchSubject::Graph { rounds }), .. } => {
            setup::require(&[setup::C_COMPILER])?;
            let mut bench = workspace.cargo();
            bench.args([
                "run",
                "--release",
                "--package",
                "kithdb-search",
                "--example",
                "graph_bench",
                "--",
                "--rounds",
            ]);
            bench.arg(rounds.to_string());
            if let Some(folder) = demo::fetch_wordnet(&workspace.target.join("wordnet")) {
                bench.arg("--wordnet").arg(folder);
            }
            shell::run(&mut bench)
        }
        Command::Bench { subject: None, arguments } => {
            setup::require(&[setup::C_COMPILER])?;
            let mut bench = workspace.cargo();
            bench.args(["run", "--release", "--package", "kithdb-tests", "--bin", "bench", "--"]).args(arguments);
            shell::run(&mut bench)
        }
        Command::Dist { what: DistWhat::Node } => node::dist::run(&workspace),
        Command::WordnetExtract { folder } => wordnet_extract::run(&workspace, &folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bench_takes_node_and_search_for_subjects_and_passes_on_all_else() {
        let bench = |line: &str| match Arguments::try_parse_from(line.split(' ')).map(|it| it.command) {
            Ok(Command::Bench { subject, arguments }) => (subject.is_some(), arguments),
            other => panic!("{line}: {:?}", other.err()),
        };
        assert_eq!(bench("xtask bench"), (false, vec![]));
        assert_eq!(bench("xtask bench --rows 10"), (false, vec!["--rows".into(), "10".into()]));
        assert_eq!(bench("xtask bench --only reads"), (false, vec!["--only".into(), "reads".into()]));
        assert_eq!(bench("xtask bench node --rounds 3"), (true, vec![]));
        assert_eq!(bench("xtask bench search --only scan"), (true, vec![]));
        assert_eq!(bench("xtask bench graph --rounds 3"), (true, vec![]));
    }
}
