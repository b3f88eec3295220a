//! Who won where both sides wrote: read from the merged tables and, for the stamps, from the log.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use kithdb_core::replica::{OpenOptions, Replica};
use kithdb_core::storage::quote;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::child::Side;
use super::tables::{Table, literal, open_plain};
use super::writes::{Kind, Plan, shown_key};
use crate::render::visible;

/// The longest value that is shown in full.
const SHOWN_CHARS_MAX: usize = 60;

/// A cell that both sides wrote.
#[derive(Debug)]
pub struct Contest {
    /// The table.
    pub table: String,
    /// The row's key, as SQL values.
    pub key: String,
    /// The column.
    pub column: String,
    /// Whose value is in the table; `None` if neither is.
    pub winner: Option<Side>,
    /// The value in the table.
    pub value: String,
    /// When each side wrote, as its stamp in the log says; `None` if the log's key is written another way.
    pub written_at: Option<(String, String)>,
    /// Whether the winner's stamp is the later one.
    pub is_later: Option<bool>,
}

/// What became of rows that both sides touched.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Cells that both wrote.
    pub contests: Vec<Contest>,
    /// Rows that one side deleted and the other changed: how many are gone, of how many.
    pub deletes_against_updates: (usize, usize),
    /// Rows in which each side changed another cell: in how many both changes are there, of how many.
    pub different_cells: (usize, usize),
}

/// A stamp of the log: the clock, and the time for people.
type Stamps = HashMap<(String, String, String, String), (i64, String)>;

/// Reads what became of the planned writes in a merged file.
pub fn read(path: &Path, plan: &Plan, tables: &[Table], after_entry: i64) -> Result<Verdicts> {
    let stamps = stamps(path, after_entry)?;
    let conn = open_plain(path)?;
    let mut verdicts = Verdicts::default();
    for (index, row) in plan.rows.iter().enumerate() {
        let Some((laptop, phone)) = plan.both(index) else { continue };
        let table = &tables[row.table];
        match row.kind {
            Kind::SameCell(_) | Kind::SameInsert(_) => {
                for column in table.cells() {
                    let (Some(ours), Some(theirs)) = (laptop.value_of(column), phone.value_of(column)) else {
                        continue;
                    };
                    // One value from both sides has no winner.
                    if ours != theirs {
                        let values = [(Side::Laptop, ours), (Side::Phone, theirs)];
                        verdicts.contests.extend(contest(&conn, table, &row.key, column, values, &stamps)?);
                    }
                }
            }
            Kind::DeleteAgainstUpdate(_) => {
                verdicts.deletes_against_updates.1 += 1;
                verdicts.deletes_against_updates.0 +=
                    usize::from(cell(&conn, table, &row.key, table.key()[0])?.is_none());
            }
            Kind::DifferentCells => {
                verdicts.different_cells.1 += 1;
                let mut kept = true;
                for (column, value) in [laptop, phone].into_iter().filter_map(|write| write.update.as_ref()) {
                    kept &= cell(&conn, table, &row.key, *column)?.as_ref() == Some(value);
                }
                verdicts.different_cells.0 += usize::from(kept);
            }
            Kind::Delete(_) | Kind::Insert(_) => {}
        }
    }
    Ok(verdicts)
}

fn contest(
    conn: &Connection,
    table: &Table,
    key: &[Value],
    column: usize,
    values: [(Side, &Value); 2],
    stamps: &Stamps,
) -> Result<Option<Contest>> {
    // The row may be gone, by a CASCADE of another delete.
    let Some(value) = cell(conn, table, key, column)? else { return Ok(None) };
    let winner = values.iter().find(|(_, written)| **written == value).map(|(side, _)| *side);
    let shown = shown_key(key);
    let name = &table.columns[column].name;
    let stamp = |side: Side| stamps.get(&(table.name.clone(), shown.clone(), name.clone(), side.name().to_owned()));
    let (mut written_at, mut is_later) = (None, None);
    if let (Some(winner), Some((laptop_clock, laptop_at)), Some((phone_clock, phone_at))) =
        (winner, stamp(Side::Laptop), stamp(Side::Phone))
    {
        written_at = Some((laptop_at.clone(), phone_at.clone()));
        // Equal clocks are told apart by the device's id.
        is_later = (laptop_clock != phone_clock).then_some((laptop_clock > phone_clock) == (winner == Side::Laptop));
    }
    Ok(Some(Contest {
        table: table.name.clone(),
        key: shown,
        column: name.clone(),
        winner,
        value: literal(&value),
        written_at,
        is_later,
    }))
}

