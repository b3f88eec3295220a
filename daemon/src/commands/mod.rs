//! The commands, one module each.

mod advice;
mod completions;
mod database;
mod doctor;
mod embed;
mod graph;
mod init;
mod inspect;
mod invite;
mod join;
mod search;
mod sql;
mod sync;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use kithdb_core::replica::{OpenOptions, Replica};

pub use self::database::Database;
use crate::cli::Command;
use crate::demo;
use crate::report::Output;

/// Runs a command; what it finds out may be a failure too.
pub fn run(command: Command, output: Output) -> Result<ExitCode> {
    match command {
        Command::Init(arguments) => init::run(&arguments, output),
        Command::Sql(arguments) => sql::run(&arguments, output),
        Command::Search(arguments) => search::run(&arguments, output),
        Command::Embed(arguments) => embed::run(&arguments, output),
        Command::Invite(arguments) => invite::run(&arguments, output),
        Command::Join(arguments) => join::run(&arguments, output),
        Command::Members(arguments) => inspect::members(&arguments.file, output),
        Command::Sync(arguments) => sync::run(&arguments, output),
        Command::Status(arguments) => inspect::status(&arguments.file, output),
        Command::Log(arguments) => inspect::log(&arguments, output),
        Command::Conflicts(arguments) => inspect::conflicts(&arguments.file, output),
        Command::Peers(arguments) => inspect::peers(&arguments.file, output),
        Command::Verify(arguments) => verify::run(&arguments.file, arguments.repair, output),
        Command::Graph(arguments) => graph::run(&arguments, output),
        Command::Doctor(arguments) => doctor::run(&arguments, output),
        Command::Demo(arguments) => demo::run(&arguments, output),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// How long a command waits for another program's lock: `kith sync` on a slow machine holds one for seconds while it takes up a large table.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens a replica.
pub fn open(path: &Path) -> Result<Replica> {
    Ok(Replica::open(path, OpenOptions { busy_timeout: BUSY_TIMEOUT, ..OpenOptions::default() })?)
}

/// Returns the name given, or the machine's.
fn device_name(given: Option<&str>) -> String {
    match given {
        Some(name) => name.to_owned(),
        None => machine_name().filter(|name| !name.is_empty()).unwrap_or_else(|| "device".to_owned()),
    }
}

#[cfg(unix)]
fn machine_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    // The first label of `laptop.example.org`, at most what a device name may have.
    Some(name.split('.').next().unwrap_or_default().chars().take(16).collect())
}

#[cfg(not(unix))]
fn machine_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().map(|name| name.chars().take(16).collect())
}

/// Starts the runtime that the network needs.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads for the network")
}
