//! Files that were cut off, changed or made to harm.

use std::fs;

use super::*;

const FILES: [&str; 5] =
    ["model.safetensors", "tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json"];

/// Loads what may be anything; a model that comes of it must hold what the trait promises.
fn load_and_use(small: &Small) {
    let Ok(model) = load_model("small", small.path()) else { return };
    let Ok(answers) = model.embed(&["red wine", "", "stones [PAD] \u{301}\u{0} b"]) else { return };
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[1], None);
    for answer in [&answers[0], &answers[2]] {
        let answer = answer.as_ref().unwrap();
        assert_eq!(answer.len(), model.dimensions());
        assert!(answer.iter().all(|number| number.is_finite()));
    }
}

#[test]
fn files_cut_off_anywhere_are_refused() {
    for file in FILES {
        let small = Small::new();
        let path = small.path().join(file);
        let whole = fs::read(&path).unwrap();
        let step = (whole.len() / 100).max(1);
        for length in (0..whole.len()).step_by(step) {
            fs::write(&path, &whole[..length]).unwrap();
            let said = refusal(&small);
            assert!(said.contains(&format!("{file} is not understood")), "{length} bytes of {file}: {said}");
        }
        fs::write(&path, &whole).unwrap();
        loaded(&small);
    }
}

#[test]
fn files_changed_anywhere_do_no_harm() {
    let mut state = 11_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for file in FILES {
        let small = Small::new();
        let path = small.path().join(file);
        let whole = fs::read(&path).unwrap();
        for _ in 0..600 {
            let mut bytes = whole.clone();
            for _ in 0..=random(3) {
                // The header of the weights is where harm can be done; it is a few kilobytes long.
                let place = random(bytes.len().min(4_000));
                match random(4) {
                    0 => bytes[place] = random(256) as u8,
                    1 => bytes[place] = b"0123456789-e[]{}\",:"[random(19)],
                    2 => bytes[place] ^= 1 << random(8),
                    _ => {
                        let length = random(20).min(bytes.len() - place);
                        let from = random(bytes.len() - length);
                        bytes.copy_within(from..from + length, place);
                    }
                }
            }
            fs::write(&path, &bytes).unwrap();
            load_and_use(&small);
        }
    }
}

#[test]
fn weights_that_claim_more_than_there_is_take_no_memory() {
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let one = |shape: &str, end: &str| {
        header(&format!(
            r#"{{"embeddings.word_embeddings.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#
        ))
    };
    for bytes in [
        u64::MAX.to_le_bytes().to_vec(),
        [&(90_u64 << 20).to_le_bytes()[..], b"{"].concat(),
        one("[18446744073709551615,18446744073709551615]", "4"),
        one("[4611686018427387904]", "18446744073709551615"),
        one("[18,8]", "576"),
        one("[0,0]", "0"),
        header("{}"),
        header(&"[".repeat(100_000)),
    ] {
        let small = Small::new();
        fs::write(small.path().join("model.safetensors"), &bytes).unwrap();
        let said = refusal(&small);
        assert!(said.contains("model.safetensors is not understood"), "{said}");
    }
    // Larger than any model, without taking up a disk.
    let small = Small::new();
    fs::File::create(small.path().join("model.safetensors")).unwrap().set_len(1 << 40).unwrap();
    let said = refusal(&small);
    assert!(said.contains("model.safetensors has 1099511627776 bytes, more than"), "{said}");
}
