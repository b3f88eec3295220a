//! Each way in which an endpoint fails, and what becomes of it.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

/// A server that answers the first text rightly, and what follows by `answer`, numbered from 0.
fn after_the_first(answer: impl Fn(usize, &Received) -> Reply + Send + 'static) -> (Server, Remote) {
    let server = Server::start(move |number, request| match number {
        0 => right(request),
        _ => answer(number - 1, request),
    });
    let model = connect(&server, PACE).unwrap();
    (server, model)
}

fn right(request: &Received) -> Reply {
    Reply::json(&json!({ "data": request.embeddings() }))
}

fn message(model: &Remote) -> String {
    let error = model.embed(&["a text", "another"]).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains(KEY) && !format!("{error:?}").contains(KEY), "{message}");
    assert!(message.contains("\"openai:small\"") && !message.contains('\n'), "{message}");
    message
}

#[test]
fn passing_failures_are_asked_again() {
    let broken_off = |request: &Received| {
        let mut reply = right(request).0;
        reply.truncate(reply.len() - 20);
        Reply(reply)
    };
    let broken_off_silently = |request: &Received| {
        let body = json!({ "data": request.embeddings() }).to_string();
        Reply(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", &body[..body.len() - 20]).into_bytes())
    };
    let (server, model) = after_the_first(move |number, request| match number {
        0 => Reply::error(429, "slow down", "rate_limit_exceeded"),
        1 => Reply::error(500, "oh", ""),
        2 => Reply::new(503, "", "<html>busy</html>"),
        3 => broken_off(request),
        4 => broken_off_silently(request),
        _ => right(request),
    });
    assert_eq!(model.embed(&["a text"]).unwrap(), [Some(expected("a text"))]);
    assert_eq!(server.received().len(), 7, "one for the first text, five failures, one success");
}

#[test]
fn who_stays_busy_is_told_as_temporary() {
    let (server, model) = after_the_first(|_, _| Reply::error(429, &format!("key {KEY} is\nbusy"), ""));
    let said = message(&model);
    assert!(said.contains("429: key … is busy, asked 6 times; try again later"), "{said}");
    assert!(model.embed(&["a text"]).unwrap_err().is_temporary());
    assert_eq!(server.received().len(), 13);
}

#[test]
fn pause_that_is_asked_for_is_kept() {
    let (server, model) = after_the_first(|number, request| match number {
        0 => Reply::new(429, "Retry-After: 0.3\r\n", ""),
        _ => right(request),
    });
    let start = Instant::now();
    model.embed(&["a text"]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300), "it waits at least as long as it was told");
    assert_eq!(server.received().len(), 3);
    // Longer than anybody waits: it is not waited for at all.
    for pause in ["86400", "Fri, 31 Dec 2399 23:59:59 GMT", "1e300"] {
        let (server, model) = after_the_first(move |_, _| Reply::new(503, &format!("Retry-After: {pause}\r\n"), ""));
        let error = model.embed(&["a text"]).unwrap_err();
        assert!(error.is_temporary(), "{error}");
        // What no clock can say counts as not said.
        assert_eq!(server.received().len(), if pause == "1e300" { 7 } else { 2 }, "{pause}");
    }
}

#[test]
fn wrong_answers_are_refused_and_not_asked_for_again() {
    type Answer = fn(&Received) -> serde_json::Value;
    let cases: [(&str, Answer); 9] = [
        ("1 embeddings for 2 texts", |request| json!({ "data": (request.embeddings()[..1]) })),
        (
            "3 embeddings for 2 texts",
            |request| json!({ "data": ([request.embeddings(), request.embeddings()].concat()[..3]) }),
        ),
        ("index 1 twice or beyond", |request| json!({ "data": [request.embeddings()[1], request.embeddings()[1]] })),
        (
            "index 7 twice or beyond",
            |_| json!({ "data": [{ "index": 7, "embedding": [1] }, { "index": 0, "embedding": [1] }] }),
        ),
        ("has 2 numbers, another 3", |_| json!({ "data": [{ "embedding": [1, 2] }, { "embedding": [1, 2] }] })),
        ("has 0 numbers", |_| json!({ "data": [{ "embedding": [] }, { "embedding": [] }] })),
        ("not finite", |_| json!({ "data": [{ "embedding": [1, 2, 1e200] }, { "embedding": [1, 2, 3] }] })),
        ("not finite", |_| json!({ "data": [{ "embedding": "AACAPwAAwH8AAIA/" }, { "embedding": [1, 2, 3] }] })),
        (
            "neither a list of numbers nor base64",
            |_| json!({ "data": [{ "embedding": "AACA" }, { "embedding": [1, 2, 3] }] }),
        ),
    ];
    for (expected, answer) in cases {
        let (server, model) = after_the_first(move |_, request| Reply::json(&answer(request)));
        let said = message(&model);
        assert!(said.contains("gave a wrong answer") && said.contains(expected), "{said}");
        assert_eq!(server.received().len(), 2, "{expected}");
    }
    for (expected, body) in [
        ("not understood", "{\"data\": [{\"embedding\": [1, NaN, 2]}]}".to_owned()),
        ("not understood", "{\"data\": 3}".to_owned()),
        ("longer than", format!("{{\"data\": \"{}\"}}", "x".repeat(1 << 20))),
        ("not understood", "[".repeat(12_000)),
    ] {
        let (server, model) = after_the_first(move |_, _| Reply::new(200, "", &body));
        let said = message(&model);
        assert!(said.contains("gave a wrong answer") && said.contains(expected), "{said}");
        assert_eq!(server.received().len(), 2, "{expected}");
    }
}

