//! `kith demo` proves what it claims, on the extract and on a database of the user's.

mod common;

use common::Place;
use rusqlite::Connection;

#[test]
fn demo_on_the_extract_ends_with_equal_files() {
    let place = Place::new();
    let report = place.json(&["demo", "--folder", "demo"]);
    assert_eq!(report["proven"], true, "{report:#}");
    assert_eq!(report["rows_at_first"], 2_009 + 3_547 + 3_834 + 5_326);
    assert_eq!(report["differences"].as_array().unwrap().len(), 0);
    // Every row of the four tables came in as one change at least; the phone's part of the writes came back.
    let merged = |phase: &str, side: &str| report[phase][format!("merged_on_{side}")].as_u64().unwrap();
    assert!(merged("first_sync", "phone") >= report["rows_at_first"].as_u64().unwrap(), "{report:#}");
    assert!(merged("second_sync", "phone") > 0 && merged("second_sync", "laptop") > 0, "{report:#}");
    assert!(report["first_sync"]["phone_received_bytes"].as_u64().unwrap() > 10_000, "{report:#}");
    let contests = report["cells_written_by_both"].as_array().unwrap();
    for winner in ["laptop", "phone"] {
        assert!(contests.iter().any(|contest| contest["winner"] == winner), "{report:#}");
    }
    assert!(contests.iter().all(|contest| contest["later_stamp_won"] == true), "{report:#}");
    // The chain of hypernyms is followed again here, word by word, in the phone's file.
    let hypernyms: Vec<_> =
        report["graph"]["hypernyms"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(hypernyms.len() > 3 && hypernyms.last() == Some(&"entity"), "{report:#}");
    let phone = Connection::open(place.path("demo").join("phone.db")).unwrap();
    for pair in hypernyms.windows(2) {
        let sql = "SELECT count(*) FROM words a JOIN senses s ON s.word = a.id JOIN relations r ON r.source = s.synset
                     JOIN senses t ON t.synset = r.target JOIN words b ON b.id = t.word
                   WHERE a.lemma = ?1 AND b.lemma = ?2 AND r.kind IN ('hypernym', 'instance_hypernym')";
        let found: i64 = phone.query_row(sql, [pair[0], pair[1]], |row| row.get(0)).unwrap();
        assert!(found > 0, "{pair:?} in {report:#}");
    }
    assert!(report["graph"]["shortest_path"].as_array().unwrap().len() > 2, "{report:#}");
    // The comparison is done again here, with nothing of the demo's.
    let dump = |name: &str| -> Vec<String> {
        let conn = Connection::open(place.path("demo").join(name)).unwrap();
        let sql = "SELECT quote(id) || quote(pos) || quote(lexfile) || quote(gloss) FROM synsets ORDER BY id";
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    };
    assert!(dump("laptop.db") == dump("phone.db"));
    assert!(dump("laptop.db").iter().any(|row| row.contains("[phone]")));
}

#[test]
fn demo_on_a_file_of_the_users_leaves_it_alone_and_names_what_it_skips() {
    let place = Place::new();
    let conn = Connection::open(place.path("app.db")).unwrap();
    conn.execute_batch(
        "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE, score REAL, face BLOB, born INTEGER CHECK(born > 1900));
         CREATE TABLE posts(id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users(id), title TEXT NOT NULL);
         CREATE TABLE tags(\"the name\" TEXT, weight REAL, note ANY, PRIMARY KEY(\"the name\", weight)) STRICT, WITHOUT ROWID;
         CREATE TABLE log(at TEXT, line TEXT);
         CREATE VIEW titles AS SELECT title FROM posts;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
           INSERT INTO users SELECT i, 'u' || i || '@example.org', i / 3.0, randomblob(i), 1950 + i FROM n;
         INSERT INTO posts(user_id, title) SELECT id, 'Post ' || id FROM users;
         INSERT INTO tags SELECT 't' || id, id / 2.0, CASE id % 3 WHEN 0 THEN 'x' WHEN 1 THEN id END FROM users;
         INSERT INTO log VALUES('now', 'line')",
    )
    .unwrap();
    drop(conn);
    let before = std::fs::read(place.path("app.db")).unwrap();
    let report = place.json(&["demo", "--folder", "demo", "--from", "app.db"]);
    assert_eq!(report["proven"], true, "{report:#}");
    let skipped: Vec<_> =
        report["skipped"].as_array().unwrap().iter().map(|skipped| skipped["table"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["log", "titles"]);
    assert!(report["skipped"][0]["reason"].as_str().unwrap().contains("no PRIMARY KEY"));
    assert!(std::fs::read(place.path("app.db")).unwrap() == before);
    assert!(!place.path("app.db-kith-key").exists());
}

#[test]
fn demo_refuses_what_it_cannot_use() {
    let place = Place::new();
    let refusal = place.fails(&["demo", "--folder", "demo", "--from", "nowhere.db"]);
    assert!(refusal.contains("there is no file nowhere.db"), "{refusal}");
    place.init_notes("a.db");
    Connection::open(place.path("empty.db")).unwrap().execute_batch("CREATE TABLE t(a); DROP TABLE t").unwrap();
    // Of a demo that fails nothing is left where nobody looks.
    let mut failing = place.command(&["demo", "--from", "empty.db"]);
    let output = failing.env("TMPDIR", place.folder()).output().unwrap();
    let refusal = common::text(&output.stderr);
    assert!(!output.status.success() && refusal.contains("has no tables, so there is nothing to sync"), "{refusal}");
    let left = std::fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("kith-demo-")));
    let refusal = place.fails(&["demo", "--folder", "other", "--from", "a.db"]);
    assert!(refusal.contains("is a KithDB database already"), "{refusal}");
    let refusal = place.fails(&["demo", "--folder", "other"]);
    assert!(refusal.contains("choose another with --folder"), "{refusal}");
}

#[test]
fn demo_on_few_rows_tells_of_no_writes_that_were_not_made() {
    let place = Place::new();
    let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES(1, 'x')";
    Connection::open(place.path("app.db")).unwrap().execute_batch(sql).unwrap();
    let said = place.ok(&["demo", "--folder", "demo", "--from", "app.db"]);
    let none = said.lines().find(|line| line.contains(" 0 of ") || line.trim_start().starts_with("0 "));
    assert_eq!(none, None, "{said}");
}
