//! The package's types: programs in `node-binding/types` compile against them, and the mistakes in those programs are found.
//!
//! Each file says what is right and, after `@ts-expect-error`, what is not; TypeScript fails where such a line is right. The files in
//! `drop-in` are written against the originals' types, and compile against those too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::node::dist::{copy_folder, renew, write};
use crate::node::originals::{SQLITE3_6, fetch};
use crate::shell::{self, Workspace};

/// The last one written in JavaScript, and the first one that is not.
const TYPESCRIPT: [&str; 2] = ["5.9.3", "7.0.2"];
const NODE_TYPES_VERSION: &str = "26.6.6";
const BETTER_SQLITE3_TYPES_VERSION: &str = "9.6.0";

/// How the module of node:sqlite's types is called in a program that takes either.
const NODE_SQLITE: &str = "export * from 'node:sqlite';\nexport { default } from 'node:sqlite';\n";

/// Compiles every program, the drop-ins on the originals' types first.
pub fn run(workspace: &Workspace) -> Result<()> {
    let programs = workspace.root.join("node-binding").join("types");
    let place = workspace.target.join("dist").join("types");
    renew(&place)?;
    let better_sqlite3 = fetch("@types/better-sqlite3", BETTER_SQLITE3_TYPES_VERSION)?;
    let on_originals = place.join("originals");
    copy_folder(&programs.join("drop-in"), &on_originals)?;
    fs::write(on_originals.join("subject.d.mts"), NODE_SQLITE)?;
    let paths = json!({
        "better-sqlite3": [better_sqlite3.join("index.d.ts")],
        "sqlite3": [SQLITE3_6.ensure()?.join("lib").join("sqlite3.d.ts")],
        "subject": ["./subject.d.mts"],
    });
    // The originals' types are not ours to judge.
    configure(&on_originals, &paths, true)?;

    let on_ours = place.join("ours");
    copy_folder(&programs, &on_ours)?;
    let packages = on_ours.join("node_modules");
    let source = workspace.root.join("node-binding");
    // As npm has it where an alias is used.
    for name in ["kithdb", "better-sqlite3"] {
        copy_folder(&source.join("lib"), &packages.join(name).join("lib"))?;
        fs::copy(source.join("package.json"), packages.join(name).join("package.json"))?;
    }
    for name in ["sqlite3", "@kithdb/sqlite3"] {
        copy_folder(&source.join("alias").join("sqlite3"), &packages.join(name))?;
    }
    let paths = json!({ "subject": ["./node_modules/kithdb/lib/node-sqlite/index.d.mts"] });
    configure(&on_ours, &paths, false)?;

    for version in TYPESCRIPT {
        let compiler = fetch("typescript", version)?.join("bin").join("tsc");
        for (what, folder) in [("the originals' types", &on_originals), ("ours", &on_ours)] {
            println!("-- TypeScript {version} on {what}");
            shell::run(Command::new("node").current_dir(folder).arg(&compiler).args(["--project", "."]))?;
        }
    }
    Ok(())
}

/// Writes what TypeScript is to know of a folder: strict, as Node resolves modules, the libraries' types checked too unless told otherwise.
fn configure(folder: &Path, paths: &Value, skips_libraries: bool) -> Result<()> {
    let node = fetch("@types/node", NODE_TYPES_VERSION)?;
    let roots = node.parent().map(PathBuf::from).context("@types/node has no folder above it")?;
    let configuration = json!({
        "compilerOptions": {
            "strict": true,
            "noEmit": true,
            "module": "nodenext",
            "target": "es2022",
            "lib": ["es2022", "esnext.disposable"],
            "types": ["node"],
            "typeRoots": [roots],
            "paths": paths,
            "skipLibCheck": skips_libraries,
        },
        "include": ["**/*.mts", "**/*.cts"],
    });
    write(&folder.join("tsconfig.json"), &configuration)
}
