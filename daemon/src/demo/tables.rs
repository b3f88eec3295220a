//! What the demo reads of any database through plain SQLite: tables, rows, and whether two files hold the same.

use std::path::Path;

use anyhow::{Result, bail};
use kithdb_core::storage::quote;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags};

/// How many differences are shown.
const DIFFERENCES_MAX: usize = 10;

/// A column of a user's table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its declared type, in upper case.
    pub declared: String,
    /// Its place in the primary key, from 1; 0 if it has none.
    pub key_place: usize,
    /// Whether a UNIQUE index holds it.
    pub is_unique: bool,
    /// Whether it refers to another table.
    pub is_reference: bool,
}

/// A user's table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its stored columns: generated ones are left out.
    pub columns: Vec<Column>,
}

impl Table {
    /// Returns the indexes of the key's columns, in the key's order.
    pub fn key(&self) -> Vec<usize> {
        let mut key: Vec<usize> = (0..self.columns.len()).filter(|&index| self.columns[index].key_place > 0).collect();
        key.sort_by_key(|&index| self.columns[index].key_place);
        key
    }

    /// Returns the indexes of the columns that are not in the key.
    pub fn cells(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|&index| self.columns[index].key_place == 0).collect()
    }

    /// Tells whether rows get their key from SQLite.
    pub fn is_auto(&self) -> bool {
        matches!(self.key().as_slice(), [only] if self.columns[*only].declared == "INTEGER")
    }

    fn select(&self, columns: &str) -> String {
        let key: Vec<_> = self.key().iter().map(|&index| quote(&self.columns[index].name)).collect();
        format!("SELECT {columns} FROM main.{} ORDER BY {}", quote(&self.name), key.join(", "))
    }

    fn column_list(&self) -> String {
        self.columns.iter().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
    }
}

/// Opens a file with plain SQLite, to read.
pub fn open_plain(path: &Path) -> Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// Lists the synced tables of a file, with their columns.
pub fn synced(conn: &Connection) -> Result<Vec<Table>> {
    let names: Vec<String> = conn
        .prepare("SELECT name FROM kith__tables WHERE state = 'synced' ORDER BY num")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    names.into_iter().map(|name| Ok(Table { columns: columns(conn, &name)?, name })).collect()
}

fn columns(conn: &Connection, table: &str) -> Result<Vec<Column>> {
    let mut statement = conn.prepare(
        "SELECT name, upper(type), pk,
           EXISTS(SELECT 1 FROM pragma_index_list(?1) i, pragma_index_info(i.name) c WHERE i.\"unique\" AND i.origin <> 'pk' AND c.name = x.name),
           EXISTS(SELECT 1 FROM pragma_foreign_key_list(?1) f WHERE f.\"from\" = x.name COLLATE NOCASE)
         FROM pragma_table_xinfo(?1) x WHERE hidden = 0 ORDER BY cid",
    )?;
    let columns = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            declared: row.get(1)?,
            key_place: row.get::<_, u32>(2)? as usize,
            is_unique: row.get(3)?,
            is_reference: row.get(4)?,
        })
    })?;
    Ok(columns.collect::<rusqlite::Result<_>>()?)
}

/// Takes rows of a table, evenly spread over its keys.
pub fn sample(conn: &Connection, table: &Table, rows_max: usize) -> Result<Vec<Vec<Value>>> {
    let count: i64 =
        conn.query_row(&format!("SELECT count(*) FROM main.{}", quote(&table.name)), [], |row| row.get(0))?;
    let step = usize::try_from(count).unwrap_or(usize::MAX).div_ceil(rows_max.max(1)).max(1);
    let mut statement = conn.prepare(&table.select(&table.column_list()))?;
    let mut rows = statement.query([])?;
    let (mut place, mut taken) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        if place % step == 0 {
            taken.push((0..table.columns.len()).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<Value>>>()?);
        }
        place += 1;
    }
    Ok(taken)
}

/// Writes a value as SQL.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(_) => crate::render::text(ValueRef::from(value)).into_owned(),
    }
}

/// What a comparison of two files found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Rows compared, by table.
    pub tables: Vec<(String, u64)>,
    /// What differs, in words; empty if the files hold the same.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Returns how many rows were compared.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }

    fn note(&mut self, difference: String) -> bool {
        self.differences.push(difference);
        self.differences.len() < DIFFERENCES_MAX
    }
}

/// Compares all synced tables of two files row by row, value and type, through plain SQLite.
pub fn compare(left: &Path, right: &Path) -> Result<Comparison> {
    let (left, right) = (open_plain(left)?, open_plain(right)?);
    let (tables, others) = (synced(&left)?, synced(&right)?);
    let mut found = Comparison::default();
    if tables.is_empty() {
        bail!("no table is synced, so there is nothing to compare");
    }
    for table in &others {
        if !tables.iter().any(|known| known.name == table.name) {
            found.note(format!("only the second file syncs table {}", table.name));
        }
    }
    for table in &tables {
        let rows = if others.iter().any(|known| known.name == table.name) {
            compare_table(&left, &right, table, &mut found)?
        } else {
            found.note(format!("the second file does not sync table {}", table.name));
            0
        };
        found.tables.push((table.name.clone(), rows));
    }
    Ok(found)
}

