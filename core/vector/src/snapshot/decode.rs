//! Reading a snapshot, whoever wrote it.

use std::sync::Arc;

use super::header::{
    ALIGNMENT, BASE, CODES, EXACT, HEADER_BYTES, KEYS, LEVELS, NOTES, OCCUPIED, SCALARS, SECTIONS, SnapshotHeader,
    TWINS, UPPER, read_header,
};
use super::{Keys, SnapshotError};
use crate::hnsw::{Graph, GraphSections};
use crate::rows::ForeignBytes;
use crate::slots::{Slot, SlotSet};
use crate::store::{EmbeddingStore, ForeignParts, ForeignRows};

/// The bytes of each section.
type Sections<'a> = [&'a [u8]; SECTIONS.len()];

/// How much of a snapshot is read to verify its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    Whole,
    /// All but the exact floats, most of a snapshot by far, so that a large one opens at once. Bits that changed there can make a
    /// distance wrong, nothing else.
    ButFloats,
}

/// What was saved.
pub struct Snapshot {
    /// What the first bytes say.
    pub header: SnapshotHeader,
    /// The keys of the occupied slots.
    pub keys: Keys,
    /// The embeddings; they stay in the bytes where those begin on a multiple of 64 in memory.
    pub store: EmbeddingStore,
    /// The graph, if there was one.
    pub graph: Option<Graph>,
    /// What else the owner saved.
    pub notes: Vec<u8>,
}

/// Reads a snapshot.
///
/// # Errors
/// The bytes are none, are of another version, or are damaged.
pub fn decode(bytes: &ForeignBytes, depth: Depth) -> Result<Snapshot, SnapshotError> {
    let (header, sections) = read_sections((**bytes).as_ref(), |number| number != EXACT || depth == Depth::Whole)?;
    let mut snapshot = decode_rest(bytes, header, &sections)?;
    let graph = decode_graph(&snapshot.header, &sections)?;
    if graph.as_ref().is_some_and(|graph| !graph.slots().eq(snapshot.store.occupied().iter())) {
        return Err(damaged(LEVELS));
    }
    snapshot.graph = graph;
    Ok(snapshot)
}

/// Reads a snapshot but for its graph, of which it takes neither the time nor the memory.
///
/// # Errors
/// The bytes are none, are of another version, or are damaged.
pub fn decode_without_graph(bytes: &ForeignBytes, depth: Depth) -> Result<Snapshot, SnapshotError> {
    let is_verified = |number| number < LEVELS && (number != EXACT || depth == Depth::Whole) || number == NOTES;
    let (header, sections) = read_sections((**bytes).as_ref(), is_verified)?;
    decode_rest(bytes, header, &sections)
}

/// Reads the embeddings alone, without verifying any checksum: of what this program has just written itself.
///
/// # Errors
/// The bytes are none, are of another version, or do not hold together.
pub fn decode_own_store(bytes: &ForeignBytes) -> Result<EmbeddingStore, SnapshotError> {
    let (header, sections) = read_sections((**bytes).as_ref(), |_| false)?;
    decode_store(bytes, &header, &sections)
}

/// Finds the sections, and verifies those that are to be.
fn read_sections(
    all: &[u8],
    is_verified: impl Fn(usize) -> bool,
) -> Result<(SnapshotHeader, Sections<'_>), SnapshotError> {
    if cfg!(target_endian = "big") {
        return Err(SnapshotError::ByteOrder);
    }
    let header = read_header(all)?;
    let mut sections = [&[][..]; SECTIONS.len()];
    let mut before = HEADER_BYTES;
    for (number, place) in header.sections.iter().enumerate() {
        let damaged = SnapshotError::Damaged { part: SECTIONS[number] };
        let end = place.start.checked_add(place.len).ok_or(damaged.clone())?;
        let range = usize::try_from(place.start).ok().zip(usize::try_from(end).ok()).ok_or(damaged.clone())?;
        let section = all.get(range.0..range.1).ok_or(damaged.clone())?;
        // Nothing but zeros lies before it, and no more of them than must.
        let is_placed =
            range.0 == before.next_multiple_of(ALIGNMENT) && all[before..range.0].iter().all(|&byte| byte == 0);
        if !is_placed || (is_verified(number) && *blake3::hash(section).as_bytes() != place.hash) {
            return Err(damaged);
        }
        sections[number] = section;
        before = range.1;
    }
    if before != all.len() {
        return Err(SnapshotError::Damaged { part: "end" });
    }
    Ok((header, sections))
}

