//! The kernels for 64-bit ARM processors. No ARM machine has run their tests yet.

use std::arch::aarch64::*;

use super::BYTE_OFFSET;
use super::scalar;

/// Adds what `step` says of each four pairs in four separate sums, and the rest by `last`.
#[inline]
#[target_feature(enable = "neon")]
fn fold(
    left: &[f32],
    right: &[f32],
    step: impl Fn(float32x4_t, float32x4_t, float32x4_t) -> float32x4_t,
    last: impl Fn(&[f32], &[f32]) -> f32,
) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<16>();
    let (right_blocks, right_rest) = right.as_chunks::<16>();
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        let (left, _) = left.as_chunks::<4>();
        let (right, _) = right.as_chunks::<4>();
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            // SAFETY: the references are to four floats each.
            let (left, right) = unsafe { (vld1q_f32(left.as_ptr()), vld1q_f32(right.as_ptr())) };
            *sum = step(*sum, left, right);
        }
    }
    vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]))) + last(left_rest, right_rest)
}

#[target_feature(enable = "neon")]
pub(super) fn dot_f32(left: &[f32], right: &[f32]) -> f32 {
    fold(left, right, |sum, left, right| vfmaq_f32(sum, left, right), scalar::dot_f32)
}

#[target_feature(enable = "neon")]
pub(super) fn squared_l2_f32(left: &[f32], right: &[f32]) -> f32 {
    let step = |sum, left, right| {
        let difference = vsubq_f32(left, right);
        vfmaq_f32(sum, difference, difference)
    };
    fold(left, right, step, scalar::squared_l2_f32)
}

#[target_feature(enable = "neon")]
pub(super) fn l1_f32(left: &[f32], right: &[f32]) -> f32 {
    fold(left, right, |sum, left, right| vaddq_f32(sum, vabdq_f32(left, right)), scalar::l1_f32)
}

/// Adds the products of 16 signed bytes to four sums.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(sum: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(left), vget_low_s8(right));
    let high = vmull_s8(vget_high_s8(left), vget_high_s8(right));
    vpadalq_s16(vpadalq_s16(sum, low), high)
}

#[inline]
#[target_feature(enable = "neon")]
fn integers(block: &[u8; 16]) -> int8x16_t {
    // SAFETY: the reference is to 16 bytes.
    let bytes = unsafe { vld1q_u8(block.as_ptr()) };
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(BYTE_OFFSET)))
}

#[target_feature(enable = "neon")]
pub(super) fn dot_byte(left: &[u8], right: &[i8]) -> i32 {
    let (left_blocks, left_rest) = left.as_chunks::<16>();
    let (right_blocks, right_rest) = right.as_chunks::<16>();
    let mut sum = vdupq_n_s32(0);
    let mut total = 0;
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        // SAFETY: the reference is to 16 bytes.
        let right = unsafe { vld1q_s8(right.as_ptr()) };
        sum = add_products(sum, integers(left), right);
        total += i32::from(vaddlvq_s8(right));
    }
    vaddvq_s32(sum) + total * i32::from(BYTE_OFFSET) + scalar::dot_byte(left_rest, right_rest)
}

#[target_feature(enable = "neon")]
pub(super) fn dot_byte_rows(rows: &[u8], integers: &[i8], products: &mut [i32]) {
    for (row, product) in rows.chunks_exact(integers.len()).zip(products) {
        *product = dot_byte(row, integers);
    }
}

#[target_feature(enable = "neon")]
pub(super) fn dot_bytes(left: &[u8], right: &[u8]) -> i32 {
    let (left_blocks, left_rest) = left.as_chunks::<16>();
    let (right_blocks, right_rest) = right.as_chunks::<16>();
    let mut sum = vdupq_n_s32(0);
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        sum = add_products(sum, integers(left), integers(right));
    }
    vaddvq_s32(sum) + scalar::dot_bytes(left_rest, right_rest)
}

#[target_feature(enable = "neon")]
pub(super) fn hamming(left: &[u64], right: &[u64]) -> u32 {
    // The compiler counts bits with NEON by itself.
    scalar::hamming(left, right)
}

#[target_feature(enable = "neon")]
pub(super) fn hamming_rows(rows: &[u64], bits: &[u64], counts: &mut [u32]) {
    scalar::hamming_rows(rows, bits, counts);
}
