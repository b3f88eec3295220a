//! The files of a small model with random weights.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::json;

const WORDS: [&str; 18] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "wine", "bread", "stone", "water", "and", "##s", "##ter", "wa", "a",
    "b", "##a", "##b", "first",
];
const HIDDEN: usize = 8;
const WIDE: usize = 16;
const POSITIONS: usize = 32;
const LAYERS: usize = 2;

/// A model's folder, which goes away with it.
pub struct Small(tempfile::TempDir);

impl Small {
    pub fn new() -> Self {
        let small = Self(tempfile::tempdir().unwrap());
        fs::create_dir(small.path().join("1_Pooling")).unwrap();
        small.write("config.json", &config().to_string());
        small.write(
            "modules.json",
            r#"[{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"},
                {"path": "2_Normalize", "type": "x.Normalize"}]"#,
        );
        small.write("1_Pooling/config.json", r#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#);
        small.write("tokenizer_config.json", r#"{"model_max_length": 1000000000000000019884624838656}"#);
        small.write("tokenizer.json", &tokenizer(WORDS.iter().copied().zip(0..)).to_string());
        small.weights(|_, _| ());
        small
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    /// Changes a field of `config.json`.
    pub fn set(&self, field: &str, value: &str) {
        let mut config = config();
        config[field] = serde_json::from_str(value).unwrap();
        self.write("config.json", &config.to_string());
    }

    /// Has one more word than the model.
    pub fn tokenizer_with_token(&self, word: &str, token: u32) {
        self.write("tokenizer.json", &tokenizer(WORDS.iter().copied().zip(0..).chain([(word, token)])).to_string());
    }

    /// Writes the weights, each tensor changed first.
    pub fn weights(&self, mut change: impl FnMut(&str, &mut [f32])) {
        let mut state = 7_u64;
        let mut random = || {
            // Knuth's MMIX generator: any numbers will do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut tensors = HashMap::new();
        for (name, shape) in shapes() {
            let mut numbers: Vec<f32> = (0..shape.iter().product()).map(|_| random()).collect();
            // As in real models, where what distinguishes texts is not drowned by what all have in common.
            match &name {
                name if name.ends_with("LayerNorm.weight") => numbers.iter_mut().for_each(|number| *number += 1.0),
                name if name.ends_with(".bias") => numbers.iter_mut().for_each(|number| *number *= 0.1),
                _ => {}
            }
            change(&name, &mut numbers);
            tensors.insert(name, Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap());
        }
        candle_core::safetensors::save(&tensors, self.path().join("model.safetensors")).unwrap();
    }
}

fn config() -> serde_json::Value {
    json!({
        "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": WIDE, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS, "num_attention_heads": 2, "num_hidden_layers": LAYERS, "type_vocab_size": 2,
        "vocab_size": WORDS.len(),
    })
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut pair = |name: String, weight: Vec<usize>| {
        shapes.push((format!("{name}.bias"), vec![weight[0]]));
        shapes.push((format!("{name}.weight"), weight));
    };
    pair("embeddings.LayerNorm".to_owned(), vec![HIDDEN]);
    for layer in 0..LAYERS {
        let mut pair = |name: &str, weight: Vec<usize>| pair(format!("encoder.layer.{layer}.{name}"), weight);
        for name in ["self.query", "self.key", "self.value", "output.dense"] {
            pair(&format!("attention.{name}"), vec![HIDDEN, HIDDEN]);
        }
        pair("attention.output.LayerNorm", vec![HIDDEN]);
        pair("intermediate.dense", vec![WIDE, HIDDEN]);
        pair("output.dense", vec![HIDDEN, WIDE]);
        pair("output.LayerNorm", vec![HIDDEN]);
    }
    shapes
}

fn tokenizer<'a>(words: impl Iterator<Item = (&'a str, u32)>) -> serde_json::Value {
    let words: serde_json::Map<_, _> = words.map(|(word, token)| (word.to_owned(), token.into())).collect();
    json!({
        "version": "1.0",
        // As the real ones have it, and as no text is to be cut off or filled up.
        "truncation": { "max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
        "padding": { "strategy": { "Fixed": 3 }, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
            "pad_to_multiple_of": null },
        "added_tokens": [{ "id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true }],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2] },
        "decoder": null,
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": words },
    })
}
