//! Searches, errors, keys, plans and the life of the table.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Params};

pub(super) fn open() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

pub(super) const DOCS: &str = "CREATE TABLE docs(id INTEGER PRIMARY KEY, lang TEXT, embedding BLOB);
    CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
    INSERT INTO docs VALUES(1, 'en', vec_f32('[0,0]')), (2, 'de', '[1,0]'), (3, 'en', vec_f32('[3,0]')), (4, 'en', NULL);";

pub(super) fn docs() -> Connection {
    let conn = open();
    conn.execute_batch(DOCS).unwrap();
    conn
}

pub(super) fn ids(conn: &Connection, sql: &str, params: impl Params) -> Vec<i64> {
    conn.prepare(sql).unwrap().query_map(params, |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

pub(super) fn near(conn: &Connection) -> Vec<i64> {
    ids(conn, "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 10", [])
}

pub(super) fn message(conn: &Connection, sql: &str) -> String {
    match conn.prepare(sql).and_then(|mut statement| statement.query([])?.next().map(|_| ())) {
        Ok(()) => panic!("{sql} ran"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn nearest_rows_come_first_by_k_and_by_limit() {
    let conn = docs();
    assert_eq!(near(&conn), [1, 2, 3]);
    assert_eq!(ids(&conn, "SELECT rowid FROM doc_vectors WHERE embedding MATCH ?1 AND k = 2", ["[3,0]"]), [3, 2]);
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[3,0]' ORDER BY distance LIMIT 1 OFFSET 1";
    assert_eq!(ids(&conn, sql, []), [2]);
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[3,0]' AND k = 2 ORDER BY distance DESC";
    assert_eq!(ids(&conn, sql, []), [2, 3]);
    let distance: f64 = conn
        .query_row("SELECT distance FROM doc_vectors WHERE embedding MATCH '[3,4]' AND k = 1", [], |row| row.get(0))
        .unwrap();
    assert!((distance - 4.0).abs() < 1e-6);
}

#[test]
fn joins_see_the_nearest_only() {
    let conn = docs();
    let sql = "SELECT d.id FROM doc_vectors v JOIN docs d ON d.id = v.rowid WHERE v.embedding MATCH '[0,0]' AND v.k = 2 ORDER BY v.distance";
    assert_eq!(ids(&conn, sql, []), [1, 2]);
    // Even where an index names the few rows of the other table, the search comes first.
    conn.execute_batch("CREATE INDEX by_lang ON docs(lang); ANALYZE").unwrap();
    let sql = "SELECT d.id FROM docs d, doc_vectors v WHERE d.id = v.rowid AND v.embedding MATCH '[0,0]' AND v.k = 1 AND d.lang = 'de'";
    assert_eq!(ids(&conn, sql, []), [0; 0]);
    // Where the statement has the other table first, its row is known when the search begins.
    let sql = "SELECT d.id FROM docs d CROSS JOIN doc_vectors v ON d.id = v.rowid WHERE v.embedding MATCH '[0,0]' AND v.k = 2 ORDER BY d.id";
    assert_eq!(ids(&conn, sql, []), [1, 2, 3]);
    let sql = "SELECT v.distance = 3 FROM docs d LEFT JOIN doc_vectors v ON d.id = v.rowid AND v.embedding MATCH '[0,0]' AND v.k = 1 WHERE d.id = 3";
    assert_eq!(ids(&conn, sql, []), [1]);
    let sql = "SELECT (SELECT v.rowid FROM doc_vectors v WHERE v.embedding MATCH d.embedding AND v.k = 1) FROM docs d WHERE d.embedding IS NOT NULL ORDER BY d.id";
    assert_eq!(ids(&conn, sql, []), [1, 2, 3]);
}

#[test]
fn every_write_is_seen_at_once_and_undone_with_its_transaction() {
    let conn = docs();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch(
        "BEGIN; UPDATE docs SET embedding = vec_f32('[9,0]') WHERE id = 1; INSERT INTO docs VALUES(5, 'en', '[2,0]')",
    )
    .unwrap();
    assert_eq!(near(&conn), [2, 5, 3, 1]);
    conn.execute_batch("SAVEPOINT s; DELETE FROM docs WHERE id = 2; UPDATE docs SET id = 7 WHERE id = 5").unwrap();
    assert_eq!(near(&conn), [7, 3, 1]);
    conn.execute_batch("ROLLBACK TO s; UPDATE docs SET embedding = NULL WHERE id = 3").unwrap();
    assert_eq!(near(&conn), [2, 5, 1]);
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch("UPDATE docs SET rowid = 20 WHERE id = 2; DELETE FROM docs WHERE id = 1").unwrap();
    assert_eq!(near(&conn), [20, 3]);
    conn.execute_batch("DELETE FROM docs").unwrap();
    assert_eq!(near(&conn), [0; 0]);
}

#[test]
fn rows_displaced_by_replace_are_not_answered() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, name TEXT UNIQUE, embedding BLOB);
         CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         INSERT INTO docs VALUES(1, 'a', '[0,0]'), (2, 'b', '[1,0]'), (3, 'c', '[2,0]');",
    )
    .unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch("INSERT OR REPLACE INTO docs VALUES(4, 'a', '[3,0]')").unwrap();
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 2";
    assert_eq!(ids(&conn, sql, []), [2, 3]);
    assert_eq!(ids(&conn, "SELECT indexed FROM kith_vector_stats", []), [3]);
    // Nothing is noted of this one, which is undone.
    conn.execute_batch("BEGIN; UPDATE OR REPLACE docs SET name = 'b' WHERE id = 4").unwrap();
    assert_eq!(near(&conn), [3, 4]);
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(near(&conn), [2, 3, 4]);
}

#[test]
fn bad_embeddings_are_left_out_and_listed() {
    let conn = docs();
    conn.execute_batch("INSERT INTO docs VALUES(6, 'en', '[1]'), (7, 'en', x'01'), (8, 'en', x'0000c07f00000000')")
        .unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    let (count, rows): (i64, String) = conn
        .query_row("SELECT refused, refused_rows FROM kith_vector_stats", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(count, 3);
    assert!(rows.contains("\"key\":6") && rows.contains("the embedding has 1 dimensions, the index has 2"), "{rows}");
    assert!(rows.contains("position 0 is not finite"), "{rows}");
    conn.execute_batch("UPDATE docs SET embedding = '[0.5,0]' WHERE id > 5").unwrap();
    assert_eq!(near(&conn).len(), 6);
    assert_eq!(ids(&conn, "SELECT refused FROM kith_vector_stats", []), [0]);
}

#[test]
fn whole_numbers_may_be_bound_as_floats() {
    // As JavaScript's numbers are.
    let conn = docs();
    for sql in [
        "SELECT count(*) FROM (SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND k = ?1)",
        "SELECT count(*) FROM (SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND k = 2 AND ef = ?1)",
        "SELECT count(*) FROM vector_top_k('doc_vectors', '[1,0]', ?1)",
        "SELECT vec_length(vec_slice('[1,2,3]', 0, ?1))",
    ] {
        assert_eq!(ids(&conn, sql, [2.0]), [2], "{sql}");
        assert!(
            conn.query_row(sql, [2.5], |row| row.get::<_, i64>(0)).unwrap_err().to_string().contains("number"),
            "{sql}"
        );
    }
}

#[test]
fn errors_name_the_remedy() {
    let conn = docs();
    let search = |condition: &str| message(&conn, &format!("SELECT rowid FROM doc_vectors WHERE {condition}"));
    assert!(
        search("embedding MATCH 'red' AND k = 1")
            .contains("MATCH kith_embed('a text'), or create the table with model=")
    );
    assert!(search("embedding MATCH '[1, red' AND k = 1").contains("no JSON array"));
    assert!(search("embedding MATCH '[1]' AND k = 1").contains("the query has 1 dimensions, \"doc_vectors\" has 2"));
    assert!(search("embedding MATCH '[0,0]'").contains("AND k = 10"));
    assert!(search("embedding MATCH '[0,0]' AND k = 'x'").contains("k is to be a whole number"));
    assert!(search("embedding MATCH '[0,0]' AND k = -1").contains("-1 rows"));
    assert!(search("embedding MATCH 3 AND k = 1").contains("not an integer"));
    assert!(message(&conn, "INSERT INTO doc_vectors(key) VALUES(1)").contains("write there"));
    assert!(message(&conn, "DELETE FROM doc_vectors").contains("write there"));
    assert!(message(&conn, "INSERT INTO doc_vectors(command) VALUES('flush')").contains("there is 'rebuild'"));
    let create = |arguments: &str| message(&conn, &format!("CREATE VIRTUAL TABLE v USING kith_vector({arguments})"));
    conn.execute_batch("CREATE TABLE plain(e BLOB); CREATE VIEW seen AS SELECT * FROM docs").unwrap();
    assert!(create("content=none, column=e, dims=2").contains("no table \"none\"; there are docs, plain; name"));
    assert!(create("content=plain, column=e, dims=2").contains("no PRIMARY KEY"));
    assert!(create("content=docs, column=e, dims=2").contains("no column \"e\"; it has id, lang, embedding; name"));
    assert!(create("content=seen, column=embedding, dims=2").contains("is a view"));
    assert!(create("content=doc_vectors, column=embedding, dims=2").contains("is a virtual table"));
}

#[test]
fn tables_with_other_keys_are_searched_by_key() {
    for (definition, is_without_rowid) in [
        ("CREATE TABLE docs(name TEXT PRIMARY KEY COLLATE NOCASE, embedding BLOB)", false),
        ("CREATE TABLE docs(name TEXT PRIMARY KEY COLLATE NOCASE, embedding BLOB) WITHOUT ROWID", true),
    ] {
        let conn = open();
        conn.execute_batch(definition).unwrap();
        conn.execute_batch(
            "CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
             INSERT INTO docs VALUES('A', '[0,0]'), ('b', '[1,0]'), ('c', '[2,0]');",
        )
        .unwrap();
        let names = |condition: &str| -> Vec<String> {
            let sql = format!("SELECT key FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 2 {condition}");
            conn.prepare(&sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(names(""), ["A", "b"]);
        assert_eq!(names("AND key IN ('a', 'C')"), ["A", "c"]);
        conn.execute_batch("DELETE FROM docs WHERE name = 'a'; VACUUM; UPDATE docs SET name = 'B' WHERE name = 'b'")
            .unwrap();
        assert_eq!(names(""), ["B", "c"]);
        if !is_without_rowid {
            let sql = "SELECT d.name FROM doc_vectors v JOIN docs d ON d.rowid = v.rowid WHERE v.embedding MATCH '[2,0]' AND v.k = 1";
            assert_eq!(conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap(), "c");
            let sql = "SELECT key FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 9 AND rowid IN (SELECT rowid FROM docs WHERE name = 'C')";
            assert_eq!(conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap(), "c");
        }
    }
}

#[test]
fn composite_keys_are_shown_as_json() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(a TEXT, b INT, embedding BLOB, PRIMARY KEY(a, b));
         CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         INSERT INTO docs VALUES('x', 1, '[0,0]'), ('x', 2, '[1,0]'), (NULL, 2, '[1,0]');
         DELETE FROM docs WHERE b = 1;",
    )
    .unwrap();
    let sql = "SELECT key FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 9";
    assert_eq!(conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap(), "[\"x\",2]");
}

#[test]
fn listing_shows_rows_with_an_embedding() {
    let conn = docs();
    assert_eq!(ids(&conn, "SELECT count(*) FROM doc_vectors", []), [3]);
    assert_eq!(ids(&conn, "SELECT rowid FROM doc_vectors WHERE rowid = 2", []), [2]);
    assert_eq!(ids(&conn, "SELECT rowid FROM doc_vectors WHERE rowid = 4", []), [0; 0]);
    assert_eq!(ids(&conn, "SELECT length(embedding) FROM doc_vectors WHERE rowid IN (1, 2)", []), [8, 5]);
}

#[test]
fn plans_show_what_is_pushed_down() {
    let conn = docs();
    let plan = |condition: &str| -> String {
        let sql =
            format!("EXPLAIN QUERY PLAN SELECT rowid FROM doc_vectors WHERE embedding MATCH '[0,0]' AND {condition}");
        conn.query_row(&sql, [], |row| row.get(3)).unwrap()
    };
    let ends = |condition: &str, end: &str| assert!(plan(condition).ends_with(end), "{}", plan(condition));
    ends("k = 3", "INDEX 1:scan, once the table is read: query, k");
    near(&conn);
    ends("k = 3 AND ef = 50 AND rowid IN (1, 2)", "INDEX 1:scan: query, k, ef, rowid in");
    ends("rowid IN (1, 2) ORDER BY distance LIMIT 3", "INDEX 1:scan: query, limit, rowid in");
    ends("k = 3 AND rowid IN (abs(3))", "INDEX 1:scan: query, k, rowid");
    ends("key <> abs(1) AND distance < 2 ORDER BY distance LIMIT 3", "INDEX 1:scan: query, limit, distance, key not");
}

#[test]
fn the_life_of_the_table_follows_the_schema() {
    let conn = docs();
    let left =
        || ids(&conn, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'doc_vectors%' OR name LIKE 'other%'", []);
    assert_eq!(left(), [6]);
    conn.execute_batch("ALTER TABLE doc_vectors RENAME TO other").unwrap();
    assert_eq!(left(), [6]);
    conn.execute_batch("INSERT INTO docs VALUES(9, 'en', '[0,0.1]')").unwrap();
    let sql = "SELECT rowid FROM other WHERE embedding MATCH '[0,0]' AND k = 2";
    assert_eq!(ids(&conn, sql, []), [1, 9]);
    conn.execute_batch("BEGIN; DROP TABLE other; ROLLBACK").unwrap();
    assert_eq!(ids(&conn, sql, []), [1, 9]);
    // A migration makes the table anew.
    conn.execute_batch(
        "CREATE TABLE new(id INTEGER PRIMARY KEY, embedding BLOB); INSERT INTO new SELECT id, embedding FROM docs WHERE id > 1;
         DROP TABLE docs; ALTER TABLE new RENAME TO docs;",
    )
    .unwrap();
    assert_eq!(ids(&conn, sql, []), [9, 2]);
    let problem: String = conn.query_row("SELECT problem FROM kith_vector_stats", [], |row| row.get(0)).unwrap();
    assert!(problem.contains("VALUES('rebuild')"), "{problem}");
    conn.execute_batch("INSERT INTO other(command) VALUES('rebuild'); DELETE FROM docs WHERE id = 9").unwrap();
    assert_eq!(ids(&conn, sql, []), [2, 3]);
    assert_eq!(ids(&conn, "SELECT count(*) FROM kith_vector_stats WHERE problem IS NULL", []), [1]);
    conn.execute_batch("DROP TABLE docs").unwrap();
    assert!(message(&conn, sql).contains("no table \"docs\""));
    conn.execute_batch("DROP TABLE other").unwrap();
    assert_eq!(left(), [0]);
}

#[test]
fn connections_share_an_index_and_keep_their_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let open = || {
        let conn = Connection::open(&path).unwrap();
        crate::register(&conn, |_| None).unwrap();
        conn
    };
    let (writer, reader) = (open(), open());
    writer.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    writer.execute_batch(DOCS).unwrap();
    assert_eq!(near(&reader), [1, 2, 3]);
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(near(&reader), [1, 2, 3]);
    writer.execute_batch("DELETE FROM docs WHERE id = 1; INSERT INTO docs VALUES(5, 'x', '[0.5,0]')").unwrap();
    assert_eq!(near(&writer), [5, 2, 3]);
    assert_eq!(near(&reader), [1, 2, 3]);
    writer.execute_batch("BEGIN; UPDATE docs SET embedding = '[7,7]'").unwrap();
    assert_eq!(near(&reader), [1, 2, 3]);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(near(&reader), [5, 2, 3]);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(near(&reader).len(), 4);
    let stranger = Connection::open(&path).unwrap();
    stranger.execute_batch("DELETE FROM docs WHERE id > 2").unwrap();
    assert_eq!(near(&reader), [2]);
}

#[test]
fn another_file_in_the_place_of_one_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let open = || {
        let conn = Connection::open(&path).unwrap();
        crate::register(&conn, |_| None).unwrap();
        conn
    };
    let first = open();
    first.execute_batch(DOCS).unwrap();
    assert_eq!(near(&first), [1, 2, 3]);
    std::fs::remove_file(&path).unwrap();
    let second = open();
    second.execute_batch(&DOCS.replace("'[1,0]'", "'[9,0]'")).unwrap();
    assert_eq!(near(&second), [1, 3, 2]);
    assert_eq!(near(&first), [1, 2, 3]);
}

#[test]
fn cautious_connections_search_too() {
    let conn = open();
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).unwrap();
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).unwrap();
    conn.execute_batch(DOCS).unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch("DELETE FROM docs WHERE id = 1; INSERT INTO doc_vectors(command) VALUES('rebuild')").unwrap();
    assert_eq!(near(&conn), [2, 3]);
    conn.execute_batch("ALTER TABLE doc_vectors RENAME TO other; DROP TABLE other").unwrap();
}