/// Reads all but the graph.
fn decode_rest(
    bytes: &ForeignBytes,
    header: SnapshotHeader,
    sections: &Sections<'_>,
) -> Result<Snapshot, SnapshotError> {
    let keys = Keys::from_bytes(sections[KEYS], header.len, header.has_integer_keys)?;
    let store = decode_store(bytes, &header, sections)?;
    Ok(Snapshot { keys, store, graph: None, notes: sections[NOTES].to_vec(), header })
}

fn damaged(section: usize) -> SnapshotError {
    SnapshotError::Damaged { part: SECTIONS[section] }
}

fn decode_store(
    bytes: &ForeignBytes,
    header: &SnapshotHeader,
    sections: &Sections<'_>,
) -> Result<EmbeddingStore, SnapshotError> {
    let occupied = occupied(sections[OCCUPIED], header).ok_or(damaged(OCCUPIED))?;
    let empty = EmbeddingStore::new(&header.options).map_err(|_| SnapshotError::Damaged { part: "header" })?;
    for (section, row_bytes) in [
        (CODES, empty.code_bytes()),
        (SCALARS, empty.scalars_bytes()),
        (EXACT, header.options.dimensions * size_of::<f32>()),
    ] {
        if Some(sections[section].len()) != header.rows.checked_mul(row_bytes) {
            return Err(damaged(section));
        }
    }
    let rows_of =
        |section: usize| ForeignRows { bytes: Arc::clone(bytes), start: header.sections[section].start as usize };
    let parts = ForeignParts {
        rows: header.rows,
        occupied,
        codes: rows_of(CODES),
        scalars: rows_of(SCALARS),
        exact: rows_of(EXACT),
    };
    EmbeddingStore::with_foreign(&header.options, parts).map_err(|_| damaged(EXACT))
}

fn decode_graph(header: &SnapshotHeader, sections: &Sections<'_>) -> Result<Option<Graph>, SnapshotError> {
    if header.has_graph {
        let [levels, base, upper, twins] = [LEVELS, BASE, UPPER, TWINS].map(|section| sections[section]);
        Ok(Some(Graph::from_sections(&header.options, &GraphSections { levels, base, upper, twins })?))
    } else {
        let is_there = |section: &usize| !sections[*section].is_empty();
        let surplus = [LEVELS, BASE, UPPER, TWINS].into_iter().find(is_there);
        surplus.map_or(Ok(None), |section| Err(damaged(section)))
    }
}

/// Reads the bits of the occupied slots, which must be as many as the header says.
fn occupied(bytes: &[u8], header: &SnapshotHeader) -> Option<SlotSet> {
    let (words, rest) = bytes.as_chunks();
    if !rest.is_empty() || words.last() == Some(&[0; 8]) || words.len() > header.rows.div_ceil(64) {
        return None;
    }
    let mut slots = SlotSet::default();
    for (word, first) in words.iter().zip((0u32..).step_by(64)) {
        let mut bits = u64::from_le_bytes(*word);
        while bits != 0 {
            slots.insert(Slot(first + bits.trailing_zeros()));
            bits &= bits - 1;
        }
    }
    let is_within = slots.last().is_none_or(|last| (last.0 as usize) < header.rows);
    (is_within && slots.len() == header.len).then_some(slots)
}
