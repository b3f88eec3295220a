//! The sets that are searched: real embeddings, and clustered ones made from a seed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kithdb_vector::index::{EmbeddingIndex, Query};
use kithdb_vector::slots::{Slot, SlotSet};

use crate::arms;
use crate::npy::{self, Matrix};

/// Neighbours that are asked for.
pub const COUNT: usize = 10;

/// Numbers of an embedding of the made sets, as many as the real ones have.
const DIMENSIONS: usize = 384;

/// Writes the set of real embeddings: normalised floats of 32 bits.
pub fn take_real(source: &Path, filters: &[u32], folder: &Path) -> Result<()> {
    let base = normalised(npy::read_floats(&source.join("minilm_10k_base.npy"))?);
    let queries = normalised(npy::read_floats(&source.join("minilm_10k_queries.npy"))?);
    finish(folder, &base, &queries, filters)
}

/// Makes a clustered set.
///
/// An embedding is the weighted sum of what all have in common, a topic, a subtopic and something of its own, which lies in few of the
/// dimensions, as in real ones. Subtopics are as many as makes five rows for each, and some are much larger than others; how much an
/// embedding has of its own varies, so that some have near copies and others stand alone. The numbers were chosen so that neighbours
/// and random pairs of 100,000 are about as similar as those of real embeddings, and hnswlib needs about as many candidates.
pub fn make_clustered(rows: usize, queries: usize, filters: &[u32], seed: u64, folder: &Path) -> Result<()> {
    const TOPICS: usize = 50;
    const SUBTOPIC_ROWS: usize = 5;
    const OWN_DIRECTIONS: usize = 64;
    const WEIGHTS: [f32; 4] = [0.12, 0.14, 0.36, 0.38];
    /// The standard deviation of the logarithm of what an embedding has of its own.
    const OWN_SPREAD: f32 = 0.4;
    let mut random = Random(seed);
    let subtopic_count = rows.div_ceil(SUBTOPIC_ROWS).max(TOPICS);
    let common = random.direction();
    let topics: Vec<_> = (0..TOPICS).map(|_| random.direction()).collect();
    let subtopics: Vec<_> = (0..subtopic_count).map(|_| random.direction()).collect();
    let directions: Vec<_> = (0..OWN_DIRECTIONS).map(|_| random.direction()).collect();
    let mut make = |count: usize| {
        let mut numbers = Vec::with_capacity(count * DIMENSIONS);
        for _ in 0..count {
            // The square has the first subtopics drawn more often: the n-th in proportion to the root of 1/n, by Zipf's law.
            let drawn = random.share().powi(2);
            let subtopic = ((drawn * subtopic_count as f32) as usize).min(subtopic_count - 1);
            let mut own = vec![0.0; DIMENSIONS];
            for (place, direction) in directions.iter().enumerate() {
                // The later directions matter less, as the principal components of real embeddings do.
                let weight = random.normal() / (1.0 + place as f32 / 8.0).sqrt();
                add(&mut own, direction, weight);
            }
            normalise(&mut own);
            let own_share = (OWN_SPREAD * random.normal()).exp();
            let mut embedding = vec![0.0; DIMENSIONS];
            let parts = [&common, &topics[subtopic % TOPICS], &subtopics[subtopic], &own];
            for (part, (weight, share)) in parts.into_iter().zip(WEIGHTS.into_iter().zip([1.0, 1.0, 1.0, own_share])) {
                add(&mut embedding, part, weight.sqrt() * share);
            }
            normalise(&mut embedding);
            numbers.extend(embedding);
        }
        Matrix { width: DIMENSIONS, numbers }
    };
    let (base, queries) = (make(rows), make(queries));
    finish(folder, &base, &queries, filters)
}

/// Finds the truth for every filter, writes everything, and says how hard the set is.
fn finish(folder: &Path, base: &Matrix<f32>, queries: &Matrix<f32>, filters: &[u32]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    npy::write_floats(&folder.join("base.npy"), base)?;
    npy::write_floats(&folder.join("queries.npy"), queries)?;
    let index = arms::exact(base)?;
    let (mut nearest, mut tenth) = (0.0, 0.0);
    for &filter in filters {
        let allowed = allowed(base.height(), filter);
        let allowed = (filter < 1_000).then_some(&allowed);
        let mut slots = Vec::new();
        for embedding in queries.rows() {
            let found = index.search(&Query { embedding, count: COUNT, ef: 0, allowed })?;
            if filter == 1_000 {
                nearest += f64::from(1.0 - found[0].distance);
                tenth += f64::from(1.0 - found[COUNT - 1].distance);
            }
            slots.extend(found.iter().map(|found| found.slot.0 as i32));
            // A set so small that fewer are allowed is filled up with the last.
            let last = slots.last().copied().unwrap_or_default();
            slots.extend(std::iter::repeat_n(last, COUNT - found.len()));
        }
        npy::write_integers(&folder.join(format!("truth_{filter}.npy")), &Matrix { width: COUNT, numbers: slots })?;
    }
    let pairs = base.rows().step_by(2).zip(base.rows().skip(1).step_by(2)).take(10_000);
    let random = pairs.map(|(left, right)| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>());
    let random: Vec<f32> = random.collect();
    let hardness = format!(
        "{} rows, {} questions; mean similarity of a question's nearest {:.2}, of its tenth {:.2}, of random pairs {:.2}",
        base.height(),
        queries.height(),
        nearest / queries.height() as f64,
        tenth / queries.height() as f64,
        random.iter().sum::<f32>() / random.len() as f32,
    );
    // Written last: a set with this file is whole.
    fs::write(folder.join("hardness.txt"), &hardness)?;
    println!("{hardness}");
    Ok(())
}

/// Returns the slots that a filter of so many thousandths lets through, spread by a hash.
pub fn allowed(rows: usize, filter: u32) -> SlotSet {
    let passes = |row: &u32| row.wrapping_mul(2_654_435_761) % 1_000 < filter;
    (0..rows as u32).filter(passes).map(Slot).collect()
}

fn normalised(mut matrix: Matrix<f32>) -> Matrix<f32> {
    matrix.numbers.chunks_exact_mut(matrix.width).for_each(normalise);
    matrix
}

fn normalise(numbers: &mut [f32]) {
    let length = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    for number in numbers {
        *number = (f64::from(*number) / length) as f32;
    }
}

fn add(sum: &mut [f32], direction: &[f32], weight: f32) {
    for (sum, number) in sum.iter_mut().zip(direction) {
        *sum += weight * number;
    }
}

/// The generator SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, up to 1.
    fn share(&mut self) -> f32 {
        ((self.next() >> 40) + 1) as f32 / (1u32 << 24) as f32
    }

    /// By Box and Muller's method.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.share().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.share()).cos()
    }

    fn direction(&mut self) -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..DIMENSIONS).map(|_| self.normal()).collect();
        normalise(&mut numbers);
        numbers
    }
}
