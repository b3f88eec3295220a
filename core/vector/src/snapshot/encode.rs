//! Writing a snapshot.

use std::io::{self, Write};

use super::header::{ALIGNMENT, HASH_BYTES, HEADER_BYTES, Section, SnapshotHeader, is_in_range};
use super::{Identity, Keys};
use crate::hnsw::GraphSections;
use crate::index::IndexOptions;
use crate::store::EmbeddingStore;

/// What is saved.
pub struct Saved<'a> {
    /// What it belongs to.
    pub identity: Identity,
    /// How the index was made.
    pub options: &'a IndexOptions,
    /// The last change that it holds, in the owner's count.
    pub sequence: u64,
    /// The keys of the occupied slots.
    pub keys: &'a Keys,
    /// The embeddings.
    pub store: &'a EmbeddingStore,
    /// The graph, if there is one. It must know all that the store holds: bring it forward first.
    pub graph: Option<&'a GraphSections>,
    /// What else the owner wants to find again.
    pub notes: &'a [u8],
}

/// Writes a snapshot. All is read twice: for the checksums, which come first, and for the bytes.
///
/// # Errors
/// Those of the writer; and on a big-endian machine, or where the keys are not as many as the occupied slots, one of kind
/// [`io::ErrorKind::InvalidInput`].
pub fn encode(saved: &Saved<'_>, writer: &mut impl Write) -> io::Result<()> {
    let Saved { store, graph, keys, .. } = *saved;
    if cfg!(target_endian = "big") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, super::SnapshotError::ByteOrder));
    }
    if keys.len() != store.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there must be one key for each occupied slot"));
    }
    if !is_in_range(saved.options) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the index's options are out of range"));
    }
    let words = store.occupied().words();
    let used = words.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
    let occupied: Vec<u8> = words[..used].iter().flat_map(|word| word.to_le_bytes()).collect();
    let key_bytes = keys.to_bytes();
    let none = GraphSections::default();
    let lists = graph.unwrap_or(&none);
    let [levels, base, upper, twins] = [&lists.levels, &lists.base, &lists.upper, &lists.twins].map(Vec::as_slice);
    let sections: [Vec<&[u8]>; super::header::SECTIONS.len()] = [
        vec![&occupied],
        vec![&key_bytes],
        store.code_pieces().collect(),
        store.scalars_pieces().collect(),
        store.exact_pieces().collect(),
        vec![levels],
        vec![base],
        vec![upper],
        vec![twins],
        vec![saved.notes],
    ];
    let mut start = (HEADER_BYTES as u64).next_multiple_of(ALIGNMENT as u64);
    let places = sections.each_ref().map(|pieces| {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        let section = Section { start, len, hash: hash(pieces) };
        start = (start + len).next_multiple_of(ALIGNMENT as u64);
        section
    });
    let header = SnapshotHeader {
        identity: saved.identity,
        options: saved.options.clone(),
        sequence: saved.sequence,
        len: store.len(),
        rows: store.rows(),
        has_graph: graph.is_some(),
        has_integer_keys: matches!(keys, Keys::Integers(_)),
        sections: places,
    };
    writer.write_all(&header.to_bytes())?;
    let mut written = HEADER_BYTES as u64;
    for (place, pieces) in places.iter().zip(sections) {
        let gap = [0; ALIGNMENT];
        writer.write_all(&gap[..(place.start - written) as usize])?;
        for piece in pieces {
            writer.write_all(piece)?;
        }
        written = place.start + place.len;
    }
    Ok(())
}

fn hash(pieces: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    *hasher.finalize().as_bytes()
}
