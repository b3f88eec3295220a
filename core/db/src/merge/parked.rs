//! Lives of rows that are not shown: dead, superseded, incomplete, or kept out by a constraint. They keep their values and go on merging.
//!
//! State layout: `flags u8 | [birth stamp] | [death stamp] | n, n x (cell, stamp, value) | n, n x (key, generation)` (the last list: the
//! keys this life moved on to).

use kithdb_log::codec::{put_bytes, put_varint};
use kithdb_log::limits::{COLUMNS_MAX, KEY_BYTES_MAX};
use kithdb_log::{DecodeError, Generation, Node, Origin, Reader, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::MergeError;
use super::authors::Authors;

const HAS_BIRTH: u8 = 1;
const HAS_DEATH: u8 = 2;

/// Why a life of a row is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i64)]
pub enum Reason {
    /// The life is over, or a later one has begun: not a conflict.
    Past = 0,
    /// The insert, or a cell, has not arrived.
    PartMissing = 1,
    /// An earlier-born row holds the same auto-assigned id.
    IdTaken = 2,
    /// Another row claimed a UNIQUE value before.
    Unique = 3,
    /// A NOT NULL column has no value.
    NotNull = 4,
    /// The table is STRICT and a value has the wrong type.
    WrongType = 5,
    /// SQLite refuses the row for another reason, such as an index expression that fails on it.
    Refused = 6,
}

impl Reason {
    pub(crate) const fn from_i64(number: i64) -> Self {
        match number {
            1 => Self::PartMissing,
            2 => Self::IdTaken,
            3 => Self::Unique,
            4 => Self::NotNull,
            5 => Self::WrongType,
            6 => Self::Refused,
            _ => Self::Past,
        }
    }
}

/// One life of a row: what merged into it, and where it moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// The merged state; cells by their index in the table's cells.
    pub(crate) node: Node<u16>,
    /// Keys this life went on under, in ascending order.
    pub(crate) links: Vec<(Vec<u8>, Generation)>,
}

impl Life {
    /// Joins a link; returns whether it is new.
    pub(crate) fn join_link(&mut self, key: &[u8], generation: Generation) -> bool {
        let link = (key.to_vec(), generation);
        match self.links.binary_search(&link) {
            Ok(_) => false,
            Err(index) => {
                self.links.insert(index, link);
                true
            }
        }
    }

    /// Tells whether the row was born, lives and has all its cells.
    pub(crate) fn is_complete(&self, cell_count: usize) -> bool {
        self.node.is_live() && self.node.cells.len() == cell_count
    }
}

/// Which life of which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LifeId {
    pub(crate) key: Vec<u8>,
    pub(crate) origin: Origin,
    pub(crate) generation: Generation,
}

/// A parked life with the reason it was parked for.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) id: LifeId,
    pub(crate) reason: Reason,
    pub(crate) life: Life,
}

pub(crate) fn encode(conn: &Connection, authors: &mut Authors, life: &Life) -> rusqlite::Result<Vec<u8>> {
    let mut out = vec![0];
    if let Some(birth) = &life.node.birth {
        out[0] |= HAS_BIRTH;
        authors.put_stamp(conn, birth, &mut out)?;
    }
    if let Some(death) = &life.node.death {
        out[0] |= HAS_DEATH;
        authors.put_stamp(conn, death, &mut out)?;
    }
    put_varint(&mut out, life.node.cells.len() as u64);
    for (cell, content) in &life.node.cells {
        put_varint(&mut out, u64::from(*cell));
        authors.put_stamp(conn, &content.stamp, &mut out)?;
        out.extend_from_slice(&content.value);
    }
    put_varint(&mut out, life.links.len() as u64);
    for (key, generation) in &life.links {
        put_bytes(&mut out, key);
        put_varint(&mut out, generation.get());
    }
    Ok(out)
}

pub(crate) fn decode(bytes: &[u8], authors: &Authors) -> Result<Life, DecodeError> {
    let mut reader = Reader::new(bytes);
    let flags = reader.byte("parked row")?;
    let mut life = Life::default();
    if flags & HAS_BIRTH != 0 {
        life.node.birth = Some(authors.read_stamp(&mut reader)?);
    }
    if flags & HAS_DEATH != 0 {
        life.node.death = Some(authors.read_stamp(&mut reader)?);
    }
    for _ in 0..reader.count(COLUMNS_MAX, "number of cells")? {
        let cell = reader.count(COLUMNS_MAX, "cell")? as u16;
        let stamp = authors.read_stamp(&mut reader)?;
        life.node.join_cell(cell, stamp, ValueRef::skip(&mut reader)?);
    }
    // A hostile member may move one row as often as it likes; each link takes two bytes or more.
    for _ in 0..reader.count(bytes.len(), "number of links")? {
        let key = reader.bytes(KEY_BYTES_MAX, "key")?.to_vec();
        life.links.push((key, Generation::new(reader.varint("generation")?)));
    }
    reader.finish("parked row")?;
    Ok(life)
}

fn origin_to_sql(origin: Origin) -> i64 {
    origin.get() as i64
}

fn origin_from_sql(number: i64) -> Origin {
    Origin::new(number as u64)
}

/// Tells whether a table has parked lives at all, and whether some are kept out although alive.
pub(crate) fn any(conn: &Connection, table: u32) -> rusqlite::Result<(bool, bool)> {
    let all = conn
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM kith_parked WHERE table_num = ?1)")?
        .query_row([table], |row| row.get(0))?;
    let live = conn
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM kith_parked WHERE table_num = ?1 AND reason > 0)")?
        .query_row([table], |row| row.get(0))?;
    Ok((all, live))
}

