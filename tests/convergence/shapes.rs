//! The tables that the peers write to: how each is created, what goes into its columns, and what its UNIQUE indexes mean, said once
//! more by hand for the model.

use std::collections::BTreeMap;

use crate::rng::Rng;

/// A cell value of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// A row of the model by column name.
pub type Row = BTreeMap<&'static str, Value>;

/// What a column is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    TextKey,
    CaseKey,
    PadKey,
    IntKey,
    AutoKey,
    AnyKey,
    SmallInt,
    SmallIntNotNull,
    UniqueInt,
    Text,
    TextNotNull,
    CaseText,
    Real,
    Any,
    Reference,
}

impl Fill {
    /// Makes a literal.
    pub fn literal(self, rng: &mut Rng) -> String {
        let list: &[&str] = match self {
            Self::TextKey => &["'a'", "'b'", "'c'", "'d'", "'e'"],
            Self::CaseKey => &["'ann'", "'Ann'", "'ANN'", "'bob'", "'Bob'", "'cy'"],
            Self::PadKey => &["'a'", "'a '", "'a  '", "'b'", "'b '", "'c'"],
            Self::IntKey => &["1", "2", "3", "4", "-1"],
            Self::AutoKey => &["NULL", "NULL", "1", "2", "3", "4", "5", "-2"],
            Self::AnyKey => &["1", "1.0", "'1'", "x'31'", "2", "0.5", "-0.0", "0"],
            Self::SmallInt => &["0", "1", "2", "3", "2", "1", "NULL"],
            Self::SmallIntNotNull => &["0", "1", "2", "3"],
            Self::UniqueInt => &["1", "2", "3", "1", "NULL"],
            Self::Text => &["'p'", "'q'", "'r'", "''", "NULL", "'s' || char(0) || 't'"],
            Self::TextNotNull => &["'p'", "'q'", "'r'", "''"],
            Self::CaseText => &["'x'", "'X'", "'y'", "'Y'", "'z'", "NULL"],
            Self::Real => &["0.5", "1.0", "2", "-0.0", "1e300", "NULL", "9e999"],
            Self::Any => &["1", "1.0", "'1'", "x'00ff'", "NULL", "'long ' || hex(zeroblob(20))", "-7", "1e-3"],
            Self::Reference => &["1", "2", "3", "NULL"],
        };
        (*rng.pick(list)).to_owned()
    }
}

/// A stored column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub fill: Fill,
    /// Place in the primary key.
    pub key: Option<usize>,
    /// Whether the column's value merges by itself: every column but key columns whose bytes follow from the key.
    pub is_cell: bool,
}

const fn key(name: &'static str, fill: Fill) -> Column {
    Column { name, fill, key: Some(0), is_cell: false }
}

const fn part(name: &'static str, fill: Fill, place: usize) -> Column {
    Column { name, fill, key: Some(place), is_cell: false }
}

const fn folded(name: &'static str, fill: Fill) -> Column {
    Column { name, fill, key: Some(0), is_cell: true }
}

const fn cell(name: &'static str, fill: Fill) -> Column {
    Column { name, fill, key: None, is_cell: true }
}

/// A table.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub sql: &'static str,
    pub indexes: &'static [&'static str],
    pub columns: &'static [Column],
    /// The cells that count when two rows claim a UNIQUE value.
    pub claims: &'static [&'static str],
    /// The entry of a row in each UNIQUE index, or `None` where it is in none.
    pub unique: fn(&Row) -> Vec<Option<String>>,
    /// Columns that must not be NULL.
    pub not_null: &'static [&'static str],
    /// A CHECK that a merged row may break.
    pub check: Option<&'static str>,
    /// A table that this one refers to.
    pub parent: Option<usize>,
}

/// Writes a value so that two values read the same exactly if an index with BINARY collation calls them equal.
fn entry(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(format!("n{:?}", *number as f64)),
        Value::Real(number) => Some(format!("n{:?}", if *number == 0.0 { 0.0 } else { *number })),
        Value::Text(bytes) => Some(format!("t{bytes:?}")),
        Value::Blob(bytes) => Some(format!("b{bytes:?}")),
    }
}

