//! How embeddings become short codes, and how a question is compared with those.
//!
//! Every comparison but L1's comes down to an inner product: its estimate is `base + norm_weight * norm + dot_weight * scale * dot`,
//! where `scale` and `norm` are kept with the code and the other three follow from the question.

use crate::distance::{BYTE_OFFSET, Kernels, half};
use crate::index::Encoding;
use crate::metric::Metric;
use crate::rows::{numbers, numbers_mut};

/// The largest integer of a code; the smallest is its negation.
const INTEGER_MAX: f32 = 127.0;

/// Two numbers that are kept with a code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scalars {
    /// What the numbers of the code are multiplied with.
    pub(crate) scale: f32,
    /// Of what the code stands for, squared; under cosine the length of the embedding as it was given.
    pub(crate) norm: f32,
}

/// Says which codes an index keeps: signs are all that Hamming compares.
pub(crate) fn kept_encoding(metric: Metric, encoding: Encoding) -> Encoding {
    if metric == Metric::Hamming { Encoding::Bit } else { encoding }
}

/// Returns the bytes of a code; none for floats, which are compared themselves.
pub(crate) fn code_bytes(encoding: Encoding, dimensions: usize) -> usize {
    match encoding {
        Encoding::F32 => 0,
        Encoding::F16 => dimensions * 2,
        Encoding::Int8 => dimensions,
        Encoding::Bit => dimensions.div_ceil(64) * 8,
    }
}

/// Writes the code of an embedding.
pub(crate) fn encode(kernels: &Kernels, encoding: Encoding, embedding: &[f32], code: &mut [u8]) -> Scalars {
    match encoding {
        Encoding::F32 => Scalars { scale: 1.0, norm: kernels.dot_f32(embedding, embedding) },
        Encoding::F16 => {
            let scale = power_of_two_below(greatest(embedding));
            let halves = numbers_mut::<u16>(code);
            for (half, &number) in halves.iter_mut().zip(embedding) {
                *half = half::from_f32((f64::from(number) / f64::from(scale)) as f32);
            }
            Scalars { scale, norm: kernels.dot_halves(halves, halves) * scale * scale }
        }
        Encoding::Int8 => {
            let scale = greatest(embedding) / INTEGER_MAX;
            // A scale too small to divide by belongs to numbers whose products are zero anyway.
            let scale = if scale >= f32::MIN_POSITIVE { scale } else { f32::MIN_POSITIVE };
            for (byte, &number) in code.iter_mut().zip(embedding) {
                let integer = (number / scale).round_ties_even().clamp(-INTEGER_MAX, INTEGER_MAX);
                *byte = (integer + f32::from(BYTE_OFFSET)) as u8;
            }
            Scalars { scale, norm: kernels.dot_bytes(code, code) as f32 * scale * scale }
        }
        Encoding::Bit => {
            for (word, signs) in numbers_mut::<u64>(code).iter_mut().zip(signs(embedding)) {
                *word = signs;
            }
            let norm = kernels.dot_f32(embedding, embedding);
            Scalars { scale: norm.sqrt(), norm }
        }
    }
}

/// Returns one bit for each number, the first one lowest: whether it is above zero.
fn signs(embedding: &[f32]) -> impl Iterator<Item = u64> {
    embedding
        .chunks(64)
        .map(|numbers| numbers.iter().rev().fold(0, |word, &number| word << 1 | u64::from(number > 0.0)))
}

fn greatest(embedding: &[f32]) -> f32 {
    embedding.iter().fold(0f32, |greatest, number| greatest.max(number.abs()))
}

/// Returns a power of two, so that dividing by it loses nothing, that brings numbers into the range of 16-bit floats.
fn power_of_two_below(number: f32) -> f32 {
    f32::from_bits(number.max(f32::MIN_POSITIVE).to_bits() & 0x7f80_0000)
}

/// A checked question, made once and compared with many codes.
#[derive(Debug, Clone)]
pub struct PreparedQuery {
    /// Under cosine of length 1.
    pub(crate) exact: Vec<f32>,
    pub(crate) code: QueryCode,
    pub(crate) weights: Weights,
}

