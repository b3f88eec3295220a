//! Applying: stored entries of other devices are opened and merged into the user's tables.
//!
//! Invariants:
//! 1. An entry is checked whole before any of it is merged; one that is not what the format says changes nothing.
//! 2. The parts of a transaction that this replica can see are merged in one SQLite transaction, or after [`TORN_AFTER_MS`] without
//!    the missing ones.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kithdb_log::{
    ContentKey, EpochId, EpochSecret, Hlc, Opener, Operation, PayloadContext, RowsReader, ScopeKey, SealedEntry,
    SequenceNumber, Step, StreamId, TableId, TableSchema,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::catalog::quarantine_name;
use crate::define::CreateOutcome;
use crate::entries::{EntryStatus, assemble};
use crate::log_error::LogError;
use crate::merge::{Merge, MergeError, apply};
use crate::parts::{Checked, Held, Needs, pull_in_parts};
use crate::registry::{Registry, TableInfo, TableState};
use crate::replica::Replica;
use crate::seal::SealBudget;
use crate::storage::{get_meta, put_meta};

/// How long a transaction waits for a part that has not arrived, in milliseconds (10 minutes).
pub const TORN_AFTER_MS: u64 = 10 * 60 * 1000;

/// How often a merge seals anew because another process wrote in between, before it leaves the rest to the next call.
const SEALS_MAX: usize = 16;

/// How much one call to [`Replica::apply_stored`] does before it commits.
#[derive(Debug, Clone, Copy)]
pub struct ApplyBudget {
    /// Stop taking up further entries after this many bytes of ciphertext.
    pub bytes: usize,
}

impl Default for ApplyBudget {
    fn default() -> Self {
        Self { bytes: 16 << 20 }
    }
}

/// An entry that is stored but will not be merged.
#[derive(Debug, Clone)]
pub struct RefusedEntry {
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the stream.
    pub sequence: SequenceNumber,
    /// What is wrong with it.
    pub reason: String,
}

/// What [`Replica::apply_stored`] did.
#[derive(Debug, Clone, Default)]
pub struct ApplyReport {
    /// Entries merged.
    pub entries: u64,
    /// Operations merged.
    pub operations: u64,
    /// Rows written to the user's tables, by table.
    pub rows_written: BTreeMap<String, u64>,
    /// Tables that were created from a peer's definition.
    pub tables_created: Vec<String>,
    /// Entries that were refused.
    pub refused: Vec<RefusedEntry>,
    /// Transactions merged without a part that did not arrive in time.
    pub torn: u64,
    /// Entries that wait: for a part, for their table, or for the clock to reach them.
    pub waiting: u64,
    /// Whether another call would do more at once.
    pub more: bool,
}

/// Opens the content key of a stream in an epoch.
pub(crate) fn content_key(
    conn: &Connection,
    stream: i64,
    epoch: &EpochId,
    scope: &ScopeKey,
) -> Result<ContentKey, LogError> {
    let signed: Option<Vec<u8>> = conn
        .prepare_cached(
            "SELECT e.header FROM kith__openings o JOIN kith__entries e ON e.stream = o.stream AND e.sequence = o.sequence
             WHERE o.stream = ?1 AND o.epoch = ?2",
        )?
        .query_row(params![stream, epoch.as_bytes()], |row| row.get(0))
        .optional()?;
    let signed = signed.ok_or(LogError::Damaged { what: "the opening of a stream" })?;
    let entry = assemble(&signed, Vec::new())?;
    let opening = entry.header.opening.ok_or(LogError::Damaged { what: "the opening of a stream" })?;
    Ok(opening.open(scope, &entry.header.key_commitment)?)
}

/// A stored entry on its way into the tables.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    arrival: i64,
    stream: i64,
    pub(crate) received_unix_ms: u64,
    pub(crate) entry: SealedEntry,
    /// The greatest clock of the entry before.
    after: Hlc,
}

impl Candidate {
    pub(crate) const fn arrival(&self) -> i64 {
        self.arrival
    }
}

/// Opens entries; keeps the streams' keys.
pub(crate) struct Reading<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) epoch: &'a EpochSecret,
    pub(crate) opener: Opener,
    pub(crate) keys: BTreeMap<(i64, EpochId), ContentKey>,
}

