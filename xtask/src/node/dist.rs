//! `cargo xtask dist node`: the package as tarballs that npm installs, without Rust and without an install script.
//!
//! The main package has no binary. Each platform has a package of its own with the addon, of which npm installs the one that fits;
//! `lib/platforms.json` lists them. Only the platform that this runs on is built. The callback face has one more, for an npm alias
//! cannot point into a package.

use std::env::{self, consts};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::node::{self, Profile};
use crate::setup;
use crate::shell::{self, Workspace};

const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
/// Their names for npm, which packs by itself only those without a suffix.
const ALL_LICENCES: &str = "LICENSE-*";

/// Builds the addon for users, packs it into `dist/npm` of the target folder, and tries what it has packed.
pub fn run(workspace: &Workspace) -> Result<()> {
    setup::require(&[setup::C_COMPILER, setup::NODE, setup::NPM])?;
    node::build(workspace, Profile::Release)?;
    let tarballs = pack(workspace, &workspace.target.join("dist").join("npm"))?;
    prove(workspace, &tarballs)?;
    for tarball in tarballs {
        println!("{}", tarball.display());
    }
    Ok(())
}

/// Packs the addon as it was built, and tries what it has packed.
pub fn test(workspace: &Workspace) -> Result<()> {
    setup::require(&[setup::NPM])?;
    let tarballs = pack(workspace, &workspace.target.join("dist").join("test"))?;
    prove(workspace, &tarballs)
}

/// Installs the tarballs in an empty folder, without a network and without Rust, and runs small programs there.
fn prove(workspace: &Workspace, tarballs: &[PathBuf; 3]) -> Result<()> {
    let app = workspace.target.join("dist").join("app");
    renew(&app)?;
    let [main, platform, callbacks] = tarballs.each_ref().map(|tarball| format!("file:{}", tarball.display()));
    let name = format!("@kithdb/{}", text(&platform_of_host(workspace)?, "name")?);
    let dependencies = json!({ "kithdb": main, "better-sqlite3": main, "sqlite3": callbacks, name.as_str(): platform });
    let manifest = json!({ "private": true, "dependencies": dependencies });
    write(&app.join("package.json"), &manifest)?;
    let path = path_without_cargo()?;
    let mut npm = setup::npm();
    npm.current_dir(&app).env("PATH", &path).args([
        "install",
        "--offline",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]);
    shell::run(&mut npm)?;

    for package in ["kithdb", "sqlite3", name.as_str()] {
        for licence in LICENCES {
            let place = app.join("node_modules").join(package).join(licence);
            ensure!(place.exists(), "{} was not packed", place.display());
        }
    }

    let run = |program: &str| {
        // Programs find packages from where they are.
        let place = app.join(program);
        fs::copy(workspace.root.join("node-binding").join("packed").join(program), &place)?;
        shell::run(Command::new("node").current_dir(&app).env("PATH", &path).arg(&place))
    };
    run("required.cjs")?;
    run("imported.mjs")?;
    fs::remove_dir_all(app.join("node_modules").join("@kithdb"))?;
    run("missing.cjs")
}

