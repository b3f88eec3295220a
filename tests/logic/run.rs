//! The three that are compared, and what each answers.

use std::path::Path;

use kithdb_sqlite::{Database, OpenOptions, Step, ValueRef};
use rusqlite::types::ValueRef as Original;
use rusqlite::{Connection, Error};

/// What a statement came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// The extended code and the message.
    pub error: Option<(i32, String)>,
    /// `changes()`, `total_changes()` and `last_insert_rowid()`.
    pub counts: (i64, i64, i64),
}

impl Answer {
    /// Rows that RETURNING gives have no order.
    fn ordered(mut self, sql: &str) -> Self {
        if sql.contains(" RETURNING ") {
            self.rows.sort();
        }
        self
    }
}

pub trait Subject {
    /// Runs one statement to its end.
    fn answer(&self, sql: &str) -> Answer;
}

fn real(value: f64) -> String {
    format!("real {value:?}")
}

fn bytes(kind: &str, value: &[u8]) -> String {
    format!("{kind} {}", value.escape_ascii())
}

impl Subject for Connection {
    fn answer(&self, sql: &str) -> Answer {
        let mut answer = Answer::default();
        let run = |answer: &mut Answer| -> Result<(), Error> {
            let mut statement = self.prepare(sql)?;
            answer.columns = statement.column_names().map(str::to_owned).collect();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let cells = (0..answer.columns.len()).map(|index| match row.get_ref(index).unwrap() {
                    Original::Null => "null".to_owned(),
                    Original::Integer(value) => format!("integer {value}"),
                    Original::Real(value) => real(value),
                    Original::Text(value) => bytes("text", value),
                    Original::Blob(value) => bytes("blob", value),
                });
                answer.rows.push(cells.collect());
            }
            Ok(())
        };
        answer.error = match run(&mut answer) {
            Ok(()) => None,
            Err(Error::SqliteFailure(error, message)) => Some((error.extended_code, message.unwrap_or_default())),
            Err(Error::SqlInputError { error, msg, .. }) => Some((error.extended_code, msg)),
            Err(other) => panic!("{other}: {sql}"),
        };
        let total: i64 = i64::try_from(self.total_changes()).unwrap();
        answer.counts = (i64::try_from(self.changes()).unwrap(), total, self.last_insert_rowid());
        answer.ordered(sql)
    }
}

impl Subject for Database {
    fn answer(&self, sql: &str) -> Answer {
        let mut answer = Answer::default();
        let run = |answer: &mut Answer| -> Result<(), kithdb_sqlite::SqliteError> {
            let (statement, rest) = self.prepare(sql)?;
            assert_eq!(rest, "");
            let statement = statement.unwrap();
            answer.columns = (0..statement.column_count()).map(|index| statement.column_name(index).unwrap()).collect();
            while statement.step()? == Step::Row {
                let cells = (0..answer.columns.len()).map(|index| match statement.column(index) {
                    ValueRef::Null => "null".to_owned(),
                    ValueRef::Integer(value) => format!("integer {value}"),
                    ValueRef::Real(value) => real(value),
                    ValueRef::Text(value) => bytes("text", value),
                    ValueRef::Blob(value) => bytes("blob", value),
                });
                answer.rows.push(cells.collect());
            }
            Ok(())
        };
        answer.error = run(&mut answer).err().map(|error| (error.code, error.message));
        answer.counts = (self.changes(), self.total_changes(), self.last_insert_rowid());
        answer.ordered(sql)
    }
}

/// Opens ours on a file of its own.
fn open(file: &Path) -> Database {
    Database::open(file.to_str().unwrap(), &OpenOptions::default()).unwrap()
}

/// A plain database of ours.
pub struct Plain(pub Database);

impl Plain {
    pub fn open(file: &Path) -> Self {
        let database = open(file);
        assert!(!database.is_replica());
        Self(database)
    }
}

/// A replica.
pub struct Synced(pub Database);

impl Synced {
    pub fn open(file: &Path) -> Self {
        let database = open(file);
        database.found(file.to_str().unwrap(), "logic", &OpenOptions::default()).unwrap();
        assert!(database.is_replica());
        Self(database)
    }

    /// Has every table recorded that is there.
    pub fn sync_all(&self) {
        self.0.execute_batch("SELECT kith_sync('*')").unwrap();
        let synced = self.0.answer("SELECT count(*) FROM kith_tables WHERE state = 'synced'");
        assert_eq!(synced.rows, [["integer 3"]]);
    }
}
