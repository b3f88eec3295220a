//! Random SQL: the record rebuilds the tables exactly, and the program sees what plain SQLite would show it.

use rusqlite::Connection;

use super::harness::{Db, Model};

const SCHEMA: &str = "
PRAGMA foreign_keys = ON;
CREATE TABLE auto(id INTEGER PRIMARY KEY, a UNIQUE, b REAL DEFAULT 1, c TEXT NOT NULL DEFAULT 'x', d);
CREATE TABLE pair(k TEXT COLLATE NOCASE, n INT, v, w TEXT UNIQUE, PRIMARY KEY(n, k)) WITHOUT ROWID;
CREATE TABLE gen(name TEXT PRIMARY KEY NOT NULL, twice AS (a * 2), a NUMERIC, thrice AS (a * 3) STORED, z BLOB);
CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES auto ON DELETE CASCADE ON UPDATE CASCADE, other REFERENCES gen(name) ON DELETE SET NULL
  DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE plain(a, b);
CREATE TABLE audit(what, n);
CREATE TRIGGER from_plain AFTER INSERT ON plain BEGIN
  INSERT OR IGNORE INTO auto(a, d) VALUES(new.a, changes());
  UPDATE pair SET v = new.b WHERE n = new.a;
END;
CREATE TRIGGER audit_auto AFTER UPDATE ON auto BEGIN INSERT INTO audit VALUES('auto', new.id); END;
CREATE TRIGGER no_gen BEFORE DELETE ON gen WHEN old.name = 'c' BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER loud BEFORE INSERT ON gen WHEN new.name = 'e' BEGIN SELECT RAISE(FAIL, 'loud'); END;
CREATE VIEW both AS SELECT id, a FROM auto;
CREATE TRIGGER into_both INSTEAD OF INSERT ON both BEGIN INSERT INTO auto(id, a) VALUES(new.id, new.a); DELETE FROM child WHERE id = new.id; END;
";
const SYNCED: [&str; 4] = ["auto", "pair", "gen", "child"];

/// A small generator: the same seed gives the same program.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn value(&mut self) -> &'static str {
        self.pick(&[
            "NULL",
            "0",
            "1",
            "2",
            "3",
            "-1",
            "1.0",
            "2.5",
            "-0.0",
            "'1'",
            "'2.0'",
            "'a'",
            "'A'",
            "'b'",
            "'b '",
            "''",
            "x'61'",
            "x''",
            "1e3",
            "9007199254740993",
            "9223372036854775807",
            "1e300",
            "zeroblob(3)",
            "'a'||char(0)||'b'",
            "random() % 2",
            "changes()",
            "total_changes() % 3",
            "last_insert_rowid() % 4",
        ])
    }
    fn id(&mut self) -> &'static str {
        self.pick(&["NULL", "1", "2", "3", "4", "5", "6", "'7'"])
    }
    fn name(&mut self) -> &'static str {
        self.pick(&["'a'", "'b'", "'c'", "'d'", "'e'", "'A'", "'f'"])
    }
    fn conflict(&mut self) -> &'static str {
        self.pick(&["", "", "", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ROLLBACK", " OR ABORT"])
    }

    fn statement(&mut self, depth: &mut u32) -> String {
        let or = self.conflict();
        match self.below(34) {
            0..=4 => format!(
                "INSERT{or} INTO auto VALUES({}, {}, {}, {}, {})",
                self.id(),
                self.value(),
                self.value(),
                self.value(),
                self.value()
            ),
            5 => format!("INSERT{or} INTO auto(a) VALUES({}), ({}), ({})", self.value(), self.value(), self.value()),
            6..=8 => format!(
                "INSERT{or} INTO pair VALUES({}, {}, {}, {})",
                self.name(),
                self.id(),
                self.value(),
                self.value()
            ),
            9..=10 => format!(
                "INSERT{or} INTO gen(name, a, z) VALUES({}, {}, {}), ({}, {}, 1)",
                self.name(),
                self.value(),
                self.value(),
                self.name(),
                self.value()
            ),
            11..=12 => format!("INSERT{or} INTO child VALUES({}, {}, {})", self.id(), self.id(), self.name()),
            13 => format!(
                "INSERT{or} INTO plain VALUES({}, {}), ({}, {})",
                self.id(),
                self.value(),
                self.id(),
                self.value()
            ),
            14 => format!("INSERT{or} INTO both VALUES({}, {})", self.id(), self.value()),
            15 => format!("UPDATE{or} auto SET b = {}, d = {} WHERE id >= {}", self.value(), self.value(), self.id()),
            16 => format!("UPDATE{or} auto SET a = {} WHERE id = {}", self.value(), self.id()),
            17 => format!("UPDATE{or} auto SET id = {} WHERE id = {}", self.id(), self.id()),
            18 => "UPDATE auto SET a = a, b = b, c = c".into(),
            19 => format!("UPDATE{or} pair SET k = {}, v = {} WHERE n = {}", self.name(), self.value(), self.id()),
            20 => format!("UPDATE{or} pair SET w = {} WHERE k = {}", self.value(), self.name()),
            21 => {
                format!("UPDATE{or} gen SET name = {}, a = {} WHERE name = {}", self.name(), self.value(), self.name())
            }
            22 => format!("UPDATE{or} gen SET z = {}, a = a WHERE name < {}", self.value(), self.name()),
            23 => format!("DELETE FROM auto WHERE id = {}", self.id()),
            24 => format!("DELETE FROM {}", self.pick(&SYNCED)),
            25 => format!("DELETE FROM gen WHERE name >= {}", self.name()),
            26 => format!(
                "INSERT INTO auto(id, a, c) VALUES({}, {}, 'up') ON CONFLICT(id) DO UPDATE SET c = excluded.c, a = excluded.a ON CONFLICT(a) DO NOTHING",
                self.id(),
                self.value()
            ),
            27 => format!(
                "INSERT INTO pair(n, k, v) SELECT id, {}, changes() FROM auto WHERE true ON CONFLICT DO UPDATE SET v = {}",
                self.name(),
                self.value()
            ),
            28 => format!("INSERT{or} INTO auto(a, d) SELECT v, total_changes() FROM pair RETURNING id"),
            29..=30 => self.pick(&["BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "COMMIT"]).into(),
            31 => {
                *depth += 1;
                format!("SAVEPOINT s{}", self.below(3))
            }
            32 => format!("RELEASE s{}", self.below(3)),
            _ => format!("ROLLBACK TO s{}", self.below(3)),
        }
    }
}

/// What a program can see after a statement.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Result<(), (i32, String)>,
    is_autocommit: bool,
    last_insert_rowid: i64,
    changes: i64,
    total_changes: i64,
    functions: (i64, i64, i64),
    rows: Vec<String>,
}

/// Steps a statement, to its end or only to its first row.
fn step(conn: &Connection, sql: &str, to_the_end: bool) -> (Result<(), (i32, String)>, Vec<String>) {
    let mut seen = Vec::new();
    let run = || -> rusqlite::Result<Vec<String>> {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            seen.push(format!("{:?}", row.get_ref(0)?));
            if !to_the_end {
                break;
            }
        }
        Ok(seen)
    };
    match run() {
        Ok(rows) => (Ok(()), rows),
        Err(error) => {
            let code = error.sqlite_error().map_or(0, |error| error.extended_code);
            (Err((code, error.to_string())), Vec::new())
        }
    }
}

