//! Conditions on rows, which are applied before the nearest are chosen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;

use super::search::{docs, ids, message, open};

#[test]
fn filters_are_applied_before_the_nearest_are_chosen() {
    let conn = docs();
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND k = 2 AND rowid IN (SELECT id FROM docs WHERE lang = 'en')";
    assert_eq!(ids(&conn, sql, []), [1, 3]);
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND k = 2 AND key IN (3, 99, 'x')";
    assert_eq!(ids(&conn, sql, []), [3]);
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND k = 2 AND rowid = 3";
    assert_eq!(ids(&conn, sql, []), [3]);
    let sql =
        "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND rowid IN (1, 3) ORDER BY distance LIMIT 5";
    assert_eq!(ids(&conn, sql, []), [1, 3]);
    let sql = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[1,0]' AND k = 2 AND rowid IN ()";
    assert_eq!(ids(&conn, sql, []), [0; 0]);
}

#[test]
fn filters_of_one_row_of_all_but_some_and_of_ranges_come_before_the_choice_too() {
    let conn = docs();
    let found = |condition: &str, parameter: i64| {
        let sql = format!("SELECT rowid FROM doc_vectors WHERE embedding MATCH '[0,0]' AND {condition}");
        ids(&conn, &sql, [parameter])
    };
    for column in ["rowid", "key"] {
        assert_eq!(found(&format!("k = 1 AND {column} IN (?1)"), 3), [3]);
        assert_eq!(found(&format!("k = 1 AND {column} = ?1"), 3), [3]);
        assert_eq!(found(&format!("k = 1 AND {column} = ?1 AND rowid IN (3, 4)"), 3), [3]);
        assert_eq!(found(&format!("k = 1 AND {column} IN (1, 3) AND key IN (2, 3) AND 3 = ?1"), 3), [3]);
        assert_eq!(found(&format!("k = 2 AND {column} <> ?1"), 1), [2, 3]);
        assert_eq!(found(&format!("k = 2 AND {column} <> 2 AND {column} <> ?1"), 1), [3]);
        assert_eq!(found(&format!("k = 2 AND {column} <> ?1 AND rowid IN (1, 2)"), 1), [2]);
        assert_eq!(found(&format!("{column} IS NOT ?1 ORDER BY distance LIMIT 2"), 1), [2, 3]);
    }
    assert_eq!(found("k = 1 AND rowid > ?1", 1), [2]);
    assert_eq!(found("k = 1 AND rowid >= ?1 + 0.5", 1), [2]);
    assert_eq!(found("k = 9 AND rowid BETWEEN ?1 AND 2.5", 2), [2]);
    assert_eq!(found("k = 1 AND rowid < 9 AND rowid > ?1 + 0.5", 2), [3]);
    assert_eq!(found("k = 1 AND rowid = CAST(?1 AS TEXT)", 3), [3]);
    assert_eq!(found("k = 1 AND rowid <> NULL AND 1 = ?1", 1), [0; 0]);
    assert_eq!(found("distance < ?1 ORDER BY distance LIMIT 3", 2), [1, 2]);
    let sql = "SELECT (SELECT v.distance FROM doc_vectors v WHERE v.embedding MATCH '[0,0]' AND v.k = 1 AND v.rowid = d.id) = 3 FROM docs d WHERE d.id = 3";
    assert_eq!(ids(&conn, sql, []), [1]);
}

