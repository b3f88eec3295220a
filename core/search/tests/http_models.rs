//! Embeddings of an HTTP endpoint from SQL, as the environment of a process says.

#[expect(dead_code, reason = "here the server does not fail")]
#[path = "../src/embed/http/tests/server.rs"]
mod server;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use server::{Reply, Server};

const KEY: &str = "sk-very-secret-0123456789";
/// Set for the process that this one starts.
const FILE: &str = "KITHDB_TEST_FILE";

fn expected(text: &str) -> Vec<f32> {
    vec![text.len() as f32, 1.0]
}

/// The environment is the process's, so the test starts itself again with another one.
#[test]
fn endpoint_and_key_are_those_of_the_environment() {
    if let Some(file) = env::var_os(FILE).map(PathBuf::from) {
        return ask(&file);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docs.db");
    let server = Server::start(|_, request| Reply::json(&serde_json::json!({ "data": request.embeddings() })));
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "endpoint_and_key_are_those_of_the_environment", "--nocapture"])
        .env(FILE, &file)
        .env("KITHDB_EMBEDDINGS_URL", server.url())
        .env("KITHDB_EMBEDDINGS_KEY", KEY)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(!said.contains(KEY));
    // The first is to learn how long its embeddings are; then the model is kept.
    let requests = server.received();
    assert_eq!(
        requests.iter().map(|request| request.texts().remove(0)).collect::<Vec<_>>()[1..],
        ["wine", "water", "wine"]
    );
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&format!("Bearer {KEY}"))));
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()), "{}", path.display());
        files += 1;
    }
    assert!(files > 0, "the database is there");
}

fn ask(file: &Path) {
    let conn = Connection::open(file).unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB); INSERT INTO docs(body) VALUES('wine'), (''), ('water');
         UPDATE docs SET embedding = kith_embed(body, 'openai:small');
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2)",
    )
    .unwrap();
    let sql = "SELECT body FROM near JOIN docs ON docs.id = near.rowid WHERE near.embedding MATCH kith_embed('wine', 'openai:small') AND k = 2
               ORDER BY distance";
    let mut rows = conn.prepare(sql).unwrap();
    let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows, ["wine", "water"]);
    let kept =
        conn.query_row("SELECT count(*) FROM docs WHERE embedding IS NULL", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(kept, 1, "an empty text has no embedding");
}
