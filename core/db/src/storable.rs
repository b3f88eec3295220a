//! Which values a column can hold: SQLite converts what it stores by the column's affinity, so a value that would not come back as it
//! was sent is in no table anywhere. Only a member's forged entry can carry one.
//!
//! Invariants:
//! 1. Every value that SQLite gives back from a column of an affinity is storable under it.
//! 2. A storable value, stored under the affinity, comes back as it was.

use kithdb_log::{Affinity, Change, DecodeError, Operation, Reader, ValueRef};

use crate::registry::TableInfo;
use kithdb_log::key;

/// Tells whether SQLite gives a value back from a column of this affinity as it was stored.
#[inline]
pub(crate) fn is_storable(affinity: Affinity, value: ValueRef<'_>) -> bool {
    match (affinity, value) {
        (Affinity::Blob, _) | (_, ValueRef::Null | ValueRef::Blob(_)) | (Affinity::Real, ValueRef::Real(_)) => true,
        (Affinity::Text, ValueRef::Text(_)) => true,
        (Affinity::Text | Affinity::Real, ValueRef::Integer(_) | ValueRef::Reference(..)) => false,
        (Affinity::Text, ValueRef::Real(_)) => false,
        (Affinity::Numeric | Affinity::Integer, ValueRef::Integer(_) | ValueRef::Reference(..)) => true,
        (Affinity::Numeric | Affinity::Integer, ValueRef::Real(real)) => {
            let whole = real as i64;
            whole as f64 != real || whole == i64::MIN || whole == i64::MAX
        }
        (_, ValueRef::Text(text)) => !is_numeric(text),
    }
}

