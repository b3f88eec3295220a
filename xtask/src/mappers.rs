//! The Node package under query builders and mappers, and its examples; see `node-binding/orms/run.js`.

use std::process::Command;

use anyhow::Result;

use crate::node::originals::{BETTER_SQLITE3_12, BETTER_SQLITE3_13, SQLITE3_6};
use crate::node::runtime::Runtime;
use crate::setup;
use crate::shell::{self, Workspace};

/// Runs the programs on the package as it was built, with a second device by the `kith` that was built.
pub fn run(workspace: &Workspace) -> Result<()> {
    setup::require(&[setup::NPM])?;
    let kith = workspace.target.join("debug").join(format!("kith{}", std::env::consts::EXE_SUFFIX));
    let mut node = Command::new("node");
    for (variable, original) in [
        ("KITHDB_BETTER_SQLITE3_12", &BETTER_SQLITE3_12),
        ("KITHDB_BETTER_SQLITE3_13", &BETTER_SQLITE3_13),
        ("KITHDB_SQLITE3", &SQLITE3_6),
    ] {
        node.env(variable, original.ensure()?);
    }
    node.env("KITHDB_NODE_26", Runtime::Node26.ensure()?);
    // Installed once, and used again by every clone.
    node.env("KITHDB_ORMS_CACHE", shell::cache_folder()?.join("kithdb-orms")).env("KITH", kith);
    shell::run(node.arg(workspace.root.join("node-binding/orms/run.js")))
}
