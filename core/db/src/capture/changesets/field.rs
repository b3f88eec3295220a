//! Values in the format of changesets: SQLite's number for the type, then a number in eight bytes, the highest first, or a length and
//! the bytes.

use std::ffi::c_int;

use kithdb_log::ValueRef;
use rusqlite::ffi;
use rusqlite::types::ValueRef as ColumnValue;

const UNDEFINED: u8 = 0;
const INTEGER: u8 = ffi::SQLITE_INTEGER as u8;
const REAL: u8 = ffi::SQLITE_FLOAT as u8;
const TEXT: u8 = ffi::SQLITE_TEXT as u8;
const BLOB: u8 = ffi::SQLITE_BLOB as u8;
const NULL: u8 = ffi::SQLITE_NULL as u8;

/// A value, or that there is none; reals are compared as numbers, so that 0.0 is -0.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Undefined,
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl<'a> From<ValueRef<'a>> for Field<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) | ValueRef::Reference(value, _) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(bytes) => Self::Text(bytes),
            ValueRef::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl<'a> From<ColumnValue<'a>> for Field<'a> {
    fn from(value: ColumnValue<'a>) -> Self {
        match value {
            ColumnValue::Null => Self::Null,
            ColumnValue::Integer(value) => Self::Integer(value),
            ColumnValue::Real(value) => Self::Real(value),
            ColumnValue::Text(bytes) => Self::Text(bytes),
            ColumnValue::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl Field<'_> {
    /// Appends the value.
    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Undefined => out.push(UNDEFINED),
            Self::Null => out.push(NULL),
            Self::Integer(value) => put_eight(out, INTEGER, value.to_be_bytes()),
            Self::Real(value) => put_eight(out, REAL, value.to_bits().to_be_bytes()),
            Self::Text(bytes) => put_bytes(out, TEXT, bytes),
            Self::Blob(bytes) => put_bytes(out, BLOB, bytes),
        }
    }

    /// Mixes the value into a hash as SQLite's sessions do: the order of a changeset's changes follows from it.
    pub(super) fn hash(self, hash: u32) -> u32 {
        match self {
            Self::Undefined => append(hash, UNDEFINED.into()),
            Self::Null => append(hash, NULL.into()),
            Self::Integer(value) => append_eight(append(hash, INTEGER.into()), value.cast_unsigned()),
            Self::Real(value) => append_eight(append(hash, REAL.into()), value.to_bits()),
            Self::Text(bytes) => append_bytes(append(hash, TEXT.into()), bytes),
            Self::Blob(bytes) => append_bytes(append(hash, BLOB.into()), bytes),
        }
    }
}

fn put_eight(out: &mut Vec<u8>, kind: u8, bytes: [u8; 8]) {
    out.push(kind);
    out.extend_from_slice(&bytes);
}

fn put_bytes(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    // SQLite's values are shorter than 2^31 bytes.
    put_length(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// Appends a length: seven bits a byte, the highest first, and all bytes but the last marked.
pub(super) fn put_length(out: &mut Vec<u8>, length: u32) {
    for shift in [28, 21, 14, 7] {
        if length >> shift != 0 {
            out.push(0x80 | (length >> shift & 0x7f) as u8);
        }
    }
    out.push((length & 0x7f) as u8);
}

const fn append(hash: u32, add: u32) -> u32 {
    hash << 3 ^ hash ^ add
}

const fn append_eight(hash: u32, value: u64) -> u32 {
    append(append(hash, value as u32), (value >> 32) as u32)
}

fn append_bytes(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| append(hash, (*byte).into()))
}

/// The fields of a record made with [`Field::put`], each with its encoding.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (Field<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.0;
        let (&kind, content) = record.split_first()?;
        let (field, length) = match kind {
            UNDEFINED => (Field::Undefined, 0),
            NULL => (Field::Null, 0),
            INTEGER => (Field::Integer(i64::from_be_bytes(*content.first_chunk()?)), 8),
            REAL => (Field::Real(f64::from_bits(u64::from_be_bytes(*content.first_chunk()?))), 8),
            _ => {
                let (length, width) = length_of(content)?;
                let bytes = content.get(width..width + length)?;
                (if kind == TEXT { Field::Text(bytes) } else { Field::Blob(bytes) }, width + length)
            }
        };
        let (encoded, rest) = record.split_at_checked(1 + length)?;
        self.0 = rest;
        Some((field, encoded))
    }
}

/// Reads a length and tells how many bytes it takes.
fn length_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((length, index + 1));
        }
    }
    None
}

/// SQLite's number for an operation, as a changeset has it.
pub(super) const fn operation_byte(operation: c_int) -> u8 {
    operation as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_put() {
        let long = vec![7; 20_000];
        let fields = [
            Field::Undefined,
            Field::Null,
            Field::Integer(-2),
            Field::Real(0.5),
            Field::Text(b""),
            Field::Text(&long[..127]),
            Field::Blob(&long[..128]),
            Field::Blob(&long),
        ];
        let mut record = Vec::new();
        fields.iter().for_each(|field| field.put(&mut record));
        assert!(Fields(&record).map(|(field, _)| field).eq(fields));
        assert_eq!(Fields(&record).map(|(_, encoded)| encoded.len()).sum::<usize>(), record.len());
    }

    #[test]
    fn lengths_are_written_as_sqlite_writes_them() {
        for (length, bytes) in
            [(0, vec![0]), (127, vec![0x7f]), (128, vec![0x81, 0]), (1 << 28, vec![0x81, 0x80, 0x80, 0x80, 0])]
        {
            let mut out = Vec::new();
            put_length(&mut out, length);
            assert_eq!(out, bytes);
            assert_eq!(length_of(&out), Some((length as usize, bytes.len())));
        }
    }
}
