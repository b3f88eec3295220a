//! `kith sql`: statements from the command line, from standard input, or typed.
//!
//! Invariants:
//! 1. A script ends at its first failure, naming the line; a typed statement that fails ends nothing.
//! 2. Memory is bounded by the longest statement of a script (at most [`STATEMENT_BYTES_MAX`]) and the printer's rows.

mod dot;
mod editor;
mod statements;

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kithdb_core::error::StatementError;
use rusqlite::types::ValueRef;

use self::statements::Scanner;
use crate::commands::Database;
use crate::render::{Mode, Rows};
use crate::trouble;

/// The longest statement that a script may hold: a little more than SQLite itself takes.
const STATEMENT_BYTES_MAX: usize = 1 << 30;

/// How much of a statement is shown from where SQLite found it wrong.
const EXCERPT_CHARS: usize = 40;

/// A file that statements are run on, and how their rows are printed.
pub struct Shell {
    database: Database,
    mode: Mode,
    /// The line of a script at which the text that is run begins.
    line: Option<u64>,
}

/// Whether to go on after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read the next line.
    Read,
    /// `.quit` was typed.
    Quit,
}

impl Shell {
    /// Starts a shell on a file.
    pub const fn new(database: Database, mode: Mode) -> Self {
        Self { database, mode, line: None }
    }

    /// Runs one or several statements, or a dot command.
    pub fn run(&mut self, text: &str) -> Result<Next> {
        if text.trim_start().starts_with('.') {
            return dot::run(self, text.trim());
        }
        self.run_sql(text)?;
        Ok(Next::Read)
    }

    /// Runs what standard input holds: a shell on a terminal, a script otherwise.
    pub fn run_input(&mut self) -> Result<()> {
        if io::stdin().is_terminal() { editor::run(self) } else { self.run_script(io::stdin().lock()) }
    }

    /// Closes the database; a transaction that is still open is lost, which is a failure.
    pub fn close(self) -> Result<()> {
        if !self.database.conn().is_autocommit() {
            bail!("the input ended inside a transaction, which was rolled back; end it with COMMIT");
        }
        self.database.close()
    }

    fn run_script(&mut self, mut input: impl BufRead) -> Result<()> {
        let mut scanner = Scanner::default();
        let mut text = String::new();
        let (mut line, mut begun) = (0_u64, 1_u64);
        loop {
            let start = text.len();
            let read = input.read_line(&mut text).with_context(|| format!("line {} is not UTF-8 text", line + 1))?;
            line += 1;
            ensure!(text.len() <= STATEMENT_BYTES_MAX, "the statement at line {begun} is longer than SQLite takes");
            let is_dot = start == 0 && text.starts_with('.');
            if !is_dot {
                text[start..].chars().for_each(|c| {
                    scanner.feed(c);
                });
            }
            // What follows a statement on its line may be the beginning of the next one.
            if read > 0 && !is_dot && !scanner.is_between() {
                continue;
            }
            self.line = (!is_dot).then_some(begun);
            let next = self.run(&text);
            if (if is_dot { next.with_context(|| format!("line {begun}")) } else { next })? == Next::Quit || read == 0 {
                break;
            }
            text.clear();
            begun = line + 1;
        }
        Ok(())
    }

    fn run_sql(&mut self, sql: &str) -> Result<()> {
        for statement in statements::split(sql) {
            self.run_one(statement).map_err(|(error, offset)| {
                let Some(line) = self.line else { return error };
                // The statement is a part of the text.
                let at = statement.as_ptr().addr() - sql.as_ptr().addr() + offset;
                let before = sql.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
                error.context(format!("line {}", line + before as u64))
            })?;
        }
        Ok(())
    }

    /// Runs one statement; an error comes with the place in it that SQLite names, or its beginning.
    fn run_one(&mut self, statement: &str) -> Result<(), (anyhow::Error, usize)> {
        // Another process, or the statement before, may have changed which tables are synced.
        self.database.reload_registry().map_err(|error| (self.in_words(error), 0))?;
        self.print(statement).map_err(|failure| match failure {
            Failure::Output(error) => (error.into(), 0),
            Failure::Sql(error) => self.place(self.database.explain(error)),
        })?;
        self.database.reload_registry().map_err(|error| (self.in_words(error), 0))?;
        Ok(())
    }

    fn in_words(&self, error: anyhow::Error) -> anyhow::Error {
        match self.database.path() {
            Some(path) => trouble::explain(error, path),
            None => error,
        }
    }

    /// Says why a file does not have what every replica has.
    fn remedy(&self, message: &str) -> Option<String> {
        let missing = message.strip_prefix("no such function: ").or_else(|| message.strip_prefix("no such table: "))?;
        if missing.starts_with("kith_") { self.database.lacks() } else { None }
    }

    /// Says what is wrong with a statement, with the place in it instead of all of it.
    fn place(&self, error: StatementError) -> (anyhow::Error, usize) {
        let StatementError::Sqlite(rusqlite::Error::SqlInputError { msg, sql, offset, .. }) = &error else {
            return (self.in_words(error.into()), 0);
        };
        if let Some(remedy) = self.remedy(msg) {
            return (self.in_words(anyhow!("{msg}; {remedy}")), 0);
        }
        let Some((offset, place)) = usize::try_from(*offset).ok().and_then(|at| Some((at, sql.get(at..)?))) else {
            return (self.in_words(anyhow!("{msg}")), 0);
        };
        let mut excerpt: String = place.chars().take(EXCERPT_CHARS).collect();
        if excerpt.len() < place.len() {
            excerpt.push('…');
        }
        let excerpt = excerpt.trim_end();
        (if excerpt.is_empty() { anyhow!("{msg}") } else { anyhow!("{msg}, at `{excerpt}`") }, offset)
    }

    fn print(&self, sql: &str) -> Result<(), Failure> {
        let conn = self.database.conn();
        let mut statement = conn.prepare(sql)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let count = columns.len();
        let mut rows = statement.raw_query();
        if count == 0 {
            while rows.next()?.is_some() {}
            return Ok(());
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut printer = Rows::new(&mut out, self.mode, columns);
        while let Some(row) = rows.next()? {
            let values = (0..count).map(|index| row.get_ref(index)).collect::<rusqlite::Result<Vec<ValueRef<'_>>>>()?;
            printer.row(&values)?;
        }
        printer.end()?;
        io::Write::flush(&mut out)?;
        Ok(())
    }
}

/// What can go wrong while rows are printed.
enum Failure {
    Sql(rusqlite::Error),
    Output(io::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
