//! The kernels for x86-64 processors with AVX2, FMA and F16C (since 2013).

use std::arch::x86_64::*;

use super::BYTE_OFFSET;

/// Says whether this processor has what the functions below need.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("popcnt")
}

/// Adds what `step` says of each eight pairs in four separate sums, to hide the latency of the addition. The ends of the slices are
/// filled up with the pads, of which `step` must make nothing.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold<L: Copy, R: Copy>(
    (left, left_pad, widen_left): (&[L], L, impl Fn(&[L; 8]) -> __m256),
    (right, right_pad, widen_right): (&[R], R, impl Fn(&[R; 8]) -> __m256),
    step: impl Fn(__m256, __m256, __m256) -> __m256,
) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<8>();
    let (right_blocks, right_rest) = right.as_chunks::<8>();
    let (left_fours, left_blocks) = left_blocks.as_chunks::<4>();
    let (right_fours, right_blocks) = right_blocks.as_chunks::<4>();
    let mut sums = [_mm256_setzero_ps(); 4];
    for (left, right) in left_fours.iter().zip(right_fours) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum = step(*sum, widen_left(left), widen_right(right));
        }
    }
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        sums[0] = step(sums[0], widen_left(left), widen_right(right));
    }
    if !left_rest.is_empty() {
        let (mut left, mut right) = ([left_pad; 8], [right_pad; 8]);
        left[..left_rest.len()].copy_from_slice(left_rest);
        right[..right_rest.len()].copy_from_slice(right_rest);
        sums[1] = step(sums[1], widen_left(&left), widen_right(&right));
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps::<1>(sum, sum)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn floats(block: &[f32; 8]) -> __m256 {
    // SAFETY: the reference is to eight floats.
    unsafe { _mm256_loadu_ps(block.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves(block: &[u16; 8]) -> __m256 {
    // SAFETY: the reference is to eight 16-bit floats.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes(block: &[u8; 8]) -> __m256 {
    // SAFETY: the reference is to eight bytes.
    let wide = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(block.as_ptr().cast()) });
    _mm256_cvtepi32_ps(_mm256_sub_epi32(wide, _mm256_set1_epi32(i32::from(BYTE_OFFSET))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn absolute(number: __m256) -> __m256 {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), number)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_f32(left: &[f32], right: &[f32]) -> f32 {
    fold((left, 0.0, |block| floats(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm256_fmadd_ps(left, right, sum)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn squared_l2_f32(left: &[f32], right: &[f32]) -> f32 {
    fold((left, 0.0, |block| floats(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        let difference = _mm256_sub_ps(left, right);
        _mm256_fmadd_ps(difference, difference, sum)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l1_f32(left: &[f32], right: &[f32]) -> f32 {
    fold((left, 0.0, |block| floats(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm256_add_ps(sum, absolute(_mm256_sub_ps(left, right)))
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_half(left: &[u16], right: &[f32]) -> f32 {
    fold((left, 0, |block| halves(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm256_fmadd_ps(left, right, sum)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_halves(left: &[u16], right: &[u16]) -> f32 {
    fold((left, 0, |block| halves(block)), (right, 0, |block| halves(block)), |sum, left, right| {
        _mm256_fmadd_ps(left, right, sum)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l1_half(left: &[u16], scale: f32, right: &[f32]) -> f32 {
    let scale = _mm256_set1_ps(scale);
    fold((left, 0, |block| halves(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm256_add_ps(sum, absolute(_mm256_fmsub_ps(left, scale, right)))
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l1_byte(left: &[u8], scale: f32, right: &[f32]) -> f32 {
    let scale = _mm256_set1_ps(scale);
    fold((left, BYTE_OFFSET, |block| bytes(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm256_add_ps(sum, absolute(_mm256_fmsub_ps(left, scale, right)))
    })
}

/// Multiplies bytes, less an offset, with integers in 16 bits, where no product of the two overflows, and adds neighbours in 32.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply(bytes: &[u8; 16], offset: __m256i, integers: __m256i) -> __m256i {
    // SAFETY: the reference is to 16 bytes.
    let wide = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
    _mm256_madd_epi16(_mm256_sub_epi16(wide, offset), integers)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_up(sum: __m256i) -> i32 {
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)))
}

#[target_feature(enable = "avx2")]
pub(super) fn dot_byte(left: &[u8], right: &[i8]) -> i32 {
    let (left_blocks, left_rest) = left.as_chunks::<16>();
    let (right_blocks, right_rest) = right.as_chunks::<16>();
    let none = _mm256_setzero_si256();
    let mut sum = none;
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        // SAFETY: the reference is to 16 integers.
        let right = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(right.as_ptr().cast()) });
        sum = _mm256_add_epi32(sum, multiply(left, none, right));
    }
    add_up(sum) + super::scalar::dot_byte(left_rest, right_rest)
}

#[target_feature(enable = "avx2")]
pub(super) fn dot_byte_rows(rows: &[u8], integers: &[i8], products: &mut [i32]) {
    for (row, product) in rows.chunks_exact(integers.len()).zip(products) {
        *product = dot_byte(row, integers);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn dot_bytes(left: &[u8], right: &[u8]) -> i32 {
    let (left_blocks, left_rest) = left.as_chunks::<16>();
    let (right_blocks, right_rest) = right.as_chunks::<16>();
    let offset = _mm256_set1_epi16(i16::from(BYTE_OFFSET));
    let mut sum = _mm256_setzero_si256();
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        // SAFETY: the reference is to 16 bytes.
        let right = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(right.as_ptr().cast()) });
        sum = _mm256_add_epi32(sum, multiply(left, offset, _mm256_sub_epi16(right, offset)));
    }
    add_up(sum) + super::scalar::dot_bytes(left_rest, right_rest)
}

#[target_feature(enable = "popcnt")]
pub(super) fn hamming(left: &[u64], right: &[u64]) -> u32 {
    left.iter().zip(right).map(|(left, right)| (left ^ right).count_ones()).sum()
}

#[target_feature(enable = "popcnt")]
pub(super) fn hamming_rows(rows: &[u64], bits: &[u64], counts: &mut [u32]) {
    for (row, count) in rows.chunks_exact(bits.len()).zip(counts) {
        *count = hamming(row, bits);
    }
}
