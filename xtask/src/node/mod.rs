//! The Node package: measured, tested and packed.

pub mod bench;
pub mod conformance;
pub mod dist;
pub mod originals;
pub mod runtime;
pub mod types;

pub use runtime::has_headers;

use std::process::Command;

use anyhow::Result;

use crate::shell::{self, Workspace};

/// How the addon is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For tests; the project's profile for them is optimised too.
    Debug,
    /// For measuring, and for users.
    Release,
}

/// Builds the addon and puts it where the package loads it.
pub fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut build = Command::new("node");
    build.arg(workspace.root.join("node-binding").join("build.js"));
    if profile == Profile::Debug {
        build.arg("--debug");
    }
    shell::run(&mut build)
}
