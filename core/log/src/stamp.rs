//! Stamps: when, who, in which life of the file; a total order over all writes of a workspace.

use crate::clock::Hlc;
use crate::ids::{AuthorId, IncarnationId};

/// Orders writes: by clock, then author, then incarnation. Equal stamps carry equal values, except at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// The hybrid logical clock of the write.
    pub clock: Hlc,
    /// The device that wrote.
    pub author: AuthorId,
    /// The life of its file.
    pub incarnation: IncarnationId,
}

impl Stamp {
    /// The stamp of rows that existed before sync: below every write, nobody's in particular.
    pub const EXISTING: Self = Self {
        clock: Hlc::ZERO,
        author: AuthorId::from_bytes([0; 32]),
        incarnation: IncarnationId::from_bytes([0; 16]),
    };
}
