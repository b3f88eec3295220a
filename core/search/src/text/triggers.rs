//! The triggers that keep an index right, as SQL.
//!
//! The index has its own copy of the texts, so that FTS5 can take an entry out by its number alone, whatever has become of the row. So
//! after each change the entry of the row that was written is taken out, and the row as it now stands is entered.
//!
//! SQLite does not make it easy to know of all rows that are gone: REPLACE fires no DELETE trigger for the rows it displaces (unless
//! `recursive_triggers` is on). Those that would be displaced by a UNIQUE index are therefore noted before the change in a side table
//! (*displaced*), and taken out after it if they are gone indeed. INSERT OR IGNORE and UPSERT fire BEFORE INSERT for a row that will not
//! be inserted; what they noted is not gone, and forgotten in time.
//!
//! Invariants:
//! 1. Whatever UNIQUE indexes there are: a row of the table that is in the index is in it as it stands.
//! 2. A number that is in the index and has no row belongs to a row that was displaced by a UNIQUE index which these triggers do not know,
//!    since it was made later. `repair` takes it out; until then searches pass it over.
//! 3. Entering a row twice does nothing the second time. So the order in which SQLite fires triggers does not matter.
//! 4. No statement here has an ON CONFLICT clause: the one of the user's statement would override it.

use super::content::{Content, Key, TermValue, Unique};
use crate::sql::quote;

/// Notes of rows that were not displaced after all stay until so many later ones were made.
const SPARE_NOTES_MAX: usize = 32;

/// What the statements are made from.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pub(super) num: i64,
    /// The FTS5 table.
    pub(super) fts: &'a str,
    pub(super) content: &'a Content,
    /// The indexed columns.
    pub(super) columns: &'a [String],
    /// What stands before the name of a table: nothing in a trigger, whose file may be attached under another name.
    pub(super) schema: &'static str,
}

/// The statements that keep an index right after one write that fires no triggers; the key is bound from `?1` on.
#[derive(Debug, Clone, Default)]
pub struct Settle {
    pub(super) statements: Vec<String>,
}

/// Where the key of a row comes from.
#[derive(Clone, Copy)]
enum From {
    New,
    Old,
    Parameters,
}

/// Names the side table of an index.
pub(super) fn displaced_table(num: i64) -> String {
    format!("kith_text_{num}_displaced")
}

/// Names the table in which an index numbers the rows of a table without INTEGER PRIMARY KEY.
pub(super) fn keys_table(num: i64) -> String {
    format!("kith_text_{num}_keys")
}

/// Names the triggers that an index may have.
pub(super) fn trigger_names(num: i64) -> [String; 5] {
    ["bi", "ai", "bu", "au", "ad"].map(|event| trigger_name(num, event))
}

fn trigger_name(num: i64, event: &str) -> String {
    format!("kith_text_{num}_{event}")
}

