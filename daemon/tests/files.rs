//! Files that are not what a command expects: one sentence each, and nothing written.

mod common;

use std::fs;
use std::path::Path;

use common::Place;
use rusqlite::Connection;

/// What lies in a folder: every file with its content, but for the traces SQLite leaves when it reads a file with a write-ahead log: its
/// index in shared memory, and a log with nothing in it.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(name, bytes)| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()))
        .collect();
    files.sort();
    files
}

/// The commands that open a database that should be there.
const OPENING: [&[&str]; 9] = [
    &["sql", "a.db", "SELECT 1"],
    &["status", "a.db"],
    &["log", "a.db"],
    &["members", "a.db"],
    &["conflicts", "a.db"],
    &["peers", "a.db"],
    &["verify", "a.db"],
    &["invite", "a.db", "--role", "writer"],
    &["sync", "a.db", "--no-mdns", "--once"],
];

/// Every command says the same sentence about a file, leaves the folder as it is, and `doctor` says it too.
#[track_caller]
fn sentence(place: &Place) -> String {
    sentence_of(place, &OPENING)
}

#[track_caller]
fn sentence_of(place: &Place, commands: &[&[&str]]) -> String {
    let before = content(place.folder());
    let sentence = place.fails(commands[0]);
    for command in commands {
        assert_eq!(place.fails(command), sentence, "{command:?}");
    }
    assert!(content(place.folder()) == before, "something was written");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence
}

#[test]
fn missing_file() {
    insta::assert_snapshot!(sentence(&Place::new()), @"error: there is no file FOLDER/a.db; check the path, or make a new database with `kith init FOLDER/a.db`");
}

#[test]
fn missing_folder() {
    let place = Place::new();
    insta::assert_snapshot!(place.fails(&["init", "nowhere/a.db"]), @"error: there is no folder nowhere; create it first");
}

#[test]
fn folder_in_place_of_a_file() {
    let place = Place::new();
    fs::create_dir(place.path("a.db")).unwrap();
    insta::assert_snapshot!(place.fails(&["status", "a.db"]), @"error: a.db is a folder; give the path of a database file");
}

#[test]
fn file_that_is_not_sqlite() {
    let place = Place::new();
    fs::write(place.path("a.db"), "Dear diary,\n").unwrap();
    insta::assert_snapshot!(sentence(&place), @"error: FOLDER/a.db is not an SQLite database; give the path of a database file");
    let init = place.fails(&["init", "a.db"]);
    assert!(init.contains("is not an SQLite database"), "{init}");
    assert_eq!(fs::read(place.path("a.db")).unwrap(), b"Dear diary,\n");
}

#[test]
fn plain_database() {
    let place = Place::new();
    Connection::open(place.path("a.db")).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    // `kith sql` takes it as it is.
    insta::assert_snapshot!(sentence_of(&place, &OPENING[1..]), @"error: FOLDER/a.db is a plain SQLite database; make it a KithDB database with `kith init FOLDER/a.db`");
}

