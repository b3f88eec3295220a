//! The parts of `cargo xtask bench search` that are written in Rust: making the sets, our arms, and judging everybody's answers.

mod arms;
mod crash;
mod data;
mod judge;
mod npy;
mod process;
mod sql;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
enum Command {
    /// Take the real embeddings from the folder with the test data.
    Real {
        /// The folder with the test data.
        source: PathBuf,
        /// Where the set is made.
        folder: PathBuf,
        #[command(flatten)]
        filters: Filters,
    },
    /// Make clustered embeddings.
    Clustered {
        /// Where the set is made.
        folder: PathBuf,
        /// Embeddings to search.
        #[arg(long)]
        rows: usize,
        /// Questions.
        #[arg(long)]
        queries: usize,
        /// Where randomness begins.
        #[arg(long, default_value_t = 4)]
        seed: u64,
        #[command(flatten)]
        filters: Filters,
    },
    /// Measure one of our arms.
    Run(arms::Run),
    /// Make a database of the set, with a `kith_vector` table that is built and saved.
    Fill(sql::Fill),
    /// Open that database and measure questions in SQL.
    Sql(sql::Ask),
    /// Kill a process that has written to a copy of that database, and open it again.
    Crash(crash::Crash),
    /// Write rows and wait to be killed.
    #[command(hide = true)]
    Write(crash::Write),
    /// Open what was left, and look for the rows.
    #[command(hide = true)]
    Reopen(crash::Reopen),
    /// Print the recall of answers, equal embeddings counted alike.
    Judge(judge::Judge),
}

/// Which questions have their truth found.
#[derive(clap::Args)]
struct Filters {
    /// Thousandths of the rows that may be returned.
    #[arg(long, value_delimiter = ',', default_value = "1000,500,100,10,1")]
    filters: Vec<u32>,
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Real { source, folder, filters } => data::take_real(&source, &filters.filters, &folder),
        Command::Clustered { folder, rows, queries, seed, filters } => {
            data::make_clustered(rows, queries, &filters.filters, seed, &folder)
        }
        Command::Run(run) => run.run(),
        Command::Fill(fill) => fill.run(),
        Command::Sql(ask) => ask.run(),
        Command::Crash(crash) => crash.run(),
        Command::Write(write) => write.run(),
        Command::Reopen(reopen) => reopen.run(),
        Command::Judge(judge) => judge.run(),
    }
}
