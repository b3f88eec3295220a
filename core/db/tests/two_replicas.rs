//! Two replicas of one workspace: what one writes, the other shows.

use kithdb_core::apply::ApplyBudget;
use kithdb_core::entries::Stored;
use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_core::sources::Entropy;
use kithdb_log::{Role, SequenceNumber};

const NOW: u64 = 1_800_000_000_000;

fn options(seed: u64) -> OpenOptions {
    let now = std::sync::atomic::AtomicU64::new(NOW + seed);
    let clock = std::sync::Arc::new(move || now.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    OpenOptions { entropy: Entropy::seeded(seed), clock, ..OpenOptions::default() }
}

fn pair() -> (Replica, Replica) {
    let mut one = Replica::open_memory(InitOptions { device_name: "one".into(), open: options(1) }).unwrap();
    let ticket = one.invite(Role::Writer, NOW * 2, Vec::new()).unwrap();
    let pending =
        Replica::prepare_join_memory(&ticket, JoinOptions { open: options(2), ..JoinOptions::new("two") }).unwrap();
    one.admit(&pending.request().unwrap(), NOW).unwrap();
    let operations: Vec<_> = one.membership().operations().cloned().collect();
    (one, pending.complete(&operations).unwrap())
}

fn seal(replica: &mut Replica) {
    while replica.seal(SealBudget::default()).unwrap().more {}
}

/// Carries over all that `to` lacks and applies it.
fn pull(from: &mut Replica, to: &mut Replica) {
    let refused = pull_and_refuse(from, to);
    assert!(refused.is_empty(), "{refused:?}");
}

/// Carries over all that `to` lacks and applies it; says why entries were refused.
fn pull_and_refuse(from: &mut Replica, to: &mut Replica) -> Vec<String> {
    seal(from);
    let known = to.sync_state().unwrap();
    for stream in from.sync_state().unwrap().streams {
        let height = known
            .streams
            .iter()
            .find(|known| known.id == stream.id)
            .map_or(SequenceNumber::default(), |known| known.height);
        if height < stream.height {
            let entries = from.load_entries(&stream.id, height.next(), usize::MAX).unwrap();
            let report = to.store_entries(&entries).unwrap();
            assert!(report.outcomes.iter().all(|outcome| *outcome == Stored::New), "{report:?}");
        }
    }
    let mut refused = Vec::new();
    loop {
        let report = to.apply_stored(ApplyBudget::default()).unwrap();
        refused.extend(report.refused.into_iter().map(|entry| entry.reason));
        if !report.more {
            return refused;
        }
    }
}

fn settle(one: &mut Replica, two: &mut Replica) {
    pull(one, two);
    pull(two, one);
    for replica in [one, two] {
        let report = replica.verify(|_, _, _| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}

fn dump(replica: &mut Replica, sql: &str) -> Vec<String> {
    replica.query(sql, [], |row| row.get(0)).unwrap()
}

#[track_caller]
fn check(one: &mut Replica, two: &mut Replica, sql: &str, expected: &[&str]) {
    settle(one, two);
    assert_eq!(dump(one, sql), expected, "on one");
    assert_eq!(dump(two, sql), expected, "on two");
}

const NOTES: &str = "SELECT id || ':' || ifnull(body, '-') || ':' || ifnull(done, '-') FROM notes ORDER BY id";

fn notes() -> (Replica, Replica) {
    let (mut one, two) = pair();
    one.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, done INT)").unwrap();
    one.sync_table("notes").unwrap();
    (one, two)
}

#[test]
fn rows_written_on_one_replica_are_shown_on_the_other() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'x', 0), ('b', 'y', 1); UPDATE notes SET done = 1 WHERE id = 'a'; DELETE FROM notes WHERE id = 'b'").unwrap();
    check(&mut one, &mut two, NOTES, &["a:x:1"]);
    two.execute_batch("INSERT INTO notes VALUES('c', NULL, 3); UPDATE notes SET body = 'z' WHERE id = 'a'").unwrap();
    check(&mut one, &mut two, NOTES, &["a:z:1", "c:-:3"]);
}

#[test]
fn different_cells_merge_and_the_later_write_of_one_cell_wins() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'x', 0)").unwrap();
    settle(&mut one, &mut two);
    one.execute_batch("UPDATE notes SET body = 'one' WHERE id = 'a'").unwrap();
    two.execute_batch("UPDATE notes SET done = 2 WHERE id = 'a'").unwrap();
    check(&mut one, &mut two, NOTES, &["a:one:2"]);
    one.execute_batch("UPDATE notes SET body = 'first' WHERE id = 'a'").unwrap();
    two.execute_batch("UPDATE notes SET body = 'second' WHERE id = 'a'; UPDATE notes SET body = 'third' WHERE id = 'a'; UPDATE notes SET body = 'last' WHERE id = 'a'").unwrap();
    settle(&mut one, &mut two);
    assert_eq!(dump(&mut one, NOTES), dump(&mut two, NOTES));
}

