//! What one write did to one row, as it is read from a payload.

use crate::codec::DecodeError;
use crate::ids::{Generation, Origin};
use crate::stamp::Stamp;

/// One cell of an operation, borrowed from the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellRef<'a> {
    /// Index into the payload's columns.
    pub column: usize,
    /// The operation's own stamp, or an older one that is carried along with a moved row.
    pub stamp: Stamp,
    /// The encoded value.
    pub value: &'a [u8],
}

/// The kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<'a> {
    /// The row begins this life with these cells.
    #[default]
    Insert,
    /// These cells of the row changed.
    Update,
    /// This life of the row ends.
    Delete,
    /// This life of the row ends and goes on under another key, with these cells; late edits follow.
    Move {
        /// The new key.
        to: &'a [u8],
        /// The life that begins under the new key.
        to_generation: Generation,
    },
}

/// One write to one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation<'a> {
    /// When and by whom; [`Stamp::EXISTING`] for rows that were there before sync.
    pub stamp: Stamp,
    /// The canonically encoded key of the row.
    pub key: &'a [u8],
    /// The life of the row that was written to; always odd.
    pub generation: Generation,
    /// Which row under the key is meant; [`Origin::NATURAL`] where keys are natural.
    pub origin: Origin,
    /// What happened.
    pub change: Change<'a>,
    /// The cells written, in ascending order of column.
    pub cells: Vec<CellRef<'a>>,
}

impl Operation<'_> {
    /// Checks that the lives which the operation names can be there by its clock; asked before it is written and after it is read.
    pub fn check_generations(&self) -> Result<(), DecodeError> {
        let generation = match self.change {
            Change::Move { to_generation, .. } => self.generation.max(to_generation),
            _ => self.generation,
        };
        let greatest = Generation::greatest_at(self.stamp.clock);
        if generation > greatest {
            return Err(DecodeError::TooLarge { what: "generation", size: generation.get(), max: greatest.get() });
        }
        Ok(())
    }
}
