//! The kernels without special instructions; what the others are tested against.

use super::BYTE_OFFSET;
use super::half::to_f32;

/// Adds what `term` says of each pair in eight separate sums, so that the compiler may use whatever registers there are.
#[inline]
fn sum<L: Copy, R: Copy>(left: &[L], right: &[R], term: impl Fn(L, R) -> f32) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<8>();
    let (right_blocks, right_rest) = right.as_chunks::<8>();
    let mut sums = [0f32; 8];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for (sum, (&left, &right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += term(left, right);
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(&left, &right)| term(left, right)).sum();
    sums.iter().sum::<f32>() + rest
}

pub(super) fn dot_f32(left: &[f32], right: &[f32]) -> f32 {
    sum(left, right, |left, right| left * right)
}

pub(super) fn squared_l2_f32(left: &[f32], right: &[f32]) -> f32 {
    sum(left, right, |left, right| (left - right) * (left - right))
}

pub(super) fn l1_f32(left: &[f32], right: &[f32]) -> f32 {
    sum(left, right, |left, right| (left - right).abs())
}

pub(super) fn dot_half(halves: &[u16], floats: &[f32]) -> f32 {
    sum(halves, floats, |half, float| to_f32(half) * float)
}

pub(super) fn dot_halves(left: &[u16], right: &[u16]) -> f32 {
    sum(left, right, |left, right| to_f32(left) * to_f32(right))
}

pub(super) fn l1_half(halves: &[u16], scale: f32, floats: &[f32]) -> f32 {
    sum(halves, floats, |half, float| (to_f32(half) * scale - float).abs())
}

pub(super) fn dot_byte(bytes: &[u8], integers: &[i8]) -> i32 {
    bytes.iter().zip(integers).map(|(&byte, &integer)| i32::from(byte) * i32::from(integer)).sum()
}

pub(super) fn dot_byte_rows(rows: &[u8], integers: &[i8], products: &mut [i32]) {
    for (row, product) in rows.chunks_exact(integers.len()).zip(products) {
        *product = dot_byte(row, integers);
    }
}

pub(super) fn dot_bytes(left: &[u8], right: &[u8]) -> i32 {
    let offset = i32::from(BYTE_OFFSET);
    left.iter().zip(right).map(|(&left, &right)| (i32::from(left) - offset) * (i32::from(right) - offset)).sum()
}

pub(super) fn l1_byte(bytes: &[u8], scale: f32, floats: &[f32]) -> f32 {
    sum(bytes, floats, |byte, float| ((f32::from(byte) - f32::from(BYTE_OFFSET)) * scale - float).abs())
}

pub(super) fn hamming(left: &[u64], right: &[u64]) -> u32 {
    left.iter().zip(right).map(|(left, right)| (left ^ right).count_ones()).sum()
}

pub(super) fn hamming_rows(rows: &[u64], bits: &[u64], counts: &mut [u32]) {
    for (row, count) in rows.chunks_exact(bits.len()).zip(counts) {
        *count = hamming(row, bits);
    }
}
