//! A server that answers each request as a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::expected;

/// A request as it came in.
#[derive(Clone)]
pub struct Received {
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: Value,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    pub fn texts(&self) -> Vec<String> {
        serde_json::from_value(self.body["input"].clone()).unwrap()
    }

    /// The right answer's items.
    pub fn embeddings(&self) -> Vec<Value> {
        let item = |(index, text): (usize, &String)| serde_json::json!({ "object": "embedding", "index": index, "embedding": expected(text) });
        self.texts().iter().enumerate().map(item).collect()
    }
}

/// What a request is answered with, byte for byte.
pub struct Reply(pub Vec<u8>);

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self::new(200, "", &body.to_string())
    }

    pub fn error(status: u16, message: &str, code: &str) -> Self {
        Self::new(status, "", &serde_json::json!({ "error": { "message": message, "code": code } }).to_string())
    }

    pub fn new(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self(
            format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
                .into_bytes(),
        )
    }
}

/// Runs until the test's process ends.
pub struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// Answers by the number of the request, from 0, and by what it says.
    pub fn start(answer: impl Fn(usize, &Received) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), received: Arc::default() };
        let received = Arc::clone(&server.received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Who gives up before the answer is there has closed the connection.
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else { continue };
                let number = {
                    let mut received = received.lock().unwrap();
                    received.push(request.clone());
                    received.len() - 1
                };
                let _ = stream.write_all(&answer(number, &request).0);
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1/", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let mut received = Received { line: lines[0].clone(), headers, body: Value::Null };
    let mut body = vec![0; received.header("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    received.body = serde_json::from_slice(&body).ok()?;
    Some(received)
}
