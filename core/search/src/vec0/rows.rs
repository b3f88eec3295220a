//! The ordinary table beside a `vec0` table that its rows are kept in.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, ToSql, params_from_iter};

use super::declaration::{Declaration, Kind};
use super::table::error;
use super::values::{Stored, taken};
use crate::sql::quote;
use crate::vector::value::Element;

/// Names the table of rows.
pub(super) fn table_name(name: &str) -> String {
    format!("{name}_rows")
}

/// Names the index of the embedding column with that number; what belongs to it begins with this.
pub(super) fn index_name(name: &str, number: usize) -> String {
    format!("{name}_index{number}")
}

/// Says whether a table is one of those beside a `vec0` table.
pub(super) fn belongs_to(table: &str, owner: &str) -> bool {
    let rest =
        table.get(..owner.len()).filter(|start| start.eq_ignore_ascii_case(owner)).map(|_| &table[owner.len()..]);
    let Some(rest) = rest.map(str::to_ascii_lowercase) else { return false };
    let number = rest.strip_prefix("_index").and_then(|rest| rest.strip_suffix("_changes"));
    rest == "_rows"
        || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|sign| sign.is_ascii_digit()))
}

/// See the module.
pub(super) struct Rows {
    conn: Connection,
    pub(super) name: String,
    pub(super) declaration: Declaration,
}

impl Rows {
    pub(super) const fn new(conn: Connection, name: String, declaration: Declaration) -> Self {
        Self { conn, name, declaration }
    }

    pub(super) const fn conn(&self) -> &Connection {
        &self.conn
    }

    fn table(&self) -> String {
        format!("main.{}", quote(&table_name(&self.name)))
    }

    /// Returns the name of the rowid in the table of rows, quoted.
    fn rowid(&self) -> String {
        if self.declaration.has_text_key { "rowid".to_owned() } else { quote(&self.declaration.key) }
    }

    /// Returns the name of a column in the table of rows, quoted; place 0 is the primary key.
    fn column(&self, place: usize) -> String {
        let columns = &self.declaration.columns;
        let other = place.checked_sub(1).and_then(|place| columns.get(place));
        quote(other.map_or(&self.declaration.key, |column| &column.name))
    }

    /// Makes the table and its index.
    pub(super) fn create(&self) -> rusqlite::Result<()> {
        let mut columns = if self.declaration.has_text_key {
            vec![
                "rowid INTEGER PRIMARY KEY AUTOINCREMENT".to_owned(),
                format!("{} TEXT NOT NULL UNIQUE", self.column(0)),
            ]
        } else {
            vec![format!("{} INTEGER PRIMARY KEY AUTOINCREMENT", self.column(0))]
        };
        columns.extend(self.declaration.columns.iter().map(|column| {
            let kind = match column.kind {
                // The size lets SQLite know that the index is smaller than the table.
                Kind::Embedding { element, dimensions, .. } => {
                    let bits = match element {
                        Element::Float32 => 32,
                        Element::Int8 => 8,
                        Element::Bit => 1,
                    };
                    format!("BLOB({}) NOT NULL", dimensions * bits / 8)
                }
                Kind::Metadata(kind) => format!("{} NOT NULL", kind.name()),
                Kind::Partition(kind) | Kind::Auxiliary(kind) => kind.name().to_owned(),
            };
            format!("{} {kind}", quote(&column.name))
        }));
        self.conn.execute_batch(&format!("CREATE TABLE {}({})", self.table(), columns.join(", ")))?;
        self.create_filter()
    }

    /// Makes the index that filters are answered from, so that no embedding is read for them.
    fn create_filter(&self) -> rusqlite::Result<()> {
        let columns: Vec<_> = self.declaration.filters().map(|column| quote(&column.name)).collect();
        if columns.is_empty() {
            return Ok(());
        }
        // An index cannot be renamed with its table, so the name may be taken.
        let mut index = format!("{}_filter", self.name);
        let mut is_taken = self.conn.prepare("SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE")?;
        while is_taken.exists([&index])? {
            index.push('_');
        }
        let (index, table) = (quote(&index), quote(&table_name(&self.name)));
        self.conn.execute_batch(&format!("CREATE INDEX main.{index} ON {table}({})", columns.join(", ")))
    }

    /// Removes the table.
    pub(super) fn destroy(&self) -> rusqlite::Result<()> {
        self.conn.execute_batch(&format!("DROP TABLE IF EXISTS {}", self.table()))
    }

    /// Gives the table another name.
    pub(super) fn rename(&self, new: &str) -> rusqlite::Result<()> {
        self.conn.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", self.table(), quote(&table_name(new))))
    }

    /// Fails if the table is not there, and says what to do.
    pub(super) fn check(&self) -> rusqlite::Result<()> {
        let (name, table) = (&self.name, table_name(&self.name));
        if self.conn.table_exists(Some("main"), table.as_str())? {
            return Ok(());
        }
        if self.conn.table_exists(Some("main"), format!("{name}_chunks").as_str())? {
            let (quoted, copy) = (quote(name), quote(&format!("{name}_copy")));
            return Err(error(format!(
                "vec0: table {name:?} was made by sqlite-vec, whose own tables hold its rows; to move it, load sqlite-vec once and run CREATE TABLE {copy} AS SELECT * FROM {quoted}; DROP TABLE {quoted}; then, without sqlite-vec, create {quoted} again and run INSERT INTO {quoted} SELECT * FROM {copy}"
            )));
        }
        Err(error(format!("vec0: table {table:?} is gone, in which the rows of {name:?} are kept; restore a backup")))
    }