#[test]
fn filters_of_every_selectivity_find_as_many_as_there_are_and_say_how() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2, engine=hnsw, m=4);
         WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 4000)
         INSERT INTO docs SELECT value, vec_f32('[' || value || ',' || (value % 10) || ']') FROM n",
    )
    .unwrap();
    let begin = std::time::Instant::now();
    let stats = |column: &str| -> String {
        conn.query_row(&format!("SELECT {column} FROM kith_vector_stats"), [], |row| row.get(0)).unwrap()
    };
    while stats("(behind = 0) || tier") != "1hnsw" {
        ids(&conn, "SELECT rowid FROM near WHERE embedding MATCH '[0,0]' AND k = 1", []);
        assert!(begin.elapsed().as_secs() < 60, "no graph came");
    }
    let search = "SELECT rowid FROM near WHERE embedding MATCH ?1 AND k = ?2 AND ef = 10 AND rowid IN (SELECT id FROM docs WHERE id <= ?3)";
    let mut choices = std::collections::BTreeSet::new();
    for matches in [0, 1, 4, 40, 400, 800, 1_200, 2_000, 3_000, 4_000] {
        for count in [1, 10, 100] {
            // Among those that match, and as far from all of them as it can be.
            for query in ["[1,1]", "[4000,0]"] {
                let found = ids(&conn, search, rusqlite::params![query, count, matches]);
                assert_eq!(found.len() as i64, count.min(matches), "{query} {count} {matches}");
                assert!(found.iter().all(|id| *id <= matches));
                choices.insert(stats("last_choice"));
            }
        }
    }
    let choices: Vec<_> = choices.iter().map(String::as_str).collect();
    let all = [
        "scan of the filtered rows",
        "scan of the filtered rows, after a walk of the graph was given up",
        "walk of the graph, filtered",
    ];
    assert_eq!(choices, all);
    let plan: String = conn
        .query_row(&format!("EXPLAIN QUERY PLAN {search}"), rusqlite::params!["[1,1]", 1, 1], |row| row.get(3))
        .unwrap();
    assert!(plan.contains("of 4000 rows, above walk of the graph: query, k, ef, rowid in"), "{plan}");
}

#[test]
fn keys_of_several_columns_filter_as_they_are_shown() {
    for rest in ["", " WITHOUT ROWID"] {
        let conn = open();
        conn.execute_batch(&format!(
            "CREATE TABLE docs(a TEXT COLLATE NOCASE, b REAL, embedding BLOB, PRIMARY KEY(a, b)){rest};
             CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
             INSERT INTO docs VALUES('x', 1, '[0,0]'), ('y', 2.5, '[1,0]'), ('z', 3, '[2,0]')",
        ))
        .unwrap();
        let keys = |condition: &str| -> String {
            let sql = format!(
                "SELECT group_concat(key) FROM (SELECT key FROM near WHERE embedding MATCH '[0,0]' AND k = 1 AND {condition})"
            );
            conn.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(keys("key IN (SELECT json_array(a, b) FROM docs WHERE b > 2)"), "[\"y\",2.5]");
        assert_eq!(keys("key = '[\"Z\", 3]'"), "[\"z\",3.0]");
        assert_eq!(keys("key IN ('[\"y\"]', '[\"z\",3]', 'z')"), "[\"z\",3.0]");
    }
}

#[test]
fn a_list_of_one_parameter_filters_as_a_select() {
    let conn = docs();
    for column in ["rowid", "key"] {
        let sql = format!(
            "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 1 AND {column} IN (SELECT ?1)"
        );
        assert_eq!(ids(&conn, &sql, [3]), [3], "{column}");
    }
}

#[test]
fn ranges_of_rowids_that_are_the_key_are_taken_from_the_index() {
    let conn = open();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    conn.create_scalar_function("seen", 1, FunctionFlags::SQLITE_DETERMINISTIC, move |context| {
        counted.fetch_add(1, Ordering::Relaxed);
        context.get::<Value>(0)
    })
    .unwrap();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, raw, embedding AS (seen(raw)));
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 500)
         INSERT INTO docs(id, raw) SELECT value, '[' || value || ',0]' FROM n",
    )
    .unwrap();
    let found = |condition: &str| {
        ids(&conn, &format!("SELECT rowid FROM near WHERE embedding MATCH '[0,0]' AND k = 3 AND {condition}"), [])
    };
    assert_eq!(found("rowid > 0"), [1, 2, 3]);
    read.store(0, Ordering::Relaxed);
    assert_eq!(found("rowid BETWEEN 100 AND 400"), [100, 101, 102]);
    assert_eq!(found("rowid >= 100 AND rowid <= 400 AND rowid > 399 AND rowid < 1000"), [400]);
    assert_eq!(found("rowid > 100 AND rowid < 99"), [0; 0]);
    assert_eq!(found("rowid > 498 AND rowid <> 499"), [500]);
    assert_eq!(found("rowid > 200 AND rowid IN (100, 250, 201)"), [201, 250]);
    assert_eq!(read.load(Ordering::Relaxed), 0);
    // With what this transaction has written, and undone.
    conn.execute_batch("BEGIN; UPDATE docs SET raw = '[0.5,0]' WHERE id IN (300, 20); DELETE FROM docs WHERE id = 101")
        .unwrap();
    conn.execute_batch("INSERT INTO docs(id, raw) VALUES(350.0 + 1000, '[0,0]')").unwrap();
    assert_eq!(found("rowid BETWEEN 100 AND 400"), [300, 100, 102]);
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(found("rowid BETWEEN 100 AND 400"), [100, 101, 102]);
    let listed = "SELECT rowid FROM near WHERE rowid BETWEEN 499 AND 600 ORDER BY rowid";
    assert_eq!(ids(&conn, listed, []), [499, 500]);
}

