//! The log store: streams and their sealed entries, by sequence and by arrival.
//!
//! Invariants:
//! 1. The entries of a stream are stored without gap, each naming the hash of the one before.
//! 2. What [`Replica::store_entries`] reports as stored is on disk when it returns.

use kithdb_log::{
    ArrivalNumber, AuthorId, EntryHash, EntryHeader, Hlc, IncarnationId, LaneId, ReplicaId, SealedEntry,
    SequenceNumber, Signature, StreamId,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::log_error::LogError;
use crate::merge::Authors;
use crate::replica::Replica;

/// What has become of a stored entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum EntryStatus {
    /// Stored, to be applied.
    Waiting = 0,
    /// Merged, or made here.
    Applied = 1,
    /// Its table is not known here, or does not fit; merged once it does.
    WaitingForTable = 2,
    /// Not what the format says; the note says why. Stored and passed on like any other.
    Refused = 3,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Which stream.
    pub id: StreamId,
    /// The sequence number of its last stored entry.
    pub height: SequenceNumber,
    /// The hash of that entry.
    pub head: EntryHash,
    /// The greatest clock of that entry.
    pub clock: Hlc,
}

/// Where a replica stands.
#[derive(Debug, Clone)]
pub struct SyncState {
    /// Names the replica for arrival numbers.
    pub replica: ReplicaId,
    /// The number of the last arrival.
    pub arrival: ArrivalNumber,
    /// All streams.
    pub streams: Vec<StreamState>,
}

/// What became of one entry that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is on disk.
    New,
    /// It had been there before.
    Known,
    /// The entry before it is missing.
    Gap,
    /// Another entry has its place in the stream, it names another one before it, or this device took its branch back.
    Fork {
        /// The hash of the entry that is stored.
        kept: EntryHash,
    },
}

/// What became of entries that were to be stored.
#[derive(Debug, Clone)]
pub struct StoreReport {
    /// One outcome for each entry.
    pub outcomes: Vec<Stored>,
    /// The number of the last arrival now.
    pub arrival: ArrivalNumber,
}

pub(crate) struct StreamRow {
    pub(crate) num: i64,
    pub(crate) state: StreamState,
}

/// Finds a stream, or the empty one it would begin as.
pub(crate) fn find_stream(
    conn: &Connection,
    authors: &mut Authors,
    id: &StreamId,
) -> rusqlite::Result<Option<StreamRow>> {
    let author = authors.num_of(conn, id.author, id.incarnation)?;
    conn.prepare_cached("SELECT num, height, head, clock FROM kith__streams WHERE author = ?1 AND lane = ?2")?
        .query_row(params![author, id.lane.as_bytes()], |row| {
            Ok(StreamRow {
                num: row.get(0)?,
                state: StreamState {
                    id: *id,
                    height: SequenceNumber::new(row.get::<_, i64>(1)? as u64),
                    head: EntryHash::from_bytes(row.get(2)?),
                    clock: Hlc::from_u64(row.get::<_, i64>(3)? as u64),
                },
            })
        })
        .optional()
}

