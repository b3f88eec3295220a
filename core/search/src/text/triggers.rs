//! The triggers that keep an index right, as SQL.
//!
//! FTS5 with external content has to be told the old text of a row that leaves the index. SQLite does not make that easy: REPLACE
//! fires no DELETE trigger for the rows it displaces (unless `recursive_triggers` is on), INSERT OR IGNORE and UPSERT fire BEFORE
//! INSERT for a row that will not be inserted, and a trigger of the user's may change the row again before ours has run.
//!
//! So what the index holds of a row that is about to change, or that may be displaced, is first copied to a side table (*old*).
//! After the change every copied row that is gone, and the row that was written, is *settled*: its entry is removed by the copied
//! text, and the row as it now stands is entered if it is not in the index.
//!
//! Invariants:
//! 1. A row of the side table holds exactly what the index holds of that row; nothing changes an entry without removing the copy.
//! 2. A row that is in the table and not in the side table is in the index as it stands, or not in the index at all.
//! 3. Settling a row twice does nothing the second time. So the order in which SQLite fires triggers does not matter.
//! 4. No statement here has an ON CONFLICT clause: the one of the user's statement would override it.

use super::content::{Content, Key, TermValue};
use crate::sql::quote;

/// Copies of rows that were not displaced after all stay until so many later ones were made.
const SPARE_COPIES_MAX: usize = 32;

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

/// The statements that keep an index right around one write that fires no triggers; the key is bound from `?1` on.
#[derive(Debug, Clone, Default)]
pub struct Around {
    pub(super) before: String,
    pub(super) after: Vec<String>,
}

/// Where the key of a row comes from.
#[derive(Clone, Copy)]
enum From {
    New,
    Old,
    Parameters,
}

/// Names the side table of an index.
pub(super) fn old_table(num: i64) -> String {
    format!("kith_text_{num}_old")
}

/// Names the table in which an index numbers the rows of a table without INTEGER PRIMARY KEY.
pub(super) fn keys_table(num: i64) -> String {
    format!("kith_text_{num}_keys")
}

/// Names the triggers of an index.
pub(super) fn trigger_names(num: i64) -> [String; 6] {
    ["bi", "ai", "bu", "au", "bd", "ad"].map(|event| format!("kith_text_{num}_{event}"))
}

