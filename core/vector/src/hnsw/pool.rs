//! The nearest points that a walk has found, in order, each with whether its neighbours were looked at.
//!
//! A sorted array instead of the paper's two heaps: a candidate that is no longer among the `ef` nearest would never be expanded,
//! so one array serves as both, and moving a few hundred bytes costs less than keeping two heaps.

const EXPANDED: u64 = 1;

/// Packs a distance and a point so that keys compare as distances do, equal ones as points.
pub(super) fn key(distance: f32, point: u32) -> u64 {
    let bits = distance.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(point) << 1
}

/// Returns the point of a key.
pub(super) fn point(key: u64) -> u32 {
    (key as u32) >> 1
}

/// Returns the distance of a key.
pub(super) fn distance(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

#[derive(Default)]
pub(super) struct Pool {
    keys: Vec<u64>,
    limit: usize,
    /// Before it, all are expanded.
    next: usize,
}

impl Pool {
    pub fn begin(&mut self, limit: usize) {
        self.keys.clear();
        self.limit = limit.max(1);
        self.next = 0;
    }

    /// Says whether a key would be kept.
    pub fn wants(&self, key: u64) -> bool {
        self.keys.len() < self.limit || self.keys.last().is_some_and(|&worst| key < worst)
    }

    /// Says whether there are `ef` nearer ones than a key.
    pub fn is_beyond(&self, key: u64) -> bool {
        self.keys.len() == self.limit && self.keys.last().is_some_and(|&worst| key > worst)
    }

    /// Keeps a point if it is among the nearest; says whether it is.
    pub fn offer(&mut self, distance: f32, point: u32) -> bool {
        let key = key(distance, point);
        if !self.wants(key) {
            return false;
        }
        if self.keys.len() == self.limit {
            self.keys.pop();
        }
        let place = self.keys.partition_point(|&kept| kept < key);
        self.keys.insert(place, key);
        self.next = self.next.min(place);
        true
    }

    /// Returns the nearest point that was not expanded yet.
    pub fn expand(&mut self) -> Option<u32> {
        while let Some(key) = self.keys.get_mut(self.next) {
            self.next += 1;
            if *key & EXPANDED == 0 {
                *key |= EXPANDED;
                return Some(point(*key));
            }
        }
        None
    }

    /// Returns what was kept, the nearest first.
    pub fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.keys.iter().map(|key| key & !EXPANDED)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_order_as_distances_do(one in any::<f32>(), other in any::<f32>()) {
            prop_assume!(!one.is_nan() && !other.is_nan());
            prop_assert_eq!(key(one, 7).cmp(&key(other, 7)), one.total_cmp(&other));
            prop_assert_eq!(distance(key(one, 9)).to_bits(), one.to_bits());
            prop_assert_eq!(point(key(one, (1 << 28) - 1)), (1 << 28) - 1);
        }

        #[test]
        fn pool_keeps_the_nearest_in_order(distances in proptest::collection::vec(-5i8..5, 0..60), limit in 1usize..20) {
            let mut pool = Pool::default();
            pool.begin(limit);
            for (point, &distance) in (0u32..).zip(&distances) {
                pool.offer(f32::from(distance), point);
                if point % 3 == 0 {
                    pool.expand();
                }
            }
            let mut all: Vec<u64> = (0u32..).zip(&distances).map(|(point, &distance)| key(f32::from(distance), point)).collect();
            all.sort_unstable();
            all.truncate(limit);
            prop_assert!(pool.keys().eq(all));
            while pool.expand().is_some() {}
            prop_assert!(pool.keys.iter().all(|key| key & EXPANDED != 0));
        }
    }
}
