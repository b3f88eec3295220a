//! Traversals and neighbours, their options, and how they join.

use super::*;

#[test]
fn walk_goes_by_depth_with_paths_edges_and_types() {
    let conn = social();
    assert_eq!(
        rows(&conn, "SELECT node, depth, path, edge, type, edge_table, node_table FROM kith_traverse('social', 1)"),
        [
            "2 1 [1,2] 1 knows follows people",
            "3 2 [1,2,3] 2 knows follows people",
            "4 2 [1,2,4] 4 likes follows people"
        ]
    );
    let with_start = "SELECT node, depth, path, edge FROM kith_traverse('social', 1, '{\"depth\":[0,1]}')";
    assert_eq!(rows(&conn, with_start), ["1 0 [1] -", "2 1 [1,2] 1"]);
    assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('social', 1, '{\"depth\":[2,2]}')"), ["3", "4"]);
    assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('social', 99)").len(), 0);
    assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('social', NULL)").len(), 0);
}

#[test]
fn directions_types_and_conditions_narrow_a_walk_down() {
    let conn = social();
    let nodes =
        |options: &str| rows(&conn, &format!("SELECT node FROM kith_traverse('social', 1, '{options}')")).join(" ");
    assert_eq!(nodes(r#"{"direction":"in"}"#), "3 2");
    assert_eq!(nodes(r#"{"direction":"both","depth":1}"#), "2 3");
    assert_eq!(nodes(r#"{"type":"knows"}"#), "2 3");
    assert_eq!(nodes(r#"{"type":["knows","likes"]}"#), "2 3 4");
    assert_eq!(nodes(r#"{"type":[]}"#), "");
    assert_eq!(nodes(r#"{"edge_where":{"since":{">=":2022}}}"#), "2 4");
    assert_eq!(nodes(r#"{"edge_where":{"since":{">=":2020,"<":2022}}}"#), "");
    assert_eq!(nodes(r#"{"edge_where":{"kind":{"like":"KN%"},"since":{"not_in":[2020]}}}"#), "2");
    // A node that is not asked for is not passed through either.
    assert_eq!(nodes(r#"{"node_where":{"age":{"<":35}}}"#), "");
    assert_eq!(nodes(r#"{"node_where":{"name":["bob","dee"]}}"#), "2 4");
    assert_eq!(nodes(r#"{"node_where":{"name":{"!=":null}}}"#), "2 3 4");
}

#[test]
fn every_simple_path_is_listed_on_demand() {
    let conn = social();
    let all = r#"SELECT path, type FROM kith_traverse('social', 1, '{"unique":"path","depth":3}')"#;
    let expected = ["[1,2] knows", "[1,2] likes", "[1,2,3] knows", "[1,2,4] likes", "[1,2,3] knows", "[1,2,4] likes"];
    assert_eq!(rows(&conn, all), expected);
    let unbounded = r#"SELECT path FROM kith_traverse('social', 1, '{"unique":"path"}')"#;
    assert!(error(&conn, unbounded).contains("the option \"depth\" must say"));
}

#[test]
fn neighbours_are_edges_with_their_ways_and_weights() {
    let conn = social();
    let both = r#"SELECT node, direction, edge, type, weight FROM kith_neighbors('social', 1, '{"direction":"both"}')"#;
    assert_eq!(
        rows(&conn, both),
        ["2 out 1 knows 1", "1 out 5 knows 1", "2 out 6 likes 1", "3 in 3 likes 1", "1 in 5 knows 1"]
    );
    rows(
        &conn,
        r#"SELECT kith_graph('tie', '{"edges":"follows","from":"src","to":"dst","weight":"since","undirected":true}')"#,
    );
    let tie = "SELECT node, direction, edge, weight FROM kith_neighbors('tie', 1)";
    assert_eq!(rows(&conn, tie), ["2 - 1 2019", "1 - 5 2023", "2 - 6 2024", "3 - 3 2021"]);
}

#[test]
fn arguments_come_from_other_tables_and_rows_join_with_them() {
    let conn = social();
    let lateral = "SELECT p.name, group_concat(q.name, '+') FROM people p
                   LEFT JOIN kith_traverse('social', p.id, '{\"depth\":1}') t LEFT JOIN people q ON q.id = t.node
                   GROUP BY p.id ORDER BY p.id";
    assert_eq!(rows(&conn, lateral), ["ann bob", "bob cy+dee", "cy ann", "dee -", "eve -"]);
    let twice =
        "SELECT a.node, b.node FROM kith_traverse('social', 1) a, kith_traverse('social', a.node) b ORDER BY 1, 2";
    assert_eq!(rows(&conn, twice), ["2 1", "2 3", "2 4", "3 1", "3 2", "3 4"]);
    let graph_from_row = "SELECT t.node FROM kith_graphs g, kith_traverse(g.name, 3) t";
    assert_eq!(rows(&conn, graph_from_row), ["1", "2", "4"]);
    // Two cursors of one kind at once do not disturb each other.
    let crossed =
        "SELECT count(*) FROM kith_traverse('social', 1) a JOIN kith_traverse('social', 2) b ON a.depth = b.depth";
    assert_eq!(rows(&conn, crossed), ["4"]);
}

#[test]
fn limit_ends_the_walk_and_a_bound_on_depth_reaches_it() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE e(a INTEGER, b INTEGER); CREATE INDEX e_a ON e(a, b);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO e SELECT i, i + 1 FROM n;
         SELECT kith_graph('chain', '{\"edges\":\"e\",\"from\":\"a\",\"to\":\"b\"}')",
    )
    .unwrap();
    // What SQLite's virtual machine did is counted, in the walk's statements too: through the progress handler.
    let steps = |sql: &str| {
        use std::sync::atomic::{AtomicU64, Ordering};
        static STEPS: AtomicU64 = AtomicU64::new(0);
        STEPS.store(0, Ordering::Relaxed);
        // SAFETY: the handler touches an atomic only, and is taken away below.
        unsafe extern "C" fn count(_: *mut std::ffi::c_void) -> std::ffi::c_int {
            STEPS.fetch_add(1, Ordering::Relaxed);
            0
        }
        // SAFETY: the connection is open.
        unsafe { rusqlite::ffi::sqlite3_progress_handler(conn.handle(), 1, Some(count), std::ptr::null_mut()) };
        let found = rows(&conn, sql);
        // SAFETY: as above.
        unsafe { rusqlite::ffi::sqlite3_progress_handler(conn.handle(), 0, None, std::ptr::null_mut()) };
        (found.len(), STEPS.load(Ordering::Relaxed))
    };
    let (all, most) = steps("SELECT node FROM kith_traverse('chain', 1)");
    assert_eq!(all, 20_000);
    for few in [
        "SELECT node FROM kith_traverse('chain', 1) LIMIT 5",
        "SELECT node FROM kith_traverse('chain', 1) ORDER BY depth LIMIT 5",
        "SELECT node FROM kith_traverse('chain', 1) WHERE depth <= 5",
        "SELECT node FROM kith_traverse('chain', 1) WHERE depth < 6",
        "SELECT node FROM kith_traverse('chain', 1, '{\"depth\":5}')",
    ] {
        let (found, least) = steps(few);
        assert_eq!(found, 5, "{few}");
        assert!(least * 100 < most, "{few}: {least} steps of {most}");
    }
    let back = "SELECT node FROM kith_traverse('chain', 1, '{\"depth\":3}') ORDER BY depth DESC";
    assert_eq!(rows(&conn, back), ["4", "3", "2"]);
}

#[test]
fn ids_compare_as_their_columns_do() {
    let conn = open();
    conn.execute_batch(
        r#"CREATE TABLE t(a TEXT COLLATE NOCASE, b TEXT COLLATE NOCASE);
           INSERT INTO t VALUES('Ann', 'Bob'), ('BOB', 'ann'), ('bob', 'Cy');
           SELECT kith_graph('names', '{"edges":"t","from":"a","to":"b"}');
           CREATE TABLE n(a REAL, b INTEGER); INSERT INTO n VALUES(1, 2), (2, 3);
           SELECT kith_graph('numbers', '{"edges":"n","from":"a","to":"b"}');
           CREATE TABLE x(a, b); INSERT INTO x VALUES(1, '1'), ('1', x'31'), (x'31', 1.5), (1.0, 2);
           SELECT kith_graph('any', '{"edges":"x","from":"a","to":"b"}');"#,
    )
    .unwrap();
    assert_eq!(rows(&conn, "SELECT node, depth FROM kith_traverse('names', 'aNN')"), ["Bob 1", "Cy 2"]);
    assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('numbers', '1')"), ["2", "3"]);
    assert_eq!(
        rows(&conn, "SELECT path FROM kith_traverse('any', 1, '{\"depth\":[3,3]}')"),
        [r#"[1,"1","x'31'",1.5]"#]
    );
    assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('any', '1')"), ["[49]", "1.5"]);
}
