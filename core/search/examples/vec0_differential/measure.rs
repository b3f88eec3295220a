//! How long questions take on both, by processor time, at so many rows of 384 floats, and of them as integers and bits.

use std::path::Path;

use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::answers::is_near;
use crate::random::Random;
use crate::sides::Pair;

const DIMENSIONS: usize = 384;

/// Rows written by one statement.
const BATCH: usize = 500;

/// What is asked, and the condition that asks it; `n` runs from 0 to 99 evenly.
const QUESTIONS: &[(&str, &str)] = &[
    ("nearest of all", "k = 10"),
    ("k = 1000", "k = 1000"),
    ("k = 4096", "k = 4096"),
    ("partition of a half", "k = 10 AND p = 'half'"),
    ("partition of a tenth", "k = 10 AND p = 'tenth'"),
    ("integer =, 1 %", "k = 10 AND n = 7"),
    ("integer !=, 99 %", "k = 10 AND n != 7"),
    ("integer <, 50 %", "k = 10 AND n < 50"),
    ("integer <=, 90 %", "k = 10 AND n <= 89"),
    ("integer >, 10 %", "k = 10 AND n > 89"),
    ("integer >=, 50 %", "k = 10 AND n >= 50"),
    ("integer IN, 3 %", "k = 10 AND n IN (1, 2, 3)"),
    ("float BETWEEN, 40 %", "k = 10 AND f BETWEEN 5.0 AND 24.75"),
    ("boolean, 50 %", "k = 10 AND o = true"),
    ("text =, 10 %", "k = 10 AND t = 'text 3'"),
    ("text >, 60 %", "k = 10 AND t > 'text 3 and more'"),
    ("text IN, 20 %", "k = 10 AND t IN ('text 3', 'text 4')"),
    ("half and 50 %", "k = 10 AND p = 'half' AND n < 50"),
    ("rowid IN, 1 %", "k = 10 AND rowid IN (SELECT id FROM numbers WHERE id % 100 = 0)"),
    ("rowid IN, 50 %", "k = 10 AND rowid IN (SELECT id FROM numbers WHERE id % 2 = 0)"),
    ("int8", "k = 10 AND i MATCH vec_quantize_int8(?1, 'unit')"),
    ("int8, half", "k = 10 AND p = 'half' AND i MATCH vec_quantize_int8(?1, 'unit')"),
    ("bit", "k = 10 AND b MATCH vec_quantize_binary(?1)"),
    ("distance bound", "k = 10 AND distance < 15"),
];

/// Prints a line for each question, with the ratio of the medians.
pub fn run(extension: &Path, rows: usize, rounds: usize) -> Result<()> {
    let pair = Pair::open(extension)?;
    for conn in [&pair.theirs, &pair.ours] {
        conn.execute_batch(
            "CREATE VIRTUAL TABLE x USING vec0(e float[384], i int8[384], b bit[384], p text partition key, n integer, f float, t text, o boolean, +a text)",
        )?;
        fill(conn, rows)?;
        conn.execute_batch("CREATE TABLE numbers AS SELECT rowid AS id FROM x")?;
    }
    let mut random = Random(1);
    let queries: Vec<Vec<u8>> = (0..rounds).map(|_| embedding(&mut random)).collect();
    println!("{rows} rows of {DIMENSIONS} floats, {rounds} rounds: ms of CPU of sqlite-vec, of ours, ratio");
    for &(name, condition) in QUESTIONS {
        let is_named = condition.contains("MATCH");
        let searched = if is_named { "" } else { "e MATCH ?1 AND " };
        let sql = format!("SELECT rowid, distance FROM x WHERE {searched}{condition}");
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        // The index is made at the first question.
        asked(&pair.ours, &sql, &queries[0])?;
        for query in &queries {
            let (their_ms, expected) = asked(&pair.theirs, &sql, query)?;
            let (our_ms, got) = asked(&pair.ours, &sql, query)?;
            let is_equal =
                expected.len() == got.len() && expected.iter().zip(&got).all(|(left, right)| is_near(*left, *right));
            ensure!(is_equal, "{name}: other distances than sqlite-vec's");
            theirs.push(their_ms);
            ours.push(our_ms);
        }
        let (theirs, ours) = (median(theirs), median(ours));
        println!("{name}: {theirs:.2} {ours:.2} {:.2}", ours / theirs);
    }
    Ok(())
}

fn fill(conn: &rusqlite::Connection, rows: usize) -> Result<()> {
    let mut random = Random(0);
    let before = cpu_ms();
    let mut statement = conn.prepare("INSERT INTO x(e, i, b, p, n, f, t, o, a) VALUES(?1, vec_quantize_int8(?1, 'unit'), vec_quantize_binary(?1), ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for first in (0..rows).step_by(BATCH) {
        conn.execute_batch("BEGIN")?;
        for row in first..rows.min(first + BATCH) {
            let part = ["half", "tenth", "half", "third", "half", "third", "half", "third", "half", "third"][row % 10];
            let (number, text) = ((row / 10 % 100) as i64, format!("text {}", row / 7 % 10));
            let values: [&dyn rusqlite::ToSql; 7] = [
                &embedding(&mut random),
                &part,
                &number,
                &(number as f64 / 2.0),
                &text,
                &((row / 3 % 2) as i64),
                &format!("aux {row}"),
            ];
            statement.execute(values)?;
        }
        conn.execute_batch("COMMIT")?;
    }
    println!("filled in {:.0} ms of CPU", cpu_ms() - before);
    Ok(())
}

fn embedding(random: &mut Random) -> Vec<u8> {
    (0..DIMENSIONS).flat_map(|_| (random.below(2001) as f32 / 1000.0 - 1.0).to_le_bytes()).collect()
}

/// Returns the milliseconds of processor time of a question, and the distances.
fn asked(conn: &rusqlite::Connection, sql: &str, query: &[u8]) -> Result<(f64, Vec<f64>)> {
    let before = cpu_ms();
    let mut statement = conn.prepare_cached(sql)?;
    let distances = statement.query_map([query], |row| row.get(1))?.collect::<Result<Vec<f64>, _>>()?;
    Ok((cpu_ms() - before, distances))
}

fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
