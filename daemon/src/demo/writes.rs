//! What both sides write while they are apart, derived from the tables and rows that are there.
//!
//! Invariants:
//! 1. Every write goes through capture on the side's own file; what the database refuses is counted, not hidden.

use std::collections::BTreeMap;

use anyhow::Result;
use kithdb_core::replica::Replica;
use kithdb_core::storage::quote;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::child::Side;
use super::tables::{Column, Table, literal, sample};

/// Rows of a table that each kind of write gets.
const ROWS_PER_KIND: usize = 3;
/// The most tables that are written to.
const TABLES_MAX: usize = 12;

/// What is done to a row by the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Each side changes another cell.
    DifferentCells,
    /// Both change one cell; this side is the last.
    SameCell(Side),
    /// One side deletes.
    Delete(Side),
    /// This side deletes, the other changes a cell.
    DeleteAgainstUpdate(Side),
    /// One side inserts.
    Insert(Side),
    /// Both insert a row of the same key; this side is the last.
    SameInsert(Side),
}

const ROW_KINDS: [Kind; 7] = [
    Kind::SameCell(Side::Laptop),
    Kind::SameCell(Side::Phone),
    Kind::DifferentCells,
    Kind::Delete(Side::Laptop),
    Kind::Delete(Side::Phone),
    Kind::DeleteAgainstUpdate(Side::Laptop),
    Kind::DeleteAgainstUpdate(Side::Phone),
];

/// One statement.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who runs it.
    pub side: Side,
    /// Index of the row in [`Plan::rows`].
    pub row: usize,
    /// The column that an update changes, and the value.
    pub update: Option<(usize, Value)>,
    sql: String,
    values: Vec<Value>,
    /// The other wordings of an insert, in case the database refuses the first.
    others: Vec<Vec<Value>>,
    /// The laptop writes before and after the phone.
    is_late: bool,
    /// Whether it changed a row.
    pub is_done: bool,
}

/// A row that is written to.
#[derive(Debug, Clone)]
pub struct RowPlan {
    /// Index of its table.
    pub table: usize,
    /// What is done to it.
    pub kind: Kind,
    /// Its key.
    pub key: Vec<Value>,
}

/// All writes.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rows that are written to.
    pub rows: Vec<RowPlan>,
    /// The writes, in the order of planning.
    pub writes: Vec<Write>,
    /// Statements that the database refused, with its reason and how many times.
    pub refused: BTreeMap<String, u64>,
}

impl Plan {
    /// Plans writes to the tables with the given content.
    pub fn new(conn: &Connection, tables: &[Table]) -> Result<Self> {
        let mut plan = Self::default();
        for (index, table) in tables.iter().enumerate().take(TABLES_MAX) {
            // Twice as many as are written to: a new row takes its values from those that stay.
            let rows = sample(conn, table, 2 * ROWS_PER_KIND * ROW_KINDS.len())?;
            plan.add_table(index, table, &rows, &greatest_keys(conn, table)?);
        }
        Ok(plan)
    }

    fn add_table(&mut self, index: usize, table: &Table, rows: &[Vec<Value>], greatest: &[Option<i64>]) {
        let mut cells = table.cells();
        // Long texts show best what happened to them.
        let text_bytes = |column: usize| -> usize {
            let texts = rows.iter().map(|row| if let Value::Text(text) = &row[column] { text.len() } else { 0 });
            texts.sum()
        };
        cells.sort_by_key(|&column| {
            let info = &table.columns[column];
            (info.is_unique || info.is_reference, std::cmp::Reverse(text_bytes(column)))
        });
        let fitting: Vec<Kind> = ROW_KINDS
            .into_iter()
            .filter(|kind| match kind {
                Kind::DifferentCells => cells.len() > 1,
                Kind::SameCell(_) | Kind::DeleteAgainstUpdate(_) => !cells.is_empty(),
                _ => true,
            })
            .collect();
        let key_of = |row: &[Value]| table.key().iter().map(|&column| row[column].clone()).collect::<Vec<_>>();
        let (written, kept) = rows.split_at(rows.len() / 2);
        for (row, &kind) in written.iter().zip(fitting.iter().cycle()).take(fitting.len() * ROWS_PER_KIND) {
            let place = self.rows.len();
            self.rows.push(RowPlan { table: index, kind, key: key_of(row) });
            match kind {
                Kind::DifferentCells => {
                    self.update(Side::Laptop, place, table, row, cells[0], false);
                    self.update(Side::Phone, place, table, row, cells[1], false);
                }
                Kind::SameCell(last) => {
                    self.update(Side::Laptop, place, table, row, cells[0], last == Side::Laptop);
                    self.update(Side::Phone, place, table, row, cells[0], false);
                }
                Kind::Delete(side) => self.delete(side, place, table),
                Kind::DeleteAgainstUpdate(side) => {
                    self.delete(side, place, table);
                    self.update(side.other(), place, table, row, cells[0], false);
                }
                Kind::Insert(_) | Kind::SameInsert(_) => {}
            }
        }
        for number in 0..ROWS_PER_KIND.min(kept.len()) {
            for side in [Side::Laptop, Side::Phone] {
                self.insert(&[side], Kind::Insert(side), (index, table, greatest), kept, number);
            }
        }
        // Two rows that get one number apart from each other are two rows, and the later is kept out: see README.
        if !kept.is_empty() && !table.is_auto() {
            for last in [Side::Laptop, Side::Phone] {
                self.insert(&[Side::Laptop, Side::Phone], Kind::SameInsert(last), (index, table, greatest), kept, 0);
            }
        }
    }

