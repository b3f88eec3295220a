//! `kith graph` on a plain file and on a replica.

mod common;

use common::Place;
use rusqlite::Connection;

const TABLES: &str = "CREATE TABLE people(id TEXT PRIMARY KEY, name TEXT);
    CREATE TABLE follows(src TEXT, dst TEXT, kind TEXT, PRIMARY KEY(src, dst));
    INSERT INTO people VALUES('1', 'ann'), ('2', 'bob'), ('3', 'cy'), ('4', 'dee');
    INSERT INTO follows VALUES('1', '2', 'knows'), ('2', '3', 'knows'), ('3', '1', 'likes')";
const DEFINITION: &str = r#"{"nodes":"people","edges":"follows","from":"src","to":"dst","type":"kind"}"#;

#[test]
fn questions_are_answered_on_a_plain_file_which_stays_one() {
    let place = Place::new();
    Connection::open(place.path("a.db")).unwrap().execute_batch(TABLES).unwrap();
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "declare", "social", DEFINITION]), @r#"{"edges":[{"from":"src","id":"rowid","table":"follows","to":"dst","type":"kind"}],"graph":"social","missing_indexes":["CREATE INDEX \"follows_by_dst\" ON \"follows\"(\"dst\", \"src\", \"kind\")"],"nodes":[{"key":"id","table":"people"}]}"#);
    let listed = place.json(&["graph", "a.db"]);
    assert_eq!((&listed[0]["name"], &listed[0]["problem"]), (&"social".into(), &serde_json::Value::Null));
    let index = r#"CREATE INDEX "follows_by_dst" ON "follows"("dst", "src", "kind")"#;
    assert_eq!(listed[0]["missing_indexes"], index);
    assert!(place.ok(&["graph", "a.db"]).contains(index));
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "traverse", "social", "1", "--depth", "2"]), @r#"
    node  depth  type   path
    ----  -----  -----  -------------
    2     1      knows  ["1","2"]
    3     2      knows  ["1","2","3"]
    "#);
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "path", "social", "1", "3"]), @r#"
    step  node  type   cost
    ----  ----  -----  ----
    0     1            0
    1     2     knows  1
    2     3     knows  2
    "#);
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "neighbors", "social", "1", "--direction", "both", "--type", "likes"]), @r#"
    node  direction  type   weight  edge
    ----  ---------  -----  ------  ----
    3     in         likes  1       3
    "#);
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "components", "social"]), @r#"
    node  component  size
    ----  ---------  ----
    1     1          3
    2     1          3
    3     1          3
    4     2          1
    "#);
    let ranks = place.json(&["graph", "a.db", "pagerank", "social", "--limit", "2"]);
    assert_eq!(ranks.as_array().unwrap().len(), 2);
    assert!(ranks[0]["rank"].as_f64().unwrap() >= ranks[1]["rank"].as_f64().unwrap());
    assert_eq!(place.json(&["graph", "a.db", "communities", "social"]).as_array().unwrap().len(), 4);
    let narrowed =
        place.json(&["graph", "a.db", "traverse", "social", "1", "--options", r#"{"node_where":{"name":"bob"}}"#]);
    assert_eq!(narrowed, serde_json::json!([{ "node": "2", "depth": 1, "type": "knows", "path": "[\"1\",\"2\"]" }]));
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "path", "social", "1", "4"]), @"no path from 1 to 4");
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "path", "social", "1", "3", "--options", r#"{"depth":1}"#]), @"no path from 1 to 3 within 1 step");
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "traverse", "social", "4", "--depth", "2"]), @"no node is reached from 4 within 2 steps");
    insta::assert_snapshot!(place.ok(&["graph", "a.db", "neighbors", "social", "2", "--type", "likes", "--direction", "in"]), @"2 has no neighbours along edges of type likes, edges being followed backwards");
    assert_eq!(place.json(&["graph", "a.db", "path", "social", "1", "4"]), serde_json::json!([]));
    assert_eq!(place.ok(&["graph", "a.db", "drop", "social"]), "forgot social\n");
    assert!(!place.path("a.db-kith-key").exists());
}

#[test]
fn replica_answers_too_and_failures_name_the_command_to_run() {
    let place = Place::new();
    place.ok(&["init", "a.db", "--name", "laptop"]);
    insta::assert_snapshot!(place.ok(&["graph", "a.db"]), @r#"no graph is declared; declare one with `kith graph a.db declare NAME`"#);
    insta::assert_snapshot!(place.fails(&["graph", "a.db", "traverse", "social", "1"]), @r#"error: there is no graph social in this file; `kith graph a.db` lists those there are, `kith graph a.db declare social` makes it from foreign keys"#);
    insta::assert_snapshot!(place.fails(&["graph", "a.db", "declare", "social"]), @r#"error: graph social: no foreign key of one column was found to make edges of; declare foreign keys, or name an edge table with "edges", "from" and "to""#);
    insta::assert_snapshot!(place.fails(&["graph", "nowhere.db"]), @r#"error: there is no file FOLDER/nowhere.db; check the path, or make a new database with `kith init FOLDER/nowhere.db`"#);
    place.ok(&["sql", "a.db", TABLES]);
    place.ok(&["sql", "a.db", "SELECT kith_sync('follows')"]);
    place.ok(&["graph", "a.db", "declare", "social", DEFINITION]);
    let reached = place.json(&["graph", "a.db", "traverse", "social", "1"]);
    assert_eq!(reached.as_array().unwrap().len(), 2);
    insta::assert_snapshot!(place.fails(&["graph", "a.db", "traverse", "social", "1", "--options", "[]"]), @r#"error: --options takes a JSON object such as {"edge_where":{"since":{">=":2020}}}: invalid type: sequence, expected a map at line 1 column 0"#);
    insta::assert_snapshot!(place.fails(&["graph", "a.db", "traverse", "social", "1", "--options", r#"{"dept":1}"#]), @r#"error: kith_traverse has no option "dept"; it has direction, depth, unique, type, edge_where, node_where, from_table"#);
    assert_eq!(place.sql("a.db", "SELECT count(*) FROM kith_traverse('social', 1)"), "2");
}
