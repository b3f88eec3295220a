//! Exact distances, for the SQL functions and for rows that no index holds yet.

use kithdb_vector::metric::Metric;

/// Compares two embeddings of one length as [`Metric`] defines it; not a number where one has no direction.
pub(super) fn distance(metric: Metric, left: &[f32], right: &[f32]) -> f32 {
    let pairs = || left.iter().zip(right).map(|(&l, &r)| (f64::from(l), f64::from(r)));
    let sum = match metric {
        Metric::Cosine => {
            let norm = |side: &[f32]| side.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            1.0 - pairs().map(|(l, r)| l * r).sum::<f64>() / (norm(left) * norm(right))
        }
        Metric::L2 => pairs().map(|(l, r)| (l - r).powi(2)).sum::<f64>().sqrt(),
        Metric::InnerProduct => -pairs().map(|(l, r)| l * r).sum::<f64>(),
        Metric::L1 => pairs().map(|(l, r)| (l - r).abs()).sum(),
        Metric::Hamming => pairs().filter(|(l, r)| (*l > 0.0) != (*r > 0.0)).count() as f64,
    };
    sum as f32
}
