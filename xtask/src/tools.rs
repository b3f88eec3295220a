//! Cargo's companions at fixed versions, built once into a folder outside the clone and used again by every clone.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use anyhow::{Context, Result};

use crate::shell::{self, Workspace};

/// A tool of crates.io.
pub struct Tool {
    package: &'static str,
    version: &'static str,
    binary: &'static str,
    /// Any version on the PATH will do.
    any_version: bool,
    arguments: &'static [&'static str],
}

/// Checks licences, sources and bans. Without default features it needs no git or TLS library to build.
pub const DENY: Tool = Tool {
    package: "cargo-deny",
    version: "0.20.2",
    binary: "cargo-deny",
    any_version: false,
    arguments: &["--no-default-features"],
};

/// Finds dependencies that nothing uses.
pub const MACHETE: Tool =
    Tool { package: "cargo-machete", version: "0.9.2", binary: "cargo-machete", any_version: false, arguments: &[] };

/// Finds misspellings.
pub const TYPOS: Tool =
    Tool { package: "typos-cli", version: "1.52.0", binary: "typos", any_version: false, arguments: &[] };

/// Runs tests, each in a process of its own. Without default features it cannot replace itself.
pub const NEXTEST: Tool = Tool {
    package: "cargo-nextest",
    version: "0.9.143",
    binary: "cargo-nextest",
    any_version: true,
    arguments: &["--no-default-features"],
};

impl Tool {
    /// Returns the path of the tool, building it first where it is missing.
    pub fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        let root = shell::cache_folder()?.join("kithdb-tools");
        let built = root.join("bin").join(format!("{}{}", self.binary, env::consts::EXE_SUFFIX));
        for candidate in [built.clone(), PathBuf::from(self.binary)] {
            if self.is_wanted(&candidate) {
                return Ok(candidate);
            }
        }
        self.install(workspace, &root)?;
        Ok(built)
    }

    fn is_wanted(&self, candidate: &Path) -> bool {
        shell::output(Command::new(candidate).arg("--version"))
            .is_ok_and(|text| self.any_version || text.split_whitespace().any(|word| word == self.version))
    }

    fn install(&self, workspace: &Workspace, root: &Path) -> Result<()> {
        println!("building {} {} into {} (once)", self.package, self.version, root.display());
        fs::create_dir_all(root).with_context(|| format!("could not create {}", root.display()))?;
        let mut cargo = workspace.cargo();
        cargo
            // Away from the workspace, whose settings are not meant for the tools.
            .current_dir(root)
            .env("CARGO_TARGET_DIR", root.join("build"))
            .env_remove("RUSTFLAGS")
            .args(["install", "--locked", "--quiet", "--root"])
            .arg(root)
            .args(self.arguments)
            .arg(format!("{}@{}", self.package, self.version));
        shell::run(&mut cargo).with_context(|| format!("could not set up {}", self.package))
    }
}

/// Returns the PATH with the folder of `tool` in front, so that `cargo NAME` finds it.
pub fn path_with(tool: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folder = tool.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_path_buf);
    match folder {
        Some(folder) => Ok(env::join_paths(iter::once(folder).chain(env::split_paths(&path)))?),
        None => Ok(path),
    }
}
