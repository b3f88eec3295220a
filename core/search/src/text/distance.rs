//! How alike two strings are.

/// Case is folded, outer white space cut off.
pub(super) fn fold(text: &str) -> Vec<char> {
    text.trim().chars().flat_map(char::to_lowercase).collect()
}

/// Tells how sure it is that two folded texts mean the same, from 0 to 1: one minus the optimal string alignment distance (insertions,
/// deletions, substitutions and swaps of neighbours, in Unicode characters) over the longer one's length.
pub(super) fn confidence(left: &[char], right: &[char]) -> (usize, f64) {
    let longer = left.len().max(right.len());
    if longer == 0 {
        return (0, 1.0);
    }
    let distance = strsim::osa_distance(&left.iter().collect::<String>(), &right.iter().collect::<String>());
    (distance, 1.0 - distance as f64 / longer as f64)
}

/// The greatest confidence that two texts of these lengths can have.
pub(super) fn confidence_max(left: usize, right: usize) -> f64 {
    let longer = left.max(right);
    if longer == 0 { 1.0 } else { left.min(right) as f64 / longer as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, without any cleverness (Boytsov, "Indexing methods for approximate dictionary searching", 2011, section 2.1).
    fn distance(left: &[char], right: &[char]) -> usize {
        let (Some(l), Some(r)) = (left.last(), right.last()) else { return left.len().max(right.len()) };
        let (shorter_left, shorter_right) = (&left[..left.len() - 1], &right[..right.len() - 1]);
        let mut best = (distance(shorter_left, right) + 1)
            .min(distance(left, shorter_right) + 1)
            .min(distance(shorter_left, shorter_right) + usize::from(l != r));
        if let ([start_left @ .., a, b], [start_right @ .., c, d]) = (left, right)
            && a == d
            && b == c
        {
            best = best.min(distance(start_left, start_right) + 1);
        }
        best
    }

    proptest! {
        #[test]
        fn distance_is_that_of_the_definition(left in "[abé]{0,6}", right in "[abé]{0,6}") {
            let (left, right) = (fold(&left), fold(&right));
            let (found, sure) = confidence(&left, &right);
            prop_assert_eq!(found, distance(&left, &right));
            prop_assert!(sure <= confidence_max(left.len(), right.len()) + 1e-12);
        }
    }

    #[test]
    fn confidence_is_between_zero_and_one() {
        assert_eq!(confidence(&fold(" Ärger"), &fold("ärger ")), (0, 1.0));
        assert_eq!(confidence(&fold("abc"), &fold("xyz")), (3, 0.0));
        assert_eq!(confidence(&fold("jon smth"), &fold("John Smith")), (2, 0.8));
        assert_eq!(confidence(&[], &[]), (0, 1.0));
    }
}