    /// Adds a row; returns its rowid.
    pub(super) fn insert(&self, key: ValueRef<'_>, values: &[Stored<'_>]) -> rusqlite::Result<i64> {
        let columns: Vec<_> = (0..=values.len()).map(|place| self.column(place)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO {}({}) VALUES({marks})", self.table(), columns.join(", "));
        let key = Stored::Given(key);
        let parameters = std::iter::once(&key).chain(values);
        match self.conn.prepare_cached(&sql)?.execute(params_from_iter(parameters)) {
            Ok(_) => Ok(self.conn.last_insert_rowid()),
            Err(Error::SqliteFailure(reason, _)) if reason.code == ErrorCode::ConstraintViolation => {
                Err(taken(&self.name))
            }
            Err(other) => Err(other),
        }
    }

    /// Writes some columns of a row; the places count from 1.
    pub(super) fn update(&self, rowid: i64, values: &[(usize, Stored<'_>)]) -> rusqlite::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let list: Vec<_> = values.iter().map(|(place, _)| format!("{} = ?", self.column(*place))).collect();
        let sql = format!("UPDATE {} SET {} WHERE {} = ?", self.table(), list.join(", "), self.rowid());
        let rowid: &dyn ToSql = &rowid;
        let parameters = values.iter().map(|(_, value)| value as &dyn ToSql).chain([rowid]);
        self.conn.prepare_cached(&sql)?.execute(params_from_iter(parameters))?;
        Ok(())
    }

    /// Removes a row.
    pub(super) fn delete(&self, rowid: ValueRef<'_>) -> rusqlite::Result<()> {
        let sql = format!("DELETE FROM {} WHERE {} = ?", self.table(), self.rowid());
        self.conn.prepare_cached(&sql)?.execute([Stored::Given(rowid)])?;
        Ok(())
    }

    /// Lists the rowids of the rows that meet all conditions, in no order.
    pub(super) fn list(&self, conditions: &[Condition]) -> rusqlite::Result<Vec<i64>> {
        let rowid = self.rowid();
        let mut sql = format!("SELECT {rowid} FROM {}", self.table());
        let mut parameters = Vec::new();
        for (number, condition) in conditions.iter().enumerate() {
            let name = match condition.place {
                Some(place) => self.column(place),
                None => rowid.clone(),
            };
            let joint = if number == 0 { "WHERE" } else { "AND" };
            sql.push_str(&format!(" {joint} {name} {}", condition.operator.sql()));
            parameters.extend(condition.operator.takes_value().then_some(&condition.value));
        }
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_map(params_from_iter(parameters), |row| row.get(0))?;
        found.collect()
    }

    /// Shows the value of a row's column to a visitor; place 0 is the primary key. Nothing is shown where the row is gone.
    pub(super) fn show(
        &self,
        rowid: i64,
        place: usize,
        visit: impl FnOnce(ValueRef<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let sql = format!("SELECT {} FROM {} WHERE {} = ?", self.column(place), self.table(), self.rowid());
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut found = statement.query([rowid])?;
        match found.next()? {
            Some(row) => visit(row.get_ref(0)?),
            None => Ok(()),
        }
    }
}

/// A condition on a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// The column's place; 0 is the primary key, none the rowid.
    pub(super) place: Option<usize>,
    pub(super) operator: Operator,
    pub(super) value: Value,
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Is,
    IsNot,
    IsNull,
    IsNotNull,
    Like,
    Glob,
    /// One of the values of a JSON array.
    In,
}

impl Operator {
    /// All, with how they are written in a plan.
    pub(super) const WRITTEN: [(Self, &str); 13] = [
        (Self::Equal, "="),
        (Self::Unequal, "!="),
        (Self::Less, "<"),
        (Self::LessOrEqual, "<="),
        (Self::Greater, ">"),
        (Self::GreaterOrEqual, ">="),
        (Self::Is, "is"),
        (Self::IsNot, "is-not"),
        (Self::IsNull, "is-null"),
        (Self::IsNotNull, "is-not-null"),
        (Self::Like, "like"),
        (Self::Glob, "glob"),
        (Self::In, "in"),
    ];

    const fn sql(self) -> &'static str {
        match self {
            Self::Equal => "= ?",
            Self::Unequal => "<> ?",
            Self::Less => "< ?",
            Self::LessOrEqual => "<= ?",
            Self::Greater => "> ?",
            Self::GreaterOrEqual => ">= ?",
            Self::Is => "IS ?",
            Self::IsNot => "IS NOT ?",
            Self::IsNull => "IS NULL",
            Self::IsNotNull => "IS NOT NULL",
            Self::Like => "LIKE ?",
            Self::Glob => "GLOB ?",
            Self::In => "IN (SELECT value FROM json_each(?))",
        }
    }

    const fn takes_value(self) -> bool {
        !matches!(self, Self::IsNull | Self::IsNotNull)
    }
}
