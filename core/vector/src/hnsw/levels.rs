//! Which layers a point is on.

/// No level: the slot holds no point.
pub(super) const ABSENT: u8 = u8::MAX;

/// The slot's embedding equals that of a point, which stands for both.
pub(super) const TWIN: u8 = u8::MAX - 1;

/// The highest level; with 2 connections, the fewest, 2^15 points have one above it among them.
pub(super) const LEVEL_MAX: u8 = 15;

/// Returns the level of a slot: each is `connections` times rarer than the one below, as in the paper. Drawn from the seed and the
/// slot, so that a build can be repeated and a slot that is used again keeps its upper lists.
pub(super) fn level_of(seed: u64, slot: u32, connections: usize) -> u8 {
    // splitmix64 of Steele, Lea and Flood 2014.
    let mut bits = (seed ^ u64::from(slot).wrapping_mul(0xd134_2543_de82_ef95)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let uniform = ((bits >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    let level = -uniform.ln() / (connections.max(2) as f64).ln();
    (level as u8).min(LEVEL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_as_much_rarer_as_there_are_connections() {
        let mut counts = [0u32; LEVEL_MAX as usize + 1];
        for slot in 0..160_000 {
            counts[usize::from(level_of(7, slot, 16))] += 1;
        }
        assert!((149_000..151_000).contains(&counts[0]), "{counts:?}");
        assert!((9_000..9_750).contains(&counts[1]), "{counts:?}");
        assert!((500..680).contains(&counts[2]), "{counts:?}");
        assert_ne!(
            (0..64).map(|slot| level_of(1, slot, 2)).collect::<Vec<_>>(),
            (0..64).map(|slot| level_of(2, slot, 2)).collect::<Vec<_>>()
        );
    }
}
