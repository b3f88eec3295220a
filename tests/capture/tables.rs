//! Random tables: every kind of key, affinity, constraint and collation that a synced table may have.

use kithdb_tests::random::Random;

/// What values a column mostly holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Real,
    Text,
    Blob,
    Any,
}

/// A column; names are quoted where they must be.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub generated: bool,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Indexes into `columns`.
    pub key: Vec<usize>,
    pub has_rowid: bool,
    /// Text of a table of the same form, but for the name.
    body: String,
}

const CONFLICTS: [&str; 5] = ["ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"];
const ACTIONS: [&str; 5] = ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"];
const NAMES: [&str; 8] = ["a", "b", "\"order\"", "d", "\"x y\"", "F", "\"é\"", "h"];

/// Picks a conflict clause.
pub fn conflict(random: &mut Random) -> &'static str {
    random.pick::<&'static str>(&CONFLICTS)
}

/// Writes a value of a kind; from so few that they meet often.
pub fn literal(random: &mut Random, kind: Kind) -> String {
    let kind = match kind {
        Kind::Any => *random.pick(&[Kind::Integer, Kind::Real, Kind::Text, Kind::Blob]),
        kind => kind,
    };
    let common = random.percent(75);
    match kind {
        Kind::Integer | Kind::Any if common => random.below(9).to_string(),
        Kind::Integer | Kind::Any => {
            // Not the greatest integer: after it SQLite gives rowids at random. Not the least: as a key it may be an integer or a
            // real of equal value, and which of both is lost (docs/COMPAT.md).
            let rare = [
                "-1",
                "9223372036854775000",
                "-9223372036854770000",
                "4503599627370497",
                "9007199254740993",
                "65536",
                "0",
            ];
            (*random.pick(&rare)).to_owned()
        }
        Kind::Real if common => format!("{}.{}", random.below(5), random.pick(&["0", "5", "25"])),
        Kind::Real => {
            let rare = [
                "-0.0",
                "1e300",
                "9e999",
                "-9e999",
                "0.1",
                "9007199254740993.0",
                "9223372036854774784.0",
                "-1.5e-300",
                "4611686018427387904.0",
            ];
            (*random.pick(&rare)).to_owned()
        }
        Kind::Text if common => format!("'{}'", random.pick(&["a", "A", "b", "B", "c", "a ", "1", "2.0", "é", ""])),
        Kind::Text => {
            let rare = [
                "CAST(x'610062' AS TEXT)",
                "CAST(x'ff41c3' AS TEXT)",
                "'  '",
                "'01'",
                "'1e1'",
                "'9223372036854775808'",
                "'inf'",
                "'ÄÖ '",
                "'b' || char(0)",
                "printf('%.*c', 300, 'x')",
                "printf('%.*c', 5000, 'y')",
            ];
            (*random.pick(&rare)).to_owned()
        }
        Kind::Blob if common => format!("x'{}'", random.pick(&["", "00", "ff00", "61", "0102030405060708"])),
        Kind::Blob => (*random.pick(&["zeroblob(10)", "zeroblob(0)", "zeroblob(6000)", "x'00ff00ff00ff'"])).to_owned(),
    }
}

impl Table {
    /// Lists the columns that can be written.
    pub fn stored(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| !column.generated).collect()
    }

    /// Lists the columns that are not of the key and can be written.
    pub fn cells(&self) -> Vec<&Column> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(index, column)| !column.generated && !self.key.contains(index))
            .map(|(_, column)| column)
            .collect()
    }

    /// Lists the key columns.
    pub fn key_columns(&self) -> Vec<&Column> {
        self.key.iter().map(|&index| &self.columns[index]).collect()
    }

    /// Picks a column.
    pub fn column(&self, random: &mut Random) -> &Column {
        random.pick(&self.columns)
    }

    /// Writes the statement that makes the table.
    pub fn create(&self) -> String {
        format!("CREATE TABLE {}{}", self.name, self.body)
    }

    /// Makes a table of the same form.
    pub fn twin(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Makes a random table, which may refer to `parents`.
    pub fn generate(random: &mut Random, name: &str, parents: &[Self]) -> Self {
        let deferred = random.percent(25);
        Maker {
            random,
            strict: false,
            without_rowid: false,
            deferred,
            parents,
            name,
            columns: Vec::new(),
            parts: Vec::new(),
        }
        .make()
    }
}

