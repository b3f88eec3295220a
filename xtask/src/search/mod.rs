//! `cargo xtask bench search`: our indexes against hnswlib, usearch, hnsw_rs and sqlite-vec, by processor time, each on one thread.
//!
//! Scans are measured in fresh processes. A graph takes minutes to build, so that each side builds or loads its own once and the two
//! processes are asked in turn.

mod arm;
mod peers;
mod sql;

pub use peers::sqlite_vec;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context, Result, ensure};

use crate::measured::{self, alternate};
use crate::search::arm::{Arm, Figures};
use crate::setup;
use crate::shell::{self, Workspace};

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The scan against sqlite-vec's.
    Scan,
    /// The graph against hnswlib's, usearch's and hnsw_rs's: building, questions, filters.
    Graph,
    /// Through SQL: questions against the library's call, and opening after a kill.
    Sql,
    /// A million embeddings through SQL; measured only if asked for.
    Million,
}

/// Without a filter, in thousandths of the rows.
const ALL: u32 = 1_000;

/// Filters in thousandths of the rows.
const FILTERS: [u32; 4] = [500, 100, 10, 1];

/// Recalls that are wanted of a graph.
const RECALLS: [f64; 2] = [0.95, 0.99];

/// Candidates that are tried, until the recall is reached.
const EFS: [usize; 20] = [10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 160, 200, 240, 320, 480, 640];

