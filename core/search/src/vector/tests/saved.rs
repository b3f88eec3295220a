//! Indexes saved beside the database: used, damaged, foreign, stale.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::declaration::Declaration;
use super::super::shared::Shared;
use super::search::ids;

const SEARCH: &str = "SELECT rowid FROM near WHERE embedding MATCH '[0,0]' AND k = 3";

pub(super) fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

/// Makes a database whose index is saved when it is closed: row `n` is `n` away from the origin.
fn create(path: &Path, options: &str) -> PathBuf {
    let conn = open(path);
    conn.execute_batch(&format!(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2, {options});
         INSERT INTO docs SELECT value, vec_f32('[' || value || ',0]') FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 1200) SELECT value FROM n);
         INSERT INTO docs VALUES(5000, '[1]')",
    ))
    .unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.close().unwrap();
    super::super::snapshot::path(&path.canonicalize().unwrap(), "near")
}

/// Writes as a program does that has switched triggers off: an index that was not made anew does not know of it.
fn write_unwatched(path: &Path, sql: &str) {
    let conn = Connection::open(path).unwrap();
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    conn.execute_batch(sql).unwrap();
}

#[test]
fn saved_indexes_are_used_with_the_changes_since() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for options in ["encoding=f32", "encoding=int8, engine=hnsw"] {
        let saved = create(&path, options);
        assert!(saved.exists());
        write_unwatched(&path, "UPDATE docs SET embedding = '[0,0]' WHERE id = 900");
        let stranger = Connection::open(&path).unwrap();
        stranger
            .execute_batch("DELETE FROM docs WHERE id = 2; UPDATE docs SET embedding = '[0,1.5]' WHERE id = 800")
            .unwrap();
        let conn = open(&path);
        assert_eq!(ids(&conn, SEARCH, []), [1, 800, 3]);
        assert_eq!(ids(&conn, "SELECT refused FROM kith_vector_stats", []), [1]);
        conn.execute_batch("INSERT INTO near(command) VALUES('rebuild')").unwrap();
        assert_eq!(ids(&conn, SEARCH, []), [900, 1, 800]);
        conn.execute_batch("DROP TABLE near; DROP TABLE docs").unwrap();
        conn.close().unwrap();
        assert!(!saved.exists());
    }
}

#[test]
fn rows_displaced_under_an_index_that_is_gone_again_are_not_answered() {
    let displace = "CREATE UNIQUE INDEX only ON docs(embedding);
         INSERT OR REPLACE INTO docs SELECT 3000, embedding FROM docs WHERE id = 2;
         DROP INDEX only";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "engine=scan");
    let conn = open(&path);
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.execute_batch(displace).unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [1, 3000, 3]);
    drop(conn);
    std::fs::remove_file(&path).unwrap();
    create(&path, "engine=hnsw");
    Connection::open(&path).unwrap().execute_batch(displace).unwrap();
    assert_eq!(ids(&open(&path), SEARCH, []), [1, 3000, 3]);
}

#[test]
fn rows_are_vouched_for_again_after_the_schema_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "engine=scan");
    let conn = open(&path);
    let arguments: Vec<&[u8]> = vec![b"content=docs", b"column=embedding", b"dims=2", b"metric=l2", b"engine=scan"];
    let shared = Shared::of(&conn, "near", &Declaration::parse(&arguments).unwrap());
    let schema = || ids(&conn, "PRAGMA schema_version", [])[0];
    let vouched = || shared.read().as_ref().and_then(|state| state.vouched.schema());
    let search = |times: i64| (0..times).for_each(|_| assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]));
    search(1);
    let before = schema();
    assert_eq!(vouched(), Some(before));
    // A row far off goes without a trigger's being told, and the schema comes and goes.
    conn.execute_batch(
        "CREATE UNIQUE INDEX only ON docs(embedding); INSERT OR REPLACE INTO docs SELECT 3000, embedding FROM docs WHERE id = 1100;
         DROP INDEX only; UPDATE docs SET embedding = '[1100.1,0]' WHERE id = 3000",
    )
    .unwrap();
    search(10);
    conn.execute_batch("BEGIN; CREATE TABLE other(a)").unwrap();
    search(90);
    conn.execute_batch("ROLLBACK; INSERT INTO docs VALUES(7000, '[7000,0]'); DELETE FROM docs WHERE id = 1000")
        .unwrap();
    assert_ne!(vouched(), Some(schema()));
    search(80);
    assert_eq!(vouched(), Some(schema()));
    let indexed = ids(&conn, "SELECT indexed FROM kith_vector_stats", [])[0];
    assert_eq!(indexed, ids(&conn, "SELECT count(*) FROM docs WHERE embedding <> '[1]'", [])[0]);
    assert_eq!(ids(&conn, "SELECT rowid FROM near WHERE embedding MATCH '[1100,0]' AND k = 1", []), [3000]);
}

