//! Reads how a user table is defined, as far as identity, merging and materialisation depend on it.
//!
//! Invariants:
//! 1. Two tables with the same [`LocalTable::signature`] show the same rows for the same merge state.
//! 2. Nothing here writes.

use kithdb_log::limits::{COLUMNS_MAX, INDEXES_MAX, NAME_BYTES_MAX, SQL_BYTES_MAX};
use kithdb_log::{
    Affinity, Collation, ColumnSchema, KeyKind, TableSchema,
    ids::{fold_name, is_reserved},
};
use rusqlite::{Connection, OptionalExtension};

use crate::error::TableError;

/// A stored column of a local table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalColumn {
    pub name: String,
    pub affinity: Affinity,
    /// For a key column the collation of the key, otherwise that of the column.
    pub collation: Collation,
    /// Index among all columns, generated ones included.
    pub table_index: usize,
    pub not_null: bool,
}

/// A UNIQUE constraint or index other than the primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UniqueIndex {
    /// Indexes into the stored columns; `None` where any column may matter (expressions, WHERE, generated columns).
    pub columns: Option<Vec<usize>>,
}

/// A declared single-column foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalReference {
    pub column: usize,
    pub parent: String,
    /// The parent's column; `None` means its primary key.
    pub parent_column: Option<String>,
}

/// A user table as it stands in the local file.
#[derive(Debug, Clone)]
pub(crate) struct LocalTable {
    pub name: String,
    pub sql: String,
    pub indexes: Vec<String>,
    pub columns: Vec<LocalColumn>,
    pub generated: Vec<String>,
    pub key: Vec<usize>,
    pub key_kind: KeyKind,
    pub without_rowid: bool,
    pub strict: bool,
    pub unique: Vec<UniqueIndex>,
    pub references: Vec<LocalReference>,
}

/// Reads the table of that name in the main database, or says why it cannot be synced.
pub(crate) fn read_table(conn: &Connection, name: &str) -> Result<LocalTable, TableError> {
    let owned = || name.to_owned();
    // Not `pragma_table_list`, which looks into every attached database and so takes locks there.
    let found: Option<(String, String, bool, bool)> = conn
        .prepare_cached(&format!("PRAGMA main.table_list({})", kithdb_search::sql::quote(name)))?
        .query_row([], |row| Ok((row.get("name")?, row.get("type")?, row.get("wr")?, row.get("strict")?)))
        .optional()?;
    let Some((stored_name, kind, without_rowid, strict)) = found else {
        let temporary: bool = conn
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM sqlite_temp_schema WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE)")?
            .query_row([name], |row| row.get(0))?;
        return Err(if temporary {
            TableError::Temporary { table: owned() }
        } else {
            TableError::Missing { table: owned() }
        });
    };
    match kind.as_str() {
        "table" => {}
        "view" => return Err(TableError::View { table: owned() }),
        "virtual" => return Err(TableError::Virtual { table: owned() }),
        "shadow" => return Err(TableError::Shadow { table: owned() }),
        _ => return Err(TableError::Missing { table: owned() }),
    }
    if is_reserved(&stored_name) {
        return Err(TableError::Reserved { table: stored_name });
    }
    if kithdb_search::is_own_table(conn, &stored_name)? {
        return Err(TableError::Shadow { table: stored_name });
    }
    let sql: String = conn
        .prepare_cached("SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1")?
        .query_row([&stored_name], |row| row.get(0))?;
    let mut table = LocalTable {
        name: stored_name,
        sql,
        indexes: Vec::new(),
        columns: Vec::new(),
        generated: Vec::new(),
        key: Vec::new(),
        key_kind: KeyKind::Natural,
        without_rowid,
        strict,
        unique: Vec::new(),
        references: Vec::new(),
    };
    let declared_key = table.read_columns(conn)?;
    if declared_key.is_empty() {
        return Err(TableError::NoPrimaryKey { table: table.name });
    }
    table.read_indexes(conn)?;
    if table.key.is_empty() {
        // No index carries the key: the one key column is another name of the rowid.
        table.key = declared_key;
        table.key_kind = KeyKind::Auto;
    }
    table.read_references(conn)?;
    table.check_limits()?;
    Ok(table)
}

