//! Sealing, off the commit path: captured transactions become metadata, operations and signed, encrypted entries.
//!
//! Invariants:
//! 1. A transaction is resolved, sealed and taken out of `kith__pending` in one durable transaction: no entry leaves before it is on disk,
//!    and no sequence number is ever used twice.
//! 2. Pending transactions are resolved in the order of their commits, before anything remote is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kithdb_log::codec::Reader;
use kithdb_log::limits::PAYLOAD_BYTES_TARGET;
use kithdb_log::{
    Clock, ContentKey, EntryHash, Hlc, LaneId, Operation, RowsWriter, SealInput, Sealer, SequenceNumber, Sibling,
    Stamp, StreamId, StreamOpening, TableId, TransactionHead, keys::sibling_token,
};
use rusqlite::{Connection, OptionalExtension};

use crate::entries::{EntryStatus, StreamState, append, find_stream};
use crate::log_error::LogError;
use crate::merge::{Authors, Merge, MergeError, Sink, resolve};
use crate::pending::{self, PendingChange};
use crate::registry::{Registry, TableInfo};
use crate::replica::Replica;
use crate::sources::Entropy;
use crate::storage::{get_meta, put_meta};
use crate::workspace::Workspace;

/// How much one call to [`Replica::seal`] does before it commits.
#[derive(Debug, Clone, Copy)]
pub struct SealBudget {
    /// Stop taking up further transactions after this many bytes of them.
    pub bytes: usize,
}

impl Default for SealBudget {
    fn default() -> Self {
        Self { bytes: 32 << 20 }
    }
}

/// What [`Replica::seal`] did.
#[derive(Debug, Clone, Default)]
pub struct SealReport {
    /// The streams that grew.
    pub heads: Vec<StreamState>,
    /// How many transactions were sealed.
    pub transactions: u64,
    /// Rows from before sync that were taken up.
    pub rows_taken_up: u64,
    /// Whether there is more to seal.
    pub more: bool,
}

/// One of this device's streams while entries are added to it.
struct Lane {
    id: StreamId,
    height: SequenceNumber,
    head: EntryHash,
    content_key: ContentKey,
    opening: Option<StreamOpening>,
    writer: Option<RowsWriter>,
    begun: Hlc,
    grown: Option<StreamState>,
}

/// Sorts operations into lanes and closes entries as they fill.
pub(crate) struct Lanes<'a> {
    conn: &'a Connection,
    workspace: &'a Workspace,
    entropy: &'a Entropy,
    author: StreamId,
    now_unix_ms: u64,
    authors: Authors,
    sealer: Sealer,
    open: BTreeMap<LaneId, Lane>,
    transaction: Hlc,
}

impl<'a> Lanes<'a> {
    /// Opens the streams of the present incarnation.
    pub(crate) fn open(replica: &'a Replica, now_unix_ms: u64) -> Result<Self, LogError> {
        let Replica { conn, workspace, life, entropy, .. } = replica;
        Ok(Self {
            conn,
            workspace,
            entropy,
            author: StreamId { author: workspace.author(), incarnation: life.incarnation(), lane: LaneId::default() },
            now_unix_ms,
            authors: Authors::load(conn)?,
            sealer: Sealer::new(),
            open: BTreeMap::new(),
            transaction: Hlc::ZERO,
        })
    }

    fn lane(&mut self, table: Option<&Arc<TableInfo>>) -> Result<&mut Lane, LogError> {
        let scope = table.map_or(TableId::SCHEMA, |table| table.id);
        let blinded = self.workspace.blinding.blind_table(scope);
        let lane_id = table.map_or_else(|| kithdb_log::BlindingSecret::lane_id(&blinded, &[]), |table| table.lane);
        if !self.open.contains_key(&lane_id) {
            let id = StreamId { lane: lane_id, ..self.author };
            let scope_key = self.workspace.epoch.scope_key(scope, None);
            let lane = match find_stream(self.conn, &mut self.authors, &id)? {
                Some(stream) => Lane {
                    id,
                    height: stream.state.height,
                    head: stream.state.head,
                    content_key: crate::apply::content_key(
                        self.conn,
                        stream.num,
                        &self.workspace.epoch.id(),
                        &scope_key,
                    )?,
                    opening: None,
                    writer: None,
                    begun: Hlc::ZERO,
                    grown: None,
                },
                None => {
                    let content_key = ContentKey::from_bytes(self.entropy.array()?);
                    let opening = StreamOpening::seal(&content_key, blinded, &scope_key, &[]);
                    Lane {
                        id,
                        height: SequenceNumber::default(),
                        head: EntryHash::default(),
                        content_key,
                        opening: Some(opening),
                        writer: None,
                        begun: Hlc::ZERO,
                        grown: None,
                    }
                }
            };
            self.open.insert(lane_id, lane);
        }
        self.open.get_mut(&lane_id).ok_or(LogError::Damaged { what: "the list of lanes" })
    }