fn without_case(value: &Value) -> Value {
    match value {
        Value::Text(bytes) => Value::Text(bytes.to_ascii_lowercase()),
        other => other.clone(),
    }
}

fn one(row: &Row, column: &str) -> Option<String> {
    entry(&row[column])
}

fn all(parts: &[Option<String>]) -> Option<String> {
    parts.iter().cloned().collect::<Option<Vec<_>>>().map(|parts| parts.join("|"))
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        _ => None,
    }
}

fn none(_: &Row) -> Vec<Option<String>> {
    Vec::new()
}

/// Index of the table that [`SHAPES`] refer to.
pub const ITEMS: usize = 1;

/// Every table.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "notes",
        sql: "CREATE TABLE notes(id TEXT PRIMARY KEY, a TEXT, b INT, c REAL)",
        indexes: &["CREATE INDEX notes_b ON notes(b)"],
        columns: &[key("id", Fill::TextKey), cell("a", Fill::Text), cell("b", Fill::SmallInt), cell("c", Fill::Real)],
        claims: &[],
        unique: none,
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "items",
        sql: "CREATE TABLE items(id INTEGER PRIMARY KEY, a TEXT, b)",
        indexes: &[],
        columns: &[key("id", Fill::AutoKey), cell("a", Fill::Text), cell("b", Fill::Any)],
        claims: &[],
        unique: none,
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "pairs",
        sql: "CREATE TABLE pairs(x INT, v, y TEXT, PRIMARY KEY(y, x)) WITHOUT ROWID",
        indexes: &[],
        columns: &[part("x", Fill::IntKey, 1), cell("v", Fill::Any), part("y", Fill::TextKey, 0)],
        claims: &[],
        unique: none,
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "people",
        sql: "CREATE TABLE people(name TEXT COLLATE NOCASE PRIMARY KEY, age INT, note TEXT)",
        indexes: &[],
        columns: &[folded("name", Fill::CaseKey), cell("age", Fill::SmallInt), cell("note", Fill::Text)],
        claims: &[],
        unique: none,
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "single",
        sql: "CREATE TABLE single(id TEXT PRIMARY KEY, u INT UNIQUE, v TEXT NOT NULL)",
        indexes: &[],
        columns: &[key("id", Fill::TextKey), cell("u", Fill::UniqueInt), cell("v", Fill::TextNotNull)],
        claims: &["u"],
        unique: |row| vec![one(row, "u")],
        not_null: &["v"],
        check: None,
        parent: None,
    },
    Shape {
        name: "double",
        sql: "CREATE TABLE double(id INT PRIMARY KEY NOT NULL, u TEXT UNIQUE, w INT, v)",
        indexes: &["CREATE UNIQUE INDEX double_w ON double(w DESC)"],
        columns: &[key("id", Fill::IntKey), cell("u", Fill::Text), cell("w", Fill::UniqueInt), cell("v", Fill::Any)],
        claims: &["u", "w"],
        unique: |row| vec![one(row, "u"), one(row, "w")],
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "both",
        sql: "CREATE TABLE both(id TEXT PRIMARY KEY, u INT, w TEXT COLLATE NOCASE, v INT, UNIQUE(u, w)) WITHOUT ROWID",
        indexes: &[],
        columns: &[
            key("id", Fill::TextKey),
            cell("u", Fill::SmallIntNotNull),
            cell("w", Fill::CaseText),
            cell("v", Fill::SmallInt),
        ],
        claims: &["u", "w"],
        unique: |row| vec![all(&[one(row, "u"), entry(&without_case(&row["w"]))])],
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "partial",
        sql: "CREATE TABLE partial(id TEXT PRIMARY KEY, u INT, v INT)",
        indexes: &["CREATE UNIQUE INDEX partial_u ON partial(u) WHERE v > 1"],
        columns: &[key("id", Fill::TextKey), cell("u", Fill::SmallInt), cell("v", Fill::SmallInt)],
        claims: &["u", "v"],
        unique: |row| {
            let indexed = integer(&row["v"]).is_some_and(|number| number > 1);
            vec![if indexed { one(row, "u") } else { None }]
        },
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "expression",
        sql: "CREATE TABLE expression(id INT, u TEXT, v INT, PRIMARY KEY(id))",
        indexes: &["CREATE UNIQUE INDEX expression_u ON expression(lower(u), abs(v))"],
        columns: &[key("id", Fill::IntKey), cell("u", Fill::CaseText), cell("v", Fill::IntKey)],
        claims: &["u", "v"],
        unique: |row| {
            let size = integer(&row["v"]).map(|number| number.abs().to_string());
            vec![all(&[entry(&without_case(&row["u"])), size])]
        },
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "numbered",
        sql: "CREATE TABLE numbered(id INTEGER PRIMARY KEY AUTOINCREMENT, u INT UNIQUE, v TEXT NOT NULL DEFAULT 'none')",
        indexes: &[],
        columns: &[key("id", Fill::AutoKey), cell("u", Fill::UniqueInt), cell("v", Fill::TextNotNull)],
        claims: &["u"],
        unique: |row| vec![one(row, "u")],
        not_null: &["v"],
        check: None,
        parent: None,
    },
    Shape {
        name: "made",
        sql: "CREATE TABLE made(g AS (a / 2) STORED UNIQUE, id TEXT PRIMARY KEY, a INT, h AS (upper(b)), b TEXT NOT NULL)",
        indexes: &[],
        columns: &[key("id", Fill::TextKey), cell("a", Fill::SmallInt), cell("b", Fill::TextNotNull)],
        claims: &["a", "b"],
        unique: |row| vec![integer(&row["a"]).map(|number| (number / 2).to_string())],
        not_null: &["b"],
        check: None,
        parent: None,
    },
    Shape {
        name: "parts",
        sql: "CREATE TABLE parts(id TEXT PRIMARY KEY, item INTEGER REFERENCES items(id) ON DELETE CASCADE ON UPDATE CASCADE, v INT)",
        indexes: &["CREATE INDEX parts_item ON parts(item)"],
        columns: &[key("id", Fill::TextKey), cell("item", Fill::Reference), cell("v", Fill::SmallInt)],
        claims: &[],
        unique: none,
        not_null: &[],
        check: None,
        parent: Some(ITEMS),
    },
    Shape {
        name: "ranges",
        sql: "CREATE TABLE ranges(id TEXT PRIMARY KEY, lo INT, hi INT, v, CHECK(lo <= hi))",
        indexes: &[],
        columns: &[
            key("id", Fill::TextKey),
            cell("lo", Fill::SmallInt),
            cell("hi", Fill::SmallInt),
            cell("v", Fill::Any),
        ],
        claims: &[],
        unique: none,
        not_null: &[],
        check: Some("lo <= hi"),
        parent: None,
    },
    Shape {
        name: "typed",
        sql: "CREATE TABLE typed(n INTEGER NOT NULL, k TEXT NOT NULL, v ANY, id INTEGER, PRIMARY KEY(k, id)) STRICT, WITHOUT ROWID",
        indexes: &[],
        columns: &[
            cell("n", Fill::SmallIntNotNull),
            part("k", Fill::TextKey, 0),
            cell("v", Fill::Any),
            part("id", Fill::IntKey, 1),
        ],
        claims: &[],
        unique: none,
        not_null: &["n"],
        check: None,
        parent: None,
    },
    Shape {
        name: "loose",
        sql: "CREATE TABLE loose(k PRIMARY KEY, u UNIQUE, v)",
        indexes: &[],
        columns: &[folded("k", Fill::AnyKey), cell("u", Fill::AnyKey), cell("v", Fill::Any)],
        claims: &["u"],
        unique: |row| vec![one(row, "u")],
        not_null: &[],
        check: None,
        parent: None,
    },
    Shape {
        name: "padded",
        sql: "CREATE TABLE padded(k TEXT COLLATE RTRIM PRIMARY KEY, u TEXT COLLATE NOCASE UNIQUE)",
        indexes: &[],
        columns: &[folded("k", Fill::PadKey), cell("u", Fill::CaseText)],
        claims: &["u"],
        unique: |row| vec![entry(&without_case(&row["u"]))],
        not_null: &[],
        check: None,
        parent: None,
    },
];
