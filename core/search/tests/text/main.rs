//! Text search: the index against FTS5 tables built by hand, whatever writes the table and however.

mod marks;
mod unique;
mod waits;

use std::collections::BTreeSet;

use proptest::prelude::*;
use rusqlite::{Connection, types::Value};

/// The tables that are written by random programs, and their key columns.
const TABLES: [(&str, &str); 4] = [
    ("CREATE TABLE t(id INTEGER PRIMARY KEY, u INT UNIQUE, v TEXT, a TEXT, b TEXT)", "id"),
    ("CREATE TABLE t(id TEXT COLLATE NOCASE PRIMARY KEY, u INT UNIQUE, v TEXT, a TEXT, b TEXT)", "id"),
    ("CREATE TABLE t(id INT, v TEXT, u INT, a TEXT, b TEXT, PRIMARY KEY(v, id)) WITHOUT ROWID", "v || '/' || id"),
    (
        "CREATE TABLE t(id INT PRIMARY KEY, u INT, v TEXT, a TEXT, b TEXT); CREATE UNIQUE INDEX i ON t(abs(u) DESC, v) WHERE u > 1",
        "id",
    ),
];
const WORDS: [&str; 6] = ["red wine", "Red red Rose", "wine", "", "the long grey coat of red wool", "rosé 12 1.0"];

fn open(path: &std::path::Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn
}

fn memory() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn
}