    /// Seals a payload as the next entry of a lane.
    fn close(&mut self, lane_id: &LaneId, payload: &[u8], clock: Hlc) -> Result<(), LogError> {
        let lane = self.open.get_mut(lane_id).ok_or(LogError::Damaged { what: "the list of lanes" })?;
        let keys = self.workspace.keys();
        let entry = self.sealer.seal(SealInput {
            workspace: self.workspace.id(),
            stream: lane.id,
            sequence: lane.height.next(),
            previous: lane.head,
            frontier: self.workspace.membership().frontier_for(keys.author()),
            epoch: self.workspace.epoch.id(),
            clock,
            opening: lane.opening.take(),
            payload,
            content_key: &lane.content_key,
            keys,
            nonce: self.entropy.array()?,
        })?;
        let hash = entry.hash();
        append(self.conn, &mut self.authors, &entry, hash, EntryStatus::Applied, self.now_unix_ms)?;
        lane.height = entry.header.sequence;
        lane.head = hash;
        lane.grown = Some(StreamState { id: lane.id, height: lane.height, head: hash, clock });
        Ok(())
    }

    fn close_writer(&mut self, lane_id: &LaneId) -> Result<(), LogError> {
        let Some(lane) = self.open.get_mut(lane_id) else { return Ok(()) };
        let begun = lane.begun;
        let Some(writer) = lane.writer.take() else { return Ok(()) };
        // Rows from before sync carry no clock of their own.
        let clock = writer.last_clock().max(begun);
        self.close(lane_id, &writer.finish(), clock)
    }

