//! Snapshots: what is saved comes back, and no bytes do harm.

use std::ops::ControlFlow;
use std::sync::Arc;

use kithdb_vector::hnsw::Graph;
use kithdb_vector::index::{EmbeddingIndex, Encoding, Engine, IndexOptions, Query};
use kithdb_vector::metric::Metric;
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::slots::Slot;
use kithdb_vector::snapshot::{Depth, Identity, Keys, Saved, Snapshot, SnapshotError, decode, encode, read_header};
use kithdb_vector::tiered::TieredIndex;
use proptest::prelude::*;

const DIMENSIONS: usize = 20;
const IDENTITY: Identity = Identity { database: [7; 16], column: [9; 32] };

fn options(metric: Metric, encoding: Encoding) -> IndexOptions {
    IndexOptions {
        dimensions: DIMENSIONS,
        metric,
        encoding,
        engine: Engine::Hnsw,
        connections: 6,
        ef_construction: 40,
        seed: 2,
    }
}

/// xorshift64 of Marsaglia 2003.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }

    fn embedding(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.below(1_000) as f32 - 499.5).collect()
    }
}

/// An index with gaps, twins and points on several layers.
fn filled(metric: Metric, encoding: Encoding, count: u32, seed: u64) -> TieredIndex {
    let mut index = TieredIndex::new(options(metric, encoding)).expect("good options");
    let mut numbers = Numbers(seed);
    let same = numbers.embedding();
    for slot in 0..count {
        let embedding = if slot % 10 == 3 { same.clone() } else { numbers.embedding() };
        index.insert(Slot(slot), &embedding).expect("a good embedding");
    }
    index.catch_up(usize::MAX);
    for _ in 0..count / 5 {
        index.remove(Slot(numbers.below(count)));
    }
    index.catch_up(usize::MAX);
    index
}

fn saved_bytes(index: &TieredIndex, keys: &Keys, has_graph: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let graph = index.graph().filter(|_| has_graph).map(Graph::to_sections);
    let saved = Saved {
        identity: IDENTITY,
        options: index.options(),
        sequence: 1_234,
        keys,
        store: index.store(),
        graph: graph.as_ref(),
        notes: b"tuned to 40",
    };
    encode(&saved, &mut bytes).expect("a list takes all bytes");
    bytes
}

fn encoded_again(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
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
    encode(&saved, &mut bytes).expect("a list takes all bytes");
    bytes
}

/// Bytes that begin on a cache line, as those of a mapped file do.
struct Aligned {
    lines: Vec<u8>,
    start: usize,
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &self.lines[self.start..]
    }
}

fn foreign(bytes: &[u8]) -> ForeignBytes {
    let mut lines = vec![0; bytes.len() + 64];
    let start = lines.as_ptr().align_offset(64);
    lines[start..start + bytes.len()].copy_from_slice(bytes);
    lines.truncate(start + bytes.len());
    Arc::new(Aligned { lines, start })
}

fn integer_keys(index: &TieredIndex) -> Keys {
    Keys::Integers(index.store().occupied().iter().map(|slot| i64::from(slot.0) * 3 - 50).collect())
}

fn assert_same(index: &TieredIndex, keys: &Keys, snapshot: Snapshot, has_graph: bool) {
    assert_eq!(&snapshot.keys, keys);
    assert_eq!((snapshot.header.identity, snapshot.header.sequence), (IDENTITY, 1_234));
    assert_eq!((&snapshot.header.options, snapshot.header.len), (index.options(), index.len()));
    assert_eq!(snapshot.notes, b"tuned to 40");
    assert_eq!(snapshot.graph.is_some(), has_graph);
    let restored = match snapshot.graph {
        Some(graph) => {
            assert_eq!(graph.check(), Ok(()));
            assert_eq!(index.graph().map(Graph::to_sections), Some(graph.to_sections()));
            TieredIndex::with_graph(snapshot.header.options, snapshot.store, graph)
        }
        None => TieredIndex::with_store(snapshot.header.options, snapshot.store),
    };
    let restored = restored.expect("good options");
    assert_eq!(restored.pending(), if has_graph { 0 } else { index.len() });
    for slot in index.store().occupied().iter() {
        assert_eq!(restored.embedding(slot), index.embedding(slot));
    }
    let mut numbers = Numbers(31);
    for _ in 0..20 {
        let embedding = &numbers.embedding()[..index.options().dimensions];
        let query = Query { embedding, count: 5, ef: 10, allowed: None };
        let (before, after) =
            (index.search(&query).expect("a good question"), restored.search(&query).expect("a good question"));
        assert_eq!(before.len(), after.len());
    }
}

