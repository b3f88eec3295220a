//! A model of an endpoint: texts go out in batches.

use serde::Serialize;

use super::super::{EmbedError, Embedder};
use super::answer::{self, DIMENSIONS_MAX};
use super::call::{Client, Failure};

/// An eighth of what the endpoints in use take; a lost answer costs no more than this.
const BATCH_TEXTS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Models read about 8,000 tokens of about four bytes; what a text has beyond is left out.
const TEXT_BYTES_MAX: usize = 32 << 10;
/// As many bytes are never more tokens than such a model reads: an endpoint that refuses these refuses not for their length.
const TEXT_BYTES_TAKEN: usize = 8 << 10;
/// A number as JSON has it, with all its digits, and what is around an embedding.
const NUMBER_BYTES_MAX: u64 = 32;
const AROUND_BYTES_MAX: u64 = 4 << 10;

/// A model that an endpoint has.
pub struct Remote {
    name: String,
    remote: String,
    client: Client,
    dimensions: usize,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    /// All endpoints know this form; some answer in the other nevertheless.
    encoding_format: &'a str,
}

impl Remote {
    /// Asks for a first embedding.
    pub fn connect(name: &str, remote: &str, client: Client) -> Result<Self, EmbedError> {
        let mut model = Self { name: name.to_owned(), remote: remote.to_owned(), client, dimensions: 0 };
        let first = model.ask(&["a first text"]).map_err(|failure| model.error(failure))?;
        model.dimensions = first.first().map(Vec::len).unwrap_or_default();
        Ok(model)
    }

    /// Embeds one batch, in as many requests as it takes.
    fn batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
        let answer = self.ask(texts);
        let Err(Failure::Refused(_)) = answer else { return answer };
        match *texts {
            // It is longer than the model reads: tokens cannot be counted here.
            [text] if text.len() > TEXT_BYTES_TAKEN => self.batch(&[cut(text, (text.len() / 2).max(TEXT_BYTES_TAKEN))]),
            [_] => answer,
            // The texts together are too many, or one of them is too long.
            _ => {
                let (left, right) = texts.split_at(texts.len() / 2);
                let mut embeddings = self.batch(left)?;
                embeddings.extend(self.batch(right)?);
                Ok(embeddings)
            }
        }
    }

    fn ask(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
        let request = Request { model: &self.remote, input: texts, encoding_format: "float" };
        let request = serde_json::to_vec(&request).map_err(|error| Failure::Wrong(error.to_string()))?;
        let dimensions = if self.dimensions == 0 { DIMENSIONS_MAX } else { self.dimensions };
        let one = dimensions as u64 * NUMBER_BYTES_MAX + AROUND_BYTES_MAX;
        let embeddings =
            self.client.ask(&request, one * (texts.len() as u64 + 1), |bytes| answer::read(bytes, texts.len()))?;
        let expected = if self.dimensions == 0 { embeddings[0].len() } else { self.dimensions };
        match embeddings.iter().find(|embedding| embedding.len() != expected) {
            Some(other) => Err(Failure::Wrong(format!("an embedding has {} numbers, another {expected}", other.len()))),
            None => Ok(embeddings),
        }
    }

    fn error(&self, failure: Failure) -> EmbedError {
        let model = self.name.clone();
        match failure {
            Failure::Later(reason) => EmbedError::Unavailable { model, reason },
            Failure::Refused(reason) => EmbedError::Unusable {
                model,
                reason,
                remedy: "the endpoint must know the model, and the text must be one that it takes".to_owned(),
            },
            Failure::Unusable { reason, remedy } => EmbedError::Unusable { model, reason, remedy },
            Failure::Wrong(reason) => EmbedError::WrongAnswer { model, reason },
        }
    }
}

impl Embedder for Remote {
    fn model(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        let mut answers = vec![None; texts.len()];
        let mut left =
            texts.iter().map(|text| cut(text, TEXT_BYTES_MAX)).enumerate().filter(|(_, text)| !text.trim().is_empty());
        let mut next = left.next();
        while next.is_some() {
            let (mut places, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((place, text)) = next {
                if !batch.is_empty() && (batch.len() == BATCH_TEXTS_MAX || bytes + text.len() > BATCH_BYTES_MAX) {
                    break;
                }
                places.push(place);
                batch.push(text);
                bytes += text.len();
                next = left.next();
            }
            let embeddings = self.batch(&batch).map_err(|failure| self.error(failure))?;
            for (place, embedding) in places.into_iter().zip(embeddings) {
                answers[place] = Some(embedding);
            }
        }
        Ok(answers)
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
