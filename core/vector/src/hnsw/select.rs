//! Which of its candidates a point is connected to.

use super::points::Points;
use super::pool::{distance, point};

/// Chooses neighbours by the paper's heuristic (algorithm 4): a candidate that is nearer to a chosen one than to the point itself
/// is reached through that one. Of equal embeddings one is chosen, so that copies neither fill a list nor hide what lies behind them.
///
/// `sorted` holds keys by the distance to the point, the nearest first. What `is_kept` names is chosen whatever it is near to; there
/// are no more of those than the limit.
pub(super) fn choose<P: Points>(
    points: &P,
    sorted: &[u64],
    limit: usize,
    is_kept: impl Fn(u32) -> bool,
    chosen: &mut Vec<u64>,
) {
    chosen.clear();
    let mut kept_ahead = sorted.iter().filter(|&&key| is_kept(point(key))).count();
    for &key in sorted {
        if is_kept(point(key)) {
            kept_ahead -= 1;
            chosen.push(key);
        } else if chosen.len() + kept_ahead < limit && !is_occluded(points, key, chosen) {
            chosen.push(key);
        } else if chosen.len() == limit {
            break;
        }
    }
}

/// Says whether a candidate is reached through one that is already chosen.
pub(super) fn is_occluded<P: Points>(points: &P, key: u64, chosen: &[u64]) -> bool {
    let (candidate, far) = (point(key), distance(key));
    chosen.iter().any(|&near| {
        points.between(point(near), candidate) < far
            || (near >> 32 == key >> 32 && points.are_equal(point(near), candidate))
    })
}
