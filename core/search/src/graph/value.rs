//! Node ids: any SQLite value, equal where the edge table's own columns say so.

use kithdb_log::{Affinity, Collation};
use rusqlite::types::{Value, ValueRef};

/// How the values of a column compare, as far as SQLite's rules tell columns apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// INTEGER, REAL and NUMERIC affinity: text that reads as a number is one.
    Numeric,
    /// TEXT affinity: a number is its text.
    Text,
    /// No affinity: 1 and '1' are two values.
    Any,
}

/// How the ids of one kind of node compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) class: Class,
    pub(super) collation: Collation,
}

impl Class {
    pub(super) const fn of(affinity: Affinity) -> Self {
        match affinity {
            Affinity::Integer | Affinity::Real | Affinity::Numeric => Self::Numeric,
            Affinity::Text => Self::Text,
            Affinity::Blob => Self::Any,
        }
    }

    /// Brings a value to what it would be in a column of this class.
    pub(super) fn convert(self, value: Value) -> Value {
        match (self, value) {
            (Self::Numeric, Value::Text(text)) => number(&text).unwrap_or(Value::Text(text)),
            (Self::Text, Value::Integer(number)) => Value::Text(number.to_string()),
            (Self::Text, Value::Real(number)) => Value::Text(real_text(number)),
            (_, value) => value,
        }
    }
}

/// Reads text as SQLite's numeric affinity does: the whole of it must be a decimal number, blanks around it aside.
fn number(text: &str) -> Option<Value> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    // `inf`, `nan` and the like are numbers to Rust alone.
    if !trimmed.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    if let Ok(integer) = trimmed.parse::<i64>() {
        return Some(Value::Integer(integer));
    }
    let real = trimmed.parse::<f64>().ok()?;
    Some(whole(real).map_or(Value::Real(real), Value::Integer))
}

/// Returns the integer that a real number equals, if there is one.
pub(super) fn whole(real: f64) -> Option<i64> {
    // 2^63 itself is no i64; every whole real below it converts exactly.
    let is_in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&real);
    (is_in_range && real.fract() == 0.0).then_some(real as i64)
}

/// Writes a real number as SQLite's TEXT affinity does for those that are short to write.
fn real_text(real: f64) -> String {
    let text = format!("{real:?}");
    text.split_once('e').map_or_else(
        || text.clone(),
        |(mantissa, exponent)| {
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            format!("{mantissa}{point}e{sign}{exponent}")
        },
    )
}

/// Compares two texts for equality under a collation.
pub(super) fn is_same_text(collation: Collation, one: &[u8], other: &[u8]) -> bool {
    match collation {
        Collation::Binary => one == other,
        Collation::NoCase => one.eq_ignore_ascii_case(other),
        Collation::RTrim => trimmed(one) == trimmed(other),
    }
}

/// Drops the blanks at the end that RTRIM does not look at.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

/// Returns an id as JSON, for paths: a blob is written as SQL would.
pub(super) fn json(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Null => serde_json::Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => {
            serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), serde_json::Value::Number)
        }
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("x'{}'", crate::sql::hex(bytes)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite itself says what an id becomes in a column.
    #[test]
    fn conversion_is_that_of_a_column() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE n(v NUMERIC); CREATE TABLE t(v TEXT); CREATE TABLE a(v)").unwrap();
        let texts = [
            "1",
            " 12 ",
            "-7",
            "1.0",
            "1.5",
            "1e3",
            "1e400",
            ".5",
            "5.",
            "0x10",
            "inf",
            "nan",
            "",
            " ",
            "1 2",
            "+3",
            "--1",
            "e",
            "9223372036854775808",
            "9007199254740993",
            "-0.0",
        ];
        let mut values: Vec<Value> = texts.iter().map(|text| Value::Text((*text).to_owned())).collect();
        values.extend([1.0, 0.5, -2.25, 1e15, 123_456.789].map(Value::Real));
        values.extend([0, -1, i64::MAX].map(Value::Integer));
        values.push(Value::Blob(vec![1, 2]));
        for (class, table) in [(Class::Numeric, "n"), (Class::Text, "t"), (Class::Any, "a")] {
            for value in &values {
                let sql = format!(
                    "INSERT INTO {table} VALUES(?1) RETURNING v = ?2 AND (typeof(v) = typeof(?2) OR typeof(v) IN ('integer', 'real') AND typeof(?2) IN ('integer', 'real'))"
                );
                let converted = class.convert(value.clone());
                let is_same: bool = conn.query_row(&sql, [value, &converted], |row| row.get(0)).unwrap();
                assert!(is_same, "{class:?} of {value:?} is not {converted:?}");
            }
        }
    }
}
