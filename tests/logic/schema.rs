//! The tables that scripts are about: every affinity and collation, keys of each kind.

/// A table, and its columns by what they hold mostly.
pub struct Table {
    pub name: &'static str,
    pub key: &'static str,
    pub numbers: &'static [&'static str],
    pub texts: &'static [&'static str],
}

pub const TABLES: &[Table] = &[
    Table { name: "people", key: "id", numbers: &["id", "age", "height"], texts: &["name", "city"] },
    Table { name: "items", key: "code", numbers: &["owner", "price", "amount"], texts: &["code", "label"] },
    Table { name: "events", key: "n", numbers: &["n", "person", "weight"], texts: &["kind", "at"] },
];

pub const fn create() -> [&'static str; 6] {
    [
        // Nothing is asked about power loss here, and each commit would wait for the disk.
        "PRAGMA synchronous = OFF",
        "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE NOT NULL, city TEXT UNIQUE, age INT CHECK(age IS NULL OR age < 200),
            height REAL DEFAULT 1.5)",
        "CREATE TABLE items(code TEXT PRIMARY KEY, label TEXT COLLATE RTRIM, owner INTEGER, price NUMERIC, amount) WITHOUT ROWID",
        "CREATE TABLE events(n INTEGER PRIMARY KEY, kind TEXT NOT NULL, at TEXT, person INTEGER, weight REAL,
            double REAL GENERATED ALWAYS AS (weight * 2) VIRTUAL, UNIQUE(person, kind)) STRICT",
        "CREATE INDEX people_by_age ON people(age DESC, name)",
        "CREATE INDEX heavy ON events(weight) WHERE weight > 3",
    ]
}
