//! Writes of which no trigger of ours is told, and triggers of the user's.

use super::search::{DOCS, docs, ids, message, near, open};

#[test]
fn rows_of_whose_deletion_a_users_trigger_keeps_ours_from_hearing_are_not_answered() {
    for is_before in [true, false] {
        let conn = open();
        let ignore = "CREATE TRIGGER ignore AFTER DELETE ON docs BEGIN SELECT RAISE(IGNORE); END;";
        let docs = "CREATE TABLE docs(id INTEGER PRIMARY KEY, lang TEXT, embedding BLOB);";
        let before = if is_before { format!("{docs} {ignore}") } else { docs.to_owned() };
        conn.execute_batch(&DOCS.replace(docs, &before)).unwrap();
        if !is_before {
            conn.execute_batch(ignore).unwrap();
        }
        assert_eq!(near(&conn), [1, 2, 3]);
        conn.execute_batch("DELETE FROM docs WHERE id = 1").unwrap();
        assert_eq!(near(&conn), [2, 3], "{is_before}");
    }
}

#[test]
fn an_embedding_that_is_made_of_several_columns_is_noticed() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, is_shown INT, numbers TEXT, embedding AS (CASE WHEN is_shown THEN numbers END));
         INSERT INTO docs VALUES(1, 0, '[0,1]'), (2, 1, '[0,2]');
         CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2)",
    )
    .unwrap();
    assert_eq!(near(&conn), [2]);
    conn.execute_batch("UPDATE docs SET is_shown = 1 WHERE id = 1").unwrap();
    assert_eq!(near(&conn), [1, 2]);
}

#[test]
fn a_users_trigger_that_searches_leaves_no_old_rows_in_its_transaction() {
    let conn = open();
    let create = "CREATE TABLE docs(id INTEGER PRIMARY KEY, lang TEXT, embedding BLOB);";
    let search = "BEGIN SELECT count(*) FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 3; END;";
    let asking = format!(
        "{create} CREATE TRIGGER u BEFORE UPDATE ON docs {search} CREATE TRIGGER d BEFORE DELETE ON docs {search}"
    );
    conn.execute_batch(&DOCS.replace(create, &asking)).unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch("BEGIN; UPDATE docs SET embedding = '[9,9]' WHERE id = 1; DELETE FROM docs WHERE id = 2")
        .unwrap();
    assert_eq!(near(&conn), [3, 1]);
    conn.execute_batch("COMMIT").unwrap();
    assert_eq!(near(&conn), [3, 1]);
}

#[test]
fn a_renamed_table_is_named_in_the_error_and_found_again_under_its_name() {
    let conn = docs();
    conn.execute_batch("ALTER TABLE docs RENAME TO papers; INSERT INTO papers VALUES(9, 'en', '[0,0.5]')").unwrap();
    let search = "SELECT rowid FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 10";
    assert!(message(&conn, search).contains("is called \"papers\" now; drop \"doc_vectors\" and create it again"));
    conn.execute_batch("ALTER TABLE papers RENAME TO docs").unwrap();
    assert_eq!(near(&conn), [1, 9, 2, 3]);
    conn.execute_batch("DROP TABLE docs; CREATE TABLE other(a)").unwrap();
    assert!(message(&conn, search).contains("there are other; name another"), "{}", message(&conn, search));
}

#[test]
fn a_schema_that_is_undone_is_not_taken_for_the_next_of_its_number() {
    let conn = docs();
    conn.execute_batch("BEGIN; CREATE TABLE other(a)").unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch("ROLLBACK; DROP TRIGGER doc_vectors_delete").unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
    conn.execute_batch("DELETE FROM docs WHERE id = 1").unwrap();
    assert_eq!(near(&conn), [2, 3]);
}

#[test]
fn an_index_of_rows_that_are_displaced_again_and_again_does_not_grow_for_ever() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, name TEXT UNIQUE, embedding BLOB);
         CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);",
    )
    .unwrap();
    let load = "INSERT OR REPLACE INTO docs(name, embedding) SELECT value, CASE WHEN value % 3 THEN '[' || value || ',1]' ELSE '[1]' END FROM generate";
    let load = load.replace(
        "generate",
        "(WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c WHERE value < 1500) SELECT value FROM c)",
    );
    for _ in 0..6 {
        conn.execute_batch(&load).unwrap();
        let nearest = ids(
            &conn,
            "SELECT CAST(d.name AS INTEGER) FROM doc_vectors v JOIN docs d ON d.id = v.rowid WHERE v.embedding MATCH '[0,0]' AND v.k = 3",
            [],
        );
        assert_eq!(nearest, [1, 2, 4]);
    }
    assert_eq!(ids(&conn, "SELECT indexed FROM kith_vector_stats", []), [1000]);
    assert_eq!(ids(&conn, "SELECT refused FROM kith_vector_stats", []), [500]);
}

#[test]
fn triggers_of_the_users_are_not_taken_for_ours() {
    let conn = docs();
    let create = |name: &str| {
        let options = "content=docs, column=embedding, source=lang, model=lexical-1, background=off";
        format!("CREATE VIRTUAL TABLE {name} USING kith_vector({options})")
    };
    for name in ["insert", "update", "rekey", "delete", "stale_insert", "stale_update"] {
        let user = format!("CREATE TRIGGER mine_{name} AFTER UPDATE OF lang ON docs BEGIN SELECT 1; END");
        conn.execute_batch(&user).unwrap();
        let objects = "SELECT rowid FROM sqlite_schema ORDER BY rowid";
        let before = ids(&conn, objects, []);
        assert!(message(&conn, &create("mine")).contains(&format!("\"mine_{name}\" already exists")), "{name}");
        if !name.contains('_') {
            assert!(message(&conn, "ALTER TABLE doc_vectors RENAME TO mine").contains("already exists"), "{name}");
        }
        assert_eq!(ids(&conn, objects, []), before, "{name}");
        conn.execute_batch(&format!("DROP TRIGGER mine_{name}")).unwrap();
    }
    conn.execute_batch(&create("mine")).unwrap();
    conn.execute_batch("INSERT INTO mine(command) VALUES('rebuild')").unwrap();
    assert_eq!(near(&conn), [1, 2, 3]);
}

#[test]
fn a_schema_that_was_rolled_back_is_not_taken_for_the_one_that_has_its_version() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, number INT, embedding BLOB);
         INSERT INTO docs VALUES(1, 1, '[0,1]'), (2, 2, '[0,2]');
         CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2)",
    )
    .unwrap();
    let top = || ids(&conn, "SELECT id FROM vector_top_k('doc_vectors', '[0,0]', 5)", []);
    assert_eq!(top(), [1, 2]);
    conn.execute_batch("BEGIN; CREATE TABLE other(a)").unwrap();
    assert_eq!(top(), [1, 2]);
    conn.execute_batch("ROLLBACK; CREATE UNIQUE INDEX by_number ON docs(number)").unwrap();
    assert_eq!(top(), [1, 2]);
    // Displaces row 1, of which no trigger is told.
    conn.execute_batch("INSERT OR REPLACE INTO docs VALUES(10, 1, '[9,9]')").unwrap();
    assert_eq!(top(), [2, 10]);
}
