//! Writes the journal to `kith__pending`, inside the user's transaction, when SQLite is about to commit it.
//!
//! Invariants:
//! 1. The clock is read inside the transaction, so that two processes never hand out the same tick; or was read before, and the
//!    file is found inside the transaction to be what this connection has left since.
//! 2. A second flush of one transaction (a COMMIT that was BUSY and is retried) takes the rows of the first one back first: one
//!    transaction of the user is one transaction of the log, however often it was tried.

use std::borrow::Cow;
use std::ffi::CStr;

use kithdb_log::codec::put_varint;
use kithdb_log::limits::{OPERATION_BYTES_MAX, SIBLINGS_MAX, VALUE_BYTES_MAX};
use kithdb_log::{Clock, Hlc, Reader, ValueRef};
use rusqlite::types::ValueRef as SqlValue;
use rusqlite::{Connection, OptionalExtension, ToSql, ffi};

use super::journal::{Failure, Journal, Note, Place};
use super::shape::{Shape, Shapes};
use super::state::State;
use super::{currency, reasons};
use crate::pending;

/// The last clock that was handed out, here or by another process, or heard of.
const LAST_CLOCK: &str = "SELECT max(
    coalesce((SELECT last_clock FROM main.kith__pending ORDER BY n DESC LIMIT 1), 0),
    coalesce((SELECT value FROM main.kith__meta WHERE name = 'clock'), 0))";
pub(super) const INSERT: &CStr =
    c"INSERT INTO main.kith__pending(first_clock, last_clock, continues, body) VALUES(?1, ?2, ?3, ?4)";
const TAKE_BACK: &str = "DELETE FROM main.kith__pending WHERE n BETWEEN ?1 AND ?2";

/// Writes what `kith__pending` does not hold yet.
pub(super) fn flush(state: &State) -> Result<(), Failure> {
    // A transaction of ours, which may well change which tables are synced.
    if state.is_ours() {
        return Ok(());
    }
    let (first, last) = {
        let journal = state.journal.borrow();
        if let Some(failure) = journal.failure() {
            return Err(failure.clone());
        }
        if state.currency.is_in_doubt(state.db) {
            state.run_quietly(|conn| currency::check(state, conn))?;
        }
        if journal.is_flushed() {
            return Ok(());
        }
        state.run_quietly(|conn| write(state, conn, &journal)).map_err(|mut failure| {
            // SQLite takes BUSY from here for a COMMIT that may be tried again; half a flush may not.
            if matches!(failure.code & 0xff, ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED) {
                failure.code = ffi::SQLITE_ERROR;
            }
            failure
        })?
    };
    state.journal.borrow_mut().mark_flushed(first, last);
    Ok(())
}

/// Writes the whole journal and returns the first and last row, the last below the first if there was nothing to write.
fn write(state: &State, conn: &Connection, journal: &Journal) -> Result<(i64, i64), Failure> {
    if let Some(flushed) = journal.flushed() {
        conn.prepare_cached(TAKE_BACK)?.execute([flushed.first, flushed.last])?;
    }
    let late = late_changes(state, conn, journal)?;
    let count = journal.buffer.changes() + late.count;
    if count == 0 {
        return Ok((1, 0));
    }
    // A part names every other one as its sibling.
    if journal.tables().len() > SIBLINGS_MAX + 1 {
        return Err(reasons::too_many_tables(journal.tables().len(), SIBLINGS_MAX + 1));
    }
    let last = match state.known_clock() {
        Some(last) => last,
        None => conn.prepare_cached(LAST_CLOCK)?.query_row([], |row| row.get::<_, i64>(0))? as u64,
    };
    let mut clock = Clock::after(Hlc::from_u64(last));
    let base = clock.tick((state.clock)(), count).map_err(reasons::clock_ahead)?;
    state.note_flush(base.as_u64().saturating_add(count - 1));
    write_rows(state, conn, journal, base, &late)
}

fn write_rows(
    state: &State,
    conn: &Connection,
    journal: &Journal,
    base: Hlc,
    late: &Late,
) -> Result<(i64, i64), Failure> {
    let mut head = Vec::with_capacity(64);
    put_varint(&mut head, journal.tables().len() as u64);
    for &num in journal.tables() {
        put_varint(&mut head, u64::from(num));
    }

    // SAFETY: the connection is the state's, and open while it commits.
    let insert = |numbers, body: &[u8]| unsafe { state.insert.run_record(state.db, numbers, body) };
    let tick = |change: u64| base.as_u64().saturating_add(change) as i64;
    let mut first = None;
    let changes = journal.buffer.changes();
    let mut parts = journal.buffer.parts().peekable();
    while let Some(part) = parts.next() {
        let bytes = journal.buffer.read(&part.bytes).map_err(|error| reasons::spill(&error))?;
        let body = match first {
            None => Cow::Owned([head.as_slice(), &bytes].concat()),
            Some(_) => bytes,
        };
        let continues = parts.peek().is_some() || late.count > 0;
        let (stored, packed) = pending::pack(&body);
        let flags = packed | if continues { pending::CONTINUES } else { 0 };
        insert([tick(part.changes.start), tick(part.changes.end - 1), flags], &stored)?;
        first.get_or_insert(conn.last_insert_rowid());
    }
    if late.count > 0 {
        let body = if first.is_none() { [head.as_slice(), &late.bytes].concat() } else { late.bytes.clone() };
        let (stored, flags) = pending::pack(&body);
        insert([tick(changes), tick(changes + late.count - 1), flags], &stored)?;
    }
    let last = conn.last_insert_rowid();
    Ok((first.unwrap_or(last), last))
}

