//! The first bytes of a snapshot: whose it is, and where its sections lie.

use crate::index::{Encoding, Engine, IndexOptions};
use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_MIN, DIMENSIONS_MAX, EF_CONSTRUCTION_MAX, SLOTS_MAX};
use crate::metric::Metric;

use super::SnapshotError;

pub(super) const MAGIC: [u8; 8] = *b"KithIdx\0";
pub(super) const VERSION: u32 = 1;
pub(super) const HASH_BYTES: usize = 32;
/// Sections begin on multiples of this, so that arrays in a mapped file can be used there.
pub(super) const ALIGNMENT: usize = 64;
const FIXED_BYTES: usize = 136;
/// Zeros from here to the sections' entries: room for another version's numbers.
const PADDING_START: usize = 120;
const ENTRY_BYTES: usize = 16 + HASH_BYTES;
/// The whole header with the checksum at its end.
pub(super) const HEADER_BYTES: usize = FIXED_BYTES + SECTIONS.len() * ENTRY_BYTES + HASH_BYTES;

/// The sections in their order.
pub(super) const SECTIONS: [&str; 10] =
    ["occupied slots", "keys", "codes", "scalars", "floats", "levels", "base layer", "upper layers", "twins", "notes"];
pub(super) const OCCUPIED: usize = 0;
pub(super) const KEYS: usize = 1;
pub(super) const CODES: usize = 2;
pub(super) const SCALARS: usize = 3;
pub(super) const EXACT: usize = 4;
pub(super) const LEVELS: usize = 5;
pub(super) const BASE: usize = 6;
pub(super) const UPPER: usize = 7;
pub(super) const TWINS: usize = 8;
pub(super) const NOTES: usize = 9;

/// What a snapshot belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The database.
    pub database: [u8; 16],
    /// A hash of what makes the column what it is: its names, its model.
    pub column: [u8; 32],
}

/// What the first bytes of a snapshot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// What it belongs to.
    pub identity: Identity,
    /// How the index was made.
    pub options: IndexOptions,
    /// The last change that it holds, in the owner's count.
    pub sequence: u64,
    /// Embeddings.
    pub len: usize,
    /// Slots that were ever used.
    pub rows: usize,
    /// Whether a graph is saved too.
    pub has_graph: bool,
    pub(super) has_integer_keys: bool,
    pub(super) sections: [Section; SECTIONS.len()],
}

/// Where a section lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Section {
    pub start: u64,
    pub len: u64,
    pub hash: [u8; HASH_BYTES],
}

/// Reads the header alone, which costs nothing: to see whose a snapshot is, and how new.
///
/// # Errors
/// The bytes begin with no header, or a damaged one.
pub fn read_header(bytes: &[u8]) -> Result<SnapshotHeader, SnapshotError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(SnapshotError::Foreign);
    }
    let mut fields = Fields { rest: &bytes[MAGIC.len()..] };
    let version = fields.u32()?;
    if version != VERSION {
        return Err(SnapshotError::Version { version });
    }
    let damaged = SnapshotError::Damaged { part: "header" };
    let (signed, rest) = bytes.split_at_checked(HEADER_BYTES - HASH_BYTES).ok_or(damaged.clone())?;
    if !rest.starts_with(blake3::hash(signed).as_bytes()) {
        return Err(damaged);
    }
    let flags = fields.u32()?;
    let identity = Identity { database: fields.array()?, column: fields.array()? };
    let options = IndexOptions {
        dimensions: fields.u32()? as usize,
        metric: member(&METRICS, fields.u32()?)?,
        encoding: member(&ENCODINGS, fields.u32()?)?,
        engine: member(&ENGINES, fields.u32()?)?,
        connections: fields.u32()? as usize,
        ef_construction: fields.u32()? as usize,
        seed: fields.u64()?,
    };
    let sequence = fields.u64()?;
    let (len, rows) = (fields.u64()?, fields.u64()?);
    if signed[PADDING_START..FIXED_BYTES].iter().any(|&byte| byte != 0) {
        return Err(damaged);
    }
    fields.rest = &signed[FIXED_BYTES..];
    let mut sections = [Section::default(); SECTIONS.len()];
    for section in &mut sections {
        *section = Section { start: fields.u64()?, len: fields.u64()?, hash: fields.array()? };
    }
    let is_sound = is_in_range(&options) && len <= rows && rows <= u64::from(SLOTS_MAX) && flags < 4;
    if !is_sound {
        return Err(damaged);
    }
    let (len, rows) = (len as usize, rows as usize);
    let (has_graph, has_integer_keys) = (flags & 1 != 0, flags & 2 != 0);
    Ok(SnapshotHeader { identity, options, sequence, len, rows, has_graph, has_integer_keys, sections })
}

/// Says whether an index can have such options.
pub(super) fn is_in_range(options: &IndexOptions) -> bool {
    (1..=DIMENSIONS_MAX).contains(&options.dimensions)
        && (CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(&options.connections)
        && (1..=EF_CONSTRUCTION_MAX).contains(&options.ef_construction)
}

impl SnapshotHeader {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let options = &self.options;
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        let flags = u32::from(self.has_graph) | u32::from(self.has_integer_keys) << 1;
        bytes.extend([VERSION, flags].map(u32::to_le_bytes).as_flattened());
        bytes.extend(self.identity.database);
        bytes.extend(self.identity.column);
        let numbers = [
            options.dimensions as u32,
            number(&METRICS, options.metric),
            number(&ENCODINGS, options.encoding),
            number(&ENGINES, options.engine),
            options.connections as u32,
            options.ef_construction as u32,
        ];
        bytes.extend(numbers.map(u32::to_le_bytes).as_flattened());
        let numbers = [options.seed, self.sequence, self.len as u64, self.rows as u64];
        bytes.extend(numbers.map(u64::to_le_bytes).as_flattened());
        bytes.resize(FIXED_BYTES, 0);
        for section in &self.sections {
            bytes.extend([section.start, section.len].map(u64::to_le_bytes).as_flattened());
            bytes.extend(section.hash);
        }
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        bytes
    }
}

/// In the order of their numbers, which never change.
const METRICS: [Metric; 5] = [Metric::Cosine, Metric::L2, Metric::InnerProduct, Metric::L1, Metric::Hamming];
const ENCODINGS: [Encoding; 4] = [Encoding::F32, Encoding::F16, Encoding::Int8, Encoding::Bit];
const ENGINES: [Engine; 4] = [Engine::Auto, Engine::Scan, Engine::Hnsw, Engine::HnswRs];

fn number<T: PartialEq>(members: &[T], member: T) -> u32 {
    members.iter().position(|known| *known == member).unwrap_or(members.len()) as u32
}

fn member<T: Copy>(members: &[T], number: u32) -> Result<T, SnapshotError> {
    members.get(number as usize).copied().ok_or(SnapshotError::Damaged { part: "header" })
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(SnapshotError::Damaged { part: "header" })?;
        self.rest = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }
}