impl Keeper<'_> {
    fn old(&self) -> String {
        quote(&old_table(self.num))
    }

    fn keys(&self) -> String {
        quote(&keys_table(self.num))
    }

    fn fts_columns(&self) -> String {
        self.columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
    }

    fn copied_columns(&self) -> String {
        (0..self.columns.len()).map(|place| format!("c{place}")).collect::<Vec<_>>().join(", ")
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
        let (table, schema) = (quote(&self.content.table), self.schema);
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

    /// Tells in SQL whether the row `t` would be displaced by the new one: other than by its key, which `has_key` tells.
    fn collides(&self) -> Vec<String> {
        let all: Vec<String> =
            self.content.columns.iter().map(|column| format!("new.{0} AS {0}", quote(column))).collect();
        let condition = |unique: &super::content::Unique| {
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
        self.content.unique.iter().map(condition).filter(|condition| !condition.is_empty()).collect()
    }

    /// Copies what the index holds of the rows `t` that a condition names.
    fn copy(&self, condition: &str) -> String {
        format!(
            "INSERT INTO {schema}{old}(docid, {copied}) SELECT {docid}, {columns} FROM {rows} WHERE ({condition})
               AND EXISTS(SELECT 1 FROM {schema}{docsize} d WHERE d.id = {docid})
               AND NOT EXISTS(SELECT 1 FROM {schema}{old} o WHERE o.docid = {docid})",
            schema = self.schema,
            old = self.old(),
            copied = self.copied_columns(),
            docid = self.docid(),
            columns = self.row_columns(),
            rows = self.rows(),
            docsize = quote(&format!("{}_docsize", self.fts)),
        )
    }

    fn prune(&self) -> String {
        let kept = SPARE_COPIES_MAX + self.content.unique.len();
        format!("DELETE FROM {old} WHERE n <= (SELECT max(n) FROM {old}) - {kept}", old = self.old())
    }

    /// Settles every copied row that is gone, and the row of the key given if there is one.
    fn settle(&self, written: Option<From>) -> Vec<String> {
        let (old, keys, fts, schema) = (self.old(), self.keys(), quote(self.fts), self.schema);
        let gone = match &self.content.key {
            Key::Rowid(key) => format!(
                "NOT EXISTS(SELECT 1 FROM {schema}{} t WHERE t.{} = {old}.docid)",
                quote(&self.content.table),
                quote(key)
            ),
            Key::Columns(_) => format!(
                "NOT EXISTS(SELECT 1 FROM {schema}{keys} m CROSS JOIN {schema}{} t ON {} WHERE m.docid = {old}.docid)",
                quote(&self.content.table),
                self.is_numbered("m")
            ),
        };
        let due = match written {
            None => gone.clone(),
            Some(from) => format!("{old}.docid = {} OR {gone}", self.docid_of_key(from)),
        };
        let mut out = vec![format!(
            "INSERT INTO {schema}{fts}({fts}, rowid, {}) SELECT 'delete', docid, {} FROM {schema}{old} WHERE {due}",
            self.fts_columns(),
            self.copied_columns()
        )];
        if let Key::Columns(_) = &self.content.key {
            out.push(format!(
                "DELETE FROM {schema}{keys} WHERE docid IN (SELECT docid FROM {schema}{old} WHERE {gone})"
            ));
        }
        out.push(format!("DELETE FROM {schema}{old} WHERE {due}"));
        if let Some(from) = written {
            if let Key::Columns(columns) = &self.content.key {
                let names: Vec<String> = (0..columns.len()).map(|place| format!("k{place}")).collect();
                let values: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(place, column)| self.key_value(from, place, &column.name))
                    .collect();
                let pairs = || names.iter().zip(&values);
                let is_whole: Vec<String> = values.iter().map(|value| format!("{value} IS NOT NULL")).collect();
                let equal: Vec<String> = pairs().map(|(name, value)| format!("m.{name} = {value}")).collect();
                out.push(format!(
                    "INSERT INTO {schema}{keys}({}) SELECT {} WHERE {} AND NOT EXISTS(SELECT 1 FROM {schema}{keys} m WHERE {})",
                    names.join(", "),
                    values.join(", "),
                    is_whole.join(" AND "),
                    equal.join(" AND ")
                ));
            }
            out.push(format!(
                "INSERT INTO {schema}{fts}(rowid, {}) SELECT {docid}, {} FROM {} WHERE {}
                   AND NOT EXISTS(SELECT 1 FROM {schema}{} d WHERE d.id = {docid})",
                self.fts_columns(),
                self.row_columns(),
                self.rows(),
                self.has_key(from),
                quote(&format!("{}_docsize", self.fts)),
                docid = self.docid()
            ));
        }
        out
    }

    fn docid_of_key(&self, from: From) -> String {
        match &self.content.key {
            Key::Rowid(key) => self.key_value(from, 0, key),
            Key::Columns(columns) => {
                let equal: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(place, column)| format!("m.k{place} = {}", self.key_value(from, place, &column.name)))
                    .collect();
                format!("(SELECT m.docid FROM {}{} m WHERE {})", self.schema, self.keys(), equal.join(" AND "))
            }
        }
    }

    /// Tells in SQL whether an UPDATE changes what concerns the index. No `UPDATE OF` list: it would overlook `SET rowid = …`.
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
        watched.iter().map(differs).collect::<Vec<_>>().join(" OR ")
    }

    /// Returns the statements that create the triggers.
    pub(super) fn create_triggers(&self) -> Vec<String> {
        let table = quote(&self.content.table);
        let mut displaced = vec![self.has_key(From::New)];
        displaced.extend(self.collides());
        let exists = |condition: &String| format!("EXISTS(SELECT 1 FROM {table} t WHERE {condition})");
        let any_displaced = displaced.iter().map(exists).collect::<Vec<_>>().join(" OR ");
        let either = |conditions: &[String]| {
            conditions.iter().map(|condition| format!("({condition})")).collect::<Vec<_>>().join(" OR ")
        };
        let changed = self.is_changed();
        let mut touched = vec![self.has_key(From::Old)];
        touched.extend(displaced.iter().cloned());
        let definitions = [
            ("BEFORE INSERT", any_displaced, vec![self.prune(), self.copy(&either(&displaced))]),
            ("AFTER INSERT", String::new(), self.settle(Some(From::New))),
            ("BEFORE UPDATE", changed.clone(), vec![self.prune(), self.copy(&either(&touched))]),
            ("AFTER UPDATE", changed, self.settle(Some(From::New))),
            ("BEFORE DELETE", String::new(), vec![self.copy(&self.has_key(From::Old))]),
            ("AFTER DELETE", String::new(), self.settle(None)),
        ];
        trigger_names(self.num)
            .iter()
            .zip(definitions)
            .map(|(name, (event, condition, body))| {
                let when = if condition.is_empty() { String::new() } else { format!(" WHEN {condition}") };
                format!("CREATE TRIGGER main.{name} {event} ON {table}{when} BEGIN {}; END", body.join("; "))
            })
            .collect()
    }

    /// Returns the statements that stand in for the triggers around one write of a row whose key is known.
    pub(super) fn around(&self) -> Around {
        Around { before: self.copy(&self.has_key(From::Parameters)), after: self.settle(Some(From::Parameters)) }
    }

    /// Returns the statements that fill an empty index.
    pub(super) fn fill(&self) -> Vec<String> {
        let (mut out, schema) = (Vec::new(), self.schema);
        if let Key::Columns(columns) = &self.content.key {
            let table = quote(&self.content.table);
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