#[test]
fn damaged_saved_indexes_are_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let saved = create(&path, "engine=scan");
    let whole = std::fs::read(&saved).unwrap();
    for damage in 0..12 {
        let mut bytes = whole.clone();
        match damage {
            0 => bytes.clear(),
            1 => bytes.truncate(100),
            2 => bytes.truncate(whole.len() / 2),
            // The floats at the end are not verified, so as to open at once; all before them is.
            n => bytes[(n - 3) * 150] ^= 1,
        }
        std::fs::write(&saved, bytes).unwrap();
        assert_eq!(ids(&open(&path), SEARCH, []), [1, 2, 3], "damage {damage}");
    }
}

#[test]
fn saved_indexes_of_another_history_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let saved = create(&path, "engine=scan");
    let foreign = create(&other, "engine=scan");
    std::fs::copy(&foreign, &saved).unwrap();
    write_unwatched(&path, "UPDATE docs SET embedding = '[0,0]' WHERE id = 900");
    let conn = open(&path);
    assert_eq!(ids(&conn, SEARCH, []), [900, 1, 2]);
    // One that is newer than a file which was restored from a backup.
    conn.close().unwrap();
    let backup = std::fs::read(&path).unwrap();
    let conn = open(&path);
    conn.execute_batch("UPDATE docs SET embedding = vec_f32('[' || id || ',1]')").unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.close().unwrap();
    std::fs::write(&path, backup).unwrap();
    let conn = open(&path);
    assert_eq!(ids(&conn, SEARCH, []), [900, 1, 2]);
    // And another one of the table's own, made with other options.
    conn.execute_batch("DROP TABLE near; CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l1)").unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [900, 1, 2]);
}

#[test]
fn old_changes_are_deleted_once_they_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "engine=scan");
    let conn = open(&path);
    for round in 0..10 {
        conn.execute_batch(&format!("UPDATE docs SET embedding = vec_f32('[' || id || ',{round}]')")).unwrap();
    }
    let changes = || ids(&Connection::open(&path).unwrap(), "SELECT count(*) FROM near_changes", [])[0];
    assert!(changes() > 12_000);
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.close().unwrap();
    assert_eq!(changes(), 1);
    assert_eq!(ids(&open(&path), SEARCH, []), [1, 2, 3]);
}

#[test]
fn changes_are_no_more_than_a_limit_while_the_file_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "engine=scan");
    let conn = open(&path);
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    for round in 0..20 {
        conn.execute_batch(&format!("UPDATE docs SET embedding = vec_f32('[' || id || ',{round}]')")).unwrap();
    }
    assert_eq!(ids(&conn, "SELECT count(*) FROM near_changes", []), [20_000]);
    // The place that the index is at has gone.
    write_unwatched(&path, "UPDATE docs SET embedding = '[0,0]' WHERE id = 900");
    assert_eq!(ids(&conn, SEARCH, []), [900, 1, 2]);
    conn.execute_batch("BEGIN; DELETE FROM docs; INSERT INTO docs VALUES(7, '[0,0]')").unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [7]);
    conn.execute_batch("ROLLBACK; UPDATE docs SET embedding = '[0,0]' WHERE id = 901").unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [900, 901, 1]);
}

#[test]
fn a_graph_that_is_behind_when_the_file_is_closed_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = open(&path);
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2, engine=hnsw);
         INSERT INTO docs SELECT value, vec_f32('[' || value || ',0]') FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 3000) SELECT value FROM n)",
    )
    .unwrap();
    let behind = |conn: &Connection| ids(conn, "SELECT behind FROM kith_vector_stats", [])[0];
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    let plan = |conn: &Connection| -> String {
        conn.query_row(&format!("EXPLAIN QUERY PLAN {SEARCH}"), [], |row| row.get(3)).unwrap()
    };
    until(|| behind(&conn) == 0);
    conn.close().unwrap();
    let conn = open(&path);
    assert!(plan(&conn).contains(":walk of the graph if what is saved fits, else scan:"), "{}", plan(&conn));
    conn.execute_batch("UPDATE docs SET embedding = vec_f32('[' || id || ',1]') WHERE id > 1700").unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.close().unwrap();
    let conn = open(&path);
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    assert!(behind(&conn) <= 1300);
}

