//! A program of SQL and the like, and the text it is written as.
//!
//! One line is one step: a statement, or a directive:
//! - `!synced NAME…`: these tables are synced once the lines before have run; with it the program proper begins
//! - `!file wal`, `!file delete`: the databases are files with this journal mode, not in memory
//! - `!reset N SQL`: steps a statement to its Nth row and resets it
//! - `!open K SQL`, `!step K N`, `!close K`: cursor K stays open while other steps run
//! - `!blob TABLE COLUMN ROWID OFFSET HEX`: an incremental blob write
//! - `!other SQL`: a statement of a second connection, files only
//! - `!seal`: seals; `!deliver`: seals, delivers and compares
//! - `# …`: a remark

use std::fmt;
use std::str::FromStr;

/// How the databases of a program are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// In memory.
    #[default]
    Memory,
    /// In files with a write-ahead log.
    Wal,
    /// In files with a rollback journal.
    Journal,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A statement that is run to its end.
    Sql(String),
    /// A statement that is reset after some rows.
    Reset(usize, String),
    /// A statement that stays open.
    Open(usize, String),
    /// Further rows of an open statement.
    More(usize, usize),
    /// The end of an open statement.
    Close(usize),
    /// An incremental blob write.
    Blob { table: String, column: String, rowid: i64, offset: i32, bytes: Vec<u8> },
    /// A statement on a second connection.
    Other(String),
    /// Sealing, as it may happen at any time.
    Seal,
    /// Sealing, delivering and comparing.
    Deliver,
}

impl Step {
    /// Tells whether the rows of the step may show `changes()`.
    pub fn asks_changes(&self) -> bool {
        matches!(self, Self::Sql(sql) | Self::Reset(_, sql) | Self::Open(_, sql) if sql.contains("changes()"))
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// How the databases are kept.
    pub storage: Storage,
    /// Statements that run before sync.
    pub setup: Vec<String>,
    /// Tables to be synced.
    pub synced: Vec<String>,
    /// What follows.
    pub steps: Vec<Step>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(sql) => f.write_str(sql),
            Self::Reset(rows, sql) => write!(f, "!reset {rows} {sql}"),
            Self::Open(cursor, sql) => write!(f, "!open {cursor} {sql}"),
            Self::More(cursor, rows) => write!(f, "!step {cursor} {rows}"),
            Self::Close(cursor) => write!(f, "!close {cursor}"),
            Self::Blob { table, column, rowid, offset, bytes } => {
                write!(f, "!blob {table} {column} {rowid} {offset} ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Other(sql) => write!(f, "!other {sql}"),
            Self::Seal => f.write_str("!seal"),
            Self::Deliver => f.write_str("!deliver"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.storage {
            Storage::Memory => {}
            Storage::Wal => writeln!(f, "!file wal")?,
            Storage::Journal => writeln!(f, "!file delete")?,
        }
        for sql in &self.setup {
            writeln!(f, "{sql}")?;
        }
        writeln!(f, "!synced {}", self.synced.join(" "))?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut program = Self::default();
        let mut begun = false;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("!file", "wal") => program.storage = Storage::Wal,
                ("!file", "delete") => program.storage = Storage::Journal,
                ("!synced", names) => {
                    program.synced = names.split_whitespace().map(str::to_owned).collect();
                    begun = true;
                }
                (word, rest) if word.starts_with('!') && begun => {
                    program.steps.push(parse_step(word, rest).ok_or_else(|| format!("not a step: {line}"))?);
                }
                _ if begun => program.steps.push(Step::Sql(line.to_owned())),
                _ => program.setup.push(line.to_owned()),
            }
        }
        Ok(program)
    }
}

fn parse_step(word: &str, rest: &str) -> Option<Step> {
    let numbered = || {
        let (number, rest) = rest.split_once(' ')?;
        Some((number.parse().ok()?, rest.to_owned()))
    };
    Some(match word {
        "!reset" => numbered().map(|(rows, sql)| Step::Reset(rows, sql))?,
        "!open" => numbered().map(|(cursor, sql)| Step::Open(cursor, sql))?,
        "!step" => {
            let (cursor, rows) = numbered()?;
            Step::More(cursor, rows.parse().ok()?)
        }
        "!close" => Step::Close(rest.parse().ok()?),
        "!blob" => {
            let mut parts = rest.split(' ');
            Step::Blob {
                table: parts.next()?.to_owned(),
                column: parts.next()?.to_owned(),
                rowid: parts.next()?.parse().ok()?,
                offset: parts.next()?.parse().ok()?,
                bytes: from_hex(parts.next().unwrap_or(""))?,
            }
        }
        "!other" => Step::Other(rest.to_owned()),
        "!seal" => Step::Seal,
        "!deliver" => Step::Deliver,
        _ => return None,
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
