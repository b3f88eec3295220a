//! The nodes that a question has met, numbered in the order of their first meeting.
//!
//! Invariants:
//! 1. Two values have one number if and only if the edge table's columns would call them equal.
//! 2. A node is given back as it was first met.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use kithdb_log::Collation;
use rusqlite::types::ValueRef;

use super::value::{is_same_text, trimmed, whole};

/// The number of a node within one question.
pub(super) type Node = u32;

#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Real,
    Text,
    Blob,
}

struct Entry {
    hash: u64,
    /// The integer, the bits of the real number, or where the bytes begin.
    content: u64,
    len: u32,
    space: u16,
    kind: Kind,
}

/// See the module.
#[derive(Default)]
pub(super) struct Nodes {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    numbers: HashTable<Node>,
    hasher: DefaultHashBuilder,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.numbers.clear();
    }

    /// Returns the number of a node and whether it is new; `None` for NULL, which is no node.
    #[inline]
    pub(super) fn add(&mut self, space: u16, collation: Collation, value: ValueRef<'_>) -> Option<(Node, bool)> {
        if matches!(value, ValueRef::Null) {
            return None;
        }
        let hash = self.hash(space, collation, value);
        let (entries, bytes) = (&self.entries, &self.bytes);
        let is_same = |node: &Node| {
            let entry = &entries[*node as usize];
            entry.hash == hash && entry.space == space && is_same(collation, stored(entry, bytes), value)
        };
        if let Some(node) = self.numbers.find(hash, is_same) {
            return Some((*node, false));
        }
        let node = Node::try_from(self.entries.len()).ok()?;
        let (kind, content, len) = match value {
            ValueRef::Integer(number) => (Kind::Integer, number.cast_unsigned(), 0),
            ValueRef::Real(number) => (Kind::Real, number.to_bits(), 0),
            ValueRef::Text(text) => (Kind::Text, self.keep(text), text.len()),
            ValueRef::Blob(blob) => (Kind::Blob, self.keep(blob), blob.len()),
            ValueRef::Null => return None,
        };
        self.entries.push(Entry { hash, content, len: u32::try_from(len).ok()?, space, kind });
        let entries = &self.entries;
        self.numbers.insert_unique(hash, node, |node| entries[*node as usize].hash);
        Some((node, true))
    }

    /// Returns a node's number if it has been met.
    pub(super) fn find(&self, space: u16, collation: Collation, value: ValueRef<'_>) -> Option<Node> {
        let hash = self.hash(space, collation, value);
        let is_same = |node: &Node| {
            let entry = &self.entries[*node as usize];
            entry.hash == hash && entry.space == space && is_same(collation, stored(entry, &self.bytes), value)
        };
        self.numbers.find(hash, is_same).copied()
    }

    #[inline]
    pub(super) fn value(&self, node: Node) -> ValueRef<'_> {
        stored(&self.entries[node as usize], &self.bytes)
    }

    #[inline]
    pub(super) fn space(&self, node: Node) -> u16 {
        self.entries[node as usize].space
    }

    fn keep(&mut self, bytes: &[u8]) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        at
    }

    fn hash(&self, space: u16, collation: Collation, value: ValueRef<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u16(space);
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => hasher.write_i64(number),
            // Equal numbers have one hash, whichever type they have.
            ValueRef::Real(number) => match whole(number) {
                Some(number) => hasher.write_i64(number),
                None => hasher.write_u64(number.to_bits()),
            },
            ValueRef::Text(text) => match collation {
                Collation::Binary => hasher.write(text),
                Collation::NoCase => {
                    for byte in text {
                        hasher.write_u8(byte.to_ascii_lowercase());
                    }
                }
                Collation::RTrim => hasher.write(trimmed(text)),
            },
            ValueRef::Blob(blob) => hasher.write(blob),
        }
        hasher.finish()
    }
}

#[inline]
fn stored<'a>(entry: &Entry, bytes: &'a [u8]) -> ValueRef<'a> {
    let slice = || {
        let at = entry.content as usize;
        &bytes[at..at + entry.len as usize]
    };
    match entry.kind {
        Kind::Integer => ValueRef::Integer(entry.content.cast_signed()),
        Kind::Real => ValueRef::Real(f64::from_bits(entry.content)),
        Kind::Text => ValueRef::Text(slice()),
        Kind::Blob => ValueRef::Blob(slice()),
    }
}

#[inline]
fn is_same(collation: Collation, one: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (one, other) {
        (ValueRef::Text(one), ValueRef::Text(other)) => is_same_text(collation, one, other),
        (ValueRef::Integer(one), ValueRef::Integer(other)) => one == other,
        (ValueRef::Real(one), ValueRef::Real(other)) => one == other,
        (ValueRef::Integer(integer), ValueRef::Real(real)) | (ValueRef::Real(real), ValueRef::Integer(integer)) => {
            whole(real) == Some(integer)
        }
        (ValueRef::Blob(one), ValueRef::Blob(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::*;

    /// SQLite's own comparison is asked about every pair.
    #[test]
    fn nodes_are_one_where_sqlite_says_equal() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let mut values: Vec<Value> =
            ["a", "A", "a ", "ä", "Ä", "", " ", "1", "1.0"].map(|text| Value::Text(text.into())).into();
        values.extend([1, 0, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN].map(Value::Integer));
        values.extend(
            [1.0, 0.0, -0.0, 0.5, 9_007_199_254_740_992.0, 9.223_372_036_854_776e18, -9.223_372_036_854_776e18]
                .map(Value::Real),
        );
        values.extend([vec![], b"a".to_vec(), b"1".to_vec()].map(Value::Blob));
        for (collation, name) in
            [(Collation::Binary, "BINARY"), (Collation::NoCase, "NOCASE"), (Collation::RTrim, "RTRIM")]
        {
            let mut nodes = Nodes::default();
            let met: Vec<Node> = values.iter().map(|value| nodes.add(0, collation, value.into()).unwrap().0).collect();
            for (one, first) in values.iter().zip(&met) {
                for (other, second) in values.iter().zip(&met) {
                    let sql = format!("SELECT ?1 = ?2 COLLATE {name}");
                    let is_equal: bool = conn.query_row(&sql, [one, other], |row| row.get(0)).unwrap();
                    assert_eq!(first == second, is_equal, "{one:?} and {other:?} under {name}");
                }
                assert_ne!(nodes.add(1, collation, one.into()).unwrap().0, *first);
                assert_eq!(nodes.find(0, collation, one.into()), Some(*first));
            }
            assert_eq!(nodes.add(0, collation, ValueRef::Null), None);
        }
    }
}
