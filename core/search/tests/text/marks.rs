//! Snippets and highlights.

use super::*;

#[test]
fn words_that_stand_in_a_text_very_often_are_marked_at_once() {
    let conn = memory();
    conn.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT); SELECT kith_text('t', 'a,b')").unwrap();
    // FTS5's own snippet() compares each match with every other, 10^10 times here for each of the two columns; its highlight() goes
    // through all that it has written for each match.
    let text = "red ".repeat(100_000);
    conn.execute("INSERT INTO t(a, b) VALUES(?1, ?1 || 'and at last wine')", [&text]).unwrap();
    for query in ["red wine", "\"red red\" \"red red red\" wine", "r* re* red wine"] {
        let sql = "SELECT snippet, json_extract(highlight, '$.b') FROM kith_search('t', ?1)";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (snippet, highlight): (String, String) = conn.query_row(sql, [query], read).unwrap();
        assert!(snippet.starts_with('…') && snippet.ends_with("and at last [wine]"), "{snippet}");
        assert_eq!(snippet.matches("red").count(), 12, "{snippet}");
        assert!(highlight.starts_with("[red") && highlight.ends_with("and at last [wine]"));
        assert_eq!(highlight.replace(['[', ']'], ""), format!("{text}and at last wine"));
    }
}

#[test]
fn phrases_over_a_cut_are_marked() {
    let conn = memory();
    conn.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); SELECT kith_text('t', 'a')").unwrap();
    // Longer than a piece, so that in some row the phrase lies over the end of each part of it.
    for length in 4_000..4_120 {
        let text = format!("{}red wine {}", "x ".repeat(length / 2), "y ".repeat(3_000));
        conn.execute("INSERT INTO t(a) VALUES(?1)", [&text]).unwrap();
    }
    let sql = "SELECT count(*) FROM kith_search('t', '\"red wine\"', 1000) WHERE highlight LIKE '%x [red wine] y%' AND snippet LIKE '%[red wine]%'";
    assert_eq!(one::<i64>(&conn, sql), 120);
}

#[test]
fn marks_are_those_of_fts5() {
    let conn = memory();
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); SELECT kith_text('t', 'a,b', '{\"tokenizer\":\"porter\"}');
         INSERT INTO t VALUES(1, 'Running, he ran [and] runs', 'a run'), (2, 'the long run of', NULL), (3, 'run', 12), (4, '', x'72756e20ff')",
    )
    .unwrap();
    let theirs = "SELECT highlight(t_text, 0, '<', '>') || '|' || ifnull(highlight(t_text, 1, '<', '>'), 'NULL') FROM t_text('run OR 12') WHERE rowid < 4 ORDER BY rowid";
    let ours = r#"SELECT json_extract(highlight, '$.a') || '|' || ifnull(json_extract(highlight, '$.b'), 'NULL') FROM kith_search('t', 'run 12', 9, '{"before":"<","after":">"}') WHERE key < 4 ORDER BY key"#;
    assert_eq!(list(&conn, ours), list(&conn, theirs));
    let first = "SELECT snippet FROM kith_search('t', 'run', 9) ORDER BY key";
    assert_eq!(list(&conn, first), ["[Running], he ran [and] [runs]", "the long [run] of", "[run]", "[run] \u{fffd}"]);
}

#[test]
fn letters_whose_case_takes_more_bytes_are_marked_whole() {
    let conn = memory();
    // U+023A takes two bytes, its small letter three.
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); SELECT kith_text('t', 'a', '{\"tokenizer\":\"trigram\"}');
         INSERT INTO t(a) VALUES('xyzȺȺȺ´´'), ('ȺȺȺ')",
    )
    .unwrap();
    for query in ["xyzȺ", "ȺȺȺ", "yzȺ"] {
        let found = list(
            &conn,
            &format!(
                "SELECT replace(replace(snippet, '[', ''), ']', '') FROM kith_search('t', '{query}') ORDER BY key"
            ),
        );
        assert_eq!(found[0], "xyzȺȺȺ´´");
    }
}