fn one<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str) -> T {
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn list(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Every place of every word, and the scores of a query, must be those of an index built by hand from the table as it is.
#[track_caller]
fn check(conn: &Connection, key: &str) {
    // Tells us of UNIQUE indexes that were added.
    list(conn, "SELECT key || '' FROM kith_search('t', 'red')");
    let has_rowid: bool =
        !one::<bool>(conn, "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'kith_text_1_keys')");
    let index_key = if has_rowid {
        "v.doc".to_owned()
    } else {
        let columns = list(conn, "SELECT name FROM pragma_table_info('kith_text_1_keys') WHERE name LIKE 'k%'")
            .join(" || '/' || ");
        format!("(SELECT {columns} FROM kith_text_1_keys WHERE docid = v.doc)")
    };
    conn.execute_batch(&format!(
        "CREATE TEMP TABLE IF NOT EXISTS numbered(n INTEGER PRIMARY KEY, key TEXT, a, b);
         DELETE FROM temp.numbered;
         INSERT INTO temp.numbered(key, a, b) SELECT lower({key}), a, b FROM t;
         DROP TABLE IF EXISTS temp.mine; DROP TABLE IF EXISTS temp.words; DROP TABLE IF EXISTS temp.mine_words;
         CREATE VIRTUAL TABLE temp.mine USING fts5(a, b, tokenize='unicode61 remove_diacritics 2');
         INSERT INTO temp.mine(rowid, a, b) SELECT n, a, b FROM temp.numbered;
         CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, 't_text', 'instance');
         CREATE VIRTUAL TABLE temp.mine_words USING fts5vocab(temp, 'mine', 'instance')",
    ))
    .unwrap();
    let found = list(
        conn,
        &format!(
            "SELECT term || ' ' || lower({index_key}) || ' ' || col || ' ' || offset FROM temp.words v ORDER BY 1"
        ),
    );
    let expected = list(
        conn,
        "SELECT term || ' ' || key || ' ' || col || ' ' || offset FROM temp.mine_words v JOIN temp.numbered ON n = doc ORDER BY 1",
    );
    assert_eq!(found, expected);
    conn.execute_batch("INSERT INTO t_text(t_text) VALUES('integrity-check')").unwrap();
    if has_rowid {
        conn.execute_batch("INSERT INTO t_text(t_text, rank) VALUES('integrity-check', 1)").unwrap();
    }
    let score = "printf('%.9f', score)";
    let found = list(conn, &format!("SELECT {score} FROM kith_search('t', 'red wine', 100) ORDER BY 1"));
    let expected = list(conn, "SELECT printf('%.9f', -rank) FROM temp.mine WHERE mine MATCH 'red OR wine' ORDER BY 1");
    assert_eq!(found, expected);
}

/// Runs one step of a random program; a step that breaks a constraint has no effect.
fn step(conn: &Connection, (kind, id, u, word): (u8, u8, u8, u8)) {
    let (id, a, b) = (i64::from(id % 5), WORDS[usize::from(word) % 6], WORDS[usize::from(word / 6) % 6]);
    let (u, v) = (i64::from(u % 5), ["x", "X", "y"][usize::from(u / 5) % 3]);
    let run = |sql: &str| {
        let mut statement = conn.prepare_cached(sql).unwrap();
        let all: [Value; 5] = [id.into(), u.into(), v.to_owned().into(), a.to_owned().into(), b.to_owned().into()];
        let count = statement.parameter_count();
        match statement.execute(rusqlite::params_from_iter(&all[..count])) {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
            Err(error) => panic!("{sql}: {error}"),
        }
    };
    let row = "t(id, u, v, a, b) VALUES(?1, ?2, ?3, ?4, ?5)";
    match kind % 15 {
        0 | 1 => run(&format!("INSERT INTO {row}")),
        2 | 3 => run(&format!("INSERT OR REPLACE INTO {row}")),
        4 => run(&format!("INSERT OR IGNORE INTO {row}")),
        5 => run(&format!("INSERT INTO {row} ON CONFLICT DO UPDATE SET a = excluded.b, b = t.a")),
        6 => run("UPDATE t SET a = ?4 WHERE id <> ?1 AND ?5 <> '' AND ?2 <> 9 AND ?3 <> ''"),
        7 => run("UPDATE OR REPLACE t SET u = ?2, b = ?5 WHERE id = ?1 AND ?3 <> '' AND ?4 <> 'none'"),
        8 => run("UPDATE OR REPLACE t SET id = ?2 WHERE id = ?1"),
        9 => run("UPDATE OR IGNORE t SET id = id + 1, a = b"),
        10 => run("DELETE FROM t WHERE id = ?1"),
        11 => run("UPDATE OR FAIL t SET u = u + 1, v = ?3 WHERE id >= ?1 AND ?2 < 9"),
        12 => run("DELETE FROM t WHERE ?1 = 4"),
        13 => {
            conn.execute_batch("SAVEPOINT s").unwrap();
            run(&format!("INSERT OR REPLACE INTO {row}"));
            run("DELETE FROM t WHERE id > ?1");
            conn.execute_batch(if word % 2 == 0 { "ROLLBACK TO s; RELEASE s" } else { "RELEASE s" }).unwrap();
        }
        _ => conn.pragma_update(None, "recursive_triggers", u % 2 == 0).unwrap(),
    }
}

/// Triggers of a user's that change the row being written, before and after ours in SQLite's order.
const USER_TRIGGERS: &str = "
    CREATE TRIGGER after_insert AFTER INSERT ON t WHEN new.a = 'wine' BEGIN UPDATE t SET b = 'made ' || new.a WHERE id = new.id AND v = new.v; END;
    CREATE TRIGGER after_update AFTER UPDATE OF a ON t WHEN new.a = '' BEGIN UPDATE t SET a = 'empty' WHERE id = new.id AND v = new.v; END;
    CREATE TRIGGER after_delete AFTER DELETE ON t WHEN old.a = 'rosé 12 1.0' BEGIN INSERT OR IGNORE INTO t(id, u, v, a, b) VALUES(old.id, 77, old.v, 'back again', NULL); END;
    CREATE TRIGGER before_insert BEFORE INSERT ON t WHEN new.b = 'wine' BEGIN DELETE FROM t WHERE id = new.id + 1; END;";

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn index_is_right_after_any_statement(
        table in 0_usize..4,
        triggers in 0_u8..3,
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..60),
    ) {
        let (sql, key) = TABLES[table];
        let conn = memory();
        conn.execute_batch(sql).unwrap();
        if triggers == 1 {
            conn.execute_batch(USER_TRIGGERS).unwrap();
        }
        for &early in steps.iter().take(5) {
            step(&conn, early);
        }
        conn.execute_batch("SELECT kith_text('t', 'a,b')").unwrap();
        if triggers == 2 {
            conn.execute_batch(USER_TRIGGERS).unwrap();
        }
        check(&conn, key);
        for (place, &later) in steps.iter().enumerate() {
            step(&conn, later);
            if place % 16 == 15 {
                check(&conn, key);
            }
        }
        check(&conn, key);
        conn.execute_batch("VACUUM").unwrap();
        check(&conn, key);
    }

    #[test]
    fn nothing_that_a_person_types_is_an_error(text in ".{0,40}", tokenizer in 0_usize..3, all in any::<bool>()) {
        let conn = memory();
        conn.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t(a) VALUES('one'), ('two')").unwrap();
        let tokenizer = ["unicode61", "trigram", "porter ascii"][tokenizer];
        conn.query_row("SELECT kith_text('t', 'a', json_object('tokenizer', ?1))", [tokenizer], |_| Ok(())).unwrap();
        conn.execute("INSERT INTO t(a) VALUES(?1)", [&text]).unwrap();
        for text in [text.clone(), format!("\"{text}"), format!("{text}*"), text.replace(' ', "\"")] {
            let options = format!("{{\"match\":\"{}\",\"columns\":[\"a\"]}}", if all { "all" } else { "any" });
            let mut statement = conn.prepare("SELECT key, snippet, highlight FROM kith_search('t', ?1, 10, ?2)").unwrap();
            let mut rows = statement.query([&text, &options]).unwrap();
            while rows.next().unwrap().is_some() {}
        }
    }

    #[test]
    fn fuzzy_search_finds_what_comparing_every_row_finds(
        names in prop::collection::vec("[ab]{0,3}[cdé ]{2,6}", 1..40),
        text in "[ab]{1,3}[cdé ]{3,6}",
    ) {
        let conn = memory();
        conn.execute_batch("CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT)").unwrap();
        for name in &names {
            conn.execute("INSERT INTO p(name) VALUES(?1)", [name]).unwrap();
        }
        let ask = || {
            let mut statement = conn
                .prepare("SELECT printf('%.6f %d', score, distance) FROM kith_fuzzy('p', 'name', ?1, 5, '{\"min\":0}')")
                .unwrap();
            let rows = statement.query_map([&text], |row| row.get::<_, String>(0)).unwrap();
            rows.collect::<rusqlite::Result<Vec<_>>>().unwrap()
        };
        let scanned = ask();
        prop_assert_eq!(scanned.len(), names.len().min(5));
        conn.execute_batch("SELECT kith_fuzzy_index('p', 'name')").unwrap();
        let found = ask();
        // Rows that share no three characters are no candidates; all others rank as they do one by one.
        let wanted: Vec<char> = text.trim().chars().collect();
        let shares = |name: &String| {
            let name: Vec<char> = name.trim().chars().collect();
            wanted.windows(3).any(|group| name.windows(3).any(|other| group == other))
        };
        let sharing = names.iter().filter(|name| shares(name)).count();
        prop_assert!(found.len() >= sharing.min(5), "{found:?} of {sharing}");
        if sharing >= 5 || sharing == names.len() {
            let best: Vec<_> = names.iter().filter(|name| !shares(name)).collect();
            if best.is_empty() {
                prop_assert_eq!(found, scanned);
            }
        }
    }
}

