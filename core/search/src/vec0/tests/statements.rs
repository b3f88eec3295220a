//! What sqlite-vec has not; the rest is held against it by the example `vec0_differential`.

use rusqlite::Connection;

use super::{ids, refused};

fn memory() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

#[test]
fn plans_say_what_a_search_takes() {
    let conn = memory();
    conn.execute_batch("CREATE VIRTUAL TABLE x USING vec0(e float[2], p text partition key, n integer, +a text)")
        .unwrap();
    let plan = |sql: &str| -> String {
        conn.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get("detail")).unwrap()
    };
    let search =
        plan("SELECT * FROM x WHERE e MATCH '[1,1]' AND k = 3 AND p = 'a' AND n IN (1, 2) AND rowid IN (1, 2)");
    assert!(search.ends_with("1:k, p =, n in, rowid in, e match"), "{search}");
    let search = plan("SELECT * FROM x WHERE e MATCH '[1,1]' AND k = 3 AND a LIKE 'a%' AND distance < 3");
    assert!(["e match", "a like", "distance <", "k"].iter().all(|term| search.contains(term)), "{search}");
    let point = plan("SELECT * FROM x WHERE rowid = 3 AND n = 1");
    assert!(point.ends_with("0:rowid ="), "{point}");
    // A collation of the query's own is not the index's business.
    let search = plan("SELECT * FROM x WHERE e MATCH '[1,1]' AND k = 3 AND p = 'a' COLLATE NOCASE");
    assert!(search.ends_with("1:k, e match"), "{search}");
}

#[test]
fn embeddings_without_distance_come_last_and_bounds_leave_them_out() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(e float[2] distance_metric=cosine, n integer);
         INSERT INTO x VALUES(1, '[0,0]', 1), (2, x'0000c07f0000803f', 2), (3, '[1,1]', 1), (4, '[1,0]', 2)",
    )
    .unwrap();
    let search = "SELECT rowid FROM x WHERE e MATCH '[1,1]'";
    assert_eq!(ids(&conn, &format!("{search} AND k = 9")), [3, 4, 1, 2]);
    assert_eq!(ids(&conn, &format!("{search} AND k = 9 AND distance >= 0")), [3, 4]);
    assert_eq!(ids(&conn, &format!("{search} AND k = 9 AND n = 2")), [4, 2]);
    assert_eq!(ids(&conn, &format!("{search} AND k = 3")), [3, 4, 1]);
    conn.execute_batch("BEGIN; UPDATE x SET e = '[0,1]' WHERE rowid = 1; UPDATE x SET e = '[0,0]' WHERE rowid = 3")
        .unwrap();
    // Equally near ones come in the order of their rowids.
    assert_eq!(ids(&conn, &format!("{search} AND k = 9")), [1, 4, 2, 3]);
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ids(&conn, &format!("{search} AND k = 9")), [3, 4, 1, 2]);
}

#[test]
fn lower_bounds_of_distance_are_met_by_as_many_rows_as_there_are() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(e float[1]);
         WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 500)
         INSERT INTO x SELECT value, format('[%d]', value) FROM n",
    )
    .unwrap();
    let search = "SELECT rowid FROM x WHERE e MATCH '[0]' AND k = 3 AND distance > 400";
    assert_eq!(ids(&conn, search), [401, 402, 403]);
    assert_eq!(ids(&conn, &format!("{search} AND distance <= 402")), [401, 402]);
    assert_eq!(ids(&conn, "SELECT rowid FROM x WHERE e MATCH '[0]' AND k = 3 AND distance > 499"), [500]);
}

#[test]
fn long_lists_of_keys_and_values_are_filters() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(id text primary key, e float[1], n integer);
         CREATE TABLE list AS WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 40000)
           SELECT value FROM n;
         INSERT INTO x SELECT 'key ' || value, format('[%d]', value), value FROM list WHERE value % 100 = 0",
    )
    .unwrap();
    let search = "SELECT n FROM x WHERE e MATCH '[0]' AND k = 2 AND ";
    assert_eq!(ids(&conn, &format!("{search} n IN (SELECT value FROM list WHERE value > 30000)")), [30100, 30200]);
    assert_eq!(
        ids(&conn, &format!("{search} id IN (SELECT 'key ' || value FROM list WHERE value > 20000)")),
        [20100, 20200]
    );
    assert_eq!(ids(&conn, &format!("{search} rowid IN (SELECT value FROM list WHERE value > 3)")), [400, 500]);
}

