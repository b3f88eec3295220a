//! `kith_sync('*')` for tables that are made after it.

use std::path::Path;

use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use rusqlite::Connection;

fn found(file: &Path) -> Replica {
    let mut replica = Replica::init(file, InitOptions::new("desk")).unwrap();
    replica.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body)").unwrap();
    assert_eq!(replica.sync_table("*").unwrap().synced, ["notes"]);
    replica
}

fn memory() -> Replica {
    let mut replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
    replica.sync_table("*").unwrap();
    replica
}

/// Runs statements one after the other, as an application does.
fn run(replica: &mut Replica, statements: &[&str]) {
    for sql in statements {
        replica.execute_batch(sql).unwrap();
    }
}

fn tables(replica: &mut Replica) -> Vec<(String, String)> {
    replica
        .query("SELECT name, state FROM kith_tables ORDER BY name", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}

#[track_caller]
fn check(replica: &mut Replica, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect();
    assert_eq!(tables(replica), expected);
}

fn pending(replica: &mut Replica) -> i64 {
    replica.query("SELECT count(*) FROM kith__pending", [], |row| row.get(0)).unwrap()[0]
}

#[test]
fn table_made_later_is_recorded_from_its_first_row() {
    let mut replica = memory();
    run(&mut replica, &["CREATE TABLE later(id TEXT PRIMARY KEY, body)", "INSERT INTO later VALUES('a', 'x')"]);
    check(&mut replica, &[("later", "synced")]);
    assert_eq!(pending(&mut replica), 1);
}

#[test]
fn rows_written_in_the_transaction_that_makes_the_table_are_taken_up() {
    let mut replica = memory();
    run(&mut replica, &["BEGIN", "CREATE TABLE later(id TEXT PRIMARY KEY)", "INSERT INTO later VALUES('a')"]);
    check(&mut replica, &[("later", "left out")]);
    run(&mut replica, &["COMMIT"]);
    let before = replica.query("SELECT rows_before_sync FROM kith_tables", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(before, ["being taken up"]);
    check(&mut replica, &[("later", "synced")]);
}

#[test]
fn table_may_be_altered_and_dropped_in_the_transaction_that_makes_it() {
    let mut replica = memory();
    run(
        &mut replica,
        &[
            "BEGIN",
            "CREATE TABLE copy(id TEXT PRIMARY KEY)",
            "ALTER TABLE copy ADD COLUMN body",
            "ALTER TABLE copy RENAME TO later",
            "CREATE TABLE gone(id TEXT PRIMARY KEY)",
            "DROP TABLE gone",
            "COMMIT",
        ],
    );
    check(&mut replica, &[("later", "synced")]);
    run(&mut replica, &["BEGIN", "CREATE TABLE undone(id TEXT PRIMARY KEY)", "ROLLBACK"]);
    check(&mut replica, &[("later", "synced")]);
}

#[test]
fn table_that_is_not_fit_can_be_made_and_is_named() {
    let mut replica = memory();
    run(&mut replica, &["CREATE TABLE keyless(a)", "CREATE TABLE knex_migrations(id INTEGER PRIMARY KEY)"]);
    run(&mut replica, &["CREATE VIEW seen AS SELECT 1", "INSERT INTO keyless VALUES(1)"]);
    let reasons = replica
        .query("SELECT name, reason FROM kith_tables WHERE state = 'left out' ORDER BY name", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .unwrap();
    let names: Vec<_> = reasons.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["keyless", "knex_migrations", "seen"]);
    assert!(reasons[0].1.contains("PRIMARY KEY"), "{reasons:?}");
    assert!(reasons[1].1.contains("migration tool"), "{reasons:?}");
    assert!(reasons[2].1.contains("is a view"), "{reasons:?}");
    assert_eq!(pending(&mut replica), 0);
}

#[test]
fn what_belongs_to_a_virtual_table_is_not_listed_beside_it() {
    let mut replica = memory();
    run(
        &mut replica,
        &[
            "CREATE TABLE docs(id INTEGER PRIMARY KEY, body, embedding)",
            "CREATE VIRTUAL TABLE words USING fts5(body, content='docs', content_rowid='id')",
            "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2)",
            "INSERT INTO docs VALUES(1, 'a', '[1, 2]')",
        ],
    );
    let listed = [("docs", "synced"), ("near", "left out"), ("words", "left out")];
    check(&mut replica, &listed);
    let report = replica.sync_table("*").unwrap();
    let skipped: Vec<_> = report.skipped.iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(skipped, ["near", "words"]);
    check(&mut replica, &listed);
    assert!(replica.sync_table("words_data").unwrap_err().to_string().contains("belongs to a virtual table"));
}

#[test]
fn table_of_another_program_is_taken_in_by_the_connection_that_notices_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.db");
    let mut replica = found(&file);
    let other = Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs(id INTEGER PRIMARY KEY, body)").unwrap();
    run(&mut replica, &["INSERT INTO notes VALUES('a', 'x')"]);
    check(&mut replica, &[("notes", "synced"), ("theirs", "synced")]);

    // Nobody waits for a lock to be able to do so, and reads go on.
    other.execute_batch("CREATE TABLE more(id INTEGER PRIMARY KEY); BEGIN IMMEDIATE").unwrap();
    check(&mut replica, &[("more", "left out"), ("notes", "synced"), ("theirs", "synced")]);
    other.execute_batch("COMMIT").unwrap();
    run(&mut replica, &["SELECT 1"]);
    check(&mut replica, &[("more", "synced"), ("notes", "synced"), ("theirs", "synced")]);
    let patience: i64 = replica.query("PRAGMA busy_timeout", [], |row| row.get(0)).unwrap()[0];
    assert_eq!(patience, 5000);
}

#[test]
fn wish_is_kept_in_the_file_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.db");
    found(&file).close().unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE meanwhile(id INTEGER PRIMARY KEY)").unwrap();
    let mut replica = Replica::open(&file, OpenOptions::default()).unwrap();
    check(&mut replica, &[("meanwhile", "synced"), ("notes", "synced")]);
    replica.unsync_table("*").unwrap();
    run(&mut replica, &["CREATE TABLE later(id INTEGER PRIMARY KEY)", "INSERT INTO later VALUES(1)"]);
    check(&mut replica, &[("meanwhile", "synced"), ("notes", "synced")]);
    assert!(replica.unsync_table("*").is_err());
}

#[test]
fn table_that_was_taken_out_stays_out() {
    let mut replica = memory();
    run(&mut replica, &["CREATE TABLE later(id INTEGER PRIMARY KEY)", "SELECT kith_unsync('later')"]);
    run(&mut replica, &["CREATE TABLE another(id INTEGER PRIMARY KEY)", "SELECT 1"]);
    check(&mut replica, &[("another", "synced"), ("later", "unsynced")]);
}

#[test]
fn without_a_star_nothing_is_taken_in() {
    let mut replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
    run(&mut replica, &["CREATE TABLE later(id INTEGER PRIMARY KEY)", "INSERT INTO later VALUES(1)"]);
    check(&mut replica, &[]);
}

#[test]
fn connection_that_may_not_write_goes_on_reading() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.db");
    let mut replica = found(&file);
    run(&mut replica, &["PRAGMA query_only = ON"]);
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs(id INTEGER PRIMARY KEY, body)").unwrap();
    run(&mut replica, &["BEGIN", "SELECT * FROM theirs", "COMMIT"]);
    check(&mut replica, &[("notes", "synced"), ("theirs", "left out")]);
}