#[test]
fn another_program_may_write_and_vacuum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for (sql, key) in TABLES {
        let _ = std::fs::remove_file(&path);
        let conn = open(&path);
        conn.execute_batch(sql).unwrap();
        conn.execute_batch(
            "INSERT INTO t(id, u, v, a, b) VALUES(1, 1, 'x', 'red wine', 'x'); SELECT kith_text('t', 'a,b')",
        )
        .unwrap();
        // Plain SQLite, without anything of ours.
        let other = Connection::open(&path).unwrap();
        for turn in 0..60_u8 {
            step(&other, (turn, turn / 7, turn / 3, turn.wrapping_mul(37)));
        }
        other.execute_batch("DELETE FROM t WHERE id = 2; VACUUM; BEGIN; DELETE FROM t; ROLLBACK").unwrap();
        check(&conn, key);
        // A file may be attached under any name.
        let third = Connection::open_in_memory().unwrap();
        third.execute("ATTACH ?1 AS elsewhere", [path.to_str().unwrap()]).unwrap();
        third
            .execute_batch("INSERT OR REPLACE INTO elsewhere.t(id, u, v, a, b) VALUES(1, 3, 'x', 'red coat', NULL)")
            .unwrap();
        check(&conn, key);
    }
}

#[test]
fn calling_again_changes_nothing_and_other_arguments_rebuild() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE n(id TEXT PRIMARY KEY, title TEXT, body TEXT); INSERT INTO n VALUES('k', 'Running', 'x')",
    )
    .unwrap();
    let text = |sql: &str| one::<String>(&conn, sql);
    assert_eq!(text("SELECT kith_text('n', 'title, body')"), r#"{"index":"n_text","outcome":"created","rows":1}"#);
    assert_eq!(text("SELECT kith_text('N', 'TITLE,body')"), r#"{"index":"n_text","outcome":"unchanged","rows":0}"#);
    let found = "SELECT count(*) || '' FROM kith_search('n', 'run')";
    assert_eq!(text(found), "0");
    assert_eq!(
        text(r#"SELECT kith_text('n', 'title', '{"tokenizer":"porter","prefix":[2]}')"#),
        r#"{"index":"n_text","outcome":"rebuilt","rows":1}"#
    );
    assert_eq!(text(found), "1");
    // FTS5's own syntax, on its own table.
    assert_eq!(text("SELECT count(*) || '' FROM n_text WHERE n_text MATCH 'title : runs NOT walks'"), "1");
    assert_eq!(text("SELECT kith_untext('n')"), "n_text");
    assert_eq!(
        list(&conn, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY 1"),
        ["kith_text_indexes", "n"]
    );
}

#[track_caller]
fn refused(conn: &Connection, sql: &str, expected: &str) {
    let error = conn.query_row(sql, [], |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn errors_name_the_thing_and_the_remedy() {
    let conn = memory();
    conn.execute_batch("CREATE TABLE n(id INTEGER PRIMARY KEY, body TEXT); CREATE VIEW v AS SELECT 1; CREATE TABLE loose(a); CREATE TABLE n_text(x)").unwrap();
    refused(&conn, "SELECT * FROM kith_search('n', 'x')", "\"n\" has no text index; run SELECT kith_text('n', 'body')");
    refused(&conn, "SELECT * FROM kith_search('m', 'x')", "there is no table \"m\"; create it first");
    refused(&conn, "SELECT * FROM kith_search('n')", "argument 2 of kith_search is the text to look for, as text");
    refused(&conn, "SELECT * FROM kith_search('n', 'x', 0)", "how many rows to return");
    refused(&conn, "SELECT kith_text('n', 'title')", "table \"n\" has no column \"title\"; its columns are id, body");
    refused(&conn, "SELECT kith_text('n')", "no column to index was named; run SELECT kith_text('n', 'body')");
    refused(&conn, "SELECT kith_text('v', 'a')", "\"v\" is not an ordinary table");
    refused(&conn, "SELECT kith_text('loose', 'a')", "table \"loose\" has no PRIMARY KEY");
    refused(&conn, "SELECT kith_text('n', 'body')", "the name \"n_text\" is taken");
    refused(&conn, "SELECT kith_text('n', 'body', '{\"stem\":1}')", "kith_text has no option \"stem\"");
    refused(&conn, "SELECT kith_untext('n')", "\"n\" has no such index");
    assert_eq!(
        one::<i64>(&conn, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'kith%'"),
        0,
        "a failure leaves nothing"
    );
    conn.execute_batch("SELECT kith_text('n', 'body', '{\"name\":\"n_words\"}')").unwrap();
    refused(
        &conn,
        "SELECT * FROM kith_search('n', 'x', 1, '{\"columns\":[\"id\"]}')",
        "column \"id\" is not in the text index \"n_words\"",
    );
    refused(
        &conn,
        "SELECT * FROM kith_search('n', 'x', 1, '{\"where\":{\"lang\":1}}')",
        "table \"n\" has no column \"lang\"",
    );
    refused(&conn, "SELECT * FROM kith_search('n', 'x', 1, '{\"where\":{\"id\":{\"; DROP\":1}}}')", "comparisons are");
}

#[test]
fn changes_of_the_table_are_followed_or_named() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE n(id INTEGER PRIMARY KEY, title TEXT, body TEXT); INSERT INTO n VALUES(1, 'red', 'wine');
         SELECT kith_text('n', 'title,body'); ALTER TABLE n RENAME TO notes; ALTER TABLE notes ADD COLUMN lang TEXT;
         INSERT INTO notes VALUES(2, 'red', 'coat', 'en')",
    )
    .unwrap();
    assert_eq!(list(&conn, "SELECT snippet FROM kith_search('notes', 'red') ORDER BY key"), ["[red]", "[red]"]);
    refused(&conn, "SELECT * FROM kith_search('n', 'red')", "there is no table \"n\"");
    assert!(conn.execute_batch("ALTER TABLE notes DROP COLUMN title").is_err(), "an indexed column is in use");
    conn.execute_batch("ALTER TABLE notes RENAME COLUMN title TO heading").unwrap();
    refused(
        &conn,
        "SELECT * FROM kith_search('notes', 'red')",
        "no longer fits table \"notes\", which was changed since; run SELECT kith_text('notes', 'heading,body', '{\"name\":\"n_text\"}')",
    );
    conn.execute_batch("SELECT kith_text('notes', 'heading,body', '{\"name\":\"n_text\"}')").unwrap();
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM kith_search('notes', 'red')"), 2);
    // As migration tools make a table anew.
    conn.execute_batch(
        "CREATE TABLE made(id INTEGER PRIMARY KEY, heading TEXT, body TEXT); INSERT INTO made SELECT id, heading, body FROM notes;
         DROP TABLE notes; ALTER TABLE made RENAME TO notes; INSERT INTO notes VALUES(3, 'red', 'rose')",
    )
    .unwrap();
    refused(
        &conn,
        "SELECT * FROM kith_search('notes', 'red')",
        "run SELECT kith_text('notes', 'heading,body', '{\"name\":\"n_text\"}')",
    );
    conn.execute_batch("SELECT kith_text('notes', 'heading,body', '{\"name\":\"n_text\"}')").unwrap();
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM kith_search('notes', 'red')"), 3);
    conn.execute_batch("DROP TABLE notes").unwrap();
    // By its own name, which the remedies kept.
    assert_eq!(one::<String>(&conn, "SELECT kith_untext('notes')"), "n_text");
}

#[test]
fn a_column_that_takes_the_name_of_an_indexed_one_is_not_taken_for_it() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE n(id INTEGER PRIMARY KEY, body TEXT, \"a\"\"b\" TEXT); INSERT INTO n VALUES(1, 'red', 'x');
         SELECT kith_text('n', 'body,a\"b', '{\"tokenizer\":\"trigram\",\"prefix\":[2,3],\"name\":\"words\"}');
         ALTER TABLE n RENAME COLUMN body TO \"a\"; ALTER TABLE n ADD COLUMN body TEXT; UPDATE n SET body = 'blue'",
    )
    .unwrap();
    let again = r#"SELECT kith_text('n', 'a,a"b', '{"name":"words","prefix":[2,3],"tokenizer":"trigram"}')"#;
    refused(&conn, "SELECT * FROM kith_search('n', 'red')", again);
    assert_eq!(
        one::<String>(
            &conn,
            r#"SELECT kith_text('n', 'body,a"b', '{"name":"words","prefix":[2,3],"tokenizer":"trigram"}')"#
        ),
        r#"{"index":"words","outcome":"rebuilt","rows":1}"#
    );
    assert_eq!(list(&conn, "SELECT snippet FROM kith_search('n', 'red blue')"), ["[blue]"]);
    refused(
        &conn,
        r#"SELECT * FROM kith_search('n', 'x', 1, '{"columns":["a"]}')"#,
        r#"run SELECT kith_text('n', 'body,a"b,a', '{"name":"words","#,
    );
}

#[test]
fn filters_hold_before_ranking() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE n(id TEXT PRIMARY KEY, lang TEXT, year INT, body TEXT);
         INSERT INTO n WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s LIMIT 200)
           SELECT 'k' || value, CASE value % 50 WHEN 0 THEN 'en' ELSE 'de' END, value, 'red wine ' || value FROM s;
         SELECT kith_text('n', 'body')",
    )
    .unwrap();
    let keys = |sql: &str| list(&conn, sql).into_iter().collect::<BTreeSet<_>>();
    let english: BTreeSet<String> = ["k50", "k100", "k150", "k200"].map(str::to_owned).into();
    assert_eq!(keys("SELECT key FROM kith_search('n', 'wine', 4, '{\"where\":{\"lang\":\"en\"}}')"), english);
    assert_eq!(
        keys("SELECT key FROM kith_search('n', 'wine', 4) WHERE rowid IN (SELECT rowid FROM n WHERE lang = 'en')"),
        english
    );
    let options = "{\"where\":{\"lang\":[\"en\",null],\"year\":{\">=\":100,\"<\":200}}}";
    assert_eq!(keys(&format!("SELECT key FROM kith_search('n', 'wine', 4, '{options}')")).len(), 2);
    assert_eq!(keys("SELECT key FROM kith_search('n', 'wine', 4, '{\"where\":{\"lang\":\"x'' OR 1 --\"}}')").len(), 0);
    // The rowid joins the table.
    assert_eq!(
        keys("SELECT n.id FROM kith_search('n', '117') s JOIN n ON n.rowid = s.rowid"),
        ["k117".to_owned()].into()
    );
}

