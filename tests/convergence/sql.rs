//! Random SQL over a few keys, so that peers meet on the same rows.

use crate::rng::Rng;
use crate::shapes::{Column, Fill, Shape};

const CONFLICTS: [&str; 5] = ["OR ABORT ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ROLLBACK "];

/// Writes one statement on a table.
pub fn statement(rng: &mut Rng, shape: &Shape) -> String {
    match rng.weighted(&[34, 26, 14, 6, 14, 3, 3]) {
        0 => insert(rng, shape),
        1 => update(rng, shape),
        2 => change_key(rng, shape),
        3 => swap_keys(rng, shape),
        4 => format!("DELETE FROM {} WHERE {}", shape.name, condition(rng, shape)),
        5 => format!("DELETE FROM {0} WHERE {1}; {2}", shape.name, condition(rng, shape), insert(rng, shape)),
        _ => format!("UPDATE {0} SET {1} = {1}", shape.name, rng.pick(shape.columns).name),
    }
}

/// Writes a row with a literal in every column.
pub fn insert(rng: &mut Rng, shape: &Shape) -> String {
    let conflict = if rng.chance(40) { *rng.pick(&CONFLICTS) } else { "" };
    let columns: Vec<&Column> = shape
        .columns
        .iter()
        .filter(|column| column.key.is_some() && column.fill != Fill::AutoKey || !rng.chance(12) || is_needed(column))
        .collect();
    let rows: Vec<String> = (0..if rng.chance(15) { 3 } else { 1 })
        .map(|_| {
            let values: Vec<String> = columns.iter().map(|column| column.fill.literal(rng)).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    if names.is_empty() {
        return format!("INSERT {conflict}INTO {} DEFAULT VALUES", shape.name);
    }
    let upsert = if rng.chance(20) { upsert(rng, shape) } else { String::new() };
    format!("INSERT {conflict}INTO {}({}) VALUES{}{upsert}", shape.name, names.join(", "), rows.join(", "))
}

fn is_needed(column: &Column) -> bool {
    matches!(column.fill, Fill::TextNotNull | Fill::SmallIntNotNull)
}

fn upsert(rng: &mut Rng, shape: &Shape) -> String {
    if rng.chance(30) {
        return " ON CONFLICT DO NOTHING".to_owned();
    }
    let cells: Vec<&Column> = shape.columns.iter().filter(|column| column.key.is_none()).collect();
    let column = rng.pick(&cells).name;
    format!(" ON CONFLICT DO UPDATE SET {column} = excluded.{column}")
}

fn update(rng: &mut Rng, shape: &Shape) -> String {
    let conflict = if rng.chance(30) { *rng.pick(&CONFLICTS) } else { "" };
    let cells: Vec<&Column> = shape.columns.iter().filter(|column| column.is_cell).collect();
    let count = 1 + rng.below(2.min(cells.len()));
    let first = rng.below(cells.len());
    let sets: Vec<String> = (0..count)
        .map(|index| {
            let column = cells[(first + index) % cells.len()];
            format!("{} = {}", column.name, column.fill.literal(rng))
        })
        .collect();
    let place = if rng.chance(12) { String::new() } else { format!(" WHERE {}", condition(rng, shape)) };
    format!("UPDATE {conflict}{} SET {}{place}", shape.name, sets.join(", "))
}

fn keys(shape: &Shape) -> Vec<&Column> {
    shape.columns.iter().filter(|column| column.key.is_some()).collect()
}

/// A literal that is a key rather than NULL.
fn key_literal(rng: &mut Rng, column: &Column) -> String {
    loop {
        let literal = column.fill.literal(rng);
        if literal != "NULL" {
            return literal;
        }
    }
}

fn change_key(rng: &mut Rng, shape: &Shape) -> String {
    let conflict = if rng.chance(40) { *rng.pick(&CONFLICTS) } else { "" };
    let column = *rng.pick(&keys(shape));
    let mut sets = format!("{} = {}", column.name, key_literal(rng, column));
    if rng.chance(30) {
        let cells: Vec<&Column> = shape.columns.iter().filter(|column| column.key.is_none()).collect();
        let column = *rng.pick(&cells);
        sets = format!("{sets}, {} = {}", column.name, column.fill.literal(rng));
    }
    format!("UPDATE {conflict}{} SET {sets} WHERE {}", shape.name, condition(rng, shape))
}

fn swap_keys(rng: &mut Rng, shape: &Shape) -> String {
    let column = *rng.pick(&keys(shape));
    let (name, table) = (column.name, shape.name);
    let (left, right) = (key_literal(rng, column), key_literal(rng, column));
    if matches!(column.fill, Fill::IntKey | Fill::AutoKey) && rng.chance(40) {
        let sign = rng.pick(&["-", "10 +", "-10 +"]);
        return format!("UPDATE {table} SET {name} = {sign} {name}");
    }
    let between = if matches!(column.fill, Fill::IntKey | Fill::AutoKey) { "99" } else { "'zz'" };
    format!(
        "UPDATE OR IGNORE {table} SET {name} = {between} WHERE {name} = {left};
         UPDATE OR IGNORE {table} SET {name} = {left} WHERE {name} = {right};
         UPDATE OR IGNORE {table} SET {name} = {right} WHERE {name} = {between}"
    )
}

fn condition(rng: &mut Rng, shape: &Shape) -> String {
    if rng.chance(80) {
        let keys = keys(shape);
        let parts: Vec<String> =
            keys.iter().map(|column| format!("{} = {}", column.name, key_literal(rng, column))).collect();
        return if rng.chance(75) { parts.join(" AND ") } else { rng.pick(&parts).clone() };
    }
    let column = *rng.pick(&shape.columns.iter().collect::<Vec<_>>());
    format!("{} {} {}", column.name, rng.pick(&["=", "IS", ">", "<"]), column.fill.literal(rng))
}

/// Writes a program: statements alone, in transactions, with savepoints kept and undone.
pub fn program(rng: &mut Rng, shapes: &[&Shape]) -> Vec<String> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let write = |rng: &mut Rng, out: &mut Vec<String>| {
            let shape = *rng.pick(shapes);
            out.push(statement(rng, shape));
        };
        if rng.chance(55) {
            write(rng, &mut out);
            continue;
        }
        out.push((*rng.pick(&["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT outer"])).to_owned());
        let is_savepoint = out.last().is_some_and(|sql| sql.starts_with("SAVEPOINT"));
        for _ in 0..1 + rng.below(4) {
            write(rng, &mut out);
            if rng.chance(20) {
                out.push("SAVEPOINT inner".to_owned());
                write(rng, &mut out);
                if rng.chance(50) {
                    out.push("ROLLBACK TO inner".to_owned());
                }
                if rng.chance(30) {
                    write(rng, &mut out);
                }
                out.push("RELEASE inner".to_owned());
            }
        }
        out.push(match (is_savepoint, rng.chance(85)) {
            (true, true) => "RELEASE outer".to_owned(),
            (false, true) => "COMMIT".to_owned(),
            (_, false) => "ROLLBACK".to_owned(),
        });
    }
    out
}
