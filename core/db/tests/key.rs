//! Canonical keys against what SQLite calls equal.

use kithdb_log::key::encode_part;
use kithdb_log::{Collation, ValueRef};

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
    for (collation, name) in [(Collation::Binary, "BINARY"), (Collation::NoCase, "NOCASE"), (Collation::RTrim, "RTRIM")]
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