fn cell(conn: &Connection, table: &Table, key: &[Value], column: usize) -> Result<Option<Value>> {
    let parts: Vec<_> = table
        .key()
        .iter()
        .zip(1..)
        .map(|(&column, number)| format!("{} = ?{number}", quote(&table.columns[column].name)))
        .collect();
    let name = quote(&table.columns[column].name);
    let sql = format!("SELECT {name} FROM main.{} WHERE {}", quote(&table.name), parts.join(" AND "));
    Ok(conn.prepare_cached(&sql)?.query_row(rusqlite::params_from_iter(key), |row| row.get(0)).optional()?)
}

/// Reads the newest stamp that each device gave each cell after an entry of the log.
fn stamps(path: &Path, after_entry: i64) -> Result<Stamps> {
    let replica = Replica::open(path, OpenOptions::default())?;
    let mut stamps = Stamps::new();
    let mut statement = replica.conn().prepare(
        "SELECT table_name, row_key, column_name, m.device, clock, written_at FROM kith_changes c JOIN kith_members m ON m.device_id = c.written_by
         WHERE entry > ?1 AND column_name IS NOT NULL AND c.operation IN ('insert', 'update')",
    )?;
    let mut rows = statement.query([after_entry])?;
    while let Some(row) = rows.next()? {
        let cell = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let stamp: (i64, String) = (row.get(4)?, row.get(5)?);
        let newest = stamps.entry(cell).or_insert_with(|| stamp.clone());
        if stamp.0 > newest.0 {
            *newest = stamp;
        }
    }
    Ok(stamps)
}

impl Contest {
    /// Tells who won and why, in one line.
    pub fn line(&self) -> String {
        let place = format!("{} {}, {}", self.table, visible(&self.key), self.column);
        let mut value: String = visible(&self.value).into_owned();
        if value.chars().count() > SHOWN_CHARS_MAX {
            // The end tells who wrote it.
            let tail: String = value.chars().skip(value.chars().count() - SHOWN_CHARS_MAX).collect();
            value = format!("…{tail}");
        }
        let Some(winner) = self.winner else { return format!("{place}: {value}, which neither wrote") };
        let why = match (&self.written_at, self.is_later) {
            (Some((laptop, phone)), later) => {
                let (won, lost) = if winner == Side::Laptop { (laptop, phone) } else { (phone, laptop) };
                let rule = match later {
                    Some(true) => "the later stamp",
                    Some(false) => "the EARLIER stamp, which is wrong",
                    None => "one clock, so the device's id decides",
                };
                format!("{} against {} of {}: {rule}", time(won), time(lost), winner.other().name())
            }
            (None, _) => "its value is in both files".to_owned(),
        };
        format!("{place}: {} won, {why}; {value}", winner.name())
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "table": self.table, "key": self.key, "column": self.column, "winner": self.winner.map(Side::name),
            "laptop_wrote_at": self.written_at.as_ref().map(|(laptop, _)| laptop),
            "phone_wrote_at": self.written_at.as_ref().map(|(_, phone)| phone), "later_stamp_won": self.is_later,
        })
    }
}

/// The time of day in `2026-11-20T10:00:00.123Z`.
fn time(moment: &str) -> &str {
    moment.split_once('T').map_or(moment, |(_, time)| time.trim_end_matches('Z'))
}