    /// Begins a transaction in all lanes that it writes to.
    pub(crate) fn begin(&mut self, tables: &[Arc<TableInfo>], clock: Hlc) -> Result<(), LogError> {
        self.transaction = clock;
        for table in tables {
            let lane = self.lane(Some(table))?;
            if lane.writer.as_ref().is_some_and(|writer| writer.len() >= PAYLOAD_BYTES_TARGET) {
                self.close_writer(&table.lane)?;
            }
            let lane = self.lane(Some(table))?;
            if lane.writer.is_none() {
                lane.writer = Some(RowsWriter::new(table.id, table.cell_ids.clone()));
            }
        }
        for table in tables {
            let mut siblings = Vec::new();
            for other in tables.iter().filter(|other| other.lane != table.lane) {
                let token_key = self.workspace.epoch.scope_key(other.id, None);
                let token = sibling_token(&token_key, self.author.author, self.author.incarnation, clock);
                let sequence = self.open.get(&other.lane).map_or(SequenceNumber::default(), |lane| lane.height).next();
                siblings.push(Sibling { lane: other.lane, sequence, token });
            }
            let Some(lane) = self.open.get_mut(&table.lane) else { continue };
            lane.begun = clock;
            if let Some(writer) = lane.writer.as_mut() {
                writer.begin(&TransactionHead { clock, continues_previous: false, siblings });
            }
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, tables: &[Arc<TableInfo>]) {
        for table in tables {
            if let Some(writer) = self.open.get_mut(&table.lane).and_then(|lane| lane.writer.as_mut()) {
                writer.end(false);
            }
        }
    }

    pub(crate) fn write_operation(&mut self, table: &TableInfo, operation: &Operation<'_>) -> Result<(), LogError> {
        operation.check_generations()?;
        let lane = self.open.get_mut(&table.lane).ok_or(LogError::Damaged { what: "the list of lanes" })?;
        let writer = lane.writer.as_mut().ok_or(LogError::Damaged { what: "the list of lanes" })?;
        writer.write(operation);
        if writer.len() >= PAYLOAD_BYTES_TARGET {
            writer.end(true);
            self.close_writer(&table.lane)?;
            let mut writer = RowsWriter::new(table.id, table.cell_ids.clone());
            writer.begin(&TransactionHead { clock: self.transaction, continues_previous: true, siblings: vec![] });
            if let Some(lane) = self.open.get_mut(&table.lane) {
                lane.writer = Some(writer);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Vec<StreamState>, LogError> {
        let lanes: Vec<LaneId> = self.open.keys().copied().collect();
        for lane in &lanes {
            self.close_writer(lane)?;
        }
        Ok(self.open.values().filter_map(|lane| lane.grown).collect())
    }
}

/// Carries a failure of the log through the merge, whose trait knows only its own errors.
struct LaneSink<'l, 'a> {
    lanes: &'l mut Lanes<'a>,
    failed: Option<LogError>,
}

impl Sink for LaneSink<'_, '_> {
    fn write(&mut self, table: &TableInfo, operation: &Operation<'_>) -> Result<(), MergeError> {
        self.lanes.write_operation(table, operation).map_err(|error| {
            self.failed = Some(error);
            MergeError::SinkFailed
        })
    }
}

impl Replica {
    /// Seals what was committed since the last time, up to the budget; what it reports as heads is on disk.
    pub fn seal(&mut self, budget: SealBudget) -> Result<SealReport, LogError> {
        self.prepare_to_write()?;
        if !self.has_work_to_seal()? {
            return Ok(SealReport::default());
        }
        let now_unix_ms = (self.clock)();
        let report = self.merging(|replica| seal_in_transaction(replica, budget, now_unix_ms))?;
        self.note_published(&report.heads)?;
        Ok(report)
    }

    fn has_work_to_seal(&self) -> Result<bool, LogError> {
        Ok(self
            .conn
            .prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM kith__pending) OR EXISTS(SELECT 1 FROM kith__tables WHERE state = 'synced' AND (uptake IS NOT NULL OR schema_sequence IS NULL))",
            )?
            .query_row([], |row| row.get(0))?)
    }
}

pub(crate) fn seal_in_transaction(
    replica: &Replica,
    budget: SealBudget,
    now_unix_ms: u64,
) -> Result<SealReport, LogError> {
    let Replica { conn, capture, registry, .. } = replica;
    let restore_hook = || capture.install_hook(conn);
    let mut report = SealReport::default();
    let mut lanes = Lanes::open(replica, now_unix_ms)?;
    let author = lanes.author;
    let last = get_meta::<i64>(conn, "clock")?.unwrap_or(0);
    let pending: Option<i64> = conn.query_row("SELECT max(last_clock) FROM kith__pending", [], |row| row.get(0))?;
    let mut clock = Clock::after(Hlc::from_u64(last.max(pending.unwrap_or(0)) as u64));

    let mut merge = Merge::begin(conn, registry, &restore_hook)?;
    seal_pending(&mut merge, registry, &mut lanes, author, budget, &mut report)?;
    let is_ahead = report.more;
    if !is_ahead {
        seal_schema(conn, registry, &mut lanes, &mut clock, now_unix_ms)?;
        take_up_existing(&mut merge, registry, &mut lanes, &mut clock, now_unix_ms, budget, &mut report)?;
    }
    if is_ahead {
        merge.break_off()?;
    } else {
        merge.finish()?;
    }
    report.heads = lanes.finish()?;
    put_meta(conn, "clock", clock.last().as_u64() as i64)?;
    Ok(report)
}

fn seal_pending(
    merge: &mut Merge<'_>,
    registry: &Registry,
    lanes: &mut Lanes<'_>,
    author: StreamId,
    budget: SealBudget,
    report: &mut SealReport,
) -> Result<(), LogError> {
    let conn = lanes.conn;
    let mut select = conn
        .prepare_cached("SELECT n, first_clock, continues, body FROM kith__pending WHERE n > ?1 ORDER BY n LIMIT 1")?;
    let (mut last, mut bytes, mut continues) = (i64::MIN, 0, false);
    let mut tables: Vec<Arc<TableInfo>> = Vec::new();
    let mut unfinished = conn.prepare_cached("SELECT num FROM kith__tables WHERE uptake IS NOT NULL")?;
    let unfinished: BTreeSet<u32> = unfinished.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let shape = |num: u32| registry.by_num(num).map(|table| (table.columns.len(), table.key.len()));
    loop {
        let row = select
            .query_row([last], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?))
            })
            .optional()?;
        let Some((n, first_clock, flags, stored)) = row else { break };
        // The user's tables show all that is pending, so what is shown can be worked out at the end only, and there is no stopping
        // where something must be.
        if !continues && bytes >= budget.bytes && !merge.is_unsettled() {
            report.more = true;
            break;
        }
        // Taken out first, so that metadata and entries fill the pages it leaves free.
        conn.prepare_cached("DELETE FROM kith__pending WHERE n = ?1")?.execute([n])?;
        let body = pending::unpack(stored, flags)?;
        let mut reader = Reader::new(&body);
        if !continues {
            tables.clear();
            for _ in 0..reader.count(kithdb_log::limits::SIBLINGS_MAX + 1, "number of tables")? {
                let num = reader.varint("table number")?;
                let table = u32::try_from(num).ok().and_then(|num| registry.by_num(num));
                tables.push(table.ok_or(LogError::Damaged { what: "a pending transaction" })?.clone());
            }
            lanes.begin(&tables, Hlc::from_u64(first_clock as u64))?;
        }
        let mut change = PendingChange::default();
        let mut stamp =
            Stamp { clock: Hlc::from_u64(first_clock as u64), author: author.author, incarnation: author.incarnation };
        while !reader.is_empty() {
            change.read(&mut reader, shape)?;
            let uptake = unfinished.contains(&change.table);
            let mut sink = LaneSink { lanes, failed: None };
            if let Err(error) = resolve(merge, &change, stamp, uptake, &mut sink) {
                return Err(sink.failed.unwrap_or(error.into()));
            }
            stamp.clock = Hlc::from_u64(stamp.clock.as_u64().saturating_add(1));
        }
        continues = flags & pending::CONTINUES != 0;
        if !continues {
            lanes.end(&tables);
            report.transactions += 1;
        }
        bytes += body.len();
        last = n;
    }
    if continues {
        return Err(LogError::Damaged { what: "a pending transaction" });
    }
    Ok(())
}

