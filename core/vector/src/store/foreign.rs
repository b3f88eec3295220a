//! The arrays of a store as bytes: in its own memory, and in memory that somebody else maps.

use super::{EmbeddingStore, SCALARS_BYTES};
use crate::codes::code_bytes;
use crate::error::EmbeddingError;
use crate::index::{Encoding, IndexOptions};
use crate::limits::SLOTS_MAX;
use crate::rows::{ForeignBytes, Which};
use crate::slots::SlotSet;

/// Where one array of a store lies in foreign memory.
#[derive(Clone)]
pub struct ForeignRows {
    /// The memory.
    pub bytes: ForeignBytes,
    /// The first byte of the array. Arrays that begin on a multiple of 64 in memory are used there, others are copied.
    pub start: usize,
}

/// The arrays of a store that was written out with [`EmbeddingStore::code_pieces`] and its siblings on a machine of the same byte order.
pub struct ForeignParts {
    /// Rows of each array.
    pub rows: usize,
    /// The slots that hold an embedding, all below `rows`.
    pub occupied: SlotSet,
    /// Of [`EmbeddingStore::code_bytes`] each.
    pub codes: ForeignRows,
    /// Of [`EmbeddingStore::scalars_bytes`] each.
    pub scalars: ForeignRows,
    /// Of four bytes for each dimension.
    pub exact: ForeignRows,
}

/// Which part of a store moves to foreign memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The exact floats that lie in memory of the store's own: a search reads few of them.
    Floats,
    /// The codes that do, and what is kept with them: a scan reads them all.
    Codes,
    /// All of both, also what lies in foreign memory already, so that it lies in one piece.
    All,
}

impl Part {
    fn of_floats(self) -> Option<Which> {
        match self {
            Self::Floats => Some(Which::Owned),
            Self::Codes => None,
            Self::All => Some(Which::All),
        }
    }

    fn of_codes(self) -> Option<Which> {
        match self {
            Self::Floats => None,
            Self::Codes => Some(Which::Owned),
            Self::All => Some(Which::All),
        }
    }
}

impl EmbeddingStore {
    /// Makes a store of arrays in foreign memory, whose content is trusted: the reader of a file checks it first.
    ///
    /// # Errors
    /// The number of dimensions is out of range, there are too many rows, or the memory is shorter than they are.
    pub fn with_foreign(options: &IndexOptions, parts: ForeignParts) -> Result<Self, EmbeddingError> {
        let mut store = Self::new(options)?;
        let last = parts.occupied.last().map_or(0, |slot| slot.0 as usize + 1);
        if parts.rows > SLOTS_MAX as usize || last > parts.rows {
            return Err(EmbeddingError::Full);
        }
        if store.encoding != Encoding::F32 {
            store.codes = store.codes.with_foreign(&parts.codes.bytes, parts.codes.start, parts.rows)?;
        }
        store.scalars = store.scalars.with_foreign(&parts.scalars.bytes, parts.scalars.start, parts.rows)?;
        store.exact = store.exact.with_foreign(&parts.exact.bytes, parts.exact.start, parts.rows)?;
        store.occupied = parts.occupied;
        Ok(store)
    }

    /// Returns the pieces of a part that can move: whole chunks of rows, each a multiple of 64 bytes long.
    pub fn movable_pieces(&self, part: Part) -> impl Iterator<Item = &[u8]> {
        let floats = part.of_floats().into_iter().flat_map(|which| self.exact.whole_chunks(which));
        let of_codes = |which| self.codes.whole_chunks(which).chain(self.scalars.whole_chunks(which));
        floats.chain(part.of_codes().into_iter().flat_map(of_codes))
    }

    /// Moves a part to foreign memory, which holds the pieces that [`movable_pieces`](Self::movable_pieces) has just returned, one after
    /// the other. A row that is written later brings its chunk back.
    ///
    /// # Errors
    /// The memory is too short, or does not begin on a multiple of 64.
    pub fn move_to(&mut self, part: Part, bytes: &ForeignBytes) -> Result<(), EmbeddingError> {
        let mut end = 0;
        if let Some(which) = part.of_floats() {
            end = self.exact.take_whole_chunks(which, bytes, end)?;
        }
        if let Some(which) = part.of_codes() {
            end = self.codes.take_whole_chunks(which, bytes, end)?;
            self.scalars.take_whole_chunks(which, bytes, end)?;
        }
        Ok(())
    }

    /// Uses the foreign memory of another store, which was read from where a copy of this one was written to, for all that has not changed
    /// since that copy was made.
    pub fn take_unchanged(&mut self, copy: &Self, same: &Self) {
        self.exact.take_unchanged(&copy.exact, &same.exact);
        self.codes.take_unchanged(&copy.codes, &same.codes);
        self.scalars.take_unchanged(&copy.scalars, &same.scalars);
    }

    /// Returns the bytes of foreign memory that the store uses.
    pub fn foreign_bytes(&self) -> usize {
        self.codes.foreign_bytes() + self.scalars.foreign_bytes() + self.exact.foreign_bytes()
    }

    /// Returns the bytes of a code; none where floats are compared.
    pub fn code_bytes(&self) -> usize {
        code_bytes(self.encoding, self.dimensions)
    }

    /// Returns the bytes of what is kept with a code.
    pub fn scalars_bytes(&self) -> usize {
        SCALARS_BYTES
    }

    /// Returns the bytes of all codes in the order of the slots, for a file.
    pub fn code_pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.codes.pieces()
    }

    /// Returns the bytes of what is kept with the codes in the order of the slots, for a file.
    pub fn scalars_pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.scalars.pieces()
    }

    /// Returns the bytes of all exact floats in the order of the slots, for a file.
    pub fn exact_pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.exact.pieces()
    }

    /// Returns the bytes of memory that the store holds, foreign memory left out.
    pub fn memory_bytes(&self) -> usize {
        self.codes.memory_bytes()
            + self.scalars.memory_bytes()
            + self.exact.memory_bytes()
            + size_of_val(self.occupied.words())
    }
}
