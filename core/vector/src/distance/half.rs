//! IEEE 754 binary16 numbers as their 16 bits; Rust's own `f16` is not stable yet.

/// Returns the nearest 16-bit float, the even one of two; what is too large becomes infinite.
pub fn from_f32(number: f32) -> u16 {
    let bits = number.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // 65,520, halfway between the largest 16-bit float and what would be the next.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    // 2^-14, below which the spacing is constant: adding 0.5 shifts and rounds the bits into place.
    if magnitude < 0x3880_0000 {
        let shifted = f32::from_bits(magnitude) + 0.5;
        return sign | (shifted.to_bits() - 0.5f32.to_bits()) as u16;
    }
    let rounding = 0x0fff + ((magnitude >> 13) & 1);
    sign | ((magnitude + rounding - 0x3800_0000) >> 13) as u16
}

/// Returns the number that the bits stand for.
#[inline]
pub fn to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    if magnitude >= 0x7c00 {
        return f32::from_bits(sign | 0x7f80_0000 | ((magnitude & 0x03ff) << 13));
    }
    // A 32-bit float with the same digits has an exponent that is 112 too small; 2^112 sets it right, small numbers included.
    f32::from_bits(f32::from_bits(magnitude << 13).to_bits() | sign) * f32::from_bits((127 + 112) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_float_comes_back() {
        for half in 0..=u16::MAX {
            let number = to_f32(half);
            if !number.is_nan() {
                assert_eq!(from_f32(number), half, "{half:#06x}");
            }
        }
    }

    #[test]
    fn numbers_between_two_half_floats_go_to_the_nearer_and_the_middle_to_the_even_one() {
        for half in 0..0x7bffu16 {
            let (low, high) = (to_f32(half), to_f32(half + 1));
            let middle = (low + high) / 2.0;
            let even = half + (half & 1);
            assert_eq!(from_f32(middle), even, "the middle after {half:#06x}");
            assert_eq!(from_f32(middle.next_down()), half, "below the middle after {half:#06x}");
            assert_eq!(from_f32(middle.next_up()), half + 1, "above the middle after {half:#06x}");
        }
    }

    #[test]
    fn known_numbers_have_their_known_bits() {
        for (number, half) in [
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65_504.0, 0x7bff),
            (65_519.99, 0x7bff),
            (65_520.0, 0x7c00),
            (2f32.powi(-24), 0x0001),
            (2f32.powi(-14), 0x0400),
            (f32::NEG_INFINITY, 0xfc00),
            (0.333_333_34, 0x3555),
        ] {
            assert_eq!(from_f32(number), half, "{number}");
        }
        assert!(to_f32(from_f32(f32::NAN)).is_nan());
    }
}