#[test]
fn libsqls_function_finds_the_same_rows() {
    let conn = docs();
    let sql =
        "SELECT d.id FROM vector_top_k('doc_vectors', vector32('[3,0]'), 2) JOIN docs d ON d.rowid = vector_top_k.id";
    assert_eq!(ids(&conn, sql, []), [3, 2]);
    conn.execute_batch("BEGIN; DELETE FROM docs WHERE id = 3").unwrap();
    assert_eq!(ids(&conn, sql, []), [2, 1]);
    let call = |arguments: &str| message(&conn, &format!("SELECT id FROM vector_top_k({arguments})"));
    assert!(call("'docs', '[0,0]', 1").contains("\"docs\" is no kith_vector table"));
    assert!(call("'doc_vectors', '[0]', 1").contains("1 dimensions"));
    assert!(call("'doc_vectors', '[0,0]'").contains("three arguments"));
}

#[test]
fn rows_without_rowid_are_told_apart_by_searches_joined_with_or() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(name TEXT PRIMARY KEY, embedding BLOB) WITHOUT ROWID;
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2);
         INSERT INTO docs VALUES('a', '[0,1]'), ('b', '[1,0]')",
    )
    .unwrap();
    let sql = "SELECT count(*) FROM near WHERE embedding MATCH '[0,1]' AND k = 1 OR embedding MATCH '[1,0]' AND k = 1";
    assert_eq!(ids(&conn, sql, []), [2]);
}

