//! The captured bytes of the running transaction: in memory, beyond a limit in an unlinked temporary file.
//!
//! Invariants:
//! 1. The bytes are what `kith__pending` will hold; cutting the end off is all that a rolled back savepoint needs.
//! 2. Cuts fall between changes, so that every row of `kith__pending` holds whole changes.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// Size from which on bytes move to a file.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Size at which a row of `kith__pending` is closed and the next one begun.
pub(super) const ROW_BYTES_TARGET: u64 = 1 << 20;
/// Memory kept from one transaction to the next.
const IDLE_BYTES_MAX: usize = 1 << 20;

/// Where a further row of `kith__pending` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    offset: u64,
    change: u64,
}

/// One row of `kith__pending` to be: its bytes and its changes, counted from the start of the transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Range<u64>,
    pub(super) changes: Range<u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    /// Bytes in front of `memory` that are in `file`.
    spilled: u64,
    file: Option<File>,
    changes: u64,
    cuts: Vec<Cut>,
    memory_bytes_max: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::with_memory(MEMORY_BYTES_MAX)
    }
}

impl Buffer {
    pub(super) fn with_memory(memory_bytes_max: usize) -> Self {
        Self { memory: Vec::new(), spilled: 0, file: None, changes: 0, cuts: Vec::new(), memory_bytes_max }
    }

    /// Length in bytes, spilled ones included.
    #[inline]
    pub(super) fn len(&self) -> u64 {
        self.spilled + self.memory.len() as u64
    }

    /// Number of whole changes.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The bytes that a change is appended to; [`Self::finish_change`] or [`Self::discard_change`] must follow.
    #[inline]
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Accepts the change that began at `start` in [`Self::bytes`].
    #[inline]
    pub(super) fn finish_change(&mut self, start: usize) -> io::Result<()> {
        let begin = self.spilled + start as u64;
        let row = self.cuts.last().map_or(0, |cut| cut.offset);
        if self.len() - row > ROW_BYTES_TARGET && begin > row {
            self.cuts.push(Cut { offset: begin, change: self.changes });
        }
        self.changes += 1;
        if self.memory.len() > self.memory_bytes_max { self.spill() } else { Ok(()) }
    }

    /// Drops the unfinished change that began at `start` in [`Self::bytes`].
    #[inline]
    pub(super) fn discard_change(&mut self, start: usize) {
        self.memory.truncate(start);
    }

    /// Goes back to an earlier length, at which there were `changes`.
    pub(super) fn truncate(&mut self, len: u64, changes: u64) {
        if len >= self.spilled {
            self.memory.truncate((len - self.spilled) as usize);
        } else {
            self.spilled = len;
            self.memory.clear();
        }
        self.changes = changes;
        while self.cuts.last().is_some_and(|cut| cut.offset >= len) {
            self.cuts.pop();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.truncate(0, 0);
        self.file = None;
        self.memory.shrink_to(IDLE_BYTES_MAX);
    }

    #[cold]
    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.seek(SeekFrom::Start(self.spilled))?;
        file.write_all(&self.memory)?;
        self.spilled += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// Lists the rows of `kith__pending` that the bytes make.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        let start = Cut { offset: 0, change: 0 };
        let end = Cut { offset: self.len(), change: self.changes };
        let begins = std::iter::once(start).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain(std::iter::once(end));
        begins
            .zip(ends)
            .map(|(from, to)| Part { bytes: from.offset..to.offset, changes: from.change..to.change })
            .filter(|part| !part.changes.is_empty())
    }

    /// Reads a range of the bytes.
    pub(super) fn read(&self, range: &Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        if range.start >= self.spilled {
            let from = (range.start - self.spilled) as usize;
            let to = (range.end - self.spilled) as usize;
            return Ok(Cow::Borrowed(&self.memory[from..to]));
        }
        let mut out = vec![0; (range.end - range.start) as usize];
        let in_file = (self.spilled.min(range.end) - range.start) as usize;
        let mut file = self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut out[..in_file])?;
        let rest = out.len() - in_file;
        out[in_file..].copy_from_slice(&self.memory[..rest]);
        Ok(Cow::Owned(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(buffer: &mut Buffer, byte: u8, len: usize) {
        let start = buffer.bytes().len();
        buffer.bytes().extend(std::iter::repeat_n(byte, len));
        buffer.finish_change(start).unwrap();
    }

    #[test]
    fn parts_hold_whole_changes_and_all_of_them() {
        let mut buffer = Buffer::default();
        for (byte, len) in [(1, 600 << 10), (2, 600 << 10), (3, 3 << 20), (4, 10), (5, 10)] {
            push(&mut buffer, byte, len);
        }
        let parts: Vec<Part> = buffer.parts().collect();
        assert_eq!(parts.iter().map(|part| part.changes.clone()).collect::<Vec<_>>(), [0..1, 1..2, 2..3, 3..5]);
        assert_eq!(parts[3].bytes.end, buffer.len());
        assert!(parts.windows(2).all(|pair| pair[0].bytes.end == pair[1].bytes.start));
    }

    #[test]
    fn spilled_bytes_come_back_and_are_cut_like_others() {
        let mut small = Buffer::with_memory(1000);
        let mut large = Buffer::default();
        for round in 0..50u8 {
            for buffer in [&mut small, &mut large] {
                push(buffer, round, 170);
            }
        }
        for (len, changes) in [(170 * 49, 49), (170 * 11, 11), (170 * 3, 3)] {
            for buffer in [&mut small, &mut large] {
                buffer.truncate(len, changes);
                push(buffer, 99, 333);
            }
            let whole = 0..large.len();
            assert_eq!(small.len(), large.len());
            assert_eq!(small.changes(), large.changes());
            assert_eq!(small.read(&whole).unwrap(), large.read(&whole).unwrap());
            let tail = len..large.len();
            assert_eq!(small.read(&tail).unwrap(), large.read(&tail).unwrap());
        }
        small.clear();
        assert_eq!((small.len(), small.changes(), small.parts().count()), (0, 0, 0));
    }
}
