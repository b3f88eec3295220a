//! `kith verify`: proves that tables, metadata, parked rows and log agree, and names rows that another program changed.

use std::collections::{BTreeMap, BTreeSet};

use kithdb_log::{EntryHash, Generation, Origin, Reader, SequenceNumber, ValueRef};

use crate::entries::assemble;
use crate::log_error::LogError;
use crate::merge::{Life, LifeId, Merge, Reason, RowMeta, parked};
use crate::registry::{TableInfo, TableState};
use crate::replay::{Division, rebuild_key};
use crate::replica::Replica;
use crate::seal::SealBudget;

/// How many problems of one kind are named before the rest are only counted.
const NAMED_MAX: usize = 100;
/// How many lives are worked out from the log at a time: a few hundred bytes each, and the values.
pub(crate) const LIVES_MAX: u64 = 50_000;

/// What [`Replica::verify`] is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyStage<'t> {
    /// SQLite checks the file; nothing is counted.
    File,
    /// Entries of the log are checked.
    Entries,
    /// Rows of a table are compared with the log.
    Rows(&'t str),
}

/// Is told what is being looked at, and how much of it is done and there in all.
type Progress<'p> = &'p mut dyn FnMut(VerifyStage<'_>, u64, u64);

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// SQLite's own check found damage.
    File {
        /// What SQLite says.
        detail: String,
    },
    /// An entry of the log is damaged or forged.
    Entry {
        /// Which entry and what is wrong.
        detail: String,
    },
    /// Another program changed the form of a table, whose rows were not compared.
    TableChanged {
        /// What is different, with the table's name and the remedy.
        detail: String,
    },
    /// A row is not what the log says: another program wrote to the table.
    ChangedElsewhere {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// What is different.
        detail: String,
    },
    /// KithDB's own tables contradict the log.
    State {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// What is different.
        detail: String,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { detail } => write!(f, "the file: {detail}"),
            Self::Entry { detail } => write!(f, "the log: {detail}"),
            Self::TableChanged { detail } => f.write_str(detail),
            Self::ChangedElsewhere { table, key, detail } => {
                write!(f, "table {table}, row {key}: {detail} by another program")
            }
            Self::State { table, key, detail } => write!(f, "table {table}, row {key}: {detail}"),
        }
    }
}

/// What [`Replica::verify`] looked at and found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Entries whose signature, chain and content were checked.
    pub entries: u64,
    /// Shown rows that were compared with the log.
    pub rows: u64,
    /// Lives of rows that are parked.
    pub parked: u64,
    /// What does not agree; empty if all is well.
    pub problems: Vec<Problem>,
    /// How many further problems are not named.
    pub unnamed: u64,
    /// Keys of all rows that problems were found with, by table number.
    pub(crate) broken: BTreeMap<u32, BTreeSet<Vec<u8>>>,
}

impl VerifyReport {
    /// Tells whether everything agrees.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.unnamed == 0
    }

    fn note_row(&mut self, table: u32, key: &[u8], problem: Problem) {
        self.broken.entry(table).or_default().insert(key.to_vec());
        self.note(problem);
    }

    fn note(&mut self, problem: Problem) {
        if self.problems.len() < NAMED_MAX { self.problems.push(problem) } else { self.unnamed += 1 }
    }
}

/// Shows a canonical key the way SQL writes its values.
pub fn display_key(key: &[u8]) -> String {
    let mut reader = Reader::new(key);
    let mut parts = Vec::new();
    while !reader.is_empty() {
        match ValueRef::decode(&mut reader) {
            Ok(value) => parts.push(display_value(value)),
            Err(_) => return "(damaged key)".to_owned(),
        }
    }
    parts.join(", ")
}

/// Shows a value the way SQL writes it.
pub(crate) fn display_value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(value) | ValueRef::Reference(value, _) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(bytes) => format!("'{}'", String::from_utf8_lossy(bytes).replace('\'', "''")),
        ValueRef::Blob(bytes) => format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        ValueRef::Null => "NULL".to_owned(),
    }
}