#[test]
fn index_comes_back_as_it_was_under_every_metric_and_encoding() {
    for metric in [Metric::Cosine, Metric::L2, Metric::InnerProduct, Metric::L1, Metric::Hamming] {
        for encoding in [Encoding::F32, Encoding::F16, Encoding::Int8, Encoding::Bit] {
            let index = filled(metric, encoding, 700, 5);
            let keys = integer_keys(&index);
            for has_graph in [true, false] {
                let bytes = foreign(&saved_bytes(&index, &keys, has_graph));
                for depth in [Depth::Whole, Depth::ButFloats] {
                    assert_same(&index, &keys, decode(&bytes, depth).expect("what was saved"), has_graph);
                }
            }
        }
    }
}

#[test]
fn floats_of_aligned_bytes_are_used_where_they_are() {
    let index = filled(Metric::Cosine, Encoding::Int8, 900, 6);
    let bytes = saved_bytes(&index, &integer_keys(&index), true);
    let mapped = decode(&foreign(&bytes), Depth::ButFloats).expect("what was saved").store;
    assert!(mapped.memory_bytes() < 10_000, "{}", mapped.memory_bytes());
    assert!(index.store().memory_bytes() > 80_000);
}

#[test]
fn empty_index_comes_back() {
    let index = TieredIndex::new(options(Metric::L2, Encoding::F16)).expect("good options");
    let keys = Keys::Bytes(vec![]);
    let snapshot = decode(&foreign(&saved_bytes(&index, &keys, true)), Depth::Whole).expect("what was saved");
    assert_same(&index, &keys, snapshot, true);
}

#[test]
fn keys_are_one_for_each_occupied_slot() {
    let index = filled(Metric::L2, Encoding::F32, 10, 3);
    let saved = Saved {
        identity: IDENTITY,
        options: index.options(),
        sequence: 0,
        keys: &Keys::Integers(vec![1]),
        store: index.store(),
        graph: None,
        notes: &[],
    };
    let refused = encode(&saved, &mut Vec::new()).expect_err("one key is too few");
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn foreign_newer_and_damaged_bytes_are_told_apart() {
    let index = filled(Metric::Cosine, Encoding::Int8, 300, 8);
    let good = saved_bytes(&index, &integer_keys(&index), true);
    let error = |bytes: &[u8]| decode(&foreign(bytes), Depth::Whole).err().expect("it is not good");
    assert_eq!(error(b"SQLite format 3\0"), SnapshotError::Foreign);
    assert_eq!(error(&[]), SnapshotError::Foreign);
    let mut newer = good.clone();
    newer[8] = 2;
    assert_eq!(error(&newer), SnapshotError::Version { version: 2 });
    for end in [8, 100, good.len() / 2, good.len() - 1] {
        assert!(matches!(error(&good[..end]), SnapshotError::Damaged { .. }), "cut at {end}");
    }
    for place in (12..good.len()).step_by(97) {
        let mut flipped = good.clone();
        flipped[place] ^= 4;
        match decode(&foreign(&flipped), Depth::Whole) {
            Err(error) => assert!(matches!(error, SnapshotError::Damaged { .. }), "{place}: {error}"),
            Ok(_) => panic!("byte {place} means nothing"),
        }
    }
    assert_eq!(read_header(&good).expect("a good header").sequence, 1_234);
}

/// Writes the checksums anew, as somebody does who means harm.
fn sign(bytes: &mut [u8]) {
    const SECTIONS: usize = 10;
    const FIXED: usize = 136;
    for section in 0..SECTIONS {
        let entry = FIXED + section * 48;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let (start, len) = (number(entry) as usize, number(entry + 8) as usize);
        if let Some(content) = start.checked_add(len).and_then(|end| bytes.get(start..end)) {
            let hash = *blake3::hash(content).as_bytes();
            bytes[entry + 16..entry + 48].copy_from_slice(&hash);
        }
    }
    let end = FIXED + SECTIONS * 48;
    let hash = *blake3::hash(&bytes[..end]).as_bytes();
    bytes[end..end + 32].copy_from_slice(&hash);
}

#[test]
fn a_root_that_no_list_names_comes_back() {
    let index = filled(Metric::L2, Encoding::Int8, 109, 948);
    let keys = integer_keys(&index);
    let bytes = saved_bytes(&index, &keys, true);
    assert_same(&index, &keys, decode(&foreign(&bytes), Depth::Whole).expect("what was saved"), true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_index_and_keys_come_back(
        count in 0u32..150,
        seed in 1u64..1_000,
        keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 150),
        integers in proptest::collection::vec(any::<i64>(), 150),
        has_graph in any::<bool>(),
        are_integers in any::<bool>(),
    ) {
        let index = filled(Metric::L2, Encoding::Int8, count, seed);
        let keys = if are_integers { Keys::Integers(integers[..index.len()].to_vec()) } else { Keys::Bytes(keys[..index.len()].to_vec()) };
        let bytes = saved_bytes(&index, &keys, has_graph);
        assert_same(&index, &keys, decode(&foreign(&bytes), Depth::Whole).expect("what was saved"), has_graph);
    }

    /// Changed bytes with right checksums: an error, or an index that works.
    #[test]
    fn forged_bytes_do_no_harm(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), graph_only in any::<bool>()) {
        let index = filled(Metric::Cosine, Encoding::Int8, 120, 4);
        let mut bytes = saved_bytes(&index, &integer_keys(&index), true);
        let len = bytes.len();
        for (place, byte) in changes {
            // The graph is the last fifth.
            let place = if graph_only { len - 1 - place.index(len / 5) } else { place.index(len) };
            bytes[place] = byte;
        }
        sign(&mut bytes);
        if let Ok(snapshot) = decode(&foreign(&bytes), Depth::Whole) {
            prop_assert_eq!(encoded_again(&snapshot), bytes);
            let graph = snapshot.graph.filter(|graph| graph.check() == Ok(()));
            let restored = match graph {
                Some(graph) => TieredIndex::with_graph(snapshot.header.options, snapshot.store, graph),
                None => TieredIndex::with_store(snapshot.header.options, snapshot.store),
            };
            if let Ok(mut restored) = restored {
                let dimensions = restored.options().dimensions;
                let query = Query { embedding: &vec![1.0; dimensions], count: 5, ef: 10, allowed: None };
                let answer = restored.search(&query).expect("a good question");
                prop_assert_eq!(answer.len(), restored.len().min(5));
                restored.insert(Slot(3), &vec![0.5; dimensions]).expect("a good embedding");
                restored.catch_up(usize::MAX);
            }
        }
    }
}

