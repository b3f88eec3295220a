//! SQL logic: generated statements answer the same on plain SQLite, on a plain database of `kithdb-sqlite` and on a replica with every
//! table synced.
//!
//! Law: statement by statement, the columns' names, the rows in their order with value and type, the extended code and message of an
//! error, `changes()`, `total_changes()` and `last_insert_rowid()` are the same on all three; and so are the tables at the end. Rows that
//! RETURNING gives have no order, and are compared without.
//!
//! The same scripts, and those written by hand in `corpus/`, are run in the format of sqllogictest too. `KITH_LOGIC_FILL_IN=1` puts plain
//! SQLite's results into the corpus, after a script was changed.

mod expression;
mod query;
mod run;
mod schema;
mod slt;
mod write;

use std::path::Path;

use kithdb_tests::random::{Random, number_from_env};
use run::{Plain, Subject, Synced};
use slt::Engine;

/// The same scripts in every run; another number draws others.
const SEED: u64 = 20_261_126;
const SCRIPTS: u64 = 40;
const STATEMENTS: usize = 250;

#[test]
fn generated_statements_answer_the_same_on_all_three() {
    let seed = number_from_env("KITH_LOGIC_SEED").unwrap_or(SEED);
    let count = number_from_env("KITH_LOGIC_SCRIPTS").unwrap_or(SCRIPTS);
    let (mut compared, mut failed, mut rows) = (0_u32, 0_u32, 0_usize);
    for script in seed..seed + count {
        let mut random = Random::new(script);
        let folder = tempfile::tempdir().unwrap();
        let original = rusqlite::Connection::open(folder.path().join("original.db")).unwrap();
        let plain = Plain::open(&folder.path().join("plain.db"));
        let synced = Synced::open(&folder.path().join("synced.db"));
        for sql in schema::create() {
            original.execute_batch(sql).unwrap();
            plain.0.execute_batch(sql).unwrap();
            synced.0.execute_batch(sql).unwrap();
        }
        synced.sync_all();
        let mut history: Vec<String> = Vec::new();
        for index in 0..STATEMENTS {
            // First some rows, so that queries have something to find.
            let is_write = index < 12 || random.percent(35);
            let sql = if is_write { write::statement(&mut random) } else { query::select(&mut random) };
            history.push(sql.clone());
            let (expected, plain, synced) = (original.answer(&sql), plain.0.answer(&sql), synced.0.answer(&sql));
            for (name, found) in [("the plain database", &plain), ("the replica", &synced)] {
                assert_eq!(found, &expected, "{name}, script {script}, statement {index}:\n{}", history.join(";\n"));
            }
            compared += 1;
            failed += u32::from(expected.error.is_some());
            rows += expected.rows.len();
        }
        for table in schema::TABLES {
            let sql = format!("SELECT * FROM {} ORDER BY 1, 2, 3", table.name);
            let expected = original.answer(&sql);
            assert_eq!(plain.0.answer(&sql), expected);
            assert_eq!(synced.0.answer(&sql), expected);
        }
        let statements: Vec<String> = schema::create().map(str::to_owned).into_iter().chain(history).collect();
        let file = folder.path().join("script.slt");
        std::fs::write(&file, slt::script(&statements)).unwrap();
        slt::fill_in(&file);
        for engine in [Engine::Plain, Engine::Synced] {
            if let Err(detail) = slt::run(engine, &file) {
                panic!("script {script} as sqllogictest: {detail}");
            }
        }
    }
    println!(
        "{count} scripts from KITH_LOGIC_SEED={seed}: {compared} statements compared, {failed} failed alike, {rows} rows"
    );
    // A generator that writes nonsense would prove nothing.
    assert!(failed * 5 < compared, "{failed} of {compared} statements failed");
    assert!(rows > compared as usize, "only {rows} rows of {compared} statements");
}

#[test]
fn scripts_written_by_hand_answer_the_same_on_all_three() {
    let corpus = Path::new("logic/corpus");
    let mut scripts: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "{scripts:?}");
    for script in scripts {
        if number_from_env("KITH_LOGIC_FILL_IN").is_some() {
            slt::fill_in(&script);
        }
        for engine in [Engine::Original, Engine::Plain, Engine::Synced] {
            if let Err(detail) = slt::run(engine, &script) {
                panic!("{detail}");
            }
        }
    }
}