impl Replica {
    /// Checks everything against everything; seals pending writes first. `progress` is called with what is being looked at, and how
    /// much of that is done and there in all.
    pub fn verify(&mut self, progress: impl FnMut(VerifyStage<'_>, u64, u64)) -> Result<VerifyReport, LogError> {
        self.verify_in_parts(LIVES_MAX, progress)
    }

    /// Does what [`Self::verify`] does with at most about `lives_max` lives of rows in memory at a time.
    pub(crate) fn verify_in_parts(
        &mut self,
        lives_max: u64,
        mut progress: impl FnMut(VerifyStage<'_>, u64, u64),
    ) -> Result<VerifyReport, LogError> {
        self.reload_registry()?;
        progress(VerifyStage::File, 0, 0);
        let mut report = VerifyReport::default();
        let mut check = self.conn.prepare("PRAGMA integrity_check")?;
        let found: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        drop(check);
        // A row that breaks CHECK or NOT NULL is listed as a violation, it is no damage.
        for detail in
            found.into_iter().filter(|detail| detail != "ok" && !detail.starts_with("CHECK constraint failed in"))
        {
            report.note(Problem::File { detail });
        }
        while self.seal(SealBudget::default())?.more {}
        // One snapshot, in which nobody writes between the log and the tables; and SQLite takes its locks once, not for every row.
        let _snapshot = self.conn.unchecked_transaction()?;
        self.verify_entries(&mut report, &mut progress)?;
        for table in self.registry.tables().to_vec() {
            if let Some(detail) = &table.changed {
                report.note(Problem::TableChanged { detail: detail.clone() });
            } else if table.state == TableState::Synced {
                self.verify_table(&table, lives_max, &mut report, &mut progress)?;
            }
        }
        Ok(report)
    }

    fn verify_entries(&self, report: &mut VerifyReport, progress: Progress<'_>) -> Result<(), LogError> {
        let total: i64 = self.conn.query_row("SELECT count(*) FROM kith__entries", [], |row| row.get(0))?;
        let mut select = self.conn.prepare(
            "SELECT e.stream, e.sequence, e.header, e.ciphertext, s.height, s.head FROM kith__entries e JOIN kith__streams s ON s.num = e.stream ORDER BY e.stream, e.sequence",
        )?;
        let mut rows = select.query([])?;
        let mut place: (i64, SequenceNumber, EntryHash) = (-1, SequenceNumber::default(), EntryHash::default());
        while let Some(row) = rows.next()? {
            let (stream, sequence): (i64, i64) = (row.get(0)?, row.get(1)?);
            let mut bad = |detail: String| {
                report.note(Problem::Entry { detail: format!("entry {sequence} of stream {stream} {detail}") })
            };
            if stream != place.0 {
                place = (stream, SequenceNumber::default(), EntryHash::default());
            }
            match assemble(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?, row.get(3)?) {
                Err(error) => bad(format!("does not decode: {error}")),
                Ok(entry) => {
                    if let Err(error) = entry.verify(self.workspace.id) {
                        bad(format!("is not what its author signed: {error}"));
                    } else if let Err(error) =
                        self.workspace.membership.allowed_at(entry.header.stream.author, &entry.header.frontier)
                    {
                        bad(format!("was not its author's to write: {error}"));
                    }
                    if entry.header.sequence != place.1.next()
                        || entry.header.previous != place.2
                        || entry.header.sequence.get() != sequence as u64
                    {
                        bad("does not follow the one before it".to_owned());
                    }
                    place = (stream, entry.header.sequence, entry.hash());
                    let (height, head): (i64, [u8; 32]) = (row.get(4)?, row.get(5)?);
                    if height == sequence && head != *place.2.as_bytes() || height < sequence {
                        bad("is not the head that its stream names".to_owned());
                    }
                }
            }
            report.entries += 1;
            progress(VerifyStage::Entries, report.entries, total as u64);
        }
        Ok(())
    }

    fn verify_table(
        &self,
        table: &TableInfo,
        lives_max: u64,
        report: &mut VerifyReport,
        progress: Progress<'_>,
    ) -> Result<(), LogError> {
        let unreadable = |error, report: &mut VerifyReport| match error {
            LogError::Sqlite(_) | LogError::Merge(_) => Err(error),
            _ => {
                let detail = format!("the log of table {} cannot be read: {error}", table.name);
                report.note(Problem::Entry { detail });
                Ok(())
            }
        };
        let division = match Division::new(self, table, lives_max) {
            Ok(division) => division,
            Err(error) => return unreadable(error, report),
        };
        let mut done = 0;
        for part in 0..division.parts() {
            let expected = match division.replay(part) {
                Ok(expected) => expected,
                Err(error) => return unreadable(error, report),
            };
            let mut step = || {
                done += 1;
                progress(VerifyStage::Rows(&table.name), done, division.births().max(done));
            };
            self.verify_part(table, &division, part, &expected, report, &mut step)?;
        }
        Ok(())
    }

    /// Compares one part of a table's lives with what is shown and parked; `step` is called for each.
    fn verify_part(
        &self,
        table: &TableInfo,
        division: &Division<'_>,
        part: u64,
        expected: &BTreeMap<LifeId, Life>,
        report: &mut VerifyReport,
        step: &mut dyn FnMut(),
    ) -> Result<(), LogError> {
        let no_hook = || {};
        let mut merge = Merge::inspect(&self.conn, &self.registry, &no_hook)?;
        let (context, work) = merge.with_table(table.num)?;
        let changed = |key: &[u8], detail: &str| Problem::ChangedElsewhere {
            table: table.name.clone(),
            key: display_key(key),
            detail: detail.to_owned(),
        };
        let wrong = |key: &[u8], detail: &str| Problem::State {
            table: table.name.clone(),
            key: display_key(key),
            detail: detail.to_owned(),
        };
        let mut parked: BTreeMap<LifeId, (Reason, Option<Life>)> = BTreeMap::new();
        parked::each(&self.conn, &context.authors, table.num, |id, reason, life| {
            if division.part_of(&id.key) == part {
                parked.insert(id, (reason, life.ok()));
            }
        })?;
        report.parked += parked.len() as u64;
        let mut latest: BTreeMap<(&[u8], Origin), Generation> = BTreeMap::new();
        for id in expected.keys() {
            let entry = latest.entry((&id.key, id.origin)).or_insert(id.generation);
            *entry = id.generation.max(*entry);
        }
        let mut shown: BTreeSet<Vec<u8>> = BTreeSet::new();
        for (id, life) in expected {
            step();
            let candidate = life.is_complete(table.cells.len())
                && latest.get(&(id.key.as_slice(), id.origin)) == Some(&id.generation);
            if let Some((reason, there)) = parked.remove(id) {
                match there {
                    None => report.note_row(table.num, &id.key, wrong(&id.key, "a parked life is damaged")),
                    Some(there) if there != *life => {
                        report.note_row(table.num, &id.key, wrong(&id.key, "a parked life differs from the log"))
                    }
                    Some(_) => {}
                }
                if candidate == matches!(reason, Reason::Past | Reason::PartMissing) {
                    report.note_row(
                        table.num,
                        &id.key,
                        wrong(&id.key, "a life is parked for a reason that does not hold"),
                    );
                }
                continue;
            }
            let stored = work.stored_meta(&context.authors, &id.key)?;
            let values = work.row_values(&id.key)?;
            let existing = RowMeta::born(kithdb_log::Stamp::EXISTING, id.origin);
            let meta = match stored {
                Some(meta) if meta.origin == id.origin && meta.generation == id.generation => meta,
                None if work.existing_rows
                    && id.generation == Generation::FIRST
                    && life.node.birth == Some(kithdb_log::Stamp::EXISTING) =>
                {
                    existing
                }
                _ => {
                    report.note_row(
                        table.num,
                        &id.key,
                        wrong(&id.key, "a life that the log speaks of is neither shown nor parked"),
                    );
                    continue;
                }
            };
            shown.insert(id.key.clone());
            report.rows += 1;
            if values.is_none() {
                report.note_row(table.num, &id.key, changed(&id.key, "the row was deleted"));
            } else if !candidate {
                report.note_row(table.num, &id.key, wrong(&id.key, "a life is shown that should not be"));
            } else {
                let there = work.shown_life(&id.key, &meta)?;
                for (cell, content) in &life.node.cells {
                    let name = &table.columns[table.cells[usize::from(*cell)]].name;
                    match there.node.cells.get(cell) {
                        Some(known) if known.value != content.value => {
                            report.note_row(table.num, &id.key, changed(&id.key, &format!("column {name} was changed")))
                        }
                        Some(known) if known.stamp != content.stamp => report.note_row(
                            table.num,
                            &id.key,
                            wrong(&id.key, &format!("the stamp of column {name} differs from the log")),
                        ),
                        _ => {}
                    }
                }
                if there.node.birth != life.node.birth {
                    report.note_row(table.num, &id.key, wrong(&id.key, "the row's birth differs from the log"));
                }
            }
        }
        for id in parked.keys() {
            report.note_row(table.num, &id.key, wrong(&id.key, "a life is parked that the log does not speak of"));
        }
        self.verify_strangers(table, division, part, &shown, report)
    }

    /// Finds rows of the user's table that the log does not know; those without a key are in the first part.
    fn verify_strangers(
        &self,
        table: &TableInfo,
        division: &Division<'_>,
        part: u64,
        shown: &BTreeSet<Vec<u8>>,
        report: &mut VerifyReport,
    ) -> Result<(), LogError> {
        let uptake: bool =
            self.conn.query_row("SELECT uptake IS NOT NULL FROM kith__tables WHERE num = ?1", [table.num], |row| {
                row.get(0)
            })?;
        let columns: Vec<String> =
            table.key.iter().map(|&column| kithdb_search::sql::quote(&table.columns[column].name)).collect();
        let mut select = self.conn.prepare(&format!(
            "SELECT {} FROM main.{}",
            columns.join(", "),
            kithdb_search::sql::quote(&table.name)
        ))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(table.key.len());
            for index in 0..table.key.len() {
                values.push(crate::merge::from_sql(row.get_ref(index)?));
            }
            // Rows from before sync that have not been taken up yet are in no entry.
            match table.encode_key(values) {
                Some(key) if !uptake && division.part_of(&key) == part && !shown.contains(&key) => {
                    let (table_name, shown_key) = (table.name.clone(), display_key(&key));
                    let detail = "the row was added".to_owned();
                    let problem = Problem::ChangedElsewhere { table: table_name, key: shown_key, detail };
                    report.note_row(table.num, &key, problem);
                }
                None if part == 0 => report.note(Problem::ChangedElsewhere {
                    table: table.name.clone(),
                    key: "(NULL)".to_owned(),
                    detail: "a row without key was added".to_owned(),
                }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Works one row out again from the log alone and shows what comes of it; what another program wrote there is lost.
    pub fn rebuild_row(&mut self, table: &str, key: &[u8]) -> Result<(), LogError> {
        while self.seal(SealBudget::default())?.more {}
        let Some(table) = self.registry.by_name(table).cloned() else { return Ok(()) };
        let division = Division::new(self, &table, 1)?;
        let expected = division.replay(division.part_of(key))?;
        self.durably(|replica| {
            let conn = &replica.conn;
            let restore_hook = || replica.capture.install_hook(conn);
            let mut merge = Merge::begin(conn, &replica.registry, &restore_hook)?;
            let (context, work) = merge.with_table(table.num)?;
            rebuild_key(context, work, key, expected.iter().filter(|(id, _)| id.key == key))?;
            merge.finish()?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