#[test]
fn very_frequent_words_are_left_out_of_any_of() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE n(id INTEGER PRIMARY KEY, body TEXT); SELECT kith_text('n', 'body');
         INSERT INTO n(body) WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s LIMIT 3000)
           SELECT 'usual ' || CASE value WHEN 7 THEN 'odd the' ELSE value END FROM s",
    )
    .unwrap();
    let count = |text: &str, options: &str| {
        conn.query_row("SELECT count(*) FROM kith_search('n', ?1, 100, ?2)", [text, options], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap()
    };
    assert_eq!(count("usual odd", "{}"), 1);
    assert_eq!(count("usual", "{}"), 100, "alone it is what was asked for");
    assert_eq!(count("\"usual\" odd", "{}"), 100, "so it is in quotes");
    assert_eq!(count("usual odd", "{\"match\":\"all\"}"), 1);
    assert_eq!(count("the 8", "{}"), 1);
    conn.execute_batch("DELETE FROM n WHERE id > 1000").unwrap();
    assert_eq!(count("usual odd", "{}"), 100, "with few documents nothing is gained");
}

#[test]
fn misspelt_names_are_found_with_and_without_index() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE people(id TEXT PRIMARY KEY, name TEXT, team INT);
         INSERT INTO people VALUES('a', 'John Smith', 1), ('b', 'Jane Smythe', 2), ('c', 'Ludwig van Beethoven', 1), ('d', NULL, 1), ('e', 'Li', 2)",
    )
    .unwrap();
    let ask = |text: &str, options: &str| {
        let mut statement =
            conn.prepare("SELECT key || printf(' %.2f', score) FROM kith_fuzzy('people', 'name', ?1, 2, ?2)").unwrap();
        let rows = statement.query_map([text, options], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap()
    };
    for _ in 0..2 {
        assert_eq!(ask("jon smth", "{}"), ["a 0.80", "b 0.64"]);
        assert_eq!(ask("Jonh Smith", "{\"min\":0.5}"), ["a 0.90", "b 0.64"]);
        assert_eq!(ask("jane smith", "{\"where\":{\"team\":1}}"), ["a 0.70"]);
        assert_eq!(ask("li", "{}"), ["e 1.00"]);
        conn.execute_batch("SELECT kith_fuzzy_index('people', 'name'); UPDATE people SET name = name").unwrap();
    }
    conn.execute_batch("UPDATE people SET name = 'Joan Smith' WHERE id = 'c'; DELETE FROM people WHERE id = 'a'")
        .unwrap();
    assert_eq!(ask("john smith", "{}"), ["c 0.90", "b 0.55"]);
    // A new column under the name of the one that was indexed: the call that is named is the one that helps.
    conn.execute_batch("ALTER TABLE people RENAME COLUMN name TO called; ALTER TABLE people ADD COLUMN name TEXT")
        .unwrap();
    refused(
        &conn,
        "SELECT * FROM kith_fuzzy('people', 'name', 'john', 2)",
        "run SELECT kith_fuzzy_index('people', 'name')",
    );
    conn.execute_batch(
        "SELECT kith_fuzzy_index('people', 'name'); UPDATE people SET name = 'Joan Smith' WHERE id = 'c'",
    )
    .unwrap();
    assert_eq!(ask("john smith", "{}"), ["c 0.90"]);
    conn.execute_batch("SELECT kith_fuzzy_unindex('people', 'name')").unwrap();
}