#[test]
fn deleted_rows_stay_dead_and_a_later_life_starts_afresh() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'x', 0)").unwrap();
    settle(&mut one, &mut two);
    one.execute_batch("DELETE FROM notes WHERE id = 'a'").unwrap();
    two.execute_batch("UPDATE notes SET body = 'late' WHERE id = 'a'").unwrap();
    check(&mut one, &mut two, NOTES, &[]);
    two.execute_batch("INSERT INTO notes VALUES('a', 'again', 1)").unwrap();
    check(&mut one, &mut two, NOTES, &["a:again:1"]);
}

#[test]
fn late_edits_follow_a_changed_key() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'x', 0)").unwrap();
    settle(&mut one, &mut two);
    one.execute_batch("UPDATE notes SET id = 'b' WHERE id = 'a'").unwrap();
    two.execute_batch("UPDATE notes SET body = 'late' WHERE id = 'a'").unwrap();
    check(&mut one, &mut two, NOTES, &["b:late:0"]);
}

#[test]
fn first_claim_of_a_unique_value_keeps_it_and_the_other_row_waits() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT UNIQUE)").unwrap();
    one.sync_table("users").unwrap();
    settle(&mut one, &mut two);
    one.execute_batch("INSERT INTO users VALUES('1', 'ada')").unwrap();
    two.execute_batch("INSERT INTO users VALUES('0', 'bob'), ('2', 'ada')").unwrap();
    let sql = "SELECT id || name FROM users ORDER BY id";
    settle(&mut one, &mut two);
    assert_eq!(dump(&mut one, sql), dump(&mut two, sql));
    let parked = "SELECT count(*) || '' FROM kith_parked WHERE reason = 3";
    assert_eq!(dump(&mut one, parked), ["1"]);
    assert_eq!(dump(&mut two, parked), ["1"]);
    one.execute_batch("UPDATE users SET name = 'eve' WHERE name = 'ada'").unwrap();
    settle(&mut one, &mut two);
    assert_eq!(dump(&mut one, "SELECT name FROM users ORDER BY name"), ["ada", "bob", "eve"]);
    assert_eq!(dump(&mut two, "SELECT name FROM users ORDER BY name"), ["ada", "bob", "eve"]);
    assert_eq!(dump(&mut one, parked), ["0"]);
}

#[test]
fn rows_born_apart_under_one_id_are_two_rows_unless_equal() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT)").unwrap();
    one.sync_table("items").unwrap();
    settle(&mut one, &mut two);
    one.execute_batch("INSERT INTO items(name) VALUES('same'), ('mine')").unwrap();
    two.execute_batch("INSERT INTO items(name) VALUES('same'), ('yours')").unwrap();
    settle(&mut one, &mut two);
    let sql = "SELECT id || name FROM items ORDER BY id";
    assert_eq!(dump(&mut one, sql), dump(&mut two, sql));
    assert_eq!(dump(&mut one, sql).len(), 2);
    assert_eq!(dump(&mut one, "SELECT count(*) || '' FROM kith_parked WHERE reason = 2"), ["1"]);
}

#[test]
fn rows_from_before_sync_are_taken_up_and_merge() {
    let (mut one, mut two) = pair();
    one.execute_batch(
        "CREATE TABLE old(id INTEGER, part TEXT COLLATE NOCASE, v, PRIMARY KEY(part, id)) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO old SELECT i, 'Part' || i % 7, i * 0.5 FROM n",
    )
    .unwrap();
    one.sync_table("old").unwrap();
    one.execute_batch("UPDATE old SET v = 'changed' WHERE id = 9; DELETE FROM old WHERE id = 10").unwrap();
    settle(&mut one, &mut two);
    let sql = "SELECT id || part || quote(v) FROM old ORDER BY id";
    assert_eq!(dump(&mut one, sql), dump(&mut two, sql));
    assert_eq!(dump(&mut two, "SELECT count(*) || '' FROM old"), ["499"]);
    two.execute_batch("UPDATE old SET v = v || '!' WHERE id < 20; UPDATE old SET part = 'PART3' WHERE id = 3; DELETE FROM old WHERE id > 400").unwrap();
    settle(&mut one, &mut two);
    assert_eq!(dump(&mut one, sql), dump(&mut two, sql));
}

#[test]
fn changes_list_what_every_device_wrote() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'x', 0)").unwrap();
    settle(&mut one, &mut two);
    two.execute_batch("UPDATE notes SET done = 7 WHERE id = 'a'; DELETE FROM notes").unwrap();
    settle(&mut one, &mut two);
    let sql = "SELECT operation || ' ' || row_key || ' ' || ifnull(column_name, '-') || ' ' || quote(value) FROM kith_changes";
    let expected = ["insert 'a' body 'x'", "insert 'a' done 0", "update 'a' done 7", "delete 'a' - NULL"];
    assert_eq!(dump(&mut one, sql), expected);
    assert_eq!(dump(&mut two, sql), expected);
    // Those of one entry are found without opening the others, and are the same.
    let entries = dump(&mut two, "SELECT DISTINCT entry || '' FROM kith_changes");
    assert_eq!(entries.len(), 2);
    let of_each: Vec<_> =
        entries.iter().flat_map(|entry| dump(&mut two, &format!("{sql} WHERE entry = {entry}"))).collect();
    assert_eq!(of_each, expected);
    for none in ["0", "NULL", "'a'", "1.5"] {
        assert!(dump(&mut two, &format!("{sql} WHERE entry = {none}")).is_empty(), "{none}");
    }
}

