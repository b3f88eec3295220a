//! Cell values and their one encoding: a tag byte, then the content.
//!
//! Invariants:
//! 1. Two values are the same, type and content, exactly if their encodings are the same bytes.
//! 2. Text is bytes: SQLite stores text that is not UTF-8 and text with NULs, and both must come back as they were.

use crate::codec::{DecodeError, Reader, put_bytes, put_varint, unzigzag, zigzag};
use crate::ids::Origin;
use crate::limits::VALUE_BYTES_MAX;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const REFERENCE: u8 = 5;

/// A cell value, borrowed from the bytes that hold it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// SQL NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A double; compared by its bits.
    Real(f64),
    /// Text in UTF-8 as far as the writer kept to it.
    Text(&'a [u8]),
    /// A blob.
    Blob(&'a [u8]),
    /// An integer that refers to an auto-numbered row, with the origin of the row that is meant.
    Reference(i64, Origin),
}

impl<'a> ValueRef<'a> {
    /// Appends the encoding.
    #[inline]
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(NULL),
            Self::Integer(value) => {
                out.push(INTEGER);
                put_varint(out, zigzag(value));
            }
            Self::Real(value) => {
                out.push(REAL);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            Self::Text(bytes) => {
                out.push(TEXT);
                put_bytes(out, bytes);
            }
            Self::Blob(bytes) => {
                out.push(BLOB);
                put_bytes(out, bytes);
            }
            Self::Reference(value, origin) => {
                out.push(REFERENCE);
                put_varint(out, zigzag(value));
                out.extend_from_slice(&origin.get().to_le_bytes());
            }
        }
    }

    /// Reads one value and leaves the reader behind it.
    #[inline]
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.byte("value")? {
            NULL => Self::Null,
            INTEGER => Self::Integer(unzigzag(reader.varint("integer")?)),
            REAL => {
                let value = f64::from_bits(u64::from_le_bytes(reader.array("real")?));
                // SQLite stores NaN as NULL, so a NaN was never in a table.
                if value.is_nan() {
                    return Err(DecodeError::NotCanonical { what: "real" });
                }
                Self::Real(value)
            }
            TEXT => Self::Text(reader.bytes(VALUE_BYTES_MAX, "text")?),
            BLOB => Self::Blob(reader.bytes(VALUE_BYTES_MAX, "blob")?),
            REFERENCE => {
                let value = unzigzag(reader.varint("reference")?);
                Self::Reference(value, Origin::new(u64::from_le_bytes(reader.array("reference")?)))
            }
            tag => return Err(DecodeError::Unknown { what: "value type", value: u64::from(tag) }),
        })
    }

    /// Reads one value and returns its encoding.
    #[inline]
    pub fn skip(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
        let before = reader.rest();
        Self::decode(reader)?;
        Ok(&before[..before.len() - reader.rest().len()])
    }

    /// Reads exactly one value.
    pub fn decode_all(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish("value")?;
        Ok(value)
    }

    /// Returns the encoding as a vector of its own.
    pub fn to_encoded(self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back(integer: i64, real in proptest::num::f64::NORMAL | proptest::num::f64::ZERO | proptest::num::f64::INFINITE, bytes: Vec<u8>, origin: u64) {
            for value in [ValueRef::Null, ValueRef::Integer(integer), ValueRef::Real(real), ValueRef::Text(&bytes), ValueRef::Blob(&bytes), ValueRef::Reference(integer, Origin::new(origin))] {
                let encoded = value.to_encoded();
                prop_assert_eq!(ValueRef::decode_all(&encoded), Ok(value));
            }
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = ValueRef::decode(&mut reader) {
                let used = &bytes[..bytes.len() - reader.rest().len()];
                prop_assert_eq!(value.to_encoded(), used);
            }
        }
    }
}
