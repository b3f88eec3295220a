//! The merge rule: the state of one life of a row, and the join that makes replicas agree.
//!
//! A *node* is one life of one row: a key, an origin and an odd generation. Everything a replica hears
//! about that life is joined into the node; what is shown in the user's table is derived from nodes.
//!
//! Invariants:
//! 1. `join` is commutative, associative and idempotent, so a node is a function of the set of operations.
//! 2. A cell only ever grows in the order (stamp, encoded value).
//! 3. Birth is the least stamp of an insert, death the greatest stamp of a delete.

use std::collections::BTreeMap;

use crate::stamp::Stamp;

/// The last write to one column: its stamp and the encoded value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// When and by whom it was written.
    pub stamp: Stamp,
    /// The value, encoded as [`crate::ValueRef`].
    pub value: Vec<u8>,
}

/// Tells whether a write beats the one that is there: last writer wins, then the greater encoded value.
#[inline]
pub fn wins(new_stamp: &Stamp, new_value: &[u8], old_stamp: &Stamp, old_value: &[u8]) -> bool {
    match new_stamp.cmp(old_stamp) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => new_value > old_value,
    }
}

/// The state of one life of a row; `C` names a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<C: Ord> {
    /// The least stamp of an insert; `None` while only later writes have arrived.
    pub birth: Option<Stamp>,
    /// The greatest stamp of a delete; `None` while the row lives.
    pub death: Option<Stamp>,
    /// The winning write of each column.
    pub cells: BTreeMap<C, Cell>,
}

impl<C: Ord> Default for Node<C> {
    fn default() -> Self {
        Self { birth: None, death: None, cells: BTreeMap::new() }
    }
}

impl<C: Ord> Node<C> {
    /// Joins a birth; returns whether the node changed.
    pub fn join_birth(&mut self, stamp: Stamp) -> bool {
        let changed = self.birth.is_none_or(|birth| stamp < birth);
        if changed {
            self.birth = Some(stamp);
        }
        changed
    }

    /// Joins a death; returns whether the node changed.
    pub fn join_death(&mut self, stamp: Stamp) -> bool {
        let changed = self.death.is_none_or(|death| stamp > death);
        if changed {
            self.death = Some(stamp);
        }
        changed
    }

    /// Joins one write; returns whether it won.
    pub fn join_cell(&mut self, column: C, stamp: Stamp, value: &[u8]) -> bool {
        match self.cells.get_mut(&column) {
            Some(cell) if !wins(&stamp, value, &cell.stamp, &cell.value) => false,
            Some(cell) => {
                cell.stamp = stamp;
                cell.value.clear();
                cell.value.extend_from_slice(value);
                true
            }
            None => {
                self.cells.insert(column, Cell { stamp, value: value.to_vec() });
                true
            }
        }
    }

    /// Joins all that another replica knows of the same life; returns whether the node changed.
    pub fn join(&mut self, other: &Self) -> bool
    where
        C: Clone,
    {
        let mut changed = other.birth.is_some_and(|birth| self.join_birth(birth));
        changed |= other.death.is_some_and(|death| self.join_death(death));
        for (column, cell) in &other.cells {
            changed |= self.join_cell(column.clone(), cell.stamp, &cell.value);
        }
        changed
    }

    /// Tells whether the row was born and has not died: whether it may be shown.
    pub const fn is_live(&self) -> bool {
        self.birth.is_some() && self.death.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Hlc;
    use crate::ids::{AuthorId, IncarnationId};
    use proptest::prelude::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        (0u64..6, 0u8..3, 0u8..2).prop_map(|(clock, author, incarnation)| Stamp {
            clock: Hlc::from_u64(clock),
            author: AuthorId::from_bytes([author; 32]),
            incarnation: IncarnationId::from_bytes([incarnation; 16]),
        })
    }

    fn nodes() -> impl Strategy<Value = Node<u8>> {
        let cells = proptest::collection::btree_map(0u8..4, (stamps(), proptest::collection::vec(0u8..3, 0..2)), 0..4);
        (proptest::option::of(stamps()), proptest::option::of(stamps()), cells).prop_map(|(birth, death, cells)| Node {
            birth,
            death,
            cells: cells.into_iter().map(|(column, (stamp, value))| (column, Cell { stamp, value })).collect(),
        })
    }

    fn joined(left: &Node<u8>, right: &Node<u8>) -> Node<u8> {
        let mut out = left.clone();
        let changed = out.join(right);
        assert_eq!(changed, out != *left, "join reports a change exactly if there is one");
        out
    }

    proptest! {
        #[test]
        fn join_is_commutative(a in nodes(), b in nodes()) {
            prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        }

        #[test]
        fn join_is_associative(a in nodes(), b in nodes(), c in nodes()) {
            prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        }

        #[test]
        fn join_is_idempotent(a in nodes(), b in nodes()) {
            prop_assert_eq!(joined(&a, &a), a.clone());
            let both = joined(&a, &b);
            prop_assert_eq!(joined(&both, &b), both);
        }

        #[test]
        fn dead_rows_stay_dead(a in nodes(), b in nodes()) {
            if a.death.is_some() {
                prop_assert!(!joined(&a, &b).is_live());
            }
        }
    }
}
