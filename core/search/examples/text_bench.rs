//! What text search costs: queries and writes on 100,000 made documents, beside FTS5 asked and kept by hand.
//!
//! `cargo run --release --package kithdb-search --example text_bench`

use std::time::{Duration, Instant};

use rusqlite::Connection;

const DOCUMENTS: usize = 100_000;
const WRITES: usize = 10_000;
const NAMES: usize = 50_000;
const WORDS_PER_DOCUMENT: usize = 60;
const FREQUENT: [&str; 10] = ["the", "of", "and", "a", "in", "to", "is", "with", "welche", "dass"];
const QUERIES: [&str; 4] =
    ["the w77 of w2000", "history of the w33 and w901 in welche w1200", "w777 with a w40 dass", "to the w12345"];

/// A generator that needs no library (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn document(&mut self) -> String {
        let mut words = Vec::with_capacity(WORDS_PER_DOCUMENT);
        for _ in 0..WORDS_PER_DOCUMENT {
            if self.next() < 0.35 {
                words.push(FREQUENT[(self.next() * 10.0) as usize].to_owned());
            } else {
                // Zipf: the n-th word is about 1/n as frequent as the first.
                words.push(format!("w{}", 40_000_f64.powf(self.next()) as u32));
            }
        }
        words.join(" ")
    }

    fn name(&mut self) -> String {
        const PARTS: [&str; 12] = ["an", "ber", "ton", "smi", "jo", "hn", "mar", "el", "ro", "son", "ka", "li"];
        let mut word = || {
            let parts = 2 + (self.next() * 3.0) as usize;
            (0..parts).map(|_| PARTS[(self.next() * 12.0) as usize]).collect::<String>()
        };
        format!("{} {}", word(), word())
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let out = run();
    (out, start.elapsed())
}

fn rows(conn: &Connection, sql: &str, text: &str) -> usize {
    let mut statement = conn.prepare(sql).unwrap();
    let mut rows = statement.query([text]).unwrap();
    let mut count = 0;
    while rows.next().unwrap().is_some() {
        count += 1;
    }
    count
}

/// The best of five.
fn best(mut run: impl FnMut() -> usize) -> Duration {
    (0..5).map(|_| timed(&mut run).1).min().unwrap()
}

fn fill(conn: &Connection, random: &mut Random, count: usize) {
    conn.execute_batch("BEGIN").unwrap();
    for _ in 0..count {
        conn.prepare_cached("INSERT INTO n(body) VALUES(?1)").unwrap().execute([random.document()]).unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
}

fn writes(conn: &Connection, random: &mut Random, sql: &str) -> Duration {
    let documents: Vec<String> = (0..WRITES).map(|_| random.document()).collect();
    timed(|| {
        conn.execute_batch("BEGIN").unwrap();
        for (id, body) in documents.iter().enumerate() {
            conn.prepare_cached(sql).unwrap().execute(rusqlite::params![body, id as i64 + 1]).unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
    })
    .1 / WRITES as u32
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let conn = Connection::open(folder.path().join(name)).unwrap();
        kithdb_search::register(&conn, |_| None).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL").unwrap();
        conn
    };
    let conn = open("ours.db");
    let mut random = Random(7);
    conn.execute_batch("CREATE TABLE n(id INTEGER PRIMARY KEY, body TEXT)").unwrap();
    fill(&conn, &mut random, DOCUMENTS);
    let (_, took) = timed(|| conn.execute_batch("SELECT kith_text('n', 'body')").unwrap());
    println!("kith_text of {DOCUMENTS} documents: {took:.2?}");
    for text in QUERIES {
        let raw: Vec<String> = text.split(' ').map(|word| format!("\"{word}\"")).collect();
        let raw = raw.join(" OR ");
        let by_hand =
            best(|| rows(&conn, "SELECT rowid FROM n_text WHERE n_text MATCH ?1 ORDER BY rank LIMIT 10", &raw));
        let first = timed(|| rows(&conn, "SELECT key FROM kith_search('n', ?1, 10)", text)).1;
        let ours = best(|| rows(&conn, "SELECT key FROM kith_search('n', ?1, 10)", text));
        let marked = best(|| rows(&conn, "SELECT key, snippet FROM kith_search('n', ?1, 10)", text));
        println!(
            "{text:?}: raw OR {by_hand:.2?}; kith_search at first {first:.2?}, then {ours:.2?}, with snippets {marked:.2?}"
        );
    }
    let plain = open("plain.db");
    plain
        .execute_batch(
            "CREATE TABLE n(id INTEGER PRIMARY KEY, body TEXT); CREATE VIRTUAL TABLE f USING fts5(body, content=n, content_rowid=id);
             CREATE TRIGGER i AFTER INSERT ON n BEGIN INSERT INTO f(rowid, body) VALUES(new.id, new.body); END;
             CREATE TRIGGER u AFTER UPDATE ON n BEGIN INSERT INTO f(f, rowid, body) VALUES('delete', old.id, old.body);
               INSERT INTO f(rowid, body) VALUES(new.id, new.body); END",
        )
        .unwrap();
    fill(&plain, &mut random, DOCUMENTS);
    // FTS5 keeps the memory of its largest batch and goes through it with each small one; so the one kept by hand begins afresh, while
    // ours goes on with the connection that made the index.
    drop(plain);
    let plain = open("plain.db");
    for (what, sql) in [
        ("insert", "INSERT INTO n(body) SELECT ?1 WHERE ?2"),
        ("update", "UPDATE n SET body = ?1 WHERE id = ?2"),
        ("replace", "INSERT OR REPLACE INTO n(body, id) VALUES(?1, ?2)"),
    ] {
        let ours = writes(&conn, &mut random, sql);
        let by_hand = if what == "replace" {
            "(goes wrong)".to_owned()
        } else {
            format!("{:.2?}", writes(&plain, &mut random, sql))
        };
        println!("{what}: {ours:.2?} a row; with the usual triggers {by_hand}");
    }
    conn.execute_batch("CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT); BEGIN").unwrap();
    for _ in 0..NAMES {
        conn.prepare_cached("INSERT INTO p(name) VALUES(?1)").unwrap().execute([random.name()]).unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
    let fuzzy = "SELECT key FROM kith_fuzzy('p', 'name', ?1, 5)";
    for _ in 0..2 {
        for text in ["jonh smiton", "marel sonka"] {
            println!("kith_fuzzy {text:?} in {NAMES} names: {:.2?}", best(|| rows(&conn, fuzzy, text)));
        }
        let (_, took) = timed(|| conn.execute_batch("SELECT kith_fuzzy_index('p', 'name')").unwrap());
        println!("kith_fuzzy_index: {took:.2?}");
    }
}
