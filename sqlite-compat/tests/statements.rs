//! Preparing, binding, stepping, resetting, and what a statement tells of itself.

use kithdb_sqlite::{Database, OpenOptions, SqliteError, Statement, Step, ValueRef};

fn memory(sql: &str) -> Database {
    let database = Database::open(":memory:", &OpenOptions::default()).unwrap();
    database.execute_batch(sql).unwrap();
    database
}

#[track_caller]
fn prepare(database: &Database, sql: &str) -> Statement {
    let (statement, rest) = database.prepare(sql).unwrap();
    assert_eq!(rest, "");
    statement.unwrap()
}

#[track_caller]
fn refused(result: Result<impl Sized, SqliteError>) -> (String, String) {
    let error = result.err().expect("it must be refused");
    (error.name().into_owned(), error.message)
}

#[test]
fn text_is_prepared_statement_by_statement() {
    let database = memory("");
    let (first, rest) = database.prepare("SELECT 1; SELECT 2 -- two").unwrap();
    assert_eq!((first.unwrap().column_count(), rest), (1, " SELECT 2 -- two"));
    let (second, rest) = database.prepare(rest).unwrap();
    assert!(second.is_some());
    assert_eq!(rest, "");
    for blank in ["", "  ", "-- nothing", "/* nothing */", ";"] {
        assert!(database.prepare(blank).unwrap().0.is_none(), "{blank:?}");
    }
}

#[test]
fn text_ends_at_a_zero_byte() {
    let database = memory("");
    let (statement, rest) = database.prepare("SELECT 1\0 nonsense").unwrap();
    assert!(statement.is_some());
    assert_eq!(rest, "");
}

#[test]
fn values_of_every_kind_come_back_as_they_were_bound() {
    let database = memory("");
    let statement = prepare(&database, "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7");
    statement.bind_null(1).unwrap();
    statement.bind_i64(2, i64::MIN).unwrap();
    statement.bind_f64(3, -0.5).unwrap();
    statement.bind_text(4, b"with \0 and \xff").unwrap();
    statement.bind_blob(5, &[0, 255]).unwrap();
    statement.bind_text(6, b"").unwrap();
    statement.bind_blob(7, b"").unwrap();
    assert_eq!(statement.step().unwrap(), Step::Row);
    let row: Vec<_> = (0..7).map(|index| statement.column(index)).collect();
    let expected = [
        ValueRef::Null,
        ValueRef::Integer(i64::MIN),
        ValueRef::Real(-0.5),
        ValueRef::Text(b"with \0 and \xff"),
        ValueRef::Blob(&[0, 255]),
        ValueRef::Text(b""),
        ValueRef::Blob(b""),
    ];
    assert_eq!(row, expected);
    assert_eq!(statement.column(7), ValueRef::Null, "there is no such column");
    assert_eq!(statement.step().unwrap(), Step::Done);
}

#[test]
fn bindings_outlive_a_reset_and_not_a_clearing() {
    let database = memory("");
    let statement = prepare(&database, "SELECT ?");
    statement.bind_i64(1, 7).unwrap();
    for _ in 0..2 {
        assert_eq!(statement.step().unwrap(), Step::Row);
        assert_eq!(statement.column(0), ValueRef::Integer(7));
        statement.reset();
    }
    statement.clear_bindings();
    assert_eq!(statement.step().unwrap(), Step::Row);
    assert_eq!(statement.column(0), ValueRef::Null);
}

#[test]
fn parameters_are_known_by_number_and_name() {
    let database = memory("");
    let statement = prepare(&database, "SELECT :a, @b, $c, ?7, :a");
    assert_eq!(statement.parameter_count(), 7);
    let names: Vec<_> = (0..=8).map(|index| statement.parameter_name(index)).collect();
    let name = |name: &str| Some(name.to_owned());
    let expected = [None, name(":a"), name("@b"), name("$c"), None, None, None, name("?7"), None];
    assert_eq!(names, expected);
    for index in [0, 8, usize::MAX] {
        assert_eq!(refused(statement.bind_i64(index, 1)), ("SQLITE_RANGE".into(), "column index out of range".into()));
    }
}

#[test]
fn value_cannot_be_bound_while_the_statement_is_being_read() {
    let database = memory("");
    let statement = prepare(&database, "SELECT ? UNION ALL SELECT 2");
    assert_eq!(statement.step().unwrap(), Step::Row);
    assert_eq!(refused(statement.bind_null(1)).0, "SQLITE_MISUSE");
    statement.reset();
    statement.bind_null(1).unwrap();
}

