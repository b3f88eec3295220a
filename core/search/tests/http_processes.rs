//! Several processes on one file, of which one asks the endpoint. This test starts itself again as each of them.

#[expect(dead_code, reason = "here the server does not fail")]
#[path = "../src/embed/http/tests/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use server::{Received, Reply, Server};

/// What cannot have ended by then does not end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Set for the processes that this one starts.
const FILE: &str = "KITHDB_TEST_FILE";
const ROWS: usize = 200;
/// Of a step.
const BATCH: usize = 64;
const FIRST: &str = "a first text";

fn expected(text: &str) -> Vec<f32> {
    let mut numbers = vec![0.5; 64];
    numbers[0] = text.len() as f32;
    numbers
}

fn open(path: &Path, register: fn(&Connection) -> rusqlite::Result<()>) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    register(&conn).unwrap();
    conn
}

/// Opens without a background.
fn open_plain(path: &Path) -> Connection {
    open(path, |conn| kithdb_search::register(conn, |_| None))
}

fn start(test: &str, path: &Path, url: &str, key: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FILE, path)
        .env("KITHDB_EMBEDDINGS_URL", url)
        .env("KITHDB_EMBEDDINGS_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn key_of(request: &Received) -> String {
    request.header("authorization").unwrap().trim_start_matches("Bearer ").to_owned()
}

/// How often each text was asked for with one of the keys.
fn asked(requests: &[Received], keys: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests.iter().filter(|request| keys.contains(&key_of(request).as_str())) {
        for text in request.texts().into_iter().filter(|text| text != FIRST) {
            *counts.entry(text).or_insert(0) += 1;
        }
    }
    counts
}

fn once(name: &str) -> BTreeMap<String, usize> {
    (1..=ROWS).map(|number| (format!("{name} {number}"), 1)).collect()
}

/// Uses the table until nobody wants it any more.
fn use_table(path: &Path) {
    let conn = open(path, kithdb_core::everywhere::register);
    // To be connected is no use yet.
    conn.query_row("SELECT count(*) FROM near", [], |row| row.get::<_, i64>(0)).unwrap();
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    conn.close().map_err(|(_, error)| error).unwrap();
}

const ONE_ASKS: &str = "one_process_asks_for_each_text_and_another_when_it_is_killed";

#[test]
fn one_process_asks_for_each_text_and_another_when_it_is_killed() {
    if let Some(path) = env::var_os(FILE).map(PathBuf::from) {
        return use_table(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docs.db");
    let is_held = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&is_held);
    let server = Server::start(move |_, request| {
        while held.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        Reply::json(&serde_json::json!({ "data": request.embeddings() }))
    });
    let conn = open_plain(&path);
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.execute_batch(&format!(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) INSERT INTO docs SELECT i, 'old ' || i, NULL FROM n;
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, model='openai:m', dims=64)"
    ))
    .unwrap();
    let is_done = || {
        let sql =
            "SELECT to_embed = 0 AND (SELECT count(*) FROM docs WHERE embedding IS NULL) = 0 FROM kith_vector_stats";
        conn.query_row(sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    let keys = ["sk-one", "sk-two"];
    let mut children = keys.map(|key| start(ONE_ASKS, &path, &server.url(), key));
    // Held until the end, as a process whose output nobody takes fails.
    let _said = children.each_mut().map(|child| {
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap() == "ready"));
        said
    });
    wait_until("the texts are not embedded", is_done);
    assert_eq!(asked(&server.received(), &keys), once("old"));

    // Whoever has the turn is killed while the endpoint is thinking.
    is_held.store(true, Ordering::Relaxed);
    let before = server.received().len();
    conn.execute_batch("UPDATE docs SET body = 'new ' || id").unwrap();
    wait_until("nobody asks", || server.received().len() > before);
    let first = server.received()[before].clone();
    let killed = keys.iter().position(|key| *key == key_of(&first)).unwrap();
    children[killed].kill().unwrap();
    children[killed].wait().unwrap();
    is_held.store(false, Ordering::Relaxed);
    wait_until("nobody takes the turn over", is_done);
    let survivor = keys[1 - killed];
    assert_eq!(asked(&server.received()[before..], &[survivor]), once("new"));
    assert!(asked(&server.received()[before..], &[keys[killed]]).len() <= BATCH);

    for (number, mut child) in children.into_iter().enumerate() {
        drop(child.stdin.take());
        assert!(number == killed || child.wait().unwrap().success());
    }
    let names = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with("-lock")).collect::<Vec<_>>(), [""; 0]);
}

const BOUNDED: &str = "an_endpoint_that_says_nothing_keeps_no_table_from_being_created";

/// Creating a table holds the lock that others need to write.
#[test]
fn an_endpoint_that_says_nothing_keeps_no_table_from_being_created() {
    if let Some(path) = env::var_os(FILE).map(PathBuf::from) {
        let conn = open_plain(&path);
        let create = |more: &str| {
            conn.execute_batch(&format!(
                "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, model='openai:m'{more})"
            ))
        };
        let error = create("").unwrap_err().to_string();
        assert!(error.contains("the endpoint has said nothing for 5s"), "{error}");
        assert!(error.contains("with dims= the table can be created before the model is there"), "{error}");
        return create(", dims=64").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docs.db");
    open_plain(&path).execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB)").unwrap();
    let server = Server::start(|_, _| {
        loop {
            thread::sleep(PATIENCE);
        }
    });
    let output = start(BOUNDED, &path, &server.url(), "sk-one").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let conn = open_plain(&path);
    let problem =
        conn.query_row("SELECT model_problem FROM kith_vector_stats", [], |row| row.get::<_, String>(0)).unwrap();
    assert!(problem.contains("has said nothing"), "{problem}");
}