/// Packs the main package, that of this platform, and that of the callback face, in this order.
fn pack(workspace: &Workspace, destination: &Path) -> Result<[PathBuf; 3]> {
    let source = workspace.root.join("node-binding");
    let stage = destination.join("stage");
    renew(destination)?;

    let manifest = read(&source.join("package.json"))?;
    let version = text(&manifest, "version")?.to_owned();
    let platforms = platforms(workspace)?;
    let names: Result<Map<_, _>> = platforms
        .iter()
        .map(|platform| Ok((format!("@kithdb/{}", text(platform, "name")?), Value::from(version.as_str()))))
        .collect();
    let main = stage.join("kithdb");
    copy_folder(&source.join("lib"), &main.join("lib"))?;
    let main_manifest = without(&manifest, &["private", "scripts"])
        .chain([
            ("files".to_owned(), json!(["lib", ALL_LICENCES])),
            ("optionalDependencies".to_owned(), Value::Object(names?)),
        ])
        .collect();
    write(&main.join("package.json"), &Value::Object(main_manifest))?;

    let platform = platform_of_host(workspace)?;
    let name = text(&platform, "name")?;
    let folder = stage.join(name);
    fs::create_dir_all(&folder)?;
    let addon = folder.join("kithdb.node");
    fs::copy(source.join("build").join("kithdb.node"), &addon).context("the addon was not built")?;
    strip(&addon)?;
    let mut platform_manifest = json!({
        "name": format!("@kithdb/{name}"),
        "version": version,
        "description": format!("The addon of kithdb for {name}."),
        "license": manifest["license"],
        "engines": manifest["engines"],
        "main": "kithdb.node",
        "files": ["kithdb.node", ALL_LICENCES],
        "os": [platform["os"]],
        "cpu": [platform["cpu"]],
    });
    if let Some(libc) = platform.get("libc") {
        platform_manifest["libc"] = json!([libc]);
    }
    write(&folder.join("package.json"), &platform_manifest)?;
    fs::write(
        folder.join("README.md"),
        format!("The addon of [kithdb](https://www.npmjs.com/package/kithdb) for {name}; install that.\n"),
    )?;
    fs::copy(source.join("README.md"), main.join("README.md"))?;
    let callbacks = stage.join("sqlite3");
    copy_folder(&source.join("alias").join("sqlite3"), &callbacks)?;
    let callbacks_manifest = without(&read(&callbacks.join("package.json"))?, &["private", "files"])
        .chain([("files".to_owned(), json!(["index.*", ALL_LICENCES]))])
        .collect();
    write(&callbacks.join("package.json"), &Value::Object(callbacks_manifest))?;
    for folder in [&main, &folder, &callbacks] {
        for licence in LICENCES {
            fs::copy(workspace.root.join(licence), folder.join(licence))?;
        }
    }
    for other in platforms.iter().filter(|other| **other != platform) {
        println!("not built here: {} ({})", text(other, "name")?, text(other, "target")?);
    }
    Ok([tarball(&main, destination)?, tarball(&folder, destination)?, tarball(&callbacks, destination)?])
}

/// Has npm make a folder a tarball, and returns its path.
fn tarball(folder: &Path, destination: &Path) -> Result<PathBuf> {
    let mut npm = setup::npm();
    npm.current_dir(folder).args(["pack", "--silent", "--ignore-scripts", "--pack-destination"]).arg(destination);
    let name = shell::output(&mut npm)?;
    Ok(destination.join(name.trim()))
}

/// Takes out what only a debugger reads.
fn strip(addon: &Path) -> Result<()> {
    match consts::OS {
        // There it lies in a file of its own.
        "windows" => Ok(()),
        "macos" => shell::run(Command::new("strip").arg("-x").arg(addon)),
        _ => shell::run(Command::new("strip").arg("--strip-unneeded").arg(addon)),
    }
}

fn platforms(workspace: &Workspace) -> Result<Vec<Value>> {
    let path = workspace.root.join("node-binding").join("lib").join("platforms.json");
    serde_json::from_value(read(&path)?).with_context(|| format!("{} is no list", path.display()))
}

/// Returns the platform that this runs on, in Node's words for it.
fn platform_of_host(workspace: &Workspace) -> Result<Value> {
    let os = match consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let cpu = match consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let is_host = |platform: &Value| platform["os"] == os && platform["cpu"] == cpu;
    platforms(workspace)?.into_iter().find(is_host).with_context(|| format!("there is no package for {os} on {cpu}"))
}

/// Returns the PATH without the folders that hold cargo, as on a machine without Rust.
fn path_without_cargo() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let has_cargo = |folder: &PathBuf| folder.join(format!("cargo{}", consts::EXE_SUFFIX)).exists();
    Ok(env::join_paths(env::split_paths(&path).filter(|folder| !has_cargo(folder)))?)
}

fn without<'v>(manifest: &'v Value, names: &'v [&str]) -> impl Iterator<Item = (String, Value)> + 'v {
    let entries = manifest.as_object().into_iter().flatten();
    entries.filter(|(name, _)| !names.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone()))
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value[name].as_str().with_context(|| format!("{name} is no text"))
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

pub fn write(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n")).with_context(|| format!("could not write {}", path.display()))
}

/// Makes a folder that is empty.
pub fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))
}

pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}
