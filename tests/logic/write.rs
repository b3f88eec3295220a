//! Random writes: upserts, updates from other tables, RETURNING, and transactions with savepoints.

use kithdb_tests::random::Random;

use crate::expression::{Sight, condition, number};
use crate::schema::{TABLES, Table};

const NAMES: &[&str] = &["'Ada'", "'ada'", "'Bob'", "'Cy '", "'Cy'", "'Dee'", "'Øyvind'"];
const CITIES: &[&str] = &["'Oslo'", "'oslo'", "'Rome'", "'Bonn'", "'Lima'", "NULL", "NULL", "NULL"];

/// Writes a statement that changes something.
pub fn statement(random: &mut Random) -> String {
    match random.below(20) {
        0..9 => insert(random),
        9..13 => update(random),
        13 => update_from(random),
        14..16 => delete(random),
        16 => insert_select(random),
        _ => random
            .pick(&["BEGIN", "COMMIT", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "RELEASE s"])
            .to_string(),
    }
}

/// Integers that are small, so that keys meet.
fn small(random: &mut Random) -> String {
    if random.percent(10) { "NULL".to_owned() } else { random.below(24).to_string() }
}

fn row(random: &mut Random, table: &Table) -> String {
    let real = format!("{}.{}", random.below(9), random.pick(&["0", "25", "5"]));
    match table.name {
        "people" => {
            let age = if random.percent(3) { "300".to_owned() } else { small(random) };
            format!("({}, {}, {}, {age}, {real})", small(random), random.pick(NAMES), random.pick(CITIES))
        }
        "items" => {
            let amount = *random.pick(&["1", "'1'", "2.0", "x'00ff'", "NULL", "'many'"]);
            format!("('i{}', {}, {}, {real}, {amount})", random.below(20), random.pick(NAMES), small(random))
        }
        _ => {
            let kind = if random.percent(3) { "NULL" } else { *random.pick(&["'seen'", "'met'", "'left'"]) };
            format!("({}, {kind}, '2026-01-{:02}', {}, {real})", small(random), random.between(1, 28), small(random))
        }
    }
}

const fn columns(table: &Table) -> &'static str {
    match table.name.as_bytes() {
        b"people" => "id, name, city, age, height",
        b"items" => "code, label, owner, price, amount",
        _ => "n, kind, at, person, weight",
    }
}

fn returning(random: &mut Random) -> &'static str {
    if random.percent(30) { " RETURNING *" } else { "" }
}

/// The column that is free to be changed.
const fn value_column(table: &Table) -> &'static str {
    match table.name.as_bytes() {
        b"people" => "height",
        b"items" => "price",
        _ => "weight",
    }
}

fn insert(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    let rows = (0..random.between(1, 4)).map(|_| row(random, table)).collect::<Vec<_>>().join(", ");
    let (verb, tail) = match random.below(6) {
        0 => ("INSERT OR IGNORE", String::new()),
        1 => ("REPLACE", String::new()),
        2 => ("INSERT", " ON CONFLICT DO NOTHING".to_owned()),
        3 | 4 => {
            let column = value_column(table);
            (
                "INSERT",
                format!(
                    " ON CONFLICT({}) DO UPDATE SET {column} = excluded.{column} + 1 WHERE {column} < 6",
                    table.key
                ),
            )
        }
        _ => ("INSERT", String::new()),
    };
    format!("{verb} INTO {}({}) VALUES {rows}{tail}{}", table.name, columns(table), returning(random))
}

fn insert_select(random: &mut Random) -> String {
    format!(
        "INSERT INTO events(kind, at, person, weight) SELECT 'made', date('2026-02-01'), id, height FROM people WHERE age > {} ORDER BY id ON CONFLICT DO NOTHING",
        random.below(20)
    )
}

fn sight(table: &Table) -> Sight {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Sight { numbers: names(table.numbers), texts: names(table.texts) }
}

fn update(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    let sight = sight(table);
    let column = value_column(table);
    if random.percent(30) {
        // Which of several rows would win a conflict is up to the plan; of one row there is no question.
        let conflict = *random.pick(&["", "OR IGNORE ", "OR REPLACE "]);
        let (key, other) = match table.name {
            "items" => (format!("'i{}'", random.below(20)), format!("'i{}'", random.below(20))),
            _ => (random.below(24).to_string(), random.below(24).to_string()),
        };
        return format!("UPDATE {conflict}{} SET {} = {other} WHERE {} = {key}", table.name, table.key, table.key);
    }
    let value = format!("CAST({} AS REAL)", number(random, &sight, 2));
    format!("UPDATE {} SET {column} = {value} WHERE {}{}", table.name, condition(random, &sight, 2), returning(random))
}

fn update_from(random: &mut Random) -> String {
    let bound = random.below(24);
    format!(
        "UPDATE events SET weight = p.height + weight FROM people AS p WHERE p.id = events.person AND p.id < {bound}{}",
        if random.percent(50) { " RETURNING n, weight" } else { "" }
    )
}

fn delete(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    let condition = condition(random, &sight(table), 1);
    // Few rows at a time, or soon there would be none.
    format!("DELETE FROM {} WHERE {condition} AND abs({}) % 3 = 1{}", table.name, table.numbers[0], returning(random))
}
