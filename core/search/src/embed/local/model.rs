//! A loaded model: from texts to tokens, through the network, to embeddings.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use tokenizers::{Tokenizer, TruncationParams};

use super::super::{EmbedError, Embedder};
use super::bert::{self, Bert};
use super::folder::{Folder, TOKENIZER_BYTES_MAX, WEIGHTS_BYTES_MAX};
use super::guarded;
use super::settings::{ATTENTION_MAX, Pooling, Settings};

/// Far more than the tokens of any model take; what a text has beyond is not even looked at.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// More at once are not faster.
const BATCH_TEXTS_MAX: usize = 32;
/// Nor are longer ones in larger batches: the processor's cache is full.
const BATCH_ATTENTION_MAX: usize = ATTENTION_MAX / 8;

/// A model that a folder holds.
pub struct Local {
    name: String,
    bert: Bert,
    tokenizer: Tokenizer,
    dimensions: usize,
    vocabulary: usize,
    heads: usize,
    pooling: Pooling,
    normalise: bool,
    lower_case: bool,
}

impl Local {
    pub fn load(folder: &Folder, settings: &Settings) -> Result<Self, String> {
        let tokenizer = tokenizer(&folder.read("tokenizer.json", TOKENIZER_BYTES_MAX)?, settings.tokens_max)?;
        let weights = folder.read("model.safetensors", WEIGHTS_BYTES_MAX)?;
        let broken = |error: candle_core::Error| format!("model.safetensors is not understood: {}", first_line(&error));
        let weights = VarBuilder::from_slice_safetensors(&weights, DType::F32, &Device::Cpu).map_err(broken)?;
        let shape = &settings.shape;
        let model = Self {
            name: folder.name().to_owned(),
            bert: Bert::load(weights, shape).map_err(broken)?,
            tokenizer,
            dimensions: shape.hidden_size,
            vocabulary: shape.vocab_size,
            heads: shape.num_attention_heads,
            pooling: settings.pooling,
            normalise: settings.normalise,
            lower_case: settings.lower_case,
        };
        // What does not fit together shows here rather than at the first row of a table.
        model.batch(&[&model.tokens("a first text")?])?;
        Ok(model)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>, String> {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let text = if self.lower_case { text.to_lowercase() } else { text.to_owned() };
        let encoding = self.tokenizer.encode(text, true).map_err(|error| format!("tokenizer.json fails: {error}"))?;
        let tokens = encoding.get_ids();
        match tokens.iter().find(|token| **token as usize >= self.vocabulary) {
            Some(token) => Err(format!("tokenizer.json has token {token}, and the model {} of them", self.vocabulary)),
            None if tokens.is_empty() => Err("tokenizer.json makes no tokens of a text".to_owned()),
            None => Ok(tokens.to_vec()),
        }
    }

    /// Embeds texts that were brought to tokens.
    fn batch(&self, texts: &[&Vec<u32>]) -> Result<Vec<Vec<f32>>, String> {
        let length = texts.iter().map(|tokens| tokens.len()).max().unwrap_or_default();
        let (mut tokens, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            tokens.extend(text.iter().copied().chain(std::iter::repeat_n(0, length - text.len())));
            mask.extend(std::iter::repeat_n(1.0_f32, text.len()).chain(std::iter::repeat_n(0.0, length - text.len())));
        }
        let run = || {
            let tokens = Tensor::from_vec(tokens, (texts.len(), length), &Device::Cpu)?;
            let mask = Tensor::from_vec(mask, (texts.len(), length), &Device::Cpu)?;
            let states = self.bert.run(&tokens, &mask)?;
            let rows = match self.pooling {
                Pooling::Mean => bert::mean(&states, &mask)?,
                Pooling::FirstToken => states.narrow(1, 0, 1)?.squeeze(1)?,
            };
            if self.normalise { bert::normalise(&rows)? } else { rows }.to_vec2::<f32>()
        };
        let rows = run().map_err(|error| first_line(&error))?;
        if rows.iter().flatten().any(|number| !number.is_finite()) {
            return Err("it gave a number that is not finite".to_owned());
        }
        Ok(rows)
    }

    fn all(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, String> {
        let mut tokens = Vec::new();
        for (place, text) in texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            tokens.push((place, self.tokens(text)?));
        }
        // Texts of one length have nothing to fill up.
        tokens.sort_by_key(|(_, tokens)| tokens.len());
        let mut answers = vec![None; texts.len()];
        let mut rest = &tokens[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(self.batch_texts(rest));
            let rows = self.batch(&batch.iter().map(|(_, tokens)| tokens).collect::<Vec<_>>())?;
            for ((place, _), row) in batch.iter().zip(rows) {
                answers[*place] = Some(row);
            }
            rest = after;
        }
        Ok(answers)
    }

    /// How many of the texts, of which each is as long as the one before or longer, go into one batch.
    fn batch_texts(&self, rest: &[(usize, Vec<u32>)]) -> usize {
        let fits = |count: usize| {
            rest.get(count - 1)
                .is_some_and(|(_, tokens)| count * self.heads * tokens.len() * tokens.len() <= BATCH_ATTENTION_MAX)
        };
        (1..=BATCH_TEXTS_MAX).take_while(|count| fits(*count)).last().unwrap_or(1)
    }
}

impl Embedder for Local {
    fn model(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        guarded(|| self.all(texts)).map_err(|reason| EmbedError::WrongAnswer { model: self.name.clone(), reason })
    }
}

/// Reads a tokenizer; how it cuts off and fills up is the model's matter, not its file's.
fn tokenizer(bytes: &[u8], tokens_max: usize) -> Result<Tokenizer, String> {
    let broken = |error: tokenizers::Error| format!("tokenizer.json is not understood: {error}");
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(broken)?;
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(Some(TruncationParams { max_length: tokens_max, ..TruncationParams::default() }))
        .map_err(broken)?;
    Ok(tokenizer)
}

/// What candle says before its backtrace.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
