//! Writes to a replica whose tables another connection changes meanwhile.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use kithdb_sqlite::{Database, FunctionOptions, OpenOptions, SqliteError, Statement, Step, Value, ValueRef};

fn open(file: &Path) -> Database {
    let options = OpenOptions { busy_timeout: Duration::from_secs(5), ..OpenOptions::default() };
    Database::open(file.to_str().unwrap(), &options).unwrap()
}

/// Two connections of one replica with tables `t`, which is synced, and `u`.
fn pair(folder: &Path) -> (Database, Database) {
    let file = folder.join("a.db");
    let one = open(&file);
    one.found(file.to_str().unwrap(), "laptop", &OpenOptions::default()).unwrap();
    one.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(id INTEGER PRIMARY KEY, a); CREATE TABLE seen(id);
         SELECT kith_sync('t')",
    )
    .unwrap();
    (one, open(&file))
}

#[track_caller]
fn prepare(database: &Database, sql: &str) -> Statement {
    database.prepare(sql).unwrap().0.unwrap()
}

#[track_caller]
fn run(statement: &Statement) {
    assert_eq!(statement.step().unwrap(), Step::Done);
    statement.reset();
}

#[track_caller]
fn number(database: &Database, sql: &str) -> i64 {
    let statement = prepare(database, sql);
    assert_eq!(statement.step().unwrap(), Step::Row);
    let ValueRef::Integer(number) = statement.column(0) else { panic!("{sql} gives no number") };
    number
}

const PENDING: &str = "SELECT count(*) FROM kith__pending";

#[test]
fn write_that_another_connection_made_outdated_is_done_once_and_right() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = pair(folder.path());
    let into_t = prepare(&one, "INSERT INTO t(a) VALUES(1)");
    let into_u = prepare(&one, "INSERT INTO u(a) VALUES(1)");
    run(&into_t);
    run(&into_t);
    run(&into_u);
    assert_eq!(number(&two, PENDING), 2);

    two.execute_batch("SELECT kith_sync('u')").unwrap();
    let before = one.total_changes();
    run(&into_u);
    assert_eq!((number(&two, PENDING), number(&two, "SELECT count(*) FROM u")), (3, 2));
    assert_eq!((one.changes(), one.total_changes(), one.last_insert_rowid()), (1, before + 1, 2));

    two.execute_batch("SELECT kith_unsync('u')").unwrap();
    run(&into_u);
    assert_eq!((number(&two, PENDING), number(&two, "SELECT count(*) FROM u")), (3, 3));

    run(&into_t);
    two.execute_batch("CREATE TRIGGER x AFTER INSERT ON t BEGIN INSERT INTO seen VALUES(new.id); END").unwrap();
    run(&into_t);
    assert_eq!((number(&two, PENDING), number(&two, "SELECT count(*) FROM seen")), (5, 1));
}

#[test]
fn write_after_another_program_changed_the_schema_is_held_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = pair(folder.path());
    let into_t = prepare(&one, "INSERT INTO t(a) VALUES(1)");
    run(&into_t);
    run(&into_t);
    let other = rusqlite::Connection::open(folder.path().join("a.db")).unwrap();
    other.execute_batch("CREATE TABLE n(a)").unwrap();
    run(&into_t);
    assert_eq!(number(&one, PENDING), 3);
    // Of the same width as the one that is synced, so that only a look at the schema tells them apart.
    other.execute_batch("DROP TABLE t; CREATE TABLE t(a, id INTEGER PRIMARY KEY)").unwrap();
    let outcome = |result: Result<(), SqliteError>| (result.map_err(|error| error.message), number(&one, PENDING));
    let unlooked = outcome(into_t.step().map(drop));
    into_t.reset();
    let looked = outcome(one.execute_batch("BEGIN; INSERT INTO t(a) VALUES(1); COMMIT"));
    assert_eq!(unlooked, looked);
    assert_eq!(looked.1, 3);
}

#[test]
fn function_of_the_application_is_called_once_for_each_row() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = pair(folder.path());
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let options = FunctionOptions { argument_count: 0, is_deterministic: false, is_direct_only: false };
    let function = move |_: &[ValueRef<'_>]| {
        counted.set(counted.get() + 1);
        Ok(Value::Integer(1))
    };
    one.create_function("counted", options, Box::new(function)).unwrap();
    let into_u = prepare(&one, "INSERT INTO u(a) VALUES(counted())");
    run(&into_u);
    run(&into_u);
    two.execute_batch("SELECT kith_sync('u')").unwrap();
    run(&into_u);
    assert_eq!((calls.get(), number(&two, PENDING)), (3, 1));
}