#[test]
fn build_from_a_snapshot_without_graph_is_due() {
    let index = filled(Metric::Cosine, Encoding::Int8, 1_500, 11);
    let bytes = foreign(&saved_bytes(&index, &integer_keys(&index), false));
    let snapshot = decode(&bytes, Depth::ButFloats).expect("what was saved");
    let mut restored = TieredIndex::with_store(snapshot.header.options, snapshot.store).expect("good options");
    let job = restored.build_job().expect("there are many and no graph");
    assert!(restored.install(job.run(2, &|_| ControlFlow::Continue(())).expect("not broken off")));
    assert_eq!(restored.pending(), 0);
}

/// One sample is kept, so that a changed format is noticed and the fuzzer has a beginning.
#[test]
fn kept_sample_is_what_is_saved_today() {
    let options = IndexOptions {
        dimensions: 3,
        metric: Metric::L2,
        encoding: Encoding::Int8,
        engine: Engine::Hnsw,
        connections: 2,
        ef_construction: 8,
        seed: 3,
    };
    let mut index = TieredIndex::new(options).expect("good options");
    // Small integers, whose sums are exact in any order, so that every processor makes the same bytes.
    for slot in 0..24u8 {
        let embedding = [slot / 2, slot % 5, slot % 3].map(|number| f32::from(number) * 127.0);
        index.insert(Slot(u32::from(slot)), &embedding).expect("a good embedding");
    }
    index.insert(Slot(24), &index.embedding(Slot(4)).expect("it is there")).expect("a good embedding");
    index.catch_up(usize::MAX);
    index.remove(Slot(7));
    index.catch_up(usize::MAX);
    let made = saved_bytes(&index, &integer_keys(&index), true);
    let path = std::path::Path::new("../../tests/fuzz/seeds/snapshot/sample");
    if std::env::var_os("KITHDB_WRITE_SEEDS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable repository");
        std::fs::write(path, &made).expect("a writable repository");
    }
    let kept = std::fs::read(path).expect("the sample is in the repository");
    assert!(kept == made, "the format of a snapshot has changed");
    let snapshot = decode(&foreign(&kept), Depth::Whole).expect("what was saved");
    assert_same(&index, &integer_keys(&index), snapshot, true);
}

#[test]
fn restored_twins_take_the_place_of_points_that_go() {
    let index = filled(Metric::L2, Encoding::Int8, 400, 13);
    let bytes = foreign(&saved_bytes(&index, &integer_keys(&index), true));
    let snapshot = decode(&bytes, Depth::Whole).expect("what was saved");
    let graph = snapshot.graph.expect("it was saved");
    let mut restored = TieredIndex::with_graph(snapshot.header.options, snapshot.store, graph).expect("good options");
    for slot in index.store().occupied().iter() {
        restored.remove(slot);
        restored.catch_up(usize::MAX);
        assert_eq!(restored.graph().map(Graph::check), Some(Ok(())));
    }
    assert!(restored.is_empty());
}