/// The question in the form that its kernel takes.
#[derive(Debug, Clone)]
pub(crate) enum QueryCode {
    Floats,
    Integers(Vec<i8>),
    Bits(Vec<u64>),
}

/// What turns an inner product into an estimate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) base: f32,
    pub(crate) norm_weight: f32,
    pub(crate) dot_weight: f32,
    /// What the offset of the bytes adds to every product.
    pub(crate) excess: i32,
}

impl Weights {
    /// Returns the weights for a question, or an embedding, whose code has these numbers.
    pub(crate) fn new(metric: Metric, scalars: Scalars) -> Self {
        let (base, norm_weight, dot_weight) = match metric {
            Metric::Cosine => (1.0, 0.0, -1.0),
            Metric::InnerProduct => (0.0, 0.0, -1.0),
            // Only bits under L1 have weights: over all pairs the one distance grows with the other.
            Metric::L2 | Metric::L1 => (scalars.norm, 1.0, -2.0),
            // Lengths do not matter to signs: `dot` is the product of two embeddings of length 1.
            Metric::Hamming => return Self { base: 1.0, norm_weight: 0.0, dot_weight: -1.0, excess: 0 },
        };
        Self { base, norm_weight, dot_weight: dot_weight * scalars.scale, excess: 0 }
    }

    #[inline]
    pub(crate) fn estimate(&self, scalars: Scalars, dot: f32) -> f32 {
        self.base + self.norm_weight * scalars.norm + self.dot_weight * scalars.scale * dot
    }

    /// Does `estimate` for rows whose scalars lie one after another.
    #[inline]
    pub(crate) fn estimate_rows(&self, scalars: &[f32], dots: &[f32], estimates: &mut [f32]) {
        let (scalars, _) = scalars.as_chunks::<2>();
        for ((&[scale, norm], &dot), estimate) in scalars.iter().zip(dots).zip(estimates) {
            *estimate = self.estimate(Scalars { scale, norm }, dot);
        }
    }
}

/// Makes a question of an embedding that was checked, and normalised under cosine.
pub(crate) fn prepare(kernels: &Kernels, metric: Metric, encoding: Encoding, exact: Vec<f32>) -> PreparedQuery {
    let norm = kernels.dot_f32(&exact, &exact);
    let (scalars, code) = match encoding {
        // Codes of floats are compared with floats, which are the question itself.
        Encoding::F32 | Encoding::F16 => (Scalars { scale: 1.0, norm }, QueryCode::Floats),
        Encoding::Int8 => {
            let mut code = vec![0; exact.len()];
            let scalars = encode(kernels, encoding, &exact, &mut code);
            (scalars, QueryCode::integers(&code))
        }
        Encoding::Bit => (Scalars { scale: norm.sqrt(), norm }, QueryCode::Bits(signs(&exact).collect())),
    };
    PreparedQuery::new(metric, scalars, code, exact)
}

impl QueryCode {
    /// Takes the code of an embedding for a question's, where questions have codes.
    pub(crate) fn of_code(encoding: Encoding, code: &[u8]) -> Self {
        match encoding {
            Encoding::F32 | Encoding::F16 => Self::Floats,
            Encoding::Int8 => Self::integers(code),
            Encoding::Bit => Self::Bits(numbers::<u64>(code).to_vec()),
        }
    }

    fn integers(code: &[u8]) -> Self {
        Self::Integers(code.iter().map(|byte| (byte ^ BYTE_OFFSET) as i8).collect())
    }
}

impl PreparedQuery {
    /// Puts a question together.
    pub(crate) fn new(metric: Metric, scalars: Scalars, code: QueryCode, exact: Vec<f32>) -> Self {
        let mut weights = Weights::new(metric, scalars);
        if let QueryCode::Integers(integers) = &code {
            weights.excess = integers.iter().map(|&integer| i32::from(integer)).sum::<i32>() * i32::from(BYTE_OFFSET);
        }
        Self { exact, code, weights }
    }
}

/// Returns the inner product of two embeddings of length 1 by the share of their signs that differ.
#[inline]
pub(crate) fn product_of_signs(differing: u32, dimensions: usize) -> f32 {
    1.0 - 2.0 * differing as f32 / dimensions as f32
}
