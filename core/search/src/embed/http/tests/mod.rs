//! Against a server on this machine that speaks as an endpoint does, and fails as one does.

mod endpoint;
mod failures;
mod log;
mod server;

use std::time::Duration;

use super::call::{Client, Pace};
use super::endpoint::Endpoint;
use super::model::Remote;
use crate::embed::{EmbedError, Embedder as _};
use server::{Received, Reply, Server};

const KEY: &str = "sk-very-secret-0123456789";

/// Waits long enough for a loaded machine, and between tries hardly at all.
const PACE: Pace = Pace {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    first_wait: Duration::from_millis(1),
    all: Duration::from_secs(60),
};

fn client(url: &str, pace: Pace) -> Client {
    let environment = |variable: &str| match variable {
        "KITHDB_EMBEDDINGS_URL" => Some(url.to_owned()),
        "KITHDB_EMBEDDINGS_KEY" => Some(KEY.to_owned()),
        _ => None,
    };
    Client::new(Endpoint::of_environment(environment).unwrap(), pace)
}

fn connect(server: &Server, pace: Pace) -> Result<Remote, EmbedError> {
    Remote::connect("openai:small", "small", client(&server.url(), pace))
}

/// An endpoint's embedding of a text here: its length, a number of its first byte, and one.
fn expected(text: &str) -> Vec<f32> {
    vec![text.len() as f32, f32::from(text.as_bytes()[0]) / 3.0, 1.0]
}

#[test]
fn texts_go_out_in_batches_and_come_back_in_order() {
    // Backwards, as the index allows.
    let server = Server::start(|_, request| {
        let mut items: Vec<_> = request.embeddings();
        items.reverse();
        Reply::json(&serde_json::json!({ "object": "list", "data": items, "usage": { "total_tokens": 1 } }))
    });
    let model = connect(&server, PACE).unwrap();
    assert_eq!((model.model(), model.dimensions()), ("openai:small", 3));

    let long = "x".repeat(100_000);
    let texts: Vec<String> =
        (0..600).map(|number| if number % 7 == 3 { " \n".into() } else { format!("{number} texts") }).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts.extend(["", &long, &long, "Größe\u{0}\"", &long]);
    let answers = model.embed(&texts).unwrap();
    assert_eq!(answers.len(), texts.len());
    for (text, answer) in texts.iter().zip(answers) {
        let sent = &text[..text.len().min(32 << 10)];
        assert_eq!(answer, (!text.trim().is_empty()).then(|| expected(sent)), "{sent:?}");
    }
    assert_eq!(model.embed(&[]).unwrap(), Vec::<Option<Vec<f32>>>::new());
    assert_eq!(model.embed(&["", " "]).unwrap(), [None, None]);

    let requests = server.received();
    // The first text, and what one batch does not hold.
    assert_eq!(requests.iter().map(|request| request.texts().len()).collect::<Vec<_>>(), [1, 256, 256, 6]);
    for request in &requests {
        assert_eq!(request.line, "POST /v1/embeddings HTTP/1.1");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.body["model"], "small");
        assert!(request.body.to_string().len() < 600 << 10, "a request stays small");
    }
}

#[test]
fn large_texts_are_spread_over_requests() {
    let server = Server::start(|_, request| Reply::json(&serde_json::json!({ "data": request.embeddings() })));
    let model = connect(&server, PACE).unwrap();
    let texts = vec!["y".repeat(30_000); 20];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(model.embed(&texts).unwrap(), vec![Some(expected(texts[0])); 20]);
    assert_eq!(server.received().iter().map(|request| request.texts().len()).collect::<Vec<_>>(), [1, 8, 8, 4]);
}

#[test]
fn packed_numbers_and_missing_indexes_are_understood() {
    let server = Server::start(|_, request| {
        let packed = |text: &String| {
            let bytes: Vec<u8> = expected(text).into_iter().flat_map(f32::to_le_bytes).collect();
            serde_json::json!({ "embedding": data_encoding::BASE64.encode(&bytes) })
        };
        Reply::json(&serde_json::json!({ "data": request.texts().iter().map(packed).collect::<Vec<_>>() }))
    });
    let model = connect(&server, PACE).unwrap();
    assert_eq!(model.embed(&["one", "", "three"]).unwrap(), [Some(expected("one")), None, Some(expected("three"))]);
}

#[test]
fn text_too_long_for_the_model_is_cut_and_the_others_are_not() {
    // It reads 9,000 bytes of a text, and 20,000 at once.
    let server = Server::start(|_, request| {
        let texts = request.texts();
        if texts.iter().any(|text| text.len() > 9_000) || texts.iter().map(String::len).sum::<usize>() > 20_000 {
            return Reply::error(400, "maximum context length exceeded", "");
        }
        Reply::json(&serde_json::json!({ "data": request.embeddings() }))
    });
    let model = connect(&server, PACE).unwrap();
    let (long, short) = ("z".repeat(30_000), "z".repeat(8_000));
    let texts = [short.as_str(), &short, &short, &long, &short];
    let lengths: Vec<f32> = model.embed(&texts).unwrap().into_iter().map(|answer| answer.unwrap()[0]).collect();
    assert_eq!(lengths, [8_000.0, 8_000.0, 8_000.0, 8_192.0, 8_000.0]);
}