fn compare_table(left: &Connection, right: &Connection, table: &Table, found: &mut Comparison) -> Result<u64> {
    let sql = table.select("*");
    let (mut ours, mut theirs) = (left.prepare(&sql)?, right.prepare(&sql)?);
    if !ours.column_names().eq(theirs.column_names()) {
        found.note(format!("table {} has other columns in the second file", table.name));
        return Ok(0);
    }
    let count = ours.column_count();
    let key = table.key();
    let shown = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        let parts = key.iter().map(|&index| row.get(table.columns[index].name.as_str()).map(|value| literal(&value)));
        Ok(parts.collect::<rusqlite::Result<Vec<_>>>()?.join(", "))
    };
    let (mut ours, mut theirs) = (ours.query([])?, theirs.query([])?);
    let mut rows = 0;
    loop {
        match (ours.next()?, theirs.next()?) {
            (None, None) => return Ok(rows),
            (Some(our), Some(their)) => {
                rows += 1;
                for index in 0..count {
                    if !is_same(our.get_ref(index)?, their.get_ref(index)?) {
                        let column = our.as_ref().column_name(index)?;
                        let difference = format!("table {}, row {}, column {column}", table.name, shown(our)?);
                        if !found.note(difference) {
                            return Ok(rows);
                        }
                        break;
                    }
                }
            }
            (Some(row), None) => {
                found.note(format!("table {} has more rows in the first file, from {} on", table.name, shown(row)?));
                return Ok(rows);
            }
            (None, Some(row)) => {
                found.note(format!("table {} has more rows in the second file, from {} on", table.name, shown(row)?));
                return Ok(rows);
            }
        }
    }
}

/// Tells whether two values are the same in type and in every bit.
fn is_same(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    match (left, right) {
        (ValueRef::Real(left), ValueRef::Real(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

/// Tells whether two files hold the same log, all of it sealed and merged.
pub fn are_in_step(left: &Path, right: &Path) -> Result<bool> {
    let state = |path: &Path| -> Result<Option<(Vec<String>, i64)>> {
        let conn = open_plain(path)?;
        let open: bool = conn.query_row(
            "SELECT EXISTS(SELECT 1 FROM kith__pending) OR EXISTS(SELECT 1 FROM kith__entries WHERE status = 0)
               OR EXISTS(SELECT 1 FROM kith__tables WHERE uptake IS NOT NULL AND state = 'synced')",
            [],
            |row| row.get(0),
        )?;
        if open {
            return Ok(None);
        }
        let heads = conn
            .prepare(
                "SELECT hex(a.author) || hex(a.incarnation) || hex(s.lane) || s.height || ':' || hex(s.head)
                 FROM kith__streams s JOIN kith__authors a ON a.num = s.author ORDER BY 1",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some((heads, conn.query_row("SELECT count(*) FROM kith__admin", [], |row| row.get(0))?)))
    };
    let left = state(left)?;
    Ok(left.is_some() && left == state(right)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "
        CREATE TABLE kith__tables(num INTEGER PRIMARY KEY, name TEXT, state TEXT);
        INSERT INTO kith__tables(name, state) VALUES('t', 'synced'), ('other', 'unsynced');
        CREATE TABLE t(b INT, a TEXT, c UNIQUE, d REAL AS (b * 2.0), PRIMARY KEY(a, b));
        CREATE TABLE other(x);";

    fn file(folder: &tempfile::TempDir, name: &str, sql: &str) -> std::path::PathBuf {
        let path = folder.path().join(name);
        Connection::open(&path).unwrap().execute_batch(&format!("{TABLES}{sql}")).unwrap();
        path
    }

    #[test]
    fn rows_are_compared_by_value_and_type() {
        let folder = tempfile::tempdir().unwrap();
        let left =
            file(&folder, "left", "INSERT INTO t VALUES(1, 'x', 1), (2, 'x', NULL); INSERT INTO other VALUES(1)");
        let same = file(&folder, "same", "INSERT INTO t VALUES(2, 'x', NULL), (1, 'x', 1)");
        let found = compare(&left, &same).unwrap();
        assert_eq!((found.rows(), found.differences.len()), (2, 0));
        let typed = file(&folder, "typed", "INSERT INTO t VALUES(1, 'x', '1'), (2, 'x', NULL)");
        assert_eq!(compare(&left, &typed).unwrap().differences, ["table t, row 'x', 1, column c"]);
        let fewer = file(&folder, "fewer", "INSERT INTO t VALUES(1, 'x', 1)");
        let expected = ["table t has more rows in the first file, from 'x', 2 on"];
        assert_eq!(compare(&left, &fewer).unwrap().differences, expected);
    }

    #[test]
    fn columns_are_known_and_samples_spread() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(TABLES).unwrap();
        conn.execute_batch("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) INSERT INTO t SELECT i, 'k', i FROM n")
            .unwrap();
        let tables = synced(&conn).unwrap();
        let [table] = tables.as_slice() else { panic!("one table expected") };
        assert_eq!((table.key(), table.cells(), table.is_auto()), (vec![1, 0], vec![2], false));
        assert!(table.columns[2].is_unique);
        let rows = sample(&conn, table, 10).unwrap();
        assert_eq!((rows.len(), &rows[9][0]), (10, &Value::Integer(90)));
    }
}
