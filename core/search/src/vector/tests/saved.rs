//! Indexes saved beside the database: used, damaged, foreign, stale.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::search::ids;

const SEARCH: &str = "SELECT rowid FROM near WHERE embedding MATCH '[0,0]' AND k = 3";

fn open(path: &Path) -> Connection {
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
