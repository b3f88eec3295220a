//! The tables by which anyone looks inside.

use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::sources::Entropy;
use kithdb_log::Role;
use rusqlite::types::Value;

const NOW: u64 = 1_800_000_000_000;

fn options(seed: u64) -> OpenOptions {
    OpenOptions { entropy: Entropy::seeded(seed), clock: std::sync::Arc::new(|| NOW), ..OpenOptions::default() }
}

/// Runs a query and shows each row, its values between bars.
fn show(replica: &mut Replica, sql: &str) -> Vec<String> {
    replica
        .query(sql, [], |row| {
            let mut out = Vec::new();
            for index in 0..row.as_ref().column_count() {
                out.push(match row.get(index)? {
                    Value::Null => "NULL".to_owned(),
                    Value::Integer(value) => value.to_string(),
                    Value::Real(value) => value.to_string(),
                    Value::Text(value) => value,
                    Value::Blob(value) => format!("{value:?}"),
                });
            }
            Ok(out.join("|"))
        })
        .unwrap()
}

fn pair() -> (Replica, Replica) {
    let mut owner = Replica::open_memory(InitOptions { device_name: "desk".into(), open: options(1) }).unwrap();
    let ticket = owner.invite(Role::Writer, NOW + 1000, Vec::new()).unwrap();
    let join = JoinOptions { open: options(2), ..JoinOptions::new("laptop") };
    let pending = Replica::prepare_join_memory(&ticket, join).unwrap();
    owner.admit(&pending.request().unwrap(), NOW).unwrap();
    let operations: Vec<_> = owner.membership().operations().cloned().collect();
    let joiner = pending.complete(&operations).unwrap();
    (owner, joiner)
}

/// Seals what one replica wrote and applies all of it on the other.
fn send(from: &mut Replica, to: &mut Replica) {
    while from.seal(Default::default()).unwrap().more {}
    let streams = from.sync_state().unwrap().streams;
    for stream in streams {
        let entries = from.load_entries(&stream.id, kithdb_log::SequenceNumber::new(1), usize::MAX).unwrap();
        to.store_entries(&entries).unwrap();
    }
    while to.apply_stored(Default::default()).unwrap().more {}
}

#[test]
fn members_are_shown_by_name() {
    let (mut owner, mut joiner) = pair();
    let rows = show(
        &mut joiner,
        "SELECT device, role, admitted_at, admitted_by, is_this_device FROM kith_members ORDER BY device",
    );
    assert_eq!(rows, ["desk|owner|2027-01-15T08:00:00.000Z|NULL|0", "laptop|writer|2027-01-15T08:00:00.000Z|desk|1"]);
    let id = owner.author().to_string();
    assert_eq!(show(&mut owner, "SELECT device_id FROM kith_members WHERE is_this_device"), [id]);
}

#[test]
fn tables_streams_lanes_and_entries_are_shown() {
    let (mut owner, mut joiner) = pair();
    owner
        .execute_batch(
            "CREATE TABLE notes(id TEXT PRIMARY KEY, body); INSERT INTO notes VALUES('old', 1); SELECT kith_sync('notes');
             CREATE TABLE out(id INTEGER PRIMARY KEY); SELECT kith_sync('out'); SELECT kith_unsync('out')",
        )
        .unwrap();
    assert_eq!(
        show(
            &mut owner,
            "SELECT name, state, reason, primary_key, key_kind, rows_before_sync, parked_rows FROM kith_tables"
        ),
        ["notes|synced|NULL|id|natural|being taken up|0", "out|unsynced|NULL|id|auto|NULL|0"]
    );
    owner.execute_batch("INSERT INTO notes VALUES('a', 1)").unwrap();
    send(&mut owner, &mut joiner);
    assert_eq!(show(&mut joiner, "SELECT id FROM notes ORDER BY id"), ["a", "old"]);
    for replica in [&mut owner, &mut joiner] {
        let own = i64::from(replica.workspace().device_name() == "desk");
        let streams = show(
            replica,
            "SELECT device, table_name, height > 0, is_own, is_open FROM kith_streams ORDER BY table_name",
        );
        assert_eq!(streams, [format!("desk|(table definitions)|1|{own}|1"), format!("desk|notes|1|{own}|1")]);
        let lanes = show(
            replica,
            "SELECT table_name, streams, entries > 0, last_written_at LIKE '2027-01-15T08:00:0%Z' FROM kith_lanes ORDER BY 1",
        );
        assert_eq!(lanes, ["(table definitions)|1|1|1", "notes|1|1|1"]);
        let entries = show(
            replica,
            "SELECT DISTINCT device, table_name, status, note, written_at LIKE '2027-01-15T08:0%', bytes > 100 FROM kith_entries ORDER BY 2",
        );
        assert_eq!(entries, ["desk|(table definitions)|applied|NULL|1|1", "desk|notes|applied|NULL|1|1"]);
    }
}

