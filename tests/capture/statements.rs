//! Random statements that write or read one table.

use kithdb_tests::random::Random;

use crate::tables::{Column, Kind, Table, conflict, literal};

/// Writes a statement that changes a table.
pub fn statement(random: &mut Random, table: &Table, all: &[Table]) -> String {
    match random.below(100) {
        0..=39 => {
            let clause = or_clause(random, 40);
            let mut sql = insert(random, table, &clause);
            if clause.is_empty() && random.percent(25) {
                sql.push_str(&upsert(random, table));
            }
            sql
        }
        40..=47 => insert_select(random, table, all),
        48..=77 => update(random, table, all),
        78..=81 => format!("DELETE FROM {}", table.name),
        82..=97 => format!("DELETE FROM {} WHERE {}", table.name, condition(random, table, all)),
        _ => insert(random, table, "OR REPLACE").replacen("INSERT OR REPLACE", "REPLACE", 1),
    }
}

fn or_clause(random: &mut Random, chance: usize) -> String {
    if random.percent(chance) { format!("OR {}", conflict(random)) } else { String::new() }
}

/// Writes an INSERT of one or several rows.
pub fn insert(random: &mut Random, table: &Table, clause: &str) -> String {
    let stored = table.stored();
    let all = random.percent(60);
    let columns: Vec<&Column> = if all {
        stored
    } else {
        let keep = random.bits();
        let kept = stored.iter().enumerate().filter(|(index, _)| keep >> index & 1 == 1).map(|(_, column)| *column);
        let kept: Vec<_> = kept.collect();
        if kept.is_empty() { stored } else { kept }
    };
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let list = if all && random.percent(50) { String::new() } else { format!("({})", names.join(", ")) };
    let rows: Vec<_> = (0..rows(random))
        .map(|_| {
            let values: Vec<_> = columns.iter().map(|column| value(random, column)).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    format!("INSERT {clause} INTO {}{list} VALUES{}", table.name, rows.join(", "))
}

fn rows(random: &mut Random) -> usize {
    match random.below(10) {
        0..=5 => 1,
        6..=8 => random.between(2, 5),
        _ => random.between(6, 40),
    }
}

fn value(random: &mut Random, column: &Column) -> String {
    match random.below(100) {
        0..=3 => "NULL".to_owned(),
        4..=9 => literal(random, Kind::Any),
        _ => literal(random, column.kind),
    }
}

fn upsert(random: &mut Random, table: &Table) -> String {
    let key: Vec<_> = table.key_columns().iter().map(|column| column.name.clone()).collect();
    let target = if random.percent(70) { format!("({})", key.join(", ")) } else { String::new() };
    let cells = table.cells();
    if random.percent(35) || cells.is_empty() {
        return format!(" ON CONFLICT{target} DO NOTHING");
    }
    let cell = *random.pick(&cells);
    let new = match random.below(3) {
        0 => format!("excluded.{}", cell.name),
        1 => literal(random, cell.kind),
        _ => expression(random, cell),
    };
    let filter =
        if random.percent(30) { format!(" WHERE {} IS NOT excluded.{}", cell.name, cell.name) } else { String::new() };
    format!(" ON CONFLICT{target} DO UPDATE SET {} = {new}{filter}", cell.name)
}

fn insert_select(random: &mut Random, table: &Table, all: &[Table]) -> String {
    let clause = or_clause(random, 50);
    let source = random.pick(all);
    if source.stored().len() == table.stored().len() && !has_generated(source) && random.percent(40) {
        return format!("INSERT {clause} INTO {} SELECT * FROM {}", table.name, source.name);
    }
    let stored = table.stored();
    let names: Vec<_> = stored.iter().map(|column| column.name.as_str()).collect();
    let values: Vec<_> = stored
        .iter()
        .map(|column| match source.columns.iter().find(|other| other.kind == column.kind) {
            Some(other) if random.percent(60) => expression(random, other),
            _ => literal(random, column.kind),
        })
        .collect();
    let limit = random.between(1, 6);
    // UPSERT would need WHERE to be told from a join.
    format!(
        "INSERT {clause} INTO {}({}) SELECT {} FROM {} WHERE true LIMIT {limit}",
        table.name,
        names.join(", "),
        values.join(", "),
        source.name
    )
}

fn has_generated(table: &Table) -> bool {
    table.columns.iter().any(|column| column.generated)
}

fn update(random: &mut Random, table: &Table, all: &[Table]) -> String {
    let clause = or_clause(random, 35);
    let stored = table.stored();
    let change_key = random.percent(25);
    let candidates: Vec<&Column> = if change_key { stored } else { table.cells() };
    let candidates = if candidates.is_empty() { table.stored() } else { candidates };
    let count = random.between(1, candidates.len().min(3));
    let mut sets = Vec::new();
    for _ in 0..count {
        let column = *random.pick(&candidates);
        sets.push(format!("{} = {}", column.name, new_value(random, column)));
    }
    if random.percent(12) {
        let source = random.pick(all);
        if source.name != table.name {
            let (left, right) = (random.pick(&candidates), source.column(random));
            let key = &table.key_columns()[0].name;
            let other = &source.key_columns()[0].name;
            return format!(
                "UPDATE {clause} {0} SET {1} = source.{2} FROM {3} AS source WHERE {0}.{key} = source.{other}",
                table.name, left.name, right.name, source.name
            );
        }
    }
    let filter = if random.percent(20) { String::new() } else { format!(" WHERE {}", condition(random, table, all)) };
    format!("UPDATE {clause} {} SET {}{filter}", table.name, sets.join(", "))
}

fn new_value(random: &mut Random, column: &Column) -> String {
    match random.below(10) {
        0 => column.name.clone(),
        1..=3 => expression(random, column),
        4 => value(random, column),
        _ => literal(random, column.kind),
    }
}

/// Writes an expression over a column; some fail for some rows only.
fn expression(random: &mut Random, column: &Column) -> String {
    let name = &column.name;
    let choices: &[&str] = match column.kind {
        Kind::Integer => &["#", "# + 1", "-#", "# * 10", "abs(#)", "CAST(# AS TEXT)", "9 - #", "# + 0.5"],
        Kind::Real => &["#", "# / 2", "-#", "# + 1", "round(#)", "CAST(# AS INTEGER)"],
        Kind::Text => &["#", "# || 'x'", "upper(#)", "lower(#)", "trim(#)", "CAST(# AS BLOB)", "length(#)"],
        Kind::Blob => &["#", "hex(#)", "zeroblob(length(#))", "CAST(# AS TEXT)"],
        Kind::Any => &["#", "-#", "typeof(#)", "abs(#)", "# || ''"],
    };
    random.pick(choices).replace('#', name)
}

fn condition(random: &mut Random, table: &Table, all: &[Table]) -> String {
    let key = random.pick(&table.key_columns()).name.clone();
    let kind = table.key_columns()[0].kind;
    let column = table.column(random).clone();
    match random.below(12) {
        0..=3 => format!("{key} = {}", literal(random, kind)),
        4 => format!("{key} IN ({}, {}, {})", literal(random, kind), literal(random, kind), literal(random, kind)),
        5 | 6 => {
            let operator = *random.pick(&[">", "<", ">=", "IS", "IS NOT", "="]);
            format!("{} {operator} {}", column.name, literal(random, column.kind))
        }
        7 => format!("{} IS NULL", column.name),
        8 if table.has_rowid => format!("_rowid_ % {} = 0", random.between(2, 3)),
        9 => {
            let other = random.pick(all);
            format!("{key} IN (SELECT {} FROM {})", other.key_columns()[0].name, other.name)
        }
        10 => format!("(SELECT count(*) FROM {}) > {}", random.pick(all).name, random.below(3)),
        _ => format!("length({}) % 2 = {}", column.name, random.below(2)),
    }
}

/// Writes a query.
pub fn query(random: &mut Random, table: &Table) -> String {
    match random.below(4) {
        0 => format!("SELECT * FROM {}", table.name),
        1 => format!("SELECT count(*), changes(), total_changes() FROM {}", table.name),
        2 => format!("SELECT {0}, typeof({0}) FROM {1} ORDER BY 1", table.column(random).name, table.name),
        _ => "SELECT changes(), total_changes(), last_insert_rowid()".to_owned(),
    }
}
