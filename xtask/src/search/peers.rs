//! The libraries that ours is measured against, at fixed versions, set up once into a folder outside the clone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{setup, shell};

/// hnswlib has no binaries there and is built; apsw is the SQLite that loads sqlite-vec.
const PACKAGES: [&str; 5] =
    ["hnswlib==0.8.0", "usearch==2.26.6", "sqlite-vec==0.1.9", "apsw==3.54.1.0", "numpy==2.4.6"];

/// Returns the Python that has them all, setting it up first where it is missing.
pub fn ensure() -> Result<PathBuf> {
    let folder = shell::cache_folder()?.join("kithdb-tools").join("search-peers");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // Written last, so that what was interrupted is done again, and names what is there, so that other versions are set up anew.
    let mark = folder.join("complete");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    setup::require(&[setup::PYTHON, setup::PYTHON_VENV, setup::PYTHON_HEADERS, setup::CPP_COMPILER])?;
    println!("setting up {} in {} (once)", PACKAGES.join(", "), folder.display());
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    shell::run(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES),
    )?;
    fs::write(&mark, wanted).with_context(|| format!("could not write {}", mark.display()))?;
    Ok(python)
}