/// Measures, and prints the table.
pub fn run(
    workspace: &Workspace,
    rounds: usize,
    only: Option<Part>,
    only_set: Option<&str>,
    is_million: bool,
) -> Result<()> {
    ensure!(rounds > 0, "there must be one round at least");
    let source = env::var_os("KITHDB_TEST_DATA").map(PathBuf::from);
    let source = source.context("no real embeddings: set KITHDB_TEST_DATA to the folder with minilm_10k_base.npy")?;
    setup::require(&[setup::C_COMPILER])?;
    let python = peers::ensure()?;
    let mut build = workspace.cargo();
    shell::run(build.args(["build", "--release", "--package", "kithdb-search-bench", "--features", "hnsw-rs"]))?;
    let binary = workspace.target.join("release").join(format!("bench-search{}", env::consts::EXE_SUFFIX));
    let script = workspace.root.join("tests/search/peers.py");
    let bench = Bench { python, script, binary, folder: workspace.target.join("bench-search"), rounds };
    let mut table = vec![
        "| set | work | base, CPU us | ours, CPU us | ratio (min..max) | base against itself | at most |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut notes = Vec::new();
    let is_wanted = |part: Part| only.map_or(part != Part::Million || is_million, |only| only == part);
    if only != Some(Part::Million) {
        let is_set = |name: &str| only_set.is_none_or(|only| only == name);
        let mut sets = Vec::new();
        if is_set("minilm-10k") {
            sets.push((bench.set("minilm-10k", &[OsStr::new("real"), source.as_os_str()])?, 200));
        }
        if is_set("topics-100k") {
            sets.push((bench.clustered("topics-100k", 100_000, 1_000, &FILTERS)?, 20));
        }
        ensure!(!sets.is_empty(), "no such set; there are minilm-10k and topics-100k");
        for (set, scans) in &sets {
            notes.push(set.hardness.clone());
            if is_wanted(Part::Scan) {
                table.push(bench.scan(set, *scans)?);
            }
            if is_wanted(Part::Graph) {
                bench.graph(set, &mut table, &mut notes)?;
            }
            if is_wanted(Part::Sql) {
                bench.sql(set, &mut table)?;
                // Each row is to be the nearest to itself, and some of the real ones are equal.
                if set.name != "minilm-10k" {
                    notes.push(bench.killed(set)?);
                }
            }
        }
    }
    if is_wanted(Part::Million) {
        let million = bench.clustered("topics-1m", 1_000_000, 500, &[])?;
        notes.push(million.hardness.clone());
        bench.million(&million, &mut notes)?;
    }
    println!("\n{}, {rounds} rounds\n\n{}\n", measured::machine(), table.join("\n"));
    for note in notes {
        println!("- {note}");
    }
    Ok(())
}

struct Bench {
    python: PathBuf,
    script: PathBuf,
    binary: PathBuf,
    /// Where the sets are.
    folder: PathBuf,
    rounds: usize,
}

struct Set {
    name: &'static str,
    folder: PathBuf,
    hardness: String,
}

impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

impl Bench {
    /// Returns a set, making it first where it is missing.
    fn set(&self, name: &'static str, arguments: &[&OsStr]) -> Result<Set> {
        let folder = self.folder.join(name);
        let hardness = folder.join("hardness.txt");
        if !hardness.is_file() {
            println!("making {name} in {} (once)", folder.display());
            fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
            shell::run(Command::new(&self.binary).args(arguments).arg(&folder))?;
        }
        let text = fs::read_to_string(&hardness).with_context(|| format!("could not read {}", hardness.display()))?;
        Ok(Set { name, folder, hardness: format!("{name}: {text}") })
    }

    fn clustered(&self, name: &'static str, rows: usize, queries: usize, filters: &[u32]) -> Result<Set> {
        let filters: Vec<_> = [ALL].iter().chain(filters).map(u32::to_string).collect();
        let ([rows, queries], filters) = ([rows, queries].map(|number| number.to_string()), filters.join(","));
        let words = ["clustered", "--rows", &rows, "--queries", &queries, "--filters", &filters];
        self.set(name, &words.map(OsStr::new))
    }

    /// One of our arms over a set.
    fn ours(&self, set: &Set, arguments: &[&str]) -> Result<Arm> {
        let (name, rest) = arguments.split_first().context("an arm has a name")?;
        let mut command = Command::new(&self.binary);
        command.arg(name).arg("--set").arg(&set.folder).args(rest);
        Arm::start(command, set.folder.join(format!("{}.answers", arguments.join(""))))
    }

    fn peer(&self, set: &Set, name: &str, rebuild: bool) -> Result<Arm> {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(name).arg("--set").arg(&set.folder);
        if rebuild {
            command.arg("--rebuild");
        }
        Arm::start(command, set.folder.join(format!("{name}.answers")))
    }

    /// The scan of 8-bit codes with exact comparison of the best, against sqlite-vec's of floats.
    fn scan(&self, set: &Set, queries: usize) -> Result<String> {
        println!("{set}: scans");
        let (mut base_recall, mut ours_recall) = (0.0, 0.0);
        let measured = alternate(
            self.rounds,
            || {
                let mut arm = self.peer(set, "sqlite-vec", false)?;
                let query_us = arm.query_us(0, ALL, queries)?;
                base_recall = arm.recall(&self.binary, &set.folder, ALL)?;
                Ok(query_us)
            },
            || {
                let mut arm = self.ours(set, &["run", "--finder", "scan"])?;
                let query_us = arm.query_us(0, ALL, queries)?;
                ours_recall = arm.recall(&self.binary, &set.folder, ALL)?;
                Ok(query_us)
            },
        )?;
        Ok(row(
            set,
            &format!("scan, recall {ours_recall:.4}, against sqlite-vec, recall {base_recall:.4}"),
            &measured,
            "0.10x",
        ))
    }

    /// Building, questions and filters of the graph.
    fn graph(&self, set: &Set, table: &mut Vec<String>, notes: &mut Vec<String>) -> Result<()> {
        println!("{set}: building graphs");
        let mut hnswlib = self.peer(set, "hnswlib", true)?;
        let mut ours = self.ours(set, &["run", "--finder", "graph"])?;
        let memory = figure(&ours.built, "memory_mb");
        notes.push(format!("{set}: ours holds {memory:.0} MB: exact floats, 8-bit codes and the graph"));
        let mut floats = self.ours(set, &["run", "--finder", "graph", "--codes", "f32"])?;
        let mut usearch = self.peer(set, "usearch", true)?;
        let mut hnsw_rs = self.ours(set, &["run", "--finder", "hnsw-rs"])?;
        let [base, codes] = [&hnswlib, &ours].map(|arm| figure(&arm.built, "build_s"));
        for (words, base, ours) in [
            ("against hnswlib", base, codes),
            ("32-bit floats, against hnswlib", base, figure(&floats.built, "build_s")),
            ("against usearch", figure(&usearch.built, "build_s"), codes),
            ("against hnsw_rs", figure(&hnsw_rs.built, "build_s"), codes),
        ] {
            let at_most = if words == "against hnswlib" { "1.00x" } else { "-" };
            let ratio = ours / base;
            let line = format!(
                "| {set} | build, once, in CPU s, {words} | {base:.1} | {ours:.1} | {ratio:.2}x | | {at_most} |"
            );
            println!("{line}");
            table.push(line);
        }
        for wanted in RECALLS {
            println!("{set}: questions at recall {wanted}");
            let reached = |arm: &mut Arm| self.smallest_ef(arm, set, ALL, wanted);
            let (ours_at, hnswlib_at, floats_at) = (reached(&mut ours)?, reached(&mut hnswlib)?, reached(&mut floats)?);
            let (usearch_at, hnsw_rs_at) = (reached(&mut usearch)?, reached(&mut hnsw_rs)?);
            let mut compare = |words: &str, base: (&mut Arm, Option<Reached>), ours: (&mut Arm, Option<Reached>)| {
                let (Some(base_ef), Some(our_ef)) = (base.1, ours.1) else {
                    notes.push(format!("{set}: {words}: one of the two did not reach recall {wanted}"));
                    return anyhow::Ok(());
                };
                let (base, ours) = (base.0, ours.0);
                let measured = alternate(
                    self.rounds,
                    || base.query_us(base_ef.ef, ALL, usize::MAX),
                    || ours.query_us(our_ef.ef, ALL, usize::MAX),
                )?;
                let at_most = if words == "against hnswlib" { "1.00x" } else { "-" };
                table.push(row(set, &format!("recall {wanted}: {our_ef}, {words}, {base_ef}"), &measured, at_most));
                Ok(())
            };
            compare("against hnswlib", (&mut hnswlib, hnswlib_at), (&mut ours, ours_at))?;
            compare("with 32-bit floats, against hnswlib", (&mut hnswlib, hnswlib_at), (&mut floats, floats_at))?;
            compare("against usearch", (&mut usearch, usearch_at), (&mut ours, ours_at))?;
            compare("against hnsw_rs", (&mut hnsw_rs, hnsw_rs_at), (&mut ours, ours_at))?;
        }
        drop((hnswlib, floats, usearch, hnsw_rs));
        self.filtered(set, ours, table, notes)
    }

    /// Filtered questions against the unfiltered ones, both at the lower recall.
    fn filtered(&self, set: &Set, ours: Arm, table: &mut Vec<String>, notes: &mut Vec<String>) -> Result<()> {
        let ours = std::cell::RefCell::new(ours);
        let wanted = RECALLS[0];
        let Some(all) = self.smallest_ef(&mut ours.borrow_mut(), set, ALL, wanted)? else { return Ok(()) };
        for filter in FILTERS {
            println!("{set}: {filter} of 1,000 rows");
            let Some(some) = self.smallest_ef(&mut ours.borrow_mut(), set, filter, wanted)? else {
                notes.push(format!("{set}: ours did not reach recall {wanted} with {filter} of 1,000 rows"));
                continue;
            };
            let measured = alternate(
                self.rounds,
                || ours.borrow_mut().query_us(all.ef, ALL, usize::MAX),
                || ours.borrow_mut().query_us(some.ef, filter, usize::MAX),
            )?;
            let work = format!("{} % of the rows allowed, {some}, against all, {all}", f64::from(filter) / 10.0);
            table.push(row(set, &work, &measured, "2.00x or 2,000 us"));
        }
        Ok(())
    }

    fn smallest_ef(&self, arm: &mut Arm, set: &Set, filter: u32, wanted: f64) -> Result<Option<Reached>> {
        for ef in EFS {
            arm.measure(ef, filter, usize::MAX)?;
            let recall = arm.recall(&self.binary, &set.folder, filter)?;
            if recall >= wanted {
                return Ok(Some(Reached { ef, recall }));
            }
        }
        Ok(None)
    }
}

/// Returns a figure of an arm; no number if it did not say.
fn figure(figures: &Figures, name: &str) -> f64 {
    figures.get(name).copied().unwrap_or(f64::NAN)
}

/// The smallest number of candidates that gives the recall that was wanted.
#[derive(Clone, Copy)]
struct Reached {
    ef: usize,
    recall: f64,
}

impl fmt::Display for Reached {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ef {} ({:.3})", self.ef, self.recall)
    }
}

fn row(set: &Set, work: &str, measured: &measured::Measured, at_most: &str) -> String {
    let row = format!(
        "| {set} | {work} | {:.0} | {:.0} | {} | {} | {at_most} |",
        measured.base(),
        measured.ours(),
        measured.ratio(),
        measured.noise()
    );
    // The whole takes long, and what is measured is worth seeing at once.
    println!("{row}");
    row
}