/// Seals the definition of every table that was synced here and not announced yet.
fn seal_schema(
    conn: &Connection,
    registry: &Registry,
    lanes: &mut Lanes<'_>,
    clock: &mut Clock,
    now_unix_ms: u64,
) -> Result<(), LogError> {
    let mut statement = conn.prepare_cached(
        "SELECT num FROM kith__tables WHERE state = 'synced' AND schema_sequence IS NULL ORDER BY num",
    )?;
    let nums: Vec<u32> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for num in nums {
        let Some(table) = registry.by_num(num) else { continue };
        let lane = lanes.lane(None)?.id.lane;
        let at = clock.tick(now_unix_ms, 1)?;
        lanes.close(&lane, &table.schema.encode(), at)?;
        let sequence = lanes.lane(None)?.height.get() as i64;
        conn.prepare_cached("UPDATE kith__tables SET schema_sequence = ?2 WHERE num = ?1")?
            .execute(rusqlite::params![num, sequence])?;
    }
    Ok(())
}

/// Makes the initial operations of rows that were there before sync: stamp 0, in key order, a bounded number at a time.
fn take_up_existing(
    merge: &mut Merge<'_>,
    registry: &Registry,
    lanes: &mut Lanes<'_>,
    clock: &mut Clock,
    now_unix_ms: u64,
    budget: SealBudget,
    report: &mut SealReport,
) -> Result<(), LogError> {
    let conn = lanes.conn;
    let mut statement = conn.prepare_cached(
        "SELECT num, uptake FROM kith__tables WHERE state = 'synced' AND uptake IS NOT NULL ORDER BY num",
    )?;
    let open: Vec<(u32, Vec<u8>)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut left = budget.bytes;
    for (num, cursor) in open {
        if left == 0 {
            report.more = true;
            break;
        }
        // The columns of a table that another program changed may not be there.
        let Some(table) = registry.by_num(num).filter(|table| table.changed.is_none()) else { continue };
        let at = clock.tick(now_unix_ms, 1)?;
        lanes.begin(std::slice::from_ref(table), at)?;
        let (context, work) = merge.with_table(num)?;
        let mut sink = LaneSink { lanes, failed: None };
        let taken = crate::uptake::take_up(context, work, &cursor, left, &mut sink);
        let failed = sink.failed.take();
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return Err(failed.unwrap_or(error.into())),
        };
        lanes.end(std::slice::from_ref(table));
        report.rows_taken_up += taken.rows;
        report.more |= taken.cursor.is_some();
        left = left.saturating_sub(taken.bytes);
        conn.prepare_cached("UPDATE kith__tables SET uptake = ?2 WHERE num = ?1")?
            .execute(rusqlite::params![num, taken.cursor])?;
    }
    Ok(())
}
