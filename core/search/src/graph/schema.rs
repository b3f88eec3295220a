//! What SQLite's schema says of the tables that a graph lies over.

use kithdb_log::{Affinity, Collation};
use rusqlite::{Connection, OptionalExtension};

use super::error::GraphError;
use super::value::{Class, Comparison};
use crate::sql::quote;

/// A table or view of the main database.
pub(super) struct Table {
    /// As it was created.
    pub(super) name: String,
    pub(super) is_view: bool,
    pub(super) has_rowid: bool,
    is_strict: bool,
    pub(super) columns: Vec<Column>,
}

pub(super) struct Column {
    pub(super) name: String,
    affinity: Affinity,
    /// The place in the primary key, from 1; 0 outside.
    key_part: i64,
}

/// A foreign key of one column.
pub(super) struct Reference {
    pub(super) column: String,
    pub(super) parent: String,
    /// The column that it refers to; `None` means the parent's primary key.
    pub(super) parent_column: Option<String>,
}

impl Table {
    /// Reads a table; `None` if there is none of that name.
    pub(super) fn read(conn: &Connection, name: &str) -> rusqlite::Result<Option<Self>> {
        // Not `pragma_table_list`, which looks into every attached database and so takes locks there.
        let found = conn
            .prepare_cached(&format!("PRAGMA main.table_list({})", quote(name)))?
            .query_row([], |row| {
                Ok((row.get::<_, String>("name")?, row.get::<_, String>("type")?, row.get("wr")?, row.get("strict")?))
            })
            .optional()?;
        let Some((name, kind, without_rowid, is_strict)) =
            found.filter(|(_, kind, ..): &(String, String, bool, bool)| kind == "table" || kind == "view")
        else {
            return Ok(None);
        };
        let is_view = kind == "view";
        let mut table = Self { name, is_view, has_rowid: !is_view && !without_rowid, is_strict, columns: Vec::new() };
        let mut statement = conn.prepare_cached(
            "SELECT name, type, pk FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1 ORDER BY cid",
        )?;
        let mut rows = statement.query([&table.name])?;
        while let Some(row) = rows.next()? {
            let declared: String = row.get(1)?;
            let is_any = table.is_strict && declared.eq_ignore_ascii_case("ANY");
            let affinity = if is_any { Affinity::Blob } else { Affinity::of_declared_type(&declared) };
            table.columns.push(Column { name: row.get(0)?, affinity, key_part: row.get(2)? });
        }
        Ok(Some(table))
    }

    pub(super) fn need(conn: &Connection, graph: &str, name: &str) -> Result<Self, GraphError> {
        Self::read(conn, name)?
            .ok_or_else(|| GraphError::MissingTable { graph: graph.to_owned(), table: name.to_owned() })
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Returns a column's name as it was created.
    pub(super) fn need_column(&self, graph: &str, name: &str) -> Result<&Column, GraphError> {
        self.column(name).ok_or_else(|| GraphError::MissingColumn {
            graph: graph.to_owned(),
            table: self.name.clone(),
            column: name.to_owned(),
            columns: self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Returns the columns of the primary key, in its order.
    pub(super) fn key(&self) -> Vec<&str> {
        let mut parts: Vec<_> = self.columns.iter().filter(|column| column.key_part > 0).collect();
        parts.sort_by_key(|column| column.key_part);
        parts.into_iter().map(|column| column.name.as_str()).collect()
    }

    /// Returns the column that names a row, if there is one by itself: the primary key, else the rowid.
    pub(super) fn own_key(&self) -> Option<String> {
        match self.key()[..] {
            [one] => Some(one.to_owned()),
            [] if self.has_rowid => self.rowid_name().map(str::to_owned),
            _ => None,
        }
    }

    /// Returns what the rowid can be called, since a column may have taken a name of it.
    pub(super) fn rowid_name(&self) -> Option<&'static str> {
        let is_free = |name: &&&str| self.column(name).is_none();
        if self.has_rowid { ["rowid", "_rowid_", "oid"].iter().find(is_free).copied() } else { None }
    }

    pub(super) fn is_rowid(&self, column: &str) -> bool {
        self.column(column).is_none() && self.rowid_name().is_some_and(|name| name.eq_ignore_ascii_case(column))
    }

    /// Tells whether a column makes integers and text of most ids, so that there is one way to write each.
    pub(super) fn has_plain_ids(&self, column: &str) -> bool {
        let is_plain = |affinity| matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Text);
        self.is_rowid(column) || self.column(column).is_some_and(|column| is_plain(column.affinity))
    }

    /// Tells how the ids in a column compare.
    pub(super) fn comparison(&self, conn: &Connection, graph: &str, column: &str) -> Result<Comparison, GraphError> {
        if self.is_rowid(column) {
            return Ok(Comparison { class: Class::Numeric, collation: Collation::Binary });
        }
        let affinity = self.need_column(graph, column)?.affinity;
        let class = Class::of(affinity);
        // Of a view's columns SQLite tells no collation; ours compare them with BINARY (see `equals`).
        let name = if self.is_view {
            "BINARY".to_owned()
        } else {
            let (_, collation, ..) = conn.column_metadata(Some("main"), self.name.as_str(), column)?;
            collation.map_or_else(|| "BINARY".to_owned(), |name| name.to_string_lossy().into_owned())
        };
        let collation = match name.to_ascii_uppercase().as_str() {
            "BINARY" => Collation::Binary,
            "NOCASE" => Collation::NoCase,
            "RTRIM" => Collation::RTrim,
            _ => {
                return Err(GraphError::Collation {
                    graph: graph.to_owned(),
                    table: self.name.clone(),
                    column: column.to_owned(),
                    collation: name,
                });
            }
        };
        Ok(Comparison { class, collation })
    }

    /// Tells whether rows are found by a column without reading the table.
    pub(super) fn has_index(&self, conn: &Connection, column: &str) -> rusqlite::Result<bool> {
        if self.is_view || self.is_rowid(column) {
            // Whether the tables behind a view have indexes is not looked into.
            return Ok(true);
        }
        if self.has_rowid && matches!(self.key()[..], [key] if key.eq_ignore_ascii_case(column)) {
            return Ok(true);
        }
        conn.prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1, 'main') AS l, pragma_index_xinfo(l.name, 'main') AS x
             WHERE l.partial = 0 AND x.seqno = 0 AND x.name = ?2 COLLATE NOCASE)",
        )?
        .query_row([&self.name, column], |row| row.get(0))
    }

    /// Returns the foreign keys of one column, and how many there are of several.
    pub(super) fn references(&self, conn: &Connection) -> rusqlite::Result<(Vec<Reference>, usize)> {
        let mut statement = conn.prepare_cached(
            "SELECT \"from\", \"table\", \"to\", count(*) FROM pragma_foreign_key_list(?1, 'main') GROUP BY id ORDER BY id",
        )?;
        let mut found = Vec::new();
        let mut composite = 0;
        let mut rows = statement.query([&self.name])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(3)? > 1 {
                composite += 1;
                continue;
            }
            found.push(Reference { column: row.get(0)?, parent: row.get(1)?, parent_column: row.get(2)? });
        }
        let place = |reference: &Reference| {
            self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&reference.column))
        };
        found.sort_by_key(place);
        Ok((found, composite))
    }

    /// Writes the condition that a column equals a parameter, by the column's own comparison.
    pub(super) fn equals(&self, alias: &str, column: &str, parameter: usize) -> String {
        let collation = if self.is_view { " COLLATE BINARY" } else { "" };
        format!("{alias}.{} = ?{parameter}{collation}", quote(column))
    }
}