impl Reading<'_> {
    pub(crate) fn open(&mut self, candidate: &Candidate, scope: TableId) -> Result<Vec<u8>, LogError> {
        let header = &candidate.entry.header;
        let slot = (candidate.stream, header.epoch);
        if !self.keys.contains_key(&slot) {
            if header.epoch != self.epoch.id() {
                return Err(LogError::UnknownEpoch { epoch: header.epoch });
            }
            let scope_key = self.epoch.scope_key(scope, None);
            self.keys.insert(slot, content_key(self.conn, candidate.stream, &header.epoch, &scope_key)?);
        }
        let key = self.keys.get(&slot).ok_or(LogError::Damaged { what: "the list of keys" })?;
        Ok(self.opener.open(&candidate.entry, key)?)
    }
}

pub(crate) fn context_of(candidate: &Candidate) -> PayloadContext {
    let header = &candidate.entry.header;
    PayloadContext {
        author: header.stream.author,
        incarnation: header.stream.incarnation,
        after: candidate.after,
        up_to: header.clock,
    }
}

/// Reads a payload to its end without merging, so that a malformed one changes nothing.
fn check(payload: &[u8], candidate: &Candidate, table: &TableInfo) -> Result<Needs, LogError> {
    let mut reader = RowsReader::open(payload, context_of(candidate))?;
    if reader.table() != table.id {
        return Err(LogError::WrongTable);
    }
    let cells = cell_map(&reader, table)?;
    let mut needs = Needs::default();
    let mut operation = Operation::default();
    loop {
        match reader.next(&mut operation)? {
            Step::Begin(head) => {
                let stream = candidate.entry.header.stream;
                needs.siblings.extend(
                    head.siblings.iter().map(|sibling| (StreamId { lane: sibling.lane, ..stream }, sibling.sequence)),
                );
            }
            Step::Operation => crate::storable::check_operation(table, &operation, &cells)?,
            Step::End(continues) => needs.continues = continues,
            Step::Finished => return Ok(needs),
        }
    }
}

pub(crate) fn cell_map(reader: &RowsReader<'_>, table: &TableInfo) -> Result<Vec<u16>, LogError> {
    reader
        .columns()
        .iter()
        .map(|column| table.cell_of(*column).map(|cell| cell as u16).ok_or(LogError::UnknownColumn { column: *column }))
        .collect()
}

impl Replica {
    /// Merges stored entries, up to the budget; seals local writes first.
    pub fn apply_stored(&mut self, budget: ApplyBudget) -> Result<ApplyReport, LogError> {
        let mut report = ApplyReport::default();
        self.reload_registry()?;
        self.take_back_tables()?;
        self.apply_schema(&mut report)?;
        if !self.has_waiting()? {
            return Ok(report);
        }
        for _ in 0..SEALS_MAX {
            while self.seal(SealBudget::default())?.more {}
            if self.apply_rows(budget, &mut report)? {
                self.reload_registry()?;
                return Ok(report);
            }
        }
        report.more = true;
        Ok(report)
    }

