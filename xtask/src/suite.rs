//! `cargo xtask test`: everything that proves that it works.

use std::env;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::node::{self, Profile};
use crate::shell::{self, Stages, Workspace};
use crate::{fuzz, mappers, model, search, setup, tools};

/// Runs all tests, prints the time of each stage and fails if one failed.
pub fn run(workspace: &Workspace) -> Result<()> {
    setup::require(&[setup::C_COMPILER, setup::CPP_COMPILER, setup::SQLITE_SHELL, setup::NODE])?;
    announce_test_data()?;
    let mut stages = Stages::default();
    // The end-to-end tests start the program itself.
    stages.run("build kith", || shell::run(workspace.cargo().args(["build", "--package", "kithdb", "--bin", "kith"])));
    stages.run("tests", || tests(workspace));
    stages.run("the engine hnsw_rs", || {
        shell::run(workspace.cargo().args([
            "test",
            "--package",
            "kithdb-vector",
            "--features",
            "hnsw-rs",
            "--test",
            "engine_hnsw_rs",
        ]))
    });
    stages.run("vec0 against sqlite-vec", || {
        let extension = search::sqlite_vec()?;
        let example = ["run", "--package", "kithdb-search", "--example", "vec0_differential", "--", "--extension"];
        shell::run(workspace.cargo().args(example).arg(extension))
    });
    stages.run("embedding models in folders", || model::test(workspace));
    stages
        .run("examples in the documentation", || shell::run(workspace.cargo().args(["test", "--doc", "--workspace"])));
    stages.run("Node package", || {
        node::build(workspace, Profile::Debug)?;
        node::types::run(workspace)?;
        node::conformance::ours(workspace)?;
        node::dist::test(workspace)
    });
    stages.run("Node package's tests on the originals", || node::conformance::originals(workspace));
    stages.run("Node package under mappers", || mappers::run(workspace));
    stages.run("fuzz targets, briefly", || fuzz::run(workspace));
    stages.finish()
}

fn announce_test_data() -> Result<()> {
    if let Some(folder) = env::var_os("KITHDB_TEST_DATA") {
        let folder = Path::new(&folder);
        ensure!(folder.is_dir(), "KITHDB_TEST_DATA names {}, which is not a folder", folder.display());
        println!("real data for the tests that use some: {}", folder.display());
    }
    Ok(())
}

fn tests(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    match tools::NEXTEST.ensure(workspace) {
        Ok(nextest) => {
            let arguments = ["nextest", "run", "--workspace", "--no-fail-fast", "--failure-output", "immediate-final"];
            cargo.env("PATH", tools::path_with(&nextest)?).args(arguments);
        }
        Err(error) => {
            println!("{error:#}\ngoing on with `cargo test`");
            cargo.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
        }
    }
    shell::run(&mut cargo)
}
