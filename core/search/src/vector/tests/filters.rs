//! Conditions on rows, which are applied before the nearest are chosen.

use super::search::{docs, ids, open};

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
