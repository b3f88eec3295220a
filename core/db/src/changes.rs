//! The log, change by change: what every device wrote to every cell, as `kith_changes` and for `kith log`.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use kithdb_log::{
    AuthorId, BlindingSecret, CellRef, Change, EpochSecret, Opener, Operation, RowsReader, SequenceNumber, Stamp, Step,
    ValueRef,
};
use rusqlite::types::Value;
use rusqlite::vtab::{Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, ffi};

use crate::apply::{Candidate, Reading, context_of, load_candidate};
use crate::log_error::LogError;
use crate::registry::Registry;
use crate::verify::display_key;
use crate::workspace::Workspace;

/// One cell that one operation wrote, or the operation itself where it writes no cell.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRecord {
    /// The arrival number of the entry.
    pub arrival: i64,
    /// The entry's place in its stream.
    pub sequence: SequenceNumber,
    /// The device that signed the entry.
    pub signer: AuthorId,
    /// When and by whom the cell was written; older than the entry where a moved row carries it along.
    pub stamp: Stamp,
    /// The table.
    pub table: String,
    /// The row's key as SQL values.
    pub key: String,
    /// `insert`, `update`, `delete` or `move`.
    pub operation: &'static str,
    /// The column, where a cell was written.
    pub column: Option<String>,
    /// The value written; for `move` without column, the new key as text.
    pub value: Value,
}

/// What is needed to read the log: the secrets, without anything that changes.
pub(crate) struct LogKeys {
    epoch: EpochSecret,
    pub(crate) blinding: BlindingSecret,
}

impl LogKeys {
    pub(crate) fn of(workspace: &Workspace) -> Self {
        Self {
            epoch: EpochSecret::from_bytes(*workspace.epoch.as_bytes()),
            blinding: BlindingSecret::from_bytes(*workspace.blinding.as_bytes()),
        }
    }
}

fn to_value(encoded: &[u8]) -> Result<Value, LogError> {
    Ok(match ValueRef::decode_all(encoded)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) | ValueRef::Reference(value, _) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

/// Reads the changes in one entry; none if its table is not known here.
fn of_entry(
    conn: &Connection,
    keys: &LogKeys,
    registry: &Registry,
    candidate: &Candidate,
) -> Result<Vec<ChangeRecord>, LogError> {
    let header = &candidate.entry.header;
    let Some(table) = registry.by_lane(&header.stream.lane) else { return Ok(Vec::new()) };
    let mut reading = Reading { conn, epoch: &keys.epoch, opener: Opener::new(), keys: BTreeMap::new() };
    let payload = reading.open(candidate, table.id)?;
    let mut reader = RowsReader::open(&payload, context_of(candidate))?;
    let names: Vec<Option<String>> = reader
        .columns()
        .iter()
        .map(|column| table.columns.iter().find(|known| known.id == *column).map(|known| known.name.clone()))
        .collect();
    let mut operation = Operation::default();
    let mut out = Vec::new();
    loop {
        match reader.next(&mut operation)? {
            Step::Begin(_) | Step::End(_) => continue,
            Step::Finished => return Ok(out),
            Step::Operation => {}
        }
        let record = |stamp, column, value, name| ChangeRecord {
            arrival: candidate.arrival(),
            sequence: header.sequence,
            signer: header.stream.author,
            stamp,
            table: table.name.clone(),
            key: display_key(operation.key),
            operation: name,
            column,
            value,
        };
        let name = match operation.change {
            Change::Insert => "insert",
            Change::Update => "update",
            Change::Delete => "delete",
            Change::Move { .. } => "move",
        };
        match operation.change {
            Change::Delete => out.push(record(operation.stamp, None, Value::Null, name)),
            Change::Move { to, .. } => out.push(record(operation.stamp, None, Value::Text(display_key(to)), name)),
            Change::Insert if operation.cells.is_empty() => out.push(record(operation.stamp, None, Value::Null, name)),
            Change::Insert | Change::Update => {}
        }
        for CellRef { column, stamp, value } in &operation.cells {
            out.push(record(*stamp, names[*column].clone(), to_value(value)?, name));
        }
    }
}

/// Makes `kith_changes` readable on a connection.
pub(crate) fn register(conn: &Connection, workspace: &Workspace) -> rusqlite::Result<()> {
    const MODULE: Module<'_, ChangesTable> = Module::eponymous_only_module();
    conn.create_module(c"kith_changes", &MODULE, Some(Arc::new(LogKeys::of(workspace))))
}

#[repr(C)]
struct ChangesTable {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab,
    db: *mut ffi::sqlite3,
    keys: Arc<LogKeys>,
}

/// How the table is read: the entry that is named only.
const ONE_ENTRY: c_int = 1;

const COLUMNS: &CStr = c"CREATE TABLE x(entry INTEGER, sequence INTEGER, signed_by TEXT, written_by TEXT, written_at TEXT, clock INTEGER, table_name TEXT, row_key TEXT, operation TEXT, column_name TEXT, value)";

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl<'vtab> VTab<'vtab> for ChangesTable {
    type Aux = Arc<LogKeys>;
    type Cursor = ChangesCursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let keys = aux.ok_or(rusqlite::Error::InvalidQuery)?.clone();
        // SAFETY: the table lives no longer than the connection that it is registered on.
        let db = unsafe { db.handle() };
        Ok((Cow::Borrowed(COLUMNS), Self { base: ffi::sqlite3_vtab::default(), db, keys }))
    }

    /// Reads one entry where that is asked for: opening all of them takes long.
    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let wanted = info.constraints().position(|constraint| {
            constraint.is_usable()
                && constraint.column() == 0
                && constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
        });
        match wanted {
            Some(place) => {
                // SQLite compares the column too: what is no number of an entry finds nothing.
                info.constraint_usage(place).set_argv_index(1);
                info.set_idx_num(ONE_ENTRY);
                info.set_estimated_cost(1e3);
            }
            None => info.set_estimated_cost(1e6),
        }
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<ChangesCursor<'vtab>> {
        Ok(ChangesCursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            db: self.db,
            keys: self.keys.clone(),
            registry: Registry::default(),
            arrivals: VecDeque::new(),
            records: VecDeque::new(),
            row: 0,
            table: PhantomData,
        })
    }
}