impl LocalTable {
    /// Reads the columns and returns those that are declared as the primary key.
    fn read_columns(&mut self, conn: &Connection) -> Result<Vec<usize>, TableError> {
        let mut statement = conn.prepare_cached(
            "SELECT cid, name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
        )?;
        let mut rows = statement.query([&self.name])?;
        let mut key = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(1)?;
            if row.get::<_, i64>(5)? != 0 {
                self.generated.push(name);
                continue;
            }
            let declared: String = row.get(2)?;
            let affinity = if self.strict && declared.eq_ignore_ascii_case("ANY") {
                Affinity::Blob
            } else {
                Affinity::of_declared_type(&declared)
            };
            let collation = {
                let (_, collation, _, _, _) = conn.column_metadata(Some("main"), self.name.as_str(), name.as_str())?;
                collation.map_or_else(|| "BINARY".to_owned(), |text| text.to_string_lossy().into_owned())
            };
            let collation = self.collation(&name, &collation)?;
            if row.get::<_, i64>(4)? > 0 {
                key.push(self.columns.len());
            }
            self.columns.push(LocalColumn {
                name,
                affinity,
                collation,
                table_index: usize::from(row.get::<_, u16>(0)?),
                not_null: row.get(3)?,
            });
        }
        Ok(key)
    }

    fn collation(&self, column: &str, name: &str) -> Result<Collation, TableError> {
        Collation::parse(name).ok_or_else(|| TableError::UnknownCollation {
            table: self.name.clone(),
            column: column.to_owned(),
            collation: name.to_owned(),
        })
    }

    fn read_indexes(&mut self, conn: &Connection) -> Result<(), TableError> {
        let mut list = conn.prepare_cached(
            "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1, 'main') ORDER BY name",
        )?;
        let listed = list
            .query_map([&self.name], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, String>(2)?, row.get::<_, bool>(3)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let mut statement = conn
            .prepare_cached("SELECT cid, coll FROM pragma_index_xinfo(?1, 'main') WHERE \"key\" = 1 ORDER BY seqno")?;
        for (name, unique, origin, partial) in listed {
            let parts = statement
                .query_map([&name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)))?
                .collect::<Result<Vec<_>, _>>()?;
            let mut columns = Some(Vec::new());
            for (cid, collation) in parts {
                let position = self.columns.iter().position(|column| column.table_index as i64 == cid);
                let shown = position.map_or_else(|| name.clone(), |index| self.columns[index].name.clone());
                let collation = self.collation(&shown, collation.as_deref().unwrap_or("BINARY"))?;
                if origin == "pk" {
                    let Some(position) = position else { continue };
                    if self.key.contains(&position) {
                        return Err(TableError::RepeatedKeyColumn { table: self.name.clone(), column: shown });
                    }
                    self.columns[position].collation = collation;
                    self.key.push(position);
                }
                match position {
                    Some(position) => {
                        if let Some(columns) = &mut columns {
                            columns.push(position);
                        }
                    }
                    // The rowid itself adds nothing to uniqueness; an expression or a generated column may read anything.
                    None if cid == -1 => {}
                    None => columns = None,
                }
            }
            if unique && origin != "pk" {
                self.unique.push(UniqueIndex { columns: if partial { None } else { columns } });
            }
        }
        self.unique.sort();
        self.indexes = conn
            .prepare_cached("SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL ORDER BY name")?
            .query_map([&self.name], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn read_references(&mut self, conn: &Connection) -> Result<(), TableError> {
        let mut statement = conn.prepare_cached(
            "SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list(?1, 'main') GROUP BY id HAVING count(*) = 1 ORDER BY id",
        )?;
        let mut rows = statement.query([&self.name])?;
        while let Some(row) = rows.next()? {
            let from: String = row.get(0)?;
            if let Some(column) = self.position(&from) {
                self.references.push(LocalReference { column, parent: row.get(1)?, parent_column: row.get(2)? });
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), TableError> {
        let table = || self.name.clone();
        let too_long = self.sql.len() > SQL_BYTES_MAX
            || self.indexes.len() > INDEXES_MAX
            || self.indexes.iter().any(|sql| sql.len() > SQL_BYTES_MAX)
            || self.name.len() > NAME_BYTES_MAX
            || self.columns.iter().any(|column| column.name.len() > NAME_BYTES_MAX);
        if self.columns.len() > COLUMNS_MAX {
            Err(TableError::TooManyColumns { table: table(), columns: self.columns.len(), max: COLUMNS_MAX })
        } else if too_long {
            Err(TableError::DefinitionTooLong { table: table() })
        } else {
            Ok(())
        }
    }

    /// Finds a stored column by name, without regard to ASCII case.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Returns the definition as it is replicated.
    pub fn to_schema(&self) -> TableSchema {
        TableSchema {
            name: self.name.clone(),
            earlier_uses: 0,
            sql: self.sql.clone(),
            indexes: self.indexes.clone(),
            columns: self
                .columns
                .iter()
                .map(|column| ColumnSchema {
                    name: column.name.clone(),
                    earlier_uses: 0,
                    affinity: column.affinity,
                    collation: column.collation,
                })
                .collect(),
            // At most COLUMNS_MAX columns, checked above.
            key: self.key.iter().map(|&column| column as u16).collect(),
            key_kind: self.key_kind,
        }
    }

    /// Finds a stored column that `schema` does not have; a generated one stores nothing, so it may be there.
    pub fn unknown_column(&self, schema: &TableSchema) -> Option<&LocalColumn> {
        self.columns
            .iter()
            .find(|local| !schema.columns.iter().any(|known| known.name.eq_ignore_ascii_case(&local.name)))
    }

    /// Names what keeps this table from holding rows of `schema`; `None` if every column is there with the same meaning.
    pub fn misfit(&self, schema: &TableSchema) -> Option<String> {
        let mut key = Vec::new();
        for (index, column) in schema.columns.iter().enumerate() {
            let Some(position) = self.position(&column.name) else {
                return Some(format!("column {} is missing here", quoted(&column.name)));
            };
            let local = &self.columns[position];
            if local.affinity != column.affinity {
                return Some(format!(
                    "column {} has {} affinity here and {} there",
                    quoted(&column.name),
                    affinity_name(local.affinity),
                    affinity_name(column.affinity)
                ));
            }
            if local.collation != column.collation {
                return Some(format!(
                    "column {} has collation {} here and {} there",
                    quoted(&column.name),
                    collation_name(local.collation),
                    collation_name(column.collation)
                ));
            }
            key.push((index, position));
        }
        let there: Vec<usize> =
            schema.key.iter().filter_map(|&column| key.get(usize::from(column)).map(|pair| pair.1)).collect();
        if there != self.key || self.key_kind != schema.key_kind {
            let names = |columns: &[usize]| {
                columns.iter().map(|&column| self.columns[column].name.as_str()).collect::<Vec<_>>().join(", ")
            };
            return Some(format!(
                "the primary key is ({}) {} here and ({}) {} there",
                names(&self.key),
                kind_name(self.key_kind),
                names(&there),
                kind_name(schema.key_kind)
            ));
        }
        None
    }

    /// Names the first difference that would make two tables show different rows for the same state.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let theirs = other.to_schema();
        if let Some(misfit) = self.misfit(&theirs) {
            return Some(misfit);
        }
        if let Some(extra) = self.unknown_column(&theirs) {
            return Some(format!("column {} is missing there", quoted(&extra.name)));
        }
        for column in &other.columns {
            let local = self.position(&column.name).map(|position| &self.columns[position]);
            if local.is_some_and(|local| local.not_null != column.not_null) {
                let side = if column.not_null { "there but not here" } else { "here but not there" };
                return Some(format!("column {} is NOT NULL {side}", quoted(&column.name)));
            }
        }
        if self.strict != other.strict {
            return Some(format!("the table is STRICT {}", if self.strict { "here only" } else { "there only" }));
        }
        let folded = |table: &Self| {
            let mut sets: Vec<Option<Vec<String>>> = table
                .unique
                .iter()
                .map(|index| {
                    index.columns.as_ref().map(|columns| {
                        let mut names: Vec<_> =
                            columns.iter().map(|&column| fold_name(&table.columns[column].name)).collect();
                        names.sort();
                        names
                    })
                })
                .collect();
            sets.sort();
            sets.dedup();
            sets
        };
        (folded(self) != folded(other)).then(|| "the UNIQUE constraints differ".to_owned())
    }
}

fn quoted(name: &str) -> String {
    kithdb_search::sql::quote(name)
}

fn affinity_name(affinity: Affinity) -> &'static str {
    match affinity {
        Affinity::Blob => "BLOB",
        Affinity::Text => "TEXT",
        Affinity::Numeric => "NUMERIC",
        Affinity::Integer => "INTEGER",
        Affinity::Real => "REAL",
    }
}

fn collation_name(collation: Collation) -> &'static str {
    match collation {
        Collation::Binary => "BINARY",
        Collation::NoCase => "NOCASE",
        Collation::RTrim => "RTRIM",
    }
}

fn kind_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Natural => "with values of the application",
        KeyKind::Auto => "numbered by SQLite",
    }
}

/// Lists the user tables of the main database by name; those of SQLite and KithDB, and those that belong to a virtual table, are none.
pub(crate) fn user_tables(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = conn.prepare_cached("PRAGMA main.table_list")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>("name")?, row.get::<_, String>("type")?)))?;
    let mut out = Vec::new();
    for row in rows {
        let (name, kind) = row?;
        if !is_reserved(&name) && kind != "shadow" && !kithdb_search::is_own_table(conn, &name)? {
            out.push((name, kind));
        }
    }
    out.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    Ok(out)
}
