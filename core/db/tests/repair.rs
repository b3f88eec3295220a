//! Putting back what another program changed.

use kithdb_core::repair::RepairedRow;
use kithdb_core::replica::{InitOptions, Replica};
use rusqlite::Connection;

const NOTES: &str = "SELECT id || ':' || body || ':' || ifnull(done, '-') FROM notes ORDER BY id";

struct File {
    _folder: tempfile::TempDir,
    replica: Replica,
    other: Connection,
}

fn notes() -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    replica
        .execute_batch(
            "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT UNIQUE, done INT); SELECT kith_sync('notes');
             INSERT INTO notes VALUES('milk', 'buy milk', 0), ('rye', 'rye bread', 0), ('tea', 'green tea', 1)",
        )
        .unwrap();
    File { other: Connection::open(&path).unwrap(), replica, _folder: folder }
}

fn shown(replica: &mut Replica) -> Vec<String> {
    replica.query(NOTES, [], |row| row.get(0)).unwrap()
}

fn dirty(replica: &mut Replica) -> i64 {
    replica.query("SELECT count(*) FROM kith__dirty", [], |row| row.get(0)).unwrap()[0]
}

const WRITTEN: [&str; 3] = ["milk:buy milk:0", "rye:rye bread:0", "tea:green tea:1"];

#[test]
fn rows_that_another_program_changed_are_put_back_and_can_then_be_written() {
    let File { mut replica, other, _folder } = notes();
    other
        .execute_batch(
            "UPDATE notes SET body = 'it''s foreign', done = NULL WHERE id = 'milk'; DELETE FROM notes WHERE id = 'rye';
             INSERT INTO notes VALUES('stock', 'rye bread', 9)",
        )
        .unwrap();
    assert_eq!(dirty(&mut replica), 3);
    let report = replica.repair(|_, _, _| {}).unwrap();
    let row = |key: &str, found: Option<&str>| RepairedRow {
        table: "notes".into(),
        key: format!("'{key}'"),
        found: found.map(str::to_owned),
    };
    assert_eq!(
        report.rows,
        [
            row("rye", None),
            row("milk", Some("\"body\" = 'it''s foreign', \"done\" = NULL")),
            row("stock", Some("\"body\" = 'rye bread', \"done\" = 9")),
        ]
    );
    assert!(report.left.is_clean(), "{:?}", report.left.problems);
    assert_eq!(shown(&mut replica), WRITTEN);
    assert_eq!(dirty(&mut replica), 0);
    // What the other program wrote, written again, is recorded now.
    replica
        .execute_batch(
            "UPDATE notes SET body = 'it''s foreign', done = NULL WHERE id = 'milk'; DELETE FROM notes WHERE id = 'rye';
             INSERT INTO notes VALUES('stock', 'rye bread', 9)",
        )
        .unwrap();
    let report = replica.verify(|_, _, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(shown(&mut replica), ["milk:it's foreign:-", "stock:rye bread:9", "tea:green tea:1"]);
}

#[test]
fn table_that_another_program_made_anew_gets_its_rows_back() {
    let File { mut replica, other, _folder } = notes();
    while replica.seal(Default::default()).unwrap().more {}
    other.execute_batch("DROP TABLE notes").unwrap();
    replica.reload_registry().unwrap();
    let dropped = "another program dropped the synced table notes; make it again with `CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT UNIQUE, done INT)`, then run `kith verify FILE --repair` to get its rows back from the log";
    assert_eq!(replica.quarantine_reason(1), Some(dropped));
    let problems = replica.verify(|_, _, _| {}).unwrap().problems;
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [dropped]);

    replica.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT UNIQUE, done INT)").unwrap();
    let message = replica.execute_batch("INSERT INTO notes VALUES('lost', 'x', 1)").unwrap_err().to_string();
    assert!(message.contains("made the synced table notes anew"), "{message}");
    let report = replica.repair(|_, _, _| {}).unwrap();
    assert_eq!(report.rows.len(), 3);
    assert!(report.left.is_clean(), "{:?}", report.left.problems);
    assert_eq!(shown(&mut replica), WRITTEN);
    replica.execute_batch("INSERT INTO notes VALUES('new', 'x', 1)").unwrap();
    other.execute_batch("INSERT INTO notes VALUES('stock', 'y', 1)").unwrap();
    assert_eq!(dirty(&mut replica), 1);
}

#[test]
fn repair_of_a_sound_file_changes_nothing() {
    let File { mut replica, _folder, .. } = notes();
    let report = replica.repair(|_, _, _| {}).unwrap();
    assert!(report.rows.is_empty() && report.left.is_clean());
    assert_eq!(shown(&mut replica), WRITTEN);
}