/// Tells whether any life is parked under a key.
pub(crate) fn any_under_key(conn: &Connection, table: u32, key: &[u8]) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS(SELECT 1 FROM kith_parked WHERE table_num = ?1 AND key = ?2)")?
        .query_row(params![table, key], |row| row.get(0))
}

/// Reads all parked lives under a key.
pub(crate) fn under_key(
    conn: &Connection,
    authors: &Authors,
    table: u32,
    key: &[u8],
) -> Result<Vec<Parked>, MergeError> {
    let mut statement = conn.prepare_cached(
        "SELECT key, origin, generation, reason, state FROM kith_parked WHERE table_num = ?1 AND key = ?2 ORDER BY origin, generation",
    )?;
    let rows = statement.query(params![table, key])?;
    read_all(rows, authors)
}

/// Reads the parked lives of a table that have the given reason.
pub(crate) fn with_reason(
    conn: &Connection,
    authors: &Authors,
    table: u32,
    reason: Reason,
) -> Result<Vec<Parked>, MergeError> {
    let mut statement = conn.prepare_cached(
        "SELECT key, origin, generation, reason, state FROM kith_parked WHERE table_num = ?1 AND reason = ?2 AND reason > 0 ORDER BY key, origin, generation",
    )?;
    let rows = statement.query(params![table, reason as i64])?;
    read_all(rows, authors)
}

/// Reads every parked life of a table, one after the other and damaged ones too, in no order.
pub(crate) fn each(
    conn: &Connection,
    authors: &Authors,
    table: u32,
    mut each: impl FnMut(LifeId, Reason, Result<Life, DecodeError>),
) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare_cached("SELECT key, origin, generation, reason, state FROM kith_parked WHERE table_num = ?1")?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let life = decode(row.get_ref(4)?.as_blob()?, authors);
        each(id_of(row)?, Reason::from_i64(row.get(3)?), life);
    }
    Ok(())
}

fn id_of(row: &Row<'_>) -> rusqlite::Result<LifeId> {
    Ok(LifeId {
        key: row.get(0)?,
        origin: origin_from_sql(row.get(1)?),
        generation: Generation::new(row.get::<_, i64>(2)? as u64),
    })
}

/// Reads every parked life of a table.
pub(crate) fn all(conn: &Connection, authors: &Authors, table: u32) -> Result<Vec<Parked>, MergeError> {
    let mut statement = conn.prepare_cached(
        "SELECT key, origin, generation, reason, state FROM kith_parked WHERE table_num = ?1 ORDER BY key, origin, generation",
    )?;
    let rows = statement.query(params![table])?;
    read_all(rows, authors)
}

fn read_all(mut rows: rusqlite::Rows<'_>, authors: &Authors) -> Result<Vec<Parked>, MergeError> {
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let state = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        out.push(Parked { id: id_of(row)?, reason: Reason::from_i64(row.get(3)?), life: decode(state, authors)? });
    }
    Ok(out)
}

/// Reads one parked life.
pub(crate) fn get(conn: &Connection, authors: &Authors, table: u32, id: &LifeId) -> Result<Option<Life>, MergeError> {
    let state: Option<Vec<u8>> = conn
        .prepare_cached(
            "SELECT state FROM kith_parked WHERE table_num = ?1 AND key = ?2 AND origin = ?3 AND generation = ?4",
        )?
        .query_row(params![table, id.key, origin_to_sql(id.origin), id.generation.get() as i64], |row| row.get(0))
        .optional()?;
    Ok(state.map(|state| decode(&state, authors)).transpose()?)
}

/// Writes a parked life.
pub(crate) fn put(
    conn: &Connection,
    authors: &mut Authors,
    table: u32,
    id: &LifeId,
    reason: Reason,
    life: &Life,
) -> Result<(), MergeError> {
    let state = encode(conn, authors, life)?;
    conn.prepare_cached(
        "INSERT INTO kith_parked(table_num, key, origin, generation, reason, state) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT(table_num, key, origin, generation) DO UPDATE SET reason = excluded.reason, state = excluded.state",
    )?
    .execute(params![table, id.key, origin_to_sql(id.origin), id.generation.get() as i64, reason as i64, state])?;
    Ok(())
}

/// Changes why a life is parked.
pub(crate) fn set_reason(conn: &Connection, table: u32, id: &LifeId, reason: Reason) -> Result<(), MergeError> {
    conn.prepare_cached(
        "UPDATE kith_parked SET reason = ?5 WHERE table_num = ?1 AND key = ?2 AND origin = ?3 AND generation = ?4",
    )?
    .execute(params![table, id.key, origin_to_sql(id.origin), id.generation.get() as i64, reason as i64])?;
    Ok(())
}

/// Takes every life under a key out of the parked ones.
pub(crate) fn remove_under_key(conn: &Connection, table: u32, key: &[u8]) -> Result<(), MergeError> {
    conn.prepare_cached("DELETE FROM kith_parked WHERE table_num = ?1 AND key = ?2")?.execute(params![table, key])?;
    Ok(())
}

/// Takes a life out of the parked ones, because it is shown now.
pub(crate) fn remove(conn: &Connection, table: u32, id: &LifeId) -> Result<(), MergeError> {
    conn.prepare_cached(
        "DELETE FROM kith_parked WHERE table_num = ?1 AND key = ?2 AND origin = ?3 AND generation = ?4",
    )?
    .execute(params![table, id.key, origin_to_sql(id.origin), id.generation.get() as i64])?;
    Ok(())
}