#[test]
fn row_that_an_index_expression_fails_on_is_kept_aside_until_it_is_mended() {
    let (mut one, mut two) = notes();
    settle(&mut one, &mut two);
    two.execute_batch("CREATE INDEX by_kind ON notes(json_extract(body, '$.kind'))").unwrap();
    one.execute_batch("INSERT INTO notes VALUES('a', 'not json', 0), ('b', '{\"kind\": 1}', 0)").unwrap();
    settle(&mut one, &mut two);
    assert_eq!(dump(&mut two, "SELECT id FROM notes"), ["b"]);
    assert_eq!(dump(&mut two, "SELECT row_key || kind FROM kith_conflicts"), ["'a'refused"]);
    one.execute_batch("UPDATE notes SET body = '{}' WHERE id = 'a'; UPDATE notes SET body = 'broken' WHERE id = 'b'")
        .unwrap();
    settle(&mut one, &mut two);
    assert_eq!(dump(&mut two, "SELECT id FROM notes"), ["a"]);
    assert_eq!(dump(&mut one, "SELECT id FROM notes ORDER BY id"), ["a", "b"]);
}

#[test]
fn definition_that_does_not_fit_leaves_the_table_in_use_alone() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a); INSERT INTO t VALUES('x', 1)").unwrap();
    one.sync_table("t").unwrap();
    two.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)").unwrap();
    two.sync_table("t").unwrap();
    seal(&mut one);
    seal(&mut two);
    for stream in one.sync_state().unwrap().streams {
        two.store_entries(&one.load_entries(&stream.id, SequenceNumber::new(1), usize::MAX).unwrap()).unwrap();
    }
    let report = two.apply_stored(ApplyBudget::default()).unwrap();
    assert!(!report.refused.is_empty());
    assert_eq!(two.registry().by_name("t").unwrap().state, kithdb_core::registry::TableState::Synced);
    two.execute_batch("INSERT INTO t(a, b) VALUES(1, 2)").unwrap();
    assert_eq!(dump(&mut two, "SELECT count(*) || '' FROM kith__pending"), ["1"]);
    assert!(two.verify(|_, _, _| {}).unwrap().is_clean());
}

#[test]
fn rows_of_a_table_made_apart_and_differently_are_refused_with_what_differs() {
    for (mine, theirs) in [
        ("id TEXT PRIMARY KEY, v INT", "id TEXT PRIMARY KEY, v INT, extra TEXT"),
        ("id INTEGER PRIMARY KEY, v INT", "id TEXT PRIMARY KEY, v INT"),
    ] {
        let (mut one, mut two) = pair();
        for (replica, columns, id) in [(&mut one, mine, 1), (&mut two, theirs, 2)] {
            replica.execute_batch(&format!("CREATE TABLE t({columns}); SELECT kith_sync('t')")).unwrap();
            replica.execute("INSERT INTO t(id, v) VALUES(?1, 1)", [id]).unwrap();
        }
        let refused = pull_and_refuse(&mut two, &mut one);
        assert_eq!(refused.len(), 2, "{refused:?}");
        let expected = format!(
            "the rows are of another table t than the one here, made apart and differently: {}; make",
            refused[0]
        );
        assert!(refused[1].starts_with(&expected), "{refused:?}");
        assert_eq!(dump(&mut one, "SELECT id || ':' || v FROM t"), ["1:1"]);
    }
}