#[test]
fn a_key_with_a_blob_filters_by_its_digits() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(tenant BLOB, part, embedding BLOB, PRIMARY KEY(tenant, part)) WITHOUT ROWID;
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         INSERT INTO docs VALUES(x'0aff', 1, '[0,0]'), (x'0aff', 'ab', '[1,0]'), (x'ab', x'ab', '[2,0]'), ('0aff', 1, '[3,0]'), (x'', 9, '[4,0]')",
    )
    .unwrap();
    let distances = |condition: &str| {
        let sql =
            format!("SELECT CAST(distance AS INT) FROM near WHERE embedding MATCH '[0,0]' AND k = 9 AND {condition}");
        ids(&conn, &sql, [])
    };
    let by_digits = "key IN (SELECT json_array(hex(tenant), part) FROM docs WHERE typeof(part) <> 'blob')";
    assert_eq!(distances(by_digits), [0, 1, 4]);
    assert_eq!(distances("key = '[\"0aff\",\"ab\"]'"), [1]);
    assert_eq!(distances("key = '[\"ab\",\"AB\"]'"), [2]);
    // Two rows are shown so.
    assert_eq!(distances("key = '[\"0aff\",1]'"), [0, 3]);
    assert_eq!(distances("key <> '[\"0aff\",1]'"), [1, 2, 4]);
    assert_eq!(distances("key IN ('[\"0af\",1]', '[\"0ag0\",1]', '[]', '{}', '[[1],1]')"), [0; 0]);
}

#[test]
fn what_belongs_to_a_search_needs_one() {
    let conn = docs();
    for sql in ["SELECT rowid FROM doc_vectors WHERE k = 1", "SELECT rowid FROM doc_vectors('[0,0]', 1)"] {
        assert!(message(&conn, sql).ends_with("say what for: AND embedding MATCH …"), "{}", message(&conn, sql));
    }
    let joined = "SELECT id FROM docs d JOIN doc_vectors v ON v.rowid = d.id WHERE v.embedding MATCH '[0,0]' ORDER BY distance LIMIT 1";
    assert!(message(&conn, joined).contains("AND k = 10"));
}

#[test]
fn nothing_is_near_to_null() {
    let conn = docs();
    assert_eq!(ids(&conn, "SELECT rowid FROM doc_vectors WHERE embedding MATCH NULL AND k = 3", []), [0; 0]);
    let each = "SELECT d.id FROM docs d JOIN doc_vectors v ON v.embedding MATCH d.embedding AND v.k = 1 ORDER BY d.id";
    assert_eq!(ids(&conn, each, []), [1, 2, 3]);
}
