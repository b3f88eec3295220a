//! `kith invite`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kithdb_core::changes::iso_time;
use kithdb_core::error::FileError;
use kithdb_core::file::shell_word;
use kithdb_log::Role;
use serde_json::json;

use super::open;
use crate::cli::{self, Invite};
use crate::report::Output;

/// Prints a ticket, alone on standard output so that it can be piped; what to know about it goes to standard error.
pub fn run(arguments: &Invite, output: Output) -> Result<ExitCode> {
    let role = match arguments.role {
        cli::Role::Writer => Role::Writer,
        cli::Role::Owner => Role::Owner,
    };
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970; set it right")?;
    let expires_unix_ms = u64::try_from((now + arguments.expires).as_millis()).unwrap_or(u64::MAX);
    let mut replica = open(&arguments.file)?;
    if replica.is_read_only() {
        let path = replica.path().unwrap_or(&arguments.file).to_owned();
        return Err(FileError::ReadOnly { path }.into());
    }
    let ticket = kithdb_peer::invite_at(&mut replica, role, expires_unix_ms, &arguments.addresses)?;
    replica.close()?;
    let until = iso_time(expires_unix_ms);
    output.say(&ticket, json!({ "ticket": ticket.to_string(), "role": role.to_string(), "expires_at": until }))?;
    if !output.json {
        eprintln!(
            "One device can join with this ticket until {until}; keep it secret.\n\
             Keep `kith sync {word}` running here, and on the other device: kith join {word} TICKET",
            word = shell_word(&arguments.file)
        );
    }
    Ok(ExitCode::SUCCESS)
}
