//! The arithmetic that compares embeddings: one table of functions for each kind of processor, chosen once at run time.
//!
//! Invariants:
//! 1. Each function of a table gives what the one of `scalar` gives: the same integer, or a float within the rounding of its sum.
//! 2. A table is handed out only on a processor that has the instructions of its functions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod half;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

type Floats = unsafe fn(&[f32], &[f32]) -> f32;
type HalfFloats = unsafe fn(&[u16], &[f32]) -> f32;

/// Functions that compare embeddings on one kind of processor.
///
/// Bytes are integers with [`BYTE_OFFSET`] added, so that they are unsigned: processors multiply unsigned by signed bytes.
#[derive(Debug)]
pub struct Kernels {
    name: &'static str,
    dot_f32: Floats,
    squared_l2_f32: Floats,
    l1_f32: Floats,
    dot_half: HalfFloats,
    dot_halves: unsafe fn(&[u16], &[u16]) -> f32,
    l1_half: unsafe fn(&[u16], f32, &[f32]) -> f32,
    dot_byte: unsafe fn(&[u8], &[i8]) -> i32,
    dot_byte_rows: unsafe fn(&[u8], &[i8], &mut [i32]),
    dot_bytes: unsafe fn(&[u8], &[u8]) -> i32,
    l1_byte: unsafe fn(&[u8], f32, &[f32]) -> f32,
    hamming: unsafe fn(&[u64], &[u64]) -> u32,
    hamming_rows: unsafe fn(&[u64], &[u64], &mut [u32]),
}

/// What is added to a signed 8-bit integer to keep it as an unsigned byte.
pub const BYTE_OFFSET: u8 = 128;

static SCALAR: Kernels = Kernels {
    name: "scalar",
    dot_f32: scalar::dot_f32,
    squared_l2_f32: scalar::squared_l2_f32,
    l1_f32: scalar::l1_f32,
    dot_half: scalar::dot_half,
    dot_halves: scalar::dot_halves,
    l1_half: scalar::l1_half,
    dot_byte: scalar::dot_byte,
    dot_byte_rows: scalar::dot_byte_rows,
    dot_bytes: scalar::dot_bytes,
    l1_byte: scalar::l1_byte,
    hamming: scalar::hamming,
    hamming_rows: scalar::hamming_rows,
};

#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = Kernels {
    name: "avx2",
    dot_f32: avx2::dot_f32,
    squared_l2_f32: avx2::squared_l2_f32,
    l1_f32: avx2::l1_f32,
    dot_half: avx2::dot_half,
    dot_halves: avx2::dot_halves,
    l1_half: avx2::l1_half,
    dot_byte: avx2::dot_byte,
    dot_byte_rows: avx2::dot_byte_rows,
    dot_bytes: avx2::dot_bytes,
    l1_byte: avx2::l1_byte,
    hamming: avx2::hamming,
    hamming_rows: avx2::hamming_rows,
};

#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = Kernels {
    name: "avx512",
    dot_f32: avx512::dot_f32,
    squared_l2_f32: avx512::squared_l2_f32,
    l1_f32: avx512::l1_f32,
    dot_half: avx512::dot_half,
    dot_halves: avx512::dot_halves,
    l1_half: avx512::l1_half,
    dot_byte: avx512::dot_byte,
    dot_byte_rows: avx512::dot_byte_rows,
    dot_bytes: avx512::dot_bytes,
    l1_byte: avx512::l1_byte,
    hamming: avx512::hamming,
    hamming_rows: avx512::hamming_rows,
};

// Half floats and bits stay scalar: their instructions are not in every 64-bit ARM processor.
#[cfg(target_arch = "aarch64")]
static NEON: Kernels = Kernels {
    name: "neon",
    dot_f32: neon::dot_f32,
    squared_l2_f32: neon::squared_l2_f32,
    l1_f32: neon::l1_f32,
    dot_half: scalar::dot_half,
    dot_halves: scalar::dot_halves,
    l1_half: scalar::l1_half,
    dot_byte: neon::dot_byte,
    dot_byte_rows: neon::dot_byte_rows,
    dot_bytes: neon::dot_bytes,
    l1_byte: scalar::l1_byte,
    hamming: neon::hamming,
    hamming_rows: neon::hamming_rows,
};

