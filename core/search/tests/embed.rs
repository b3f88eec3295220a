//! `kith_embed` with a model, which may read files and ask an endpoint: only the one who writes the statement can have it do so.

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::fallible_iterator::FallibleIterator as _;

fn open() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn
}

const LENGTH: i64 = 384 * 4;

#[test]
fn statement_may_name_a_model() {
    let conn = open();
    let ask = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap();
    assert_eq!(ask("SELECT length(kith_embed('wine', 'lexical-1'))"), Some(LENGTH));
    assert_eq!(ask("SELECT kith_embed('wine', 'lexical-1') = kith_embed('wine')"), Some(1));
    assert_eq!(ask("SELECT length(kith_embed(NULL, 'lexical-1'))"), None);
    assert_eq!(ask("SELECT length(kith_embed('', 'lexical-1'))"), None);
    let refused = |sql: &str| conn.query_row(sql, [], |_| Ok(())).unwrap_err().to_string();
    assert!(refused("SELECT kith_embed('wine', '../models')").contains("there is no embedding model \"../models\""));
    assert!(refused("SELECT kith_embed('wine', 7)").contains("kith_embed takes a text"));
}

/// A file that came from elsewhere, or a table that a peer defined, is such a schema.
#[test]
fn schema_may_not_name_a_model() {
    // Each is refused when it is made, or else when it is used.
    for (schema, statement) in [
        ("CREATE VIEW v AS SELECT kith_embed(body, 'openai:m') FROM t", "SELECT * FROM v"),
        (
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT kith_embed(new.body, 'openai:m'); END",
            "INSERT INTO t VALUES('x')",
        ),
        ("CREATE TABLE c(body CHECK(kith_embed(body, 'openai:m') IS NOT NULL))", "INSERT INTO c VALUES('x')"),
        ("CREATE TABLE c(body, e DEFAULT (kith_embed('x', 'openai:m')))", "INSERT INTO c(body) VALUES('x')"),
        ("CREATE TABLE c(body, e AS (kith_embed(body, 'openai:m')))", "INSERT INTO c VALUES('x'); SELECT e FROM c"),
        ("CREATE INDEX i ON t(kith_embed(body, 'openai:m'))", "INSERT INTO t VALUES('x')"),
        ("CREATE INDEX i ON t(body) WHERE kith_embed(body, 'openai:m') IS NOT NULL", "INSERT INTO t VALUES('x')"),
    ] {
        let conn = open();
        conn.execute_batch("CREATE TABLE t(body); INSERT INTO t VALUES('wine')").unwrap();
        let run = |sql: &str| {
            let mut batch = rusqlite::Batch::new(&conn, sql);
            while let Some(mut statement) = batch.next()? {
                let mut rows = statement.raw_query();
                while rows.next()?.is_some() {}
            }
            Ok::<_, rusqlite::Error>(())
        };
        let error = run(schema).and_then(|()| run(statement)).expect_err(schema).to_string();
        assert!(error.contains("unsafe use of kith_embed()"), "{schema}: {error}");
        // The lexical model reads nothing and asks nobody.
        let conn = open();
        conn.execute_batch("CREATE TABLE t(body); INSERT INTO t VALUES('wine')").unwrap();
        conn.execute_batch(&schema.replace(", 'openai:m'", "")).expect(schema);
    }
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE t(body, e); CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET e = kith_embed(new.body); END;
         INSERT INTO t(body) VALUES('wine')",
    )
    .unwrap();
    assert_eq!(conn.query_row("SELECT length(e) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), LENGTH);
}

#[test]
fn a_table_made_otherwise_is_embedded_though_another_connection_used_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let conn = Connection::open(folder.path().join("a.db")).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        kithdb_core::everywhere::register(&conn).unwrap();
        conn
    };
    let create = |source| {
        format!(
            "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source={source}, model=lexical-1)"
        )
    };
    let (first, second) = (open(), open());
    first.execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, body TEXT, embedding BLOB)").unwrap();
    first.execute_batch(&create("title")).unwrap();
    second.execute_batch("SELECT rowid FROM near").unwrap();
    first.execute_batch("DROP TABLE near").unwrap();
    first.execute_batch(&create("body")).unwrap();
    first.execute_batch("INSERT INTO docs(title, body) VALUES('coat', 'wine')").unwrap();
    let is_right = "SELECT vec_distance_l2(embedding, kith_embed('wine')) < 1e-6 FROM docs";
    let is_embedded = (0..1_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        first.query_row(is_right, [], |row| row.get(0)) == Ok(Some(true))
    });
    assert!(is_embedded);
}
