//! `kith status`, `log`, `members`, `conflicts` and `peers`: what a file holds, without changing it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use kithdb_core::registry::TableState;
use kithdb_core::replica::Replica;
use kithdb_core::storage::quote;
use kithdb_log::AuthorId;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::open;
use crate::cli;
use crate::human;
use crate::render::{Mode, Rows, visible};
use crate::report::Output;

/// Lists the devices of the workspace.
pub fn members(file: &Path, output: Output) -> Result<ExitCode> {
    let people = "SELECT device, role, admitted_at, admitted_by, CASE is_this_device WHEN 1 THEN 'yes' ELSE '' END AS this_device, device_id";
    let sql = if output.json { "SELECT * FROM kith_members" } else { &format!("{people} FROM kith_members") };
    view(file, sql, "the workspace has no members", output)
}

/// Lists the newest entries of the log.
pub fn log(arguments: &cli::Log, output: Output) -> Result<ExitCode> {
    let columns = if output.json {
        "*"
    } else {
        "arrival, written_at, device, table_name, sequence, bytes, status, ifnull(note, '') AS note"
    };
    let sql = format!("SELECT {columns} FROM kith_entries ORDER BY arrival DESC LIMIT {}", arguments.entries);
    view(&arguments.file, &sql, "the log is empty: nothing was sealed or received yet", output)
}

/// Lists rows that are kept out of their table, and violations of constraints that are not enforced.
pub fn conflicts(file: &Path, output: Output) -> Result<ExitCode> {
    let replica = open(file)?;
    let columns = if output.json { "*".to_owned() } else { filled_columns(&replica)? };
    let sql = format!("SELECT {columns} FROM kith_conflicts");
    print(&replica, &sql, "no conflicts: every row is in its table", output)
}

/// Lists the columns of `kith_conflicts` that say something of some row: what a foreign key misses has no values set aside.
fn filled_columns(replica: &Replica) -> Result<String> {
    const OPTIONAL: [&str; 4] = ["device", "written_at", "row_values", "id"];
    let counts = OPTIONAL.map(|column| format!("count({column})")).join(", ");
    let is_filled = replica.conn().query_row(&format!("SELECT {counts} FROM kith_conflicts"), [], |row| {
        (0..OPTIONAL.len()).map(|index| Ok(row.get::<_, i64>(index)? > 0)).collect::<rusqlite::Result<Vec<_>>>()
    })?;
    let filled = OPTIONAL.into_iter().zip(is_filled).filter_map(|(column, is_filled)| is_filled.then_some(column));
    let always = ["table_name", "ifnull(row_key, '') AS row_key", "kind", "reason"];
    Ok(always.into_iter().chain(filled).collect::<Vec<_>>().join(", "))
}

/// Lists the replicas this file has synced with.
pub fn peers(file: &Path, output: Output) -> Result<ExitCode> {
    view(file, "SELECT * FROM kith_peers", "this file has not synced with another yet", output)
}

/// Prints what a query of a file finds, or the sentence if that is nothing.
fn view(file: &Path, sql: &str, nothing: &str, output: Output) -> Result<ExitCode> {
    print(&open(file)?, sql, nothing, output)
}

fn print(replica: &Replica, sql: &str, nothing: &str, output: Output) -> Result<ExitCode> {
    let mut statement = replica.conn().prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let count = columns.len();
    let mut printed = Vec::new();
    let mode = if output.json { Mode::Json } else { Mode::Table };
    let mut printer = Rows::new(&mut printed, mode, columns).with_booleans();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..count).map(|index| row.get_ref(index)).collect::<rusqlite::Result<Vec<ValueRef<'_>>>>()?;
        printer.row(&values)?;
    }
    let found = printer.end()?;
    let printed = String::from_utf8_lossy(&printed);
    output.line(if found == 0 && !output.json { nothing } else { printed.trim_end_matches('\n') })?;
    Ok(ExitCode::SUCCESS)
}

/// Says what a file holds and what waits.
pub fn status(file: &Path, output: Output) -> Result<ExitCode> {
    let replica = open(file)?;
    let status = Status::read(&replica)?;
    output.say(status.text(), status.json())?;
    Ok(ExitCode::SUCCESS)
}

struct Table {
    name: String,
    state: &'static str,
    rows: Option<i64>,
    reason: Option<String>,
    foreign_writes: i64,
}

struct Status {
    file: String,
    workspace: String,
    author: AuthorId,
    device: String,
    role: Option<String>,
    members: usize,
    read_only: bool,
    incarnation_reason: Option<String>,
    tables: Vec<Table>,
    unsealed: i64,
    untaken: i64,
    entries: i64,
    entries_bytes: i64,
    waiting: i64,
    waiting_for_table: i64,
    refused: i64,
    kept_out: i64,
    violations: i64,
    orphans: i64,
}

