//! Two peers as two processes: they join, sync, part, write and meet again.

#![cfg(unix)]

mod common;

use std::process::Command;

use common::{LOOPBACK, Peer, Place};

/// Starts two peers that are in step: the notes of the first are on the second.
fn pair(place: &Place) -> (Peer, Peer, String) {
    place.init_notes("a.db");
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('milk', 'buy milk', 0)"]);
    let mut first = place.sync("a.db", &LOOPBACK);
    let address = first.address();
    place.join("a.db", "b.db", &address);
    let mut second = place.sync("b.db", &[&LOOPBACK[..], &["--peer", &address]].concat());
    wait_for_rows(&mut second, place, "b.db", "milk|buy milk|0");
    (first, second, address)
}

/// Waits until a file shows these rows, looking each time its peer has merged something.
#[track_caller]
fn wait_for_rows(peer: &mut Peer, place: &Place, file: &str, rows: &str) {
    let shown = || place.sql(file, "SELECT * FROM notes ORDER BY id") == rows;
    // The table may not be there before the first entries are merged.
    peer.wait_until(rows, |event| event["event"] == "applied" && shown());
}

#[test]
fn peers_that_wrote_apart_hold_the_same_when_they_meet() {
    let place = Place::new();
    let (first, second, _) = pair(&place);
    second.interrupt();
    first.interrupt();

    place.ok(&[
        "sql",
        "a.db",
        "INSERT INTO notes VALUES('tea', 'green', 0); UPDATE notes SET body = 'buy oat milk' WHERE id = 'milk'",
    ]);
    place.ok(&[
        "sql",
        "b.db",
        "INSERT INTO notes VALUES('rye', 'bread', 0); UPDATE notes SET done = 1 WHERE id = 'milk'",
    ]);
    assert_eq!(place.json(&["status", "b.db"])["transactions_not_sealed"], 2);

    let mut first = place.sync("a.db", &LOOPBACK);
    let address = first.address();
    let mut second = place.sync("b.db", &[&LOOPBACK[..], &["--peer", &address]].concat());
    let rows = "milk|buy oat milk|1\nrye|bread|0\ntea|green|0";
    wait_for_rows(&mut first, &place, "a.db", rows);
    wait_for_rows(&mut second, &place, "b.db", rows);
    second.interrupt();
    first.interrupt();
    for file in ["a.db", "b.db"] {
        assert!(place.ok(&["verify", file]).starts_with("ok: "));
        let status = place.json(&["status", file]);
        assert_eq!((&status["members"], &status["transactions_not_sealed"]), (&2.into(), &0.into()), "{status}");
        assert_eq!(place.ok(&["members", file]).lines().count(), 4);
        assert_eq!(place.ok(&["conflicts", file]), "no conflicts: every row is in its table\n");
        assert!(place.ok(&["log", file]).contains("notes"));
        assert_eq!(place.json(&["peers", file]).as_array().unwrap().len(), 1);
    }
}

#[test]
fn write_of_another_process_reaches_the_peer_while_both_sync() {
    let place = Place::new();
    let (mut first, mut second, _) = pair(&place);
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('tea', 'green', 0)"]);
    wait_for_rows(&mut second, &place, "b.db", "milk|buy milk|0\ntea|green|0");
    place.ok(&["sql", "b.db", "DELETE FROM notes WHERE id = 'milk'"]);
    wait_for_rows(&mut first, &place, "a.db", "tea|green|0");
    first.interrupt();
    second.interrupt();
}

#[test]
fn once_ends_when_both_sides_hold_the_same() {
    let place = Place::new();
    let (mut first, second, address) = pair(&place);
    second.interrupt();
    place.ok(&["sql", "b.db", "INSERT INTO notes VALUES('rye', 'bread', 0)"]);
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('tea', 'green', 0)"]);
    let rows = "milk|buy milk|0\nrye|bread|0\ntea|green|0";
    assert!(place.sync("b.db", &[&LOOPBACK[..], &["--peer", &address, "--once"]].concat()).end().success());
    assert_eq!(place.sql("b.db", "SELECT * FROM notes ORDER BY id"), rows);
    wait_for_rows(&mut first, &place, "a.db", rows);
    first.interrupt();
}

/// Flips a bit of the entry that was stored last.
fn damage_last_entry(place: &Place, file: &str) {
    let conn = rusqlite::Connection::open(place.path(file)).unwrap();
    let last = "SELECT arrival, ciphertext FROM kith__entries ORDER BY arrival DESC LIMIT 1";
    let (arrival, mut ciphertext): (i64, Vec<u8>) =
        conn.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    ciphertext[0] ^= 1;
    let sql = "UPDATE kith__entries SET ciphertext = ?2 WHERE arrival = ?1";
    assert_eq!(conn.execute(sql, rusqlite::params![arrival, ciphertext]).unwrap(), 1);
}