    /// Has entries looked at again that were put aside while another program had changed their table, which fits again.
    fn take_back_tables(&mut self) -> Result<(), LogError> {
        let mut names = Vec::new();
        for table in self.registry.tables().iter().filter(|table| table.state == TableState::Synced) {
            let name = quarantine_name(table.num);
            if get_meta::<Option<String>>(&self.conn, &name)?.flatten().is_some() {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        self.durably(|replica| {
            crate::define::retry_waiting(&replica.conn)?;
            for name in names {
                put_meta(&replica.conn, &name, rusqlite::types::Null)?;
            }
            Ok(())
        })
    }

    fn has_waiting(&self) -> Result<bool, LogError> {
        Ok(self
            .conn
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM kith__entries WHERE status = 0)")?
            .query_row([], |row| row.get(0))?)
    }

    /// Merges a batch; returns false, and does nothing, if somebody wrote since the last seal, or changed a table.
    fn apply_rows(&mut self, budget: ApplyBudget, report: &mut ApplyReport) -> Result<bool, LogError> {
        let before = report.clone();
        self.merging(|replica| {
            *report = before.clone();
            let sql = "SELECT EXISTS(SELECT 1 FROM kith__pending)";
            if replica.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))? || !replica.is_current()? {
                return Ok(false);
            }
            apply_in_transaction(replica, budget, report)?;
            Ok(true)
        })
    }

    /// Runs a merge durably; one that a trigger of the user's stops runs again with all triggers off.
    pub(crate) fn merging<T>(&mut self, mut run: impl FnMut(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        match self.durably(&mut run) {
            Err(error) if may_be_a_triggers(&error) => {
                tracing::warn!(%error, "a trigger stopped a merge, which runs again without triggers");
                let triggers = self.conn.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER)?;
                self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
                let reason = with_causes(&error);
                let again = self.durably(|replica| {
                    let out = run(replica)?;
                    // Those of the text indexes were among the triggers.
                    kithdb_search::text::rebuild_all(&replica.conn)?;
                    kithdb_search::vector::note_unwatched_writes(&replica.conn)?;
                    Ok(out)
                });
                if again.is_ok() {
                    self.triggers_left_out = Some(reason);
                }
                self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, triggers)?;
                again
            }
            outcome => outcome,
        }
    }

    /// Says, once, why the application's triggers were left out of what was merged since the last call, if they were.
    pub fn take_triggers_left_out(&mut self) -> Option<String> {
        self.triggers_left_out.take()
    }

    /// Creates or registers the tables whose definitions have arrived.
    fn apply_schema(&mut self, report: &mut ApplyReport) -> Result<(), LogError> {
        let lane = crate::catalog::lane_of(&self.workspace.blinding, TableId::SCHEMA);
        let waiting: bool = self
            .conn
            .prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM kith__entries e JOIN kith__streams s ON s.num = e.stream WHERE e.status = 0 AND s.lane = ?1)",
            )?
            .query_row([lane.as_bytes()], |row| row.get(0))?;
        if !waiting {
            return Ok(());
        }
        let now_unix_ms = (self.clock)();
        self.durably::<_, LogError>(|replica| {
            let conn = &replica.conn;
            let mut reading =
                Reading { conn, epoch: &replica.workspace.epoch, opener: Opener::new(), keys: BTreeMap::new() };
            let lane = Some(lane.as_bytes());
            for mut candidate in select_waiting(conn, usize::MAX, now_unix_ms, lane, &Held::default(), report)? {
                candidate.entry.ciphertext = read_ciphertext(conn, candidate.arrival)?;
                let opened =
                    reading.open(&candidate, TableId::SCHEMA).and_then(|payload| Ok(TableSchema::decode(&payload)?));
                match opened {
                    Ok(schema) => {
                        match crate::define::create_from_schema(conn, &schema)? {
                            CreateOutcome::Created => report.tables_created.push(schema.name.clone()),
                            CreateOutcome::Refused { reason } => {
                                refuse(conn, &candidate, &LogError::Definition { reason }, report)?;
                                continue;
                            }
                            _ => {}
                        }
                        set_status(conn, candidate.arrival, EntryStatus::Applied, None)?;
                        report.entries += 1;
                        observe(conn, candidate.entry.header.clock)?;
                    }
                    Err(error) => refuse(conn, &candidate, &error, report)?,
                }
            }
            crate::define::retry_waiting(conn)?;
            Ok(())
        })?;
        self.reload_registry()?;
        Ok(())
    }
}

fn observe(conn: &Connection, clock: Hlc) -> Result<(), LogError> {
    let last = get_meta::<i64>(conn, "clock")?.unwrap_or(0);
    if clock.as_u64() as i64 > last {
        put_meta(conn, "clock", clock.as_u64() as i64)?;
    }
    Ok(())
}

fn set_status(conn: &Connection, arrival: i64, status: EntryStatus, note: Option<&str>) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE kith__entries SET status = ?2, note = ?3 WHERE arrival = ?1")?.execute(params![
        arrival,
        status as i64,
        note
    ])?;
    Ok(())
}

/// Tells whether a merge may succeed without triggers.
fn may_be_a_triggers(error: &LogError) -> bool {
    match error {
        LogError::Merge(error) => error.may_be_a_triggers(),
        // A search index writes much of what its triggers told it as late as the COMMIT, which is where its damage shows.
        LogError::Sqlite(error) => error.sqlite_error().is_some_and(|error| {
            error.extended_code == rusqlite::ffi::SQLITE_CORRUPT_VTAB
                || error.code == rusqlite::ErrorCode::ConstraintViolation
        }),
        _ => false,
    }
}

