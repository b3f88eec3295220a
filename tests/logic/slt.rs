//! Scripts in the format of sqllogictest, run by the crate of that name: expected results are plain SQLite's.
//!
//! A value is written as SQLite has it, not as the column's letter says: `I` integer, `R` real, `T` text or blob, and `?` for a column
//! without any; NULL is `NULL`, an empty text `(empty)`. Bytes that are not printable, and spaces that a reader would not see, are escaped.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use kithdb_sqlite::{Database, OpenOptions};
use rusqlite::Connection;
use sqllogictest::{
    DB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator, strict_column_validator,
};

use crate::run::{Answer, Subject};

/// What a script is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite itself.
    Original,
    /// A plain database of ours.
    Plain,
    /// A replica, which has each table synced as soon as it is created.
    Synced,
}

/// What a statement failed with.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// A database on a thread of its own, for ours cannot move between threads; it ends with this.
struct Remote {
    engine: Engine,
    ask: Sender<String>,
    answers: Receiver<Answer>,
}

impl Remote {
    fn start(engine: Engine) -> Self {
        let (ask, asked) = channel::<String>();
        let (answer, answers) = channel();
        std::thread::spawn(move || {
            let subject = engine.open();
            for sql in asked {
                let mut found = subject.answer(&sql);
                if engine == Engine::Synced && found.error.is_none() && sql.starts_with("CREATE TABLE") {
                    found.error = sync(subject.as_ref());
                }
                if answer.send(found).is_err() {
                    break;
                }
            }
        });
        Self { engine, ask, answers }
    }
}

/// Has every table synced; says what is wrong if one is not.
fn sync(subject: &dyn Subject) -> Option<(i32, String)> {
    let unsynced = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'kith\\_%' ESCAPE '\\'
        AND name NOT IN (SELECT name FROM kith_tables WHERE state = 'synced')";
    let error = subject.answer("SELECT kith_sync('*')").error;
    error.or_else(|| subject.answer(unsynced).rows.first().map(|row| (0, format!("{row:?} is not synced"))))
}

impl Engine {
    fn open(self) -> Box<dyn Subject> {
        if self == Self::Original {
            return Box::new(Connection::open_in_memory().unwrap());
        }
        let options = OpenOptions::default();
        let database = Database::open(":memory:", &options).unwrap();
        if self == Self::Synced {
            database.found(":memory:", "logic", &options).unwrap();
        }
        assert_eq!(database.is_replica(), self == Self::Synced);
        Box::new(database)
    }
}

impl DB for Remote {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let gone = || Failure("the database is gone".to_owned());
        self.ask.send(sql.to_owned()).map_err(|_| gone())?;
        let answer = self.answers.recv().map_err(|_| gone())?;
        if let Some((code, message)) = answer.error {
            return Err(Failure(format!("{message} ({code})")));
        }
        if answer.columns.is_empty() {
            return Ok(DBOutput::StatementComplete(u64::try_from(answer.counts.0).unwrap_or(0)));
        }
        let mut types = vec![DefaultColumnType::Any; answer.columns.len()];
        let show = |row: &Vec<String>| -> Vec<String> {
            let cells = row.iter().zip(&mut types).map(|(cell, column)| {
                let (shown, kind) = shown(cell);
                if *column == DefaultColumnType::Any {
                    *column = kind;
                }
                shown
            });
            cells.collect()
        };
        let rows = answer.rows.iter().map(show).collect();
        Ok(DBOutput::Rows { types, rows })
    }

    fn engine_name(&self) -> &str {
        match self.engine {
            Engine::Original => "sqlite",
            Engine::Plain => "kithdb",
            Engine::Synced => "kithdb-synced",
        }
    }
}

/// Writes a cell of an answer, which begins with its type, as it stands in a script.
fn shown(cell: &str) -> (String, DefaultColumnType) {
    let (kind, content) = cell.split_once(' ').unwrap_or((cell, ""));
    let is_seen = content.split(' ').all(|word| !word.is_empty());
    match kind {
        "integer" => (content.to_owned(), DefaultColumnType::Integer),
        "real" => (content.to_owned(), DefaultColumnType::FloatingPoint),
        "null" => ("NULL".to_owned(), DefaultColumnType::Any),
        "text" if content.is_empty() => ("(empty)".to_owned(), DefaultColumnType::Text),
        "text" if is_seen => (content.to_owned(), DefaultColumnType::Text),
        "text" => (content.replace(' ', "\\x20"), DefaultColumnType::Text),
        _ => (format!("x'{content}'"), DefaultColumnType::Text),
    }
}

/// Writes statements as a script whose results are yet to be found.
pub fn script(statements: &[String]) -> String {
    let mut out = String::from("hash-threshold 64\n\n");
    for sql in statements {
        let record = if sql.contains(" RETURNING ") {
            "query T rowsort"
        } else if sql.starts_with("SELECT") || sql.starts_with("WITH") {
            "query T nosort"
        } else {
            "statement ok"
        };
        let end = if record.starts_with("query") { "\n----" } else { "" };
        out.push_str(&format!("{record}\n{sql}{end}\n\n"));
    }
    out
}

/// Runs a script; says where the engine answered otherwise.
pub fn run(engine: Engine, script: &Path) -> Result<(), String> {
    let mut runner = Runner::new(|| async { Ok(Remote::start(engine)) });
    runner.with_column_validator(strict_column_validator);
    runner.run_file(script).map_err(|error| format!("{engine:?}: {}", error.display(false)))
}

/// Puts SQLite's results into a script.
pub fn fill_in(script: &Path) {
    let mut runner = Runner::new(|| async { Ok(Remote::start(Engine::Original)) });
    let update = runner.update_test_file(script, " ", default_validator, default_normalizer, strict_column_validator);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(update).unwrap();
}
