//! UNIQUE indexes that come and go after the text index was made: REPLACE displaces rows by them that no trigger of ours was told of.

use super::*;

/// The indexes that a program may make and drop.
const LATE: [&str; 4] = ["t(u)", "t(v, u)", "t(abs(u)) WHERE u > 1", "t(b COLLATE NOCASE)"];

/// Makes or drops an index, or runs a step of a program; duplicates keep an index from being made.
fn step_or_index(conn: &Connection, at @ (kind, id, u, _): (u8, u8, u8, u8)) {
    match kind % 6 {
        0 => {
            let place = usize::from(id) % 4;
            let sql = format!("CREATE UNIQUE INDEX IF NOT EXISTS late_{place} ON {}", LATE[place]);
            match conn.execute_batch(&sql) {
                Ok(()) => {}
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
                Err(error) => panic!("{sql}: {error}"),
            }
        }
        1 => conn.execute_batch(&format!("DROP INDEX IF EXISTS late_{}", id % 4)).unwrap(),
        // Rows are displaced by far most often.
        2 => step(conn, (2, id, u, at.3)),
        3 => step(conn, (7, id, u, at.3)),
        _ => step(conn, (kind / 6, id, u, at.3)),
    }
}

/// The rows found for each word must be those whose texts have it.
#[track_caller]
fn check_rows(conn: &Connection, key: &str) {
    conn.execute_batch(&format!(
        "CREATE TEMP TABLE IF NOT EXISTS rows_there(n INTEGER PRIMARY KEY, key, a, b); DELETE FROM temp.rows_there;
         INSERT INTO temp.rows_there(key, a, b) SELECT {key}, a, b FROM main.t;
         CREATE VIRTUAL TABLE IF NOT EXISTS temp.words_there USING fts5(a, b, tokenize='unicode61 remove_diacritics 2');
         DELETE FROM temp.words_there; INSERT INTO temp.words_there(rowid, a, b) SELECT n, a, b FROM temp.rows_there"
    ))
    .unwrap();
    for word in ["red", "wine", "grey", "12", "rose", "made"] {
        let found = list(conn, &format!("SELECT lower(key) FROM kith_search('t', '{word}', 100) ORDER BY 1"));
        let expected = list(
            conn,
            &format!(
                "SELECT lower(key) FROM temp.rows_there WHERE n IN (SELECT rowid FROM temp.words_there('{word}')) ORDER BY 1"
            ),
        );
        assert_eq!(found, expected, "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn unique_indexes_may_come_and_go(
        table in 0_usize..4,
        triggers in any::<bool>(),
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (sql, key) = TABLES[table];
        let search_key = if table == 2 { "json_array(v, id)" } else { "id" };
        let conn = open(&path);
        conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
        conn.execute_batch(sql).unwrap();
        if triggers {
            conn.execute_batch(USER_TRIGGERS).unwrap();
        }
        conn.execute_batch("SELECT kith_text('t', 'a,b')").unwrap();
        // Plain SQLite, without anything of ours.
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let reader = Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        kithdb_search::register(&reader, |_| None).unwrap();
        for (place, &at) in steps.iter().enumerate() {
            step_or_index(&writer, at);
            // One that may not write finds the right rows all the same.
            check_rows(&reader, search_key);
            if place % 16 == 15 {
                check(&conn, key);
            }
        }
        check(&conn, key);
        check_rows(&reader, search_key);
    }
}

#[test]
fn search_after_a_unique_index_was_added_needs_no_call() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u INT, a TEXT); INSERT INTO t VALUES(1, 1, 'red wine'), (2, 2, 'white wine');
         SELECT kith_text('t', 'a'); CREATE UNIQUE INDEX i ON t(u);
         INSERT OR REPLACE INTO t VALUES(10, 2, 'cider'); INSERT INTO t VALUES(2, 22, 'lemonade')",
    )
    .unwrap();
    assert_eq!(
        list(&conn, "SELECT snippet FROM kith_search('t', 'wine lemonade') ORDER BY key"),
        ["red [wine]", "[lemonade]"]
    );
    conn.execute_batch("INSERT OR REPLACE INTO t VALUES(11, 1, 'perry')").unwrap();
    assert_eq!(
        one::<i64>(&conn, "SELECT count(*) FROM t_text WHERE t_text MATCH 'wine'"),
        0,
        "the triggers know the index"
    );
    // Once the index is gone, so may be its column, as soon as a search was made.
    conn.execute_batch("DROP INDEX i").unwrap();
    assert_eq!(list(&conn, "SELECT snippet FROM kith_search('t', 'perry')"), ["[perry]"]);
    conn.execute_batch("ALTER TABLE t DROP COLUMN u").unwrap();
    let make = "SELECT json_extract(kith_text('t', 'a'), '$.outcome')";
    assert_eq!(one::<String>(&conn, make), "unchanged");
    conn.execute_batch("DROP TRIGGER kith_text_1_ad; DELETE FROM t WHERE id = 2").unwrap();
    assert_eq!(one::<String>(&conn, make), "rebuilt", "without one of its triggers an index may have missed anything");
}

#[test]
fn search_in_a_transaction_that_reads_does_not_begin_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = open(&path);
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u INT, a TEXT); SELECT kith_text('t', 'a'); CREATE UNIQUE INDEX i ON t(u);
         INSERT INTO t VALUES(1, 1, 'red'); INSERT OR REPLACE INTO t VALUES(2, 1, 'red wine')",
    )
    .unwrap();
    let search = "SELECT group_concat(key) FROM kith_search('t', 'red')";
    let entries = || one::<i64>(&conn, "SELECT count(*) FROM t_text WHERE t_text MATCH 'red'");
    conn.execute_batch("BEGIN").unwrap();
    assert_eq!(one::<String>(&conn, search), "2");
    assert_eq!((entries(), conn.transaction_state(Some("main")).unwrap()), (2, rusqlite::TransactionState::Read));
    conn.execute_batch("COMMIT").unwrap();
    // While another program writes, either.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    conn.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert_eq!((one::<String>(&conn, search).as_str(), entries()), ("2", 2));
    other.execute_batch("COMMIT").unwrap();
    conn.execute_batch("CREATE TABLE found AS SELECT key FROM kith_search('t', 'red')").unwrap();
    assert_eq!(one::<i64>(&conn, "SELECT key FROM found"), 2);
    assert_eq!((one::<String>(&conn, search).as_str(), entries()), ("2", 1));
}
