//! The ordinary table that a `kith_vector` table is made over: how its rows are named, found and read.

use std::ops::RangeInclusive;

use kithdb_log::Collation;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params_from_iter};

use super::declaration::Declaration;
use super::keys::{self, Key, owned};
use super::source::Label;
use super::value::{Element, Embedding};
use crate::sql::quote;

/// Why the content table cannot be searched.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    #[error("kith_vector: there is no table {table:?}; {}name another, or create it", offer("there are", .there))]
    Missing { table: String, there: Vec<String> },
    #[error("kith_vector: {table:?} is a {kind}; name an ordinary table")]
    Kind { table: String, kind: String },
    #[error("kith_vector: table {table:?} has no column {column:?}; {}name another, or add it", offer("it has", .there))]
    MissingColumn { table: String, column: String, there: Vec<String> },
    #[error(
        "kith_vector: column {column:?} of table {table:?} is computed, so no embedding can be written to it; name an ordinary column"
    )]
    Generated { table: String, column: String },
    #[error(
        "kith_vector: table {table:?} has no PRIMARY KEY, so nothing names its rows for good; create it anew with one, such as `id INTEGER PRIMARY KEY`, and copy the rows"
    )]
    NoPrimaryKey { table: String },
    #[error("kith_vector: the key of table {table:?} uses the collation {collation}; use BINARY, NOCASE or RTRIM")]
    Collation { table: String, collation: String },
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Names that an error lists at most.
const OFFERED_MAX: usize = 20;

/// Says what there is in the place of what is missing.
fn offer(begin: &str, there: &[String]) -> String {
    let names: Vec<_> = there.iter().take(OFFERED_MAX).map(String::as_str).collect();
    let more = if there.len() > OFFERED_MAX { ", …" } else { "" };
    if names.is_empty() { String::new() } else { format!("{begin} {}{more}; ", names.join(", ")) }
}

/// Lists the ordinary tables, but for those that belong to SQLite, to this program or to a virtual table.
fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         AND name NOT LIKE 'kith\\_\\_%' ESCAPE '\\' ORDER BY name";
    let mut names: Vec<String> =
        conn.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let own = super::own_tables(conn)?;
    names.retain(|name| !own.iter().any(|own| own.eq_ignore_ascii_case(name)));
    Ok(names)
}

/// A column of the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    pub(super) collation: Collation,
}

impl KeyColumn {
    /// Returns SQLite's name for the collation.
    pub(super) fn collation_name(&self) -> &'static str {
        COLLATION_NAMES.iter().find(|(known, _)| *known == self.collation).map_or("BINARY", |pair| pair.1)
    }
}

/// Tells in SQL whether a row has the key whose values are bound from a number on.
pub(super) fn key_condition(key: &[KeyColumn], first: usize) -> String {
    let condition = |(column, number): (&KeyColumn, usize)| {
        format!("{} = ?{number} COLLATE {}", quote(&column.name), column.collation_name())
    };
    key.iter().zip(first..).map(condition).collect::<Vec<_>>().join(" AND ")
}

/// What is in a row's column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// No row of that key, or no embedding in it.
    Nothing,
    Embedding(Vec<f32>),
    /// What is there is no embedding, for the reason given.
    Refused(String),
}

/// The content table as it is defined now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) key: Vec<KeyColumn>,
    /// Whether the key is an INTEGER PRIMARY KEY, which is the rowid.
    pub(super) is_rowid: bool,
    /// Whether the column is computed from others, so that an UPDATE of those changes it.
    pub(super) is_generated: bool,
    /// Whether the triggers are told of every row that goes. They are not of one that a REPLACE displaces, unless it has the key of
    /// the row that comes, which they are told; so there may be no other UNIQUE constraint. And a trigger of the user's that says
    /// RAISE(IGNORE) keeps those that come after it from running, though the row goes.
    pub(super) is_told: bool,
    dimensions: usize,
    element: Element,
    /// The model by which embeddings are labelled, with a label of it, where they are made here.
    made_by: Option<(String, Label)>,
    find: String,
    identify: String,
    of_rowid: Option<String>,
    between: Option<String>,
    all: String,
    all_keys: String,
    /// Lists the keys in the order in which rows are to lie in memory, where that is another than their own.
    ordered_keys: Option<String>,
}

