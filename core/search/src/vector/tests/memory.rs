//! `max_memory`: what it bounds, and that answers do not depend on it.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::super::value::Embedding;
use super::saved::{open, until};
use super::search::{ids, message};

const BOUND: i64 = 1_000_000;
const DIMENSIONS: usize = 96;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn embedding(&mut self) -> Vec<u8> {
        let numbers = (0..DIMENSIONS).map(|_| self.below(2001) as f32 / 1000.0 - 1.0).collect();
        Embedding::Float32(numbers).to_blob()
    }
}

fn insert(conn: &Connection, ids: std::ops::Range<i64>, random: &mut Random) {
    let mut statement = conn.prepare_cached("INSERT OR REPLACE INTO docs VALUES(?1, ?2)").unwrap();
    for id in ids {
        statement.execute(params![id, random.embedding()]).unwrap();
    }
}

fn create(path: &Path, rows: i64, tables: &[(&str, &str)]) -> Connection {
    let conn = open(path);
    conn.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB)").unwrap();
    for (name, options) in tables {
        conn.execute_batch(&format!(
            "CREATE VIRTUAL TABLE {name} USING kith_vector(content=docs, column=embedding, dims={DIMENSIONS}, metric=l2, {options})"
        ))
        .unwrap();
    }
    conn.execute_batch("BEGIN").unwrap();
    insert(&conn, 0..rows, &mut Random(1));
    conn.execute_batch("COMMIT").unwrap();
    conn
}

fn figure(conn: &Connection, name: &str, column: &str) -> Value {
    let sql = format!("SELECT {column} FROM kith_vector_stats WHERE name = '{name}'");
    conn.query_row(&sql, [], |row| row.get(0)).unwrap()
}

fn bytes(conn: &Connection, name: &str, column: &str) -> i64 {
    match figure(conn, name, column) {
        Value::Integer(bytes) => bytes,
        other => panic!("{column} is {other:?}"),
    }
}

fn problem(conn: &Connection, name: &str) -> String {
    match figure(conn, name, "memory_problem") {
        Value::Null => String::new(),
        Value::Text(problem) => problem,
        other => panic!("{other:?}"),
    }
}

fn nearest(conn: &Connection, name: &str, query: &[u8], filter: &str) -> Vec<(i64, f64)> {
    let sql = format!("SELECT key, distance FROM {name} WHERE embedding MATCH ?1 AND k = 7 {filter}");
    let mut statement = conn.prepare_cached(&sql).unwrap();
    statement.query_map([query], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Lists the files beside a database that are not SQLite's own.
fn others(path: &Path) -> Vec<String> {
    let database = path.file_name().unwrap().to_str().unwrap();
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != database && name != &format!("{database}-journal")).collect()
}

#[test]
fn answers_are_the_same_within_max_memory_and_memory_stays_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for (seed, encoding) in [(1, "int8"), (2, "f32")] {
        let tight = format!("encoding={encoding}, engine=scan, max_memory='1MB'");
        let loose = format!("encoding={encoding}, engine=scan");
        let mut random = Random(seed);
        let mut conn = create(&path, 4_000, &[("tight", &tight), ("loose", &loose)]);
        let mut moved = 0;
        for step in 0..24 {
            let id = random.below(4_200) as i64;
            match random.below(9) {
                0..3 => insert(&conn, id..id + 1, &mut random),
                3 => insert(&conn, 4_000 + id..4_200 + id, &mut random),
                4 => _ = conn.execute("DELETE FROM docs WHERE id BETWEEN ?1 AND ?1 + 70", [id]).unwrap(),
                5 => _ = conn.execute("DELETE FROM docs WHERE id % 97 = ?1 % 97", [id]).unwrap(),
                6 => {
                    conn.execute_batch("BEGIN").unwrap();
                    insert(&conn, id..id + 300, &mut random);
                    let query = random.embedding();
                    assert_eq!(nearest(&conn, "tight", &query, ""), nearest(&conn, "loose", &query, ""));
                    conn.execute_batch(if id % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).unwrap();
                }
                7 => {
                    conn.close().unwrap();
                    conn = open(&path);
                }
                // Rows all over the index, each of which brings its whole chunk back.
                _ => {
                    for id in (id % 53..4_200).step_by(53) {
                        insert(&conn, id..id + 1, &mut random);
                    }
                }
            }
            for filter in ["", "AND rowid < 900", "AND key IN (SELECT id FROM docs WHERE id % 3 = 0)"] {
                let query = random.embedding();
                let found = nearest(&conn, "tight", &query, filter);
                assert_eq!(found, nearest(&conn, "loose", &query, filter), "step {step}, {encoding}, {filter}");
                assert_eq!(found.len(), 7);
            }
            let used = bytes(&conn, "tight", "memory_bytes");
            assert!(used <= BOUND, "{used} bytes in memory at step {step}");
            moved += bytes(&conn, "tight", "mapped_bytes");
            assert_eq!(problem(&conn, "tight"), "");
        }
        assert_eq!(bytes(&conn, "tight", "max_memory"), BOUND);
        assert!(bytes(&conn, "loose", "memory_bytes") > BOUND && moved > 0);
        assert_eq!(figure(&conn, "loose", "max_memory"), Value::Null);
        conn.close().unwrap();
        let saved = others(&path);
        assert!(saved.iter().all(|name| name.starts_with("a.db-kith-vector-") && name.len() == 33), "{saved:?}");
        conn = open(&path);
        conn.execute_batch("DROP TABLE tight; DROP TABLE loose; DROP TABLE docs").unwrap();
        conn.close().unwrap();
    }
    assert_eq!(others(&path), [""; 0]);
}