    fn update(&mut self, side: Side, row: usize, table: &Table, old: &[Value], column: usize, is_late: bool) {
        let value = changed(&old[column], &table.columns[column].declared, side);
        let name = quote(&table.columns[column].name);
        let sql = format!("UPDATE main.{} SET {name} = ?1 WHERE {}", quote(&table.name), by_key(table, 2));
        let values = std::iter::once(value.clone()).chain(self.rows[row].key.iter().cloned()).collect();
        let update = Some((column, value));
        self.writes.push(Write { side, row, update, sql, values, others: Vec::new(), is_late, is_done: false });
    }

    fn delete(&mut self, side: Side, row: usize, table: &Table) {
        let sql = format!("DELETE FROM main.{} WHERE {}", quote(&table.name), by_key(table, 1));
        let values = self.rows[row].key.clone();
        self.writes.push(Write {
            side,
            row,
            update: None,
            sql,
            values,
            others: Vec::new(),
            is_late: false,
            is_done: false,
        });
    }

    /// Plans inserts of one new row: a row that is there, under another key.
    fn insert(
        &mut self,
        sides: &[Side],
        kind: Kind,
        (index, table, greatest): (usize, &Table, &[Option<i64>]),
        rows: &[Vec<Value>],
        number: usize,
    ) {
        let key = table.key();
        let mark = match kind {
            Kind::Insert(side) => format!("-{}-{number}", side.name()),
            Kind::SameInsert(last) => format!("-both-{}", last.name()),
            _ => return,
        };
        let numbers = match kind {
            Kind::Insert(Side::Laptop) => 1 + 2 * number as i64,
            Kind::Insert(Side::Phone) => 2 + 2 * number as i64,
            _ => 1_000 + i64::from(kind == Kind::SameInsert(Side::Phone)),
        };
        let base = &rows[number];
        // First a new value in one column of the key; if that breaks a reference, the value of another row.
        let mut keys: Vec<Vec<Value>> = Vec::new();
        for &column in key.iter().rev() {
            let mut row = base.clone();
            row[column] = match &base[column] {
                Value::Integer(old) => Value::Integer(greatest[column].unwrap_or(*old).saturating_add(numbers)),
                Value::Real(old) => Value::Real(old + numbers as f64),
                Value::Text(old) => Value::Text(format!("{old}{mark}")),
                Value::Blob(old) => Value::Blob([old.as_slice(), mark.as_bytes()].concat()),
                Value::Null => continue,
            };
            keys.push(row);
        }
        if key.len() > 1 {
            for other in
                rows.iter().rev().take(ROWS_PER_KIND * 2).skip(numbers.unsigned_abs() as usize % (ROWS_PER_KIND * 2))
            {
                let mut row = base.clone();
                row[key[key.len() - 1]] = other[key[key.len() - 1]].clone();
                keys.push(row);
            }
        }
        if keys.is_empty() {
            return;
        }
        let place = self.rows.len();
        let columns: Vec<_> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let marks: Vec<_> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        let sql =
            format!("INSERT INTO main.{}({}) VALUES({})", quote(&table.name), columns.join(", "), marks.join(", "));
        self.rows.push(RowPlan { table: index, kind, key: Vec::new() });
        for &side in sides {
            let mut rows = keys.clone();
            for row in &mut rows {
                for (column, info) in table.columns.iter().enumerate() {
                    // Something of one's own, and no second row with a value that is to be unique.
                    let is_free = info.key_place == 0 && !info.is_reference;
                    if is_free && (info.is_unique || matches!(row[column], Value::Text(_))) {
                        row[column] = changed(&row[column], &info.declared, side);
                    }
                }
            }
            let values = rows.remove(0);
            let is_late = kind == Kind::SameInsert(Side::Laptop) && side == Side::Laptop;
            self.writes.push(Write {
                side,
                row: place,
                update: None,
                sql: sql.clone(),
                values,
                others: rows,
                is_late,
                is_done: false,
            });
        }
    }