impl Keeper<'_> {
    fn displaced(&self) -> String {
        quote(&displaced_table(self.num))
    }

    fn keys(&self) -> String {
        quote(&keys_table(self.num))
    }

    fn table(&self) -> String {
        quote(&self.content.table)
    }

    fn fts_columns(&self) -> String {
        self.columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
    }

    fn row_columns(&self) -> String {
        self.columns.iter().map(|column| format!("t.{}", quote(column))).collect::<Vec<_>>().join(", ")
    }

    /// The number of a row `t` in the index.
    pub(super) fn docid(&self) -> String {
        match &self.content.key {
            Key::Rowid(key) => format!("t.{}", quote(key)),
            Key::Columns(_) => "m.docid".to_owned(),
        }
    }

    /// The table as `t`, with the numbers of its rows.
    pub(super) fn rows(&self) -> String {
        let (table, schema) = (self.table(), self.schema);
        match &self.content.key {
            Key::Rowid(_) => format!("{schema}{table} t"),
            Key::Columns(_) => {
                format!("{schema}{table} t CROSS JOIN {schema}{} m ON {}", self.keys(), self.is_numbered("m"))
            }
        }
    }

    /// Tells in SQL whether `numbers` has the row `t`.
    fn is_numbered(&self, numbers: &str) -> String {
        let parts = self.content.key.names();
        let equal = |(place, name): (usize, &&str)| format!("{numbers}.k{place} = t.{}", quote(name));
        parts.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    fn key_value(&self, from: From, place: usize, name: &str) -> String {
        match from {
            From::New => format!("new.{}", quote(name)),
            From::Old => format!("old.{}", quote(name)),
            From::Parameters => format!("?{}", place + 1),
        }
    }

    /// Tells in SQL whether `t` has the key given.
    fn has_key(&self, from: From) -> String {
        let parts = self.content.key.names();
        let equal =
            |(place, name): (usize, &&str)| format!("t.{} = {}", quote(name), self.key_value(from, place, name));
        parts.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// Tells in SQL whether `t` has the key given, NULLs being equal.
    fn is_key(&self, from: From) -> String {
        let parts = self.content.key.names();
        let equal =
            |(place, name): (usize, &&str)| format!("t.{} IS {}", quote(name), self.key_value(from, place, name));
        parts.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// Tells in SQL whether the row `t` would be displaced by the new one: other than by its key, whose number the new row takes over.
    fn collides(&self) -> Vec<String> {
        let all: Vec<String> =
            self.content.columns.iter().map(|column| format!("new.{0} AS {0}", quote(column))).collect();
        let condition = |unique: &Unique| {
            let mut parts: Vec<String> = unique
                .terms
                .iter()
                .map(|term| {
                    let collation = quote(&term.collation);
                    match &term.value {
                        TermValue::Column(column) => format!("t.{0} COLLATE {collation} = new.{0}", quote(column)),
                        // A comment inside an expression ends with its line.
                        TermValue::Expression(expression) => format!(
                            "({expression}\n) COLLATE {collation} = (SELECT ({expression}\n) FROM (SELECT {}))",
                            all.join(", ")
                        ),
                    }
                })
                .collect();
            parts.extend(unique.condition.iter().map(|condition| format!("({condition}\n)")));
            parts.join(" AND ")
        };
        let mut out: Vec<String> =
            self.content.unique.iter().map(condition).filter(|condition| !condition.is_empty()).collect();
        if let (Key::Columns(_), Some(rowid)) = (&self.content.key, self.content.rowid) {
            // A rowid that is given displaces, too.
            out.push(format!("t.{rowid} = new.{rowid}"));
        }
        out
    }

    /// Notes the numbers of the rows `t` that a condition names.
    fn note(&self, condition: &str) -> String {
        format!(
            "INSERT INTO {displaced}(docid) SELECT {docid} FROM {rows} WHERE ({condition})
               AND NOT EXISTS(SELECT 1 FROM {displaced} o WHERE o.docid = {docid})",
            displaced = self.displaced(),
            docid = self.docid(),
            rows = self.rows(),
        )
    }

    fn forget(&self) -> String {
        let kept = SPARE_NOTES_MAX + self.content.unique.len();
        let displaced = self.displaced();
        format!("DELETE FROM {displaced} WHERE n <= (SELECT max(n) FROM {displaced}) - {kept}")
    }

    /// Tells in SQL whether the row of a number is not in the table.
    fn is_gone(&self, docid: &str) -> String {
        let (table, schema) = (self.table(), self.schema);
        match &self.content.key {
            Key::Rowid(key) => format!("NOT EXISTS(SELECT 1 FROM {schema}{table} t WHERE t.{} = {docid})", quote(key)),
            Key::Columns(_) => format!(
                "NOT EXISTS(SELECT 1 FROM {schema}{} m CROSS JOIN {schema}{table} t ON {} WHERE m.docid = {docid})",
                self.keys(),
                self.is_numbered("m")
            ),
        }
    }

    /// Takes out the entries of the numbers that a query gives, and forgets the numbers.
    fn take_out(&self, numbers: &str) -> Vec<String> {
        let (fts, schema) = (quote(self.fts), self.schema);
        let mut out = vec![format!("DELETE FROM {schema}{fts} WHERE rowid IN ({numbers})")];
        if let Key::Columns(_) = &self.content.key {
            out.push(format!("DELETE FROM {schema}{} WHERE docid IN ({numbers})", self.keys()));
        }
        out
    }

    /// Takes out the entries of noted rows that are gone.
    fn take_out_displaced(&self) -> Vec<String> {
        let displaced = self.displaced();
        let gone = self.is_gone(&format!("{displaced}.docid"));
        let mut out = self.take_out(&format!("SELECT docid FROM {displaced} WHERE {gone}"));
        // Those that have no entry any more are not in the table either.
        out.push(format!("DELETE FROM {displaced} WHERE {gone}"));
        out
    }

    /// The number that the row of a key has in the index, as a query.
    fn docid_of_key(&self, from: From) -> String {
        match &self.content.key {
            Key::Rowid(key) => self.key_value(from, 0, key),
            Key::Columns(columns) => {
                let equal: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(place, column)| format!("m.k{place} = {}", self.key_value(from, place, &column.name)))
                    .collect();
                format!("SELECT m.docid FROM {}{} m WHERE {}", self.schema, self.keys(), equal.join(" AND "))
            }
        }
    }

    /// Takes out the entry of a key whose row is gone.
    fn leave(&self, from: From) -> Vec<String> {
        let gone = format!("NOT EXISTS(SELECT 1 FROM {}{} t WHERE {})", self.schema, self.table(), self.has_key(from));
        let number = match &self.content.key {
            Key::Rowid(_) => format!("SELECT {} WHERE {gone}", self.docid_of_key(from)),
            Key::Columns(_) => format!("{} AND {gone}", self.docid_of_key(from)),
        };
        self.take_out(&number)
    }

    /// Takes out the entry of a key and enters its row as it stands.
    fn enter(&self, from: From) -> Vec<String> {
        let (keys, fts, schema) = (self.keys(), quote(self.fts), self.schema);
        let mut out = vec![format!("DELETE FROM {schema}{fts} WHERE rowid = ({})", self.docid_of_key(from))];
        if let Key::Columns(columns) = &self.content.key {
            let names: Vec<String> = (0..columns.len()).map(|place| format!("k{place}")).collect();
            let values: Vec<String> =
                columns.iter().enumerate().map(|(place, column)| self.key_value(from, place, &column.name)).collect();
            let is_whole: Vec<String> = values.iter().map(|value| format!("{value} IS NOT NULL")).collect();
            out.push(format!(
                "INSERT INTO {schema}{keys}({}) SELECT {} WHERE {} AND NOT EXISTS({})",
                names.join(", "),
                values.join(", "),
                is_whole.join(" AND "),
                self.docid_of_key(from)
            ));
        }
        out.push(format!(
            "INSERT INTO {schema}{fts}(rowid, {}) SELECT {}, {} FROM {} WHERE {}",
            self.fts_columns(),
            self.docid(),
            self.row_columns(),
            self.rows(),
            self.has_key(from)
        ));
        out
    }

    /// Tells in SQL whether an UPDATE changes anything of interest; a column's new value is not always what is in its `SET`, and
    /// `UPDATE OF` would overlook `SET rowid = …`.
    fn is_changed(&self) -> String {
        let mut watched: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        watched.extend(self.content.key.names());
        let mut reads_any = false;
        for unique in &self.content.unique {
            reads_any |= unique.condition.is_some();
            for term in &unique.terms {
                match &term.value {
                    TermValue::Column(column) => watched.push(column),
                    TermValue::Expression(_) => reads_any = true,
                }
            }
        }
        if reads_any {
            watched.extend(self.content.columns.iter().map(String::as_str));
        }
        watched.sort_unstable();
        watched.dedup();
        let differs = |column: &&str| {
            let column = quote(column);
            // 1 and 1.0 are equal and read differently.
            format!("old.{column} COLLATE BINARY IS NOT new.{column} OR typeof(old.{column}) <> typeof(new.{column})")
        };
        let mut out: Vec<String> = watched.iter().map(differs).collect();
        if let (Key::Columns(_), Some(rowid)) = (&self.content.key, self.content.rowid) {
            out.push(format!("old.{rowid} <> new.{rowid}"));
        }
        out.join(" OR ")
    }

    /// Returns the names of the triggers and the statements that create them.
    pub(super) fn create_triggers(&self) -> Vec<(String, String)> {
        let table = self.table();
        let displaced = self.collides();
        let is_not_itself = format!(" AND NOT ({})", self.is_key(From::Old));
        let exists = |and: &str| {
            let each =
                displaced.iter().map(|condition| format!("EXISTS(SELECT 1 FROM {table} t WHERE {condition}{and})"));
            each.collect::<Vec<_>>().join(" OR ")
        };
        let either = |and: &str| {
            let each = displaced.iter().map(|condition| format!("({condition}{and})"));
            each.collect::<Vec<_>>().join(" OR ")
        };
        let changed = self.is_changed();
        let mut after_insert = self.enter(From::New);
        let mut after_update = self.leave(From::Old);
        after_update.extend(self.enter(From::New));
        let mut definitions = Vec::new();
        if !displaced.is_empty() {
            let note = |and: &str| vec![self.forget(), self.note(&either(and))];
            definitions.push(("bi", "BEFORE INSERT", exists(""), note("")));
            definitions.push(("bu", "BEFORE UPDATE", exists(&is_not_itself), note(&is_not_itself)));
            after_insert.splice(0..0, self.take_out_displaced());
            after_update.splice(0..0, self.take_out_displaced());
        }
        definitions.push(("ai", "AFTER INSERT", String::new(), after_insert));
        definitions.push(("au", "AFTER UPDATE", changed, after_update));
        definitions.push(("ad", "AFTER DELETE", String::new(), self.leave(From::Old)));
        definitions
            .into_iter()
            .map(|(short, event, condition, body)| {
                let name = trigger_name(self.num, short);
                let when = if condition.is_empty() { String::new() } else { format!(" WHEN {condition}") };
                let sql = format!("CREATE TRIGGER main.{name} {event} ON {table}{when} BEGIN {}; END", body.join("; "));
                (name, sql)
            })
            .collect()
    }

    /// Returns the statements that stand in for the triggers after one write of a row whose key is known.
    pub(super) fn settle(&self) -> Settle {
        let mut statements = self.leave(From::Parameters);
        statements.extend(self.enter(From::Parameters));
        Settle { statements }
    }

    /// Returns the statements that take out all entries of rows that are gone.
    pub(super) fn sweep(&self) -> Vec<String> {
        let docids = quote(&format!("{}_docsize", self.fts));
        let gone = self.is_gone("d.id");
        let mut out = Vec::new();
        if let Key::Columns(_) = &self.content.key {
            let keys = self.keys();
            out.push(format!("DELETE FROM {}{keys} WHERE {}", self.schema, self.is_gone(&format!("{keys}.docid"))));
        }
        // A number without a key is gone, too.
        out.push(format!(
            "DELETE FROM {schema}{} WHERE rowid IN (SELECT d.id FROM {schema}{docids} d WHERE {gone})",
            quote(self.fts),
            schema = self.schema
        ));
        out
    }

    /// Returns the statements that fill an empty index.
    pub(super) fn fill(&self) -> Vec<String> {
        let (mut out, schema) = (Vec::new(), self.schema);
        if let Key::Columns(columns) = &self.content.key {
            let table = self.table();
            let names: Vec<String> = (0..columns.len()).map(|place| format!("k{place}")).collect();
            let values: Vec<String> = columns.iter().map(|column| format!("t.{}", quote(&column.name))).collect();
            let is_whole: Vec<String> = values.iter().map(|value| format!("{value} IS NOT NULL")).collect();
            out.push(format!(
                "INSERT INTO {schema}{}({}) SELECT {} FROM {schema}{table} t WHERE {}",
                self.keys(),
                names.join(", "),
                values.join(", "),
                is_whole.join(" AND ")
            ));
        }
        out.push(format!(
            "INSERT INTO {schema}{}(rowid, {}) SELECT {}, {} FROM {}",
            quote(self.fts),
            self.fts_columns(),
            self.docid(),
            self.row_columns(),
            self.rows()
        ));
        out
    }
}