#[test]
fn refusals_name_the_column_and_the_remedy() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(id integer primary key, e float[2], i int8[2], p text partition key, n integer);
         INSERT INTO x(id, e, i, p, n) VALUES(1, '[1,1]', vec_int8('[1,1]'), 'a', 1)",
    )
    .unwrap();
    for (sql, part) in [
        (
            "INSERT INTO x(id, e, i, n) VALUES(1, '[1,1]', vec_int8('[1,1]'), 1)",
            "UNIQUE constraint failed on x primary key",
        ),
        ("INSERT INTO x(id, e, i, n) VALUES(2.5, '[1,1]', vec_int8('[1,1]'), 1)", "bind a BigInt"),
        (
            "INSERT INTO x(id, e, i, n) VALUES(2, '[1]', vec_int8('[1,1]'), 1)",
            "\"e\" column: expected 2 dimensions but received 1",
        ),
        (
            "INSERT INTO x(id, e, i, n) VALUES(2, '[1,1]', '[1,1]', 1)",
            "\"i\" column is expected to be of type int8, but a float32",
        ),
        (
            "INSERT INTO x(id, e, i, n) VALUES(2, '[1,1]', vec_int8('[1,1]'), 'a')",
            "expected integer for INTEGER metadata column \"n\"",
        ),
        (
            "INSERT INTO x(id, e, i, p, n) VALUES(2, '[1,1]', vec_int8('[1,1]'), 3, 1)",
            "column \"p\" has type TEXT, but INTEGER",
        ),
        ("UPDATE x SET id = 5 WHERE id = 1", "delete the row and insert it anew"),
        ("SELECT * FROM x WHERE e MATCH '[1,1]'", "AND k = 10"),
        ("SELECT * FROM x WHERE e MATCH '[1,1]' AND k = 200000", "0 to 100000"),
        ("SELECT * FROM x WHERE e MATCH '[1]' AND k = 1", "the query vector for the \"e\" column"),
        ("CREATE VIRTUAL TABLE y USING vec0(e float[2], z blob)", "could not parse \"z blob\""),
        ("CREATE VIRTUAL TABLE temp.y USING vec0(e float[2])", "create it in main"),
    ] {
        let said = refused(&conn, sql);
        assert!(said.contains(part), "{sql}: {said}");
    }
    assert_eq!(ids(&conn, "SELECT count(*) FROM x_rows"), [1]);
}

#[test]
fn what_the_index_refuses_is_said_as_of_vec0() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(e float[2] distance_metric=cosine);
         INSERT INTO x(e) VALUES('[1,1]'), ('[0,0]'), (x'0000c07f0000803f')",
    )
    .unwrap();
    let query = "vec0: the query vector for the \"e\" column is invalid: its number at position 0 is not finite";
    for (sql, begin) in [
        ("SELECT * FROM x WHERE e MATCH x'0000c07f0000803f' AND k = 1", query),
        (
            "SELECT * FROM x WHERE e MATCH '[0,0]' AND k = 1",
            "vec0: the query vector for the \"e\" column is invalid: it is all zero",
        ),
        ("CREATE VIRTUAL TABLE y USING vec0(e float[2], recall=3)", "vec0: recall=3 is not possible"),
    ] {
        let said = refused(&conn, sql);
        assert!(said.starts_with(begin), "{sql}: {said}");
    }
    // What has no distance comes last.
    assert_eq!(ids(&conn, "SELECT rowid FROM x WHERE e MATCH '[1,2]' AND k = 2"), [1, 2]);
    conn.execute_batch("DROP TABLE x_index0_changes").unwrap();
    let said = refused(&conn, "SELECT * FROM x WHERE e MATCH '[1,2]' AND k = 1");
    assert!(said.starts_with("vec0: table \"x_index0_changes\" is gone"), "{said}");
    let problem: String = conn.query_row("SELECT problem FROM kith_vector_stats", [], |row| row.get(0)).unwrap();
    assert_eq!(problem, said);
    conn.execute_batch("DROP TABLE x").unwrap();
}