/// Changes that are known only now: of columns whose new values the hook could not see.
#[derive(Default)]
struct Late {
    bytes: Vec<u8>,
    count: u64,
}

/// Reads the noted rows.
fn late_changes(state: &State, conn: &Connection, journal: &Journal) -> Result<Late, Failure> {
    let mut late = Late::default();
    let notes = journal.open_notes();
    if notes.is_empty() {
        return Ok(late);
    }
    let shapes = state.shapes.borrow();
    for mut note in notes {
        let shape = find_shape(&shapes, note.table)?;
        let Some(row) = read_row(conn, shape, &note.place)? else { continue };
        note.columns.retain(|(column, old)| old.as_ref() != Some(&row[*column]));
        if !note.columns.is_empty() {
            put_late_update(shape, &note, &row, &mut late.bytes)?;
            late.count += 1;
        }
    }
    Ok(late)
}

fn find_shape(shapes: &Shapes, num: u32) -> Result<&Shape, Failure> {
    shapes.by_num(num).ok_or_else(|| reasons::table_changed(&format!("number {num}")))
}

/// Reads the encoded values of the stored columns.
fn read_row(conn: &Connection, shape: &Shape, place: &Place) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let mut select = conn.prepare_cached(&shape.select)?;
    let values: Vec<rusqlite::types::Value> = match place {
        Place::Rowid(rowid) => vec![(*rowid).into()],
        Place::Key(key) => {
            let mut reader = Reader::new(key);
            let mut values = Vec::with_capacity(shape.key.len());
            while !reader.is_empty() {
                values.push(to_sql(ValueRef::decode(&mut reader).map_err(|_| reasons::table_changed(&shape.name))?));
            }
            values
        }
    };
    let bound: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let read = select.query_row(bound.as_slice(), |row| {
        let columns = 0..shape.columns.len();
        columns.map(|column| Ok(from_sql(row.get_ref(column)?).to_encoded())).collect::<rusqlite::Result<Vec<_>>>()
    });
    Ok(read.optional()?)
}

/// Appends the change of the noted columns; `row` holds the encoded values of all stored columns.
pub(super) fn put_late_update(shape: &Shape, note: &Note, row: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), Failure> {
    let null = ValueRef::Null.to_encoded();
    if shape.key.iter().any(|&column| row[column] == null) {
        return Err(reasons::null_key(&shape.name));
    }
    if let Some(large) = row.iter().find(|value| value.len() > VALUE_BYTES_MAX + 11) {
        return Err(reasons::value_too_large(&shape.name, large.len(), VALUE_BYTES_MAX));
    }
    let size = row.iter().map(Vec::len).sum::<usize>();
    if size > OPERATION_BYTES_MAX {
        return Err(reasons::row_too_large(&shape.name, size, OPERATION_BYTES_MAX));
    }
    let old_of = |column: usize| note.columns.iter().find(|(noted, _)| *noted == column);
    out.push(if shape.has_existing_rows { pending::UPDATE_WITH_OLD } else { pending::UPDATE });
    put_varint(out, u64::from(shape.num));
    if shape.has_existing_rows {
        for (column, value) in row.iter().enumerate() {
            let old = old_of(column).and_then(|(_, old)| old.as_ref());
            out.extend_from_slice(old.unwrap_or(value));
        }
    } else {
        for &column in &shape.key {
            out.extend_from_slice(&row[column]);
        }
    }
    let mask = out.len();
    out.resize(mask + shape.mask_len(), 0);
    for (column, value) in row.iter().enumerate() {
        if old_of(column).is_some() {
            out[mask + column / 8] |= 1 << (column % 8);
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

fn to_sql(value: ValueRef<'_>) -> rusqlite::types::Value {
    match value {
        ValueRef::Null => rusqlite::types::Value::Null,
        ValueRef::Integer(value) | ValueRef::Reference(value, _) => value.into(),
        ValueRef::Real(value) => value.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(blob) => blob.to_vec().into(),
    }
}

pub(super) fn from_sql(value: SqlValue<'_>) -> ValueRef<'_> {
    match value {
        SqlValue::Null => ValueRef::Null,
        SqlValue::Integer(value) => ValueRef::Integer(value),
        SqlValue::Real(value) => ValueRef::Real(value),
        SqlValue::Text(text) => ValueRef::Text(text),
        SqlValue::Blob(blob) => ValueRef::Blob(blob),
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        reasons::sqlite(&error)
    }
}
