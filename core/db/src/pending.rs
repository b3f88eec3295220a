//! The record of a committed transaction before it is sealed: what capture writes and sealing reads.
//!
//! A transaction is one or more rows of `kith__pending`, all but the last with `continues = 1`. The first row's body starts with
//! the list of tables: `n varint, n x table number varint`. Then, in every body, changes back to back:
//! - insert: `0 | table | values of all stored columns`
//! - update: `1 | table | old key values | mask of changed stored columns, ceil(columns/8) bytes | their new values`
//! - update with old row: `2 | table | all old values | mask | new values` (key changes; tables with rows from before sync)
//! - delete: `3 | table | all old values`
//!
//! Values are encoded as [`ValueRef`]; key values are the stored bytes, not yet canonical. Each change takes one tick of the clock:
//! the first change has `first_clock`, the last `last_clock`.

use kithdb_log::ValueRef;
use kithdb_log::codec::{DecodeError, Reader};

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
