//! Which crate may know of which: the absences of docs/ARCHITECTURE.md.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use crate::shell::{self, Workspace};

/// What a crate must not reach through its normal dependencies, on any platform.
const ABSENCES: [(&str, &[&str]); 6] = [
    ("kithdb-log", PURE),
    ("kithdb-vector", PURE),
    ("kithdb-sync", PURE),
    ("kithdb-search", &["tokio", "libp2p", "kithdb-core"]),
    ("kithdb-core", &["tokio", "libp2p"]),
    ("kithdb-net", &["rusqlite", "libsqlite3-sys"]),
];

/// Time and randomness are arguments of a pure crate; files and sockets are somebody else's.
const PURE: &[&str] = &["tokio", "libp2p", "rusqlite", "getrandom", "rand"];

/// The only crate that may name a dependency; an empty name stands for none.
const NAMED_IN: [(&str, &str); 7] = [
    ("libp2p", "kithdb-net"),
    ("hnsw_rs", "kithdb-vector"),
    ("candle", "kithdb-search"),
    ("ureq", "kithdb-search"),
    ("automerge", ""),
    ("napi", "kithdb-node"),
    ("tauri", ""),
];

/// Returns the dependencies that break the rules.
pub fn findings(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (package, forbidden) in ABSENCES {
        // `cargo metadata` resolves features for the whole workspace at once; the tree of one package is that package's.
        let mut tree = workspace.cargo();
        tree.args(["tree", "--locked", "--quiet", "--package", package, "--edges", "normal", "--target", "all"]);
        tree.args(["--prefix", "none", "--format", "{p}"]);
        findings.extend(reached(package, forbidden, &shell::output(&mut tree)?));
    }
    let mut metadata = workspace.cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    findings.extend(named(&serde_json::from_str(&shell::output(&mut metadata)?)?));
    Ok(findings)
}

/// A crate belongs to a family: `libp2p-quic` to `libp2p`.
fn is_of_family(package: &str, family: &str) -> bool {
    package.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn reached(package: &str, forbidden: &[&str], tree: &str) -> Vec<String> {
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let broken = names.into_iter().filter(|name| forbidden.iter().any(|family| is_of_family(name, family)));
    broken
        .map(|name| format!("{package} must not reach {name}; see: cargo tree -p {package} -e normal -i {name}"))
        .collect()
}

fn named(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let dependency = dependency["name"].as_str().unwrap_or_default();
            for (family, owner) in NAMED_IN {
                if is_of_family(dependency, family) && name != owner {
                    findings.push(format!("{name} must not name {dependency} in its Cargo.toml"));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forbidden_crate_and_its_family_are_reached() {
        let tree = "kithdb-net v0.1.0 (path)\ntokio v1.0.0\nlibp2p-quic v0.1.0\nrand_core v0.10.1\ntokio v1.0.0 (*)\n";
        let found = reached("kithdb-log", PURE, tree);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("libp2p-quic") && found[1].contains("tokio"), "{found:?}");
        assert!(reached("kithdb-net", &["rusqlite"], tree).is_empty());
    }

    #[test]
    fn only_the_owner_names_a_dependency() {
        let metadata = json!({ "packages": [
            { "name": "kithdb-net", "dependencies": [{ "name": "libp2p" }, { "name": "libp2p-stream" }] },
            { "name": "kithdb-peer", "dependencies": [{ "name": "libp2p-stream" }, { "name": "hnsw_rs" }] },
        ] });
        let found = named(&metadata);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
