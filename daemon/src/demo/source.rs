//! The demo's first database: WordNet, its extract, or a copy of the user's file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use kithdb_core::file::{self, FileKind};
use rusqlite::{Connection, OpenFlags};

use super::wordnet;
use crate::cli::Demo;
use crate::human;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a plain SQLite database at a new path; returns what is in it, in words.
pub fn prepare(arguments: &Demo, path: &Path, watched: bool) -> Result<String> {
    match &arguments.from {
        Some(from) => copy(from, path),
        None => import(arguments.wordnet.as_deref(), path, watched),
    }
}

/// Copies through SQLite, so that a database in use is copied whole.
fn copy(from: &Path, path: &Path) -> Result<String> {
    let look = file::look(from, BUSY_TIMEOUT)?;
    match look.kind {
        FileKind::Plain => {}
        FileKind::Missing => bail!("there is no file {}; give the path of an SQLite database", from.display()),
        FileKind::Replica(_) | FileKind::Joining => {
            bail!(
                "{} is a KithDB database already; give a plain SQLite database, of which the demo makes a copy",
                from.display()
            )
        }
    }
    let source =
        Connection::open_with_flags(&look.path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    let target = path.to_str().context("the path of the demo's folder is not UTF-8; choose another with --folder")?;
    source.execute("VACUUM INTO ?1", [target]).with_context(|| format!("{} could not be copied", from.display()))?;
    Ok(format!("a copy of {}, {}", from.display(), human::bytes(std::fs::metadata(path)?.len())))
}

fn import(folder: Option<&Path>, path: &Path, watched: bool) -> Result<String> {
    let (source, name) = match folder {
        Some(folder) => (wordnet::Source::Folder(folder.to_owned()), "WordNet 3.1"),
        None => (
            wordnet::Source::Extract,
            "the small extract of WordNet 3.1 that comes with kith (all of it: --wordnet DIR)",
        ),
    };
    let conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    let bar = if watched { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("reading WordNet {bar:30} {binary_bytes}/{binary_total_bytes}")?);
    let summary = wordnet::import(&conn, &source, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_read);
    })?;
    bar.finish_and_clear();
    conn.close().map_err(|(_, error)| error)?;
    Ok(format!(
        "{name}: {} synsets, {} words, {} senses, {} relations",
        human::count(summary.synsets),
        human::count(summary.words),
        human::count(summary.senses),
        human::count(summary.relations)
    ))
}
