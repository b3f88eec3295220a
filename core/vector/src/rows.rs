//! Long arrays of equally long rows, cheap to copy, whose beginning may lie in memory that somebody else maps.
//!
//! Invariants:
//! 1. A chunk holds a multiple of [`BLOCK_ROWS`] rows, so that a block lies within one chunk.
//! 2. The first row of a chunk begins on a cache line.
//! 3. Every chunk but the last is whole, and that one holds all rows there are.
//! 4. A clone shares every chunk; a chunk is copied when one of two owners, or the owner of a foreign one, writes to it.

use std::sync::Arc;

use crate::error::EmbeddingError;

/// Rows that are scanned together; as many as a word of a [`SlotSet`](crate::slots::SlotSet) has bits.
pub const BLOCK_ROWS: usize = 64;

const LINE_BYTES: usize = 64;

/// Bytes that somebody else keeps, a mapped file for example. They must not change while they are held.
pub type ForeignBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

#[derive(Clone)]
enum Chunk {
    Owned(Arc<[Line]>),
    Foreign { bytes: ForeignBytes, start: usize, len: usize },
}

impl Chunk {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(lines) => lines.as_flattened_bytes(),
            Self::Foreign { bytes, start, len } => &(**bytes).as_ref()[*start..][..*len],
        }
    }
}

trait Flatten {
    fn as_flattened_bytes(&self) -> &[u8];
    fn as_flattened_bytes_mut(&mut self) -> &mut [u8];
}

impl Flatten for [Line] {
    #[inline]
    fn as_flattened_bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 bytes without padding (`repr(C)`, aligned to its size), and any byte is valid.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), size_of_val(self)) }
    }

    #[inline]
    fn as_flattened_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the exclusive borrow goes over to the bytes.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), size_of_val(self)) }
    }
}

/// Rows of `stride` bytes each, counted from 0. Rows that nobody wrote are zero.
#[derive(Clone)]
pub(crate) struct Rows {
    stride: usize,
    chunk_rows: usize,
    len: usize,
    chunks: Vec<Chunk>,
}

impl Rows {
    /// Begins an array without rows. `chunk_rows` is a power of two and at least [`BLOCK_ROWS`].
    pub(crate) fn new(stride: usize, chunk_rows: usize) -> Self {
        assert!(chunk_rows.is_power_of_two() && chunk_rows >= BLOCK_ROWS);
        Self { stride, chunk_rows, len: 0, chunks: Vec::new() }
    }

    /// Takes the first `len` rows from foreign bytes, which are copied if they do not begin on a cache line.
    pub(crate) fn with_foreign(
        mut self,
        bytes: &ForeignBytes,
        start: usize,
        len: usize,
    ) -> Result<Self, EmbeddingError> {
        let wanted = len.checked_mul(self.stride).and_then(|bytes| bytes.checked_add(start));
        let all = (**bytes).as_ref();
        let Some(given) = wanted.and_then(|end| all.get(start..end)) else {
            return Err(EmbeddingError::ForeignTooShort { expected: wanted.unwrap_or(usize::MAX), got: all.len() });
        };
        let is_aligned = given.as_ptr().addr().is_multiple_of(LINE_BYTES);
        let chunk_bytes = self.chunk_rows * self.stride;
        for (chunk, given) in given.chunks(chunk_bytes).enumerate() {
            self.chunks.push(if is_aligned && chunk_bytes.is_multiple_of(LINE_BYTES) {
                Chunk::Foreign { bytes: Arc::clone(bytes), start: start + chunk * chunk_bytes, len: given.len() }
            } else {
                Chunk::Owned(owned(given, given.len()))
            });
        }
        self.len = len;
        Ok(self)
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the bytes of a row.
    ///
    /// # Panics
    /// Where there is no such row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let start = (row & (self.chunk_rows - 1)) * self.stride;
        &self.chunks[row >> self.chunk_rows.trailing_zeros()].bytes()[start..start + self.stride]
    }

    /// Returns the bytes of the rows from `first`, the first of a block: [`BLOCK_ROWS`] of them or as many as there are.
    #[inline]
    pub(crate) fn block(&self, first: usize) -> &[u8] {
        let count = BLOCK_ROWS.min(self.len.saturating_sub(first));
        let start = (first & (self.chunk_rows - 1)) * self.stride;
        match self.chunks.get(first >> self.chunk_rows.trailing_zeros()) {
            Some(chunk) if count > 0 => &chunk.bytes()[start..start + count * self.stride],
            _ => &[],
        }
    }

    /// Returns the bytes of a row for writing; there is one afterwards if there was none.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [u8] {
        let chunk = row >> self.chunk_rows.trailing_zeros();
        let start = (row & (self.chunk_rows - 1)) * self.stride;
        let end = start + self.stride;
        self.len = self.len.max(row + 1);
        let full = self.chunk_rows * self.stride;
        while self.chunks.len() <= chunk {
            // Only the last chunk may be short.
            if let Some(last) = self.chunks.last_mut().filter(|last| last.bytes().len() < full) {
                *last = Chunk::Owned(owned(last.bytes(), full));
            }
            self.chunks.push(Chunk::Owned(owned(&[], if self.chunks.len() < chunk { full } else { 0 })));
        }
        let kept = &mut self.chunks[chunk];
        let present = kept.bytes().len();
        if matches!(kept, Chunk::Foreign { .. }) || present < end {
            // The first chunk grows by doubling, so that a small index is small; the others are made whole.
            let wanted = if chunk == 0 { end.next_power_of_two().max(2 * present).min(full) } else { full };
            *kept = Chunk::Owned(owned(kept.bytes(), wanted));
        }
        match kept {
            Chunk::Owned(lines) => &mut Arc::make_mut(lines).as_flattened_bytes_mut()[start..end],
            Chunk::Foreign { .. } => unreachable!("a foreign chunk was copied above"),
        }
    }

    /// Returns the bytes of all rows in their order, in pieces of whole rows.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().enumerate().map(|(chunk, kept)| {
            let rows = self.chunk_rows.min(self.len - chunk * self.chunk_rows);
            let present = kept.bytes();
            &present[..present.len().min(rows * self.stride)]
        })
    }

    /// Returns the bytes of memory that this array holds, foreign ones left out.
    pub(crate) fn memory_bytes(&self) -> usize {
        let owned = self.chunks.iter().map(|chunk| match chunk {
            Chunk::Owned(lines) => size_of_val::<[Line]>(lines),
            Chunk::Foreign { .. } => 0,
        });
        owned.sum::<usize>() + self.chunks.capacity() * size_of::<Chunk>()
    }
}