/// Stores an entry as the next of its stream.
pub(crate) fn append(
    conn: &Connection,
    authors: &mut Authors,
    entry: &SealedEntry,
    hash: EntryHash,
    status: EntryStatus,
    now_unix_ms: u64,
) -> Result<i64, LogError> {
    let header = &entry.header;
    let author = authors.num_of(conn, header.stream.author, header.stream.incarnation)?;
    let (height, clock) = (header.sequence.get() as i64, header.clock.as_u64() as i64);
    let stream: i64 = conn
        .prepare_cached(
            "INSERT INTO kith__streams(author, lane, height, head, clock, arrival) VALUES(?1, ?2, ?3, ?4, ?5, 0)
             ON CONFLICT(author, lane) DO UPDATE SET height = excluded.height, head = excluded.head, clock = excluded.clock RETURNING num",
        )?
        .query_row(params![author, header.stream.lane.as_bytes(), height, hash.as_bytes(), clock], |row| row.get(0))?;
    let mut signed = entry.header_bytes();
    signed.extend_from_slice(entry.signature.as_bytes());
    conn.prepare_cached(
        "INSERT INTO kith__entries(stream, sequence, status, received_unix_ms, header, ciphertext) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![stream, height, status as i64, now_unix_ms as i64, signed, entry.ciphertext])?;
    let arrival = conn.last_insert_rowid();
    conn.prepare_cached("UPDATE kith__streams SET arrival = ?2 WHERE num = ?1")?.execute([stream, arrival])?;
    if header.opening.is_some() {
        conn.prepare_cached("INSERT OR IGNORE INTO kith__openings(stream, epoch, sequence) VALUES(?1, ?2, ?3)")?
            .execute(params![stream, header.epoch.as_bytes(), height])?;
    }
    Ok(stream)
}

/// Puts an entry together from its stored parts.
pub(crate) fn assemble(signed: &[u8], ciphertext: Vec<u8>) -> Result<SealedEntry, LogError> {
    let split = signed.len().checked_sub(Signature::LEN).ok_or(LogError::Damaged { what: "an entry's header" })?;
    let header = EntryHeader::decode(&signed[..split])?;
    let signature =
        Signature::from_slice(&signed[split..]).ok_or(LogError::Damaged { what: "an entry's signature" })?;
    Ok(SealedEntry { header, signature, ciphertext })
}

const STATES: &str = "SELECT a.author, a.incarnation, s.lane, s.height, s.head, s.clock FROM kith__streams s JOIN kith__authors a ON a.num = s.author";

fn read_states(conn: &Connection, after: ArrivalNumber) -> rusqlite::Result<Vec<StreamState>> {
    let mut statement = conn.prepare_cached(&format!("{STATES} WHERE s.arrival > ?1 ORDER BY s.arrival"))?;
    let rows = statement.query_map([after.get() as i64], |row| {
        Ok(StreamState {
            id: StreamId {
                author: AuthorId::from_bytes(row.get(0)?),
                incarnation: IncarnationId::from_bytes(row.get(1)?),
                lane: LaneId::from_bytes(row.get(2)?),
            },
            height: SequenceNumber::new(row.get::<_, i64>(3)? as u64),
            head: EntryHash::from_bytes(row.get(4)?),
            clock: Hlc::from_u64(row.get::<_, i64>(5)? as u64),
        })
    })?;
    rows.collect()
}

pub(crate) fn last_arrival(conn: &Connection) -> rusqlite::Result<ArrivalNumber> {
    let last: Option<i64> =
        conn.prepare_cached("SELECT max(arrival) FROM kith__entries")?.query_row([], |row| row.get(0))?;
    Ok(ArrivalNumber::new(last.unwrap_or(0) as u64))
}

impl Replica {
    /// Tells where this replica stands: every stream with its height and head.
    pub fn sync_state(&self) -> Result<SyncState, LogError> {
        Ok(SyncState {
            replica: self.life.replica(),
            arrival: last_arrival(&self.conn)?,
            streams: read_states(&self.conn, ArrivalNumber::default())?,
        })
    }

    /// Returns the number of the last arrival.
    pub fn arrival(&self) -> Result<ArrivalNumber, LogError> {
        Ok(last_arrival(&self.conn)?)
    }

    /// Lists the streams that have grown since an arrival.
    pub fn changes_since(&self, arrival: ArrivalNumber) -> Result<Vec<StreamState>, LogError> {
        Ok(read_states(&self.conn, arrival)?)
    }

    /// Reads entries of a stream in order, from a sequence number on, until `bytes_max` is reached; at least one if there is one.
    pub fn load_entries(
        &self,
        stream: &StreamId,
        from: SequenceNumber,
        bytes_max: usize,
    ) -> Result<Vec<SealedEntry>, LogError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT e.header, e.ciphertext FROM kith__authors a JOIN kith__streams s ON s.author = a.num AND s.lane = ?3
             JOIN kith__entries e ON e.stream = s.num WHERE a.author = ?1 AND a.incarnation = ?2 AND e.sequence >= ?4 ORDER BY e.sequence",
        )?;
        let mut rows = statement.query(params![
            stream.author.as_bytes(),
            stream.incarnation.as_bytes(),
            stream.lane.as_bytes(),
            from.get() as i64
        ])?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let entry = assemble(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, row.get(1)?)?;
            bytes += entry.byte_len();
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Stores admitted entries; each must be the next of its stream. One transaction, on disk when this returns.
    pub fn store_entries(&mut self, entries: &[SealedEntry]) -> Result<StoreReport, LogError> {
        let now_unix_ms = (self.clock)();
        self.durably(|replica| {
            let conn = &replica.conn;
            let mut authors = Authors::load(conn)?;
            let mut outcomes = Vec::with_capacity(entries.len());
            for entry in entries {
                let (header, hash) = (&entry.header, entry.hash());
                let (height, head) = match find_stream(conn, &mut authors, &header.stream)? {
                    Some(stream) => (stream.state.height, stream.state.head),
                    None => (SequenceNumber::default(), EntryHash::default()),
                };
                outcomes.push(if header.sequence <= height {
                    match stored_hash(conn, &mut authors, header)? {
                        Some(kept) if kept == hash => Stored::Known,
                        Some(kept) => Stored::Fork { kept },
                        None => Stored::Gap,
                    }
                } else if header.sequence != height.next() {
                    Stored::Gap
                } else if header.previous != head || crate::strand::left(conn, &header.stream)? == Some(hash) {
                    Stored::Fork { kept: head }
                } else {
                    append(conn, &mut authors, entry, hash, EntryStatus::Waiting, now_unix_ms)?;
                    Stored::New
                });
            }
            Ok(StoreReport { outcomes, arrival: last_arrival(conn)? })
        })
    }

    /// Returns up to which arrival another replica was told all.
    pub fn peer_memory(&self, replica: ReplicaId) -> Result<ArrivalNumber, LogError> {
        let arrival: Option<i64> = self
            .conn
            .prepare_cached("SELECT arrival FROM kith__peers WHERE replica = ?1")?
            .query_row([replica.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(ArrivalNumber::new(arrival.unwrap_or(0) as u64))
    }

    /// Notes up to which of its arrivals another replica has told us all.
    pub fn remember_peer(&mut self, replica: ReplicaId, arrival: ArrivalNumber) -> Result<(), LogError> {
        let _quiet = self.capture.internal(&self.conn);
        self.conn
            .prepare_cached(
                "INSERT INTO kith__peers VALUES(?1, ?2) ON CONFLICT(replica) DO UPDATE SET arrival = excluded.arrival",
            )?
            .execute(params![replica.as_bytes(), arrival.get() as i64])?;
        Ok(())
    }
}

fn stored_hash(conn: &Connection, authors: &mut Authors, header: &EntryHeader) -> Result<Option<EntryHash>, LogError> {
    let Some(stream) = find_stream(conn, authors, &header.stream)? else { return Ok(None) };
    let stored: Option<(Vec<u8>, Vec<u8>)> = conn
        .prepare_cached("SELECT header, ciphertext FROM kith__entries WHERE stream = ?1 AND sequence = ?2")?
        .query_row(params![stream.num, header.sequence.get() as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    stored.map(|(signed, ciphertext)| Ok(assemble(&signed, ciphertext)?.hash())).transpose()
}