#[test]
fn rows_kept_out_are_listed_with_reason_device_and_values() {
    let (mut owner, mut joiner) = pair();
    owner
        .execute_batch("CREATE TABLE u(id TEXT PRIMARY KEY, name TEXT UNIQUE, data BLOB); SELECT kith_sync('u')")
        .unwrap();
    send(&mut owner, &mut joiner);
    assert!(show(&mut owner, "SELECT * FROM kith_conflicts").is_empty());
    owner.execute_batch("INSERT INTO u VALUES('a', 'same', x'00ff')").unwrap();
    joiner.execute_batch("INSERT INTO u VALUES('b', 'same', 2.5)").unwrap();
    send(&mut owner, &mut joiner);
    send(&mut joiner, &mut owner);
    let conflicts = show(&mut owner, "SELECT table_name, row_key, kind, device, row_values FROM kith_conflicts");
    assert_eq!(
        conflicts,
        show(&mut joiner, "SELECT table_name, row_key, kind, device, row_values FROM kith_conflicts")
    );
    let kept_a = r#"u|'b'|unique|laptop|{"data":2.5,"name":"same"}"#;
    let kept_b = r#"u|'a'|unique|desk|{"data":"x'00ff'","name":"same"}"#;
    assert!(conflicts == [kept_a] || conflicts == [kept_b], "{conflicts:?}");
    assert_eq!(
        show(&mut owner, "SELECT reason FROM kith_conflicts"),
        ["another row claimed a UNIQUE value of this one before; change it there, or insert these values with another"]
    );
}

#[test]
fn broken_foreign_keys_are_listed() {
    let (mut owner, _) = pair();
    owner
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE p(id INTEGER PRIMARY KEY);
             CREATE TABLE c(id TEXT PRIMARY KEY, p REFERENCES p);
             CREATE TABLE w(id TEXT PRIMARY KEY, p REFERENCES p) WITHOUT ROWID;
             CREATE TABLE bad(id TEXT PRIMARY KEY, x REFERENCES c(p));
             SELECT kith_sync('*');
             INSERT INTO c VALUES('it''s', 7); INSERT INTO w VALUES('w', 7); INSERT INTO bad VALUES(1, 1)",
        )
        .unwrap();
    let rows = show(&mut owner, "SELECT table_name, row_key, kind, reason FROM kith_conflicts ORDER BY 1");
    let gone = r#"foreign key|the row of "p" that this row refers to is not here; the row is shown all the same"#;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(
        rows[0].starts_with("bad|NULL|foreign key|the table's foreign keys cannot be checked: foreign key mismatch"),
        "{rows:?}"
    );
    assert_eq!(rows[1], format!("c|'it''s'|{gone}"));
    assert_eq!(rows[2], format!("w|NULL|{gone}"));
}

#[test]
fn writes_of_other_programs_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    replica.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY); SELECT kith_sync('t')").unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("INSERT INTO t VALUES(1), (2)").unwrap();
    assert_eq!(show(&mut replica, "SELECT name, writes_by_others FROM kith_tables"), ["t|2"]);
}

#[test]
fn inspection_tables_are_read_only_and_in_no_schema() {
    let (mut owner, _) = pair();
    for table in ["kith_tables", "kith_members", "kith_conflicts", "kith_peers"] {
        let error = owner.execute(&format!("DELETE FROM {table}"), []).unwrap_err().to_string();
        assert!(!error.is_empty());
        show(&mut owner, &format!("SELECT * FROM {table}"));
    }
    assert!(show(&mut owner, "SELECT name FROM sqlite_temp_schema").is_empty());
    assert!(
        show(&mut owner, "SELECT name FROM sqlite_schema WHERE name IN ('kith_tables', 'kith_members')").is_empty()
    );
    assert_eq!(show(&mut owner, "SELECT kith_version()"), [env!("CARGO_PKG_VERSION")]);
}
