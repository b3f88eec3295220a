//! The answer of an endpoint, checked.

use data_encoding::BASE64;
use serde::Deserialize;

use super::call::Failure;

/// Models in use have up to 4,096.
pub const DIMENSIONS_MAX: usize = 16_384;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    /// Which text it is of; some endpoints leave it out and keep the order.
    index: Option<usize>,
    embedding: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    List(Vec<f32>),
    /// 32-bit floats, little-endian, as base64.
    Packed(String),
}

/// Reads the embeddings of so many texts, in the texts' order, all of one length.
pub fn read(bytes: &[u8], texts: usize) -> Result<Vec<Vec<f32>>, Failure> {
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Err(Failure::Unusable {
            reason: "the endpoint answers with a web page".to_owned(),
            remedy: "set KITHDB_EMBEDDINGS_URL to its address up to /v1, as http://127.0.0.1:11434/v1".to_owned(),
        });
    }
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        // The connection ended in the middle without saying so.
        serde_json::error::Category::Eof => Failure::Later("its answer breaks off".to_owned()),
        _ => Failure::Wrong(format!("it is not understood: {error}")),
    })?;
    let wrong = |reason: String| Err(Failure::Wrong(reason));
    if answer.data.len() != texts {
        return wrong(format!("it has {} embeddings for {texts} texts", answer.data.len()));
    }
    let mut ordered: Vec<Option<Vec<f32>>> = vec![None; texts];
    for (place, item) in answer.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(place);
        let numbers = match item.embedding {
            Numbers::List(numbers) => numbers,
            Numbers::Packed(text) => unpacked(&text)?,
        };
        if numbers.is_empty() || numbers.len() > DIMENSIONS_MAX {
            return wrong(format!("an embedding has {} numbers, not from 1 to {DIMENSIONS_MAX}", numbers.len()));
        }
        if numbers.iter().any(|number| !number.is_finite()) {
            return wrong("an embedding has a number that is not finite".to_owned());
        }
        match ordered.get_mut(index) {
            Some(free @ None) => *free = Some(numbers),
            _ => return wrong(format!("it has the index {index} twice or beyond the {texts} texts")),
        }
    }
    // As many as texts, and none twice: all are there.
    Ok(ordered.into_iter().flatten().collect())
}

fn unpacked(text: &str) -> Result<Vec<f32>, Failure> {
    let wrong = || Failure::Wrong("an embedding is neither a list of numbers nor base64 of 32-bit floats".to_owned());
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| wrong())?;
    let (numbers, []) = bytes.as_chunks::<4>() else { return Err(wrong()) };
    Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}