/// Tells whether SQLite takes a text for a number: `[blanks] [sign] digits [. digits] [e [sign] digits] [blanks]`.
fn is_numeric(text: &[u8]) -> bool {
    // It reads up to a NUL, as C does.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    let mut rest = &text[start..end];
    fn digits(text: &mut &[u8]) -> usize {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *text = &text[count..];
        count
    }
    let sign = |text: &mut &[u8]| {
        if let [b'+' | b'-', after @ ..] = *text {
            *text = after;
        }
    };
    sign(&mut rest);
    let mut count = digits(&mut rest);
    if let [b'.', after @ ..] = rest {
        rest = after;
        count += digits(&mut rest);
    }
    if count == 0 {
        return false;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        rest = after;
        sign(&mut rest);
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// Checks that the keys and cells of an operation are ones that rows of this table can have; `cells[i]` is the local cell of the
/// payload's column `i`.
pub(crate) fn check_operation(info: &TableInfo, operation: &Operation<'_>, cells: &[u16]) -> Result<(), DecodeError> {
    check_key(info, operation.key)?;
    let key = match operation.change {
        Change::Move { to, .. } => {
            check_key(info, to)?;
            to
        }
        _ => operation.key,
    };
    for cell in &operation.cells {
        let index = info.cells[usize::from(cells[cell.column])];
        let column = &info.columns[index];
        let value = ValueRef::decode_all(cell.value)?;
        let fits = is_storable(column.affinity, value)
            && info.key.iter().position(|&known| known == index).is_none_or(|part| is_key_part(info, key, part, value));
        if !fits {
            return Err(DecodeError::NotCanonical { what: "value of its column" });
        }
    }
    Ok(())
}

/// Tells whether a value of a key column belongs to a key.
fn is_key_part(info: &TableInfo, key: &[u8], part: usize, value: ValueRef<'_>) -> bool {
    let mut reader = Reader::new(key);
    for _ in 0..part {
        if ValueRef::skip(&mut reader).is_err() {
            return false;
        }
    }
    let mut canonical = Vec::new();
    key::encode_part(value, info.columns[info.key[part]].collation, &mut canonical)
        && ValueRef::skip(&mut reader) == Ok(canonical.as_slice())
}

fn check_key(info: &TableInfo, key: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(key);
    let mut canonical = Vec::with_capacity(key.len());
    for &column in &info.key {
        let column = &info.columns[column];
        let value = ValueRef::decode(&mut reader)?;
        // A whole real has the form of the integer in a key, and only there.
        let is_folded = column.affinity == Affinity::Real && matches!(value, ValueRef::Integer(_));
        if !(is_folded || is_storable(column.affinity, value))
            || !key::encode_part(value, column.collation, &mut canonical)
        {
            return Err(DecodeError::NotCanonical { what: "key" });
        }
    }
    reader.finish("key")?;
    if canonical != key || (info.is_auto() && !matches!(ValueRef::decode_all(key)?, ValueRef::Integer(_))) {
        return Err(DecodeError::NotCanonical { what: "key" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [(Affinity, &str); 5] = [
        (Affinity::Blob, "b BLOB"),
        (Affinity::Text, "t TEXT"),
        (Affinity::Numeric, "n NUMERIC"),
        (Affinity::Integer, "i INTEGER"),
        (Affinity::Real, "r REAL"),
    ];

    fn check(conn: &rusqlite::Connection, value: ValueRef<'_>) {
        use rusqlite::types::{ToSqlOutput, ValueRef as SqlRef};
        for (affinity, column) in COLUMNS {
            let name = &column[..1];
            let sql = match value {
                ValueRef::Integer(value) => SqlRef::Integer(value),
                ValueRef::Real(value) => SqlRef::Real(value),
                ValueRef::Text(bytes) => SqlRef::Text(bytes),
                ValueRef::Blob(bytes) => SqlRef::Blob(bytes),
                _ => SqlRef::Null,
            };
            conn.execute(&format!("INSERT OR REPLACE INTO t(id, {name}) VALUES(1, ?1)"), [ToSqlOutput::Borrowed(sql)])
                .unwrap();
            let back = conn
                .query_row(&format!("SELECT {name} FROM t"), [], |row| {
                    Ok(crate::merge::from_sql(row.get_ref(0)?).to_encoded())
                })
                .unwrap();
            assert_eq!(back == value.to_encoded(), is_storable(affinity, value), "{value:?} in {column}");
            assert!(
                is_storable(affinity, ValueRef::decode_all(&back).unwrap()),
                "{value:?} came back from {column} as {back:?}"
            );
        }
    }

    fn table() -> rusqlite::Connection {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let columns = COLUMNS.map(|(_, column)| column).join(", ");
        conn.execute_batch(&format!("CREATE TABLE t(id INTEGER PRIMARY KEY, {columns})")).unwrap();
        conn
    }

    #[test]
    fn values_at_the_edges_are_storable_exactly_if_they_come_back() {
        let conn = table();
        for real in [
            0.0,
            1.0,
            -1.0,
            0.5,
            1e300,
            f64::INFINITY,
            9_223_372_036_854_775_807.0,
            -9_223_372_036_854_775_808.0,
            9.2e18,
            4.5e15 + 0.5,
        ] {
            check(&conn, ValueRef::Real(real));
        }
        for integer in [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1] {
            check(&conn, ValueRef::Integer(integer));
        }
        for text in [
            "",
            " ",
            "1",
            " 1 ",
            "1.",
            ".5",
            ".",
            "+",
            "+5",
            "1e",
            "1e5",
            "1e+",
            "e5",
            "0x10",
            "1e400",
            "inf",
            "nan",
            "1 2",
            "- 1",
            "1\0",
            "1\0x",
            "1 \0",
            "\x001",
            "99999999999999999999",
            "1_0",
        ] {
            check(&conn, ValueRef::Text(text.as_bytes()));
        }
        check(&conn, ValueRef::Null);
        check(&conn, ValueRef::Blob(b"1"));
    }

    proptest! {
        #[test]
        fn values_are_storable_exactly_if_they_come_back(text in "[0-9+\\-.eE \tx\0]{0,6}", real in proptest::num::f64::NORMAL, integer: i64) {
            let conn = table();
            check(&conn, ValueRef::Text(text.as_bytes()));
            check(&conn, ValueRef::Real(real));
            check(&conn, ValueRef::Integer(integer));
            check(&conn, ValueRef::Real(integer as f64));
        }
    }
}
