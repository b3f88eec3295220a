//! The libraries that ours is measured against, at fixed versions, set up once into a folder outside the clone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Need};
use crate::shell;

/// hnswlib has no binaries there and is built; apsw is the SQLite that loads sqlite-vec.
const PACKAGES: [&str; 5] = ["hnswlib==0.8.0", "usearch==2.26.6", SQLITE_VEC, "apsw==3.54.1.0", "numpy==2.4.6"];

/// The one that ours stands in for.
const SQLITE_VEC: &str = "sqlite-vec==0.1.9";

/// Returns the Python that has them all, setting it up first where it is missing.
pub fn ensure() -> Result<PathBuf> {
    let needs = [setup::PYTHON, setup::PYTHON_VENV, setup::PYTHON_HEADERS, setup::CPP_COMPILER];
    environment("search-peers", &PACKAGES, &needs)
}

/// Returns the file of sqlite-vec, which is fetched first where it is missing; nothing is built for it.
pub fn sqlite_vec() -> Result<PathBuf> {
    let python = environment("sqlite-vec", &[SQLITE_VEC], &[setup::PYTHON, setup::PYTHON_VENV])?;
    let path =
        shell::output(Command::new(python).args(["-c", "import sqlite_vec; print(sqlite_vec.loadable_path())"]))?;
    let suffix = if cfg!(windows) {
        "dll"
    } else if cfg!(target_os = "macos") {
        "dylib"
    } else {
        "so"
    };
    Ok(PathBuf::from(path.trim()).with_extension(suffix))
}

/// Returns the Python of an environment that has the packages, setting it up first where it is missing.
fn environment(name: &str, packages: &[&str], needs: &[Need]) -> Result<PathBuf> {
    let folder = shell::cache_folder()?.join("kithdb-tools").join(name);
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // Written last, so that what was interrupted is done again, and names what is there, so that other versions are set up anew.
    let mark = folder.join("complete");
    let wanted = packages.join("\n");
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    setup::require(needs)?;
    println!("setting up {} in {} (once)", packages.join(", "), folder.display());
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    shell::run(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages),
    )?;
    fs::write(&mark, wanted).with_context(|| format!("could not write {}", mark.display()))?;
    Ok(python)
}