#[test]
fn columns_tell_where_they_come_from() {
    let database = memory("CREATE TABLE notes(id INTEGER PRIMARY KEY, body VARCHAR(10))");
    let statement = prepare(&database, "SELECT n.id AS number, n.body, 1 + 1 FROM notes AS n");
    type Ask = fn(&Statement, usize) -> Option<String>;
    let all = |ask: Ask| (0..3).map(|index| ask(&statement, index)).collect::<Vec<_>>();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(all(Statement::column_name), [some("number"), some("body"), some("1 + 1")]);
    assert_eq!(all(Statement::column_origin), [some("id"), some("body"), None]);
    assert_eq!(all(Statement::column_table), [some("notes"), some("notes"), None]);
    assert_eq!(all(Statement::column_database), [some("main"), some("main"), None]);
    assert_eq!(all(Statement::column_declared_type), [some("INTEGER"), some("VARCHAR(10)"), None]);
}

#[test]
fn statement_tells_whether_it_writes_and_what_it_runs() {
    let database = memory("CREATE TABLE notes(body)");
    assert!(prepare(&database, "SELECT * FROM notes").is_read_only());
    let insert = prepare(&database, "INSERT INTO notes VALUES(:body)");
    assert!(!insert.is_read_only());
    assert_eq!(insert.column_count(), 0);
    insert.bind_text(1, b"it's").unwrap();
    assert_eq!(insert.expanded_sql().as_deref(), Some("INSERT INTO notes VALUES('it''s')"));
}

#[test]
fn statement_is_compiled_anew_after_the_schema_changed() {
    let database = memory("CREATE TABLE notes(body); INSERT INTO notes VALUES('a')");
    let statement = prepare(&database, "SELECT * FROM notes");
    assert_eq!(statement.step().unwrap(), Step::Row);
    statement.reset();
    assert_eq!((statement.column_count(), statement.reprepared()), (1, 0));
    database.execute_batch("ALTER TABLE notes ADD COLUMN done DEFAULT 0").unwrap();
    assert_eq!(statement.step().unwrap(), Step::Row);
    assert_eq!((statement.column_count(), statement.reprepared()), (2, 1));
}

#[test]
fn counts_are_those_of_the_last_statement() {
    let database = memory("CREATE TABLE notes(id INTEGER PRIMARY KEY, body)");
    database.execute_batch("INSERT INTO notes(body) VALUES('a'), ('b'), ('c')").unwrap();
    assert_eq!((database.changes(), database.total_changes(), database.last_insert_rowid()), (3, 3, 3));
    database.execute_batch("DELETE FROM notes WHERE id < 3").unwrap();
    assert_eq!((database.changes(), database.total_changes(), database.last_insert_rowid()), (2, 5, 3));
}

#[test]
fn transaction_state_is_told() {
    let database = memory("");
    assert!(database.is_autocommit());
    database.execute_batch("BEGIN; SAVEPOINT s").unwrap();
    assert!(!database.is_autocommit());
    database.execute_batch("ROLLBACK").unwrap();
    assert!(database.is_autocommit());
}

#[test]
fn closing_finalizes_what_is_left_and_is_final() {
    let database = memory("CREATE TABLE notes(body)");
    let statement = prepare(&database, "SELECT * FROM notes");
    let copy = database.clone();
    database.close().unwrap();
    copy.close().unwrap();
    assert!(!copy.is_open());
    let closed = ("SQLITE_MISUSE".to_owned(), "the database connection is not open".to_owned());
    assert_eq!(refused(statement.step()), closed);
    assert_eq!(refused(statement.bind_null(1)), closed);
    assert_eq!(refused(database.prepare("SELECT 1")), closed);
    assert_eq!(refused(database.execute_batch("SELECT 1")), closed);
    assert_eq!((statement.column_count(), statement.parameter_count(), statement.expanded_sql()), (0, 0, None));
    assert_eq!(statement.column(0), ValueRef::Null);
    statement.reset();
    statement.clear_bindings();
    assert_eq!((database.changes(), database.is_autocommit()), (0, true));
}

#[test]
fn batch_stops_at_the_first_error_and_keeps_what_was_before() {
    let database = memory("CREATE TABLE notes(id INTEGER PRIMARY KEY)");
    let result =
        database.execute_batch("INSERT INTO notes VALUES(1); INSERT INTO notes VALUES(1); INSERT INTO notes VALUES(2)");
    assert_eq!(refused(result), ("SQLITE_CONSTRAINT_PRIMARYKEY".into(), "UNIQUE constraint failed: notes.id".into()));
    let statement = prepare(&database, "SELECT group_concat(id) FROM notes");
    statement.step().unwrap();
    assert_eq!(statement.column(0), ValueRef::Text(b"1"));
}