const COLLATION_NAMES: [(Collation, &str); 3] =
    [(Collation::Binary, "BINARY"), (Collation::NoCase, "NOCASE"), (Collation::RTrim, "RTRIM")];

impl Content {
    /// Reads the definition.
    pub(super) fn read(conn: &Connection, declaration: &Declaration) -> Result<Self, ContentError> {
        let table = || declaration.content.clone();
        let found: Option<(String, String, bool)> = conn
            .prepare_cached(&format!("PRAGMA main.table_list({})", quote(&declaration.content)))?
            .query_row([], |row| Ok((row.get("name")?, row.get("type")?, row.get("wr")?)))
            .optional()?;
        let (name, without_rowid) = match found {
            None => return Err(ContentError::Missing { table: table(), there: tables(conn)? }),
            Some((name, kind, without_rowid)) if kind == "table" => (name, without_rowid),
            Some((_, kind, _)) => {
                return Err(ContentError::Kind {
                    table: table(),
                    kind: format!("{kind} table").replace("view table", "view"),
                });
            }
        };
        let (mut columns, mut keyed, mut found) = (Vec::new(), Vec::new(), None);
        {
            let sql = "SELECT name, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([&name])?;
            while let Some(row) = rows.next()? {
                let column: String = row.get(0)?;
                if row.get::<_, i64>(1)? > 0 {
                    keyed.push(column.clone());
                }
                if column.eq_ignore_ascii_case(&declaration.column) {
                    found = Some((column.clone(), row.get::<_, i64>(2)? != 0));
                }
                columns.push(column);
            }
        }
        let (column, is_generated) = found.ok_or_else(|| ContentError::MissingColumn {
            table: table(),
            column: declaration.column.clone(),
            there: columns.clone(),
        })?;
        if let Some(source) = &declaration.source {
            if !columns.iter().any(|column| column.eq_ignore_ascii_case(source)) {
                return Err(ContentError::MissingColumn { table: table(), column: source.clone(), there: columns });
            }
            if is_generated {
                return Err(ContentError::Generated { table: table(), column });
            }
        }
        if keyed.is_empty() {
            return Err(ContentError::NoPrimaryKey { table: table() });
        }
        let mut key = read_key(conn, &name)?;
        let is_rowid = key.is_empty();
        if is_rowid {
            key = keyed.into_iter().map(|name| KeyColumn { name, collation: Collation::Binary }).collect();
        }
        let rowid = if without_rowid {
            None
        } else if is_rowid {
            key.first().map(|column| quote(&column.name))
        } else {
            let is_free = |name: &&str| !columns.iter().any(|column| column.eq_ignore_ascii_case(name));
            ["rowid", "_rowid_", "oid"].into_iter().find(is_free).map(str::to_owned)
        };
        let (source, column) = (format!("main.{}", quote(&name)), quote(&column));
        let keys: Vec<_> = key.iter().map(|column| quote(&column.name)).collect();
        let keys = keys.join(", ");
        let condition = key_condition(&key, 1);
        let made_by = declaration.source.as_ref().and(declaration.model.as_ref());
        let shown = rowid.as_deref().unwrap_or("NULL");
        let other_unique = "SELECT count(*) FROM pragma_index_list(?1, 'main') WHERE \"unique\" = 1";
        let other_unique: i64 = conn.prepare_cached(other_unique)?.query_row([&name], |row| row.get(0))?;
        let ignoring = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE AND sql LIKE '%raise%ignore%'";
        let ignoring: i64 = conn.prepare_cached(ignoring)?.query_row([&name], |row| row.get(0))?;
        Ok(Self {
            is_rowid,
            is_generated,
            is_told: is_rowid && other_unique == 0 && ignoring == 0,
            dimensions: declaration.options.dimensions,
            element: declaration.element,
            made_by: made_by.map(|model| (model.clone(), Label::of(model, b""))),
            find: format!("SELECT {column} FROM {source} WHERE {condition}"),
            identify: format!("SELECT {shown}, {keys} FROM {source} WHERE {condition}"),
            of_rowid: rowid.as_ref().map(|rowid| format!("SELECT {keys} FROM {source} WHERE {rowid} = ?1")),
            between: rowid.as_ref().map(|rowid| {
                format!("SELECT {keys} FROM {source} WHERE {rowid} BETWEEN ?1 AND ?2 AND {column} IS NOT NULL")
            }),
            all: format!("SELECT {keys}, {column} FROM {source} WHERE {column} IS NOT NULL"),
            all_keys: format!("SELECT {keys} FROM {source} WHERE {column} IS NOT NULL"),
            ordered_keys: (!declaration.order.is_empty()).then(|| {
                let order: Vec<_> = declaration.order.iter().map(|column| quote(column)).collect();
                format!("SELECT {keys} FROM {source} WHERE {column} IS NOT NULL ORDER BY {}", order.join(", "))
            }),
            key,
        })
    }

