//! Places of an index, and sets of them.

/// The place of one embedding in an index; its owner maps it to the key of a row. Places are dense and are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A set of slots, one bit for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotSet {
    words: Vec<u64>,
    len: usize,
}

impl SlotSet {
    /// Adds a slot; says whether it was missing.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += usize::from(is_new);
        is_new
    }

    /// Takes a slot out; says whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        let is_there = self.contains(slot);
        if is_there {
            self.words[word] &= !bit;
            self.len -= 1;
        }
        is_there
    }

    /// Says whether a slot is in the set.
    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Returns how many slots are in the set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether no slot is in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(&bits, word)| ones(bits).map(move |bit| Slot(word * u64::BITS + bit)))
    }

    /// Returns the bits in words of 64, the slot with the lowest number first and lowest; behind the last one all are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns the highest slot.
    pub fn last(&self) -> Option<Slot> {
        let word = self.words.iter().rposition(|&bits| bits != 0)?;
        Some(Slot(word as u32 * u64::BITS + self.words[word].ilog2()))
    }

    /// Returns how many slots are in both sets.
    pub fn common(&self, other: &Self) -> usize {
        self.words.iter().zip(&other.words).map(|(left, right)| (left & right).count_ones() as usize).sum()
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

/// Returns the numbers of the bits that are one, in ascending order.
pub(crate) fn ones(mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (bits != 0).then(|| {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            bit
        })
    })
}

fn place(slot: Slot) -> (usize, u64) {
    ((slot.0 / u64::BITS) as usize, 1 << (slot.0 % u64::BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn common_counts_the_slots_of_both(left in proptest::collection::btree_set(0u32..300, 0..60), right in proptest::collection::btree_set(0u32..500, 0..60)) {
            let set = |numbers: &BTreeSet<u32>| numbers.iter().map(|&number| Slot(number)).collect::<SlotSet>();
            prop_assert_eq!(set(&left).common(&set(&right)), left.intersection(&right).count());
        }

        #[test]
        fn set_holds_what_an_ordered_set_holds(steps in proptest::collection::vec((any::<bool>(), 0u32..300), 0..200)) {
            let (mut set, mut model) = (SlotSet::default(), BTreeSet::new());
            for (is_insert, number) in steps {
                let slot = Slot(number);
                if is_insert {
                    prop_assert_eq!(set.insert(slot), model.insert(slot));
                } else {
                    prop_assert_eq!(set.remove(slot), model.remove(&slot));
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.contains(slot), model.contains(&slot));
            }
            prop_assert_eq!(set.last(), model.last().copied());
            prop_assert!(set.iter().eq(model.into_iter()));
        }
    }
}