#[test]
fn a_folder_that_cannot_be_written_leaves_the_index_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("here");
    std::fs::create_dir(&here).unwrap();
    let path = here.join("a.db");
    drop(create(&path, 4_000, &[("tight", "engine=scan, max_memory='1MB'"), ("loose", "engine=scan")]));
    for saved in others(&path) {
        std::fs::remove_file(here.join(saved)).unwrap();
    }
    let conn = open(&path);
    assert_eq!(ids(&conn, "SELECT count(*) FROM docs", []), [4_000]);
    // SQLite has the file open; nothing else is found.
    let away = folder.path().join("away");
    std::fs::rename(&here, &away).unwrap();
    let query = Random(9).embedding();
    assert_eq!(nearest(&conn, "tight", &query, ""), nearest(&conn, "loose", &query, ""));
    assert!(bytes(&conn, "tight", "memory_bytes") > BOUND);
    assert!(problem(&conn, "tight").contains("no file could be written"), "{}", problem(&conn, "tight"));
    std::fs::rename(&away, &here).unwrap();
    insert(&conn, 4_000..4_500, &mut Random(10));
    assert_eq!(nearest(&conn, "tight", &query, ""), nearest(&conn, "loose", &query, ""));
    assert!(bytes(&conn, "tight", "memory_bytes") <= BOUND);
    assert_eq!(problem(&conn, "tight"), "");
}

#[test]
fn a_database_in_memory_says_that_nothing_can_be_moved() {
    let conn = super::search::open();
    conn.execute_batch(&format!(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB);
         CREATE VIRTUAL TABLE tight USING kith_vector(content=docs, column=embedding, dims={DIMENSIONS}, max_memory='1MB')"
    ))
    .unwrap();
    insert(&conn, 0..3_000, &mut Random(1));
    assert_eq!(nearest(&conn, "tight", &Random(2).embedding(), "").len(), 7);
    assert!(problem(&conn, "tight").contains("a database in memory"), "{}", problem(&conn, "tight"));
}

