//! Embeddings as SQL values: BLOBs of little-endian numbers, or JSON arrays as text, told apart by sqlite-vec's subtypes.

use kithdb_vector::limits::DIMENSIONS_MAX;
use rusqlite::types::ValueRef;

/// What the numbers of an embedding are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// 32-bit floats.
    Float32,
    /// Signed bytes.
    Int8,
    /// Single bits, the lowest of a byte first.
    Bit,
}

impl Element {
    /// The subtype by which SQL functions tell each other, as in sqlite-vec.
    pub(crate) const fn subtype(self) -> u32 {
        match self {
            Self::Float32 => 223,
            Self::Bit => 224,
            Self::Int8 => 225,
        }
    }

    /// Returns what a BLOB of that subtype holds; floats if none is given.
    pub(crate) const fn of_subtype(subtype: u32) -> Self {
        match subtype {
            224 => Self::Bit,
            225 => Self::Int8,
            _ => Self::Float32,
        }
    }

    /// Returns the name that `vec_type` gives.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Int8 => "int8",
            Self::Bit => "bit",
        }
    }
}

/// Why a value is no embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("an embedding is a BLOB of numbers or a JSON array as text, not {found}")]
    Type { found: &'static str },
    #[error("an embedding has at least one number; this one has none")]
    Empty,
    #[error("a BLOB of {bytes} bytes is no embedding of 32-bit floats: each takes 4 bytes")]
    BlobLength { bytes: usize },
    #[error("the text is no JSON array of numbers: {detail}")]
    Json { detail: String },
    #[error("an embedding of bits is a BLOB; make one with vec_bit() or vec_quantize_binary()")]
    BitText,
    #[error("an embedding has at most {DIMENSIONS_MAX} numbers; this one has {got}")]
    TooLong { got: usize },
}

/// An embedding taken from an SQL value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Embedding {
    Float32(Vec<f32>),
    Int8(Vec<i8>),
    Bit(Vec<u8>),
}

impl Embedding {
    /// Reads a value; text and BLOBs are taken for what `element` says.
    pub(crate) fn read(value: ValueRef<'_>, element: Element) -> Result<Self, ValueError> {
        let embedding = match (value, element) {
            (ValueRef::Blob(bytes), Element::Float32) => Self::Float32(floats(bytes)?),
            (ValueRef::Blob(bytes), Element::Int8) => {
                Self::Int8(bytes.iter().map(|&byte| byte.cast_signed()).collect())
            }
            (ValueRef::Blob(bytes), Element::Bit) => Self::Bit(bytes.to_vec()),
            (ValueRef::Text(text), Element::Float32) => Self::Float32(json(text)?),
            (ValueRef::Text(text), Element::Int8) => Self::Int8(json(text)?),
            (ValueRef::Text(_), Element::Bit) => return Err(ValueError::BitText),
            (other, _) => return Err(ValueError::Type { found: type_name(other) }),
        };
        match embedding.len() {
            0 => Err(ValueError::Empty),
            got if got > DIMENSIONS_MAX => Err(ValueError::TooLong { got }),
            _ => Ok(embedding),
        }
    }

    /// Returns what the numbers are.
    pub(crate) const fn element(&self) -> Element {
        match self {
            Self::Float32(_) => Element::Float32,
            Self::Int8(_) => Element::Int8,
            Self::Bit(_) => Element::Bit,
        }
    }

    /// Returns the number of dimensions.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Float32(numbers) => numbers.len(),
            Self::Int8(numbers) => numbers.len(),
            Self::Bit(bytes) => bytes.len() * 8,
        }
    }

    /// Returns the numbers as floats: bits as 1 and -1, which every index tells apart by their sign.
    pub(crate) fn into_floats(self) -> Vec<f32> {
        match self {
            Self::Float32(numbers) => numbers,
            Self::Int8(numbers) => numbers.into_iter().map(f32::from).collect(),
            Self::Bit(bytes) => bytes
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| if byte >> bit & 1 == 1 { 1.0 } else { -1.0 }))
                .collect(),
        }
    }

    /// Returns the BLOB of the embedding.
    pub(crate) fn to_blob(&self) -> Vec<u8> {
        match self {
            Self::Float32(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::Int8(numbers) => numbers.iter().map(|number| number.cast_unsigned()).collect(),
            Self::Bit(bytes) => bytes.clone(),
        }
    }

    /// Returns the embedding as a JSON array; what JSON has no number for is `null`.
    pub(crate) fn to_json(&self) -> String {
        fn list<T: std::fmt::Display>(numbers: impl Iterator<Item = T>) -> String {
            let mut text = String::from("[");
            for number in numbers {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(&number.to_string());
            }
            text.push(']');
            text
        }
        match self {
            Self::Float32(numbers) => list(
                numbers.iter().map(|number| if number.is_finite() { format!("{number:?}") } else { "null".to_owned() }),
            ),
            Self::Int8(numbers) => list(numbers.iter()),
            Self::Bit(bytes) => list(bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1))),
        }
    }
}

/// Names the type of a value as an error does.
pub(crate) const fn type_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a real number",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "a BLOB",
    }
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, ValueError> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(ValueError::BlobLength { bytes: bytes.len() });
    }
    Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
}

fn json<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<Vec<T>, ValueError> {
    serde_json::from_slice(text).map_err(|error| ValueError::Json { detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_and_json_read_as_the_same_embedding() {
        let blob = Embedding::read(ValueRef::Blob(&[0, 0, 128, 63, 0, 0, 0, 192]), Element::Float32).unwrap();
        let text = Embedding::read(ValueRef::Text(b" [1, -2.0]"), Element::Float32).unwrap();
        assert_eq!(blob, text);
        assert_eq!(text.to_blob(), [0, 0, 128, 63, 0, 0, 0, 192]);
        assert_eq!(text.to_json(), "[1.0,-2.0]");
    }

    #[test]
    fn what_is_no_embedding_is_refused_with_what_it_is() {
        let read = |value, element| Embedding::read(value, element).unwrap_err().to_string();
        assert!(read(ValueRef::Null, Element::Float32).ends_with("not NULL"));
        assert!(read(ValueRef::Integer(3), Element::Float32).ends_with("not an integer"));
        assert!(read(ValueRef::Blob(&[1, 2, 3]), Element::Float32).contains("3 bytes"));
        assert!(read(ValueRef::Text(b"[1, null]"), Element::Float32).contains("JSON"));
        assert!(read(ValueRef::Text(b"[200]"), Element::Int8).contains("JSON"));
        assert!(read(ValueRef::Text(b"[]"), Element::Float32).contains("none"));
        assert!(read(ValueRef::Blob(&[]), Element::Bit).contains("none"));
        assert!(read(ValueRef::Blob(&vec![0; 4 * DIMENSIONS_MAX + 4]), Element::Float32).contains("at most"));
    }

    #[test]
    fn bits_are_read_from_the_lowest() {
        let bits = Embedding::read(ValueRef::Blob(&[0b0000_0101]), Element::Bit).unwrap();
        assert_eq!(bits.to_json(), "[1,0,1,0,0,0,0,0]");
        assert_eq!(bits.into_floats()[..4], [1.0, -1.0, 1.0, -1.0]);
    }
}
