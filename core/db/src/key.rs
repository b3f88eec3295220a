//! Canonical row keys: equal keys, as SQLite compares them, have equal bytes.
//!
//! Invariants:
//! 1. Two rows whose primary keys SQLite calls equal have the same encoded key.
//! 2. Where bytes can differ under an equal key (collations, `1` and `1.0`), the key column is also a cell.

use kithdb_log::{Affinity, Collation, ValueRef};

/// Tells whether the bytes of a key column can differ under an equal key, so that it must be a cell too.
pub fn is_ambiguous(affinity: Affinity, collation: Collation) -> bool {
    collation != Collation::Binary || matches!(affinity, Affinity::Blob | Affinity::Real)
}

/// Appends the canonical form of one key value; returns false for NULL, which names no row.
#[inline]
pub fn encode_part(value: ValueRef<'_>, collation: Collation, out: &mut Vec<u8>) -> bool {
    match value {
        ValueRef::Null => return false,
        ValueRef::Reference(id, _) => ValueRef::Integer(id).encode(out),
        ValueRef::Real(real) => fold_real(real).encode(out),
        ValueRef::Text(text) => match collation {
            Collation::Binary => value.encode(out),
            Collation::NoCase => ValueRef::Text(&text.to_ascii_lowercase()).encode(out),
            Collation::RTrim => {
                let end = text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
                ValueRef::Text(&text[..end]).encode(out);
            }
        },
        ValueRef::Integer(_) | ValueRef::Blob(_) => value.encode(out),
    }
    true
}

/// SQLite compares a real with an integer by value, so a whole real takes the integer's form.
fn fold_real(real: f64) -> ValueRef<'static> {
    // 2^63 itself is not an i64; every whole double below it in size is exact.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    // -2^63 keeps its form: SQLite stores it as a real even where it makes integers of whole reals.
    if real.fract() == 0.0 && real > -LIMIT && real < LIMIT {
        ValueRef::Integer(real as i64)
    } else {
        ValueRef::Real(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: ValueRef<'_>, collation: Collation) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(encode_part(value, collation, &mut out));
        out
    }

    #[test]
    fn keys_are_equal_exactly_where_sqlite_compares_them_equal() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let values = [
            ValueRef::Integer(0),
            ValueRef::Integer(1),
            ValueRef::Integer(-1),
            ValueRef::Integer(i64::MAX),
            ValueRef::Integer(1 << 53),
            ValueRef::Integer((1 << 53) + 1),
            ValueRef::Real(0.0),
            ValueRef::Real(-0.0),
            ValueRef::Real(1.0),
            ValueRef::Real(1.5),
            ValueRef::Real(9_223_372_036_854_775_808.0),
            ValueRef::Real(-9_223_372_036_854_775_808.0),
            ValueRef::Real(1e300),
            ValueRef::Real(f64::INFINITY),
            ValueRef::Real(9_007_199_254_740_992.0),
            ValueRef::Text(b"a"),
            ValueRef::Text(b"A"),
            ValueRef::Text(b"a "),
            ValueRef::Text(b" a"),
            ValueRef::Text(b""),
            ValueRef::Text(b" "),
            ValueRef::Text("é".as_bytes()),
            ValueRef::Text("É".as_bytes()),
            ValueRef::Text(b"1"),
            ValueRef::Blob(b"a"),
            ValueRef::Blob(b""),
            ValueRef::Blob(b"1"),
        ];
        fn sql(value: ValueRef<'_>) -> rusqlite::types::Value {
            match value {
                ValueRef::Integer(v) => v.into(),
                ValueRef::Real(v) => v.into(),
                ValueRef::Text(v) => String::from_utf8(v.to_vec()).unwrap().into(),
                ValueRef::Blob(v) => v.to_vec().into(),
                _ => unreachable!(),
            }
        }
        for (collation, name) in
            [(Collation::Binary, "BINARY"), (Collation::NoCase, "NOCASE"), (Collation::RTrim, "RTRIM")]
        {
            for left in values {
                for right in values {
                    let equal: bool = conn
                        .query_row(&format!("SELECT ?1 = ?2 COLLATE {name}"), [sql(left), sql(right)], |row| row.get(0))
                        .unwrap();
                    assert_eq!(key(left, collation) == key(right, collation), equal, "{left:?} {right:?} {name}");
                }
            }
        }
    }
}
