//! `lexical-1`: embeddings of how a text is written, not of what it means. It needs no download and knows no synonyms; it brings
//! together texts that share words or parts of words, inflected, compound and misspelt ones too.
//!
//! Words and their groups of three to five characters, with the word's ends marked (as in Bojanowski et al., "Enriching Word Vectors
//! with Subword Information", 2017, section 3.2), are hashed to a place and a sign each (Weinberger et al., "Feature Hashing for Large
//! Scale Multitask Learning", 2009), weighed by the root of how often they occur, and the sum is brought to length one.
//!
//! Invariants:
//! 1. The same text has the same embedding, bit for bit, on every machine: only operations that IEEE 754 rounds exactly are used, in a
//!    fixed order.

use std::collections::BTreeMap;

use super::{EmbedError, Embedder};

/// The model `lexical-1`.
#[derive(Debug, Clone, Copy)]
pub struct Lexical;

/// As many as common small models have, so that a table can change over to one.
const DIMENSIONS: usize = 384;
/// How many characters the parts of a word have.
const GROUPS: [usize; 3] = [3, 4, 5];
/// A whole word counts as much as this many of its parts.
const WORD_WEIGHT: f64 = 4.0;
/// What a word has beyond this is left out.
const WORD_CHARS_MAX: usize = 64;

impl Lexical {
    /// The model's name.
    pub const MODEL: &'static str = "lexical-1";
}

impl Embedder for Lexical {
    fn model(&self) -> &str {
        Self::MODEL
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        Ok(texts.iter().map(|text| Self::of(text)).collect())
    }
}

impl Lexical {
    fn of(text: &str) -> Option<Vec<f32>> {
        let mut features: BTreeMap<u64, (u32, f64)> = BTreeMap::new();
        let mut add = |feature: u64, weight: f64| features.entry(feature).or_insert((0, weight)).0 += 1;
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let folded = word.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX);
            let marked: Vec<char> = std::iter::once('<').chain(folded).chain(std::iter::once('>')).collect();
            add(hash(&marked, 0), WORD_WEIGHT);
            for length in GROUPS {
                for group in marked.windows(length) {
                    add(hash(group, length as u64), 1.0);
                }
            }
        }
        let mut sums = vec![0.0_f64; DIMENSIONS];
        for (feature, (count, weight)) in features {
            let sign = if feature >> 63 == 0 { 1.0 } else { -1.0 };
            sums[(feature % DIMENSIONS as u64) as usize] += sign * weight * f64::from(count).sqrt();
        }
        let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        // Every feature may have met its opposite; as good as none.
        (length > 0.0).then(|| sums.into_iter().map(|sum| (sum / length) as f32).collect())
    }
}

/// FNV-1a over the characters, with the last step of MurmurHash3 so that every bit depends on all of them.
fn hash(text: &[char], kind: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ kind;
    let mut buffer = [0; 4];
    for c in text {
        for byte in c.encode_utf8(&mut buffer).bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed(text: &str) -> Vec<f32> {
        Lexical::of(text).unwrap()
    }

    fn cosine(left: &str, right: &str) -> f32 {
        embed(left).iter().zip(embed(right)).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn alike_writing_is_near_and_unlike_is_far() {
        assert!((cosine("Red wine", "wine, RED!") - 1.0).abs() < 1e-6, "order and case do not count");
        assert!(cosine("gardening", "gardener") > 0.3);
        assert!(cosine("gardening", "gardener") > cosine("gardening", "warden") + 0.1);
        assert!(cosine("databases", "wine").abs() < 0.2);
        assert_eq!(Lexical.embed(&["wine", " \u{2014} !?", ""]).unwrap(), [Some(embed("wine")), None, None]);
    }

    /// Stored embeddings stay comparable only as long as this holds; a change is another model, with another name.
    #[test]
    fn embedding_is_the_same_for_ever() {
        let embedding = embed("A Café, twice: café 42");
        let bits = embedding
            .iter()
            .enumerate()
            .filter(|(_, number)| **number != 0.0)
            .map(|(at, number)| (at, number.to_bits()));
        let bits: Vec<_> = bits.collect();
        assert_eq!(bits.len(), 27);
        // Worked out by another program.
        assert_eq!(
            [bits[0], bits[1], bits[2], bits[3], bits[bits.len() - 1]],
            [(13, 0xbe07a1d2), (28, 0xbdbfd012), (32, 0x3dbfd012), (46, 0x3e07a1d2), (383, 0xbdbfd012)]
        );
    }
}
