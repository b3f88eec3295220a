//! The Node package under query builders and mappers, and its examples; see `node-binding/orms/run.js`.

use std::process::Command;

use anyhow::Result;

use crate::shell::{self, Workspace};

/// Runs the programs on the package as it was built, with a second device by the `kith` that was built.
pub fn run(workspace: &Workspace) -> Result<()> {
    let kith = workspace.target.join("debug").join(format!("kith{}", std::env::consts::EXE_SUFFIX));
    let mut node = Command::new("node");
    // Installed once, and used again by every clone.
    node.env("KITHDB_ORMS_CACHE", shell::cache_folder()?.join("kithdb-orms")).env("KITH", kith);
    shell::run(node.arg(workspace.root.join("node-binding/orms/run.js")))
}
