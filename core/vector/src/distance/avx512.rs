//! The kernels for x86-64 processors with AVX-512 and its byte products and bit counts (VNNI, VPOPCNTDQ: Intel since 2019, AMD since
//! 2022).

use std::arch::x86_64::*;

use super::BYTE_OFFSET;

/// Says whether this processor has what the functions below need.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

/// Adds what `step` says of each 16 pairs in four separate sums, to hide the latency of the addition. The ends of the slices are
/// filled up with the pads, of which `step` must make nothing.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold<L: Copy, R: Copy>(
    (left, left_pad, widen_left): (&[L], L, impl Fn(&[L; 16]) -> __m512),
    (right, right_pad, widen_right): (&[R], R, impl Fn(&[R; 16]) -> __m512),
    step: impl Fn(__m512, __m512, __m512) -> __m512,
) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<16>();
    let (right_blocks, right_rest) = right.as_chunks::<16>();
    let (left_fours, left_blocks) = left_blocks.as_chunks::<4>();
    let (right_fours, right_blocks) = right_blocks.as_chunks::<4>();
    let mut sums = [_mm512_setzero_ps(); 4];
    for (left, right) in left_fours.iter().zip(right_fours) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum = step(*sum, widen_left(left), widen_right(right));
        }
    }
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        sums[0] = step(sums[0], widen_left(left), widen_right(right));
    }
    if !left_rest.is_empty() {
        let (mut left, mut right) = ([left_pad; 16], [right_pad; 16]);
        left[..left_rest.len()].copy_from_slice(left_rest);
        right[..right_rest.len()].copy_from_slice(right_rest);
        sums[1] = step(sums[1], widen_left(&left), widen_right(&right));
    }
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn floats(block: &[f32; 16]) -> __m512 {
    // SAFETY: the reference is to 16 floats.
    unsafe { _mm512_loadu_ps(block.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn halves(block: &[u16; 16]) -> __m512 {
    // SAFETY: the reference is to 16 16-bit floats.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(block.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bytes(block: &[u8; 16]) -> __m512 {
    // SAFETY: the reference is to 16 bytes.
    let wide = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(block.as_ptr().cast()) });
    _mm512_cvtepi32_ps(_mm512_sub_epi32(wide, _mm512_set1_epi32(i32::from(BYTE_OFFSET))))
}

#[target_feature(enable = "avx512f")]
pub(super) fn dot_f32(left: &[f32], right: &[f32]) -> f32 {
    fold((left, 0.0, |block| floats(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm512_fmadd_ps(left, right, sum)
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn squared_l2_f32(left: &[f32], right: &[f32]) -> f32 {
    fold((left, 0.0, |block| floats(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        let difference = _mm512_sub_ps(left, right);
        _mm512_fmadd_ps(difference, difference, sum)
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn l1_f32(left: &[f32], right: &[f32]) -> f32 {
    fold((left, 0.0, |block| floats(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(left, right)))
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn dot_half(left: &[u16], right: &[f32]) -> f32 {
    fold((left, 0, |block| halves(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm512_fmadd_ps(left, right, sum)
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn dot_halves(left: &[u16], right: &[u16]) -> f32 {
    fold((left, 0, |block| halves(block)), (right, 0, |block| halves(block)), |sum, left, right| {
        _mm512_fmadd_ps(left, right, sum)
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn l1_half(left: &[u16], scale: f32, right: &[f32]) -> f32 {
    let scale = _mm512_set1_ps(scale);
    fold((left, 0, |block| halves(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm512_add_ps(sum, _mm512_abs_ps(_mm512_fmsub_ps(left, scale, right)))
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn l1_byte(left: &[u8], scale: f32, right: &[f32]) -> f32 {
    let scale = _mm512_set1_ps(scale);
    fold((left, BYTE_OFFSET, |block| bytes(block)), (right, 0.0, |block| floats(block)), |sum, left, right| {
        _mm512_add_ps(sum, _mm512_abs_ps(_mm512_fmsub_ps(left, scale, right)))
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn integers(block: &[i8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 bytes.
    unsafe { _mm512_loadu_epi8(block.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unsigned(block: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 bytes.
    unsafe { _mm512_loadu_epi8(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn last_integers(rest: &[i8]) -> __m512i {
    // SAFETY: the mask reads only the bytes of the slice.
    unsafe { _mm512_maskz_loadu_epi8(mask(rest.len()), rest.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn last_unsigned(rest: &[u8]) -> __m512i {
    // SAFETY: the mask reads only the bytes of the slice.
    unsafe { _mm512_maskz_loadu_epi8(mask(rest.len()), rest.as_ptr().cast()) }
}

/// Returns a mask of fewer than 64 lanes.
#[inline]
fn mask(lanes: usize) -> u64 {
    (1 << lanes) - 1
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_byte(left: &[u8], right: &[i8]) -> i32 {
    let (left_blocks, left_rest) = left.as_chunks::<64>();
    let (right_blocks, right_rest) = right.as_chunks::<64>();
    let (left_pairs, left_blocks) = left_blocks.as_chunks::<2>();
    let (right_pairs, right_blocks) = right_blocks.as_chunks::<2>();
    let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (left, right) in left_pairs.iter().zip(right_pairs) {
        even = _mm512_dpbusd_epi32(even, unsigned(&left[0]), integers(&right[0]));
        odd = _mm512_dpbusd_epi32(odd, unsigned(&left[1]), integers(&right[1]));
    }
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        even = _mm512_dpbusd_epi32(even, unsigned(left), integers(right));
    }
    if !left_rest.is_empty() {
        odd = _mm512_dpbusd_epi32(odd, last_unsigned(left_rest), last_integers(right_rest));
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_byte_rows(rows: &[u8], integers: &[i8], products: &mut [i32]) {
    let stride = integers.len();
    let (fours, last) = products.as_chunks_mut::<4>();
    let (four_rows, last_rows) = rows.split_at(fours.len() * 4 * stride);
    for (rows, products) in four_rows.chunks_exact(4 * stride).zip(fours) {
        let (low, high) = rows.split_at(2 * stride);
        let (first, second) = low.split_at(stride);
        let (third, fourth) = high.split_at(stride);
        // SAFETY: the reference is to four integers.
        unsafe { _mm_storeu_si128(products.as_mut_ptr().cast(), dot_four([first, second, third, fourth], integers)) }
    }
    for (row, product) in last_rows.chunks_exact(stride).zip(last) {
        *product = dot_byte(row, integers);
    }
}

/// Returns the four products of four rows, which lets each part of the question be loaded once.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_four(rows: [&[u8]; 4], question: &[i8]) -> __m128i {
    let (blocks, rest) = question.as_chunks::<64>();
    let row_blocks = rows.map(|row| row.as_chunks::<64>().0);
    let mut sums = [_mm512_setzero_si512(); 4];
    let [first, second, third, fourth] = row_blocks;
    for ((((block, first), second), third), fourth) in blocks.iter().zip(first).zip(second).zip(third).zip(fourth) {
        let block = integers(block);
        sums[0] = _mm512_dpbusd_epi32(sums[0], unsigned(first), block);
        sums[1] = _mm512_dpbusd_epi32(sums[1], unsigned(second), block);
        sums[2] = _mm512_dpbusd_epi32(sums[2], unsigned(third), block);
        sums[3] = _mm512_dpbusd_epi32(sums[3], unsigned(fourth), block);
    }
    if !rest.is_empty() {
        let block = last_integers(rest);
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = _mm512_dpbusd_epi32(*sum, last_unsigned(&row[row.len() - rest.len()..]), block);
        }
    }
    let low = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[0], sums[1]), _mm512_unpackhi_epi32(sums[0], sums[1]));
    let high = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[2], sums[3]), _mm512_unpackhi_epi32(sums[2], sums[3]));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// The instruction wants one side signed, so the offset is taken off there, and what it adds on the other side is counted apart.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_bytes(left: &[u8], right: &[u8]) -> i32 {
    let (left_blocks, left_rest) = left.as_chunks::<64>();
    let (right_blocks, right_rest) = right.as_chunks::<64>();
    let offset = _mm512_set1_epi8(BYTE_OFFSET as i8);
    let (mut sum, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        let right = _mm512_xor_si512(unsigned(right), offset);
        sum = _mm512_dpbusd_epi32(sum, unsigned(left), right);
        excess = _mm512_dpbusd_epi32(excess, offset, right);
    }
    if !left_rest.is_empty() {
        let lanes = mask(left_rest.len());
        let right = _mm512_maskz_mov_epi8(lanes, _mm512_xor_si512(last_unsigned(right_rest), offset));
        sum = _mm512_dpbusd_epi32(sum, last_unsigned(left_rest), right);
        excess = _mm512_dpbusd_epi32(excess, offset, right);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess))
}

#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn differing(left: &[u64], right: &[u64]) -> __m512i {
    let (left_blocks, left_rest) = left.as_chunks::<8>();
    let (right_blocks, right_rest) = right.as_chunks::<8>();
    let mut sum = _mm512_setzero_si512();
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        // SAFETY: the references are to eight words each.
        let (left, right) =
            unsafe { (_mm512_loadu_epi64(left.as_ptr().cast()), _mm512_loadu_epi64(right.as_ptr().cast())) };
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(left, right)));
    }
    if !left_rest.is_empty() {
        let lanes = mask(left_rest.len()) as u8;
        // SAFETY: the mask reads only the words of the slices.
        let (left, right) = unsafe {
            (
                _mm512_maskz_loadu_epi64(lanes, left_rest.as_ptr().cast()),
                _mm512_maskz_loadu_epi64(lanes, right_rest.as_ptr().cast()),
            )
        };
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(left, right)));
    }
    sum
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub(super) fn hamming(left: &[u64], right: &[u64]) -> u32 {
    _mm512_reduce_add_epi64(differing(left, right)) as u32
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub(super) fn hamming_rows(rows: &[u64], bits: &[u64], counts: &mut [u32]) {
    for (row, count) in rows.chunks_exact(bits.len()).zip(counts) {
        *count = hamming(row, bits);
    }
}
