//! Reads how a table that is to be indexed is made: its columns, its key, and what REPLACE may displace a row by.

use kithdb_log::Affinity;
use rusqlite::{Connection, OptionalExtension};

use super::error::TextError;
use crate::sql::quote;
use kithdb_log::ids::is_reserved;

/// A column of the key.
#[derive(Debug, Clone)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    /// Affinity and collation, as a column definition says them.
    pub(super) definition: String,
}

/// How a row of the table is told from others for good.
#[derive(Debug, Clone)]
pub(super) enum Key {
    /// An INTEGER PRIMARY KEY, which is the rowid.
    Rowid(String),
    /// Other columns; the index numbers the rows itself, since VACUUM may renumber them and WITHOUT ROWID tables have no number.
    Columns(Vec<KeyColumn>),
}

impl Key {
    /// Lists the key's columns.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Rowid(name) => vec![name],
            Self::Columns(columns) => columns.iter().map(|column| column.name.as_str()).collect(),
        }
    }
}

/// A UNIQUE index or constraint, as the terms that must be equal for two rows to collide.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    pub(super) terms: Vec<Term>,
    /// The WHERE of a partial index.
    pub(super) condition: Option<String>,
}

/// One term of a UNIQUE index.
#[derive(Debug, Clone)]
pub(super) struct Term {
    /// A column's name, or an expression over the columns.
    pub(super) value: TermValue,
    pub(super) collation: String,
}

/// What a term is.
#[derive(Debug, Clone)]
pub(super) enum TermValue {
    /// A column.
    Column(String),
    /// An expression, as it was written.
    Expression(String),
}

/// A table as it stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) table: String,
    /// All columns that can be read by name, generated ones included.
    pub(super) columns: Vec<String>,
    /// Those that `kith_text` would be told: declared as text, or whatever comes nearest to that.
    pub(super) texts: Vec<String>,
    pub(super) key: Key,
    /// The UNIQUE indexes and constraints, the key's own aside.
    pub(super) unique: Vec<Unique>,
    /// A name of the rowid that no column hides; `None` where there is none.
    pub(super) rowid: Option<&'static str>,
}

impl Content {
    /// Reads the table of that name in the main database.
    pub(super) fn read(conn: &Connection, name: &str) -> Result<Self, TextError> {
        let found: Option<(String, String, bool)> = conn
            .prepare_cached(&format!("PRAGMA main.table_list({})", quote(name)))?
            .query_row([], |row| Ok((row.get("name")?, row.get("type")?, row.get("wr")?)))
            .optional()?;
        let Some((table, kind, without_rowid)) = found else {
            return Err(TextError::NoTable { table: name.to_owned() });
        };
        if kind != "table" || is_reserved(&table) {
            return Err(TextError::NotATable { table });
        }
        let listed = conn
            .prepare_cached("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid")?
            .query_map([&table], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<String> = listed.iter().map(|(name, ..)| name.clone()).collect();
        let rowid = ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|alias| !without_rowid && !columns.iter().any(|column| column.eq_ignore_ascii_case(alias)));
        let indexes = read_indexes(conn, &table, &columns)?;
        let mut declared: Vec<_> = listed.iter().filter(|(_, _, place, _)| *place > 0).collect();
        declared.sort_by_key(|(_, _, place, _)| *place);
        if declared.is_empty() {
            return Err(TextError::NoPrimaryKey { table });
        }
        let primary = indexes.iter().find(|(is_primary, _)| *is_primary).map(|(_, unique)| unique);
        let key = match primary {
            // No index carries the key: the one key column is another name of the rowid.
            None => Key::Rowid(declared[0].0.clone()),
            Some(primary) => Key::Columns(
                declared
                    .iter()
                    .map(|(name, declared, ..)| KeyColumn {
                        name: name.clone(),
                        definition: format!("{} COLLATE {}", affinity(declared), collation_of(primary, name)),
                    })
                    .collect(),
            ),
        };
        let texts = texts_of(&listed);
        let unique = indexes.into_iter().filter(|(is_primary, _)| !is_primary).map(|(_, unique)| unique).collect();
        Ok(Self { table, columns, texts, key, unique, rowid })
    }

    /// Finds a column by name, without regard to ASCII case, and returns its name as declared.
    pub(super) fn column(&self, name: &str) -> Result<&str, TextError> {
        let found = self.columns.iter().find(|column| column.eq_ignore_ascii_case(name));
        found.map(String::as_str).ok_or_else(|| TextError::NoColumn {
            table: self.table.clone(),
            column: name.to_owned(),
            columns: self.columns.join(", "),
        })
    }
}

/// Picks the columns that most likely hold text: declared so, or without a type; those of the key only if there are no others.
fn texts_of(listed: &[(String, String, i64, i64)]) -> Vec<String> {
    let pick = |is_wanted: &dyn Fn(&str, i64) -> bool| -> Vec<String> {
        let wanted = listed.iter().filter(|(_, declared, place, _)| is_wanted(declared, *place));
        wanted.map(|(name, ..)| name.clone()).collect()
    };
    let is_text = |declared: &str| Affinity::of_declared_type(declared) == Affinity::Text;
    let choices = [
        pick(&|declared, place| place == 0 && is_text(declared)),
        pick(&|declared, place| place == 0 && declared.is_empty()),
        pick(&|declared, _| is_text(declared)),
        pick(&|_, place| place == 0),
    ];
    choices.into_iter().find(|choice| !choice.is_empty()).unwrap_or_else(|| pick(&|_, _| true))
}