#[test]
fn once_ends_with_an_error_when_the_other_side_has_a_damaged_entry() {
    let place = Place::new();
    let (first, second, _) = pair(&place);
    second.interrupt();
    first.interrupt();
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('tea', 'green', 0)"]);
    // It seals what was written.
    place.ok(&["verify", "a.db"]);
    damage_last_entry(&place, "a.db");

    let mut first = place.sync("a.db", &LOOPBACK);
    let address = first.address();
    let output = place.kith(&[&["sync", "b.db", "--no-mdns", "--once", "--peer", &address], &LOOPBACK[..]].concat());
    let (said, error) = (common::text(&output.stdout), common::text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{error}");
    let reason = "the entry is not what its author signed: the ciphertext is not the one the header names";
    let wanted =
        format!("error: entry 2 of laptop could not be had: {reason} (received from laptop); sync with another");
    assert!(error.contains(&wanted), "{error}");
    // Asked for once in each of two sessions.
    let count = |what: &str| said.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("connected to laptop"), count("refused entry 2 in the name of laptop")), (2, 2), "{said}");
    let (mut damaged, mut ended) = (Vec::new(), 0);
    first.wait_until("both sessions ended", |event| {
        if event["event"] == "damaged" {
            damaged.push((event["device"].clone(), event["sequence"].clone()));
        }
        ended += u32::from(event["event"] == "disconnected");
        ended == 2
    });
    assert_eq!(damaged, [("laptop".into(), 2.into())], "told once");
    first.interrupt();
}

#[test]
fn sync_that_finds_nobody_says_what_it_tried_and_what_to_do() {
    let place = Place::new();
    place.init_notes("a.db");
    let begun = std::time::Instant::now();
    let arguments = [
        "sync",
        "a.db",
        "--once",
        "--no-mdns",
        "--listen",
        "/ip4/127.0.0.1/udp/0/quic-v1",
        "--peer",
        "/ip4/127.0.0.1/tcp/1",
    ];
    let output = place.kith(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(begun.elapsed().as_secs() < 15);
    let said = common::text(&output.stdout);
    assert!(common::text(&output.stderr).starts_with("error: no peer was found, so nothing was synced;"), "{output:?}");
    for part in [
        "no peer found yet. Tried:",
        "not the local network (--no-mdns)",
        "/ip4/127.0.0.1/tcp/1: ",
        "This device can be reached at:\n  /ip4/127.0.0.1/udp/",
        "mDNS is often blocked",
        "firewall: ",
        "container: ",
        "--peer ADDR",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn used_and_strange_tickets_let_nobody_in() {
    let place = Place::new();
    place.init_notes("a.db");
    let mut first = place.sync("a.db", &LOOPBACK);
    let address = first.address();
    let ticket = place.json(&["invite", "a.db", "--role", "writer"])["ticket"].as_str().unwrap().to_owned();
    let join =
        |file: &str, ticket: &str| place.kith(&["join", file, ticket, "--no-mdns", "--peer", &address, "--json"]);
    assert!(join("b.db", &ticket).status.success());
    let second = join("c.db", &ticket);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    // Another workspace's ticket: this one's owner does not know it.
    place.init_notes("other.db");
    let strange = place.json(&["invite", "other.db", "--role", "owner"])["ticket"].as_str().unwrap().to_owned();
    assert_eq!(join("d.db", &strange).status.code(), Some(1));
    assert_eq!(place.json(&["members", "a.db"]).as_array().unwrap().len(), 2);
    // A writer may not invite.
    let refusal = place.fails(&["invite", "b.db", "--role", "writer"]);
    assert!(refusal.contains("only an owner may invite"), "{refusal}");
    first.interrupt();
}

/// Stock SQLite reads both files, writes to one, and `kith` names what it wrote.
#[test]
fn stock_sqlite_sees_ordinary_tables() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        eprintln!("not run: the sqlite3 shell is not installed (`cargo xtask test` installs it)");
        return;
    }
    let place = Place::new();
    let (first, second, _) = pair(&place);
    second.interrupt();
    first.interrupt();
    let sqlite3 = |file: &str, sql: &str| {
        let output = Command::new("sqlite3").arg(place.path(file)).arg(sql).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        common::text(&output.stdout).trim_end().to_owned()
    };
    for file in ["a.db", "b.db"] {
        assert_eq!(sqlite3(file, "SELECT * FROM notes"), "milk|buy milk|0");
        assert_eq!(sqlite3(file, "PRAGMA integrity_check"), "ok");
        let schema = sqlite3(file, "SELECT sql FROM sqlite_schema WHERE name = 'notes'");
        assert_eq!(schema, "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, done INT)");
    }
    sqlite3("a.db", "UPDATE notes SET body = 'changed elsewhere'");
    let status = place.json(&["status", "a.db"]);
    assert_eq!(status["tables"][0]["rows_changed_by_other_programs"], 1, "{status}");
    let verify = place.kith(&["verify", "a.db"]);
    let said = common::text(&verify.stdout);
    assert_eq!(verify.status.code(), Some(1), "{said}");
    assert!(said.contains("table notes, row 'milk'") && said.contains("by another program"), "{said}");
    // A column that stock SQLite adds stops what is written here and is named, until it is dropped again.
    sqlite3("b.db", "ALTER TABLE notes ADD COLUMN extra");
    let remedy = r#"run `ALTER TABLE "notes" DROP COLUMN "extra"` there"#;
    let refusal = place.fails(&["sql", "b.db", "UPDATE notes SET done = 1"]);
    assert!(refusal.contains("added the column extra") && refusal.contains(remedy), "{refusal}");
    assert!(place.ok(&["status", "b.db"]).contains(remedy));
    let verify = place.kith(&["verify", "b.db"]);
    assert_eq!(verify.status.code(), Some(1));
    assert!(common::text(&verify.stdout).contains(remedy));
    sqlite3("b.db", "ALTER TABLE notes DROP COLUMN extra");
    place.ok(&["sql", "b.db", "UPDATE notes SET done = 1"]);
    place.ok(&["verify", "b.db"]);
}