#[test]
fn a_graph_is_built_again_by_searches_alone_where_the_saved_one_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let saved = create(&path, "engine=hnsw");
    let has_graph = |conn: &Connection| {
        assert_eq!(ids(conn, SEARCH, []), [1, 2, 3]);
        ids(conn, "SELECT tier = 'hnsw' AND behind < 256 FROM kith_vector_stats", []) == [1]
    };
    let conn = open(&path);
    until(|| has_graph(&conn));
    conn.close().unwrap();
    let conn = open(&path);
    assert!(saved.exists() && has_graph(&conn));
    conn.execute_batch("INSERT INTO near(command) VALUES('rebuild')").unwrap();
    conn.close().unwrap();
    let conn = open(&path);
    until(|| has_graph(&conn));
}

#[test]
fn a_reader_follows_when_the_index_is_replaced_by_one_with_other_slots() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let saved = create(&path, "engine=scan");
    let (writer, other) = (open(&path), open(&path));
    writer.execute_batch("DELETE FROM docs WHERE id = 1").unwrap();
    assert_eq!(ids(&writer, SEARCH, []), [2, 3, 4]);
    // In the slot of the first.
    writer.execute_batch("INSERT INTO docs VALUES(6000, '[0,0]')").unwrap();
    assert_eq!(ids(&writer, SEARCH, []), [6000, 2, 3]);
    writer.execute_batch("BEGIN; UPDATE docs SET embedding = '[2.5,0]' WHERE id = 6000").unwrap();
    assert_eq!(ids(&writer, SEARCH, []), [2, 6000, 3]);
    let arguments: Vec<&[u8]> = vec![b"content=docs", b"column=embedding", b"dims=2", b"metric=l2", b"engine=scan"];
    let declaration = Declaration::parse(&arguments).unwrap();
    let shared = Shared::of(&other, "near", &declaration);
    assert!(shared.read().is_some());
    *shared.write() = None;
    std::fs::remove_file(saved).unwrap();
    assert_eq!(ids(&other, SEARCH, []), [6000, 2, 3]);
    assert_eq!(ids(&writer, SEARCH, []), [2, 6000, 3]);
}

/// Waits for what a thread in the background brings about.
#[track_caller]
pub(super) fn until(is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed().as_secs() < 60, "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn a_table_that_is_made_again_while_others_use_it_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let saved = create(&path, "engine=scan");
    let (conn, other) = (open(&path), open(&path));
    assert_eq!((ids(&conn, SEARCH, []), ids(&other, SEARCH, [])), (vec![1, 2, 3], vec![1, 2, 3]));
    let sql: String =
        conn.query_row("SELECT sql FROM sqlite_schema WHERE name = 'near'", [], |row| row.get(0)).unwrap();
    conn.execute_batch(&format!("DROP TABLE near; {sql}")).unwrap();
    assert_eq!((ids(&conn, SEARCH, []), ids(&other, SEARCH, [])), (vec![1, 2, 3], vec![1, 2, 3]));
    other.close().unwrap();
    conn.close().unwrap();
    assert!(saved.exists());
}

#[test]
fn old_changes_of_tables_too_small_to_be_saved_are_deleted_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let conn = open(&path);
    conn.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
         INSERT INTO docs SELECT value, vec_f32('[' || value || ',0]') FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 300) SELECT value FROM n)",
    )
    .unwrap();
    for round in 0..40 {
        conn.execute_batch(&format!("UPDATE docs SET embedding = vec_f32('[' || id || ',{round}]')")).unwrap();
    }
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.close().unwrap();
    let stranger = Connection::open(&path).unwrap();
    assert_eq!(ids(&stranger, "SELECT count(*) FROM near_changes", []), [1]);
    stranger.execute_batch("UPDATE docs SET embedding = '[0,0]' WHERE id = 200").unwrap();
    assert_eq!(ids(&open(&path), SEARCH, []), [200, 1, 2]);
}

#[test]
fn connections_that_may_not_write_leave_the_changes_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "engine=scan");
    let count = || ids(&Connection::open(&path).unwrap(), "SELECT count(*) FROM near_changes", [])[0];
    let stranger = Connection::open(&path).unwrap();
    for round in 0..10 {
        stranger.execute_batch(&format!("UPDATE docs SET embedding = '[' || id || ',{round}]'")).unwrap();
    }
    let before = count();
    assert!(before > 12_000);
    let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    crate::register(&conn, |_| None).unwrap();
    assert_eq!(ids(&conn, SEARCH, []), [1, 2, 3]);
    conn.close().unwrap();
    assert_eq!(count(), before);
    assert_eq!(ids(&open(&path), SEARCH, []), [1, 2, 3]);
    assert_eq!(count(), 1);
}
