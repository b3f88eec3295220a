//! Snapshots of an index, with checksums that are right: whatever the bytes are, the index works.
#![no_main]

use std::sync::Arc;

use kithdb_vector::hnsw::Graph;
use kithdb_vector::index::{EmbeddingIndex, Query};
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::slots::Slot;
use kithdb_vector::snapshot::{Depth, Saved, decode, encode};
use kithdb_vector::tiered::TieredIndex;

/// Where the header says where the sections are: docs/FORMAT.md.
const FIXED_BYTES: usize = 136;
const ENTRY_BYTES: usize = 48;
const SECTIONS: usize = 10;

libfuzzer_sys::fuzz_target!(|given: &[u8]| {
    let mut bytes = given.to_vec();
    sign(&mut bytes);
    let foreign: ForeignBytes = Arc::new(bytes.clone());
    let Ok(snapshot) = decode(&foreign, Depth::Whole) else { return };
    let mut again = Vec::new();
    let graph = snapshot.graph.as_ref().map(Graph::to_sections);
    let saved = Saved {
        identity: snapshot.header.identity,
        options: &snapshot.header.options,
        sequence: snapshot.header.sequence,
        keys: &snapshot.keys,
        store: &snapshot.store,
        graph: graph.as_ref(),
        notes: &snapshot.notes,
    };
    encode(&saved, &mut again).expect("a list takes all bytes");
    assert_eq!(again, bytes);

    let options = snapshot.header.options;
    let made = match snapshot.graph {
        Some(graph) => {
            assert_eq!(graph.check(), Ok(()));
            TieredIndex::with_graph(options, snapshot.store, graph)
        }
        None => TieredIndex::with_store(options, snapshot.store),
    };
    let Ok(mut index) = made else { return };
    let embedding = vec![0.5; index.options().dimensions];
    let answer =
        index.search(&Query { embedding: &embedding, count: 3, ef: 4, allowed: None }).expect("a good question");
    assert_eq!(answer.len(), index.len().min(3));
    index.remove(Slot(1));
    index.insert(Slot(2), &embedding).expect("a good embedding");
    index.catch_up(usize::MAX);
    if let Some(graph) = index.graph() {
        assert_eq!(graph.check(), Ok(()));
    }
});

/// Makes the checksums right, which a fuzzer would never guess.
fn sign(bytes: &mut [u8]) {
    let end = FIXED_BYTES + SECTIONS * ENTRY_BYTES;
    if bytes.len() < end + 32 {
        return;
    }
    for entry in (FIXED_BYTES..end).step_by(ENTRY_BYTES) {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let (start, len) = (number(entry), number(entry + 8));
        let range = start.checked_add(len).map(|end| start as usize..end as usize);
        if let Some(section) = range.and_then(|range| bytes.get(range)) {
            let hash = *blake3::hash(section).as_bytes();
            bytes[entry + 16..entry + ENTRY_BYTES].copy_from_slice(&hash);
        }
    }
    let hash = *blake3::hash(&bytes[..end]).as_bytes();
    bytes[end..end + 32].copy_from_slice(&hash);
}
