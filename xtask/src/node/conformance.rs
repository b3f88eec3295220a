//! The package's tests, on ours and on the originals, which prove what the tests expect.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::node::originals::{BETTER_SQLITE3_12, BETTER_SQLITE3_13, LIBSQL_0_6, Original, SQLITE3_6};
use crate::node::runtime::Runtime;
use crate::shell::{self, Workspace};

/// The tests of one face, which are numbered together, and what they run on beside ours.
struct Face {
    /// The first two digits of the tests' names.
    numbers: RangeInclusive<u32>,
    /// Names the original's folder to the tests.
    variable: &'static str,
    originals: &'static [&'static Original],
}

const FACES: &[Face] = &[
    Face { numbers: 10..=54, variable: "KITHDB_SUBJECT", originals: &[&BETTER_SQLITE3_12, &BETTER_SQLITE3_13] },
    Face { numbers: 55..=59, variable: "KITHDB_LIBSQL_SUBJECT", originals: &[&LIBSQL_0_6] },
    // 79 is about what the original does not have.
    Face { numbers: 70..=78, variable: "KITHDB_SQLITE3_SUBJECT", originals: &[&SQLITE3_6] },
];

/// The numbers of the tests of the face of node:sqlite.
const NODE_SQLITE: RangeInclusive<u32> = 60..=69;

/// Runs all tests on the package as it was built, on each Node.
pub fn ours(workspace: &Workspace) -> Result<()> {
    for runtime in [Runtime::System, Runtime::Node26] {
        let node = runtime.ensure()?;
        println!("-- the package on {}", shell::output(Command::new(&node).arg("--version"))?.trim());
        shell::run(&mut suite(Command::new(node), &tests(workspace, &(0..=99))?))?;
    }
    Ok(())
}

/// Runs the tests of each face on its originals.
pub fn originals(workspace: &Workspace) -> Result<()> {
    for face in FACES {
        let tests = tests(workspace, &face.numbers)?;
        for original in face.originals {
            let folder = original.ensure()?;
            println!("-- {}", original.name);
            let mut node = Command::new(original.runtime.ensure()?);
            node.env(face.variable, folder);
            shell::run(&mut suite(node, &tests)).with_context(|| format!("{} refutes a test", original.name))?;
        }
    }
    // That of node:sqlite is part of Node.
    println!("-- node:sqlite");
    let mut node = Command::new(Runtime::Node26.ensure()?);
    node.env("KITHDB_NODE_SQLITE_SUBJECT", "node:sqlite");
    shell::run(&mut suite(node, &tests(workspace, &NODE_SQLITE)?)).context("node:sqlite refutes a test")
}

/// Returns the tests whose numbers are among these.
fn tests(workspace: &Workspace, numbers: &RangeInclusive<u32>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(workspace.root.join("node-binding").join("test"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.strip_suffix(".test.js").and_then(|name| name.split('.').next()?.parse().ok());
        if number.is_some_and(|number: u32| numbers.contains(&number)) {
            found.push(path);
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "the Node package has no tests numbered {} to {}", numbers.start(), numbers.end());
    Ok(found)
}

fn suite(mut node: Command, tests: &[PathBuf]) -> Command {
    node.args(["--test", "--test-reporter=spec"]).args(tests);
    node
}