#[test]
fn null_keys_of_another_program_do_not_stop_the_uptake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.db");
    let mut one = Replica::init(&path, InitOptions::new("one")).unwrap();
    let ticket = one.invite(Role::Writer, u64::MAX >> 16, Vec::new()).unwrap();
    let pending = Replica::prepare_join_memory(&ticket, JoinOptions::new("two")).unwrap();
    one.admit(&pending.request().unwrap(), NOW).unwrap();
    let operations: Vec<_> = one.membership().operations().cloned().collect();
    let mut two = pending.complete(&operations).unwrap();
    one.execute_batch(
        "CREATE TABLE n(a TEXT, b TEXT, v, PRIMARY KEY(a, b)); INSERT INTO n VALUES('x', 'y', 1), ('z', 'y', 2)",
    )
    .unwrap();
    one.sync_table("n").unwrap();
    one.close().unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("INSERT INTO n VALUES(NULL, 'y', 3), ('x', NULL, 4), (NULL, NULL, 5)").unwrap();
    foreign.close().unwrap();
    let mut one = Replica::open(&path, OpenOptions::default()).unwrap();
    pull(&mut one, &mut two);
    assert_eq!(dump(&mut two, "SELECT a || v FROM n ORDER BY a"), ["x1", "z2"]);
    let problems = one.verify(|_, _, _| {}).unwrap().problems;
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn entries_wait_while_another_program_has_added_a_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.db");
    let mut one = Replica::open_memory(InitOptions { device_name: "one".into(), open: options(1) }).unwrap();
    let ticket = one.invite(Role::Writer, NOW * 2, Vec::new()).unwrap();
    let pending =
        Replica::prepare_join(&path, &ticket, JoinOptions { open: options(2), ..JoinOptions::new("two") }).unwrap();
    one.admit(&pending.request().unwrap(), NOW).unwrap();
    let operations: Vec<_> = one.membership().operations().cloned().collect();
    let mut two = pending.complete(&operations).unwrap();
    one.execute_batch(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, a); CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES p, a);
         SELECT kith_sync('*'); INSERT INTO p VALUES(1, 'parent'); INSERT INTO t VALUES(1, 1, 1)",
    )
    .unwrap();
    settle(&mut one, &mut two);
    // Written before the column came and sealed after, with the row that it refers to.
    two.execute("INSERT INTO t VALUES(2, 1, 2)", []).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE t ADD COLUMN c; UPDATE t SET c = 'kept' WHERE id = 1").unwrap();
    one.execute("UPDATE t SET id = 3, a = 5 WHERE id = 1", []).unwrap();
    one.execute("UPDATE p SET a = 'merged'", []).unwrap();
    pull(&mut one, &mut two);
    pull(&mut two, &mut one);
    assert_eq!(dump(&mut one, "SELECT id || p || a FROM t ORDER BY id"), ["212", "315"]);
    assert_eq!(dump(&mut two, "SELECT id || p || a FROM t WHERE c = 'kept'"), ["111"]);
    assert_eq!(dump(&mut two, "SELECT a FROM p"), ["merged"]);
    // Whoever opens the file next must know of what waits as well.
    two.close().unwrap();
    let mut two = Replica::open(&path, options(3)).unwrap();
    other.execute_batch("ALTER TABLE t DROP COLUMN c").unwrap();
    two.apply_stored(ApplyBudget::default()).unwrap();
    assert_eq!(dump(&mut two, "SELECT id || p || a FROM t ORDER BY id"), ["212", "315"]);
    let report = two.verify(|_, _, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Delivers a transaction of many entries one at a time, with something done in between, and looks at what is shown.
fn deliver_in_parts(between: impl Fn(&mut Replica, usize)) {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE a(id INTEGER PRIMARY KEY, body); CREATE TABLE b(id INTEGER PRIMARY KEY, body)")
        .unwrap();
    one.sync_table("*").unwrap();
    pull(&mut one, &mut two);
    let insert = |table, count| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO {table} SELECT i, randomblob(700000) FROM n;"
        )
    };
    one.execute_batch(&format!("BEGIN; {} {} COMMIT", insert("a", 6), insert("b", 4))).unwrap();
    seal(&mut one);

    let known = two.sync_state().unwrap();
    let mut entries = Vec::new();
    for stream in one.sync_state().unwrap().streams {
        let height = known.streams.iter().find(|known| known.id == stream.id).map_or(0, |known| known.height.get());
        entries.extend(one.load_entries(&stream.id, SequenceNumber::new(height + 1), usize::MAX).unwrap());
    }
    assert!(entries.len() >= 6, "{} entries", entries.len());
    for (index, entry) in entries.iter().enumerate() {
        two.store_entries(std::slice::from_ref(entry)).unwrap();
        let report = two.apply_stored(ApplyBudget::default()).unwrap();
        let is_last = index + 1 == entries.len();
        assert_eq!(
            (report.waiting, report.entries),
            if is_last { (0, index as u64 + 1) } else { (index as u64 + 1, 0) }
        );
        let shown: i64 = two
            .conn()
            .query_row("SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)", [], |row| row.get(0))
            .unwrap();
        assert_eq!(shown, if is_last { 10 } else { 0 });
        between(&mut two, index);
    }
    settle(&mut one, &mut two);
}

#[test]
fn transaction_that_arrives_in_parts_is_shown_when_the_last_is_there() {
    deliver_in_parts(|_, _| {});
}

#[test]
fn parts_that_wait_are_looked_at_again_after_the_tables_were_read_anew() {
    deliver_in_parts(|two, index| two.execute_batch(&format!("CREATE INDEX i{index} ON a(body)")).unwrap());
}

