//! Builds every fuzz target of `tests/fuzz` and runs each for a few seconds.
//!
//! The targets are built on stable Rust with the compiler's own coverage passes, in a target folder of their own,
//! because the flags differ from those of everything else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::shell::{self, Workspace};

/// What cargo-fuzz passes on nightly, without the sanitizer that stable does not have.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

const SECONDS_DEFAULT: u32 = 5;

/// The crate of the fuzz targets.
const FOLDER: &str = "tests/fuzz";

/// Returns the Cargo.toml of the fuzz targets, if there are any.
pub fn manifest(workspace: &Workspace) -> Option<PathBuf> {
    Some(workspace.root.join(FOLDER).join("Cargo.toml")).filter(|manifest| manifest.is_file())
}

/// Builds and runs the targets for `KITHDB_FUZZ_SECONDS` each.
pub fn run(workspace: &Workspace) -> Result<()> {
    let Some(manifest) = manifest(workspace) else {
        println!("there are no fuzz targets yet: {FOLDER}/Cargo.toml is missing");
        return Ok(());
    };
    let crate_folder = workspace.root.join(FOLDER);
    let seconds = match env::var("KITHDB_FUZZ_SECONDS") {
        Ok(text) => {
            text.parse().with_context(|| format!("KITHDB_FUZZ_SECONDS is `{text}`, not a number of seconds"))?
        }
        Err(_) => SECONDS_DEFAULT,
    };
    let targets = target_names(workspace, &manifest)?;
    ensure!(!targets.is_empty(), "{} has no [[bin]]", manifest.display());
    let host = host_triple(workspace)?;
    let target_folder = workspace.target.join("fuzz");

    let mut build = workspace.cargo();
    build
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("CARGO_TARGET_DIR", &target_folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["build", "--bins", "--target", &host, "--manifest-path"])
        .arg(&manifest);
    shell::run(&mut build)?;

    let binaries = target_folder.join(&host).join("debug");
    let width = thread::available_parallelism().map_or(1, usize::from);
    let mut crashes = Vec::new();
    for names in targets.chunks(width) {
        let runs: Vec<_> = names
            .iter()
            .map(|name| {
                let command = target_command(name, &binaries, &target_folder, &crate_folder, seconds);
                thread::spawn(move || command.and_then(|mut command| Ok(command.output()?)))
            })
            .collect();
        for (name, run) in names.iter().zip(runs) {
            let Ok(output) = run.join() else { bail!("the thread that ran {name} panicked") };
            let output = output.with_context(|| format!("could not run the fuzz target {name}"))?;
            let report = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                println!("{name}: {}", report.lines().rfind(|line| line.starts_with("Done ")).unwrap_or("done"));
            } else {
                println!("{name}: {}\n{report}", output.status);
                crashes.push(name.as_str());
            }
        }
    }
    ensure!(
        crashes.is_empty(),
        "crashed: {}; the inputs are in {}",
        crashes.join(", "),
        target_folder.join("artifacts").display()
    );
    Ok(())
}

fn target_command(
    name: &str,
    binaries: &Path,
    target_folder: &Path,
    crate_folder: &Path,
    seconds: u32,
) -> Result<Command> {
    let artifacts = target_folder.join("artifacts");
    // libFuzzer writes what it finds to the first corpus it is given, so the committed one comes second.
    let found = target_folder.join("corpus").join(name);
    for folder in [&artifacts, &found] {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    let mut command = Command::new(binaries.join(format!("{name}{}", env::consts::EXE_SUFFIX)));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg("-rss_limit_mb=2048")
        .arg(format!("-artifact_prefix={}", artifacts.join(format!("{name}-")).display()))
        .arg(found);
    let committed = crate_folder.join("corpus").join(name);
    if committed.is_dir() {
        command.arg(committed);
    }
    Ok(command)
}

fn target_names(workspace: &Workspace, manifest: &Path) -> Result<Vec<String>> {
    let mut metadata = workspace.cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"]).arg(manifest);
    let metadata: Value = serde_json::from_str(&shell::output(&mut metadata)?)?;
    let targets = metadata["packages"].as_array().into_iter().flatten().flat_map(|package| {
        package["targets"].as_array().into_iter().flatten().filter(|target| target["kind"][0] == "bin")
    });
    Ok(targets.filter_map(|target| target["name"].as_str()).map(str::to_owned).collect())
}

fn host_triple(workspace: &Workspace) -> Result<String> {
    let version = shell::output(workspace.cargo().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo -vV` names no host")?.to_owned())
}
