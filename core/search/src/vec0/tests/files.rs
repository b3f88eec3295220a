//! `vec0` tables in files: several connections, other programs, crashes, and files of sqlite-vec.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{ids, open, refused};

const SEARCH: &str = "SELECT rowid FROM x WHERE e MATCH '[0,0]' AND k = 3";

/// Makes a table whose index is saved when its file is closed: row `n` is `n` away from the origin.
fn create(path: &Path, options: &str) {
    let conn = open(path);
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         CREATE VIRTUAL TABLE x USING vec0(e float[2], n integer, +body text{options});
         WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 1200)
         INSERT INTO x SELECT value, format('[%d,0]', value), value % 2, 'text' FROM n"
    ))
    .unwrap();
    assert_eq!(ids(&conn, SEARCH), [1, 2, 3]);
    conn.close().unwrap();
}

fn saved(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    files.filter(|name| name.to_string_lossy().contains("-kith-vector-")).count()
}

#[test]
fn saved_indexes_are_used_with_what_others_wrote_since() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for options in ["", ", recall=0.95"] {
        create(&path, options);
        assert_eq!(saved(folder.path()), 1);
        // A program that knows nothing of vec0 writes the table of rows, once with triggers switched off.
        let stranger = Connection::open(&path).unwrap();
        stranger.execute_batch("DELETE FROM x_rows WHERE rowid = 2; UPDATE x_rows SET e = (SELECT e FROM x_rows WHERE rowid = 1) WHERE rowid = 700").unwrap();
        stranger.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        stranger.execute_batch("UPDATE x_rows SET e = zeroblob(8) WHERE rowid = 900").unwrap();
        drop(stranger);
        let conn = open(&path);
        // The one without triggers is not noticed, which shows that the saved index was used.
        assert_eq!(ids(&conn, SEARCH), [1, 700, 3]);
        assert_eq!(ids(&conn, &format!("{SEARCH} AND n = 0")), [700, 4, 6]);
        conn.execute_batch("DROP TABLE x").unwrap();
        conn.close().unwrap();
        assert_eq!(saved(folder.path()), 0);
    }
}

#[test]
fn connections_see_their_own_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "");
    let (one, other) = (open(&path), open(&path));
    other.execute_batch("BEGIN").unwrap();
    assert_eq!(ids(&other, SEARCH), [1, 2, 3]);
    one.execute_batch("BEGIN; DELETE FROM x WHERE rowid = 1; SAVEPOINT s; DELETE FROM x WHERE rowid = 2").unwrap();
    assert_eq!((ids(&one, SEARCH), ids(&other, SEARCH)), (vec![3, 4, 5], vec![1, 2, 3]));
    one.execute_batch("ROLLBACK TO s; UPDATE x SET n = 7 WHERE rowid = 9; COMMIT").unwrap();
    assert_eq!((ids(&one, SEARCH), ids(&other, SEARCH)), (vec![2, 3, 4], vec![1, 2, 3]));
    assert_eq!(ids(&one, &format!("{SEARCH} AND n = 7")), [9]);
    assert_eq!(ids(&other, &format!("{SEARCH} AND n = 7")), [0; 0]);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(ids(&other, SEARCH), [2, 3, 4]);
    one.execute_batch("DELETE FROM x WHERE rowid < 9; VACUUM").unwrap();
    assert_eq!((ids(&one, SEARCH), ids(&other, SEARCH)), (vec![9, 10, 11], vec![9, 10, 11]));
}

#[test]
fn what_a_crash_leaves_is_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "");
    let conn = open(&path);
    conn.execute_batch("DELETE FROM x WHERE rowid = 2; BEGIN; DELETE FROM x WHERE rowid < 100").unwrap();
    assert_eq!(ids(&conn, SEARCH), [100, 101, 102]);
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        // The index of the write-ahead log is made anew from it.
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let conn = open(&copy.path().join("a.db"));
    assert_eq!(ids(&conn, SEARCH), [1, 3, 4]);
    assert_eq!(ids(&conn, "SELECT count(*) FROM x"), [1199]);
}

#[test]
fn files_are_searched_by_who_may_only_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, "");
    let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    crate::register(&conn, |_| None).unwrap();
    assert_eq!(ids(&conn, &format!("{SEARCH} AND n = 1")), [1, 3, 5]);
    assert!(refused(&conn, "DELETE FROM x").contains("readonly"));
}

#[test]
fn a_table_of_sqlite_vec_is_refused_with_the_way_to_move_it() {
    let conn = Connection::open_in_memory().unwrap();
    crate::register(&conn, |_| None).unwrap();
    // As sqlite-vec leaves it, as far as that is looked at; the example `vec0_differential` does it with a real one.
    conn.execute_batch(
        "CREATE TABLE x_chunks(chunk_id INTEGER PRIMARY KEY);
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES('table', 'x', 'x', 0, 'CREATE VIRTUAL TABLE x USING vec0(e float[2])');
         PRAGMA writable_schema = RESET",
    )
    .unwrap();
    let said = refused(&conn, SEARCH);
    assert!(said.contains("made by sqlite-vec") && said.contains("CREATE TABLE \"x_copy\" AS SELECT"), "{said}");
    conn.execute_batch("DROP TABLE x_chunks").unwrap();
    let said = refused(&conn, "SELECT * FROM x");
    assert!(said.contains("\"x_rows\" is gone"), "{said}");
}
