//! Our side of each measurement.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Query};
use kithdb_vector::metric::Metric;
use kithdb_vector::scan::ScanIndex;
use kithdb_vector::slots::Slot;
use rustix::time::{ClockId, clock_gettime};

use crate::data::{self, COUNT};
use crate::npy::{self, Matrix};

/// What is measured.
#[derive(Args)]
pub struct Run {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// What is compared first.
    #[arg(long, value_enum, default_value_t = Codes::Int8)]
    codes: Codes,
    /// Questions asked.
    #[arg(long, default_value_t = usize::MAX)]
    queries: usize,
    /// Thousandths of the rows that may be returned.
    #[arg(long, default_value_t = 1_000)]
    filter: u32,
    /// Where the answers are written, for `judge`.
    #[arg(long)]
    answers: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Codes {
    F32,
    F16,
    Int8,
    Bit,
}

fn options(dimensions: usize, encoding: Encoding) -> IndexOptions {
    IndexOptions {
        dimensions,
        metric: Metric::Cosine,
        encoding,
        engine: Engine::Scan,
        connections: 16,
        ef_construction: 200,
        seed: 1,
    }
}

/// Returns an index that is exact.
pub fn exact(base: &Matrix<f32>) -> Result<ScanIndex> {
    filled(base, Encoding::F32)
}

fn filled(base: &Matrix<f32>, encoding: Encoding) -> Result<ScanIndex> {
    let mut index = ScanIndex::new(options(base.width, encoding))?;
    for (slot, row) in (0..).map(Slot).zip(base.rows()) {
        index.insert(slot, row)?;
    }
    Ok(index)
}

impl Run {
    /// Builds the index, asks the questions one by one, and prints what it took.
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
        let index = filled(&base, encoding)?;
        println!("build_s {:.3}", cpu_s() - before);
        println!("memory_mb {:.1}", index.memory_bytes() as f64 / 1e6);
        let allowed = data::allowed(base.height(), self.filter);
        let allowed = (self.filter < 1_000).then_some(&allowed);
        drop(base);
        let ask = |embedding| index.search(&Query { embedding, count: COUNT, ef: 0, allowed });
        for embedding in queries.rows().take(10) {
            ask(embedding)?;
        }
        let asked = queries.height().min(self.queries);
        let mut answers = Vec::with_capacity(asked * COUNT);
        let mut walls = Vec::with_capacity(asked);
        let before = cpu_s();
        for embedding in queries.rows().take(asked) {
            let start = Instant::now();
            let found = ask(embedding)?;
            walls.push(start.elapsed().as_secs_f64() * 1e6);
            answers.extend((0..COUNT).map(|rank| found.get(rank).map_or(-1, |found| found.slot.0 as i32)));
        }
        println!("query_us {:.2}", (cpu_s() - before) * 1e6 / asked as f64);
        walls.sort_by(f64::total_cmp);
        println!("p50_us {:.2}\np99_us {:.2}", walls[asked / 2], walls[asked * 99 / 100]);
        let bytes: Vec<u8> = answers.iter().flat_map(|slot: &i32| slot.to_le_bytes()).collect();
        fs::write(&self.answers, bytes).with_context(|| format!("could not write {}", self.answers.display()))
    }
}

/// Returns the processor time of this process, in seconds.
fn cpu_s() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
