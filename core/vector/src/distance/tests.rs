//! Every kernel against the scalar one, for every length and alignment.

use super::half::from_f32;
use super::*;

const LENGTH_MAX: usize = 2_048;
const ALIGNMENTS: usize = 64;

/// A plain generator (Marsaglia's xorshift64), so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn many<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..LENGTH_MAX + ALIGNMENTS).map(|_| make(self)).collect()
    }
}

/// Calls `check` with every table but the scalar one, every length, and two different starts for every alignment in bytes.
fn each(width: usize, mut check: impl FnMut(&Kernels, usize, usize, usize)) {
    let starts = ALIGNMENTS / width;
    for table in supported().into_iter().filter(|table| table.name() != "scalar") {
        for length in 1..=LENGTH_MAX {
            // All alignments for the short ones, where the ends matter, and each alignment again and again for the long ones.
            let step = if length <= 300 { 1 } else { 5 };
            for start in (length % step..starts).step_by(step) {
                check(table, length, start, (start * 7 + length) % starts);
            }
        }
    }
}

/// Bounds what rounding may do to a sum of `length` terms whose magnitudes add up to `magnitudes`, taken in any order.
fn is_near(got: f32, expected: f32, length: usize, magnitudes: f32) -> bool {
    let bound = f32::EPSILON * (4.0 + length as f32 / 8.0) * magnitudes + f32::MIN_POSITIVE;
    (got - expected).abs() <= bound
}

#[test]
fn float_kernels_equal_the_scalar_ones_for_every_length_and_alignment() {
    let mut random = Random(1);
    let (left, right) = (random.many(Random::float), random.many(Random::float));
    each(4, |table, length, left_start, right_start| {
        let (left, right) = (&left[left_start..][..length], &right[right_start..][..length]);
        let ones: f32 = left.iter().chain(right).map(|number| number.abs()).sum();
        let squares: f32 = left.iter().zip(right).map(|(left, right)| (left.abs() + right.abs()).powi(2)).sum();
        for (name, got, expected, magnitudes) in [
            ("dot", table.dot_f32(left, right), scalar::dot_f32(left, right), squares),
            ("squared l2", table.squared_l2_f32(left, right), scalar::squared_l2_f32(left, right), squares),
            ("l1", table.l1_f32(left, right), scalar::l1_f32(left, right), ones),
        ] {
            assert!(
                is_near(got, expected, length, magnitudes),
                "{} {name} of {length} at {left_start}: {got}, not {expected}",
                table.name()
            );
        }
    });
}

#[test]
fn half_float_kernels_equal_the_scalar_ones_for_every_length_and_alignment() {
    let mut random = Random(2);
    let left = random.many(|random| from_f32(random.float()));
    let right = random.many(Random::float);
    let right_halves: Vec<u16> = right.iter().map(|&number| from_f32(number)).collect();
    each(4, |table, length, left_start, right_start| {
        let (left, right) = (&left[left_start..][..length], &right[right_start..][..length]);
        let right_halves = &right_halves[right_start..][..length];
        let bound = 4.0 * length as f32;
        for (name, got, expected) in [
            ("dot", table.dot_half(left, right), scalar::dot_half(left, right)),
            ("dot of halves", table.dot_halves(left, right_halves), scalar::dot_halves(left, right_halves)),
            ("l1", table.l1_half(left, 0.75, right), scalar::l1_half(left, 0.75, right)),
        ] {
            assert!(
                is_near(got, expected, length, bound),
                "{} {name} of {length} at {left_start}: {got}, not {expected}",
                table.name()
            );
        }
    });
}

#[test]
fn byte_kernels_equal_the_scalar_ones_for_every_length_and_alignment() {
    let mut random = Random(3);
    // Extremes are frequent, so that what saturates is seen.
    let left = random.many(|random| [0, 255, random.next() as u8, random.next() as u8][random.next() as usize % 4]);
    let right = random.many(|random| [-128, 127, random.next() as i8, random.next() as i8][random.next() as usize % 4]);
    let right_bytes: Vec<u8> = right.iter().map(|&integer| integer as u8 ^ BYTE_OFFSET).collect();
    let floats = random.many(|random| random.float() * 100.0);
    each(1, |table, length, left_start, right_start| {
        let (left, right) = (&left[left_start..][..length], &right[right_start..][..length]);
        let (right_bytes, floats) = (&right_bytes[right_start..][..length], &floats[right_start..][..length]);
        let place = format!("{} of {length} at {left_start}", table.name());
        assert_eq!(table.dot_byte(left, right), scalar::dot_byte(left, right), "{place}");
        assert_eq!(table.dot_bytes(left, right_bytes), scalar::dot_bytes(left, right_bytes), "{place}");
        let (got, expected) = (table.l1_byte(left, 0.75, floats), scalar::l1_byte(left, 0.75, floats));
        assert!(is_near(got, expected, length, 200.0 * length as f32), "{place}: {got}, not {expected}");
    });
}

#[test]
fn row_kernels_equal_the_single_ones_for_every_length_and_number_of_rows() {
    let mut random = Random(4);
    let bytes: Vec<u8> = (0..LENGTH_MAX * 9 + 1).map(|_| random.next() as u8).collect();
    let integers = random.many(|random| random.next() as i8);
    let words: Vec<u64> = (0..LENGTH_MAX * 9 + 1).map(|_| random.next()).collect();
    for table in supported() {
        for length in 1..=LENGTH_MAX {
            let count = length % 9 + 1;
            let mut products = vec![0; count];
            table.dot_byte_rows(&bytes[1..][..length * count], &integers[..length], &mut products);
            let singly = bytes[1..].chunks(length).map(|row| scalar::dot_byte(row, &integers[..length])).take(count);
            assert!(products.iter().copied().eq(singly), "{} of {length}", table.name());
            let mut counts = vec![0; count];
            table.hamming_rows(&words[1..][..length * count], &words[..length], &mut counts);
            let singly = words[1..].chunks(length).map(|row| scalar::hamming(row, &words[..length])).take(count);
            assert!(counts.iter().copied().eq(singly), "{} bits of {length}", table.name());
        }
    }
}

#[test]
fn bit_kernels_equal_the_scalar_ones_for_every_length_and_alignment() {
    let mut random = Random(5);
    let (left, right) = (random.many(Random::next), random.many(Random::next));
    each(8, |table, length, left_start, right_start| {
        let (left, right) = (&left[left_start..][..length], &right[right_start..][..length]);
        assert_eq!(table.hamming(left, right), scalar::hamming(left, right), "{} of {length}", table.name());
    });
}