/// Says what went wrong, and what was behind it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn refuse(
    conn: &Connection,
    candidate: &Candidate,
    error: &LogError,
    report: &mut ApplyReport,
) -> Result<(), LogError> {
    let reason = with_causes(error);
    let header = &candidate.entry.header;
    tracing::warn!(author = %header.stream.author, sequence = header.sequence.get(), reason, "an entry was refused");
    set_status(conn, candidate.arrival, EntryStatus::Refused, Some(&reason))?;
    report.refused.push(RefusedEntry { stream: header.stream, sequence: header.sequence, reason });
    Ok(())
}

/// Reads waiting entries in order of arrival, without their ciphertexts, until those that nothing is known of have `bytes_max` bytes;
/// entries from the future stay where they are.
fn select_waiting(
    conn: &Connection,
    bytes_max: usize,
    now_unix_ms: u64,
    lane: Option<&[u8; 32]>,
    held: &Held,
    report: &mut ApplyReport,
) -> Result<Vec<Candidate>, LogError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {CANDIDATE}, length(e.ciphertext) FROM kith__entries e JOIN kith__streams s ON s.num = e.stream
         WHERE e.status = 0 AND (?1 IS NULL OR s.lane = ?1) ORDER BY e.arrival",
    ))?;
    let mut rows = statement.query([lane])?;
    let (mut out, mut bytes, mut known) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        if bytes >= bytes_max && known >= held.len() {
            report.more = true;
            break;
        }
        let candidate = read_candidate(row, Vec::new())?;
        if held.holds(&candidate) {
            known += 1;
        } else if candidate.entry.header.clock.is_ahead_of(now_unix_ms) {
            report.waiting += 1;
            continue;
        } else if bytes >= bytes_max {
            report.more = true;
            continue;
        } else {
            let ciphertext_bytes: u32 = row.get(CANDIDATE_COLUMNS)?;
            bytes += candidate.entry.byte_len() + ciphertext_bytes as usize;
        }
        out.push(candidate);
    }
    Ok(out)
}

fn read_ciphertext(conn: &Connection, arrival: i64) -> rusqlite::Result<Vec<u8>> {
    conn.prepare_cached("SELECT ciphertext FROM kith__entries WHERE arrival = ?1")?
        .query_row([arrival], |row| row.get(0))
}

fn apply_in_transaction(replica: &mut Replica, budget: ApplyBudget, report: &mut ApplyReport) -> Result<(), LogError> {
    let now_unix_ms = (replica.clock)();
    let Replica { conn, capture, registry, workspace, held, .. } = replica;
    let conn: &Connection = conn;
    let restore_hook = || capture.install_hook(conn);
    let mut reading = Reading { conn, epoch: &workspace.epoch, opener: Opener::new(), keys: BTreeMap::new() };
    let mut checked: BTreeMap<i64, Checked> = BTreeMap::new();
    for mut candidate in select_waiting(conn, budget.bytes, now_unix_ms, None, held, report)? {
        let arrival = candidate.arrival;
        if let Some(known) = held.take(&candidate) {
            checked.insert(arrival, known);
            continue;
        }
        candidate.entry.ciphertext = read_ciphertext(conn, arrival)?;
        if let Some(good) = check_candidate(conn, registry, &mut reading, candidate, report)? {
            checked.insert(arrival, good);
        }
    }
    if !report.more {
        // All that waits was looked at: what is left waits no longer.
        held.clear();
    }
    pull_in_parts(conn, registry, &mut reading, &mut checked, now_unix_ms, report)?
        .into_iter()
        .for_each(|good| held.put(good));

    let mut merge = Merge::begin(conn, registry, &restore_hook)?;
    let mut greatest = Hlc::ZERO;
    for good in checked.values() {
        let opened = match &good.payload {
            Some(payload) => Cow::Borrowed(payload),
            // Its other parts have arrived since it was found good.
            None => Cow::Owned(open_again(conn, registry, &mut reading, good)?),
        };
        let mut reader = RowsReader::open(&opened, context_of(&good.candidate))?;
        let table = registry.by_num(good.table).ok_or(MergeError::UnknownTable(good.table))?;
        let cells = cell_map(&reader, table)?;
        let mut operation = Operation::default();
        let (context, work) = merge.with_table(good.table)?;
        loop {
            match reader.next(&mut operation)? {
                Step::Begin(_) | Step::End(_) => {}
                Step::Operation => {
                    apply(context, work, &operation, &cells)?;
                    report.operations += 1;
                }
                Step::Finished => break,
            }
        }
        set_status(conn, good.candidate.arrival, EntryStatus::Applied, None)?;
        report.entries += 1;
        greatest = greatest.max(good.candidate.entry.header.clock);
    }
    report.rows_written = merge.finish()?;
    observe(conn, greatest)
}

