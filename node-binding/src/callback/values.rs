//! Values on their way between two threads: the numbers in one list, the bytes of all texts and blobs in another.

use std::ops::Range;

use kithdb_sqlite::ValueRef;

/// A value whose bytes, if it has any, lie in its [`Values`].
#[derive(Debug, Clone, Copy)]
enum Item {
    /// What is no value: a parameter that is left alone.
    Absent,
    Null,
    Integer(i64),
    Real(f64),
    Text {
        start: usize,
        end: usize,
    },
    Blob {
        start: usize,
        end: usize,
    },
}

/// A list of values.
#[derive(Debug, Default)]
pub(crate) struct Values {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl Values {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { items: Vec::with_capacity(count), bytes: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }

    /// Adds a copy of a value.
    pub(crate) fn push(&mut self, value: ValueRef<'_>) {
        let item = match value {
            ValueRef::Null => Item::Null,
            ValueRef::Integer(number) => Item::Integer(number),
            ValueRef::Real(number) => Item::Real(number),
            ValueRef::Text(text) => {
                let Range { start, end } = self.keep(text);
                Item::Text { start, end }
            }
            ValueRef::Blob(blob) => {
                let Range { start, end } = self.keep(blob);
                Item::Blob { start, end }
            }
        };
        self.items.push(item);
    }

    /// Adds what is no value.
    pub(crate) fn push_absent(&mut self) {
        self.items.push(Item::Absent);
    }

    /// Adds a text that `write` appends to the bytes.
    pub(crate) fn push_text_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        self.items.push(Item::Text { start, end: self.bytes.len() });
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Tells whether something is no value.
    pub(crate) fn is_absent(&self, index: usize) -> bool {
        matches!(self.items[index], Item::Absent)
    }

    pub(crate) fn get(&self, index: usize) -> ValueRef<'_> {
        match self.items[index] {
            Item::Absent | Item::Null => ValueRef::Null,
            Item::Integer(number) => ValueRef::Integer(number),
            Item::Real(number) => ValueRef::Real(number),
            Item::Text { start, end } => ValueRef::Text(&self.bytes[start..end]),
            Item::Blob { start, end } => ValueRef::Blob(&self.bytes[start..end]),
        }
    }
}