#[test]
fn stats_have_a_row_for_each_embedding_column() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(e float[2] distance_metric=cosine, b bit[8], t text);
         INSERT INTO x(e, b, t) VALUES('[1,1]', vec_bit(x'01'), 'a'), ('[0,0]', vec_bit(x'03'), 'b');
         CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=e, dims=2)",
    )
    .unwrap();
    let list = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let stats = "SELECT concat_ws(' ', name, content, column_name, dimensions, metric, recall, indexed, refused, problem) FROM kith_vector_stats";
    assert_eq!(
        list(stats),
        ["near docs e 2 cosine 0.95 0 0", "x x_rows e 2 cosine 1.0 1 1", "x x_rows b 8 hamming 1.0 2 0"]
    );
    conn.execute_batch("ALTER TABLE x RENAME TO y; DROP TABLE near").unwrap();
    assert_eq!(list("SELECT name || ' ' || content FROM kith_vector_stats"), ["y y_rows"; 2]);
    // Made anew by somebody, so that its triggers are gone.
    conn.execute_batch(
        "CREATE TABLE copy AS SELECT * FROM y_rows; DROP TABLE y_rows; ALTER TABLE copy RENAME TO y_rows",
    )
    .unwrap();
    let problems = list("SELECT problem FROM kith_vector_stats");
    assert!(problems.iter().all(|problem| problem.contains("y_rows")), "{problems:?}");
    conn.execute_batch("DROP TABLE y").unwrap();
    assert!(list(stats).is_empty());
}

#[test]
fn rows_of_one_partition_lie_together() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(e float[2], p text partition key);
         INSERT INTO x(e, p) SELECT '[1,1]', char(97 + value % 2) FROM json_each('[0,1,2,3,4,5]')",
    )
    .unwrap();
    // Of equally near ones those are found that lie first, and they come in the order of their rowids.
    assert_eq!(ids(&conn, "SELECT rowid FROM x WHERE e MATCH '[1,2]' AND k = 3"), [1, 3, 5]);
    assert_eq!(ids(&conn, "SELECT rowid FROM x WHERE e MATCH '[1,2]' AND k = 9"), [1, 2, 3, 4, 5, 6]);
    conn.execute_batch("DELETE FROM x WHERE rowid = 3; INSERT INTO x(e, p) VALUES('[1,1]', 'b')").unwrap();
    assert_eq!(ids(&conn, "SELECT rowid FROM x WHERE e MATCH '[1,2]' AND k = 9").len(), 6);
    assert_eq!(ids(&conn, "SELECT rowid FROM x WHERE e MATCH '[1,2]' AND k = 9 AND p = 'a'"), [1, 5]);
}

#[test]
fn renamed_and_dropped_tables_leave_nothing_behind() {
    let conn = memory();
    let made = "CREATE VIRTUAL TABLE x USING vec0(e float[2], b bit[8], n integer)";
    conn.execute_batch(&format!("{made}; INSERT INTO x(e, b, n) VALUES('[1,1]', vec_bit(x'01'), 1)")).unwrap();
    conn.execute_batch("ALTER TABLE x RENAME TO \"y 'z\"").unwrap();
    // The names of the first are free again.
    conn.execute_batch(&format!("{made}; INSERT INTO x(e, b, n) VALUES('[5,5]', vec_bit(x'0f'), 2)")).unwrap();
    conn.execute_batch("INSERT INTO \"y 'z\"(e, b, n) VALUES('[2,2]', vec_bit(x'03'), 3)").unwrap();
    conn.execute_batch(
        "BEGIN; ALTER TABLE x RENAME TO other; INSERT INTO other(e, b, n) VALUES('[5,5]', vec_bit(x'0f'), 9); ROLLBACK",
    )
    .unwrap();
    conn.execute_batch("BEGIN; DROP TABLE x; ROLLBACK").unwrap();
    assert_eq!(ids(&conn, "SELECT n FROM \"y 'z\" WHERE b MATCH vec_bit(x'07') AND k = 5"), [3, 1]);
    assert_eq!(ids(&conn, "SELECT n FROM x WHERE b MATCH vec_bit(x'07') AND k = 5"), [2]);
    conn.execute_batch("DROP TABLE x; DROP TABLE \"y 'z\"").unwrap();
    assert_eq!(ids(&conn, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'"), [0]);
}

#[test]
fn tables_beside_a_vec0_table_are_known_by_their_name_and_its_module() {
    let conn = memory();
    conn.execute_batch(
        "CREATE VIRTUAL TABLE x USING vec0(e float[2]);
         CREATE VIRTUAL TABLE using_y USING \"VEC0\" (e float[2]);
         CREATE TABLE vec0_docs(id INTEGER PRIMARY KEY, e BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=vec0_docs, column=e, dims=2)",
    )
    .unwrap();
    for own in ["x_rows", "X_Rows", "x_index0_changes", "using_y_rows"] {
        assert!(crate::is_own_table(&conn, own).unwrap(), "{own}");
    }
    for other in ["x", "x_index_changes", "x_indexes_changes", "x_rowsy", "near_rows", "vec0_docs", "äx_rows"] {
        assert!(!crate::is_own_table(&conn, other).unwrap(), "{other}");
    }
}
