//! What a recorder has to know of a table's columns, read from the schema.

use std::ffi::c_int;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};

/// The table that ANALYZE writes, which has no PRIMARY KEY: its first two columns are taken for one.
const STATISTICS: &str = "sqlite_stat1";

/// A column that is stored and not hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The expression of its default.
    default: Option<String>,
    /// Its place in the PRIMARY KEY, from 1; 0 outside of it.
    pub(super) key: u8,
    /// Index among all columns, hidden and generated ones included.
    pub(super) index: c_int,
}

/// The columns of a table; none for a table that is not there.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) list: Vec<Column>,
    /// How many there are, hidden and generated ones included.
    pub(super) total: c_int,
}

/// Tells whether this is the table that ANALYZE writes.
pub(super) fn is_statistics(table: &str) -> bool {
    table.eq_ignore_ascii_case(STATISTICS)
}

/// Puts a name or text in single quotes.
pub(super) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    })
}

impl Columns {
    /// Reads the columns of a table.
    pub(super) fn read(conn: &Connection, schema: &str, table: &str) -> rusqlite::Result<Self> {
        let sql = format!("PRAGMA {}.table_xinfo({})", quote_text(schema), quote_text(table));
        let mut statement = conn.prepare(&sql)?;
        let mut rows = statement.raw_query();
        let mut columns = Self::default();
        while let Some(row) = rows.next()? {
            columns.total += 1;
            if row.get::<_, i64>(6)? == 0 {
                columns.list.push(Column {
                    name: text_of(row, 1)?.unwrap_or_default(),
                    default: text_of(row, 4)?,
                    // SQLite's tables have fewer columns than 2^15, and a session counts the places of a key in a byte.
                    key: row.get::<_, i64>(5)? as u8,
                    index: row.get(0)?,
                });
            }
        }
        if is_statistics(table) && columns.total > 0 {
            columns = Self::of_statistics();
        }
        Ok(columns)
    }

    fn of_statistics() -> Self {
        let column = |(index, (name, key)): (usize, (&str, u8))| Column {
            name: name.to_owned(),
            default: None,
            key,
            index: index as c_int,
        };
        let list = [("tbl", 1), ("idx", 2), ("stat", 0)].into_iter().enumerate().map(column).collect();
        Self { list, total: 3 }
    }

    /// Tells whether there is a PRIMARY KEY.
    pub(super) fn have_key(&self) -> bool {
        self.list.iter().any(|column| column.key != 0)
    }

    /// Tells whether these are what a table with the columns of before may have become: more columns, and the same key.
    pub(super) fn extend(&self, before: &Self) -> bool {
        let places = before.list.iter().map(|column| column.key).chain(std::iter::repeat(0));
        before.list.len() <= self.list.len() && self.list.iter().zip(places).all(|(column, key)| column.key == key)
    }

    /// Asks SQLite for the default of every column.
    pub(super) fn defaults(&self, conn: &Connection) -> rusqlite::Result<Vec<Value>> {
        let terms: Vec<_> = self.list.iter().map(|column| column.default.as_deref().unwrap_or("NULL")).collect();
        let sql = format!("SELECT {}", terms.join(", "));
        conn.prepare(&sql)?.query_row([], |row| (0..self.list.len()).map(|index| row.get(index)).collect())
    }
}