#[test]
fn a_graph_is_built_only_where_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = create(&path, 1_500, &[("tight", "engine=hnsw, ef_construction=60, max_memory='1MB'")]);
    let query = Random(9).embedding();
    nearest(&conn, "tight", &query, "");
    until(|| figure(&conn, "tight", "tier || behind") == Value::Text("hnsw0".to_owned()));
    assert_eq!(problem(&conn, "tight"), "");
    // It goes on growing, and the graph is given up.
    for first in (1_500..6_000).step_by(250) {
        insert(&conn, first..first + 250, &mut Random(first as u64));
        assert_eq!(nearest(&conn, "tight", &query, "").len(), 7);
        assert!(bytes(&conn, "tight", "memory_bytes") <= BOUND);
    }
    until(|| figure(&conn, "tight", "tier") == Value::Text("scan".to_owned()));
    assert!(problem(&conn, "tight").contains("a graph does not fit max_memory='1MB'"), "{}", problem(&conn, "tight"));
    nearest(&conn, "tight", &query, "");
    assert_eq!(figure(&conn, "tight", "last_choice"), Value::Text("scan".to_owned()));
    // One of fewer edges does.
    conn.execute_batch(&format!(
        "DELETE FROM docs WHERE id >= 3000;
         CREATE VIRTUAL TABLE few USING kith_vector(content=docs, column=embedding, dims={DIMENSIONS}, engine=hnsw, m=2, max_memory='1MB')"
    ))
    .unwrap();
    nearest(&conn, "few", &query, "");
    until(|| figure(&conn, "few", "tier || behind") == Value::Text("hnsw0".to_owned()));
    assert!(bytes(&conn, "few", "memory_bytes") <= BOUND);
}

#[test]
fn saved_indexes_are_used_under_another_bound_and_mapped_once_they_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = create(&path, 4_000, &[("near", "engine=hnsw, max_memory='64MB'")]);
    let query = Random(9).embedding();
    let before = nearest(&conn, "near", &query, "");
    // Far below the bound nothing moves but to the saved file.
    until(|| bytes(&conn, "near", "mapped_bytes") > 4_000 * 96 * 4 && bytes(&conn, "near", "behind") == 0);
    assert!(bytes(&conn, "near", "memory_bytes") < 2 * BOUND);
    insert(&conn, 5_000..5_100, &mut Random(3));
    assert_eq!(nearest(&conn, "near", &query, "").len(), 7);
    conn.execute("DELETE FROM docs WHERE id >= 5000", []).unwrap();
    conn.close().unwrap();
    // As a program would that knows what it does: nothing but the bound is another.
    let changed = |from: &str, to: &str| {
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA writable_schema = ON").unwrap();
        let sql = "UPDATE sqlite_schema SET sql = replace(sql, ?1, ?2) WHERE name = 'near'";
        assert_eq!(conn.execute(sql, [from, to]).unwrap(), 1);
        // No trigger notes this change, so it is seen only if the table is read.
        conn.execute_batch("DROP TRIGGER near_update").unwrap();
        let sql: String = format!(
            "UPDATE docs SET embedding = (SELECT embedding FROM docs WHERE id = {}) WHERE id = 17",
            before[0].0
        );
        conn.execute_batch(&sql).unwrap();
    };
    let saved = path.parent().unwrap().join(&others(&path)[0]);
    let trigger: String = Connection::open(&path)
        .unwrap()
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'near_update'", [], |row| row.get(0))
        .unwrap();
    assert!(saved.exists());
    changed("max_memory='64MB'", "max_memory='1MB'");
    Connection::open(&path).unwrap().execute_batch(&trigger).unwrap();
    let conn = open(&path);
    let found = nearest(&conn, "near", &query, "");
    assert_eq!(found, before, "what was saved is used");
    assert_eq!(figure(&conn, "near", "tier"), Value::Text("scan".to_owned()));
    assert!(bytes(&conn, "near", "memory_bytes") <= BOUND);
    assert!(problem(&conn, "near").contains("a graph does not fit"));
}

#[test]
fn what_is_no_size_is_refused() {
    let conn = super::search::open();
    conn.execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB)").unwrap();
    let create = |size: &str| {
        message(
            &conn,
            &format!(
                "CREATE VIRTUAL TABLE n USING kith_vector(content=docs, column=embedding, dims=3, max_memory={size})"
            ),
        )
    };
    assert!(create("much").contains("max_memory=much is not possible; a whole number of bytes"));
    assert!(create("'10KB'").contains("from 1MB on is expected, as in max_memory='256MB'"));
}
