//! Models in folders: a small one that the tests make, so that all of its files can be spoilt, and a real one.

mod files;
mod real;
mod spoilt;

use std::sync::Arc;

use kithdb_search::embed::{Embedder, load_model};

use files::Small;

fn loaded(small: &Small) -> Arc<dyn Embedder> {
    load_model("small", small.path()).unwrap()
}

fn refusal(small: &Small) -> String {
    match load_model("small", small.path()) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => {
            assert!(!error.is_temporary());
            error.to_string()
        }
    }
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let dot = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

#[test]
fn texts_do_not_depend_on_those_beside_them() {
    let small = Small::new();
    let model = loaded(&small);
    assert_eq!((model.model(), model.dimensions()), ("small", 8));
    let long = "stone water ".repeat(40);
    let texts = ["wine", "", "red wine and bread", long.as_str(), " \n", "water", "Red WINE", "bread bread bread"];
    let together = model.embed(&texts).unwrap();
    for (text, answer) in texts.iter().zip(&together) {
        let alone = model.embed(&[text]).unwrap().remove(0);
        match (answer, alone) {
            (None, None) => assert!(text.trim().is_empty()),
            (Some(answer), Some(alone)) => {
                assert!(cosine(answer, &alone) > 0.999_999, "{text:?}");
                let length: f32 = answer.iter().map(|number| number * number).sum();
                assert!((length - 1.0).abs() < 1e-5, "{text:?}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let [wine, water] = [0, 5].map(|place: usize| together[place].as_deref().unwrap());
    assert!(cosine(wine, water) < 0.999, "different texts differ");
    assert_eq!(model.embed(&[]).unwrap(), Vec::<Option<Vec<f32>>>::new());
}

#[test]
fn text_beyond_what_the_model_reads_is_left_out() {
    let small = Small::new();
    // Two of the tokens are the marks of start and end.
    small.write("sentence_bert_config.json", r#"{"max_seq_length": 4}"#);
    let model = loaded(&small);
    let answers =
        model.embed(&["red wine", "red wine bread", &"red wine bread ".repeat(200_000), "red bread"]).unwrap();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_ne!(answers[0], answers[3]);
}

#[test]
fn pooling_and_length_are_as_the_files_say() {
    let small = Small::new();
    let text = "red wine";
    let of = |small: &Small| loaded(small).embed(&[text]).unwrap().remove(0).unwrap();
    let normalised_mean = of(&small);
    let without = r#"[{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.y.Pooling"}]"#;
    small.write("modules.json", without);
    let mean = of(&small);
    assert!(cosine(&mean, &normalised_mean) > 0.999_999);
    assert!(
        (mean.iter().map(|number| number * number).sum::<f32>() - 1.0).abs() > 1e-3,
        "nothing brings it to length one"
    );
    small.write("1_Pooling/config.json", r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": true}"#);
    assert!(cosine(&of(&small), &mean) < 0.999_9);
    // Without the files of sentence-transformers it is the mean.
    small.remove("modules.json");
    assert_eq!(of(&small), mean);
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        let small = Small::new();
        small.remove(file);
        let said = refusal(&small);
        assert!(said.contains(&format!("{file} is missing")), "{said}");
        assert!(said.contains("must hold config.json, tokenizer.json and model.safetensors"), "{said}");
    }
    for (field, value, expected) in [
        ("model_type", "\"roberta\"", "bert alone can be loaded"),
        ("position_embedding_type", "\"relative_key\"", "absolute alone"),
        ("hidden_act", "\"swish\"", "config.json is not understood"),
        ("num_attention_heads", "3", "heads do not divide hidden_size"),
        ("num_attention_heads", "0", "num_attention_heads in config.json is 0"),
        ("hidden_size", "4611686018427387904", "hidden_size in config.json is"),
        ("hidden_size", "-1", "config.json is not understood"),
        ("num_hidden_layers", "1000000000", "num_hidden_layers in config.json is"),
        (
            "num_hidden_layers",
            "3",
            "model.safetensors is not understood: tensor `encoder.layer.2.attention.self.query.weight` not found",
        ),
        ("vocab_size", "4000000000", "vocab_size in config.json is"),
        ("vocab_size", "17", "model.safetensors is not understood: shape mismatch"),
        ("max_position_embeddings", "2", "it reads only 2 tokens"),
    ] {
        let small = Small::new();
        small.set(field, value);
        let said = refusal(&small);
        assert!(said.contains(expected), "{field} {value}: {said}");
    }
    for (file, text, expected) in [
        ("modules.json", r#"[{"path": "", "type": "Transformer"}]"#, "does not begin with a Transformer"),
        (
            "modules.json",
            r#"[{"path": "", "type": "Transformer"}, {"path": "../x", "type": "Pooling"}]"#,
            "does not begin",
        ),
        (
            "modules.json",
            r#"[{"path": "", "type": "Transformer"}, {"path": "1_Pooling", "type": "Pooling"}, {"path": "2", "type": "Dense"}]"#,
            "Dense; of these only Normalize is known",
        ),
        ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens": true}"#, "pools by [pooling_mode_max_tokens]"),
        ("tokenizer.json", "{}", "tokenizer.json is not understood"),
        ("sentence_bert_config.json", r#"{"max_seq_length": 0}"#, "it reads only 0 tokens"),
    ] {
        let small = Small::new();
        small.write(file, text);
        let said = refusal(&small);
        assert!(said.contains(expected), "{file}: {said}");
    }
    let small = Small::new();
    small.tokenizer_with_token("boundless", 18);
    let said = loaded(&small).embed(&["wine boundless"]).unwrap_err().to_string();
    assert!(said.contains("tokenizer.json has token 18, and the model 18 of them"), "{said}");
    small.weights(|name, numbers| {
        numbers[0] = if name.ends_with("word_embeddings.weight") { f32::NAN } else { numbers[0] }
    });
    // The first token is the filling, which nobody attends to but whose states are computed all the same.
    assert!(loaded(&small).embed(&["wine"]).is_ok());
    small.weights(|_, numbers| numbers.fill(f32::INFINITY));
    let said = refusal(&small);
    assert!(said.contains("a number that is not finite"), "{said}");
}
