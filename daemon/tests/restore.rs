//! A file that was restored with its sidecar and written to before it met anybody, as its users do it: `cp`, `kith sql`, `kith sync`.

#![cfg(unix)]

mod common;

use common::{LOOPBACK, Place};

/// Meetings after which both must hold the same.
const MEETINGS_MAX: u32 = 3;
const ROWS: &str = "SELECT * FROM notes ORDER BY id";

/// Two files that hold the same; the first is synced by a running process.
struct Devices {
    place: Place,
}

impl Devices {
    fn new() -> Self {
        let place = Place::new();
        place.init_notes("a.db");
        place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('milk', 'buy milk', 0)"]);
        let mut first = place.sync("a.db", &LOOPBACK);
        let address = first.address();
        place.join("a.db", "b.db", &address);
        first.interrupt();
        let devices = Self { place };
        devices.sync();
        devices
    }

    /// Syncs `a.db` once with `b.db`; returns what the first said.
    fn sync(&self) -> Vec<serde_json::Value> {
        let mut other = self.place.sync("b.db", &LOOPBACK);
        let address = other.address();
        let mut once = self.place.sync("a.db", &[&LOOPBACK[..], &["--once", "--peer", &address]].concat());
        let mut said: Vec<serde_json::Value> = Vec::new();
        for _ in 0..MEETINGS_MAX {
            once.wait_until("stopped", |event| {
                said.push(event.clone());
                event["event"] == "stopped"
            });
            if find(&said, "in_step").is_some() {
                break;
            }
        }
        assert!(find(&said, "in_step").is_some(), "they meet again and again: {said:#?}");
        assert!(once.end().success());
        other.interrupt();
        said
    }

    fn copy(&self, from: &str, to: &str) {
        for suffix in ["", "-kith-life"] {
            let bytes = std::fs::read(self.place.path(&format!("{from}{suffix}"))).unwrap();
            // Written over the file that is there, which stays the same file.
            std::fs::write(self.place.path(&format!("{to}{suffix}")), bytes).unwrap();
        }
    }

    #[track_caller]
    fn check(&self, rows: &str) {
        for file in ["a.db", "b.db"] {
            assert_eq!(self.place.sql(file, ROWS), rows, "{file}");
            self.place.ok(&["verify", file]);
        }
    }
}

fn find<'v>(said: &'v [serde_json::Value], event: &str) -> Option<&'v serde_json::Value> {
    said.iter().find(|value| value["event"] == event)
}

#[test]
fn restored_file_that_was_written_to_first_loses_nothing() {
    let devices = Devices::new();
    let place = &devices.place;
    devices.copy("a.db", "backup.db");
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('published', 'p', 1)"]);
    place.ok(&["sql", "a.db", "UPDATE notes SET done = 5 WHERE id = 'milk'"]);
    devices.sync();
    devices.copy("backup.db", "a.db");
    assert_eq!(place.sql("a.db", ROWS), "milk|buy milk|0");
    place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('stranded', 's', 1)"]);
    place.ok(&["sql", "a.db", "UPDATE notes SET body = 'buy oat milk' WHERE id = 'milk'"]);
    let said = devices.sync();
    devices.check("milk|buy oat milk|5\npublished|p|1\nstranded|s|1");
    let anew = find(&said, "written_anew").unwrap_or_else(|| panic!("{said:#?}"));
    assert_eq!(anew["operations"], 2, "{anew}");
    let reason = "the file was restored from an older copy and written to before it synced";
    assert_eq!(anew["reason"], reason);
    assert!(place.ok(&["status", "a.db"]).contains(reason));
    // It goes on as if nothing had been.
    place.ok(&["sql", "a.db", "DELETE FROM notes WHERE id = 'published'"]);
    let said = devices.sync();
    assert!(find(&said, "written_anew").is_none() && find(&said, "fork").is_none(), "{said:#?}");
    devices.check("milk|buy oat milk|5\nstranded|s|1");
}

#[test]
fn restored_file_that_was_not_written_to_takes_up_what_it_had() {
    let devices = Devices::new();
    devices.copy("a.db", "backup.db");
    devices.place.ok(&["sql", "a.db", "INSERT INTO notes VALUES('published', 'p', 1)"]);
    devices.sync();
    devices.copy("backup.db", "a.db");
    let said = devices.sync();
    assert!(find(&said, "new_incarnation").is_some() && find(&said, "written_anew").is_none(), "{said:#?}");
    devices.check("milk|buy milk|0\npublished|p|1");
}
