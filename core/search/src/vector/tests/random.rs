//! Random programs of writes, rollbacks, readers and other programs, held against an exact search of the table.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::super::value::{Element, Embedding};

const DIMENSIONS: usize = 8;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn embedding(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.below(2001) as f32 / 1000.0 - 1.0).collect()
    }

    /// Mostly an embedding, as BLOB or as JSON, sometimes nothing or what is none.
    fn value(&mut self) -> Value {
        match self.below(20) {
            0 => Value::Null,
            1 => Value::Text("[1, 2]".to_owned()),
            2..10 => Value::Text(Embedding::Float32(self.embedding()).to_json()),
            _ => Value::Blob(Embedding::Float32(self.embedding()).to_blob()),
        }
    }
}

struct Setting {
    key: &'static str,
    options: &'static str,
    rows: u64,
    steps: u64,
    is_exact: bool,
}

/// Compares a search with one of the whole table; returns how many of how many true neighbours were found.
fn check(conn: &Connection, random: &mut Random, setting: &Setting) -> (usize, usize) {
    let (query, count) = (random.embedding(), 1 + random.below(12) as usize);
    let id = random.below(setting.rows);
    // Nothing that is known before the search runs.
    let name = if setting.key.starts_with("INTEGER") { format!("{id} + 0") } else { format!("'Name ' || {id}") };
    let filter = match random.below(10) {
        0..3 => format!("WHERE name IN (SELECT name FROM docs WHERE part < {})", random.below(11)),
        3 => format!("WHERE name = {name}"),
        4 => format!("WHERE name <> {name}"),
        5 => format!("WHERE rowid >= {id} + 0 AND rowid < {id} + {}", random.below(60)),
        6 => format!("WHERE rowid = {id} + 0 AND name IN (SELECT name FROM docs WHERE part < 7)"),
        _ => String::new(),
    };
    let mut truth: Vec<(String, f64)> = Vec::new();
    let mut statement = conn.prepare(&format!("SELECT name, embedding FROM docs {filter}")).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        if let Ok(Embedding::Float32(found)) = Embedding::read(row.get_ref(1).unwrap(), Element::Float32)
            && found.len() == DIMENSIONS
        {
            let sum: f64 = found.iter().zip(&query).map(|(l, r)| f64::from(l - r).powi(2)).sum();
            let name: Value = row.get(0).unwrap();
            truth.push((format!("{name:?}"), sum.sqrt()));
        }
    }
    truth.sort_by(|left, right| left.1.total_cmp(&right.1));
    let filter = filter.replacen("WHERE", "AND", 1).replace("AND name", "AND key");
    let sql = format!("SELECT key, distance FROM near WHERE embedding MATCH ?1 AND k = ?2 {filter}");
    let blob = Embedding::Float32(query).to_blob();
    let answers: Vec<(Value, f64)> = conn
        .prepare(&sql)
        .unwrap()
        .query_map(params![blob, count as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let wanted = count.min(truth.len());
    assert_eq!(answers.len(), wanted, "{sql}");
    for (key, distance) in &answers {
        let key = format!("{key:?}");
        let (_, expected) =
            truth.iter().find(|(known, _)| *known == key).expect("a row that is there and fits the filter");
        assert!((distance - expected).abs() < 1e-5, "{key} is {expected} away, not {distance}");
    }
    assert!(answers.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    // Ties count as found.
    let found = answers.iter().filter(|(_, distance)| *distance <= truth[wanted - 1].1 + 1e-5).count();
    assert!(!setting.is_exact || found == wanted, "{answers:?} {truth:?}");
    (found, wanted)
}

fn write(conn: &Connection, random: &mut Random, setting: &Setting) {
    let rows = setting.rows;
    let mut number = |limit| random.below(limit) as i64;
    let (id, other, part) = (number(rows), number(rows), number(10));
    let value = random.value();
    let name = |id: i64| match setting.key.starts_with("INTEGER") {
        true => Value::Integer(id),
        false => Value::Text(format!("Name {id}")),
    };
    let result = match random.below(13) {
        0..3 => conn.execute("INSERT OR IGNORE INTO docs VALUES(?1, ?2, ?3, ?4)", params![name(id), part, id, value]),
        3..6 => conn.execute("UPDATE docs SET embedding = ?2 WHERE name = ?1", params![name(id), value]),
        6 => conn.execute("DELETE FROM docs WHERE name = lower(?1)", [name(id)]),
        7 => conn.execute("UPDATE OR REPLACE docs SET name = ?2 WHERE name = ?1", [name(id), name(other)]),
        // Displaces the row that has the other number, without a trigger's being told.
        8 => conn.execute("INSERT OR REPLACE INTO docs VALUES(?1, ?2, ?3, ?4)", params![name(id), part, other, value]),
        9 => conn.execute("UPDATE docs SET part = ?2 WHERE name = ?1", params![name(id), part]),
        // The same, and nothing is noted of the row that stays.
        11 => conn.execute("UPDATE OR REPLACE docs SET number = ?2 WHERE name = ?1", params![name(id), other]),
        10 => conn.execute("DELETE FROM docs WHERE number BETWEEN ?1 AND ?1 + 5", [id]),
        _ => conn.execute(
            "INSERT INTO docs VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET embedding = excluded.embedding",
            params![name(id), part, id, value],
        ),
    };
    if let Err(error) = result {
        let code = error.sqlite_error_code();
        assert!(matches!(code, Some(rusqlite::ErrorCode::DatabaseBusy)), "{error}");
    }
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

/// Opens what a crash would leave now.
fn check_after_crash(path: &Path, random: &mut Random, setting: &Setting) {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap().map(Result::unwrap) {
        // The index of the write-ahead log is made anew from it.
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    let conn = open(&folder.path().join(path.file_name().unwrap()));
    for _ in 0..5 {
        check(&conn, random, setting);
    }
}

fn run(seed: u64, setting: &Setting) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut random = Random(seed);
    let mut ours = [open(&path), open(&path)];
    let stranger = Connection::open(&path).unwrap();
    ours[0].query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    ours[0]
        .execute_batch(&format!(
            "CREATE TABLE docs(name {}, part INT, number INT UNIQUE, embedding BLOB);
             CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims={DIMENSIONS}, metric=l2, {});
             BEGIN;",
            setting.key, setting.options
        ))
        .unwrap();
    for _ in 0..setting.rows {
        write(&ours[0], &mut random, setting);
    }
    ours[0].execute_batch("COMMIT").unwrap();
    for conn in [&ours[0], &ours[1], &stranger] {
        conn.busy_timeout(std::time::Duration::ZERO).unwrap();
    }
    let (mut found, mut wanted) = (0, 0);
    for _ in 0..setting.steps {
        let which = random.below(2) as usize;
        let conn = &ours[which];
        let command = match random.below(41) {
            40 if random.below(4) == 0 => {
                check_after_crash(&path, &mut random, setting);
                continue;
            }
            0 => "BEGIN",
            1 => "SAVEPOINT s",
            2 => "ROLLBACK TO s",
            3 => "RELEASE s",
            4 => "ROLLBACK",
            5 | 6 => "COMMIT",
            7 => "INSERT INTO near(command) VALUES('rebuild')",
            8 if random.below(4) == 0 => "VACUUM",
            9 if random.below(4) == 0 => {
                ours[which] = open(&path);
                ours[which].busy_timeout(std::time::Duration::ZERO).unwrap();
                continue;
            }
            10..14 => {
                write(&stranger, &mut random, setting);
                continue;
            }
            14..26 => {
                write(conn, &mut random, setting);
                continue;
            }
            _ => {
                let counts = check(conn, &mut random, setting);
                (found, wanted) = (found + counts.0, wanted + counts.1);
                continue;
            }
        };
        // Out of place as often as not: then nothing happens.
        let _ = conn.execute_batch(command);
    }
    assert!(found as f64 >= 0.95 * wanted as f64, "{found} of {wanted}");
    for conn in &ours {
        let _ = conn.execute_batch("ROLLBACK");
    }
    // Every row with an embedding finds one that is as near as itself.
    let lost: i64 = ours[0]
        .query_row(
            "SELECT count(*) FROM docs d WHERE d.embedding IS NOT NULL AND d.embedding <> '[1, 2]'
               AND (SELECT n.distance FROM near n WHERE n.embedding MATCH d.embedding AND n.k = 1) > 1e-6",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(lost, 0);
}

#[test]
fn random_programs_with_a_text_key_agree_with_an_exact_search() {
    let setting = Setting {
        key: "TEXT COLLATE NOCASE PRIMARY KEY",
        options: "encoding=f32, engine=scan",
        rows: 60,
        steps: 1500,
        is_exact: true,
    };
    for seed in 0..8 {
        run(seed, &setting);
    }
}

#[test]
fn random_programs_over_a_graph_agree_with_an_exact_search() {
    let setting = Setting {
        key: "INTEGER PRIMARY KEY",
        options: "engine=hnsw, m=8, ef_construction=60",
        rows: 1500,
        steps: 600,
        is_exact: false,
    };
    for seed in 0..2 {
        run(seed, &setting);
    }
}

#[cfg(feature = "hnsw-rs")]
#[test]
fn random_programs_over_the_engine_hnsw_rs_agree_with_an_exact_search() {
    let options = "engine=hnsw_rs, m=8, ef_construction=60";
    run(0, &Setting { key: "INTEGER PRIMARY KEY", options, rows: 1500, steps: 200, is_exact: false });
}

#[cfg(not(feature = "hnsw-rs"))]
#[test]
fn engine_hnsw_rs_names_the_feature_that_it_needs() {
    let conn = Connection::open_in_memory().unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn.execute_batch("CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding)").unwrap();
    let made = "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=2, engine=hnsw_rs)";
    let refused = conn.execute_batch(made).unwrap_err().to_string();
    assert!(refused.contains("lacks the cargo feature hnsw-rs"), "{refused}");
}
