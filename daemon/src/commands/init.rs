//! `kith init`.

use std::process::ExitCode;

use anyhow::Result;
use kithdb_core::file::shell_word;
use kithdb_core::replica::{InitOptions, Replica};
use kithdb_core::{keyfile, life};
use serde_json::json;

use super::device_name;
use crate::cli::Init;
use crate::report::Output;

/// Founds a workspace in a new or plain file.
pub fn run(arguments: &Init, output: Output) -> Result<ExitCode> {
    let replica = Replica::init(&arguments.file, InitOptions::new(device_name(arguments.name.as_deref())))?;
    let path = replica.path().unwrap_or(&arguments.file);
    let (key, sidecar) = (keyfile::key_path(path), life::sidecar_path(path));
    let name = replica.workspace().device_name();
    let text = format!(
        "{file} is ready; this device is `{name}`.\n\
         Its secret keys are in {key}: keep that file private, and back it up together with the database.\n\
         Next: kith sql {word} \"CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT); SELECT kith_sync('notes')\"",
        file = arguments.file.display(),
        key = key.display(),
        word = shell_word(&arguments.file),
    );
    let value = json!({
        "file": path, "workspace": replica.workspace().id().to_string(), "device": name,
        "author": replica.author().to_string(), "key_file": key, "sidecar": sidecar,
    });
    replica.close()?;
    output.say(text, value)?;
    Ok(ExitCode::SUCCESS)
}
