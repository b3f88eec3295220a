//! The SQL functions: `kith_text`, `kith_untext`, `kith_fuzzy_index`, `kith_fuzzy_unindex`, and the table-valued `kith_search`,
//! `kith_fuzzy` and `kith_hybrid`.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error};

use super::error::TextError;
use super::index::{Kind, Outcome, drop, make};
use super::options::{IndexOptions, columns};
use super::table::{self, Function};
use super::{fuzzy, hybrid, search};
use crate::Internal;
use crate::function::scalar;

static FUNCTIONS: [Function; 3] = [
    Function { name: c"kith_hybrid", columns: hybrid::COLUMNS, shown: 6, arguments: 5, run: hybrid::rows },
    Function { name: c"kith_search", columns: search::COLUMNS, shown: 4, arguments: 4, run: search::rows },
    Function {
        name: c"kith_fuzzy",
        columns: fuzzy::COLUMNS,
        shown: 4,
        arguments: 5,
        run: |conn, arguments, _| fuzzy::rows(conn, arguments),
    },
];

/// A function that changes which indexes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `kith_text(table, columns[, options])`.
    Text,
    /// `kith_untext(table)`.
    Untext,
    /// `kith_fuzzy_index(table, column)`.
    FuzzyIndex,
    /// `kith_fuzzy_unindex(table, column)`.
    FuzzyUnindex,
}

impl Change {
    /// Lists them with their names and the numbers of arguments they take.
    pub const ALL: [(Self, &'static str, &'static [i32]); 4] = [
        (Self::Text, "kith_text", &[1, 2, 3]),
        (Self::Untext, "kith_untext", &[1]),
        (Self::FuzzyIndex, "kith_fuzzy_index", &[2]),
        (Self::FuzzyUnindex, "kith_fuzzy_unindex", &[2]),
    ];
}

/// Registers the functions on a connection; a replica registers those that change something once more, with its own bracket around.
pub(crate) fn register(conn: &Connection, internal: Internal) -> rusqlite::Result<()> {
    table::register(conn, &FUNCTIONS, internal)?;
    for (change, name, counts) in Change::ALL {
        for &count in counts {
            scalar(conn, name, count, flags(), move |context| {
                // SAFETY: the reference lives no longer than this call, and stays on the thread that runs the statement.
                let conn = unsafe { context.get_connection() }?;
                call(change, context, &conn)
            })?;
        }
    }
    Ok(())
}

/// They change the schema, so no trigger or view may call them.
pub const fn flags() -> FunctionFlags {
    FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DIRECTONLY)
}

/// Runs one of the functions.
pub fn call(change: Change, context: &Context<'_>, conn: &Connection) -> rusqlite::Result<String> {
    run(change, context, conn).map_err(|error| match error {
        TextError::Sqlite(error) => error,
        error => Error::UserFunctionError(Box::new(error)),
    })
}

fn run(change: Change, context: &Context<'_>, conn: &Connection) -> Result<String, TextError> {
    let table = text(context, 0, "the table's name")?;
    let report = |made: (super::index::Index, Outcome, i64)| {
        let (index, outcome, rows) = made;
        let outcome = match outcome {
            Outcome::Created => "created",
            Outcome::Rebuilt => "rebuilt",
            Outcome::Unchanged => "unchanged",
        };
        serde_json::json!({ "index": index.fts, "outcome": outcome, "rows": rows }).to_string()
    };
    match change {
        Change::Text => {
            let names = if context.len() > 1 { columns(&text(context, 1, "the columns")?) } else { Vec::new() };
            let options = if context.len() > 2 {
                IndexOptions::parse(&text(context, 2, "the options")?)?
            } else {
                IndexOptions::default()
            };
            make(conn, Kind::Text, &table, &names, &options).map(report)
        }
        Change::FuzzyIndex => {
            let names = [text(context, 1, "the column's name")?];
            let options = IndexOptions { tokenizer: "trigram".to_owned(), ..IndexOptions::default() };
            make(conn, Kind::Fuzzy, &table, &names, &options).map(report)
        }
        Change::Untext => drop(conn, Kind::Text, &table, None),
        Change::FuzzyUnindex => drop(conn, Kind::Fuzzy, &table, Some(&text(context, 1, "the column's name")?)),
    }
}

fn text(context: &Context<'_>, place: usize, what: &str) -> Result<String, TextError> {
    match context.get_raw(place) {
        ValueRef::Text(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(TextError::argument(format!("argument {} is {what}, as text", place + 1))),
    }
}
