//! Random programs of writes, steps, rollbacks, crashes and other programs: in the end every row is embedded rightly.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::super::Batch;
use super::super::step::is_busy;
use super::{CREATE, check, declaration, one, open, right};
use crate::embed::Lexical;
use crate::vector::note_unwatched_writes;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }
}

const TABLES: [&str; 4] = [
    "CREATE TABLE docs(id INTEGER PRIMARY KEY, part INT, body TEXT COLLATE NOCASE, embedding BLOB)",
    "CREATE TABLE docs(id TEXT COLLATE NOCASE PRIMARY KEY, part INT, body TEXT COLLATE NOCASE, embedding BLOB)",
    "CREATE TABLE docs(id TEXT COLLATE NOCASE, part INT, body TEXT, embedding BLOB, PRIMARY KEY(part, id))",
    "CREATE TABLE docs(id TEXT, part INT, body TEXT, embedding BLOB, PRIMARY KEY(id, part)) WITHOUT ROWID",
];
const ROWS: u64 = 40;

fn write(conn: &Connection, random: &mut Random, is_integer: bool) {
    let id =
        |number: u64| if is_integer { Value::Integer(number as i64) } else { Value::Text(format!("Name {number}")) };
    let (first, second, part) = (id(random.below(ROWS)), id(random.below(ROWS)), random.below(2) as i64);
    let text = match random.below(12) {
        0 => Value::Null,
        1 => Value::Text("!".repeat(random.below(3) as usize)),
        2 => Value::Blob(vec![65]),
        number => Value::Text(format!("{} {number}", ["Red wine", "red Wine", "coat"][random.below(3) as usize])),
    };
    let own = match random.below(3) {
        0 => Value::Null,
        1 => Value::Text("[1, 2]".to_owned()),
        _ => right(&Lexical, &Value::Text("coat 5".to_owned())),
    };
    let result = match random.below(10) {
        0..3 => {
            conn.execute("INSERT OR IGNORE INTO docs(id, part, body) VALUES(?1, ?2, ?3)", params![first, part, text])
        }
        3 => conn.execute("INSERT OR REPLACE INTO docs VALUES(?1, ?2, ?3, ?4)", params![first, part, text, own]),
        4 | 5 => conn.execute("UPDATE docs SET body = ?2 WHERE id = ?1", params![first, text]),
        6 => conn.execute("UPDATE docs SET embedding = ?2 WHERE id = ?1", params![first, own]),
        7 => {
            conn.execute("UPDATE OR REPLACE docs SET id = ?2 WHERE id = ?1 AND part = ?3", params![first, second, part])
        }
        8 => conn.execute("DELETE FROM docs WHERE id = ?1", [first]),
        _ => conn.execute(
            "INSERT INTO docs VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET body = excluded.body",
            params![first, part, text, own],
        ),
    };
    if let Err(error) = result {
        assert!(is_busy(&error), "{error}");
    }
}

fn embed_lexical(conn: &Connection, count: usize) -> rusqlite::Result<i64> {
    conn.query_row("SELECT kith_embed_pending('near', ?1)", [count as i64], |row| row.get(0))
}

fn finish(conn: &Connection) {
    while embed_lexical(conn, 50).unwrap() > 0 {}
    check(conn, &Lexical);
}

/// Goes on with what a crash would leave now.
fn check_after_crash(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap().map(Result::unwrap) {
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    finish(&open(&folder.path().join(path.file_name().unwrap())));
}

#[test]
fn random_programs_end_with_every_row_embedded() {
    for seed in 0..12_u64 {
        let (folder, mut random) = (tempfile::tempdir().unwrap(), Random(seed));
        let (path, table) = (folder.path().join("a.db"), TABLES[seed as usize % TABLES.len()]);
        let ours = [open(&path), open(&path)];
        let stranger = Connection::open(&path).unwrap();
        let is_integer = table.contains("INTEGER");
        if seed % 3 > 0 {
            ours[0].query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        }
        ours[0].execute_batch(table).unwrap();
        for _ in 0..30 {
            write(&ours[0], &mut random, is_integer);
        }
        ours[0].execute_batch(CREATE).unwrap();
        for conn in [&ours[0], &ours[1], &stranger] {
            conn.busy_timeout(std::time::Duration::ZERO).unwrap();
        }
        let mut kept: Option<(Batch, Vec<Option<Vec<f32>>>)> = None;
        let mut lexical = declaration("lexical-1");
        lexical.options.dimensions = 384;
        for _ in 0..250 {
            let conn = &ours[random.below(2) as usize];
            let count = 1 + random.below(6) as usize;
            let command = match random.below(24) {
                0 => "BEGIN",
                1 => "SAVEPOINT s",
                2 => "ROLLBACK TO s",
                3 => "ROLLBACK",
                4 | 5 => "COMMIT",
                6 if random.below(8) == 0 => "INSERT INTO near(command) VALUES('rebuild')",
                7 if random.below(8) == 0 => "VACUUM",
                8 if random.below(4) == 0 => {
                    check_after_crash(&path);
                    continue;
                }
                9 => {
                    // What apply does when a trigger of the user's fails.
                    let ran = conn.execute_batch("SAVEPOINT apply");
                    if ran.is_ok() && note_unwatched_writes(conn).is_ok() {
                        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
                        write(conn, &mut random, is_integer);
                        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true).unwrap();
                    }
                    let _ = conn.execute_batch("RELEASE apply");
                    continue;
                }
                10 => {
                    // What is not committed may be rolled back before it is written.
                    if conn.is_autocommit()
                        && let Ok(batch) = Batch::read(conn, "near", &lexical, count)
                    {
                        let answers = batch.ask(&Lexical).unwrap();
                        kept = Some((batch, answers));
                    }
                    continue;
                }
                11 => {
                    let Some((batch, answers)) = &kept else { continue };
                    let _ = batch.write(conn, answers);
                    continue;
                }
                12..15 => {
                    let _ = embed_lexical(conn, count);
                    continue;
                }
                15..18 => {
                    write(&stranger, &mut random, is_integer);
                    continue;
                }
                _ => {
                    write(conn, &mut random, is_integer);
                    continue;
                }
            };
            // Out of place as often as not: then nothing happens.
            let _ = conn.execute_batch(command);
        }
        for conn in &ours {
            let _ = conn.execute_batch("ROLLBACK");
        }
        finish(&ours[0]);
        assert!(
            one::<bool>(
                &ours[1],
                "SELECT to_embed = 0 AND refused = 0 AND indexed = (SELECT count(embedding) FROM docs) FROM kith_vector_stats"
            ),
            "seed {seed}"
        );
    }
}
