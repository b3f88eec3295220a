//! How right an index is: the true neighbours, and the share of them that an answer holds.

use crate::index::Neighbour;

/// Two distances that differ by less, relative to the greater or to one, are taken for equal: sums of floats in another order differ
/// by as much.
pub const TIE: f32 = 1e-5;

/// Returns which share of the `count` nearest an answer holds. Rows at the distance of the last true one are as good as it is, so
/// that embeddings that are equal do not count as missed.
///
/// `truth` is sorted and holds at least as many as are wanted, or all there are.
pub fn recall(truth: &[Neighbour], answer: &[Neighbour], count: usize) -> f64 {
    let wanted = count.min(truth.len());
    let Some(last) = wanted.checked_sub(1).map(|last| truth[last].distance) else {
        return 1.0;
    };
    let bound = last + TIE * last.abs().max(1.0);
    let mut seen: Vec<_> =
        answer.iter().take(wanted).filter(|found| found.distance <= bound).map(|found| found.slot).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len() as f64 / wanted as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slot;

    fn neighbours(list: &[(u32, f32)]) -> Vec<Neighbour> {
        list.iter().map(|&(slot, distance)| Neighbour { slot: Slot(slot), distance }).collect()
    }

    #[test]
    fn equal_rows_count_and_repeated_or_farther_ones_do_not() {
        let truth = neighbours(&[(1, 0.1), (2, 0.2), (3, 0.2)]);
        assert_eq!(recall(&truth, &truth, 2), 1.0);
        assert_eq!(recall(&truth, &neighbours(&[(1, 0.1), (9, 0.2)]), 2), 1.0);
        assert_eq!(recall(&truth, &neighbours(&[(1, 0.1), (9, 0.3)]), 2), 0.5);
        assert_eq!(recall(&truth, &neighbours(&[(1, 0.1), (1, 0.1)]), 2), 0.5);
        assert_eq!(recall(&truth, &neighbours(&[(1, 0.1)]), 2), 0.5);
        assert_eq!(recall(&truth, &[], 2), 0.0);
        assert_eq!(recall(&[], &[], 2), 1.0);
    }
}