#[test]
fn newer_format_is_never_written_to() {
    let place = Place::new();
    place.init_notes("a.db");
    {
        let conn = Connection::open(place.path("a.db")).unwrap();
        conn.execute_batch("UPDATE kith__meta SET value = 99 WHERE name = 'format'; PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
    }
    let before = content(place.folder());
    insta::assert_snapshot!(sentence(&place), @"error: FOLDER/a.db has format 99, newer than the 1 this program knows; update kithdb (nothing was written)");
    for command in [&["init", "a.db"][..], &["doctor", "a.db"], &["sql", "a.db", "CREATE TABLE t(a)"]] {
        let output = place.kith(command);
        let said = common::text(&output.stdout) + &common::text(&output.stderr);
        assert!(
            !output.status.success() && said.contains("newer than the 1 this program knows"),
            "{command:?}: {said}"
        );
    }
    assert!(content(place.folder()) == before, "a file of a newer format was written to");
}

#[test]
fn locked_file() {
    let place = Place::new();
    place.init_notes("a.db");
    let other = Connection::open(place.path("a.db")).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE x(a)").unwrap();
    insta::assert_snapshot!(place.fails(&["status", "a.db"]), @"error: FOLDER/a.db is locked by another program; close that program's transaction and try again");
}

#[test]
fn every_command_says_the_same_of_a_locked_file() {
    let place = Place::new();
    place.init_notes("a.db");
    let other = Connection::open(place.path("a.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE x(a)").unwrap();
    const LOCKED: &str = "FOLDER/a.db is locked by another program; close that program's transaction and try again";
    let writing: [&[&str]; 4] = [
        &["sql", "a.db", "DELETE FROM notes"],
        &["invite", "a.db", "--role", "writer"],
        &["verify", "a.db"],
        &["sync", "a.db", "--no-mdns", "--once"],
    ];
    // Each waits for its own patience: together they take as long as one.
    std::thread::scope(|scope| {
        let place = &place;
        let waiting = writing.map(|command| (command, scope.spawn(move || place.fails(command))));
        for (command, said) in waiting {
            assert_eq!(said.join().unwrap(), format!("error: {LOCKED}"), "{command:?}");
        }
    });
    let script = place.with_input(&["sql", "a.db"], "SELECT 1;\nDELETE\nFROM notes;\n");
    let said = common::text(&script.stderr).replace(&place.folder().display().to_string(), "FOLDER");
    assert_eq!(said, format!("error: line 2: {LOCKED}\n"));
}

#[cfg(unix)]
#[test]
fn damaged_pages_are_told_with_the_remedy() {
    use std::os::unix::fs::FileExt;
    let place = Place::new();
    place.init_notes("a.db");
    let conn = Connection::open(place.path("a.db")).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let place_of_page: u64 = conn
        .query_row(
            "SELECT (rootpage - 1) * page_size FROM sqlite_schema, pragma_page_size WHERE name = 'notes'",
            [],
            |row| row.get::<_, i64>(0),
        )
        .unwrap()
        .unsigned_abs();
    drop(conn);
    let file = fs::OpenOptions::new().write(true).open(place.path("a.db")).unwrap();
    file.write_all_at(&[0x55; 512], place_of_page).unwrap();
    let said = place.fails(&["sql", "a.db", "SELECT * FROM notes"]);
    insta::assert_snapshot!(said, @"error: FOLDER/a.db is damaged (database disk image is malformed); restore a backup, or save what can be read with `sqlite3 FOLDER/a.db .recover`");
}

#[cfg(unix)]
#[test]
fn read_only_file_can_be_looked_at_and_not_written() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.init_notes("a.db");
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('milk', 'buy milk', 0)"]);
    fs::set_permissions(place.path("a.db"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(place.sql("a.db", "SELECT body FROM notes"), "buy milk");
    assert!(place.ok(&["status", "a.db"]).contains("(read-only)"));
    insta::assert_snapshot!(place.fails(&["sql", "a.db", "DELETE FROM notes"]), @"error: FOLDER/a.db is read-only; make it writable with `chmod u+w FOLDER/a.db`");
    insta::assert_snapshot!(place.fails(&["invite", "a.db", "--role", "writer"]), @"error: FOLDER/a.db is read-only; make it writable with `chmod u+w FOLDER/a.db`");
    insta::assert_snapshot!(place.fails(&["sync", "a.db", "--no-mdns"]), @"error: FOLDER/a.db is read-only, so nothing can be received; make it writable");
}

#[test]
fn initialised_file_is_not_initialised_again() {
    let place = Place::new();
    place.init_notes("a.db");
    let refusal = place.fails(&["init", "a.db"]);
    assert!(
        refusal.starts_with("error: FOLDER/a.db belongs to workspace ")
            && refusal.ends_with(" already; use it as it is"),
        "{refusal}"
    );
}

#[cfg(unix)]
#[test]
fn key_file_that_is_missing_exposed_or_cut_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.init_notes("a.db");
    let key = place.path("a.db-kith-key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(place.fails(&["status", "a.db"]), @"error: the key file FOLDER/a.db-kith-key can be read by other users (mode 644); run `chmod 600 FOLDER/a.db-kith-key`");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read(&key).unwrap();
    fs::write(&key, &whole[..whole.len() / 2]).unwrap();
    let refusal = place.fails(&["status", "a.db"]);
    assert!(refusal.starts_with("error: the key file FOLDER/a.db-kith-key cannot be used: "), "{refusal}");
    fs::remove_file(&key).unwrap();
    let refusal = place.fails(&["status", "a.db"]);
    assert!(refusal.starts_with("error: the key file FOLDER/a.db-kith-key is missing: "), "{refusal}");
    assert!(refusal.ends_with("as a new device, with `kith join` and a new file"), "{refusal}");
    fs::create_dir(&key).unwrap();
    insta::assert_snapshot!(place.fails(&["status", "a.db"]), @"error: FOLDER/a.db-kith-key is a folder, not the key file; move it away and restore the key file from a backup");
}

#[test]
fn paths_to_paste_are_quoted() {
    let place = Place::new();
    let refusal = place.fails(&["status", "my notes.db"]);
    assert!(refusal.ends_with("with `kith init 'FOLDER/my notes.db'`"), "{refusal}");
    let said = place.ok(&["init", "my notes.db"]);
    assert!(said.contains("\nNext: kith sql 'my notes.db' \"CREATE TABLE"), "{said}");
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let place = Place::new();
    let output = place.kith(&["status", "a.db", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("there is no file "));
    let output = place.kith(&["invite", "a.db", "--role", "king", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("invalid value 'king' for '--role"), "{error}");
}

#[test]
fn wrong_tickets_are_named() {
    let place = Place::new();
    for (ticket, reason) in [("kith1", "ticket"), ("nonsense", "ticket"), ("/ip4/127.0.0.1/tcp/1", "ticket")] {
        let refusal = place.fails(&["join", "b.db", ticket, "--no-mdns"]);
        assert!(refusal.contains(reason), "{ticket}: {refusal}");
    }
    assert!(!place.path("b.db").exists());
}

#[test]
fn doctor_tells_of_the_disk_whatever_the_file_is_and_of_a_key_that_is_another_device_s() {
    let place = Place::new();
    let details = |output: std::process::Output| -> Vec<(String, String, String)> {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let checks = report["checks"].as_array().unwrap().iter();
        checks.map(|check| (text(&check["check"]), text(&check["verdict"]), text(&check["detail"]))).collect()
    };
    let doctor = || details(place.kith(&["doctor", "a.db", "--json"]));
    fs::write(place.path("a.db"), "Dear diary,\n").unwrap();
    let found = doctor();
    assert!(found.iter().any(|(check, verdict, _)| check == "file" && verdict == "failed"), "{found:?}");
    assert!(found.iter().any(|(check, ..)| check == "disk"), "{found:?}");
    fs::remove_file(place.path("a.db")).unwrap();

    place.init_notes("a.db");
    place.init_notes("b.db");
    place.json(&["invite", "a.db", "--role", "writer"]);
    let found = doctor();
    let port = &found.iter().find(|(check, ..)| check == "port").unwrap().2;
    assert!(port.contains("which `kith sync a.db` uses"), "{port}");
    fs::copy(place.path("b.db-kith-key"), place.path("a.db-kith-key")).unwrap();
    let found = doctor();
    let (_, verdict, detail) = found.iter().find(|(check, ..)| check == "key").unwrap();
    assert!(verdict == "failed" && detail.contains("belongs to device "), "{detail}");
}

#[test]
fn foreign_key_that_leads_nowhere_is_counted_and_shown_without_empty_columns() {
    let place = Place::new();
    place.init_notes("a.db");
    place.ok(&[
        "sql",
        "a.db",
        "CREATE TABLE tags(id TEXT PRIMARY KEY, note TEXT REFERENCES notes(id)); SELECT kith_sync('tags')",
    ]);
    place.ok(&["sql", "a.db", "PRAGMA foreign_keys = OFF; INSERT INTO tags VALUES('red', 'nowhere')"]);
    insta::assert_snapshot!(place.ok(&["conflicts", "a.db"]), @r#"
    table_name  row_key  kind         reason
    ----------  -------  -----------  -------------------------------------------------------------------------------------
    tags        'red'    foreign key  the row of "notes" that this row refers to is not here; the row is shown all the same
    "#);
    assert!(place.ok(&["status", "a.db"]).contains("waits      1 transaction not sealed"));
    assert!(
        place.ok(&["status", "a.db"]).contains("1 row with a foreign key that leads nowhere: see `kith conflicts`")
    );
    assert_eq!(place.json(&["status", "a.db"])["rows_with_broken_foreign_keys"], 1);
    assert_eq!(place.json(&["members", "a.db"])[0]["is_this_device"], true);
}