#[test]
fn table_that_is_gone_does_not_stop_the_merges_of_others() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(id INTEGER PRIMARY KEY, v)").unwrap();
    one.sync_table("*").unwrap();
    settle(&mut one, &mut two);
    two.execute_batch(
        "CREATE TABLE heard(id INTEGER PRIMARY KEY, v);
         CREATE TRIGGER hears AFTER INSERT ON a BEGIN INSERT INTO heard(v) VALUES(new.v); END;
         SELECT kith_unsync('b'); DROP TABLE b",
    )
    .unwrap();
    one.execute_batch("INSERT INTO a VALUES(1, 'one'); INSERT INTO b VALUES(1, 'one')").unwrap();
    pull(&mut one, &mut two);
    assert_eq!(dump(&mut two, "SELECT v FROM a"), ["one"]);
    assert_eq!(dump(&mut two, "SELECT v FROM heard"), ["one"]);
}

#[test]
fn triggers_that_stop_a_merge_are_left_out_and_it_is_told() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE a(id INTEGER PRIMARY KEY, v)").unwrap();
    one.sync_table("a").unwrap();
    settle(&mut one, &mut two);
    two.execute_batch("CREATE TRIGGER lost AFTER INSERT ON a BEGIN INSERT INTO nowhere VALUES(new.v); END").unwrap();
    one.execute_batch("INSERT INTO a VALUES(1, 'one')").unwrap();
    pull(&mut one, &mut two);
    assert_eq!(dump(&mut two, "SELECT v FROM a"), ["one"]);
    let reason = two.take_triggers_left_out().unwrap();
    assert!(reason.contains("nowhere"), "{reason}");
    assert_eq!(two.take_triggers_left_out(), None);
}

fn text(replica: &mut Replica, sql: &str) -> String {
    dump(replica, sql).join(" ")
}

const FOUND: &str = "SELECT key FROM kith_search('notes', 'red') ORDER BY key";

/// The index must be whole, and find what the rows say.
#[track_caller]
fn check_index(replica: &mut Replica) {
    replica.execute_batch("INSERT INTO notes_text(notes_text) VALUES('integrity-check')").unwrap();
    let expected = "SELECT id FROM notes WHERE ' ' || body || ' ' LIKE '% red %' ORDER BY id";
    assert_eq!(dump(replica, FOUND), dump(replica, expected));
    let counts = "SELECT (SELECT count(*) FROM notes) || ' ' || (SELECT count(*) FROM notes_text_docsize)";
    let counts = text(replica, counts);
    let (rows, indexed) = counts.split_once(' ').unwrap();
    assert_eq!(rows, indexed);
}

#[test]
fn text_index_follows_what_peers_write() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'red wine', 0), ('b', 'white wine', 0)").unwrap();
    settle(&mut one, &mut two);
    for replica in [&mut one, &mut two] {
        assert_eq!(
            text(replica, "SELECT kith_text('notes', 'body')"),
            r#"{"index":"notes_text","outcome":"created","rows":2}"#
        );
    }
    one.execute_batch(
        "UPDATE notes SET body = 'now red' WHERE id = 'b'; INSERT OR REPLACE INTO notes VALUES('a', 'white', 1)",
    )
    .unwrap();
    two.execute_batch("INSERT INTO notes VALUES('c', 'red', 1); UPDATE notes SET done = 3 WHERE id = 'b'").unwrap();
    check(&mut one, &mut two, FOUND, &["b", "c"]);
    two.execute_batch("UPDATE notes SET id = 'd', body = 'red too' WHERE id = 'b'; DELETE FROM notes WHERE id = 'c'")
        .unwrap();
    one.execute_batch("UPDATE notes SET body = 'the red one' WHERE id = 'b'").unwrap();
    settle(&mut one, &mut two);
    for replica in [&mut one, &mut two] {
        check_index(replica);
        replica.execute_batch("VACUUM").unwrap();
        check_index(replica);
        assert_eq!(text(replica, "SELECT json_extract(kith_sync('*'), '$.synced')"), "[]", "an index is never synced");
    }
}

#[test]
fn text_index_is_right_when_triggers_of_the_applications_stop_a_merge() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'red wine', 0), ('b', 'white', 0)").unwrap();
    settle(&mut one, &mut two);
    two.execute_batch(
        "SELECT kith_text('notes', 'body');
         CREATE TRIGGER stop BEFORE UPDATE ON notes WHEN new.done = 1 BEGIN SELECT RAISE(ABORT, 'no'); END;
         CREATE TRIGGER stop_insert BEFORE INSERT ON notes WHEN new.done = 1 BEGIN SELECT RAISE(ABORT, 'no'); END;
         CREATE TRIGGER roll BEFORE INSERT ON notes WHEN new.done = 2 BEGIN SELECT RAISE(ROLLBACK, 'never'); END",
    )
    .unwrap();
    one.execute_batch("UPDATE notes SET body = 'white now', done = 1 WHERE id = 'a'; UPDATE notes SET body = 'red', done = 1 WHERE id = 'b'; INSERT INTO notes VALUES('c', 'red', 1)").unwrap();
    settle(&mut one, &mut two);
    check_index(&mut two);
    assert_eq!(dump(&mut two, FOUND), ["b", "c"]);
    one.execute_batch("INSERT INTO notes VALUES('d', 'red', 2); UPDATE notes SET body = 'grey', done = 0 WHERE id = 'b'; DELETE FROM notes WHERE id = 'c'").unwrap();
    settle(&mut one, &mut two);
    assert!(two.take_triggers_left_out().is_some());
    check_index(&mut two);
    assert_eq!(dump(&mut two, FOUND), ["d"]);
}