#[test]
fn a_table_made_anew_with_a_longer_key_is_watched_after_a_rebuild() {
    let conn = docs();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch(
        "DROP TABLE docs; CREATE TABLE docs(a TEXT, b INTEGER, embedding, PRIMARY KEY(a, b));
         INSERT INTO docs VALUES('x', 1, '[1,0]');
         INSERT INTO doc_vectors(command) VALUES('rebuild');
         INSERT INTO docs VALUES('y', 2, '[0,0]')",
    )
    .unwrap();
    assert_eq!(near(&conn), [2, 1]);
    conn.execute_batch("DELETE FROM docs WHERE b = 1; DROP TABLE doc_vectors").unwrap();
    assert_eq!(ids(&conn, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'doc\\_%' ESCAPE '\\'", []), [0]);
}

#[test]
fn keys_that_are_not_utf_8_do_not_keep_others_from_being_found() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(name TEXT PRIMARY KEY, embedding);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         INSERT INTO docs VALUES(CAST(x'61ff' AS TEXT), '[0,0]'), ('b', '[1,0]')",
    )
    .unwrap();
    assert_eq!(ids(&conn, "SELECT rowid FROM near WHERE embedding MATCH '[0,0]' AND k = 2", []), [1, 2]);
    let sql = "SELECT rowid FROM near WHERE embedding MATCH '[0,0]' AND k = 2 AND key = CAST(x'61ff' AS TEXT)";
    assert_eq!(ids(&conn, sql, []), [1]);
    assert_eq!(ids(&conn, "SELECT length(key) FROM near WHERE embedding MATCH '[0,0]' AND k = 1", []), [2]);
}
