//! `cargo xtask bench node`: the package against the originals, by processor time.
//!
//! Each measurement is a fresh process. A round takes the original, ours, and the original once more, so that each ratio stands beside
//! one of a thing against itself; every other round goes the other way about.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::node::originals::{BETTER_SQLITE3_12, BETTER_SQLITE3_13, Original, SQLITE3_6};
use crate::node::runtime::Runtime;
use crate::node::{self, Profile};
use crate::shell::{self, Workspace};
use crate::{measured, setup};

/// One side: a package behind a face that `bench/work.js` knows, or whose methods call back.
struct Arm {
    face: &'static str,
    package: Package,
}

enum Package {
    Ours,
    /// A folder of ours.
    Part(&'static str),
    Original(&'static Original),
    /// One that Node itself brings.
    OfNode,
}

/// Ours against something, on one Node.
struct Comparison {
    name: &'static str,
    runtime: Runtime,
    base: Arm,
    ours: Arm,
    works: &'static [Work],
}

/// What is done on both sides, by the names that `bench/work.js` gives it.
struct Work {
    base: &'static str,
    ours: &'static str,
    at_most: f64,
}

const fn both(work: &'static str, at_most: f64) -> Work {
    Work { base: work, ours: work, at_most }
}

const OURS: Arm = Arm { face: "better-sqlite3", package: Package::Ours };

/// The face that `bench/callbacks.js` measures.
const CALLBACKS: &str = "callbacks";

const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "better-sqlite3 12",
        runtime: BETTER_SQLITE3_12.runtime,
        base: Arm { face: "better-sqlite3", package: Package::Original(&BETTER_SQLITE3_12) },
        ours: OURS,
        works: &[
            both("get", 0.8),
            both("all 100", 0.8),
            both("iterate 100k", 0.8),
            both("all 100k", 0.8),
            both("raw 100k", 0.8),
        ],
    },
    Comparison {
        name: "better-sqlite3 13",
        runtime: BETTER_SQLITE3_13.runtime,
        base: Arm { face: "better-sqlite3", package: Package::Original(&BETTER_SQLITE3_13) },
        ours: OURS,
        works: &[
            both("get", 1.0),
            both("all 100", 1.0),
            both("iterate 100k", 1.0),
            both("all 100k", 1.0),
            both("raw 100k", 1.0),
        ],
    },
    Comparison {
        name: "node:sqlite",
        runtime: Runtime::Node26,
        base: Arm { face: "node:sqlite", package: Package::OfNode },
        ours: OURS,
        works: &[both("insert in a transaction", 1.0), both("autocommit insert", 1.0)],
    },
    Comparison {
        name: "sqlite3 6",
        runtime: SQLITE3_6.runtime,
        base: Arm { face: CALLBACKS, package: Package::Original(&SQLITE3_6) },
        ours: Arm { face: CALLBACKS, package: Package::Part("lib/sqlite3") },
        works: &[both("get", 0.5), both("insert in a transaction", 0.5)],
    },
    Comparison {
        name: "a plain table of ours",
        runtime: Runtime::System,
        base: OURS,
        ours: OURS,
        works: &[
            Work { base: "insert in a transaction", ours: "synced insert in a transaction", at_most: 3.0 },
            Work { base: "autocommit insert", ours: "synced autocommit insert", at_most: 2.0 },
        ],
    },
];

/// Measures all comparisons whose names hold `only`, and prints the table.
pub fn run(workspace: &Workspace, rounds: usize, only: Option<&str>) -> Result<()> {
    ensure!(rounds > 0, "there must be one round at least");
    setup::require(&[setup::C_COMPILER, setup::NODE])?;
    node::build(workspace, Profile::Release)?;
    let bench = Bench {
        scripts: workspace.root.join("node-binding/bench"),
        package: workspace.root.join("node-binding"),
        folder: workspace.target.join("bench-node"),
    };
    let mut table = vec![
        "| against | work | original, CPU ms | ours, CPU ms | ratio (min..max) | original against itself | at most |"
            .to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut left_out = Vec::new();
    for comparison in COMPARISONS.iter().filter(|it| only.is_none_or(|only| it.name.contains(only))) {
        match bench.compare(comparison, rounds) {
            Ok(lines) => table.extend(lines),
            Err(error) => left_out.push(format!("not measured: {}: {error:#}", comparison.name)),
        }
    }
    println!("\n{}, {rounds} rounds\n\n{}", measured::machine(), table.join("\n"));
    ensure!(left_out.is_empty(), "{}", left_out.join("\n"));
    Ok(())
}

struct Bench {
    scripts: PathBuf,
    package: PathBuf,
    /// Where the databases are.
    folder: PathBuf,
}

impl Bench {
    fn compare(&self, comparison: &Comparison, rounds: usize) -> Result<Vec<String>> {
        let node = comparison.runtime.ensure()?;
        let version = shell::output(Command::new(&node).arg("--version"))?.trim().trim_start_matches('v').to_owned();
        let [base, ours] = [&comparison.base, &comparison.ours].map(|arm| self.package_of(&arm.package));
        let (base, ours) = (base?, ours?);
        let mut lines = Vec::new();
        for work in comparison.works {
            println!("{} on Node {version}: {}", comparison.name, work.base);
            let measure_base = || self.measure(&node, comparison.base.face, &base, work.base);
            let measure_ours = || self.measure(&node, comparison.ours.face, &ours, work.ours);
            let measured = measured::alternate(rounds, measure_base, measure_ours)?;
            lines.push(format!(
                "| {}, Node {version} | {} | {:.0} | {:.0} | {} | {} | {:.2}x |",
                comparison.name,
                work.base,
                measured.base(),
                measured.ours(),
                measured.ratio(),
                measured.noise(),
                work.at_most,
            ));
        }
        Ok(lines)
    }

    fn package_of(&self, package: &Package) -> Result<OsString> {
        Ok(match package {
            Package::Ours => self.package.clone().into_os_string(),
            Package::Part(folder) => self.package.join(folder).into_os_string(),
            Package::Original(original) => original.ensure()?.into_os_string(),
            Package::OfNode => "node:sqlite".into(),
        })
    }

    /// Returns the processor time of one piece of work, in milliseconds.
    fn measure(&self, node: &Path, face: &str, package: &OsString, work: &str) -> Result<f64> {
        let file = if work.contains("insert") { self.fresh_file()? } else { self.filled_file()? };
        self.start(node, face, package, work, &file)
    }

    fn start(&self, node: &Path, face: &str, package: &OsString, work: &str, file: &Path) -> Result<f64> {
        let mut child = Command::new(node);
        let script = self.scripts.join(if face == CALLBACKS { "callbacks.js" } else { "work.js" });
        child.env("NODE_NO_WARNINGS", "1").arg(script).arg(face).arg(package).arg(work).arg(file);
        let answer = shell::output(&mut child)?;
        answer.trim().parse().with_context(|| format!("`{}` printed no time", shell::line(&child)))
    }

    fn fresh_file(&self) -> Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let file = self.folder.join("fresh.db");
        // A replica keeps files of its own beside it.
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("fresh.db") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(file)
    }

    /// Returns the file that all reads read, filling it first where it is missing.
    fn filled_file(&self) -> Result<PathBuf> {
        let file = self.folder.join("filled.db");
        if !file.exists() {
            let fresh = self.fresh_file()?;
            self.start(Path::new("node"), OURS.face, &self.package.clone().into(), "insert in a transaction", &fresh)?;
            fs::rename(&fresh, &file).with_context(|| format!("could not rename {}", fresh.display()))?;
        }
        Ok(file)
    }
}