#[test]
fn each_statement_of_a_batch_is_told_before_it_runs_and_can_be_stopped() {
    let database = memory("");
    let mut told = Vec::new();
    let result = database.execute_each("CREATE TABLE a(x); CREATE TABLE b(x); CREATE TABLE c(x)", |statement| {
        told.push(statement.expanded_sql().unwrap());
        if told.len() == 2 { Err(SqliteError::new(1, "enough")) } else { Ok(()) }
    });
    assert_eq!(refused(result), ("SQLITE_ERROR".into(), "enough".into()));
    assert_eq!(told, ["CREATE TABLE a(x);", "CREATE TABLE b(x);"]);
    assert!(database.prepare("SELECT * FROM a").is_ok());
    assert!(database.prepare("SELECT * FROM b").is_err());
}

#[test]
fn errors_have_the_extended_code_and_the_message_of_sqlite() {
    let database = memory(
        "PRAGMA foreign_keys = ON; CREATE TABLE p(id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 0, c CHECK(c > 0));
         CREATE TABLE k(p REFERENCES p); CREATE TRIGGER t BEFORE DELETE ON p BEGIN SELECT RAISE(ABORT, 'stays'); END;
         CREATE TABLE s(i INTEGER) STRICT; INSERT INTO p(id, u) VALUES(1, 1)",
    );
    for (sql, name, message) in [
        ("CHOOSE 1", "SQLITE_ERROR", "near \"CHOOSE\": syntax error"),
        ("SELECT * FROM none", "SQLITE_ERROR", "no such table: none"),
        ("INSERT INTO p(id) VALUES(1)", "SQLITE_CONSTRAINT_PRIMARYKEY", "UNIQUE constraint failed: p.id"),
        ("INSERT INTO p(u) VALUES(1)", "SQLITE_CONSTRAINT_UNIQUE", "UNIQUE constraint failed: p.u"),
        ("UPDATE p SET n = NULL", "SQLITE_CONSTRAINT_NOTNULL", "NOT NULL constraint failed: p.n"),
        ("UPDATE p SET c = 0", "SQLITE_CONSTRAINT_CHECK", "CHECK constraint failed: c > 0"),
        ("INSERT INTO k VALUES(9)", "SQLITE_CONSTRAINT_FOREIGNKEY", "FOREIGN KEY constraint failed"),
        ("DELETE FROM p", "SQLITE_CONSTRAINT_TRIGGER", "stays"),
        ("INSERT INTO s VALUES('x')", "SQLITE_CONSTRAINT_DATATYPE", "cannot store TEXT value in INTEGER column s.i"),
        ("INSERT INTO p(id) VALUES('x')", "SQLITE_MISMATCH", "datatype mismatch"),
        ("COMMIT", "SQLITE_ERROR", "cannot commit - no transaction is active"),
        ("SELECT abs(-9223372036854775808)", "SQLITE_ERROR", "integer overflow"),
    ] {
        assert_eq!(refused(database.execute_batch(sql)), (name.to_owned(), message.to_owned()), "{sql}");
    }
    assert_eq!(SqliteError::of_code(10_000).name(), "UNKNOWN_SQLITE_ERROR_10000");
}

#[test]
fn longest_value_can_be_limited() {
    let database = memory("");
    database.set_length_limit(1000).unwrap();
    assert_eq!(refused(database.execute_batch("SELECT zeroblob(1001)")).0, "SQLITE_TOOBIG");
    database.execute_batch("SELECT zeroblob(1000)").unwrap();
}

#[test]
fn double_quoted_text_can_be_forbidden() {
    let database = memory("CREATE TABLE notes(body)");
    database.set_double_quoted_strings(false).unwrap();
    assert_eq!(refused(database.prepare("SELECT \"text\" FROM notes")).0, "SQLITE_ERROR");
    database.set_double_quoted_strings(true).unwrap();
    assert!(database.prepare("SELECT \"text\" FROM notes").is_ok());
}

#[test]
fn schema_cannot_be_written_to_in_a_defensive_database() {
    let database = memory("CREATE TABLE notes(body)");
    let write = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET name = name";
    database.set_defensive(true).unwrap();
    assert_eq!(refused(database.execute_batch(write)).1, "table sqlite_master may not be modified");
    database.set_defensive(false).unwrap();
    database.execute_batch(write).unwrap();
}