#[test]
fn hybrid_fuses_text_and_embedding_by_rank() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE docs(id TEXT PRIMARY KEY, lang TEXT, body TEXT, embedding BLOB);
         INSERT INTO docs(id, lang, body) VALUES('a', 'en', 'red wine'), ('b', 'en', 'a gardener'), ('c', 'de', 'gardening with wine'), ('d', 'en', 'stone');
         UPDATE docs SET embedding = kith_embed(body);
         CREATE VIRTUAL TABLE doc_embeddings USING kith_vector(content=docs, column=embedding, dims=384);
         SELECT kith_text('docs', 'body')",
    )
    .unwrap();
    let ask = |text: &str, options: &str| {
        let sql = "SELECT key || printf(' %.6f %s %s', score, text_rank, embedding_rank) FROM kith_hybrid('docs', ?1, kith_embed(?1), 3, ?2)";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([text, options], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap()
    };
    // Both arms say c first; of the others only the embedding knows.
    let found = ask("gardening", "{}");
    assert_eq!(found[0], format!("c {:.6} 1 1", 2.0 / 61.0));
    assert_eq!(found[1], format!("b {:.6}  2", 1.0 / 62.0));
    assert_eq!(ask("gardening", "{\"weights\":{\"embedding\":0.5},\"rrf_k\":9}")[0], format!("c {:.6} 1 1", 0.15));
    // Who is filtered out takes nobody's place.
    let english = ask("gardening", "{\"where\":{\"lang\":\"en\"}}");
    assert_eq!(english[0], format!("b {:.6}  1", 1.0 / 61.0));
    assert!(english.iter().all(|row| !row.starts_with('c')));
    let sql = "SELECT key FROM kith_hybrid('docs', 'wine', NULL, 3) WHERE rowid IN (SELECT rowid FROM docs WHERE lang = 'de')";
    assert_eq!(list(&conn, sql), ["c"]);
    // The rowid joins the table.
    let sql = "SELECT d.id FROM kith_hybrid('docs', NULL, kith_embed('stone'), 1) h JOIN docs d ON d.rowid = h.rowid";
    assert_eq!(list(&conn, sql), ["d"]);
    refused(&conn, "SELECT * FROM kith_hybrid('docs', NULL, NULL)", "asked with a text, an embedding, or both");
    refused(&conn, "SELECT * FROM kith_hybrid('docs', 'x', vec_f32('[1,2]'))", "384");
    let without = |index: &str| format!(r#"SELECT * FROM kith_hybrid('docs', 'x', NULL, 3, '{{"index":"{index}"}}')"#);
    refused(&conn, &without("typo"), r#"no index of embeddings called "typo""#);
    refused(&conn, &without("doc_embeddings"), "declares no model");
    refused(
        &conn,
        "SELECT kith_embed('x', 'no/such')",
        "there is no embedding model \"no/such\": there are lexical-1, openai:NAME of an HTTP endpoint, and those in folders; for those set KITHDB_MODELS",
    );
    conn.execute_batch("DROP TABLE doc_embeddings").unwrap();
    refused(
        &conn,
        "SELECT * FROM kith_hybrid('docs', 'x', kith_embed('x'))",
        "run CREATE VIRTUAL TABLE \"docs_embeddings\" USING kith_vector(content=docs,",
    );
}

#[test]
fn rowids_bound_as_floats_are_looked_for_too() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); SELECT kith_text('t', 'a');
         INSERT INTO t VALUES(1, 'wine'), (2, 'wine and a great deal of other things')",
    )
    .unwrap();
    let sql = "SELECT rowid FROM kith_search('t', 'wine', 1) WHERE rowid IN (?1, ?2)";
    assert_eq!(conn.query_row(sql, [2.0, 99.0], |row| row.get::<_, i64>(0)).unwrap(), 2);
    // SQLite reads a list of one parameter as `rowid = ?`; as a SELECT it is a list.
    let sql = "SELECT rowid FROM kith_search('t', 'wine', 1) WHERE rowid IN (SELECT ?1)";
    assert_eq!(conn.query_row(sql, [2], |row| row.get::<_, i64>(0)).unwrap(), 2);
}