    /// Runs the writes of one side; of the laptop's, those before or those after the phone's.
    pub fn run(&mut self, replica: &mut Replica, side: Side, is_late: bool, tables: &[Table]) -> u64 {
        let mut done = 0;
        for write in self.writes.iter_mut().filter(|write| write.side == side && write.is_late == is_late) {
            let mut refusal = None;
            for values in std::iter::once(&write.values).chain(&write.others) {
                // Both sides must give a common row the same key, so only the first wording counts for the second side.
                let row = &mut self.rows[write.row];
                let table = &tables[row.table];
                let is_insert = matches!(row.kind, Kind::Insert(_) | Kind::SameInsert(_));
                let key: Vec<Value> = table.key().iter().filter_map(|&column| values.get(column).cloned()).collect();
                if is_insert && !row.key.is_empty() && row.key != key {
                    continue;
                }
                match replica.execute(&write.sql, rusqlite::params_from_iter(values)) {
                    Ok(count) => {
                        write.is_done = count > 0;
                        done += u64::from(write.is_done);
                        if is_insert {
                            row.key = key;
                        }
                        refusal = None;
                        break;
                    }
                    Err(error) => {
                        let word = write.sql.split(' ').next().unwrap_or_default();
                        let place = format!("{} on the {}", table.name, side.name());
                        refusal = Some(format!("{word} in {place} refused by the database itself: {error}"));
                    }
                }
            }
            if let Some(refusal) = refusal {
                *self.refused.entry(refusal).or_default() += 1;
            }
        }
        done
    }

    /// Returns the writes to a row, if both sides did theirs.
    pub fn both(&self, row: usize) -> Option<(&Write, &Write)> {
        let of = |side| self.writes.iter().find(|write| write.row == row && write.side == side && write.is_done);
        Some((of(Side::Laptop)?, of(Side::Phone)?))
    }
}

impl Write {
    /// Returns the value that the write gives a column of its table.
    pub fn value_of(&self, column: usize) -> Option<&Value> {
        match &self.update {
            Some((updated, value)) => (*updated == column).then_some(value),
            None => self.values.get(column),
        }
    }
}

fn by_key(table: &Table, first: usize) -> String {
    let key = table.key();
    let parts =
        key.iter().zip(first..).map(|(&column, number)| format!("{} = ?{number}", quote(&table.columns[column].name)));
    parts.collect::<Vec<_>>().join(" AND ")
}

/// The greatest integer in each column of the key; none in the others.
fn greatest_keys(conn: &Connection, table: &Table) -> Result<Vec<Option<i64>>> {
    let greatest = |column: &Column| -> Result<Option<i64>> {
        if column.key_place == 0 {
            return Ok(None);
        }
        let name = quote(&column.name);
        let sql = format!("SELECT max({name}) FROM main.{} WHERE typeof({name}) = 'integer'", quote(&table.name));
        Ok(conn.query_row(&sql, [], |row| row.get(0))?)
    };
    table.columns.iter().map(greatest).collect()
}

/// Another value of the same type that tells who wrote it.
fn changed(old: &Value, declared: &str, side: Side) -> Value {
    let number = if side == Side::Laptop { 1 } else { 2 };
    match old {
        Value::Integer(old) => Value::Integer(old.wrapping_add(number)),
        Value::Real(old) => Value::Real(old + number as f64),
        Value::Text(old) => Value::Text(format!("{old} [{}]", side.name())),
        Value::Blob(old) => Value::Blob([old.as_slice(), side.name().as_bytes()].concat()),
        Value::Null if declared.contains("INT") || declared.contains("REAL") || declared.contains("NUM") => {
            Value::Integer(number)
        }
        Value::Null if declared == "BLOB" => Value::Blob(side.name().as_bytes().to_vec()),
        Value::Null => Value::Text(side.name().to_owned()),
    }
}

/// Names a row for people, as SQL values; a whole number in a REAL column reads as in the log, without a point.
pub fn shown_key(key: &[Value]) -> String {
    let shown = |value: &Value| match value {
        Value::Real(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
        value => literal(value),
    };
    key.iter().map(shown).collect::<Vec<_>>().join(", ")
}