#[test]
fn a_web_page_in_place_of_an_answer_is_told_with_the_remedy() {
    for page in ["<html></html>", "\n<!DOCTYPE html><html>"] {
        let server = Server::start(move |_, _| Reply::new(200, "Content-Type: text/html\r\n", page));
        let error = connect(&server, PACE).err().unwrap();
        let said = error.to_string();
        assert!(said.contains("a web page; set KITHDB_EMBEDDINGS_URL to its address up to /v1"), "{said}");
        assert!(!error.is_temporary());
    }
}

#[test]
fn what_the_user_must_set_right_is_told_with_the_remedy() {
    for (status, code, expected) in [
        (401, "", "set OPENAI_API_KEY or, for another endpoint, KITHDB_EMBEDDINGS_KEY"),
        (403, "", "set OPENAI_API_KEY or, for another endpoint, KITHDB_EMBEDDINGS_KEY"),
        (404, "model_not_found", "KITHDB_EMBEDDINGS_URL its address up to /v1"),
        (429, "insufficient_quota", "pay, or use another key or endpoint"),
        (418, "", "see KITHDB_EMBEDDINGS_URL"),
    ] {
        let server =
            Server::start(move |_, _| Reply::error(status, &format!("Incorrect API key provided: {KEY}"), code));
        let error = connect(&server, PACE).err().unwrap();
        let said = error.to_string();
        assert!(said.contains(&status.to_string()) && said.contains(expected) && !said.contains(KEY), "{said}");
        assert!(!error.is_temporary());
        assert_eq!(server.received().len(), 1, "{said}");
    }
}

#[test]
fn endpoint_that_says_it_is_elsewhere_is_not_followed() {
    let elsewhere = Server::start(|_, request| right(request));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: {}embeddings\r\n", elsewhere.url());
        let server = Server::start(move |_, _| Reply::new(status, &location, ""));
        let said = connect(&server, PACE).err().unwrap().to_string();
        assert!(said.contains("it is elsewhere; set KITHDB_EMBEDDINGS_URL"), "{said}");
    }
    assert!(elsewhere.received().is_empty(), "the key went where nobody said");
}

#[test]
fn slow_and_absent_endpoints_are_given_up_in_time() {
    let pace = Pace { answer: Duration::from_millis(300), all: Duration::from_millis(1), ..PACE };
    let server = Server::start(|_, request| {
        thread::sleep(Duration::from_millis(600));
        right(request)
    });
    let error = connect(&server, pace).err().unwrap();
    assert!(error.is_temporary() && error.to_string().contains("no answer within 300ms"), "{error}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Remote::connect("openai:m", "m", client(&format!("http://{closed}"), PACE)).err().unwrap();
    assert!(error.is_temporary() && error.to_string().contains("cannot be reached"), "{error}");
}

#[test]
fn key_is_not_sent_before_the_connection_is_safe() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut hello = vec![0; 4096];
        let length = std::io::Read::read(&mut stream, &mut hello).unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        hello.truncate(length);
        hello
    });
    let error = Remote::connect("openai:m", "m", client(&format!("https://{address}/v1"), PACE)).err().unwrap();
    assert!(error.to_string().contains("no safe connection"), "{error}");
    let hello = heard.join().unwrap();
    assert_eq!(hello[0], 0x16, "a handshake of TLS");
    assert!(!String::from_utf8_lossy(&hello).contains(KEY));
}
