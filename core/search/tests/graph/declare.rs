//! How graphs are declared, inferred, listed, dropped, and refused.

use std::ffi::{c_int, c_void};

use super::*;

#[test]
fn declaration_tells_what_it_is_and_which_index_would_help() {
    let conn = social();
    let stored = r#"social {"edges":[{"from":"src","id":"rowid","table":"follows","to":"dst","type":"kind"}],"nodes":[{"key":"id","table":"people"}]} CREATE INDEX "follows_by_dst" ON "follows"("dst", "src", "kind") -"#;
    assert_eq!(rows(&conn, "SELECT * FROM kith_graphs"), [stored]);
    let sql = rows(&conn, "SELECT missing_indexes FROM kith_graphs").remove(0);
    conn.execute_batch(&sql).unwrap();
    assert_eq!(rows(&conn, "SELECT missing_indexes FROM kith_graphs"), ["-"]);
    // The name has no case, and declaring again replaces.
    let again = rows(&conn, r#"SELECT kith_graph('Social', '{"edges":"FOLLOWS","from":"SRC","to":"dst"}')"#);
    assert_eq!(again, [r#"{"edges":[{"from":"src","id":"rowid","table":"follows","to":"dst"}],"graph":"Social"}"#]);
    assert_eq!(rows(&conn, "SELECT name FROM kith_graphs"), ["Social"]);
    assert_eq!(rows(&conn, "SELECT count(*) FROM kith_traverse('SOCIAL', 1)"), ["3"]);
    assert_eq!(rows(&conn, "SELECT kith_graph_drop('social')"), ["Social"]);
    assert!(
        error(&conn, "SELECT node FROM kith_traverse('social', 1)")
            .starts_with("there is no graph social; declare it with")
    );
    assert!(error(&conn, "SELECT kith_graph_drop('social')").starts_with("there is no graph social; "));
    assert!(error(&open(), "SELECT kith_graph_drop('social')").starts_with("there is no graph social; "));
    assert!(error(&open(), "SELECT node FROM kith_traverse('a''b', 1)").contains("kith_graph('a''b',"));
    assert_eq!(rows(&open(), "SELECT * FROM kith_graphs").len(), 0);
}

#[test]
fn several_edge_tables_make_one_graph() {
    let conn = social();
    conn.execute_batch(
        r#"CREATE TABLE blocks(who INTEGER, whom INTEGER, PRIMARY KEY(who, whom)) WITHOUT ROWID;
           INSERT INTO blocks VALUES(4, 5);
           SELECT kith_graph('all', '{"nodes":"people","edges":[{"table":"follows","from":"src","to":"dst","type":"kind"},{"table":"blocks","from":"who","to":"whom"}]}');"#,
    )
    .unwrap();
    let walk = "SELECT node, type, edge, edge_table FROM kith_traverse('all', 2)";
    assert_eq!(rows(&conn, walk), ["3 knows 2 follows", "4 likes 4 follows", "1 likes 3 follows", "5 blocks - blocks"]);
    let only = r#"SELECT node FROM kith_traverse('all', 4, '{"type":"blocks"}')"#;
    assert_eq!(rows(&conn, only), ["5"]);
}

#[test]
fn foreign_keys_make_a_graph() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE authors(id INTEGER PRIMARY KEY, mentor INTEGER REFERENCES authors);
         CREATE TABLE books(id INTEGER PRIMARY KEY, author INTEGER REFERENCES authors(id), title TEXT);
         CREATE TABLE tags(name TEXT PRIMARY KEY);
         CREATE TABLE tagged(book INTEGER REFERENCES books, tag TEXT REFERENCES tags, PRIMARY KEY(book, tag)) WITHOUT ROWID;
         INSERT INTO authors VALUES(1, NULL), (2, 1); INSERT INTO books VALUES(1, 2, 'one'), (2, 1, 'two');
         INSERT INTO tags VALUES('x'); INSERT INTO tagged VALUES(1, 'x'), (2, 'x');
         CREATE TABLE odd(id INTEGER PRIMARY KEY, title TEXT REFERENCES books(title));",
    )
    .unwrap();
    let answer: serde_json::Value = serde_json::from_str(&rows(&conn, "SELECT kith_graph('library')")[0]).unwrap();
    let edges: Vec<_> = answer["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let text = |name: &str| edge[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}>{} {}", text("label"), text("from_nodes"), text("to_nodes"), text("table"))
        })
        .collect();
    assert_eq!(
        edges,
        ["authors.mentor authors>authors authors", "books.author books>authors books", "- books>tags tagged"]
    );
    assert!(answer["skipped"][0]["reason"].as_str().unwrap().contains("another column of books"), "{answer}");
    let walk = r#"SELECT node, node_table, type FROM kith_traverse('library', 1, '{"from_table":"books"}')"#;
    assert_eq!(rows(&conn, walk), ["2 authors books.author", "x tags tagged", "1 authors authors.mentor"]);
    let path = r#"SELECT node, node_table FROM kith_shortest_path('library', 2, 1, '{"from_table":"books","to_table":"books","direction":"both"}')"#;
    assert_eq!(rows(&conn, path).len(), 3);
    assert_eq!(
        error(&conn, "SELECT node FROM kith_traverse('library', 1)"),
        "graph library has nodes of several tables, so \"from_table\" must say which the id belongs to: authors, books, tags"
    );
    rows(&conn, r#"SELECT kith_graph('mentors', '{"tables":["authors"]}')"#);
    assert_eq!(rows(&conn, "SELECT node FROM kith_traverse('mentors', 2)"), ["1"]);
    // What is kept is the declaration that was made of the foreign keys.
    let kept = rows(&conn, "SELECT definition FROM kith_graphs WHERE name = 'library'").remove(0);
    conn.query_row("SELECT kith_graph('copy', ?1)", [&kept], |_| Ok(())).unwrap();
    assert_eq!(rows(&conn, "SELECT definition FROM kith_graphs WHERE name = 'copy'"), [kept]);
    assert!(
        error(&conn, r#"SELECT kith_graph('none', '{"tables":["tags"]}')"#)
            .contains("no foreign key of one column was found")
    );
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let conn = social();
    conn.execute_batch(
        "CREATE TABLE mixed(a INTEGER, b TEXT); CREATE TABLE pair(a, b, PRIMARY KEY(a, b)); CREATE TABLE e2(a, b)",
    )
    .unwrap();
    // SAFETY: the connection is open, and the collation, which calls all texts equal, touches nothing.
    unsafe {
        unsafe extern "C" fn compare(_: *mut c_void, _: c_int, _: *const c_void, _: c_int, _: *const c_void) -> c_int {
            0
        }
        let (name, encoding) = (c"odd".as_ptr(), rusqlite::ffi::SQLITE_UTF8);
        rusqlite::ffi::sqlite3_create_collation_v2(
            conn.handle(),
            name,
            encoding,
            std::ptr::null_mut(),
            Some(compare),
            None,
        );
    }
    conn.execute_batch("CREATE TABLE odd(a COLLATE odd, b COLLATE odd)").unwrap();
    for (definition, expected) in [
        ("x", "kith_graph('g'): this is not JSON (expected value at line 1 column 1); give a JSON object such as "),
        ("[]", "kith_graph('g'): this JSON is not an object; give a JSON object such as "),
        (r#"{"edges":"nowhere","from":"a","to":"b"}"#, "graph g: there is no table nowhere in the main database; "),
        (
            r#"{"edges":"follows","from":"a","to":"dst"}"#,
            "graph g: table follows has no column a; it has src, dst, kind, since",
        ),
        (r#"{"edges":"follows"}"#, "graph g: which columns of follows hold the two ends of an edge is not said; "),
        (
            r#"{"edges":"follows","from":"src","to":"dst","kind":"kind"}"#,
            "kith_graph('g') has no option \"kind\"; it has undirected, edges, nodes, from, to, type, weight, id",
        ),
        (
            r#"{"edges":"mixed","from":"a","to":"b"}"#,
            "graph g: mixed.a and mixed.b hold ids of the same nodes but compare them differently; ",
        ),
        (r#"{"edges":"odd","from":"a","to":"b"}"#, "graph g: column a of odd has the collation odd"),
        (
            r#"{"edges":"e2","from":"a","to":"b","nodes":"pair"}"#,
            "graph g: table pair has no primary key of one column to be the nodes' id; name the column with \"nodes\":{\"table\":\"pair\",\"key\":\"COLUMN\"}",
        ),
        (r#"{"edges":[]}"#, "kith_graph('g'): the option \"edges\" must be the name of a table, or an array"),
    ] {
        let said = conn.query_row("SELECT kith_graph('g', ?1)", [definition], |_| Ok(())).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{definition}: {said}");
    }
    for (question, expected) in [
        (
            "kith_traverse('social')",
            "kith_traverse is called as kith_traverse(graph, start) or kith_traverse(graph, start, options)",
        ),
        (
            "kith_traverse('social', 1, '{\"dept\":1}')",
            "kith_traverse has no option \"dept\"; it has direction, depth, unique, type, edge_where, node_where, from_table",
        ),
        (
            "kith_traverse('social', 1, '{\"depth\":-1}')",
            "kith_traverse: the option \"depth\" must be a whole number, or the least and the greatest such as [0,3]",
        ),
        (
            "kith_traverse('social', 1, '{\"direction\":\"up\"}')",
            "kith_traverse: the option \"direction\" must be \"out\", \"in\" or \"both\"",
        ),
        (
            "kith_traverse('social', 1, '{\"edge_where\":{\"what\":1}}')",
            "graph social: table follows has no column what; it has src, dst, kind, since",
        ),
        (
            "kith_traverse('social', 1, '{\"edge_where\":{\"since\":{\"~\":1}}}')",
            "graph social: the option \"since\" must be a value, null, an array of values, or operators such as",
        ),
        (
            "kith_shortest_path('social', 1, 2, '{\"weighted\":true}')",
            "graph social has no weights; declare it again with \"weight\":\"COLUMN\", or ask with \"weighted\":false",
        ),
        (
            "kith_pagerank('social', '{\"damping\":2}')",
            "kith_pagerank: the option \"damping\" must be a number from 0 to 0.999999",
        ),
        (
            "kith_pagerank('social', '{\"iterations\":1}')",
            "graph social: ranks still moved by more than the tolerance after 1 iterations; ",
        ),
    ] {
        let said = error(&conn, &format!("SELECT * FROM {question}"));
        assert!(said.starts_with(expected), "{question}: {said}");
    }
}

#[test]
fn values_in_conditions_are_bound_and_names_quoted() {
    let conn = social();
    conn.execute_batch(r#"CREATE TABLE "odd ""table"(a, b, "a ""column" TEXT); INSERT INTO "odd ""table" VALUES(1, 2, '''; DROP TABLE people; --')"#).unwrap();
    conn.query_row(
        "SELECT kith_graph('odd', ?1)",
        [r#"{"edges":"odd \"table","from":"a","to":"b","type":"a \"column"}"#],
        |_| Ok(()),
    )
    .unwrap();
    let options = r#"{"edge_where":{"a \"column":"'; DROP TABLE people; --"},"type":"'; DROP TABLE people; --"}"#;
    let found: i64 =
        conn.query_row("SELECT node FROM kith_traverse('odd', 1, ?1)", [options], |row| row.get(0)).unwrap();
    assert_eq!(found, 2);
    assert_eq!(rows(&conn, "SELECT count(*) FROM people"), ["5"]);
    assert!(
        rows(&conn, "SELECT missing_indexes FROM kith_graphs WHERE name = 'odd'")[0]
            .contains(r#"ON "odd ""table"("a", "b", "a ""column")"#)
    );
}

#[test]
fn graph_over_a_table_that_has_changed_says_so() {
    let conn = social();
    assert_eq!(rows(&conn, "SELECT count(*) FROM kith_traverse('social', 1)"), ["3"]);
    conn.execute_batch("ALTER TABLE follows RENAME COLUMN dst TO target").unwrap();
    assert!(error(&conn, "SELECT node FROM kith_traverse('social', 1)").contains("table follows has no column dst"));
    assert!(rows(&conn, "SELECT problem FROM kith_graphs")[0].contains("table follows has no column dst"));
    conn.execute_batch("ALTER TABLE follows RENAME COLUMN target TO dst").unwrap();
    assert_eq!(rows(&conn, "SELECT count(*) FROM kith_traverse('social', 1)"), ["3"]);
    conn.execute_batch("DROP TABLE follows").unwrap();
    assert!(error(&conn, "SELECT node FROM kith_traverse('social', 1)").contains("there is no table follows"));
    conn.execute_batch("UPDATE kith__graphs SET definition = '{}'").unwrap();
    assert!(error(&conn, "SELECT node FROM kith_traverse('social', 1)").contains("does not fit its tables"));
}

#[test]
fn a_graph_over_a_view_that_lost_its_table_does_not_hide_others() {
    let conn = open();
    conn.execute_batch(
        "CREATE TABLE a(x INTEGER, y INTEGER); CREATE TABLE b(x INTEGER, y INTEGER); CREATE VIEW v AS SELECT x, y FROM a;
         SELECT kith_graph('lost', '{\"edges\":\"v\",\"from\":\"x\",\"to\":\"y\"}');
         SELECT kith_graph('whole', '{\"edges\":\"b\",\"from\":\"x\",\"to\":\"y\"}'); DROP TABLE a",
    )
    .unwrap();
    assert_eq!(rows(&conn, "SELECT name, problem IS NULL FROM kith_graphs"), ["lost 0", "whole 1"]);
}