    /// Reads the key that begins at a column of a row.
    pub(super) fn key_at(&self, row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Key>> {
        if self.is_rowid {
            return Ok(row.get::<_, Option<i64>>(first)?.map(Key::Integer));
        }
        let values = (0..self.key.len()).map(|index| row.get_ref(first + index)).collect::<Result<Vec<_>, _>>()?;
        Ok(Key::encode(values.into_iter(), self.key.iter().map(|column| column.collation)))
    }

    /// Makes the keys that are shown as an SQL value, as a JSON array where the key has several columns; none where no row can have one.
    pub(super) fn keys_of(&self, value: ValueRef<'_>) -> Vec<Key> {
        let encode = |values: &[ValueRef<'_>]| {
            Key::encode(values.iter().copied(), self.key.iter().map(|column| column.collation))
        };
        match (self.is_rowid, value, self.key.len()) {
            (true, ValueRef::Integer(number), _) => vec![Key::Integer(number)],
            (true, ValueRef::Real(number), _) if number.fract() == 0.0 && number.abs() < 9e15 => {
                vec![Key::Integer(number as i64)]
            }
            (false, value, 1) => encode(&[value]).into_iter().collect(),
            (false, ValueRef::Text(json), columns) => {
                let shown = keys::of_shown(json).into_iter().filter(|values| values.len() == columns);
                shown.filter_map(|values| encode(&values.iter().map(ValueRef::from).collect::<Vec<_>>())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Finds the key of the row with a rowid.
    pub(super) fn key_of_rowid(&self, conn: &Connection, rowid: i64) -> rusqlite::Result<Option<Key>> {
        if self.is_rowid {
            return Ok(Some(Key::Integer(rowid)));
        }
        let Some(sql) = &self.of_rowid else { return Ok(None) };
        let key = conn.prepare_cached(sql)?.query_row([rowid], |row| self.key_at(row, 0)).optional()?;
        Ok(key.flatten())
    }

    /// Finds the keys of the rows with a rowid from the first to the last that have something in the column.
    pub(super) fn keys_between(&self, conn: &Connection, rowids: RangeInclusive<i64>) -> rusqlite::Result<Vec<Key>> {
        match &self.between {
            Some(sql) => self.keys_by(conn, sql, [*rowids.start(), *rowids.end()]),
            None => Ok(Vec::new()),
        }
    }

    /// Reads the embedding of a row.
    pub(super) fn find(&self, conn: &Connection, key: &Key) -> rusqlite::Result<Found> {
        let mut statement = conn.prepare_cached(&self.find)?;
        let found = match key {
            Key::Integer(number) => statement.query_row([number], |row| Ok(self.found(row.get_ref(0)?))),
            key => statement.query_row(params_from_iter(key.parts()), |row| Ok(self.found(row.get_ref(0)?))),
        };
        Ok(found.optional()?.unwrap_or(Found::Nothing))
    }

    /// Returns the value of a row's column as it is stored.
    pub(super) fn stored(&self, conn: &Connection, key: &Key) -> rusqlite::Result<Value> {
        let mut statement = conn.prepare_cached(&self.find)?;
        Ok(statement
            .query_row(params_from_iter(key.parts()), |row| row.get_ref(0).map(owned))
            .optional()?
            .unwrap_or(Value::Null))
    }

    /// Makes ready to look up how rows are named.
    pub(super) fn identifier<'c>(&'c self, conn: &'c Connection) -> rusqlite::Result<Identifier<'c>> {
        Ok(Identifier { content: self, statement: conn.prepare_cached(&self.identify)? })
    }

    /// Visits every row that has something in the column; rows whose key is NULL are visited without one.
    pub(super) fn each(
        &self,
        conn: &Connection,
        mut visit: impl FnMut(Option<Key>, Found) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(&self.all)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(self.key_at(row, 0)?, self.found(row.get_ref(self.key.len())?))?;
        }
        Ok(())
    }

    /// Lists the keys in the order in which their rows are to lie in memory; none where that is of no account.
    pub(super) fn ordered_keys(&self, conn: &Connection) -> rusqlite::Result<Vec<Key>> {
        self.ordered_keys.as_ref().map_or(Ok(Vec::new()), |sql| self.keys_by(conn, sql, []))
    }

    /// Lists the keys of the rows that have something in the column.
    pub(super) fn keys(&self, conn: &Connection) -> rusqlite::Result<Vec<Key>> {
        self.keys_by(conn, &self.all_keys, [])
    }

    fn keys_by(&self, conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Key>> {
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.extend(self.key_at(row, 0)?);
        }
        Ok(keys)
    }

    fn found(&self, value: ValueRef<'_>) -> Found {
        if value == ValueRef::Null {
            return Found::Nothing;
        }
        match Embedding::read(value, self.element) {
            Ok(embedding) if embedding.len() == self.dimensions => {
                let floats = embedding.into_floats();
                match &self.made_by {
                    Some((model, label)) if !is_labelled(&floats, *label) => Found::Refused(format!(
                        "the embedding was not made by the model {model:?}, and embeddings of different models cannot be compared"
                    )),
                    _ => Found::Embedding(floats),
                }
            }
            Ok(embedding) => {
                let (expected, got) = (self.dimensions, embedding.len());
                Found::Refused(format!("the embedding has {got} dimensions, the index has {expected}"))
            }
            Err(reason) => Found::Refused(reason.to_string()),
        }
    }
}

fn is_labelled(numbers: &[f32], by: Label) -> bool {
    Label::read(numbers.iter().copied()).is_some_and(|label| label.is_of_same_model(by))
}

/// How a row is named in answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) rowid: Option<i64>,
    /// Empty where the rowid is the key.
    pub(super) key: Vec<Value>,
}

impl Identity {
    /// Names the row whose key is its rowid.
    pub(super) const fn of_rowid(rowid: i64) -> Self {
        Self { rowid: Some(rowid), key: Vec::new() }
    }
}

/// Looks up how rows are named.
pub(super) struct Identifier<'c> {
    content: &'c Content,
    statement: CachedStatement<'c>,
}

impl Identifier<'_> {
    /// Returns the rowid of a row, if it has one, and the values of its key as they are stored; `None` if there is no such row.
    pub(super) fn identify(&mut self, key: &Key) -> rusqlite::Result<Option<Identity>> {
        let content = self.content;
        let read = |row: &Row<'_>| {
            let key = if content.is_rowid {
                Vec::new()
            } else {
                (0..content.key.len()).map(|index| row.get_ref(index + 1).map(owned)).collect::<Result<_, _>>()?
            };
            Ok(Identity { rowid: row.get(0)?, key })
        };
        match key {
            Key::Integer(number) => self.statement.query_row([number], read),
            key => self.statement.query_row(params_from_iter(key.parts()), read),
        }
        .optional()
    }
}

/// Reads the columns of the index that carries the primary key; none where the key is the rowid.
fn read_key(conn: &Connection, table: &str) -> Result<Vec<KeyColumn>, ContentError> {
    let sql = "SELECT x.name, x.coll FROM pragma_index_list(?1, 'main') l, pragma_index_xinfo(l.name, 'main') x
         WHERE l.origin = 'pk' AND x.\"key\" = 1 AND x.name IS NOT NULL ORDER BY x.seqno";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([table])?;
    let mut key = Vec::new();
    while let Some(row) = rows.next()? {
        let collation: String = row.get(1)?;
        let known = Collation::parse(&collation)
            .ok_or_else(|| ContentError::Collation { table: table.to_owned(), collation: collation.clone() })?;
        key.push(KeyColumn { name: row.get(0)?, collation: known });
    }
    Ok(key)
}
