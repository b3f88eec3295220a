//! `cargo xtask check`: everything that can be judged without running the product.

use std::process::Command;

use anyhow::Result;

use crate::shell::{self, Stages, Workspace};
use crate::{fuzz, setup, tidy, tools};

/// What clippy holds against the libraries beyond what it holds against tests and binaries.
const LIBRARY_LINTS: [&str; 4] =
    ["-Dclippy::unwrap_used", "-Dclippy::expect_used", "-Dclippy::print_stdout", "-Dclippy::print_stderr"];

/// What the default build leaves out, since it is heavy, is held to the same.
const FEATURES: [&str; 2] = ["--features", "kithdb-search/local-models"];

/// Runs every check, prints their times and fails if one failed.
pub fn run(workspace: &Workspace) -> Result<()> {
    setup::require(&[setup::C_COMPILER])?;
    let mut stages = Stages::default();
    stages.run("fmt", || {
        shell::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
        // The fuzz targets are a workspace of their own.
        match fuzz::manifest(workspace) {
            Some(manifest) => shell::run(workspace.cargo().args(["fmt", "--check", "--manifest-path"]).arg(manifest)),
            None => Ok(()),
        }
    });
    stages.run("tidy", || tidy::run(workspace));
    stages.run("typos", || {
        let typos = tools::TYPOS.ensure(workspace)?;
        shell::run(Command::new(typos).current_dir(&workspace.root).args(["--format", "brief"]))
    });
    stages.run("unused dependencies (machete)", || {
        let machete = tools::MACHETE.ensure(workspace)?;
        shell::run(Command::new(machete).current_dir(&workspace.root).arg("--skip-target-dir"))
    });
    stages.run("bans, licences, sources (deny)", || {
        let deny = tools::DENY.ensure(workspace)?;
        println!("advisories were skipped: they need a network (by hand: `cargo deny check advisories`)");
        let mut deny = Command::new(deny);
        deny.current_dir(&workspace.root);
        // Crates in two versions are only a warning, of many lines each; by hand: `cargo deny check bans`.
        deny.args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
        shell::run(&mut deny)
    });
    stages.run("clippy", || {
        let mut clippy = workspace.cargo();
        shell::run(clippy.args(["clippy", "--workspace", "--all-targets"]).args(FEATURES).args(["--", "-Dwarnings"]))
    });
    stages.run("clippy, libraries", || {
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--workspace", "--exclude", "kithdb-tests", "--lib"]).args(FEATURES);
        shell::run(clippy.args(["--", "-Dwarnings"]).args(LIBRARY_LINTS))
    });
    stages.finish()
}