/// Copies bytes into lines of their own, with room for `wanted` bytes.
fn owned(bytes: &[u8], wanted: usize) -> Arc<[Line]> {
    let count = wanted.max(bytes.len()).div_ceil(LINE_BYTES);
    let mut lines: Arc<[Line]> = std::iter::repeat_n(Line([0; LINE_BYTES]), count).collect();
    Arc::make_mut(&mut lines).as_flattened_bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    lines
}

/// Numbers of which any bytes make one.
pub(crate) trait Plain: Copy {}
impl Plain for u16 {}
impl Plain for f32 {}
impl Plain for u64 {}

/// Reads the bytes of a row as the numbers that were written there.
#[inline]
pub(crate) fn numbers<T: Plain>(bytes: &[u8]) -> &[T] {
    // SAFETY: any bytes are valid for the types that are `Plain`.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    debug_assert!(before.is_empty() && after.is_empty(), "rows begin on a multiple of their numbers' size");
    numbers
}

/// Reads the bytes of a row as numbers, for writing.
#[inline]
pub(crate) fn numbers_mut<T: Plain>(bytes: &mut [u8]) -> &mut [T] {
    // SAFETY: any bytes are valid for the types that are `Plain`, and their bytes are valid bytes.
    let (before, numbers, after) = unsafe { bytes.align_to_mut::<T>() };
    debug_assert!(before.is_empty() && after.is_empty(), "rows begin on a multiple of their numbers' size");
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(stride: usize, rows: usize) -> Rows {
        let mut filled = Rows::new(stride, 64);
        for row in 0..rows {
            filled.row_mut(row).fill(row as u8);
        }
        filled
    }

    #[test]
    fn clone_keeps_its_rows_when_the_other_one_is_written() {
        let mut rows = filled(12, 200);
        let copy = rows.clone();
        rows.row_mut(70).fill(255);
        rows.row_mut(300).fill(255);
        assert_eq!(copy.row(70), [70; 12]);
        assert_eq!(rows.row(70), [255; 12]);
        assert_eq!((copy.len(), rows.len()), (200, 301));
        assert_eq!(rows.row(299), [0; 12]);
        assert_eq!(rows.row(71), [71; 12]);
    }

    #[test]
    fn foreign_rows_are_read_and_copied_when_written() {
        let source: Arc<Vec<u64>> = Arc::new((0..64 * 200 / 8).collect());
        struct Words(Arc<Vec<u64>>, usize);
        impl AsRef<[u8]> for Words {
            fn as_ref(&self) -> &[u8] {
                // SAFETY: words are plain bytes.
                let bytes = unsafe { self.0.align_to::<u8>().1 };
                let line = bytes.as_ptr().addr().next_multiple_of(64) - bytes.as_ptr().addr();
                &bytes[line + self.1..]
            }
        }
        for shift in [0, 8] {
            let foreign: ForeignBytes = Arc::new(Words(Arc::clone(&source), shift));
            let expected = (*foreign).as_ref().to_vec();
            let mut rows = Rows::new(16, 64).with_foreign(&foreign, 64, 150).expect("long enough");
            assert_eq!(rows.memory_bytes() < 1_000, shift == 0, "unaligned bytes are copied");
            for row in 0..150 {
                assert_eq!(rows.row(row), &expected[64 + row * 16..][..16]);
            }
            rows.row_mut(149).fill(9);
            rows.row_mut(150).fill(8);
            assert_eq!(rows.row(148), &expected[64 + 148 * 16..][..16]);
            assert_eq!((rows.row(149), rows.row(150)), ([9; 16].as_slice(), [8; 16].as_slice()));
            assert_eq!((*foreign).as_ref(), expected);
            assert_eq!(rows.pieces().map(<[u8]>::len).sum::<usize>(), 151 * 16);
            assert!(Rows::new(16, 64).with_foreign(&foreign, 64, 100_000).is_err());
            assert!(Rows::new(16, 64).with_foreign(&foreign, 64, usize::MAX).is_err());
        }
    }

    proptest! {
        #[test]
        fn rows_hold_what_a_plain_list_holds(stride in 1usize..40, writes in proptest::collection::vec((0usize..400, any::<u8>()), 1..60)) {
            let mut rows = Rows::new(stride, 64);
            let mut model = vec![];
            for (row, byte) in writes {
                rows.row_mut(row).fill(byte);
                model.resize(model.len().max(row + 1), 0);
                model[row] = byte;
            }
            prop_assert_eq!(rows.len(), model.len());
            let flat: Vec<u8> = model.iter().flat_map(|&byte| std::iter::repeat_n(byte, stride)).collect();
            for first in (0..model.len()).step_by(BLOCK_ROWS) {
                let end = (first + BLOCK_ROWS).min(model.len());
                prop_assert_eq!(rows.block(first), &flat[first * stride..end * stride]);
            }
        }
    }
}