#[repr(C)]
struct ChangesCursor<'vtab> {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab_cursor,
    db: *mut ffi::sqlite3,
    keys: Arc<LogKeys>,
    registry: Registry,
    arrivals: VecDeque<i64>,
    records: VecDeque<ChangeRecord>,
    row: i64,
    table: PhantomData<&'vtab ChangesTable>,
}

fn failed(error: LogError) -> rusqlite::Error {
    match error {
        LogError::Sqlite(error) => error,
        error => rusqlite::Error::ModuleError(error.to_string()),
    }
}

impl ChangesCursor<'_> {
    /// Reads entries until there is a change to show.
    fn fill(&mut self) -> rusqlite::Result<()> {
        // SAFETY: the cursor lives no longer than the connection; this borrowed handle is not closed when dropped.
        let conn = unsafe { Connection::from_handle(self.db) }?;
        while self.records.is_empty() {
            let Some(arrival) = self.arrivals.pop_front() else { break };
            if let Some(candidate) = load_candidate(&conn, arrival).map_err(failed)? {
                self.records = of_entry(&conn, &self.keys, &self.registry, &candidate).map_err(failed)?.into();
            }
        }
        Ok(())
    }
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl VTabCursor for ChangesCursor<'_> {
    fn filter(&mut self, number: c_int, _text: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        // SAFETY: as in `fill`.
        let conn = unsafe { Connection::from_handle(self.db) }?;
        self.registry = crate::catalog::load(&conn, &self.keys.blinding)?.registry;
        let wanted: Option<Value> = if number == ONE_ENTRY { Some(arguments.get(0)?) } else { None };
        let which = if wanted.is_some() { "AND arrival = ?1 ORDER BY arrival" } else { "ORDER BY arrival" };
        self.arrivals = conn
            .prepare(&format!("SELECT arrival FROM kith__entries WHERE status <> 3 {which}"))?
            .query_map(rusqlite::params_from_iter(wanted), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.records.clear();
        self.row = 0;
        self.fill()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.records.pop_front();
        self.row += 1;
        self.fill()
    }

    fn eof(&self) -> bool {
        self.records.is_empty()
    }

    fn column(&self, context: &mut Context, index: c_int) -> rusqlite::Result<()> {
        let Some(record) = self.records.front() else { return Ok(()) };
        match index {
            0 => context.set_result(record.arrival),
            1 => context.set_result(record.sequence.get() as i64),
            2 => context.set_result(record.signer.to_string()),
            3 if record.stamp == Stamp::EXISTING => context.set_result(rusqlite::types::Null),
            3 => context.set_result(record.stamp.author.to_string()),
            4 if record.stamp == Stamp::EXISTING => context.set_result("before sync"),
            4 => context.set_result(iso_time(record.stamp.clock.unix_ms())),
            5 => context.set_result(record.stamp.clock.as_u64() as i64),
            6 => context.set_result(record.table.as_str()),
            7 => context.set_result(record.key.as_str()),
            8 => context.set_result(record.operation),
            9 => context.set_result(record.column.as_deref()),
            _ => context.set_result(record.value.clone()),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.row)
    }
}

/// Writes milliseconds since the Unix epoch as ISO 8601 in UTC.
///
/// Source of the calendar arithmetic: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
pub fn iso_time(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (days, second_of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_read_like_sqlites() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        for unix_ms in [0_i64, 951_782_400_000, 1_709_164_800_123, 1_795_305_600_999, 4_102_444_799_999] {
            let sql = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?1 / 1000.0, 'unixepoch')";
            let expected: String = conn.query_row(sql, [unix_ms], |row| row.get(0)).unwrap();
            assert_eq!(super::iso_time(unix_ms.unsigned_abs()), expected);
        }
    }
}
