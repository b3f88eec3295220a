//! The label of an embedding: which model made it, and of which text.
//!
//! One bit stands in each of the first 64 numbers: the last bit of its significand or, where the number is zero, its sign. So no number
//! changes by more than one part in eight million, distances by less than what rounding makes of them, and the label is kept by
//! whatever keeps the numbers.

/// How many numbers bear a bit each.
pub(in super::super) const LABEL_NUMBERS: usize = 64;
/// Bits of a label that tell the text; the others, above them, tell the model.
const TEXT_BITS: u32 = 40;
/// The bits of a float without its sign.
const MAGNITUDE: u32 = 0x7fff_ffff;
/// The bits of a float's exponent.
const EXPONENT: u32 = 0x7f80_0000;
const SIGN: u32 = 0x8000_0000;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(u64);

impl Label {
    /// Makes the label of embeddings of a text by a model.
    pub(crate) fn of(model: &str, text: &[u8]) -> Self {
        let bits = |bytes: &[u8], count| first(blake3::hash(bytes).as_bytes()) >> (64 - count);
        Self(bits(model.as_bytes(), 64 - TEXT_BITS) << TEXT_BITS | bits(text, TEXT_BITS))
    }

    /// Reads what the numbers of an embedding bear; `None` if there are too few. Any embedding bears something.
    pub(in super::super) fn read(numbers: impl Iterator<Item = f32>) -> Option<Self> {
        let (mut label, mut count) = (0, 0);
        for number in numbers.take(LABEL_NUMBERS) {
            let bits = number.to_bits();
            let bit = if bits & EXPONENT == 0 { bits >> 31 } else { bits & 1 };
            label = label << 1 | u64::from(bit);
            count += 1;
        }
        (count == LABEL_NUMBERS).then_some(Self(label))
    }

    /// Has the numbers of an embedding bear the label; where there are too few they are left as they are.
    pub(crate) fn write(self, numbers: &mut [f32]) {
        let Some(bearers) = numbers.first_chunk_mut::<LABEL_NUMBERS>() else { return };
        for (number, place) in bearers.iter_mut().zip((0..64).rev()) {
            let (bits, bit) = (number.to_bits(), (self.0 >> place) as u32 & 1);
            // Smaller than any number that has a significand of its own is as good as zero.
            let is_zero = bits & MAGNITUDE & EXPONENT == 0;
            *number = f32::from_bits(if is_zero { bit * SIGN } else { bits & !1 | bit });
        }
    }

    /// Says whether both are of one model.
    pub(in super::super) const fn is_of_same_model(self, other: Self) -> bool {
        self.0 >> TEXT_BITS == other.0 >> TEXT_BITS
    }

    /// Says whether both are of one text.
    pub(super) const fn is_of_same_text(self, other: Self) -> bool {
        self.0 << (64 - TEXT_BITS) == other.0 << (64 - TEXT_BITS)
    }
}

fn first(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_what_they_were_written_to() {
        let label = Label::of("lexical-1", b"red wine");
        for seed in 0..200_u32 {
            let mut numbers: Vec<f32> = (0..64_u32)
                .map(|place| match (place ^ seed) % 7 {
                    0 => 0.0,
                    1 => -0.0,
                    2 => f32::from_bits(1 + seed),
                    3 => f32::MAX,
                    4 => -f32::MIN_POSITIVE,
                    _ => (place as f32 - 31.5) * 0.013 * (seed as f32 + 1.0),
                })
                .chain([0.25; 3])
                .collect();
            let before = numbers.clone();
            label.write(&mut numbers);
            assert_eq!(Label::read(numbers.iter().copied()), Some(label));
            assert!(numbers.iter().all(|number| number.is_finite() && (*number == 0.0 || number.is_normal())));
            for (before, after) in before.iter().zip(&numbers) {
                assert!((before - after).abs() <= before.abs() / 8_000_000.0 + f32::MIN_POSITIVE, "{before} {after}");
            }
            assert_eq!(before[64..], numbers[64..]);
            let again = numbers.clone();
            label.write(&mut numbers);
            assert_eq!(again.map_bits(), numbers.map_bits());
        }
        assert_eq!(Label::read([0.5; 63].into_iter()), None);
    }

    trait MapBits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl MapBits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|number| number.to_bits()).collect()
        }
    }

    #[test]
    fn labels_tell_models_and_texts_apart() {
        let label = Label::of("a", b"x");
        assert!(label.is_of_same_model(Label::of("a", b"y")) && label.is_of_same_text(Label::of("b", b"x")));
        assert!(!label.is_of_same_model(Label::of("b", b"x")) && !label.is_of_same_text(Label::of("a", b"y")));
        // Files hold it, so it stays: the first bytes of BLAKE3 of "lexical-1" and of "red wine", by another program.
        assert_eq!(format!("{:016x}", Label::of("lexical-1", b"red wine").0), EXPECTED);
    }

    const EXPECTED: &str = "1e8ff1362f029c0b";
}
