//! The project's own rules, which no other tool knows.
//!
//! Each rule is a function from a file's path and text to what it finds, so that a test can break it.

mod compat;
mod crates;
mod links;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{self, Workspace};

/// Checks every file of the clone and the dependencies between crates.
pub fn run(workspace: &Workspace) -> Result<()> {
    let paths = files(workspace)?;
    let mut findings = Vec::new();
    for path in &paths {
        let bytes = fs::read(workspace.root.join(path)).with_context(|| format!("could not read {path}"))?;
        // What is not text has no lines to judge.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(source::findings(path, &text));
        if path.ends_with(".md") {
            findings.extend(links::findings(path, &text, &paths));
        }
    }
    let read = |path: &str| fs::read_to_string(workspace.root.join(path)).ok();
    let compat = read(compat::DOCUMENT).with_context(|| format!("could not read {}", compat::DOCUMENT))?;
    findings.extend(compat::findings(&compat, &paths, read));
    findings.extend(crates::findings(workspace)?);
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "tidy: {} in {} files", findings.len(), paths.len());
    println!("{} files are tidy", paths.len());
    Ok(())
}

/// The files that are in the clone or would be added to it, with `/` between their folders.
fn files(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = shell::output(&mut git).context("tidy judges the files that git knows of")?;
    let paths = list.split('\0').filter(|path| workspace.root.join(path).is_file());
    Ok(paths.map(str::to_owned).collect())
}