fn functions(conn: &Connection) -> (i64, i64, i64) {
    conn.query_row("SELECT changes(), total_changes(), last_insert_rowid()", [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
    .unwrap()
}

fn run_program(seed: u64, existing_rows: bool) {
    let mut dice = Dice(seed);
    let plain = Connection::open_in_memory().unwrap();
    let conn = Connection::open_in_memory().unwrap();
    let utf16 = seed.is_multiple_of(5);
    for conn in [&plain, &conn] {
        conn.execute_batch(if utf16 { "PRAGMA encoding = 'UTF-16'" } else { "" }).unwrap();
        if seed.is_multiple_of(3) {
            conn.execute_batch("PRAGMA recursive_triggers = ON").unwrap();
        }
    }
    plain.execute_batch(SCHEMA).unwrap();
    let db = Db::on(conn, SCHEMA, &SYNCED, existing_rows);
    let mut base = counts(&plain, &db);
    let mut model = db.tables();
    let mut read = 0;
    let mut depth = 0;
    let mut log = Vec::new();
    for _ in 0..60 {
        let sql = dice.statement(&mut depth);
        // Both connections draw the same random numbers only if neither draws any.
        let sql = sql.replace("random() % 2", if dice.below(2) == 0 { "0" } else { "1" });
        let to_the_end = dice.below(3) > 0;
        log.push(sql.clone());
        let expected = look(&plain, None, &sql, to_the_end, base.0);
        let found = look(&db.conn, Some(&db), &sql, to_the_end, base.1);
        assert_eq!(found, expected, "seed {seed}: {log:#?}");
        if db.conn.is_autocommit() {
            let transactions = db.pending_after(read);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for transaction in &transactions {
                    model.replay(&db.registry, transaction);
                }
                assert!(transactions.len() <= 1, "one transaction is one transaction");
                assert_eq!(model, db.tables());
            }));
            assert!(caught.is_ok(), "seed {seed}: {log:#?} {transactions:?}");
            read = db.count("SELECT coalesce(max(n), 0) FROM kith__pending");
            base = counts(&plain, &db);
        }
    }
}

/// Total changes so far: set-up and the test's own reading differ between the two.
fn counts(plain: &Connection, db: &Db) -> (i64, i64) {
    (functions(plain).1, db.capture.total_changes(&db.conn))
}

fn look(conn: &Connection, db: Option<&Db>, sql: &str, to_the_end: bool, base: i64) -> Seen {
    let (outcome, rows) = step(conn, sql, to_the_end);
    let (changes, total, rowid) = functions(conn);
    let (api_changes, api_total) = match db {
        Some(db) => (db.capture.changes(conn), db.capture.total_changes(conn)),
        None => (conn.changes() as i64, total),
    };
    Seen {
        outcome,
        is_autocommit: conn.is_autocommit(),
        last_insert_rowid: conn.last_insert_rowid(),
        changes: api_changes,
        total_changes: api_total - base,
        functions: (changes, total - base, rowid),
        rows,
    }
}

#[test]
fn random_programs_are_captured_exactly_and_see_plain_sqlite() {
    for seed in 0..1500 {
        run_program(seed, false);
    }
}

#[test]
fn random_programs_on_tables_with_rows_from_before_sync() {
    for seed in 10_000..10_300 {
        run_program(seed, true);
    }
}

#[test]
fn an_empty_model_equals_empty_tables() {
    let db = Db::memory(SCHEMA, &SYNCED);
    let mut model = Model::default();
    for info in db.registry.tables() {
        model.tables.entry(info.num).or_default();
    }
    assert_eq!(model, db.tables());
}
