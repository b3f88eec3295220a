//! Programs that the system must have: looked for, installed where apt and root allow it, otherwise named in one command.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio, id};

use anyhow::{Context, Result, bail};

use crate::node;
use crate::shell;

/// A program of the system, and the packages that bring it.
#[derive(Clone, Copy)]
pub struct Need {
    name: &'static str,
    purpose: &'static str,
    is_present: fn() -> bool,
    /// One name for each of [`MANAGERS`]; an empty one is a program that comes with the system's developer tools.
    packages: [&'static str; 4],
}

/// How each package manager is told to install, in the order of [`Need::packages`].
const MANAGERS: [(&str, &str); 4] = [
    ("apt-get", "apt-get update && sudo apt-get install -y"),
    ("dnf", "dnf install -y"),
    ("pacman", "pacman -S --needed"),
    ("brew", "brew install"),
];

/// The compiler that SQLite and zstd are built with.
pub const C_COMPILER: Need = Need {
    name: "a C compiler with its headers",
    purpose: "SQLite is built from source",
    is_present: || cfg!(windows) || preprocesses("CC", "cc", "c", "#include <stdlib.h>\n"),
    packages: ["build-essential", "gcc", "base-devel", ""],
};

/// The compiler that libFuzzer is built with.
pub const CPP_COMPILER: Need = Need {
    name: "a C++ compiler with its headers",
    purpose: "the fuzz targets link libFuzzer",
    is_present: || cfg!(windows) || preprocesses("CXX", "c++", "c++", "#include <cstdlib>\n"),
    packages: ["build-essential", "gcc-c++", "base-devel", ""],
};

/// SQLite's own shell.
pub const SQLITE_SHELL: Need = Need {
    name: "the sqlite3 shell",
    purpose: "a test opens a synced file with stock SQLite",
    is_present: || shell::succeeds(Command::new("sqlite3").arg("--version")),
    packages: ["sqlite3", "sqlite", "sqlite", "sqlite"],
};

/// Node.js.
pub const NODE: Need = Need {
    name: "Node.js 18 or newer",
    purpose: "the Node package is tested on it",
    is_present: || shell::succeeds(Command::new("node").arg("--version")),
    packages: ["nodejs", "nodejs", "nodejs", "node"],
};

/// What builds addons from source is written in it, and libraries that ours is measured against are called from it.
pub const PYTHON: Need = Need {
    name: "Python 3",
    purpose: "what ours is held against is built from source or called with it",
    is_present: || shell::succeeds(Command::new("python3").arg("--version")),
    packages: ["python3", "python3", "python", "python"],
};

/// What modules of Python are compiled against.
pub const PYTHON_HEADERS: Need = Need {
    name: "the headers of Python 3",
    purpose: "hnswlib, which ours is measured against, is built from source",
    is_present: || {
        let look =
            "import os, sysconfig; assert os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h'))";
        shell::succeeds(Command::new("python3").args(["-c", look]))
    },
    packages: ["python3-dev", "python3-devel", "python", "python"],
};

/// What packages of Python are installed into.
pub const PYTHON_VENV: Need = Need {
    name: "the venv module of Python 3",
    purpose: "the libraries that ours is measured against get an environment of their own",
    is_present: || shell::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])),
    packages: ["python3-venv", "python3", "python", "python"],
};

/// What addons are built with.
pub const MAKE: Need = Need {
    name: "make",
    purpose: "the original packages for Node are built from source",
    is_present: || cfg!(windows) || shell::succeeds(Command::new("make").arg("--version")),
    packages: ["build-essential", "make", "base-devel", ""],
};

/// What addons for Node are compiled against.
pub const NODE_HEADERS: Need = Need {
    name: "the headers of Node.js",
    purpose: "the original packages for Node are built from source; without the headers they are fetched",
    is_present: node::has_headers,
    packages: ["libnode-dev", "nodejs-devel", "nodejs", "node"],
};

