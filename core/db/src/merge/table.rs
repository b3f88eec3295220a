//! One synced table at work: prepared statements, reading a shown row, and the three plain writes that apply makes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kithdb_log::{DecodeError, Origin, Reader, Stamp, ValueRef};
use rusqlite::types::{ToSqlOutput, ValueRef as SqlRef};
use rusqlite::{Connection, Statement, ffi};

use super::MergeError;
use super::authors::Authors;
use super::guard::{Guard, clear_violation, clear_violations, note_violation};
use super::meta::RowMeta;
use super::parked::{self, Life, Reason};
use crate::registry::TableInfo;
use crate::storage::rows_table;
use kithdb_search::sql::quote;

/// What became of a write to the user's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// The row is as asked.
    Done,
    /// A constraint keeps the row out.
    Refused(Reason),
}

/// A synced table during one merge.
pub(crate) struct TableWork<'c> {
    pub(crate) info: Arc<TableInfo>,
    conn: &'c Connection,
    insert: Option<Statement<'c>>,
    delete: Option<Statement<'c>>,
    select: Option<Statement<'c>>,
    updates: HashMap<Vec<u16>, Statement<'c>>,
    meta_get: Option<Statement<'c>>,
    meta_put: Option<Statement<'c>>,
    meta_insert: Option<Statement<'c>>,
    meta_delete: Option<Statement<'c>>,
    has_violations: bool,
    /// Whether any life of this table may be parked.
    pub(crate) any_parked: bool,
    /// Whether lives may be parked although they live.
    pub(crate) live_parked: bool,
    /// Whether rows without metadata may exist.
    pub(crate) existing_rows: bool,
    /// Keys whose shown life must be worked out again.
    pub(crate) dirty: BTreeSet<Vec<u8>>,
    /// Whether UNIQUE claims must be settled again.
    pub(crate) claims_changed: bool,
    /// How many rows were written.
    pub(crate) rows_written: u64,
    scratch: Vec<u8>,
}

fn prepared<'s, 'c>(
    slot: &'s mut Option<Statement<'c>>,
    conn: &'c Connection,
    sql: impl FnOnce() -> String,
) -> rusqlite::Result<&'s mut Statement<'c>> {
    if slot.is_none() {
        *slot = Some(conn.prepare(&sql())?);
    }
    // Just filled; the alternative to this arm cannot be reached.
    slot.as_mut().ok_or(rusqlite::Error::InvalidQuery)
}

fn bind(statement: &mut Statement<'_>, index: usize, value: ValueRef<'_>) -> rusqlite::Result<()> {
    let sql = match value {
        ValueRef::Null => SqlRef::Null,
        ValueRef::Integer(value) | ValueRef::Reference(value, _) => SqlRef::Integer(value),
        ValueRef::Real(value) => SqlRef::Real(value),
        ValueRef::Text(bytes) => SqlRef::Text(bytes),
        ValueRef::Blob(bytes) => SqlRef::Blob(bytes),
    };
    statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(sql))
}

