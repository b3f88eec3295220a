//! Reading and writing bytes: varints, lengths and fixed arrays, bounded and with one form per value.
//!
//! Invariants:
//! 1. A reader never allocates and never panics, whatever the bytes.
//! 2. Every value has exactly one accepted encoding.

/// Reports bytes that are not what the format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{what} is cut short")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A length or count is above its limit.
    #[error("{what} is {size}, above the limit of {max}")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The size that was claimed.
        size: u64,
        /// The greatest size allowed.
        max: u64,
    },
    /// A value is written in a form that is not its only one.
    #[error("{what} is not in its canonical form")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
    /// A kind, version or index is not known.
    #[error("{what} has the unknown value {value}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The value found.
        value: u64,
    },
    /// Bytes are left over.
    #[error("{what} is followed by {left} unexpected bytes")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many bytes are left.
        left: usize,
    },
}

/// Reads a byte slice from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Returns what has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Tells whether all has been read.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Demands that nothing is left.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { what, left }),
        }
    }

    /// Reads one byte.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let (&first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated { what })?;
        self.bytes = rest;
        Ok(first)
    }

    /// Reads exactly `len` bytes.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if len > self.bytes.len() {
            return Err(DecodeError::Truncated { what });
        }
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Ok(taken)
    }

    /// Reads a fixed array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    /// Reads an LEB128 varint of at most 64 bits in its shortest form.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = self.byte(what)?;
            if index == 9 && byte > 1 {
                return Err(DecodeError::NotCanonical { what });
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(DecodeError::NotCanonical { what });
                }
                return Ok(value);
            }
        }
        Err(DecodeError::NotCanonical { what })
    }

    /// Reads a varint that counts something, at most `max`.
    pub fn count(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let size = self.varint(what)?;
        if size > max as u64 {
            return Err(DecodeError::TooLarge { what, size, max: max as u64 });
        }
        Ok(size as usize)
    }

    /// Reads a length of at most `max` and that many bytes.
    pub fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.count(max, what)?;
        self.take(len, what)
    }

    /// Reads a length of at most `max` bytes and that much UTF-8.
    pub fn text(&mut self, max: usize, what: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(max, what)?).map_err(|_| DecodeError::NotCanonical { what })
    }
}

/// Writes an LEB128 varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Folds the sign into the lowest bit, so that small negative numbers stay short.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn longer_forms_of_a_varint_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]] {
            assert_eq!(Reader::new(bytes).varint("n"), Err(DecodeError::NotCanonical { what: "n" }));
        }
        assert_eq!(Reader::new(&[0x80]).varint("n"), Err(DecodeError::Truncated { what: "n" }));
    }

    proptest! {
        #[test]
        fn varints_come_back(value: u64, sign: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("n"), Ok(value));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(unzigzag(zigzag(sign)), sign);
        }
    }
}
