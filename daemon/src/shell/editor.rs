//! The shell on a terminal: line editing, history and completion.

use std::io;
use std::path::PathBuf;

use anyhow::Result;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};

use super::statements::is_complete;
use super::{Next, Shell};
use crate::report::Sentence;

const WORDS: &[&str] = &[
    ".help",
    ".mode",
    ".quit",
    ".schema",
    ".tables",
    "ALTER TABLE",
    "BEGIN",
    "COMMIT",
    "CREATE TABLE",
    "DELETE FROM",
    "FROM",
    "GROUP BY",
    "INSERT INTO",
    "LIMIT",
    "ORDER BY",
    "PRIMARY KEY",
    "ROLLBACK",
    "SELECT",
    "UPDATE",
    "VALUES",
    "WHERE",
    "kith_sync(",
    "kith_unsync(",
    "kith_version()",
];

/// Reads and runs statements until the user leaves.
pub fn run(shell: &mut Shell) -> Result<()> {
    let mut editor: Editor<Assistant, FileHistory> = Editor::new()?;
    editor.set_helper(Some(Assistant { names: Vec::new() }));
    let history = history_path();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    println!("kith {}: SQL ends with a semicolon, .help lists the rest, Ctrl-D leaves", env!("CARGO_PKG_VERSION"));
    loop {
        if let Some(assistant) = editor.helper_mut() {
            assistant.names = names(shell);
        }
        let line = match editor.readline("kith> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.add_history_entry(line.as_str())?;
        match shell.run(&line) {
            Ok(Next::Read) => {}
            Ok(Next::Quit) => break,
            Err(error) => eprintln!("error: {}", Sentence(&error)),
        }
    }
    if let Some(path) = &history {
        save(&mut editor, path);
    }
    Ok(())
}

/// The history may hold what was written to a database, so that nobody else may read it.
fn save(editor: &mut Editor<Assistant, FileHistory>, path: &PathBuf) {
    let saved = editor.save_history(path).map_err(io::Error::other).and_then(|()| keep_private(path));
    if let Err(error) = saved {
        tracing::debug!(%error, "the history was not saved");
    }
}

#[cfg(unix)]
fn keep_private(path: &PathBuf) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn keep_private(_path: &PathBuf) -> io::Result<()> {
    Ok(())
}

fn history_path() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))?;
    Some(PathBuf::from(home).join(".kith_history"))
}

/// The names of the user's tables and of their columns.
fn names(shell: &Shell) -> Vec<String> {
    let sql = "SELECT DISTINCT name FROM (
        SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'kith\\_\\_%' ESCAPE '\\'
        UNION ALL SELECT c.name FROM sqlite_schema s, pragma_table_info(s.name) c
          WHERE s.type = 'table' AND s.name NOT LIKE 'kith%' AND s.name NOT LIKE 'sqlite%') ORDER BY 1 LIMIT 2000";
    let read = || -> rusqlite::Result<Vec<String>> {
        shell.database.conn().prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    read().unwrap_or_default()
}

/// Completes names and waits for the semicolon.
struct Assistant {
    names: Vec<String>,
}

impl Helper for Assistant {}
impl Highlighter for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start = line[..position]
            .char_indices()
            .rev()
            .take_while(|(_, c)| is_part(*c))
            .last()
            .map_or(position, |(at, _)| at);
        let word = &line[start..position];
        if word.is_empty() {
            return Ok((start, Vec::new()));
        }
        let begins = |name: &str| name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let known = WORDS.iter().copied().chain(self.names.iter().map(String::as_str));
        let pairs = known
            .filter(|name| begins(name))
            .map(|name| Pair { display: name.to_owned(), replacement: name.to_owned() });
        Ok((start, pairs.collect()))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_whole = text.is_empty() || text.starts_with('.') || is_complete(text);
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}
