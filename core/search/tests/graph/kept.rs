//! Walks keep what they have read for the next one; whatever is written meanwhile, by whom and however, the next one must not show it.

use proptest::prelude::*;

use super::*;

const PLAIN: &str = "WITH RECURSIVE walk(node, depth) AS (
      SELECT CAST(?1 AS TEXT), 0 UNION SELECT edges.b, depth + 1 FROM walk JOIN edges ON edges.a = walk.node
      WHERE depth < 3 AND edges.b IS NOT NULL AND edges.w < 3 AND (?2 OR EXISTS(SELECT 1 FROM nodes WHERE id = edges.b AND v < 2))
    ) SELECT node || ' ' || min(depth) FROM walk WHERE node <> CAST(?1 AS TEXT) GROUP BY node ORDER BY 1";
const OURS: &str = "SELECT node || ' ' || depth FROM kith_traverse('g', ?1, CASE ?2 WHEN 1 THEN '{\"depth\":3,\"edge_where\":{\"w\":{\"<\":3}}}'
      ELSE '{\"depth\":3,\"edge_where\":{\"w\":{\"<\":3}},\"node_where\":{\"v\":{\"<\":2}}}' END) ORDER BY 1";

fn read(conn: &Connection, sql: &str, start: u8, is_any: bool) -> Vec<String> {
    let mut statement = conn.prepare_cached(sql).unwrap();
    let rows = statement.query_map((start, is_any), |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// Runs a step of a program; another connection that finds the file locked does nothing.
fn step(conn: &Connection, other: &Connection, (kind, a, b): (u8, u8, u8)) {
    let (a, b, w) = (a % 6, b % 6, b / 6 % 4);
    let sql = match kind % 12 {
        0..=3 => format!("INSERT INTO edges VALUES('{a}', '{b}', {w})"),
        4 => format!("DELETE FROM edges WHERE a = '{a}' AND b >= '{b}'"),
        5 => format!("UPDATE edges SET b = '{b}' WHERE a = '{a}'"),
        6 => format!("INSERT OR REPLACE INTO nodes VALUES('{a}', {w})"),
        7 => "BEGIN".to_owned(),
        8 => "COMMIT".to_owned(),
        9 => "ROLLBACK".to_owned(),
        10 => format!("SAVEPOINT s; DELETE FROM edges WHERE a = '{a}'; ROLLBACK TO s; RELEASE s"),
        _ => format!("CREATE INDEX IF NOT EXISTS i{w} ON edges(a, w)"),
    };
    // BEGIN in a transaction, or COMMIT without one.
    let _ = if kind >= 128 && kind % 12 < 7 { other.execute_batch(&sql) } else { conn.execute_batch(&sql) };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn walks_never_show_what_is_no_more(
        wal in any::<bool>(),
        steps in prop::collection::vec((any::<(u8, u8, u8)>(), any::<bool>()), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        kithdb_search::register(&conn, |_| None).unwrap();
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = {}; PRAGMA synchronous = OFF; CREATE TABLE edges(a TEXT, b TEXT, w INT); CREATE TABLE nodes(id TEXT PRIMARY KEY, v INT);
             INSERT INTO nodes SELECT value, value % 3 FROM json_each('[0,1,2,3,4,5]');
             SELECT kith_graph('g', '{{\"nodes\":\"nodes\",\"edges\":\"edges\",\"from\":\"a\",\"to\":\"b\"}}')",
            if wal { "WAL" } else { "DELETE" }
        ))
        .unwrap();
        let other = Connection::open(&path).unwrap();
        other.busy_timeout(std::time::Duration::ZERO).unwrap();
        conn.busy_timeout(std::time::Duration::ZERO).unwrap();
        for (at, is_any) in steps {
            step(&conn, &other, at);
            for start in 0..6 {
                prop_assert_eq!(read(&conn, OURS, start, is_any), read(&conn, PLAIN, start, is_any), "{} {:?}", start, at);
            }
            // A walk that is written to while it goes on, and is not followed to its end.
            let mut statement = conn.prepare_cached("SELECT node || ' ' || depth FROM kith_traverse('g', ?1, '{\"depth\":3,\"edge_where\":{\"w\":{\"<\":3}}}')").unwrap();
            let mut rows = statement.query([at.1 % 6]).unwrap();
            if rows.next().unwrap().is_some() {
                let _ = conn.execute_batch(&format!("UPDATE edges SET b = '{}' WHERE a = '{}'", at.2 % 6, at.1 % 5));
                let _ = rows.next();
            }
        }
    }
}

#[test]
fn nodes_are_shown_as_this_walk_met_them_first() {
    let conn = open();
    conn.execute_batch(
        r#"CREATE TABLE e(a TEXT COLLATE NOCASE, b TEXT COLLATE NOCASE); INSERT INTO e VALUES('x', 'Ann'), ('y', 'ANN'), ('ann', 'z');
           SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b"}');
           CREATE TABLE n(a, b); INSERT INTO n VALUES('x', 1), ('y', 1.0); SELECT kith_graph('h', '{"edges":"n","from":"a","to":"b"}')"#,
    )
    .unwrap();
    for _ in 0..2 {
        assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('g', 'x', '{}')"), ["Ann", "z"]);
        assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('g', 'y', '{}')"), ["ANN", "z"]);
        assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('h', 'x', '{}')"), ["1"]);
        assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('h', 'y', '{}')"), ["1.0"]);
    }
}

#[test]
fn views_and_patterns_are_read_each_time() {
    let conn = open();
    conn.execute_batch(
        r#"CREATE TABLE e(a TEXT, b TEXT); INSERT INTO e VALUES('x', 'Ann'), ('x', 'b');
           CREATE TEMP TABLE hidden(b TEXT); CREATE VIEW v AS SELECT a, b FROM e WHERE b <> (SELECT last_insert_rowid());
           SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b"}'); SELECT kith_graph('w', '{"edges":"v","from":"a","to":"b"}')"#,
    )
    .unwrap();
    let like = r#"SELECT node FROM kith_traverse('g', 'x', '{"edge_where":{"b":{"like":"ann"}}}')"#;
    assert_eq!(rows(&conn, like), ["Ann"]);
    conn.execute_batch("PRAGMA case_sensitive_like = 1").unwrap();
    assert_eq!(rows(&conn, like), Vec::<String>::new());
    conn.execute_batch("UPDATE e SET b = '5' WHERE b = 'b'").unwrap();
    let view = "SELECT node FROM kith_traverse('w', 'x')";
    assert_eq!(rows(&conn, view), ["Ann", "5"]);
    conn.execute_batch("INSERT INTO temp.hidden(rowid) VALUES(5)").unwrap();
    assert_eq!(rows(&conn, view), ["Ann"]);
}

#[test]
fn neighbours_that_are_asked_for_again_and_within_each_other_are_those_of_now() {
    let conn = open();
    conn.execute_batch(
        r#"CREATE TABLE e(a INT, b INT); INSERT INTO e VALUES(1, 2), (1, 3), (2, 4), (3, 5);
           SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b"}');"#,
    )
    .unwrap();
    let ends = || -> Vec<i64> {
        let mut statement = conn.prepare_cached("SELECT node FROM kith_neighbors('g', 1) ORDER BY node").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    };
    let first = |sql: &str| -> String { conn.query_row(sql, [], |row| row.get(0)).unwrap() };
    let within = "SELECT group_concat(far, ' ') FROM (SELECT near.node || '-' || n.node AS far FROM kith_neighbors('g', 1) near, kith_neighbors('g', near.node) n ORDER BY 1)";
    assert_eq!(ends(), [2, 3]);
    assert_eq!(first("SELECT node || '' FROM kith_neighbors('g', 1) LIMIT 1"), "2", "and not to its end");
    assert_eq!((ends(), first(within)), (vec![2, 3], "2-4 3-5".to_owned()));
    conn.execute_batch("BEGIN; INSERT INTO e VALUES(1, 7); DELETE FROM e WHERE b = 4").unwrap();
    assert_eq!((ends(), first(within)), (vec![2, 3, 7], "3-5".to_owned()));
    conn.execute_batch("ROLLBACK; ALTER TABLE e ADD COLUMN c; CREATE INDEX i ON e(a)").unwrap();
    assert_eq!((ends(), first(within)), (vec![2, 3], "2-4 3-5".to_owned()));
    conn.execute_batch(
        r#"SELECT kith_graph('g', '{"edges":"e","from":"b","to":"a"}'); INSERT INTO e(a, b) VALUES(9, 1)"#,
    )
    .unwrap();
    assert_eq!(ends(), [9]);
    conn.execute_batch("ALTER TABLE e RENAME TO f").unwrap();
    let error = conn.query_row("SELECT node FROM kith_neighbors('g', 1)", [], |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("there is no table e"), "{error}");
}
