//! What a model's files say of its shape and of how it is used.
//!
//! Invariants:
//! 1. Settings that exist have a shape within the limits; what is not known is refused rather than left out, since the embeddings would
//!    be other than the model's.

use serde::Deserialize;

use super::super::EmbedError;
use super::folder::Folder;

/// Attention compares all tokens of a text with each other, head by head; models have 12 to 16 heads and read 512 tokens.
pub const ATTENTION_MAX: usize = 1 << 25;
const LAYERS_MAX: usize = 128;
const HIDDEN_MAX: usize = 8192;
const INTERMEDIATE_MAX: usize = 4 * HIDDEN_MAX;
const VOCABULARY_MAX: usize = 1 << 21;
const POSITIONS_MAX: usize = 1 << 16;

/// `config.json` of a BERT model.
#[derive(Debug, Clone, Deserialize)]
pub struct Shape {
    model_type: String,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layer_norm_eps: f64,
    pub max_position_embeddings: usize,
    pub num_attention_heads: usize,
    pub num_hidden_layers: usize,
    pub type_vocab_size: usize,
    pub vocab_size: usize,
    pub hidden_act: Activation,
    position_embedding_type: Option<String>,
}

/// What lies between the two layers of a feed-forward step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Gelu,
    #[serde(alias = "gelu_pytorch_tanh")]
    GeluNew,
    Relu,
}

/// How the tokens' embeddings become the text's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    Mean,
    /// The first token's, which stands for the whole.
    FirstToken,
}

/// All that is known of a model but its weights and its tokens.
#[derive(Debug)]
pub struct Settings {
    pub shape: Shape,
    pub pooling: Pooling,
    pub normalise: bool,
    /// What a text has beyond this many tokens is left out.
    pub tokens_max: usize,
    pub lower_case: bool,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// Each `pooling_mode_…` of sentence-transformers.
#[derive(Deserialize)]
struct PoolingFile {
    #[serde(flatten)]
    fields: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct SentenceFile {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize, Default)]
struct TokenizerFile {
    /// A number that no integer holds where there is no limit.
    model_max_length: Option<f64>,
}

impl Settings {
    pub fn read(folder: &Folder) -> Result<Self, EmbedError> {
        let shape: Shape = folder.settings("config.json")?;
        shape.check().map_err(|reason| folder.unusable(reason))?;
        let sentence: SentenceFile = folder.settings_if_any("sentence_bert_config.json")?.unwrap_or_default();
        let tokenizer: TokenizerFile = folder.settings_if_any("tokenizer_config.json")?.unwrap_or_default();
        // As sentence-transformers has it: its own file goes before the tokenizer's.
        let said = sentence.max_seq_length.or(tokenizer.model_max_length.map(|length| length as usize));
        let tokens_max = said.unwrap_or(usize::MAX).min(shape.max_position_embeddings);
        if tokens_max < 3 {
            return Err(folder.unusable(format!("it reads only {tokens_max} tokens of a text")));
        }
        if shape.num_attention_heads * tokens_max * tokens_max > ATTENTION_MAX {
            return Err(folder.unusable(format!(
                "{} heads over {tokens_max} tokens take too much memory; a smaller max_seq_length in \
                 sentence_bert_config.json helps",
                shape.num_attention_heads
            )));
        }
        let (pooling, normalise) = modules(folder)?;
        Ok(Self { shape, pooling, normalise, tokens_max, lower_case: sentence.do_lower_case })
    }
}

impl Shape {
    fn check(&self) -> Result<(), String> {
        if self.model_type != "bert" {
            return Err(format!("its model_type is {:?}; bert alone can be loaded", self.model_type));
        }
        if let Some(kind) = &self.position_embedding_type
            && kind != "absolute"
        {
            return Err(format!("its position_embedding_type is {kind:?}; absolute alone can be loaded"));
        }
        for (field, number, max) in [
            ("hidden_size", self.hidden_size, HIDDEN_MAX),
            ("intermediate_size", self.intermediate_size, INTERMEDIATE_MAX),
            ("max_position_embeddings", self.max_position_embeddings, POSITIONS_MAX),
            ("num_attention_heads", self.num_attention_heads, self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers, LAYERS_MAX),
            ("type_vocab_size", self.type_vocab_size, POSITIONS_MAX),
            ("vocab_size", self.vocab_size, VOCABULARY_MAX),
        ] {
            if number == 0 || number > max {
                return Err(format!("{field} in config.json is {number}, not from 1 to {max}"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "its {} heads do not divide hidden_size {}",
                self.num_attention_heads, self.hidden_size
            ));
        }
        Ok(())
    }
}

/// Reads the chain of modules that sentence-transformers writes; without one it takes the mean.
fn modules(folder: &Folder) -> Result<(Pooling, bool), EmbedError> {
    let Some(modules) = folder.settings_if_any::<Vec<Module>>("modules.json")? else {
        return Ok((Pooling::Mean, false));
    };
    let mut steps = modules.iter().map(|module| (module.r#type.rsplit('.').next().unwrap_or_default(), &module.path));
    let transformer = steps.next();
    let pooling = match (transformer, steps.next()) {
        (Some(("Transformer", path)), Some(("Pooling", pooling))) if path.is_empty() && is_folder_name(pooling) => {
            let file = folder.settings::<PoolingFile>(&format!("{pooling}/config.json"))?;
            pooling_of(&file).map_err(|reason| folder.unusable(reason))?
        }
        _ => {
            return Err(
                folder.unusable("modules.json does not begin with a Transformer in the folder itself and a Pooling")
            );
        }
    };
    let rest: Vec<_> = steps.map(|(kind, _)| kind).collect();
    match rest[..] {
        [] => Ok((pooling, false)),
        ["Normalize"] => Ok((pooling, true)),
        _ => Err(folder.unusable(format!("modules.json names {}; of these only Normalize is known", rest.join(", ")))),
    }
}

fn is_folder_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn pooling_of(file: &PoolingFile) -> Result<Pooling, String> {
    let is_on = |(name, value): &(&String, &serde_json::Value)| {
        name.starts_with("pooling_mode_") && value.as_bool().unwrap_or_default()
    };
    let modes: Vec<_> = file.fields.iter().filter(is_on).map(|(name, _)| name.as_str()).collect();
    match modes[..] {
        ["pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token"] => Ok(Pooling::FirstToken),
        _ => Err(format!("it pools by [{}]; only by the mean or the first token is known", modes.join(", "))),
    }
}
