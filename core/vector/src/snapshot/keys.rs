//! The keys of the rows whose embeddings an index holds.

use super::SnapshotError;

/// A key for each occupied slot, in the order of the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Integers: each is saved as the difference from the one before, in one or two bytes as a rule.
    Integers(Vec<i64>),
    /// Whatever the owner encodes its keys to.
    Bytes(Vec<Vec<u8>>),
}

impl Keys {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(keys) => keys.len(),
            Self::Bytes(keys) => keys.len(),
        }
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Integers(keys) => {
                let mut before = 0i64;
                for &key in keys {
                    let difference = key.wrapping_sub(before);
                    put_number(&mut bytes, (difference << 1 ^ difference >> 63) as u64);
                    before = key;
                }
            }
            Self::Bytes(keys) => {
                for key in keys {
                    put_number(&mut bytes, key.len() as u64);
                    bytes.extend(key);
                }
            }
        }
        bytes
    }

    /// Reads so many keys, which are all there is.
    pub(super) fn from_bytes(mut bytes: &[u8], count: usize, are_integers: bool) -> Result<Self, SnapshotError> {
        let damaged = SnapshotError::Damaged { part: "keys" };
        // Each key takes a byte at least.
        if count > bytes.len() {
            return Err(damaged);
        }
        let keys = if are_integers {
            let mut keys = Vec::with_capacity(count);
            let mut before = 0i64;
            for _ in 0..count {
                let coded = take_number(&mut bytes).ok_or(damaged.clone())?;
                before = before.wrapping_add((coded >> 1) as i64 ^ -((coded & 1) as i64));
                keys.push(before);
            }
            Self::Integers(keys)
        } else {
            let mut keys = Vec::with_capacity(count);
            for _ in 0..count {
                let len = take_number(&mut bytes).and_then(|len| usize::try_from(len).ok());
                let (key, rest) = len.and_then(|len| bytes.split_at_checked(len)).ok_or(damaged.clone())?;
                keys.push(key.to_vec());
                bytes = rest;
            }
            Self::Bytes(keys)
        };
        if bytes.is_empty() { Ok(keys) } else { Err(damaged) }
    }
}

/// Writes seven bits in each byte, the lowest first; the highest bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            // The shortest form only, and no more than 64 bits.
            let is_shortest = byte != 0 || shift == 0;
            return (is_shortest && (shift < 63 || byte == 1)).then_some(number);
        }
    }
    None
}
