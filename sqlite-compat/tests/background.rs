//! What this process does in the background does not disturb the application's transactions.

use std::time::Duration;

use kithdb_sqlite::{Database, OpenOptions, Step, ValueRef};

const OPTIONS: OpenOptions = OpenOptions { read_only: false, must_exist: false, busy_timeout: Duration::ZERO };

#[track_caller]
fn number(database: &Database, sql: &str) -> i64 {
    let (statement, _) = database.prepare(sql).unwrap();
    let statement = statement.unwrap();
    assert_eq!(statement.step().unwrap(), Step::Row);
    let ValueRef::Integer(number) = statement.column(0) else { panic!("{sql} gives no number") };
    number
}

/// A transaction that reads first and then writes is refused by SQLite at once, whatever the busy timeout, if somebody else has written
/// in between; and without a busy timeout each write is, while somebody else writes.
#[test]
fn transactions_are_not_refused_while_texts_are_embedded() {
    // Without a WAL a COMMIT is refused also while somebody only reads.
    for journal in ["WAL", "DELETE"] {
        write_beside_embedding(journal);
    }
}

fn write_beside_embedding(journal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.db");
    let open = || Database::open(file.to_str().unwrap(), &OPTIONS).unwrap();
    let database = open();
    database
        .execute_batch(&format!(
            "PRAGMA journal_mode = {journal};
             CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
             CREATE VIRTUAL TABLE notes_vectors USING kith_vector(content=notes, column=embedding, source=body, model=lexical-1)"
        ))
        .unwrap();
    let other = open();
    let (mut rounds, mut embedded) = (0, 0);
    while rounds < 500 || embedded < 300 {
        database.execute_batch("BEGIN").unwrap();
        embedded = number(&database, "SELECT count(*) FROM notes WHERE embedding IS NOT NULL");
        database.execute_batch("INSERT INTO notes(body) VALUES('read first, then written'); COMMIT").unwrap();
        other.execute_batch("UPDATE notes SET body = body || '.' WHERE id = 1").unwrap();
        rounds += 1;
    }
}