#[test]
fn damaged_text_index_is_made_anew_by_a_merge() {
    let (mut one, mut two) = notes();
    one.execute_batch("INSERT INTO notes VALUES('a', 'red wine', 0)").unwrap();
    settle(&mut one, &mut two);
    two.execute_batch("SELECT kith_text('notes', 'body'); UPDATE notes_text_data SET block = x'ff00' WHERE id > 1")
        .unwrap();
    one.execute_batch("UPDATE notes SET body = 'still red'").unwrap();
    settle(&mut one, &mut two);
    check_index(&mut two);
    assert_eq!(dump(&mut two, FOUND), ["a"]);
}

#[test]
fn what_belongs_to_a_text_index_is_not_the_users_to_change() {
    let (mut one, _two) = notes();
    one.execute_batch("SELECT kith_text('notes', 'body'); INSERT INTO notes VALUES('a', 'red', 0)").unwrap();
    for sql in [
        "DELETE FROM kith_text_1_keys",
        "INSERT INTO kith_text_1_displaced(docid) VALUES(1)",
        "DROP TABLE kith_text_indexes",
        "DROP TRIGGER kith_text_1_ai",
        "UPDATE kith_text_indexes SET fts = 'x'",
        "CREATE TRIGGER t AFTER INSERT ON kith_text_1_keys BEGIN SELECT 1; END",
    ] {
        let error = one.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("belongs to KithDB"), "{sql}: {error}");
    }
    assert_eq!(one.changes(), 1, "what triggers of ours write is not counted");
    check_index(&mut one);
    one.execute_batch("BEGIN; UPDATE notes SET body = 'blue'; SELECT kith_untext('notes'); ROLLBACK").unwrap();
    check_index(&mut one);
    one.execute_batch("SELECT kith_untext('notes'); INSERT INTO notes VALUES('b', 'red', 0)").unwrap();
    let error = one.execute_batch("SELECT * FROM kith_search('notes', 'red')").unwrap_err().to_string();
    assert!(error.contains("run SELECT kith_text('notes', 'body')"), "{error}");
}

#[test]
fn embeddings_from_a_peer_are_found_as_soon_as_they_are_applied() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, lang TEXT UNIQUE, embedding BLOB)").unwrap();
    one.execute_batch("INSERT INTO docs VALUES(1, 'en', vec_f32('[0,0]')), (2, 'de', '[1,0]')").unwrap();
    one.sync_table("docs").unwrap();
    pull(&mut one, &mut two);
    let create =
        "CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, dims=2, metric=l2)";
    let near = "SELECT rowid || ' ' || distance FROM doc_vectors WHERE embedding MATCH '[0,0]' AND k = 10";
    for replica in [&mut one, &mut two] {
        replica.execute_batch(create).unwrap();
        assert_eq!(dump(replica, near), ["1 0.0", "2 1.0"]);
        let report = replica.sync_table("*").unwrap();
        assert_eq!((report.already, report.synced), (vec!["docs".to_owned()], Vec::new()));
        let skipped: Vec<_> = report.skipped.into_iter().map(|(table, _)| table).collect();
        assert_eq!(skipped, ["doc_vectors"]);
    }
    // What is made after kith_sync('*') is not taken in either.
    two.execute_batch(&create.replace("doc_vectors", "later")).unwrap();
    let synced = "SELECT name FROM kith_tables WHERE state = 'synced'";
    assert_eq!(dump(&mut two, synced), ["docs"]);
    two.execute_batch("DROP TABLE later").unwrap();
    one.execute_batch("UPDATE docs SET embedding = '[3,0]' WHERE id = 1; INSERT INTO docs VALUES(5, 'fr', '[2,0]')")
        .unwrap();
    two.execute_batch("DELETE FROM docs WHERE id = 2; INSERT INTO docs VALUES(6, 'it', '[4,0]')").unwrap();
    settle(&mut one, &mut two);
    for replica in [&mut one, &mut two] {
        assert_eq!(dump(replica, near), ["5 2.0", "1 3.0", "6 4.0"]);
    }
    // A trigger of the user's that stops a merge has the rows applied with triggers off, ours among them.
    two.execute_batch("CREATE TRIGGER stop BEFORE INSERT ON docs BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    one.execute_batch("INSERT INTO docs VALUES(7, 'es', '[1,0]')").unwrap();
    pull(&mut one, &mut two);
    assert_eq!(dump(&mut two, near), ["7 1.0", "5 2.0", "1 3.0", "6 4.0"]);
    assert!(two.execute_batch("DELETE FROM doc_vectors_changes; DROP TABLE doc_vectors").is_ok());
}