fn collation_of(primary: &Unique, name: &str) -> String {
    let term = primary.terms.iter().find(|term| matches!(&term.value, TermValue::Column(column) if column == name));
    quote(term.map_or("BINARY", |term| &term.collation))
}

const fn affinity_text(affinity: Affinity) -> &'static str {
    match affinity {
        Affinity::Text => "TEXT",
        Affinity::Integer => "INT",
        Affinity::Real => "REAL",
        Affinity::Numeric => "NUMERIC",
        _ => "BLOB",
    }
}

fn affinity(declared: &str) -> &'static str {
    if declared.eq_ignore_ascii_case("ANY") { "BLOB" } else { affinity_text(Affinity::of_declared_type(declared)) }
}

/// Reads the UNIQUE indexes, and says of each whether it is the primary key's.
fn read_indexes(conn: &Connection, table: &str, columns: &[String]) -> Result<Vec<(bool, Unique)>, TextError> {
    let listed = conn
        .prepare_cached(
            "SELECT l.name, l.origin, s.sql FROM pragma_index_list(?1, 'main') l
             LEFT JOIN main.sqlite_schema s ON s.type = 'index' AND s.name = l.name WHERE l.\"unique\" ORDER BY l.seq",
        )?
        .query_map([table], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::with_capacity(listed.len());
    for (name, origin, sql) in listed {
        let (written, condition) = sql.as_deref().map_or((Vec::new(), None), split_index);
        let parts = conn
            .prepare_cached("SELECT cid, coll FROM pragma_index_xinfo(?1, 'main') WHERE \"key\" ORDER BY seqno")?
            .query_map([&name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        let mut terms = Vec::with_capacity(parts.len());
        for (place, (cid, collation)) in parts.into_iter().enumerate() {
            let column = usize::try_from(cid).ok().and_then(|cid| columns.get(cid));
            let value = match (column, written.get(place)) {
                (Some(column), _) => TermValue::Column(column.clone()),
                (None, Some(expression)) => TermValue::Expression(expression.clone()),
                // The rowid adds nothing: two rows that share it are one.
                (None, None) => continue,
            };
            terms.push(Term { value, collation: collation.unwrap_or_else(|| "BINARY".to_owned()) });
        }
        out.push((origin == "pk", Unique { terms, condition }));
    }
    Ok(out)
}

/// Splits `CREATE UNIQUE INDEX … ON table(term, …) WHERE condition`, which SQLite has accepted, into terms and condition.
fn split_index(sql: &str) -> (Vec<String>, Option<String>) {
    let bytes = sql.as_bytes();
    let (mut terms, mut depth, mut start, mut place) = (Vec::new(), 0_usize, 0, 0);
    let mut rest = None;
    while place < bytes.len() {
        let skipped = skip_token(bytes, place);
        if skipped > place {
            place = skipped;
            continue;
        }
        match bytes[place] {
            b'(' => {
                depth += 1;
                if depth == 1 {
                    start = place + 1;
                }
            }
            b')' | b',' if depth == 1 => {
                terms.push(without_order(&sql[start..place]));
                start = place + 1;
                if bytes[place] == b')' {
                    rest = Some(place + 1);
                    break;
                }
            }
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        place += 1;
    }
    let rest = rest.map_or("", |place| sql[place..].trim());
    let condition =
        rest.get(..5).filter(|word| word.eq_ignore_ascii_case("where")).map(|_| rest[5..].trim().to_owned());
    (terms, condition)
}

/// Returns where a quoted name, a string or a comment that begins here ends; the same place if none does.
fn skip_token(bytes: &[u8], place: usize) -> usize {
    let until = |end: &[u8], from: usize| {
        let found = bytes[from..].windows(end.len()).position(|window| window == end);
        found.map_or(bytes.len(), |at| from + at + end.len())
    };
    match bytes[place] {
        // A doubled quote inside ends one token and begins the next, which comes to the same.
        quote @ (b'\'' | b'"' | b'`') => until(&[quote], place + 1),
        b'[' => until(b"]", place + 1),
        b'-' if bytes[place..].starts_with(b"--") => until(b"\n", place),
        b'/' if bytes[place..].starts_with(b"/*") => until(b"*/", place + 2),
        _ => place,
    }
}

fn without_order(term: &str) -> String {
    let term = term.trim();
    for order in ["asc", "desc"] {
        let cut = term.len().saturating_sub(order.len());
        if let Some(word) = term.get(cut..)
            && word.eq_ignore_ascii_case(order)
            && term[..cut].ends_with(|before: char| before.is_whitespace() || before == ')')
        {
            return term[..cut].trim_end().to_owned();
        }
    }
    term.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_split_into_terms_and_condition() {
        let sql = "CREATE UNIQUE INDEX \"i(\" ON t(lower(\"a,)\") DESC, b /* , */ COLLATE NOCASE,\n c || ')' ) -- x\n WHERE d > ')'";
        let (terms, condition) = split_index(sql);
        assert_eq!(terms, ["lower(\"a,)\")", "b /* , */ COLLATE NOCASE", "c || ')'"]);
        assert_eq!(condition, None, "a comment before WHERE hides it");
        let (_, condition) = split_index("CREATE UNIQUE INDEX i ON t(a) WHERE d > ')'");
        assert_eq!(condition.as_deref(), Some("d > ')'"));
    }
}