/// Returns the tables that this processor can run, the fastest last.
pub fn supported() -> Vec<&'static Kernels> {
    let mut tables = vec![&SCALAR];
    #[cfg(target_arch = "x86_64")]
    {
        if avx2::is_supported() {
            tables.push(&AVX2);
        }
        if avx512::is_supported() {
            tables.push(&AVX512);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        tables.push(&NEON);
    }
    tables
}

/// Returns the fastest table that this processor can run; it looks once.
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| supported().last().copied().unwrap_or(&SCALAR))
}

/// Asks the processor to fetch the cache lines of a row that is read soon.
#[inline]
pub fn prefetch<T>(row: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of_val(row)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = row.as_ptr().cast::<i8>().wrapping_add(offset);
        // SAFETY: SSE is part of every x86-64 processor, and a prefetch has no effect that a program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

impl Kernels {
    /// Returns the name of the instructions: `scalar`, `avx2`, `avx512` or `neon`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the inner product.
    ///
    /// # Panics
    /// Here and below: where the lengths differ.
    #[inline]
    pub fn dot_f32(&self, left: &[f32], right: &[f32]) -> f32 {
        assert_eq!(left.len(), right.len());
        // SAFETY: here and below by invariant 2, the only condition of these functions; they check their slices themselves.
        unsafe { (self.dot_f32)(left, right) }
    }

    /// Returns the sum of squared differences.
    #[inline]
    pub fn squared_l2_f32(&self, left: &[f32], right: &[f32]) -> f32 {
        assert_eq!(left.len(), right.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.squared_l2_f32)(left, right) }
    }

    /// Returns the sum of absolute differences.
    #[inline]
    pub fn l1_f32(&self, left: &[f32], right: &[f32]) -> f32 {
        assert_eq!(left.len(), right.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.l1_f32)(left, right) }
    }

    /// Returns the inner product of 16-bit floats with floats.
    #[inline]
    pub fn dot_half(&self, halves: &[u16], floats: &[f32]) -> f32 {
        assert_eq!(halves.len(), floats.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_half)(halves, floats) }
    }

    /// Returns the inner product of 16-bit floats with each other.
    #[inline]
    pub fn dot_halves(&self, left: &[u16], right: &[u16]) -> f32 {
        assert_eq!(left.len(), right.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_halves)(left, right) }
    }

    /// Returns the sum of the absolute differences between 16-bit floats times `scale` and floats.
    #[inline]
    pub fn l1_half(&self, halves: &[u16], scale: f32, floats: &[f32]) -> f32 {
        assert_eq!(halves.len(), floats.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.l1_half)(halves, scale, floats) }
    }

    /// Returns the inner product of the bytes, their offset left in, with signed integers.
    #[inline]
    pub fn dot_byte(&self, bytes: &[u8], integers: &[i8]) -> i32 {
        assert_eq!(bytes.len(), integers.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_byte)(bytes, integers) }
    }

    /// Does [`dot_byte`](Self::dot_byte) for each of the rows that lie one after another in `rows`.
    #[inline]
    pub fn dot_byte_rows(&self, rows: &[u8], integers: &[i8], products: &mut [i32]) {
        assert_eq!(rows.len(), integers.len() * products.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_byte_rows)(rows, integers, products) }
    }

    /// Returns the inner product of the integers that two rows of bytes stand for, their offsets taken off.
    #[inline]
    pub fn dot_bytes(&self, left: &[u8], right: &[u8]) -> i32 {
        assert_eq!(left.len(), right.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_bytes)(left, right) }
    }

    /// Returns the sum of the absolute differences between the integers that the bytes stand for, times `scale`, and floats.
    #[inline]
    pub fn l1_byte(&self, bytes: &[u8], scale: f32, floats: &[f32]) -> f32 {
        assert_eq!(bytes.len(), floats.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.l1_byte)(bytes, scale, floats) }
    }

    /// Returns the number of differing bits.
    #[inline]
    pub fn hamming(&self, left: &[u64], right: &[u64]) -> u32 {
        assert_eq!(left.len(), right.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.hamming)(left, right) }
    }

    /// Does [`hamming`](Self::hamming) for each of the rows that lie one after another in `rows`.
    #[inline]
    pub fn hamming_rows(&self, rows: &[u64], bits: &[u64], counts: &mut [u32]) {
        assert_eq!(rows.len(), bits.len() * counts.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.hamming_rows)(rows, bits, counts) }
    }
}