const EMBEDDED: &str =
    "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1)";

/// Two replicas that both embed the texts of one table.
fn embedded() -> (Replica, Replica) {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE docs(id TEXT PRIMARY KEY, body TEXT, embedding BLOB)").unwrap();
    one.sync_table("docs").unwrap();
    settle(&mut one, &mut two);
    for replica in [&mut one, &mut two] {
        replica.execute_batch(EMBEDDED).unwrap();
    }
    (one, two)
}

/// Embeds what waits; returns how many transactions that made.
fn embed(replica: &mut Replica) -> i64 {
    let count = |replica: &mut Replica| -> i64 {
        replica.query("SELECT count(*) FROM kith__pending", [], |row| row.get(0)).unwrap()[0]
    };
    let before = count(replica);
    while replica.query("SELECT kith_embed_pending('near', 3)", [], |row| row.get::<_, i64>(0)).unwrap() != [0] {}
    let wrong =
        "SELECT id || ': ' || ifnull(body, '-') FROM docs WHERE (kith_embed(body) IS NULL) <> (embedding IS NULL)
         OR CASE WHEN embedding IS NOT NULL THEN vec_distance_l2(embedding, kith_embed(body)) > 1e-6 END";
    assert_eq!(dump(replica, wrong), Vec::<String>::new());
    let stats = "SELECT 'to embed ' || to_embed || ', refused ' || refused FROM kith_vector_stats";
    assert_eq!(dump(replica, stats), ["to embed 0, refused 0"]);
    count(replica) - before
}

const ROWS: &str = "SELECT id || ' ' || ifnull(body, '-') || ' ' || ifnull(hex(embedding), '-') FROM docs ORDER BY id";