#[test]
fn text_that_is_not_utf_8_keeps_no_search_from_answering() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT); SELECT kith_text('t', 'a');
         INSERT INTO t VALUES(CAST(x'6bff' AS TEXT), CAST(x'77696e65ff' AS TEXT) || ' wine'), ('b', 'wine')",
    )
    .unwrap();
    assert_eq!(
        list(&conn, "SELECT key || snippet FROM kith_search('t', 'wine') ORDER BY 1"),
        ["b[wine]", "k\u{fffd}[wine]\u{fffd} [wine]"]
    );
    assert_eq!(list(&conn, "SELECT key FROM kith_fuzzy('t', 'a', 'wine', 9, '{\"min\":0}')"), ["b", "k\u{fffd}"]);
}

#[test]
fn long_lists_of_values_are_a_condition_too() {
    let conn = memory();
    conn.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); SELECT kith_text('t', 'a'); INSERT INTO t VALUES(4999, 'wine'), (7000, 'wine')").unwrap();
    let options = serde_json::json!({ "where": { "id": (0..5000).collect::<Vec<_>>() } }).to_string();
    let found: Vec<i64> = conn
        .prepare("SELECT key FROM kith_search('t', 'wine', 9, ?1)")
        .unwrap()
        .query_map([options], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert_eq!(found, [4999]);
}