impl Status {
    fn read(replica: &Replica) -> Result<Self> {
        let conn = replica.conn();
        let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        let mut tables = Vec::new();
        let mut orphans = 0;
        for table in replica.registry().tables() {
            let state = match table.state {
                TableState::Synced => "synced",
                TableState::Unsynced => "not synced any more",
                TableState::Quarantined => "waiting",
            };
            // The local table of one that waits may not be there.
            let rows = match table.state {
                TableState::Quarantined => None,
                _ => number(&format!("SELECT count(*) FROM main.{}", quote(&table.name))).ok(),
            };
            if table.state == TableState::Synced {
                let check = "SELECT count(*) FROM pragma_foreign_key_check(?1, 'main')";
                // A reference to columns that are no key makes the check itself fail: one more to be listed.
                orphans += conn.query_row(check, [&table.name], |row| row.get::<_, i64>(0)).unwrap_or(1);
            }
            let dirty = "SELECT count(DISTINCT rowkey) FROM kith__dirty WHERE table_num = ?1";
            tables.push(Table {
                name: table.name.clone(),
                state,
                rows,
                reason: replica.quarantine_reason(table.num).map(str::to_owned),
                foreign_writes: conn.query_row(dirty, [table.num], |row| row.get(0))?,
            });
        }
        let workspace = replica.workspace();
        Ok(Self {
            file: replica.path().map_or_else(String::new, |path| path.display().to_string()),
            workspace: workspace.id().to_string(),
            author: replica.author(),
            device: workspace.device_name().to_owned(),
            role: workspace.role().map(|role| role.to_string()),
            members: workspace.membership().members().count(),
            read_only: replica.is_read_only(),
            incarnation_reason: replica.life().reason().map(str::to_owned),
            tables,
            unsealed: number("SELECT count(*) FROM kith__pending WHERE NOT continues")?,
            untaken: number("SELECT count(*) FROM kith__tables WHERE uptake IS NOT NULL AND state = 'synced'")?,
            entries: number("SELECT count(*) FROM kith__entries")?,
            entries_bytes: number("SELECT ifnull(sum(length(header) + length(ciphertext)), 0) FROM kith__entries")?,
            waiting: number("SELECT count(*) FROM kith__entries WHERE status = 0")?,
            waiting_for_table: number("SELECT count(*) FROM kith__entries WHERE status = 2")?,
            refused: number("SELECT count(*) FROM kith__entries WHERE status = 3")?,
            kept_out: number("SELECT count(*) FROM kith_parked WHERE reason > 0")?,
            violations: number("SELECT count(*) FROM kith__violations")?,
            orphans,
        })
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("file       {}{}", self.file, if self.read_only { " (read-only)" } else { "" }),
            format!("workspace  {}, {}", self.workspace, human::counted(self.members as u64, "device")),
            format!(
                "device     {} ({}), {}",
                visible(&self.device),
                self.author.short(),
                self.role.as_deref().unwrap_or("its admission does not stand: another device used the same ticket")
            ),
        ];
        if let Some(reason) = &self.incarnation_reason {
            lines.push(format!("life       began anew: {}", visible(reason)));
        }
        lines.push(format!(
            "log        {}, {}",
            human::counted(self.entries.unsigned_abs(), "sealed entry"),
            human::bytes(self.entries_bytes.unsigned_abs())
        ));
        if self.tables.is_empty() {
            lines.push("tables     none is synced; name one: SELECT kith_sync('table')".to_owned());
        }
        for (index, table) in self.tables.iter().enumerate() {
            let label = if index == 0 { "tables" } else { "" };
            let rows =
                table.rows.map(|rows| format!(", {}", human::counted(rows.unsigned_abs(), "row"))).unwrap_or_default();
            let reason = table.reason.as_ref().map(|reason| format!(": {}", visible(reason))).unwrap_or_default();
            lines.push(format!("{label:10} {}: {}{rows}{reason}", visible(&table.name), table.state));
            if table.foreign_writes > 0 {
                lines.push(format!(
                    "{:10} {} of {} changed by another program and not sent; `kith verify --repair` puts them back and says what they were, then write them with `kith sql`",
                    "",
                    human::counted(table.foreign_writes.unsigned_abs(), "row"),
                    visible(&table.name)
                ));
            }
        }
        lines.extend(self.to_do());
        lines.join("\n")
    }

    fn to_do(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut say = |count: i64, noun: &str, what: &str| {
            if count > 0 {
                let label = if lines.is_empty() { "waits" } else { "" };
                lines.push(format!("{label:10} {} {what}", human::counted(count.unsigned_abs(), noun)));
            }
        };
        say(self.unsealed, "transaction", "not sealed into entries yet: `kith sync` does it");
        say(self.untaken, "table", "with rows from before sync that are still to be taken up: `kith sync` does it");
        say(self.waiting, "entry", "received and not merged yet: `kith sync` does it");
        say(self.waiting_for_table, "entry", "for a table that is not here or does not fit");
        say(self.refused, "entry", "refused: see `kith log`");
        say(self.kept_out, "row", "kept out of a table: see `kith conflicts`");
        say(self.violations, "violation", "of constraints that are not enforced: see `kith conflicts`");
        say(self.orphans, "row", "with a foreign key that leads nowhere: see `kith conflicts`");
        if lines.is_empty() {
            lines.push("waits      nothing".to_owned());
        }
        lines
    }

    fn json(&self) -> Value {
        let tables: Vec<_> = self
            .tables
            .iter()
            .map(|table| {
                json!({
                    "name": table.name, "state": table.state, "rows": table.rows, "reason": table.reason,
                    "rows_changed_by_other_programs": table.foreign_writes,
                })
            })
            .collect();
        json!({
            "file": self.file, "read_only": self.read_only, "workspace": self.workspace, "members": self.members,
            "device": self.device, "author": self.author.to_string(), "role": self.role,
            "incarnation_reason": self.incarnation_reason, "tables": tables, "entries": self.entries,
            "entries_bytes": self.entries_bytes, "transactions_not_sealed": self.unsealed,
            "tables_not_taken_up": self.untaken, "entries_waiting": self.waiting,
            "entries_waiting_for_table": self.waiting_for_table, "entries_refused": self.refused,
            "rows_kept_out": self.kept_out, "violations": self.violations, "rows_with_broken_foreign_keys": self.orphans,
        })
    }
}
