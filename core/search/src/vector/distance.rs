//! Exact distances between two embeddings, for the SQL functions.

use kithdb_vector::distance::kernels;
use kithdb_vector::metric::Metric;

/// Compares two embeddings of one length as [`Metric`] defines it; not a number where one has no direction.
pub(super) fn distance(metric: Metric, left: &[f32], right: &[f32]) -> f32 {
    let kernels = kernels();
    match metric {
        Metric::Cosine => {
            let norms = kernels.dot_f32(left, left).sqrt() * kernels.dot_f32(right, right).sqrt();
            if norms == 0.0 { f32::NAN } else { (1.0 - kernels.dot_f32(left, right) / norms).max(0.0) }
        }
        Metric::L2 => kernels.squared_l2_f32(left, right).sqrt(),
        Metric::InnerProduct => -kernels.dot_f32(left, right),
        Metric::L1 => kernels.l1_f32(left, right),
        Metric::Hamming => left.iter().zip(right).filter(|(l, r)| (**l > 0.0) != (**r > 0.0)).count() as f32,
    }
}