#[test]
fn hybrid_filters_both_arms_of_a_table_whose_key_has_several_columns_and_no_rowid() {
    let conn = open(std::path::Path::new(":memory:"));
    conn.execute_batch(
        "CREATE TABLE docs(id INT, name TEXT, body TEXT, lang TEXT, embedding BLOB, PRIMARY KEY(name, id)) WITHOUT ROWID;
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         INSERT INTO docs VALUES(1, 'a', 'red wine', 'en', '[0,0]'), (2, 'a', 'wine', 'de', '[1,0]'), (3, 'b', 'beer', 'de', '[2,0]');
         SELECT kith_text('docs', 'body')",
    )
    .unwrap();
    let sql = r#"SELECT key, text_rank, embedding_rank FROM kith_hybrid('docs', 'wine', '[0,0]', 2, '{"where":{"lang":"de"}}')"#;
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, Option<i64>, Option<i64>)> = rows.collect::<Result<_, _>>().unwrap();
    assert_eq!(rows, [("[\"a\",2]".to_owned(), Some(1), Some(1)), ("[\"b\",3]".to_owned(), None, Some(2))]);
}

#[test]
fn a_condition_on_one_rowid_comes_before_the_best_are_chosen() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT, done INT);
         INSERT INTO notes VALUES(1, 'wine x', 0), (2, 'wine yz', 1), (3, 'beer', 0);
         SELECT kith_text('notes', 'body'); SELECT kith_fuzzy_index('notes', 'body'); CREATE INDEX by_done ON notes(done); ANALYZE",
    )
    .unwrap();
    for call in [
        "kith_search('notes', 'wine', 1)",
        "kith_hybrid('notes', 'wine', NULL, 1)",
        "kith_fuzzy('notes', 'body', 'wine', 1)",
    ] {
        let ids = |rest: &str| list(&conn, &format!("SELECT CAST(s.rowid AS TEXT) FROM {rest}"));
        let best = ids(&format!("{call} s"));
        assert_eq!(best.len(), 1, "{call}");
        for id in ["1", "2"] {
            assert_eq!(ids(&format!("{call} s WHERE s.rowid = abs({id})")), [id], "{call}");
            assert_eq!(ids(&format!("{call} s WHERE s.rowid IN (abs({id}))")), [id], "{call}");
        }
        // A join looks among the best.
        for done in [0, 1] {
            let found = ids(&format!("{call} s JOIN notes n ON n.id = s.rowid WHERE n.done = {done}"));
            let expected = if (best == ["2"]) == (done == 1) { best.clone() } else { Vec::new() };
            assert_eq!(found, expected, "{call} {done}");
        }
    }
}