/// Borrows an SQL value as a cell value.
pub(crate) fn from_sql(value: SqlRef<'_>) -> ValueRef<'_> {
    match value {
        SqlRef::Null => ValueRef::Null,
        SqlRef::Integer(value) => ValueRef::Integer(value),
        SqlRef::Real(value) => ValueRef::Real(value),
        SqlRef::Text(bytes) => ValueRef::Text(bytes),
        SqlRef::Blob(bytes) => ValueRef::Blob(bytes),
    }
}

/// Decodes a key into SQL values, in the order of the primary key.
pub(super) fn from_key(key: &[u8]) -> Result<Vec<rusqlite::types::Value>, MergeError> {
    let mut reader = Reader::new(key);
    let mut out = Vec::new();
    while !reader.is_empty() {
        out.push(match ValueRef::decode(&mut reader)? {
            ValueRef::Null => rusqlite::types::Value::Null,
            ValueRef::Integer(value) | ValueRef::Reference(value, _) => value.into(),
            ValueRef::Real(value) => value.into(),
            ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
            ValueRef::Blob(bytes) => bytes.to_vec().into(),
        });
    }
    Ok(out)
}

/// Returns the integer of an auto-numbered table's key.
fn integer_key(key: &[u8]) -> Result<i64, MergeError> {
    match ValueRef::decode_all(key)? {
        ValueRef::Integer(id) => Ok(id),
        _ => Err(MergeError::Decode(DecodeError::NotCanonical { what: "key" })),
    }
}

fn write_meta(statement: &mut Statement<'_>, auto: bool, key: &[u8], packed: &[u8]) -> Result<usize, MergeError> {
    if auto {
        statement.raw_bind_parameter(1, integer_key(key)?)?;
    } else {
        statement.raw_bind_parameter(1, key)?;
    }
    statement.raw_bind_parameter(2, packed)?;
    Ok(statement.raw_execute()?)
}

impl<'c> TableWork<'c> {
    /// Starts work on a table.
    pub(crate) fn new(conn: &'c Connection, info: Arc<TableInfo>) -> rusqlite::Result<Self> {
        let (any, live) = parked::any(conn, info.num)?;
        let has_violations = conn
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM kith__violations WHERE table_num = ?1)")?
            .query_row([info.num], |row| row.get(0))?;
        Ok(Self {
            existing_rows: info.existing_rows,
            info,
            conn,
            insert: None,
            delete: None,
            select: None,
            updates: HashMap::new(),
            meta_get: None,
            meta_put: None,
            meta_insert: None,
            meta_delete: None,
            has_violations,
            any_parked: any,
            live_parked: live,
            dirty: BTreeSet::new(),
            claims_changed: false,
            rows_written: 0,
            scratch: Vec::new(),
        })
    }

    /// Returns the number of cells of a row.
    pub(crate) fn cell_count(&self) -> u16 {
        self.info.cells.len() as u16
    }

    fn where_key(&self, first: usize) -> String {
        let parts: Vec<String> = self
            .info
            .key
            .iter()
            .enumerate()
            .map(|(index, &column)| format!("{} = ?{}", quote(&self.info.columns[column].name), first + index))
            .collect();
        parts.join(" AND ")
    }

    fn bind_key(statement: &mut Statement<'_>, first: usize, key: &[u8]) -> Result<(), MergeError> {
        let mut reader = Reader::new(key);
        let mut index = first;
        while !reader.is_empty() {
            bind(statement, index, ValueRef::decode(&mut reader)?)?;
            index += 1;
        }
        Ok(())
    }

    // ---- metadata

    /// Reads the metadata that is stored for the shown row under a key.
    pub(crate) fn stored_meta(&mut self, authors: &Authors, key: &[u8]) -> Result<Option<RowMeta>, MergeError> {
        let (num, auto) = (self.info.num, self.info.is_auto());
        let statement =
            prepared(&mut self.meta_get, self.conn, || format!("SELECT meta FROM {} WHERE key = ?1", rows_table(num)))?;
        if auto {
            statement.raw_bind_parameter(1, integer_key(key)?)?;
        } else {
            statement.raw_bind_parameter(1, key)?;
        }
        let mut rows = statement.raw_query();
        if let Some(row) = rows.next()? {
            let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            return Ok(Some(RowMeta::decode(bytes, authors)?));
        }
        drop(rows);
        Ok(None)
    }

    /// Reads the metadata of the shown row under a key; for a row from before sync it is made up.
    pub(crate) fn meta(&mut self, authors: &Authors, key: &[u8]) -> Result<Option<RowMeta>, MergeError> {
        let stored = self.stored_meta(authors, key)?;
        if stored.is_some() || !self.existing_rows {
            return Ok(stored);
        }
        let Some(values) = self.row_values(key)? else { return Ok(None) };
        Ok(Some(RowMeta::born(Stamp::EXISTING, self.origin_of(&values))))
    }

    /// Works out the origin of a row from its cells at birth.
    pub(crate) fn origin_of<V: AsRef<[u8]>>(&self, cells: &[V]) -> Origin {
        if !self.info.is_auto() {
            return Origin::NATURAL;
        }
        let mut content = Vec::new();
        for cell in cells {
            content.extend_from_slice(cell.as_ref());
        }
        Origin::of_content(&content)
    }

    /// Writes the metadata of a row that is shown from now on; returns false if there is some already.
    pub(crate) fn insert_meta(
        &mut self,
        authors: &mut Authors,
        key: &[u8],
        meta: &RowMeta,
    ) -> Result<bool, MergeError> {
        if meta.is_existing() {
            self.existing_rows = true;
            return Ok(true);
        }
        let (num, conn) = (self.info.num, self.conn);
        let (packed, auto) = self.pack(authors, meta)?;
        let statement = prepared(&mut self.meta_insert, conn, || {
            format!("INSERT OR IGNORE INTO {} VALUES(?1, ?2)", rows_table(num))
        })?;
        let written = write_meta(statement, auto, key, &packed)?;
        self.scratch = packed;
        Ok(written > 0)
    }

    /// Writes the metadata of a shown row, whether there is some or not.
    pub(crate) fn put_meta(&mut self, authors: &mut Authors, key: &[u8], meta: &RowMeta) -> Result<(), MergeError> {
        let (num, conn) = (self.info.num, self.conn);
        let (packed, auto) = self.pack(authors, meta)?;
        let statement = prepared(&mut self.meta_put, conn, || {
            format!(
                "INSERT INTO {} VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET meta = excluded.meta",
                rows_table(num)
            )
        })?;
        write_meta(statement, auto, key, &packed)?;
        self.scratch = packed;
        Ok(())
    }

    /// Writes the metadata of a row that is shown again, in place of any that another program may have left behind.
    pub(crate) fn replace_meta(&mut self, authors: &mut Authors, key: &[u8], meta: &RowMeta) -> Result<(), MergeError> {
        if meta.is_existing() {
            self.existing_rows = true;
            return self.delete_meta(key);
        }
        self.put_meta(authors, key, meta)
    }

    fn pack(&mut self, authors: &mut Authors, meta: &RowMeta) -> Result<(Vec<u8>, bool), MergeError> {
        let mut packed = std::mem::take(&mut self.scratch);
        packed.clear();
        meta.encode(self.conn, authors, &mut packed)?;
        Ok((packed, self.info.is_auto()))
    }

    /// Removes the metadata of a row that is no longer shown.
    pub(crate) fn delete_meta(&mut self, key: &[u8]) -> Result<(), MergeError> {
        let (num, auto) = (self.info.num, self.info.is_auto());
        let statement =
            prepared(&mut self.meta_delete, self.conn, || format!("DELETE FROM {} WHERE key = ?1", rows_table(num)))?;
        if auto {
            statement.raw_bind_parameter(1, integer_key(key)?)?;
        } else {
            statement.raw_bind_parameter(1, key)?;
        }
        statement.raw_execute()?;
        Ok(())
    }

    // ---- the user's rows

    /// Reads the encoded cells of the row under a key.
    pub(crate) fn row_values(&mut self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MergeError> {
        if self.select.is_none() {
            let columns: Vec<String> =
                self.info.cells.iter().map(|&column| quote(&self.info.columns[column].name)).collect();
            let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(", ") };
            let sql = format!("SELECT {columns} FROM main.{} WHERE {}", quote(&self.info.name), self.where_key(1));
            self.select = Some(self.conn.prepare(&sql)?);
        }
        let count = self.info.cells.len();
        let statement = self.select.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
        Self::bind_key(statement, 1, key)?;
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut values = Vec::with_capacity(count);
        for cell in 0..count {
            values.push(from_sql(row.get_ref(cell)?).to_encoded());
        }
        Ok(Some(values))
    }

    /// Reads the shown row under a key as a life.
    pub(crate) fn shown_life(&mut self, key: &[u8], meta: &RowMeta) -> Result<Life, MergeError> {
        let mut life = Life::default();
        life.node.birth = Some(meta.birth);
        if let Some(values) = self.row_values(key)? {
            for (cell, value) in values.into_iter().enumerate() {
                let cell = cell as u16;
                let value = with_reference(value, meta.reference_of(cell))?;
                life.node.join_cell(cell, meta.stamp_of(cell), &value);
            }
        }
        Ok(life)
    }

    /// Inserts the row under a key from its encoded cells.
    pub(crate) fn insert<'v>(
        &mut self,
        guard: &Guard<'_>,
        key: &[u8],
        cell: impl Fn(u16) -> Option<&'v [u8]>,
    ) -> Result<Written, MergeError> {
        if self.insert.is_none() {
            let sql = self.insert_sql(self.on_conflict(guard)?);
            self.insert = Some(self.conn.prepare(&sql)?);
        }
        let statement = self.insert.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
        bind_row(&self.info, statement, key, cell)?;
        run(self.conn, guard, statement, self.info.num, key, &mut self.has_violations)
            .inspect(|_| self.rows_written += 1)
    }

    /// Inserts a row and lets it displace whatever stands in its way; only ever inside something that is undone.
    pub(crate) fn replace<'v>(&self, key: &[u8], cell: impl Fn(u16) -> Option<&'v [u8]>) -> Result<(), MergeError> {
        let mut statement = self.conn.prepare(&self.insert_sql("OR REPLACE"))?;
        bind_row(&self.info, &mut statement, key, cell)?;
        match settle(statement.raw_execute())? {
            Written::Done | Written::Refused(_) => Ok(()),
        }
    }

    /// Chooses what a constraint does: always ABORT. Said aloud it would override what the user's triggers say, so it is said only
    /// where the table itself says something else.
    fn on_conflict(&self, guard: &Guard<'_>) -> rusqlite::Result<&'static str> {
        if !guard.has_triggers() {
            return Ok("OR ABORT");
        }
        let says_otherwise: bool = self
            .conn
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 AND sql LIKE '%conflict%')")?
            .query_row([&self.info.name], |row| row.get(0))?;
        Ok(if says_otherwise { "OR ABORT" } else { "" })
    }

    /// Lists a row that the user moved under its new key: moving it makes SQLite judge no CHECK of other columns.
    pub(crate) fn move_violations(&mut self, key: &[u8], new_key: &[u8]) -> Result<(), MergeError> {
        if self.has_violations {
            self.conn
                .prepare_cached("UPDATE OR REPLACE kith__violations SET key = ?3 WHERE table_num = ?1 AND key = ?2")?
                .execute(rusqlite::params![self.info.num, key, new_key])?;
        }
        Ok(())
    }

    /// Strikes off the list the rows that a later write, remote or the user's own, has made right.
    pub(crate) fn recheck_violations(&mut self, guard: &Guard<'_>) -> Result<(), MergeError> {
        if !self.has_violations {
            return Ok(());
        }
        let mut listed =
            self.conn.prepare_cached("SELECT key FROM kith__violations WHERE table_num = ?1 AND kind = 'check'")?;
        let keys: Vec<Vec<u8>> =
            listed.query_map([self.info.num], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        if keys.is_empty() {
            return Ok(());
        }
        let names = self.info.columns.iter().map(|column| quote(&column.name));
        let sets: Vec<String> = names.map(|name| format!("{name} = {name}")).collect();
        // Writing a row as it is makes SQLite judge it again.
        let sql = format!(
            "UPDATE OR ABORT main.{} SET {} WHERE {}",
            quote(&self.info.name),
            sets.join(", "),
            self.where_key(1)
        );
        let mut statement = self.conn.prepare(&sql)?;
        for key in keys {
            Self::bind_key(&mut statement, 1, &key)?;
            match guard.without_triggers(|| statement.raw_execute())? {
                Err(rusqlite::Error::SqliteFailure(error, _)) if is_the_rows(&error) => {}
                Ok(_) => clear_violation(self.conn, self.info.num, &key, "check")?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn insert_sql(&self, conflict: &str) -> String {
        let names: Vec<String> = self.info.columns.iter().map(|column| quote(&column.name)).collect();
        let marks: Vec<String> = (1..=names.len()).map(|index| format!("?{index}")).collect();
        format!(
            "INSERT {conflict} INTO main.{}({}) VALUES({})",
            quote(&self.info.name),
            names.join(", "),
            marks.join(", ")
        )
    }

    /// Updates cells of the row under a key; `cells` in ascending order.
    pub(crate) fn update(
        &mut self,
        guard: &Guard<'_>,
        key: &[u8],
        cells: &[(u16, &[u8])],
    ) -> Result<Written, MergeError> {
        let columns: Vec<u16> = cells.iter().map(|(cell, _)| *cell).collect();
        if !self.updates.contains_key(&columns) {
            let sets: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(index, &cell)| {
                    format!("{} = ?{}", quote(&self.info.columns[self.info.cells[usize::from(cell)]].name), index + 1)
                })
                .collect();
            let sql = format!(
                "UPDATE {} main.{} SET {} WHERE {}",
                self.on_conflict(guard)?,
                quote(&self.info.name),
                sets.join(", "),
                self.where_key(columns.len() + 1)
            );
            self.updates.insert(columns.clone(), self.conn.prepare(&sql)?);
        }
        let statement = self.updates.get_mut(&columns).ok_or(rusqlite::Error::InvalidQuery)?;
        for (index, (_, value)) in cells.iter().enumerate() {
            bind(statement, index + 1, ValueRef::decode_all(value)?)?;
        }
        Self::bind_key(statement, cells.len() + 1, key)?;
        run(self.conn, guard, statement, self.info.num, key, &mut self.has_violations)
            .inspect(|_| self.rows_written += 1)
    }

    /// Deletes the row under a key.
    pub(crate) fn delete(&mut self, guard: &Guard<'_>, key: &[u8]) -> Result<(), MergeError> {
        if self.delete.is_none() {
            let sql = format!("DELETE FROM main.{} WHERE {}", quote(&self.info.name), self.where_key(1));
            self.delete = Some(self.conn.prepare(&sql)?);
        }
        let statement = self.delete.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
        Self::bind_key(statement, 1, key)?;
        run(self.conn, guard, statement, self.info.num, key, &mut self.has_violations)?;
        if self.has_violations {
            clear_violations(self.conn, self.info.num, key)?;
        }
        self.rows_written += 1;
        Ok(())
    }
}

fn bind_row<'v>(
    info: &TableInfo,
    statement: &mut Statement<'_>,
    key: &[u8],
    cell: impl Fn(u16) -> Option<&'v [u8]>,
) -> Result<(), MergeError> {
    let mut reader = Reader::new(key);
    for &column in &info.key {
        let value = ValueRef::decode(&mut reader)?;
        if info.columns[column].cell.is_none() {
            bind(statement, column + 1, value)?;
        }
    }
    for (index, &column) in info.cells.iter().enumerate() {
        let value = cell(index as u16).map(ValueRef::decode_all).transpose()?.unwrap_or(ValueRef::Null);
        bind(statement, column + 1, value)?;
    }
    Ok(())
}

/// Puts the origin back into a value that refers to an auto-numbered row.
pub(crate) fn with_reference(value: Vec<u8>, origin: Option<Origin>) -> Result<Vec<u8>, MergeError> {
    match (origin, ValueRef::decode_all(&value)?) {
        (Some(origin), ValueRef::Integer(id)) => Ok(ValueRef::Reference(id, origin).to_encoded()),
        _ => Ok(value),
    }
}

/// Runs one write. CHECK and triggers that raise never keep a row out: it is written all the same and the violation noted.
fn run(
    conn: &Connection,
    guard: &Guard<'_>,
    statement: &mut Statement<'_>,
    table: u32,
    key: &[u8],
    noted: &mut bool,
) -> Result<Written, MergeError> {
    let mut note = |kind: &str, detail: &str| {
        *noted = true;
        note_violation(conn, table, key, kind, detail)
    };
    let why = match guard.write(|| statement.raw_execute())? {
        // Either a BEFORE trigger of the user's said RAISE(IGNORE), or another program removed the row.
        Ok(0) => "a trigger ignored the row; it was applied with triggers off".to_owned(),
        Ok(_) => return Ok(Written::Done),
        Err(rusqlite::Error::SqliteFailure(error, message)) if is_the_rows(&error) => {
            let mut failure = rusqlite::Error::SqliteFailure(error, message.clone());
            if error.extended_code == ffi::SQLITE_CONSTRAINT_CHECK {
                match without_checks(conn, || guard.write(|| statement.raw_execute()))?? {
                    Ok(_) => {
                        note("check", message.as_deref().unwrap_or("CHECK constraint failed"))?;
                        return Ok(Written::Done);
                    }
                    Err(error) => failure = error,
                }
            }
            if !guard.has_triggers() {
                return settle(Err(failure));
            }
            failure.to_string()
        }
        Err(error) => return Err(error.into()),
    };
    // What failed may have been a write of a trigger: only what fails without any keeps the row out.
    let outcome = match guard.without_triggers_on(table, key, || statement.raw_execute())? {
        Err(rusqlite::Error::SqliteFailure(error, message)) if error.extended_code == ffi::SQLITE_CONSTRAINT_CHECK => {
            let again = without_checks(conn, || guard.without_triggers_on(table, key, || statement.raw_execute()))??;
            if again.is_ok() {
                note("check", message.as_deref().unwrap_or("CHECK constraint failed"))?;
            }
            again
        }
        outcome => outcome,
    };
    if let Ok(1..) = outcome {
        kithdb_search::vector::note_unwatched_writes(conn)?;
        note("trigger", &why)?;
    }
    settle(outcome)
}

/// Tells whether a failure lies in the row rather than in the file or the machine. A bare SQLITE_ERROR comes from an expression that
/// fails on the row: in an index, a generated column or a CHECK.
fn is_the_rows(error: &ffi::Error) -> bool {
    matches!(error.code, ffi::ErrorCode::ConstraintViolation | ffi::ErrorCode::TypeMismatch | ffi::ErrorCode::TooBig)
        || error.extended_code == ffi::SQLITE_ERROR
}

fn without_checks<T>(conn: &Connection, run: impl FnOnce() -> T) -> rusqlite::Result<T> {
    conn.pragma_update(None, "ignore_check_constraints", true)?;
    let out = run();
    conn.pragma_update(None, "ignore_check_constraints", false)?;
    Ok(out)
}

fn settle(outcome: rusqlite::Result<usize>) -> Result<Written, MergeError> {
    match outcome {
        Ok(_) => Ok(Written::Done),
        Err(rusqlite::Error::SqliteFailure(error, message)) => match error.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                Ok(Written::Refused(Reason::Unique))
            }
            ffi::SQLITE_CONSTRAINT_NOTNULL => Ok(Written::Refused(Reason::NotNull)),
            ffi::SQLITE_CONSTRAINT_DATATYPE | ffi::SQLITE_MISMATCH => Ok(Written::Refused(Reason::WrongType)),
            _ if is_the_rows(&error) => Ok(Written::Refused(Reason::Refused)),
            _ => Err(rusqlite::Error::SqliteFailure(error, message).into()),
        },
        Err(error) => Err(error.into()),
    }
}
