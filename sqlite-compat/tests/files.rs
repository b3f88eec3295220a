//! Opening, backup, serialisation, and founding a workspace in an open database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kithdb_sqlite::{Backup, Database, OpenOptions, SqliteError, Step, ValueRef};
use tempfile::TempDir;

const OPTIONS: OpenOptions = OpenOptions { read_only: false, must_exist: false, busy_timeout: Duration::ZERO };

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn open(file: &Path) -> Database {
    Database::open(file.to_str().unwrap(), &OPTIONS).unwrap()
}

fn filled(file: &Path) -> Database {
    let database = open(file);
    database
        .execute_batch(
            "CREATE TABLE notes(id INTEGER PRIMARY KEY, body);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO notes SELECT i, hex(zeroblob(200)) FROM n",
        )
        .unwrap();
    database
}

#[track_caller]
fn number(database: &Database, sql: &str) -> i64 {
    let (statement, _) = database.prepare(sql).unwrap();
    let statement = statement.unwrap();
    assert_eq!(statement.step().unwrap(), Step::Row);
    let ValueRef::Integer(number) = statement.column(0) else { panic!("{sql} gives no number") };
    number
}

#[track_caller]
fn name(result: Result<impl Sized, SqliteError>) -> String {
    result.err().expect("it must be refused").name().into_owned()
}

const COUNT: &str = "SELECT count(*) FROM notes";

#[test]
fn file_is_opened_as_the_options_say() {
    let place = Place::new();
    let file = place.path("a.db");
    let path = file.to_str().unwrap();
    let must_exist = OpenOptions { must_exist: true, ..OPTIONS };
    assert_eq!(name(Database::open(path, &must_exist)), "SQLITE_CANTOPEN");
    filled(&file);
    assert_eq!(number(&Database::open(path, &must_exist).unwrap(), COUNT), 500);
    let read_only = Database::open(path, &OpenOptions { read_only: true, ..OPTIONS }).unwrap();
    assert_eq!(number(&read_only, COUNT), 500);
    assert_eq!(name(read_only.execute_batch("DELETE FROM notes")), "SQLITE_READONLY");
}

#[test]
fn what_is_no_database_is_refused_by_the_first_statement() {
    let place = Place::new();
    std::fs::write(
        place.path("a.db"),
        "not a database, and longer than a header of SQLite's, which is a hundred bytes long".repeat(3),
    )
    .unwrap();
    let error = open(&place.path("a.db")).execute_batch("SELECT * FROM sqlite_schema").unwrap_err();
    assert_eq!((error.name().as_ref(), error.message.as_str()), ("SQLITE_NOTADB", "file is not a database"));
}

#[test]
fn lock_of_another_connection_is_told_at_once_without_a_timeout() {
    let place = Place::new();
    let first = filled(&place.path("a.db"));
    let second = open(&place.path("a.db"));
    first.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = second.execute_batch("BEGIN IMMEDIATE").unwrap_err();
    assert_eq!((error.name().as_ref(), error.message.as_str()), ("SQLITE_BUSY", "database is locked"));
    first.execute_batch("COMMIT").unwrap();
    second.execute_batch("BEGIN IMMEDIATE").unwrap();
}

#[test]
fn backup_copies_page_by_page_and_tells_how_far_it_is() {
    let place = Place::new();
    let source = filled(&place.path("a.db"));
    let copy = place.path("copy.db");
    let mut backup = Backup::begin(&source, "main", open(&copy)).unwrap();
    let first = backup.step(5).unwrap();
    assert!(!first.is_done);
    assert_eq!(i64::from(first.total), number(&source, "PRAGMA page_count"));
    assert_eq!(first.remaining, first.total - 5);
    let none = backup.step(0).unwrap();
    assert_eq!((none.remaining, none.is_done), (first.remaining, false));
    let last = backup.step(-1).unwrap();
    assert_eq!((last.remaining, last.is_done), (0, true));
    assert_eq!(name(backup.step(1)), "SQLITE_MISUSE");
    assert_eq!(number(&open(&copy), COUNT), 500);
}

#[test]
fn backup_that_is_given_up_leaves_nothing() {
    let place = Place::new();
    let source = filled(&place.path("a.db"));
    let copy = place.path("copy.db");
    let mut backup = Backup::begin(&source, "main", open(&copy)).unwrap();
    backup.step(5).unwrap();
    drop(backup);
    assert_eq!(number(&open(&copy), "SELECT count(*) FROM sqlite_schema"), 0);
}

#[test]
fn backup_of_a_database_that_is_not_there_is_refused() {
    let place = Place::new();
    let source = filled(&place.path("a.db"));
    let error = Backup::begin(&source, "elsewhere", open(&place.path("copy.db"))).unwrap_err();
    assert_eq!(error.message, "unknown database elsewhere");
}