#[test]
fn statement_that_is_run_once_more_finds_the_one_before_it_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = pair(folder.path());
    let into_t = prepare(&one, "INSERT INTO t(a) VALUES(1)");
    let child = prepare(
        &one,
        "INSERT INTO u(id, a) VALUES(1000, last_insert_rowid() || ' ' || changes() || ' ' || total_changes())",
    );
    run(&into_t);
    run(&prepare(&one, "UPDATE t SET a = 2 WHERE id = 1"));
    run(&into_t);
    let expected = format!("2 1 {}", one.total_changes());
    two.execute_batch("CREATE TABLE n(a)").unwrap();
    run(&child);
    assert_eq!(one.last_insert_rowid(), 1000);
    let found = prepare(&one, "SELECT a FROM u");
    assert_eq!(found.step().unwrap(), Step::Row);
    assert_eq!(found.column(0), ValueRef::Text(expected.as_bytes()));
}

#[test]
fn trigger_of_another_connection_is_run_where_no_row_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = pair(folder.path());
    let into_u = prepare(&one, "INSERT OR IGNORE INTO u VALUES(1, 1)");
    let into_u_or_fail = prepare(&one, "INSERT INTO u VALUES(1, 1)");
    let into_t = prepare(&one, "INSERT INTO t(a) VALUES(1)");
    run(&into_u);
    run(&into_t);
    run(&into_t);
    two.execute_batch("CREATE TRIGGER x BEFORE INSERT ON u BEGIN INSERT INTO seen VALUES(new.id); END").unwrap();
    run(&into_u);
    assert_eq!(number(&two, "SELECT count(*) FROM seen"), 1);

    two.execute_batch("DROP TRIGGER x").unwrap();
    run(&into_t);
    run(&into_t);
    two.execute_batch("CREATE TRIGGER x BEFORE INSERT ON u BEGIN SELECT RAISE(IGNORE); END").unwrap();
    run(&into_u_or_fail);

    // Nor is a view found to be one that cannot be written to.
    two.execute_batch("DROP TRIGGER x").unwrap();
    run(&into_t);
    run(&into_t);
    two.execute_batch(
        "CREATE VIEW v AS SELECT * FROM t; CREATE TRIGGER x INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES(new.id, new.a); END",
    )
    .unwrap();
    one.execute_batch("INSERT INTO v VALUES(77, 1)").unwrap();
    assert_eq!(number(&two, "SELECT count(*) FROM t WHERE id = 77"), 1);
    assert_eq!(number(&two, "SELECT count(*) FROM kith__pending"), 7);
}

#[test]
fn change_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = pair(folder.path());
    let told = Rc::new(Cell::new(0));
    let counted = Rc::clone(&told);
    let _watch = one.watch_changes(move |_| counted.set(counted.get() + 1)).unwrap();
    let into_t = prepare(&one, "INSERT INTO t(a) VALUES(1)");
    run(&into_t);
    run(&into_t);
    told.set(0);
    two.execute_batch("CREATE TABLE n(a)").unwrap();
    run(&into_t);
    assert_eq!(told.get(), 1);
}

#[test]
fn table_made_later_is_taken_in_with_the_indexes_and_columns_that_follow_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = pair(folder.path());
    one.execute_batch(
        "SELECT kith_sync('*');
         CREATE TABLE later(id INTEGER PRIMARY KEY, mail);
         -- as migrations have it
         CREATE UNIQUE INDEX mails ON later(mail);
         /* and one more */ ALTER TABLE later ADD COLUMN name;
         INSERT INTO later(mail, name) VALUES('a', 'b')",
    )
    .unwrap();
    assert_eq!(number(&one, PENDING), 1);
    assert_eq!(number(&one, "SELECT count(*) FROM kith_tables WHERE name = 'later' AND state = 'synced'"), 1);
}

#[test]
fn statement_that_returns_rows_is_refused_before_its_first_row() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = pair(folder.path());
    one.execute_batch("CREATE TABLE keyed(id TEXT PRIMARY KEY); SELECT kith_sync('keyed')").unwrap();
    let without_key = prepare(&one, "INSERT INTO keyed VALUES(NULL) RETURNING id");
    assert!(without_key.step().unwrap_err().message.contains("NULL in its PRIMARY KEY"));
    without_key.reset();
    let returning = prepare(&one, "INSERT INTO u(a) VALUES(1) RETURNING id");
    assert_eq!(returning.step().unwrap(), Step::Row);
    returning.reset();
    assert_eq!(number(&two, "SELECT count(*) FROM u"), 1);
    assert_eq!(number(&two, PENDING), 0);
}
