//! all-MiniLM-L6-v2, which `cargo xtask test` fetches: the folder that `KITHDB_MODELS` names holds it.

#[path = "../../../../tests/search/src/npy.rs"]
mod npy;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use kithdb_search::embed::{Embedder, embedder, load_model};
use rusqlite::{Connection, params};

use super::cosine;

const MODEL: &str = "all-minilm-l6-v2";
/// How many of the texts are embedded, and how many are asked end to end: all thousand take half a minute.
const EMBEDDED: usize = 400;
const ASKED: usize = 100;
const BYTES_MAX: usize = 60;
const COUNT: usize = 10;

fn model() -> Arc<dyn Embedder> {
    embedder(MODEL).unwrap_or_else(|error| panic!("`cargo xtask test` sets the model up: {error}"))
}

/// The similarities that the model's authors give as an example in the documentation of sentence-transformers ("Quickstart").
#[test]
fn similarities_are_those_that_its_authors_publish() {
    let texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."];
    let answers: Vec<Vec<f32>> = model().embed(&texts).unwrap().into_iter().flatten().collect();
    for (left, right, published) in [(0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)] {
        let similarity = cosine(&answers[left], &answers[right]);
        assert!((similarity - published).abs() < 1e-4, "{} and {}: {similarity}", texts[left], texts[right]);
    }
    let lengths = answers.iter().map(|answer| answer.iter().map(|number| number * number).sum::<f32>());
    assert!(lengths.into_iter().all(|length| (length - 1.0).abs() < 1e-5));
    assert!(Arc::ptr_eq(&model(), &model()), "it is loaded once");
}

/// `KITHDB_TEST_DATA` holds embeddings that sentence-transformers made of known texts: ours are those, and a search by ours finds what an
/// exact search by those finds. Without that folder `cargo xtask test` leaves this one out, and says so.
#[test]
fn embeddings_are_those_of_sentence_transformers() {
    let data = PathBuf::from(env::var_os("KITHDB_TEST_DATA").expect("KITHDB_TEST_DATA names the folder of real data"));
    let texts: Vec<(String, String, String)> =
        serde_json::from_slice(&fs::read(data.join("minilm_10k_query_texts.json")).unwrap()).unwrap();
    let known = npy::read_floats(&data.join("minilm_10k_queries.npy")).unwrap();
    assert_eq!(texts.len(), known.height());
    let texts: Vec<&str> = texts.iter().map(|(_, _, text)| text.as_str()).take(EMBEDDED).collect();
    let ours = model_of_the_data().embed(&texts).unwrap();
    assert_eq!(ours.len(), EMBEDDED);
    let mut worst = 1.0_f32;
    for ((text, ours), known) in texts.iter().zip(&ours).zip(known.rows()) {
        let similarity = cosine(ours.as_ref().unwrap(), known);
        assert!(similarity > 0.999, "{text}: {similarity}");
        worst = worst.min(similarity);
    }
    println!("{} texts, the least similarity is {worst}", texts.len());
    search(&data, &texts, &known);
}

/// The model as it made the data: with 32 tokens of each text.
fn model_of_the_data() -> Arc<dyn Embedder> {
    let models = PathBuf::from(env::var_os("KITHDB_MODELS").expect("KITHDB_MODELS names the folder of models"));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json"] {
        fs::copy(models.join(MODEL).join(file), folder.path().join(file)).unwrap();
    }
    fs::write(folder.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 32}"#).unwrap();
    load_model("all-minilm-l6-v2 of 32 tokens", folder.path()).unwrap()
}

fn search(data: &Path, texts: &[&str], queries: &npy::Matrix<f32>) {
    let base = npy::read_floats(&data.join("minilm_10k_base.npy")).unwrap();
    let truth = npy::read_integers(&data.join("minilm_10k_gt.npy")).unwrap();
    let conn = Connection::open_in_memory().unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn.execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB); BEGIN").unwrap();
    for (row, numbers) in base.rows().enumerate() {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        conn.execute("INSERT INTO docs VALUES(?1, ?2)", params![row as i64, bytes]).unwrap();
    }
    conn.execute_batch(
        "COMMIT; CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=384, metric=cosine)",
    )
    .unwrap();
    let mut ask = conn
        .prepare("SELECT rowid FROM near WHERE embedding MATCH kith_embed(?1, ?2) AND k = ?3 ORDER BY distance")
        .unwrap();
    let mut found = 0;
    // The whole model is asked: with texts that have no more tokens than the data knows.
    let short = texts.iter().enumerate().filter(|(_, text)| text.len() <= BYTES_MAX);
    let mut asked = 0;
    for (query, text) in short.take(ASKED) {
        asked += 1;
        let rows = ask.query_map(params![text, MODEL, COUNT as i64], |row| row.get::<_, i64>(0)).unwrap();
        let rows: Vec<i64> = rows.collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), COUNT);
        // Many rows are equally near or as good as: what is as near as the last one known counts.
        let similarity = |row: usize| cosine(queries.row(query), base.row(row));
        let last = similarity(truth.row(query)[COUNT - 1] as usize);
        found += rows.iter().filter(|row| similarity(**row as usize) > last - 1e-3).count();
    }
    assert_eq!(asked, ASKED);
    let recall = found as f64 / (ASKED * COUNT) as f64;
    println!("{ASKED} questions, recall of the nearest {COUNT} is {recall}");
    assert!(recall > 0.99, "{recall}");
}
