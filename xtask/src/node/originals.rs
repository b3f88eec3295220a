//! The packages that ours stands in for, at fixed versions, set up once into a folder outside the clone.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::node::runtime::{Runtime, facts_of_system};
use crate::setup;
use crate::shell;

/// A package of npm that ours is held against.
#[derive(Debug)]
pub struct Original {
    /// What people call it, with its generation.
    pub name: &'static str,
    package: &'static str,
    version: &'static str,
    /// The Node that it runs on here.
    pub runtime: Runtime,
    /// Whether its addon is built from source, for want of one that runs on that Node.
    is_built: bool,
}

/// The synchronous one, in the generation that runs on old versions of Node too.
pub const BETTER_SQLITE3_12: Original = Original {
    name: "better-sqlite3 12",
    package: "better-sqlite3",
    version: "12.11.1",
    runtime: Runtime::System,
    is_built: true,
};

/// The synchronous one, in its newest generation, which needs Node 22.
pub const BETTER_SQLITE3_13: Original = Original {
    name: "better-sqlite3 13",
    package: "better-sqlite3",
    version: "13.2.0",
    runtime: Runtime::Node26,
    is_built: false,
};

/// The one with callbacks.
pub const SQLITE3_6: Original =
    Original { name: "sqlite3 6", package: "sqlite3", version: "6.0.1", runtime: Runtime::System, is_built: true };

/// The one whose promises are the shape of `connect`, in the first generation of which all statements' methods return them.
pub const LIBSQL_0_6: Original = Original {
    name: "libsql 0.6",
    package: "libsql",
    version: "0.6.0-pre.41",
    runtime: Runtime::System,
    is_built: false,
};

impl Original {
    /// Returns the package's folder, setting it up first where it is missing.
    pub fn ensure(&self) -> Result<PathBuf> {
        let set_up = if self.is_built { build(self.package, self.version) } else { fetch(self.package, self.version) };
        set_up.with_context(|| format!("could not set up {}", self.name))
    }
}

/// Returns the folder of a package that brings what it needs.
pub fn fetch(package: &str, version: &str) -> Result<PathBuf> {
    install(package, version, "", false)
}

/// Returns the folder of a package whose addon is built for the Node on the PATH.
fn build(package: &str, version: &str) -> Result<PathBuf> {
    install(package, version, &format!("-abi{}", facts_of_system()?.abi), true)
}

/// Installs a package into a folder of its own, from what it brings or built for the Node on the PATH.
fn install(package: &str, version: &str, suffix: &str, is_built: bool) -> Result<PathBuf> {
    let wanted = format!("{package}@{version}");
    let folder = shell::cache_folder()?.join("kithdb-tools").join("npm").join(format!("{wanted}{suffix}"));
    let installed = folder.join("node_modules").join(package);
    // Written last, so that what was interrupted is done again.
    let mark = folder.join("complete");
    if mark.is_file() {
        return Ok(installed);
    }
    setup::require(&[setup::NPM])?;
    println!("{} {wanted} into {} (once)", if is_built { "building" } else { "fetching" }, folder.display());
    fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let mut npm = setup::npm();
    npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"]);
    npm.arg(&folder);
    if is_built {
        setup::require(&[setup::CPP_COMPILER, setup::PYTHON, setup::MAKE])?;
        setup::offer(setup::NODE_HEADERS);
        npm.env("npm_config_build_from_source", "true");
        let facts = facts_of_system()?;
        if facts.has_headers() {
            npm.env("npm_config_nodedir", &facts.prefix);
        }
    } else {
        npm.arg("--ignore-scripts");
    }
    shell::run(npm.arg(&wanted))?;
    ensure!(installed.is_dir(), "npm did not put {package} into {}", folder.display());
    fs::write(&mark, "").with_context(|| format!("could not write {}", mark.display()))?;
    Ok(installed)
}