struct Maker<'a> {
    random: &'a mut Random,
    strict: bool,
    without_rowid: bool,
    /// All foreign keys of a table or none: after a row that breaks one of each, SQLite goes on counting the deferred one unless
    /// the table has triggers.
    deferred: bool,
    parents: &'a [Table],
    name: &'a str,
    columns: Vec<Column>,
    parts: Vec<String>,
}

impl Maker<'_> {
    fn make(mut self) -> Table {
        self.strict = self.random.percent(20);
        let mut key_at = 0;
        if self.random.percent(15) {
            self.add_generated("g0");
            key_at = self.columns.len();
        }
        let shape = self.random.below(10);
        let mut key = vec![key_at];
        let mut constraint = None;
        match shape {
            0..=2 => {
                let auto = if self.random.percent(20) { " AUTOINCREMENT" } else { "" };
                let conflict = if auto.is_empty() { self.on_conflict(10) } else { String::new() };
                self.add("id", Kind::Integer, format!("INTEGER PRIMARY KEY{conflict}{auto}"));
            }
            3 | 4 => {
                self.without_rowid = self.random.percent(35);
                let collation = *self.random.pick(&["", " COLLATE NOCASE", " COLLATE RTRIM"]);
                let conflict = self.on_conflict(10);
                let null = if self.random.percent(96) { " NOT NULL" } else { "" };
                self.add("k", Kind::Text, format!("TEXT PRIMARY KEY{conflict}{null}{collation}"));
            }
            5 | 6 => {
                self.without_rowid = self.random.percent(50);
                let second = self.random.percent(30);
                let kinds = [Kind::Text, Kind::Integer, Kind::Real];
                for index in 0..if second { 3 } else { 2 } {
                    let kind = *self.random.pick(&kinds);
                    let collation = if kind == Kind::Text { *self.random.pick(&["", " COLLATE NOCASE"]) } else { "" };
                    let declared = self.declare(kind);
                    self.add(&format!("k{index}"), kind, format!("{declared} NOT NULL{collation}"));
                }
                key = (key_at..self.columns.len()).collect();
                if self.random.percent(50) {
                    key.reverse();
                }
                let names: Vec<_> = key.iter().map(|&index| self.columns[index].name.clone()).collect();
                constraint = Some(format!("PRIMARY KEY({}){}", names.join(", "), self.on_conflict(10)));
            }
            7 => {
                // A quirk of SQLite's: this is no alias of the rowid. Nor is INT.
                let declared = if self.strict || self.random.percent(50) {
                    "INT NOT NULL PRIMARY KEY"
                } else {
                    "INTEGER NOT NULL PRIMARY KEY DESC"
                };
                self.add("id", Kind::Integer, declared.to_owned());
            }
            _ => {
                self.without_rowid = self.random.percent(35);
                let kind = *self.random.pick(&[Kind::Real, Kind::Blob, Kind::Any, Kind::Integer]);
                let declared = match kind {
                    Kind::Integer if !self.strict => "NUMERIC".to_owned(),
                    kind => self.declare(kind),
                };
                self.add("k", kind, format!("{declared} NOT NULL PRIMARY KEY"));
            }
        }
        let count = self.random.between(1, 5);
        for name in NAMES.into_iter().take(count) {
            self.add_cell(name);
        }
        if self.random.percent(20) {
            self.add_generated("g1");
            if self.random.percent(50) {
                self.add_cell("z");
            }
        }
        if let Some(constraint) = constraint {
            self.parts.push(constraint);
        }
        if self.columns.len() > 3 && self.random.percent(10) {
            let last = self.columns.len() - 1;
            let conflict = self.on_conflict(30);
            self.parts.push(format!("UNIQUE({}, {}){conflict}", self.columns[last].name, self.columns[last - 1].name));
        }
        let options = match (self.strict, self.without_rowid) {
            (true, true) => " STRICT, WITHOUT ROWID",
            (true, false) => " STRICT",
            (false, true) => " WITHOUT ROWID",
            (false, false) => "",
        };
        Table {
            name: self.name.to_owned(),
            body: format!("({}){options}", self.parts.join(", ")),
            columns: self.columns,
            key,
            has_rowid: !self.without_rowid,
        }
    }

    fn add(&mut self, name: &str, kind: Kind, definition: String) {
        self.parts.push(format!("{name} {definition}"));
        self.columns.push(Column { name: name.to_owned(), kind, generated: false });
    }

    fn on_conflict(&mut self, chance: usize) -> String {
        if self.random.percent(chance) { format!(" ON CONFLICT {}", conflict(self.random)) } else { String::new() }
    }

    fn declare(&mut self, kind: Kind) -> String {
        let choices: &[&str] = match (kind, self.strict) {
            (Kind::Integer, true) => &["INT", "INTEGER"],
            (Kind::Real, true) => &["REAL"],
            (Kind::Text, true) => &["TEXT"],
            (Kind::Blob, true) => &["BLOB"],
            (Kind::Any, true) => &["ANY"],
            (Kind::Integer, false) => &["INT", "INTEGER", "BIGINT", "NUMERIC", "BOOLEAN"],
            (Kind::Real, false) => &["REAL", "DOUBLE", "FLOAT", "NUMERIC"],
            (Kind::Text, false) => &["TEXT", "VARCHAR(10)", "CLOB"],
            (Kind::Blob, false) => &["BLOB"],
            (Kind::Any, false) => &["", "NUMERIC", "BLOB", "TEXT", "ANY"],
        };
        (*self.random.pick(choices)).to_owned()
    }

    fn add_cell(&mut self, name: &str) {
        if !self.parents.is_empty() && self.random.percent(40) {
            return self.add_reference(name);
        }
        let kind = *self.random.pick(&[Kind::Integer, Kind::Real, Kind::Text, Kind::Text, Kind::Blob, Kind::Any]);
        let mut definition = self.declare(kind);
        if self.random.percent(15) {
            definition.push_str(" NOT NULL");
            definition.push_str(&self.on_conflict(40));
            if self.random.percent(60) {
                definition.push_str(&format!(" DEFAULT ({})", literal(self.random, kind)));
            }
        } else if self.random.percent(15) {
            definition.push_str(&format!(" DEFAULT ({})", literal(self.random, kind)));
        }
        if self.random.percent(12) {
            definition.push_str(&format!(" UNIQUE{}", self.on_conflict(40)));
        }
        if self.random.percent(10) {
            let check = self
                .random
                .pick(&["typeof(#) <> 'blob'", "# IS NULL OR # <> 3", "length(#) < 1000"])
                .replace('#', name);
            definition.push_str(&format!(" CHECK({check})"));
        }
        if kind == Kind::Text && self.random.percent(20) {
            let collation = *self.random.pick(&[" COLLATE NOCASE", " COLLATE RTRIM"]);
            definition.push_str(collation);
        }
        self.add(name, kind, definition);
    }

    fn add_reference(&mut self, name: &str) {
        let parent = self.random.pick(self.parents);
        let [key] = parent.key_columns()[..] else {
            return self.add(name, Kind::Any, self_or_any(self.strict).to_owned());
        };
        let (kind, target) = (key.kind, format!("{}({})", parent.name, key.name));
        let mut definition = self.declare(kind);
        definition.push_str(&format!(" REFERENCES {target}"));
        for event in ["DELETE", "UPDATE"] {
            if self.random.percent(80) {
                definition.push_str(&format!(" ON {event} {}", self.random.pick(&ACTIONS)));
            }
        }
        if self.deferred {
            definition.push_str(" DEFERRABLE INITIALLY DEFERRED");
        }
        self.add(name, kind, definition);
    }

    fn add_generated(&mut self, name: &str) {
        let storage = *self.random.pick(&["VIRTUAL", "STORED"]);
        let declared = if self.strict { "TEXT" } else { *self.random.pick(&["", "TEXT", "INT"]) };
        // The first stored column that is there already, or the one that will be the key of most tables.
        let source = self.columns.last().filter(|column| !column.generated).map(|column| column.name.clone());
        let expression = match source {
            Some(source) => format!("typeof({source}) || length({source})"),
            None => "'fixed'".to_owned(),
        };
        let declared = if self.strict || self.random.percent(70) { declared } else { "" };
        self.parts.push(format!("{name} {declared} AS ({expression}) {storage}"));
        self.columns.push(Column { name: name.to_owned(), kind: Kind::Text, generated: true });
    }
}

fn self_or_any(strict: bool) -> &'static str {
    if strict { "ANY" } else { "" }
}