#[test]
fn texts_that_a_peer_has_embedded_are_not_embedded_again() {
    let (mut one, mut two) = embedded();
    one.execute_batch("INSERT INTO docs VALUES('a', 'red wine', NULL), ('b', 'a grey coat', NULL)").unwrap();
    assert!(embed(&mut one) > 0);
    settle(&mut one, &mut two);
    assert_eq!(embed(&mut two), 0);
    let near = "SELECT key FROM near WHERE embedding MATCH 'wine, red' AND k = 1";
    assert_eq!(dump(&mut two, near), ["a"]);
    // Each embeds its own edit, and the merge keeps the text of one and perhaps the embedding of the other.
    two.execute_batch("UPDATE docs SET body = 'white wine' WHERE id = 'a'").unwrap();
    one.execute_batch("UPDATE docs SET body = 'rosé' WHERE id = 'a'").unwrap();
    embed(&mut two);
    embed(&mut one);
    settle(&mut one, &mut two);
    embed(&mut one);
    embed(&mut two);
    settle(&mut one, &mut two);
    assert_eq!((embed(&mut one), embed(&mut two)), (0, 0));
    assert_eq!(dump(&mut one, ROWS), dump(&mut two, ROWS));
    // Rows that are applied with triggers off are noticed too.
    two.execute_batch("CREATE TRIGGER stop BEFORE INSERT ON docs BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    one.execute_batch("INSERT INTO docs VALUES('c', 'late', NULL)").unwrap();
    settle(&mut one, &mut two);
    assert!(embed(&mut two) > 0);
    settle(&mut one, &mut two);
    assert_eq!(embed(&mut one), 0);
}

#[test]
fn replicas_that_both_embed_end_equal() {
    for seed in 0..4_u64 {
        let mut pair = embedded();
        let mut state = seed;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for _ in 0..60 {
            let replica = if below(2) == 0 { &mut pair.0 } else { &mut pair.1 };
            let (id, body) =
                (["a", "b", "c", "d"][below(4) as usize], ["x", "y z", "long coat", "!"][below(4) as usize]);
            let sql = match below(10) {
                0..3 => "INSERT OR IGNORE INTO docs(id, body) VALUES(?1, ?2)",
                3..5 => "UPDATE docs SET body = ?2 WHERE id = ?1",
                5 => "DELETE FROM docs WHERE id = ?1 AND ?2 <> ''",
                6 => "UPDATE docs SET embedding = kith_embed('something else') WHERE id = ?1 AND ?2 <> ''",
                7 => "UPDATE docs SET id = id || 'x' WHERE id = ?1 AND ?2 = 'x'",
                8 => {
                    replica.query("SELECT kith_embed_pending('near', 2)", [], |_| Ok(())).unwrap();
                    continue;
                }
                _ if below(2) == 0 => {
                    pull(&mut pair.0, &mut pair.1);
                    continue;
                }
                _ => {
                    pull(&mut pair.1, &mut pair.0);
                    continue;
                }
            };
            if let Err(error) = replica.execute(sql, [id, body]) {
                assert!(error.to_string().contains("UNIQUE"), "{error}");
            }
        }
        let (mut one, mut two) = pair;
        let mut rounds = 0;
        loop {
            settle(&mut one, &mut two);
            if embed(&mut one) + embed(&mut two) == 0 {
                break;
            }
            rounds += 1;
            assert!(rounds < 4, "they write over each other");
        }
        assert_eq!(dump(&mut one, ROWS), dump(&mut two, ROWS));
    }
}

#[test]
fn both_indexes_of_one_table_follow_rows_of_both_replicas() {
    let (mut one, mut two) = pair();
    one.execute_batch("CREATE TABLE docs(id TEXT PRIMARY KEY, number INT UNIQUE, body TEXT, embedding)").unwrap();
    one.sync_table("docs").unwrap();
    settle(&mut one, &mut two);
    for replica in [&mut one, &mut two] {
        replica
            .execute_batch(
                "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, metric=l2);
                 SELECT kith_text('docs', 'body')",
            )
            .unwrap();
    }
    let writes = [
        [
            "INSERT INTO docs VALUES('a', 1, 'red wine', '[1,0]'), ('b', 2, 'beer', '[2,0]')",
            "INSERT INTO docs VALUES('c', 1, 'white wine', '[3,0]')",
        ],
        [
            "UPDATE docs SET id = 'd', embedding = '[0,0]' WHERE id = 'b'",
            "UPDATE docs SET body = 'wine and beer' WHERE id = 'b'",
        ],
        ["DELETE FROM docs WHERE id = 'a'", "UPDATE docs SET embedding = '[9,9]'"],
        [
            "INSERT OR REPLACE INTO docs VALUES('e', 1, 'wine', vec_f32('[4,0]'))",
            "INSERT OR REPLACE INTO docs VALUES('d', 7, 'cider', NULL)",
        ],
        ["UPDATE docs SET number = number + 1", "UPDATE docs SET id = id || 'x', body = body || ' wine'"],
        ["VACUUM", "DELETE FROM docs WHERE number > 5"],
    ];
    for [first, second] in writes {
        one.execute_batch(first).unwrap();
        two.execute_batch(second).unwrap();
        settle(&mut one, &mut two);
        settle(&mut one, &mut two);
        for replica in [&mut one, &mut two] {
            let found = dump(
                replica,
                "SELECT key || ':' || distance FROM near WHERE embedding MATCH '[0,0]' AND k = 20 ORDER BY key",
            );
            let rows = dump(
                replica,
                "SELECT id || ':' || vec_distance_l2(embedding, '[0,0]') FROM docs WHERE embedding IS NOT NULL ORDER BY id",
            );
            assert_eq!(found, rows, "{first} and {second}");
            let found = dump(replica, "SELECT key FROM kith_search('docs', 'wine', 20) ORDER BY key");
            let rows = dump(replica, "SELECT id FROM docs WHERE ' ' || body || ' ' LIKE '% wine %' ORDER BY id");
            assert_eq!(found, rows, "{first} and {second}");
        }
    }
    assert_eq!(dump(&mut one, "SELECT count(*) || '' FROM docs"), dump(&mut two, "SELECT count(*) || '' FROM docs"));
}

#[test]
fn rows_of_vec0_tables_stay_in_their_replica() {
    let (mut one, mut two) = pair();
    one.execute_batch(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT); INSERT INTO docs VALUES(1, 'first'), (2, 'second');
         CREATE VIRTUAL TABLE near USING vec0(embedding float[2], length integer);
         INSERT INTO near VALUES(1, '[0,1]', 5), (2, '[0,2]', 6)",
    )
    .unwrap();
    let report = one.sync_table("*").unwrap();
    assert_eq!(report.synced, ["docs"]);
    let skipped: Vec<_> = report.skipped.into_iter().map(|(table, _)| table).collect();
    assert_eq!(skipped, ["near"]);
    // What is made after kith_sync('*') is not taken in either.
    one.execute_batch("CREATE VIRTUAL TABLE later USING vec0(id text primary key, embedding float[2])").unwrap();
    one.execute_batch("BEGIN; INSERT INTO near VALUES(3, '[0,0]', 5); INSERT INTO docs VALUES(3, 'third')").unwrap();
    let search = "SELECT title FROM near JOIN docs ON docs.id = near.rowid WHERE embedding MATCH '[0,0]' AND k = 2 AND length = 5";
    assert_eq!(dump(&mut one, search), ["third", "first"]);
    one.execute_batch("ROLLBACK; UPDATE docs SET title = 'new' WHERE id = 1").unwrap();
    assert_eq!(dump(&mut one, search), ["new"]);
    pull(&mut one, &mut two);
    assert_eq!(dump(&mut one, "SELECT name FROM kith_tables WHERE state = 'synced'"), ["docs"]);
    assert_eq!(dump(&mut two, "SELECT title FROM docs ORDER BY id"), ["new", "second"]);
    assert_eq!(
        dump(
            &mut two,
            "SELECT CAST(count(*) AS TEXT) FROM sqlite_schema WHERE name LIKE 'near%' OR name LIKE 'later%'"
        ),
        ["0"]
    );
}
