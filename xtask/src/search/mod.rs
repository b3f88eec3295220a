//! `cargo xtask bench search`: our indexes against hnswlib, usearch and sqlite-vec, by processor time, each on one thread.
//!
//! Scans are measured in fresh processes. A graph takes minutes to build, so that each side builds or loads its own once and the two
//! processes are asked in turn.

mod arm;
mod peers;

pub use peers::sqlite_vec;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context, Result, ensure};

use crate::measured::{self, alternate};
use crate::search::arm::Arm;
use crate::setup;
use crate::shell::{self, Workspace};

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The scan against sqlite-vec's.
    Scan,
    /// The graph against hnswlib's and usearch's: building, questions, filters.
    Graph,
}

/// Without a filter, in thousandths of the rows.
const ALL: u32 = 1_000;

/// Filters in thousandths of the rows.
const FILTERS: [u32; 4] = [500, 100, 10, 1];

/// Recalls that are wanted of a graph.
const RECALLS: [f64; 2] = [0.95, 0.99];

/// Candidates that are tried, until the recall is reached.
const EFS: [usize; 15] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 120, 160, 240, 320, 640];

/// Measures, and prints the table.
pub fn run(workspace: &Workspace, rounds: usize, only: Option<Part>, million: bool) -> Result<()> {
    ensure!(rounds > 0, "there must be one round at least");
    let source = env::var_os("KITHDB_TEST_DATA").map(PathBuf::from);
    let source = source.context("no real embeddings: set KITHDB_TEST_DATA to the folder with minilm_10k_base.npy")?;
    setup::require(&[setup::C_COMPILER])?;
    let python = peers::ensure()?;
    let mut build = workspace.cargo();
    shell::run(build.args(["build", "--release", "--package", "kithdb-search-bench"]))?;
    let binary = workspace.target.join("release").join(format!("bench-search{}", env::consts::EXE_SUFFIX));
    let script = workspace.root.join("tests/search/peers.py");
    let bench = Bench { python, script, binary, folder: workspace.target.join("bench-search"), rounds };
    let mut table = vec![
        "| set | work | base, CPU us | ours, CPU us | ratio (min..max) | base against itself | at most |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    let real = bench.set("minilm-10k", &[OsStr::new("real"), source.as_os_str()])?;
    let large = bench.clustered("clustered-100k", 100_000, 1_000)?;
    let mut notes = vec![real.hardness.clone(), large.hardness.clone()];
    if only != Some(Part::Graph) {
        table.push(bench.scan(&real, 200)?);
        table.push(bench.scan(&large, 20)?);
    }
    if only != Some(Part::Scan) {
        for set in [&real, &large] {
            bench.graph(set, &mut table, &mut notes)?;
        }
    }
    if million {
        let million = bench.clustered("clustered-1m", 1_000_000, 200)?;
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

    fn clustered(&self, name: &'static str, rows: usize, queries: usize) -> Result<Set> {
        let [rows, queries] = [rows, queries].map(|number| number.to_string());
        let words = ["clustered", "--rows", &rows, "--queries", &queries];
        self.set(name, &words.map(OsStr::new))
    }

    fn ours(&self, set: &Set, finder: &str) -> Result<Arm> {
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("--set").arg(&set.folder).args(["--finder", finder]);
        Arm::start(command, set.folder.join("ours.answers"))
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
                let mut arm = self.ours(set, "scan")?;
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
        let mut ours = self.ours(set, "graph")?;
        let built = |arm: &Arm| arm.built.get("build_s").copied().unwrap_or(f64::NAN);
        let line = format!(
            "| {set} | build, once, in CPU s, against hnswlib | {:.1} | {:.1} | {:.2}x | | 1.00x |",
            built(&hnswlib),
            built(&ours),
            built(&ours) / built(&hnswlib)
        );
        println!("{line}");
        table.push(line);
        let memory = ours.built.get("memory_mb").copied().unwrap_or(f64::NAN);
        notes.push(format!("{set}: ours holds {memory:.0} MB: exact floats, 8-bit codes and the graph"));
        let mut usearch = self.peer(set, "usearch", false)?;
        for wanted in RECALLS {
            println!("{set}: questions at recall {wanted}");
            let Some(our_ef) = self.smallest_ef(&mut ours, set, ALL, wanted)? else {
                notes.push(format!("{set}: ours did not reach recall {wanted}"));
                continue;
            };
            for (name, peer, at_most) in [("hnswlib", &mut hnswlib, "1.00x"), ("usearch", &mut usearch, "-")] {
                let Some(ef) = self.smallest_ef(peer, set, ALL, wanted)? else {
                    notes.push(format!("{set}: {name} did not reach recall {wanted}"));
                    continue;
                };
                let measured = alternate(
                    self.rounds,
                    || peer.query_us(ef.ef, ALL, usize::MAX),
                    || ours.query_us(our_ef.ef, ALL, usize::MAX),
                )?;
                table.push(row(set, &format!("recall {wanted}: {our_ef}, against {name}, {ef}"), &measured, at_most));
            }
        }
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

    /// What a million embeddings take, on their own.
    fn million(&self, set: &Set, notes: &mut Vec<String>) -> Result<()> {
        println!("{set}: building the graph");
        let mut ours = self.ours(set, "graph")?;
        let ef = self.smallest_ef(&mut ours, set, ALL, RECALLS[0])?;
        let ef = ef.with_context(|| format!("{set}: ours did not reach recall {}", RECALLS[0]))?;
        let figures = ours.measure(ef.ef, ALL, usize::MAX)?;
        let figure = |name: &str| figures.get(name).or(ours.built.get(name)).copied().unwrap_or(f64::NAN);
        notes.push(format!(
            "{set}: built in {:.0} CPU s, {:.0} MB, {ef}: {:.0} us of CPU a question, p99 {:.0} us on the wall",
            figure("build_s"),
            figure("memory_mb"),
            figure("query_us"),
            figure("p99_us")
        ));
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
