//! The parts of `cargo xtask bench search` that are written in Rust: making the sets, our arms, and judging everybody's answers.

mod arms;
mod data;
mod judge;
mod npy;

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
    },
    /// Measure one of our arms.
    Run(arms::Run),
    /// Print the recall of answers, equal embeddings counted alike.
    Judge(judge::Judge),
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Real { source, folder } => data::take_real(&source, &folder),
        Command::Clustered { folder, rows, queries, seed } => data::make_clustered(rows, queries, seed, &folder),
        Command::Run(run) => run.run(),
        Command::Judge(judge) => judge.run(),
    }
}