#[test]
fn bytes_of_a_database_make_it_again() {
    let place = Place::new();
    let source = filled(&place.path("a.db"));
    let bytes = source.serialize("main").unwrap().unwrap();
    assert_eq!(bytes, std::fs::read(place.path("a.db")).unwrap());
    let copy = Database::deserialize(&bytes, &OPTIONS).unwrap();
    copy.execute_batch("DELETE FROM notes WHERE id > 10").unwrap();
    assert_eq!((number(&copy, COUNT), number(&source, COUNT)), (10, 500));
    let read_only = Database::deserialize(&bytes, &OpenOptions { read_only: true, ..OPTIONS }).unwrap();
    assert_eq!(number(&read_only, COUNT), 500);
    assert_eq!(name(read_only.execute_batch("DELETE FROM notes")), "SQLITE_READONLY");
    assert_eq!(source.serialize("elsewhere").unwrap(), None);
    let empty = Database::deserialize(&[], &OPTIONS).unwrap();
    assert_eq!(number(&empty, "SELECT count(*) FROM sqlite_schema"), 0);
}

#[test]
fn founding_makes_the_open_database_a_replica_and_closes_its_statements() {
    let place = Place::new();
    let file = place.path("a.db");
    let path = file.to_str().unwrap();
    let database = filled(&file);
    let (statement, _) = database.prepare(COUNT).unwrap();
    assert!(!database.is_replica());
    database.found(path, "laptop", &OPTIONS).unwrap();
    assert!(database.is_replica());
    assert_eq!(name(statement.unwrap().step()), "SQLITE_MISUSE");
    database.execute_batch("SELECT kith_sync('notes'); UPDATE notes SET body = 'new' WHERE id <= 3").unwrap();
    assert_eq!((number(&database, COUNT), database.changes()), (500, 3));
    assert_eq!(number(&database, "SELECT count(*) FROM kith__pending"), 1);
    database.close().unwrap();
    assert!(open(&file).is_replica(), "it is one when it is opened again");
    let read_only = Database::open(path, &OpenOptions { read_only: true, ..OPTIONS }).unwrap();
    assert!(!read_only.is_replica(), "reading needs no replica");
}

#[test]
fn founding_is_refused_twice_and_inside_a_transaction() {
    let place = Place::new();
    let file = place.path("a.db");
    let path = file.to_str().unwrap();
    let database = open(&file);
    database.execute_batch("BEGIN").unwrap();
    let error = database.found(path, "laptop", &OPTIONS).unwrap_err();
    assert_eq!(error.message, "a transaction is open; end it before a workspace is founded or joined");
    database.execute_batch("COMMIT").unwrap();
    database.found(path, "laptop", &OPTIONS).unwrap();
    assert!(database.found(path, "laptop", &OPTIONS).is_err());
    assert!(database.is_replica());
}

#[test]
fn replica_refuses_in_the_words_of_kithdb() {
    let place = Place::new();
    let file = place.path("a.db");
    let database = open(&file);
    database.found(file.to_str().unwrap(), "laptop", &OPTIONS).unwrap();
    database.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY); SELECT kith_sync('notes')").unwrap();
    let error = database.execute_batch("DROP TABLE notes").unwrap_err();
    assert_eq!(error.name(), "SQLITE_AUTH");
    assert!(error.message.starts_with("notes is synced and cannot be dropped"), "{error}");
    let error = database.execute_batch("INSERT INTO notes VALUES(NULL)").unwrap_err();
    assert!(error.message.contains("notes") && error.message.contains("NULL"), "{error}");
}

#[test]
fn replica_that_is_locked_is_waited_for_and_never_taken_for_a_plain_file() {
    let place = Place::new();
    let file = place.path("a.db");
    let database = open(&file);
    database.found(file.to_str().unwrap(), "laptop", &OPTIONS).unwrap();
    database.close().unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE other(x); COMMIT").unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(other);
    });
    let hasty = OpenOptions { busy_timeout: Duration::ZERO, ..OPTIONS };
    assert!(Database::open(file.to_str().unwrap(), &hasty).unwrap().is_replica());
    holder.join().unwrap();
}

#[test]
fn replica_of_a_newer_format_is_refused() {
    let place = Place::new();
    let file = place.path("a.db");
    let database = open(&file);
    database.found(file.to_str().unwrap(), "laptop", &OPTIONS).unwrap();
    database.close().unwrap();
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute("UPDATE kith__meta SET value = 99 WHERE name = 'format'", [])
        .unwrap();
    let error = Database::open(file.to_str().unwrap(), &OPTIONS).unwrap_err();
    assert_eq!(error.name(), "SQLITE_CANTOPEN");
    assert!(error.message.contains("newer than"), "{error}");
}

#[test]
fn full_sync_that_a_lock_prevents_is_set_once_the_lock_is_gone() {
    let place = Place::new();
    let file = place.path("a.db");
    let other = filled(&file);
    other.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN; DELETE FROM notes; ROLLBACK").unwrap();
    let database = open(&file);
    database.set_full_sync(20).unwrap();
    assert_eq!(database.execute_batch("DELETE FROM notes").unwrap_err().code, 5);
    other.close().unwrap();
    assert_eq!(number(&database, "PRAGMA synchronous"), 2);
    assert_eq!(number(&database, "PRAGMA busy_timeout"), 20);
    // What the application sets afterwards stays.
    database.execute_batch("PRAGMA synchronous = NORMAL; DELETE FROM notes").unwrap();
    assert_eq!(number(&database, "PRAGMA synchronous"), 1);
}
