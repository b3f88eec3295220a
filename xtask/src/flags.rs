//! What SQLite is compiled with.
//!
//! Cargo runs the build script of `libsqlite3-sys` again when the flags change in the shell, but not when they change under `[env]` in
//! `.cargo/config.toml`, and would go on with an SQLite that lacks what they ask for.

use std::{env, fs};

use anyhow::{Context, Result};

use crate::shell::{self, Workspace};

/// Has SQLite built anew where it was built with other flags than those of now.
pub fn renew(workspace: &Workspace) -> Result<()> {
    // Cargo sets what `[env]` holds for us too.
    let flags = env::var("LIBSQLITE3_FLAGS").unwrap_or_default();
    let stamp = workspace.target.join("sqlite-flags");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == flags) {
        return Ok(());
    }
    for profile in [&[][..], &["--release"]] {
        shell::run(workspace.cargo().args(["clean", "--quiet", "--package", "libsqlite3-sys"]).args(profile))?;
    }
    fs::write(&stamp, flags).with_context(|| format!("could not write {}", stamp.display()))
}
