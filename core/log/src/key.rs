//! Canonical row keys: equal keys, as SQLite compares them, have equal bytes.
//!
//! Invariants:
//! 1. Two rows whose primary keys SQLite calls equal have the same encoded key.
//! 2. Where bytes can differ under an equal key (collations, `1` and `1.0`), the key column is also a cell.

use crate::schema::{Affinity, Collation};
use crate::value::ValueRef;

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
