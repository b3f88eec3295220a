//! The record of a committed transaction before it is sealed: what capture writes and sealing reads.
//!
//! A transaction is one or more rows of `kith__pending`; `continues` is a set of flags: 1 in all rows but the last, 2 where the body is
//! compressed (its length in 4 bytes, then a zstd frame): a bulk insert would otherwise leave a file twice its size behind.
//! The first row's body starts with
//! the list of tables: `n varint, n x table number varint`. Then, in every body, changes back to back:
//! - insert: `0 | table | values of all stored columns`
//! - update: `1 | table | old key values | mask of changed stored columns, ceil(columns/8) bytes | their new values`
//! - update with old row: `2 | table | all old values | mask | new values` (key changes; tables with rows from before sync)
//! - delete: `3 | table | all old values`
//!
//! Values are encoded as [`ValueRef`]; key values are the stored bytes, not yet canonical. Each change takes one tick of the clock:
//! the first change has `first_clock`, the last `last_clock`.

use std::borrow::Cow;

use kithdb_log::ValueRef;
use kithdb_log::codec::{DecodeError, Reader};
use kithdb_log::limits::PAYLOAD_BYTES_MAX;

/// Flag of a row that another row of the same transaction follows.
pub const CONTINUES: i64 = 1;
/// Flag of a row whose body is compressed.
pub const COMPRESSED: i64 = 2;
/// Bodies below this size are stored as they are, in bytes: most commits are smaller, and quick.
const COMPRESS_FROM: usize = 16 << 10;
/// The fastest level; sealing compresses for good.
const LEVEL: i32 = 1;

/// Compresses a body if that is worth it; returns what to store and the flag that says so.
pub fn pack(body: &[u8]) -> (Cow<'_, [u8]>, i64) {
    // `unpack` refuses what is larger: a change with a very large old and new row is stored as it is.
    if body.len() < COMPRESS_FROM || body.len() > PAYLOAD_BYTES_MAX {
        return (Cow::Borrowed(body), 0);
    }
    let mut packed = vec![0; 4 + zstd::zstd_safe::compress_bound(body.len())];
    match (zstd::bulk::compress_to_buffer(body, &mut packed[4..], LEVEL), u32::try_from(body.len())) {
        (Ok(len), Ok(body_len)) if len + 4 < body.len() => {
            packed[..4].copy_from_slice(&body_len.to_le_bytes());
            packed.truncate(len + 4);
            (Cow::Owned(packed), COMPRESSED)
        }
        _ => (Cow::Borrowed(body), 0),
    }
}

/// Undoes [`pack`].
pub fn unpack(stored: Vec<u8>, flags: i64) -> Result<Vec<u8>, DecodeError> {
    if flags & COMPRESSED == 0 {
        return Ok(stored);
    }
    let mut reader = Reader::new(&stored);
    let len = u32::from_le_bytes(reader.array("pending record")?) as usize;
    if len > PAYLOAD_BYTES_MAX {
        return Err(DecodeError::TooLarge { what: "pending record", size: len as u64, max: PAYLOAD_BYTES_MAX as u64 });
    }
    let body =
        zstd::bulk::decompress(reader.rest(), len).map_err(|_| DecodeError::NotCanonical { what: "pending record" })?;
    if body.len() == len { Ok(body) } else { Err(DecodeError::Truncated { what: "pending record" }) }
}

/// Leads an insert.
pub const INSERT: u8 = 0;
/// Leads an update that names the row by its key values.
pub const UPDATE: u8 = 1;
/// Leads an update that carries the whole old row.
pub const UPDATE_WITH_OLD: u8 = 2;
/// Leads a delete.
pub const DELETE: u8 = 3;

/// One captured change; values are encoded, in the order of the table's stored columns.
#[derive(Debug, Default)]
pub struct PendingChange<'a> {
    /// [`INSERT`], [`UPDATE`], [`UPDATE_WITH_OLD`] or [`DELETE`].
    pub kind: u8,
    /// Local number of the table.
    pub table: u32,
    /// All old values ([`UPDATE_WITH_OLD`], [`DELETE`]) or the old key values ([`UPDATE`]).
    pub old: Vec<&'a [u8]>,
    /// New values: all columns ([`INSERT`]), or `None` where an update left the column alone.
    pub new: Vec<Option<&'a [u8]>>,
}

impl<'a> PendingChange<'a> {
    /// Reads the next change; `shape` tells a table's number of stored columns and of key columns.
    pub fn read(
        &mut self,
        reader: &mut Reader<'a>,
        shape: impl Fn(u32) -> Option<(usize, usize)>,
    ) -> Result<(), DecodeError> {
        self.kind = reader.byte("pending change")?;
        let table = reader.varint("table number")?;
        self.table = u32::try_from(table).map_err(|_| DecodeError::Unknown { what: "table number", value: table })?;
        let (columns, key) = shape(self.table).ok_or(DecodeError::Unknown { what: "table number", value: table })?;
        self.old.clear();
        self.new.clear();
        let old = match self.kind {
            INSERT => 0,
            UPDATE => key,
            UPDATE_WITH_OLD | DELETE => columns,
            kind => return Err(DecodeError::Unknown { what: "pending change", value: u64::from(kind) }),
        };
        for _ in 0..old {
            self.old.push(ValueRef::skip(reader)?);
        }
        match self.kind {
            INSERT => {
                for _ in 0..columns {
                    self.new.push(Some(ValueRef::skip(reader)?));
                }
            }
            UPDATE | UPDATE_WITH_OLD => {
                let mask = reader.take(columns.div_ceil(8), "column mask")?;
                for column in 0..columns {
                    let changed = mask[column / 8] >> (column % 8) & 1 == 1;
                    self.new.push(if changed { Some(ValueRef::skip(reader)?) } else { None });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bodies_come_back(seed: Vec<u8>, times in 0usize..4000) {
            let body = seed.repeat(times.min(200_000 / (seed.len() + 1)));
            let (stored, flags) = pack(&body);
            prop_assert!(stored.len() <= body.len());
            prop_assert_eq!(unpack(stored.to_vec(), flags), Ok(body));
        }

        #[test]
        fn damaged_bodies_are_refused(bytes: Vec<u8>) {
            prop_assert!(unpack(bytes, COMPRESSED).is_err());
        }
    }
}