/// Node's package manager.
pub const NPM: Need = Need {
    name: "npm",
    purpose: "it brings WordNet 3.1, and the packages that the one for Node is held against",
    is_present: || shell::succeeds(npm().arg("--version")),
    packages: ["npm", "nodejs-npm", "npm", "node"],
};

/// Starts an npm command; on Windows npm is a script with a name of its own.
pub fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

fn preprocesses(variable: &str, default: &str, language: &str, text: &str) -> bool {
    let compiler = env::var_os(variable).unwrap_or_else(|| OsString::from(default));
    // The variable may hold arguments too, as in `ccache gcc`.
    let compiler = compiler.to_string_lossy();
    let mut words = compiler.split_whitespace();
    let Some(program) = words.next() else { return false };
    let child = Command::new(program)
        .args(words)
        .args(["-E", "-x", language, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let written = child.stdin.take().is_some_and(|mut input| input.write_all(text.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}

/// Sets up what is missing, or fails with the one command to run.
pub fn require(needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("missing: {} ({})", need.name, need.purpose);
    }
    if can_install() {
        install(&missing)?;
    }
    let missing: Vec<_> = missing.into_iter().filter(|need| !(need.is_present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|need| need.name).collect();
    bail!("missing: {}; {}", names.join(", "), remedy(&missing))
}

/// Sets up one program that is not needed; returns whether it is there and says what to do if it is not.
pub fn offer(need: Need) -> bool {
    if (need.is_present)() {
        return true;
    }
    if can_install()
        && let Err(error) = install(&[need])
    {
        println!("{error:#}");
    }
    let is_present = (need.is_present)();
    if !is_present {
        println!("not there: {} ({}); {}", need.name, need.purpose, remedy(&[need]));
    }
    is_present
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().filter(|need| !(need.is_present)()).copied().collect()
}

fn can_install() -> bool {
    let is_root = shell::output(Command::new("id").arg("-u")).is_ok_and(|user| user.trim() == "0");
    is_root && shell::succeeds(Command::new("apt-get").arg("--version"))
}

fn install(needs: &[Need]) -> Result<()> {
    let folder = env::temp_dir().join(format!("kithdb-apt-{}", id()));
    fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    open_to_all(&folder)?;
    let packages = packages_of(needs, 0);
    println!("installing {}", packages.join(" "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("TMPDIR", &folder).arg("--quiet");
        apt
    };
    let result = shell::run(apt().arg("update"))
        .and_then(|()| shell::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&packages)));
    // A leftover folder in the system's own temporary folder does no harm.
    let _ = fs::remove_dir_all(&folder);
    result
}

/// apt checks signatures as a user of its own, who must be able to write to the temporary folder.
#[cfg(unix)]
fn open_to_all(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o1777))
        .with_context(|| format!("could not open {} to apt", folder.display()))
}

#[cfg(not(unix))]
fn open_to_all(_folder: &std::path::Path) -> Result<()> {
    Ok(())
}

fn remedy(needs: &[Need]) -> String {
    for (index, (program, command)) in MANAGERS.iter().enumerate() {
        if !shell::succeeds(Command::new(program).arg("--version")) {
            continue;
        }
        let packages = packages_of(needs, index);
        if packages.is_empty() {
            return "run: xcode-select --install".to_owned();
        }
        let sudo = if *program == "brew" { "" } else { "sudo " };
        return format!("run: {sudo}{command} {}", packages.join(" "));
    }
    "install it with your system's package manager".to_owned()
}

fn packages_of(needs: &[Need], manager: usize) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        needs.iter().filter_map(|need| need.packages.get(manager).copied()).filter(|name| !name.is_empty()).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_package_for_two_needs_is_named_once() {
        assert_eq!(packages_of(&[CPP_COMPILER, SQLITE_SHELL, C_COMPILER], 0), ["build-essential", "sqlite3"]);
    }

    #[test]
    fn missing_program_is_reported() {
        let absent = Need { is_present: || false, ..NPM };
        let present = Need { is_present: || true, ..NPM };
        assert_eq!(missing(&[absent, present]).len(), 1);
    }
}
