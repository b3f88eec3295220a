//! Taking up rows that existed before their table was synced: one operation each, at stamp 0, in key order and bounded steps.

use std::borrow::Cow;

use kithdb_log::codec::Reader;
use kithdb_log::{CellRef, Change, Generation, Operation, Stamp, ValueRef};
use rusqlite::types::{ToSqlOutput, ValueRef as SqlRef};

use crate::merge::{Context, MergeError, Sink, TableWork, from_sql};
use kithdb_search::sql::quote;

/// What one step took up.
pub(crate) struct Taken {
    pub(crate) rows: u64,
    pub(crate) bytes: usize,
    /// Where to go on (encoded key values as stored); `None` at the end of the table.
    pub(crate) cursor: Option<Vec<u8>>,
}

/// Emits rows after `cursor` until `bytes_max` bytes were emitted; rows with metadata have been seen to already.
pub(crate) fn take_up(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    cursor: &[u8],
    bytes_max: usize,
    sink: &mut dyn Sink,
) -> Result<Taken, MergeError> {
    let info = table.info.clone();
    let key: Vec<String> = info.key.iter().map(|&column| quote(&info.columns[column].name)).collect();
    let columns: Vec<String> = info.columns.iter().map(|column| quote(&column.name)).collect();
    let after = if cursor.is_empty() {
        String::new()
    } else {
        let marks: Vec<String> = (1..=key.len()).map(|index| format!("?{index}")).collect();
        format!(" WHERE ({}) > ({})", key.join(", "), marks.join(", "))
    };
    let sql =
        format!("SELECT {} FROM main.{}{after} ORDER BY {}", columns.join(", "), quote(&info.name), key.join(", "));
    let mut statement = context.conn.prepare(&sql)?;
    let mut reader = Reader::new(cursor);
    let mut index = 1;
    while !reader.is_empty() {
        statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(to_sql(ValueRef::decode(&mut reader)?)))?;
        index += 1;
    }
    let mut taken = Taken { rows: 0, bytes: 0, cursor: None };
    let mut rows = statement.raw_query();
    let mut last = Vec::new();
    while let Some(row) = rows.next()? {
        if taken.bytes >= bytes_max {
            taken.cursor = Some(last);
            return Ok(taken);
        }
        let (mut canonical, mut stored, mut has_key) = (Vec::new(), Vec::new(), true);
        for &column in &info.key {
            let value = from_sql(row.get_ref(column)?);
            value.encode(&mut stored);
            has_key &= kithdb_log::key::encode_part(value, info.columns[column].collation, &mut canonical);
        }
        // Another program's: SQLite allows NULL in a key, but it names no row.
        if !has_key {
            continue;
        }
        last = stored;
        if table.stored_meta(&context.authors, &canonical)?.is_some() {
            continue;
        }
        let mut values: Vec<Cow<'_, [u8]>> = Vec::with_capacity(info.cells.len());
        for &column in &info.cells {
            values.push(Cow::Owned(from_sql(row.get_ref(column)?).to_encoded()));
        }
        let cells: Vec<CellRef<'_>> = values
            .iter()
            .enumerate()
            .map(|(column, value)| CellRef { column, stamp: Stamp::EXISTING, value })
            .collect();
        taken.bytes += canonical.len() + values.iter().map(|value| value.len()).sum::<usize>();
        taken.rows += 1;
        sink.write(
            &info,
            &Operation {
                stamp: Stamp::EXISTING,
                key: &canonical,
                generation: Generation::FIRST,
                origin: table.origin_of(&values),
                change: Change::Insert,
                cells,
            },
        )?;
    }
    Ok(taken)
}

fn to_sql(value: ValueRef<'_>) -> SqlRef<'_> {
    match value {
        ValueRef::Null => SqlRef::Null,
        ValueRef::Integer(value) | ValueRef::Reference(value, _) => SqlRef::Integer(value),
        ValueRef::Real(value) => SqlRef::Real(value),
        ValueRef::Text(bytes) => SqlRef::Text(bytes),
        ValueRef::Blob(bytes) => SqlRef::Blob(bytes),
    }
}
