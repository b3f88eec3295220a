//! `kith join`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use kithdb_core::file::{self, FileKind, shell_word};
use kithdb_core::keyfile;
use kithdb_log::Ticket;
use kithdb_peer::addresses::keep_past_address;
use kithdb_peer::{JoinError, JoinOptions, Joined};
use serde_json::json;

use super::{advice, device_name, runtime};
use crate::cli::Join;
use crate::report::Output;

/// A ticket is a few hundred characters.
const TICKET_BYTES_MAX: u64 = 64 << 10;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks an owner to let this device in.
pub fn run(arguments: &Join, output: Output) -> Result<ExitCode> {
    let ticket: Ticket = read_ticket(&arguments.ticket)?.trim().parse()?;
    let options = JoinOptions {
        peers: arguments.peers.clone(),
        mdns: !arguments.no_mdns,
        merge_by_key: arguments.merge_by_key,
        ..JoinOptions::new(device_name(arguments.name.as_deref()))
    };
    let spinner = if output.is_watched() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    spinner.set_message("asking an owner to let this device in");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let joined = runtime()?.block_on(kithdb_peer::join(&arguments.file, &ticket, options));
    spinner.finish_and_clear();
    let replica = match joined {
        Ok(Joined { replica, address }) => {
            // So that `kith sync` finds the owner without being told where.
            keep_past_address(&replica, &address)?;
            replica
        }
        Err(error) => {
            if let JoinError::NobodyAnswered { tried, addresses, mdns } = &error
                && !output.json
            {
                eprintln!("{}", advice::nobody(tried, addresses, *mdns));
                if waits(&arguments.file) {
                    eprintln!("The file keeps its place: the same command goes on where this one ended.");
                }
                bail!("no owner answered; start `kith sync` on the inviting device and try again");
            }
            return Err(error.into());
        }
    };
    let file = arguments.file.display();
    let path = replica.path().unwrap_or(&arguments.file);
    let name = replica.workspace().device_name();
    let text = format!(
        "{file} has joined as `{name}`, {role}.\n\
         Its secret keys are in {key}: keep that file private, and back it up together with the database.\n\
         Next: kith sync {word}",
        role = replica.workspace().role().map_or_else(|| "without a role".to_owned(), |role| role.to_string()),
        key = keyfile::key_path(path).display(),
        word = shell_word(&arguments.file),
    );
    let value = json!({
        "file": path, "workspace": replica.workspace().id().to_string(), "device": name,
        "author": replica.author().to_string(), "role": replica.workspace().role().map(|role| role.to_string()),
        "key_file": keyfile::key_path(path),
    });
    replica.close()?;
    output.say(text, value)?;
    Ok(ExitCode::SUCCESS)
}

/// A ticket of `-` is read from standard input, so that it shows in no list of processes.
fn read_ticket(argument: &str) -> Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut ticket = String::new();
    std::io::stdin()
        .take(TICKET_BYTES_MAX)
        .read_to_string(&mut ticket)
        .context("the ticket could not be read from standard input")?;
    Ok(ticket)
}

fn waits(path: &Path) -> bool {
    file::look(path, BUSY_TIMEOUT).is_ok_and(|look| look.kind == FileKind::Joining)
}
