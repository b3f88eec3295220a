//! What once went wrong, each as the least run that showed it; unlike a seed it stays what it is when the generator changes.

use crate::scenario::{EVERYTHING, Event, Scenario};
use crate::shapes::SHAPES;

fn table(name: &str) -> usize {
    SHAPES.iter().position(|shape| shape.name == name).expect("a table of this name")
}

fn run(peer: usize, sql: &[&str]) -> Event {
    Event::Run { peer, sql: sql.iter().map(|sql| (*sql).to_owned()).collect() }
}

fn create(peer: usize, name: &str) -> Event {
    Event::Create { peer, table: table(name) }
}

fn sync(peer: usize, name: &str) -> Event {
    Event::Sync { peer, table: table(name) }
}

fn tell(from: usize, to: usize) -> [Event; 3] {
    let bytes = 1 << 20;
    [Event::Seal { peer: from, bytes }, Event::Pull { to, from, order: EVERYTHING }, Event::Apply { peer: to, bytes }]
}

#[track_caller]
fn check(tables: &[&str], settings: [&[&str]; 2], events: Vec<Event>) {
    let scenario = Scenario {
        seed: 1,
        peers: 2,
        on_disk: false,
        forges: false,
        tables: tables.iter().map(|name| table(name)).collect(),
        drifts: vec![0; 2],
        settings: settings.map(|list| list.iter().map(|sql| (*sql).to_owned()).collect()).to_vec(),
        events,
    };
    if let Err(error) = crate::run(&scenario) {
        panic!("{error}");
    }
}

#[test]
fn entries_that_waited_for_a_table_with_rows_of_its_own_are_merged_when_it_is_taken_in() {
    let mut events = vec![create(0, "notes"), sync(0, "notes"), run(0, &["INSERT INTO notes(id, a) VALUES('a', 'p')"])];
    events.extend([create(1, "notes"), run(1, &["INSERT INTO notes(id, a) VALUES('a', 'q'), ('b', 'r')"])]);
    events.extend(tell(0, 1));
    events.push(sync(1, "notes"));
    events.extend(tell(1, 0));
    check(&["notes"], [&[], &[]], events);
}

/// One peer has a trigger on a table with a UNIQUE column, and both write rows that claim the same value.
fn contested(trigger: &str) {
    let mut events = vec![create(0, "double"), sync(0, "double")];
    events.extend(tell(0, 1));
    events.push(run(0, &["INSERT INTO double(id, u, w) VALUES(1, 'p', 4), (2, 'q', 5)"]));
    events.push(run(1, &["INSERT INTO double(id, u, w) VALUES(2, 's', 7), (3, 'r', 4)"]));
    events.extend(tell(0, 1));
    events.extend(tell(1, 0));
    events.push(run(0, &["UPDATE double SET w = 7 WHERE id = 1", "UPDATE double SET id = 3 WHERE id = 1"]));
    events.extend(tell(0, 1));
    let audit = "CREATE TABLE IF NOT EXISTS audit(what NOT NULL UNIQUE)";
    check(&["double"], [&[], &[audit, trigger]], events);
}

#[test]
fn triggers_neither_stop_a_merge_nor_keep_a_row_out() {
    for event in ["BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "AFTER UPDATE", "BEFORE DELETE", "AFTER DELETE"] {
        for body in [
            "SELECT RAISE(IGNORE)",
            "SELECT RAISE(ABORT, 'no')",
            "SELECT RAISE(FAIL, 'no')",
            "SELECT RAISE(ROLLBACK, 'no')",
            "INSERT INTO audit VALUES('once')",
            "INSERT INTO audit VALUES(NULL)",
            "INSERT INTO nowhere VALUES(1)",
            "DELETE FROM double",
            "INSERT OR REPLACE INTO double(id, u, w) VALUES(9, 'p', 4)",
        ] {
            contested(&format!("CREATE TRIGGER IF NOT EXISTS noted {event} ON double BEGIN {body}; END"));
        }
    }
}

#[test]
fn violations_are_listed_for_as_long_as_they_last() {
    let mut events = vec![create(0, "ranges"), sync(0, "ranges"), run(0, &["INSERT INTO ranges VALUES('a', 1, 2, 0)"])];
    events.extend(tell(0, 1));
    // Each change is right by itself; together they break the CHECK.
    events.extend([run(0, &["UPDATE ranges SET lo = 2"]), run(1, &["UPDATE ranges SET hi = 1"])]);
    events.extend(tell(0, 1));
    events.push(Event::Check { peer: 1 });
    events.extend([run(1, &["UPDATE ranges SET v = 1"]), Event::Check { peer: 1 }]);
    events.extend([run(1, &["UPDATE ranges SET id = 'b'"]), Event::Check { peer: 1 }]);
    events.extend(tell(1, 0));
    events.push(Event::Check { peer: 0 });
    events.extend([run(0, &["UPDATE ranges SET lo = 0"]), Event::Check { peer: 0 }]);
    check(&["ranges"], [&[], &[]], events);
}

#[test]
fn sealing_in_steps_shows_nothing_under_keys_that_later_writes_pass_through() {
    let mut events = vec![create(1, "items"), sync(1, "items")];
    events.extend(tell(1, 0));
    events.push(run(1, &["INSERT INTO items(id, a) VALUES(1, '')"]));
    events.push(run(0, &["INSERT INTO items(id, a) VALUES(1, 'p')"]));
    events.extend(tell(1, 0));
    events.push(run(
        0,
        &[
            "UPDATE items SET id = -id",
            "INSERT INTO items(id, a) VALUES(3, 'r')",
            "UPDATE items SET id = 1 WHERE id = 3",
            "UPDATE items SET id = id - 10",
        ],
    ));
    for _ in 0..4 {
        events.push(Event::Seal { peer: 0, bytes: 1 });
    }
    check(&["items"], [&[], &[]], events);
}
