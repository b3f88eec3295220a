//! Our side of each measurement.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Query};
use kithdb_vector::metric::Metric;
use kithdb_vector::slots::Slot;
use kithdb_vector::tiered::TieredIndex;

use crate::data::{self, COUNT};
use crate::npy::{self, Matrix};
use crate::process::cpu_s;

/// Our index on one set. It is built first; then each line of standard input is a measurement: `EF FILTER QUERIES ANSWERS-FILE`, the
/// filter in thousandths of the rows that may be returned.
#[derive(Args)]
pub struct Run {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// What finds the neighbours.
    #[arg(long, value_enum, default_value_t = Finder::Scan)]
    finder: Finder,
    /// What is compared first.
    #[arg(long, value_enum, default_value_t = Codes::Int8)]
    codes: Codes,
}

#[derive(Clone, Copy, ValueEnum)]
enum Finder {
    Scan,
    Graph,
    /// The graph of the `hnsw_rs` crate behind the same interface, for which the feature `hnsw-rs` is needed.
    HnswRs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Codes {
    F32,
    F16,
    Int8,
    Bit,
}

/// Returns an index that is exact.
pub fn exact(base: &Matrix<f32>) -> Result<TieredIndex> {
    build(base, Encoding::F32, Engine::Scan)
}

fn build(base: &Matrix<f32>, encoding: Encoding, engine: Engine) -> Result<TieredIndex> {
    let mut index = TieredIndex::new(IndexOptions {
        dimensions: base.width,
        metric: Metric::Cosine,
        encoding,
        engine,
        connections: 16,
        ef_construction: 200,
        seed: 1,
    })?;
    for (slot, row) in (0..).map(Slot).zip(base.rows()) {
        index.insert(slot, row)?;
    }
    if let Some(job) = index.build_job() {
        let built = job.run(1, &|_| ControlFlow::Continue(()));
        ensure!(index.install(built.context("the building was broken off")?), "the graph is another index's");
    }
    Ok(index)
}

impl Run {
    /// Builds the index and measures what it is told to.
    pub fn run(&self) -> Result<()> {
        let base = npy::read_floats(&self.set.join("base.npy"))?;
        let queries = npy::read_floats(&self.set.join("queries.npy"))?;
        let encoding = match self.codes {
            Codes::F32 => Encoding::F32,
            Codes::F16 => Encoding::F16,
            Codes::Int8 => Encoding::Int8,
            Codes::Bit => Encoding::Bit,
        };
        let before = cpu_s();
        let engine = match self.finder {
            Finder::Scan => Engine::Scan,
            Finder::Graph => Engine::Hnsw,
            Finder::HnswRs => Engine::HnswRs,
        };
        let index = build(&base, encoding, engine)?;
        let built_s = cpu_s() - before;
        let height = base.height();
        drop(base);
        println!("build_s {built_s:.3} memory_mb {:.1}", index.memory_bytes() as f64 / 1e6);
        for line in std::io::stdin().lines() {
            let line = line?;
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().context("a measurement is `EF FILTER QUERIES ANSWERS-FILE`");
            let (ef, filter) = (word()?.parse()?, word()?.parse()?);
            let (asked, file) = (word()?.parse()?, word()?.to_owned());
            let allowed = data::allowed(height, filter);
            let allowed = (filter < 1_000).then_some(&allowed);
            let asked = queries.height().min(asked);
            let ask = |embedding| index.search(&Query { embedding, count: COUNT, ef, allowed });
            for embedding in queries.rows().take(10) {
                ask(embedding)?;
            }
            let mut answers = Vec::with_capacity(asked * COUNT);
            let mut walls = Vec::with_capacity(asked);
            let before = cpu_s();
            for embedding in queries.rows().take(asked) {
                let start = Instant::now();
                let found = ask(embedding)?;
                walls.push(start.elapsed().as_secs_f64() * 1e6);
                answers.extend((0..COUNT).map(|rank| found.get(rank).map_or(-1, |found| found.slot.0 as i32)));
            }
            let query_us = (cpu_s() - before) * 1e6 / asked as f64;
            walls.sort_by(f64::total_cmp);
            let bytes: Vec<u8> = answers.iter().flat_map(|slot: &i32| slot.to_le_bytes()).collect();
            fs::write(&file, bytes).with_context(|| format!("could not write {file}"))?;
            println!("query_us {query_us:.2} p50_us {:.2} p99_us {:.2}", walls[asked / 2], walls[asked * 99 / 100]);
        }
        Ok(())
    }
}