pub(crate) fn check_candidate(
    conn: &Connection,
    registry: &Registry,
    reading: &mut Reading<'_>,
    candidate: Candidate,
    report: &mut ApplyReport,
) -> Result<Option<Checked>, LogError> {
    let known = registry.by_lane(&candidate.entry.header.stream.lane);
    let Some(table) = known.filter(|table| table.state == TableState::Synced) else {
        if let Some((num, reason)) = known.and_then(|table| Some((table.num, table.changed.as_ref()?))) {
            put_meta(conn, &quarantine_name(num), reason)?;
        }
        set_status(conn, candidate.arrival, EntryStatus::WaitingForTable, None)?;
        report.waiting += 1;
        return Ok(None);
    };
    let outcome = reading.open(&candidate, table.id).and_then(|payload| {
        let needs = check(&payload, &candidate, table)?;
        Ok((payload, needs))
    });
    match outcome {
        Ok((payload, needs)) => Ok(Some(Checked { candidate, payload: Some(payload), table: table.num, needs })),
        Err(LogError::Sqlite(error)) => Err(error.into()),
        Err(error) => {
            let error = match refused_definition(conn, &candidate, table)? {
                Some(reason) => LogError::OtherDefinition { table: table.name.clone(), reason },
                None => error,
            };
            refuse(conn, &candidate, &error, report)?;
            Ok(None)
        }
    }
}

/// Opens an entry that was found good in an earlier batch and waited for its other parts.
fn open_again(
    conn: &Connection,
    registry: &Registry,
    reading: &mut Reading<'_>,
    good: &Checked,
) -> Result<Vec<u8>, LogError> {
    let table = registry.by_num(good.table).ok_or(MergeError::UnknownTable(good.table))?;
    let mut candidate = good.candidate.clone();
    candidate.entry.ciphertext = read_ciphertext(conn, candidate.arrival)?;
    reading.open(&candidate, table.id)
}

/// Finds why the definition of a table by the author of an entry was refused, if it was: then its rows are of another form.
fn refused_definition(conn: &Connection, candidate: &Candidate, table: &TableInfo) -> Result<Option<String>, LogError> {
    let stream = candidate.entry.header.stream;
    Ok(conn
        .prepare_cached(
            "SELECT e.note FROM kith__authors a JOIN kith__streams s ON s.author = a.num JOIN kith__entries e ON e.stream = s.num
             WHERE a.author = ?1 AND s.lane <> ?2 AND e.status = ?3 AND instr(e.note, ?4) ORDER BY e.arrival LIMIT 1",
        )?
        .query_row(
            params![
                stream.author.as_bytes(),
                stream.lane.as_bytes(),
                EntryStatus::Refused as i64,
                kithdb_search::sql::quote(&table.name)
            ],
            |row| row.get(0),
        )
        .optional()?)
}

/// What a candidate but for its ciphertext is read from, in this order; `e` is the entry.
const CANDIDATE: &str = "e.arrival, e.stream, e.received_unix_ms, e.header,
    (SELECT p.header FROM kith__entries p WHERE p.stream = e.stream AND p.sequence = e.sequence - 1)";
const CANDIDATE_COLUMNS: usize = 5;

fn read_candidate(row: &Row<'_>, ciphertext: Vec<u8>) -> Result<Candidate, LogError> {
    let entry = assemble(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?, ciphertext)?;
    let after = match row.get_ref(4)?.as_blob_or_null().map_err(rusqlite::Error::from)? {
        Some(signed) => assemble(signed, Vec::new())?.header.clock,
        None => Hlc::ZERO,
    };
    let received_unix_ms = row.get::<_, i64>(2)? as u64;
    Ok(Candidate { arrival: row.get(0)?, stream: row.get(1)?, received_unix_ms, entry, after })
}

/// Reads one stored entry.
pub(crate) fn load_candidate(conn: &Connection, arrival: i64) -> Result<Option<Candidate>, LogError> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {CANDIDATE}, e.ciphertext FROM kith__entries e WHERE e.arrival = ?1"))?;
    let mut rows = statement.query([arrival])?;
    rows.next()?.map(|row| read_candidate(row, row.get(CANDIDATE_COLUMNS)?)).transpose()
}
