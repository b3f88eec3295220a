//! Long arrays of equally long rows, cheap to copy, whose beginning may lie in memory that somebody else maps.
//!
//! Invariants:
//! 1. A chunk holds a multiple of [`BLOCK_ROWS`] rows, so that a block lies within one chunk.
//! 2. The first row of a chunk begins on a cache line.
//! 3. Every chunk but the last is whole, and that one holds all rows there are.
//! 4. A clone shares every chunk; a chunk is copied when one of two owners, or the owner of a foreign one, writes to it.
//! 5. `owned_bytes` and `foreign_bytes` are the sums over the chunks, so that asking for them costs nothing.

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
    owned_bytes: usize,
    foreign_bytes: usize,
}

/// Which chunks of an array are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those in memory of their own.
    Owned,
    /// Those and the foreign ones.
    All,
}

impl Rows {
    /// Begins an array without rows. `chunk_rows` is a power of two and at least [`BLOCK_ROWS`].
    pub(crate) fn new(stride: usize, chunk_rows: usize) -> Self {
        assert!(chunk_rows.is_power_of_two() && chunk_rows >= BLOCK_ROWS);
        Self { stride, chunk_rows, len: 0, chunks: Vec::new(), owned_bytes: 0, foreign_bytes: 0 }
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
            self.add(if is_aligned && chunk_bytes.is_multiple_of(LINE_BYTES) {
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
            if let Some(last) = self.chunks.last().filter(|last| last.bytes().len() < full) {
                let whole = Chunk::Owned(owned(last.bytes(), full));
                self.replace(self.chunks.len() - 1, whole);
            }
            self.add(Chunk::Owned(owned(&[], if self.chunks.len() < chunk { full } else { 0 })));
        }
        let kept = &self.chunks[chunk];
        let present = kept.bytes().len();
        if matches!(kept, Chunk::Foreign { .. }) || present < end {
            // The first chunk grows by doubling, so that a small index is small; the others are made whole.
            let wanted = if chunk == 0 { end.next_power_of_two().max(2 * present).min(full) } else { full };
            let copy = Chunk::Owned(owned(kept.bytes(), wanted));
            self.replace(chunk, copy);
        }
        match &mut self.chunks[chunk] {
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

    /// Returns the bytes of whole chunks in their order, but for the chunk of the last row, which is still being filled.
    pub(crate) fn whole_chunks(&self, which: Which) -> impl Iterator<Item = &[u8]> {
        self.whole_numbers(which).map(|chunk| self.chunks[chunk].bytes())
    }

    /// Takes the chunks that [`whole_chunks`](Self::whole_chunks) returns from foreign bytes that hold the same, one after the other;
    /// returns the first byte behind them.
    ///
    /// # Errors
    /// The bytes are too short, or do not begin on a cache line; nothing has changed then.
    pub(crate) fn take_whole_chunks(
        &mut self,
        which: Which,
        bytes: &ForeignBytes,
        start: usize,
    ) -> Result<usize, EmbeddingError> {
        let (all, len) = ((**bytes).as_ref(), self.chunk_rows * self.stride);
        let moved: Vec<usize> = self.whole_numbers(which).collect();
        let end = start + moved.len() * len;
        let Some(given) = all.get(start..end) else {
            return Err(EmbeddingError::ForeignTooShort { expected: end, got: all.len() });
        };
        if !given.as_ptr().addr().is_multiple_of(LINE_BYTES) {
            return Err(EmbeddingError::ForeignUnaligned);
        }
        for (chunk, start) in moved.into_iter().zip((start..).step_by(len.max(1))) {
            self.replace(chunk, Chunk::Foreign { bytes: Arc::clone(bytes), start, len });
        }
        Ok(end)
    }

    fn whole_numbers(&self, which: Which) -> impl Iterator<Item = usize> + '_ {
        let full = self.chunk_rows * self.stride;
        let last = self.len.saturating_sub(1) / self.chunk_rows;
        (0..last.min(self.chunks.len())).filter(move |&chunk| match &self.chunks[chunk] {
            Chunk::Owned(lines) => full > 0 && size_of_val::<[Line]>(lines) == full,
            Chunk::Foreign { len, .. } => which == Which::All && full > 0 && *len == full,
        })
    }

    /// Takes those chunks from another array of the same rows that have not changed since a copy was made: they are in its memory still.
    pub(crate) fn take_unchanged(&mut self, copy: &Self, same: &Self) {
        for chunk in 0..self.chunks.len().min(copy.chunks.len()).min(same.chunks.len()) {
            let (kept, copied, new) = (&self.chunks[chunk], &copy.chunks[chunk], &same.chunks[chunk]);
            let is_unchanged = std::ptr::eq(kept.bytes(), copied.bytes());
            if is_unchanged && new.bytes().len() == kept.bytes().len() {
                let new = new.clone();
                self.replace(chunk, new);
            }
        }
    }

    /// Returns the bytes of memory that this array holds, foreign ones left out.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.owned_bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Returns the bytes of foreign memory that this array uses.
    pub(crate) fn foreign_bytes(&self) -> usize {
        self.foreign_bytes
    }

    fn add(&mut self, chunk: Chunk) {
        self.count(&chunk, usize::wrapping_add);
        self.chunks.push(chunk);
    }

    fn replace(&mut self, place: usize, chunk: Chunk) {
        self.count(&chunk, usize::wrapping_add);
        let before = std::mem::replace(&mut self.chunks[place], chunk);
        self.count(&before, usize::wrapping_sub);
    }

    fn count(&mut self, chunk: &Chunk, change: fn(usize, usize) -> usize) {
        match chunk {
            Chunk::Owned(lines) => self.owned_bytes = change(self.owned_bytes, size_of_val::<[Line]>(lines)),
            Chunk::Foreign { len, .. } => self.foreign_bytes = change(self.foreign_bytes, *len),
        }
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
mod tests;
