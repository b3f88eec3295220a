//! Whether each row of an index is known to be in the table, so that an answer need not be looked up there, which costs more than all
//! else in a search.
//!
//! Invariants:
//! 1. Under the version of the schema that vouches, every row was read or looked up at some committed place, and the triggers are told
//!    of every row that goes. Under another version rows may have gone without that, were it for a moment.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct Vouched {
    /// No other index of this process has it: slots are counted in one.
    of: u64,
    schema: Option<i64>,
    looked: Option<Looked>,
}

/// How far it was looked, slot by slot, whether the rows are in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    of: u64,
    schema: i64,
    /// The next slot.
    pub(super) slot: usize,
}

/// What is known of the rows that a search finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouching {
    /// Each is in the table, and its key is its rowid.
    All,
    /// They are to be looked up, and those from a slot on as well, so that it need not be for ever.
    Until(Looked),
    /// They are to be looked up: rows may go at any time without a trigger's being told.
    Never,
}

impl Vouched {
    /// Begins for an index that a version of the schema vouches for, if one does.
    pub(super) fn by(schema: Option<i64>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { of: NEXT.fetch_add(1, Ordering::Relaxed), schema, looked: None }
    }

    /// Returns the version of the schema that vouches for every row.
    pub(super) const fn schema(&self) -> Option<i64> {
        self.schema
    }

    /// Says what is known under a version of the schema, under which the triggers are told of every row that goes.
    pub(super) fn under(&self, schema: i64) -> Vouching {
        if self.schema == Some(schema) {
            return Vouching::All;
        }
        Vouching::Until(self.so_far(schema))
    }

    fn so_far(&self, schema: i64) -> Looked {
        self.looked.filter(|looked| looked.schema == schema).unwrap_or(Looked { of: self.of, schema, slot: 0 })
    }

    /// Notes that the rows from a slot up to another are in the table, or were taken out of the index, which has so many slots. What
    /// comes into the index meanwhile is read from the table.
    pub(super) fn note(&mut self, from: Looked, slot: usize, slots: usize) {
        if self.so_far(from.schema) != from {
            return;
        }
        if slot < slots {
            self.looked = Some(Looked { slot, ..from });
        } else {
            (self.schema, self.looked) = (Some(from.schema), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(vouched: &Vouched, schema: i64) -> Looked {
        let Vouching::Until(looked) = vouched.under(schema) else { panic!("{vouched:?}") };
        looked
    }

    #[test]
    fn a_schema_vouches_once_every_slot_was_looked_at_under_it() {
        let mut vouched = Vouched::by(Some(1));
        assert_eq!(vouched.under(1), Vouching::All);
        vouched.note(looked(&vouched, 2), 32, 64);
        assert_eq!(looked(&vouched, 2).slot, 32);
        // Another search was at it, too.
        let twice = looked(&vouched, 2);
        vouched.note(twice, 50, 64);
        vouched.note(twice, 64, 64);
        assert_eq!((looked(&vouched, 2).slot, vouched.schema()), (50, Some(1)));
        // The slots of another index are not those of this one.
        vouched.note(looked(&Vouched::by(None), 2), 64, 64);
        // And the schema may change in between.
        vouched.note(looked(&vouched, 3), 10, 64);
        assert_eq!((looked(&vouched, 2).slot, looked(&vouched, 3).slot), (0, 10));
        vouched.note(looked(&vouched, 3), 64, 64);
        assert_eq!((vouched.under(3), vouched.schema()), (Vouching::All, Some(3)));
    }
}
