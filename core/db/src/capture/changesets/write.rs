//! Writes a changeset or patchset: what was recorded of each row against what the row is now.

use rusqlite::{Connection, Row, ffi};

use super::ChangesetFormat;
use super::columns::{Columns, is_statistics, quote_text};
use super::field::{Field, Fields, operation_byte, put_length};
use super::recorder::{Recorder, code_of, renew};
use super::table::{Change, Table};
use kithdb_search::sql::quote;

/// Writes what a recorder has, reading all rows in one transaction.
pub(super) fn write(conn: &Connection, recorder: &mut Recorder, format: ChangesetFormat) -> rusqlite::Result<Vec<u8>> {
    conn.execute_batch("SAVEPOINT changeset")?;
    let mut out = Vec::new();
    let written = put_tables(conn, recorder, format, &mut out);
    // An error that ended the transaction took the savepoint along.
    let _ = conn.execute_batch("RELEASE changeset");
    written.map(|()| out)
}

fn put_tables(
    conn: &Connection,
    recorder: &mut Recorder,
    format: ChangesetFormat,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    for table in recorder.tables.iter_mut().filter(|table| !table.is_unchanged()) {
        if let Err(error) = renew(conn, &recorder.schema, table) {
            recorder.failure = Some(code_of(&error));
            return Err(error);
        }
        put_table(conn, &recorder.schema, table, format, out)?;
    }
    Ok(())
}

fn put_table(
    conn: &Connection,
    schema: &str,
    table: &Table,
    format: ChangesetFormat,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let start = out.len();
    out.push(if format == ChangesetFormat::Patchset { b'P' } else { b'T' });
    // SQLite's tables have fewer columns than 2^15.
    put_length(out, table.columns.list.len() as u32);
    out.extend(table.columns.list.iter().map(|column| column.key));
    out.extend_from_slice(table.name.as_bytes());
    out.push(0);
    let header = out.len();
    let mut select = conn.prepare(&select_of(schema, table))?;
    for change in table.in_order() {
        for (index, (column, (field, _))) in table.columns.list.iter().zip(Fields(&change.record)).enumerate() {
            if column.key != 0 {
                bind(&mut select, index + 1, field)?;
            }
        }
        let mut rows = select.raw_query();
        match rows.next()? {
            Some(row) if change.is_insert() => put_insert(out, change, row, table.columns.list.len())?,
            Some(row) => put_update(out, change, row, &table.columns, format)?,
            None if change.is_insert() => {}
            None => put_delete(out, change, &table.columns, format),
        }
    }
    if out.len() == header {
        out.truncate(start);
    }
    Ok(())
}

/// Reads a row by its key, whose parts are parameters with the numbers of their columns.
fn select_of(schema: &str, table: &Table) -> String {
    let place = format!("{}.{}", quote_text(schema), quote_text(&table.name));
    if is_statistics(&table.name) {
        return format!(
            "SELECT tbl, ?2, stat FROM {place} WHERE (tbl, idx) IS (?1, (CASE WHEN ?2 = X'' THEN NULL ELSE ?2 END))"
        );
    }
    let columns = &table.columns.list;
    let names: Vec<_> = columns.iter().map(|column| quote(&column.name)).collect();
    let key = || columns.iter().enumerate().filter(|(_, column)| column.key != 0).map(|(index, _)| index);
    let parts: Vec<_> = key().map(|index| names[index].as_str()).collect();
    let parameters: Vec<_> = key().map(|index| format!("?{}", index + 1)).collect();
    format!("SELECT {} FROM {place} WHERE ({}) IS ({})", names.join(", "), parts.join(", "), parameters.join(", "))
}

fn bind(statement: &mut rusqlite::Statement<'_>, index: usize, field: Field<'_>) -> rusqlite::Result<()> {
    use rusqlite::types::{Null, ToSqlOutput, ValueRef};
    match field {
        Field::Undefined | Field::Null => statement.raw_bind_parameter(index, Null),
        Field::Integer(value) => statement.raw_bind_parameter(index, value),
        Field::Real(value) => statement.raw_bind_parameter(index, value),
        Field::Text(bytes) => statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(ValueRef::Text(bytes))),
        Field::Blob(bytes) => statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(ValueRef::Blob(bytes))),
    }
}

fn begin(out: &mut Vec<u8>, operation: i32, change: &Change) {
    out.push(operation_byte(operation));
    out.push(change.is_indirect.into());
}

fn put_insert(out: &mut Vec<u8>, change: &Change, row: &Row<'_>, width: usize) -> rusqlite::Result<()> {
    begin(out, ffi::SQLITE_INSERT, change);
    for index in 0..width {
        Field::from(row.get_ref(index)?).put(out);
    }
    Ok(())
}

/// Writes the columns that changed: before with the key, unless it is a patchset, and after.
fn put_update(
    out: &mut Vec<u8>,
    change: &Change,
    row: &Row<'_>,
    columns: &Columns,
    format: ChangesetFormat,
) -> rusqlite::Result<()> {
    let is_patch = format == ChangesetFormat::Patchset;
    let start = out.len();
    begin(out, ffi::SQLITE_UPDATE, change);
    let mut after = Vec::new();
    let mut is_changed = false;
    for (index, (column, (old, encoded))) in columns.list.iter().zip(Fields(&change.record)).enumerate() {
        let new = Field::from(row.get_ref(index)?);
        let is_other = old != new;
        is_changed |= is_other;
        if !is_patch {
            out.extend_from_slice(if is_other || column.key != 0 { encoded } else { &[0] });
        }
        let is_told = is_other || is_patch && column.key != 0;
        if is_told { new } else { Field::Undefined }.put(&mut after);
    }
    if is_changed {
        out.extend_from_slice(&after);
    } else {
        out.truncate(start);
    }
    Ok(())
}

/// Writes the row that is gone, or its key for a patchset.
fn put_delete(out: &mut Vec<u8>, change: &Change, columns: &Columns, format: ChangesetFormat) {
    begin(out, ffi::SQLITE_DELETE, change);
    if format == ChangesetFormat::Changeset {
        return out.extend_from_slice(&change.record);
    }
    for (column, (_, encoded)) in columns.list.iter().zip(Fields(&change.record)) {
        if column.key != 0 {
            out.extend_from_slice(encoded);
        }
    }
}
