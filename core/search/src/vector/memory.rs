//! The bound on the memory of an index (`max_memory`), and the files that embeddings move to when it is near: docs/adr/0010.
//!
//! Invariants:
//! 1. A file has no name, so it is gone with the process, however that ends; and it is not written to once it is mapped.
//! 2. Answers are the same wherever embeddings lie. When a file cannot be written they stay in memory.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kithdb_vector::hnsw::Graph;
use kithdb_vector::index::{EmbeddingIndex, Engine};
use kithdb_vector::limits::{BUILD_FROM, GRAPH_FROM};
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::store::Part;
use kithdb_vector::tiered::TieredIndex;
use memmap2::Mmap;

use super::map::map_open;

/// The least bound: below it the chunks that embeddings move in would be moved all the time. Tests have smaller ones.
pub(super) const MAX_MEMORY_LEAST: usize = if cfg!(test) { 1_000_000 } else { 16_000_000 };

/// Parts of the bound: embeddings move when seven eighths are in use; codes as well as floats unless five are enough then.
const PARTS: usize = 8;
const HIGH_PARTS: usize = 7;
const LOW_PARTS: usize = 5;
/// A graph is built if no more than six are in use with it, so that there is room for what changes.
const GRAPH_PARTS: usize = 6;

/// See the module.
pub(super) struct Bound {
    max_bytes: usize,
    /// Of the database; `None` for one without a file.
    folder: Option<PathBuf>,
    /// Bytes in files, chunks that were changed since among them.
    in_files: Arc<AtomicUsize>,
    /// What a graph takes that is being built.
    expected_bytes: usize,
    /// Memory from which moving is tried again, after it did not help.
    next_try_bytes: usize,
    /// Why nothing could be moved the last time.
    failure: Option<String>,
}

/// A file without a name, as memory.
struct Moved {
    map: Mmap,
    in_files: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Moved {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.in_files.fetch_sub(self.map.len(), Ordering::Relaxed);
    }
}

impl Bound {
    /// Begins a bound for one index of a database.
    pub(super) fn new(max_bytes: usize, database: Option<&Path>) -> Self {
        Self {
            max_bytes,
            folder: database.and_then(Path::parent).map(Path::to_owned),
            in_files: Arc::default(),
            expected_bytes: 0,
            next_try_bytes: 0,
            failure: None,
        }
    }

    const fn parts(&self, parts: usize) -> usize {
        self.max_bytes / PARTS * parts
    }

    /// Moves embeddings to a file if the memory of the index and of its keys has come near the bound; gives up the graph where that is
    /// not enough.
    pub(super) fn keep(&mut self, index: &mut TieredIndex, key_bytes: usize) {
        let used = |index: &TieredIndex| index.memory_bytes() + key_bytes;
        let (high, low) = (self.parts(HIGH_PARTS), self.parts(LOW_PARTS));
        let before = used(index) + self.expected_bytes;
        if before <= low {
            self.next_try_bytes = 0;
        }
        if before <= high || before < self.next_try_bytes {
            return;
        }
        match self.make_room(index, |index| used(index) + self.expected_bytes > low) {
            Ok(()) => {
                self.failure = None;
                if used(index) + self.expected_bytes > high {
                    index.forget_graph();
                }
            }
            Err(error) => {
                if self.failure.is_none() {
                    tracing::warn!(%error, folder = ?self.folder, "embeddings cannot be moved out of memory, so max_memory is not kept");
                }
                self.failure = Some(error.to_string());
            }
        }
        // Not for every few rows that come.
        self.next_try_bytes = used(index) + self.expected_bytes + self.parts(1) / 2;
    }

    /// Moves the floats, then the codes if that is not enough.
    fn make_room(&self, index: &mut TieredIndex, is_more_wanted: impl Fn(&TieredIndex) -> bool) -> io::Result<()> {
        self.move_out(index, Part::Floats)?;
        if is_more_wanted(index) {
            self.move_out(index, Part::Codes)?;
        }
        // A file is as long as it was though most of it may have changed and come back to memory.
        if self.in_files.load(Ordering::Relaxed) > 2 * index.store().foreign_bytes() + self.max_bytes {
            self.move_out(index, Part::All)?;
        }
        Ok(())
    }

    fn move_out(&self, index: &mut TieredIndex, part: Part) -> io::Result<()> {
        let len: usize = index.store().movable_pieces(part).map(<[u8]>::len).sum();
        if len == 0 {
            return Ok(());
        }
        let folder = self.folder.as_ref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "a database in memory has no file beside which there could be another",
            )
        })?;
        // Whoever else may read the database, this file is for nobody but this process.
        let file = tempfile::tempfile_in(folder)?;
        let mut writer = BufWriter::with_capacity(1 << 20, &file);
        for piece in index.store().movable_pieces(part) {
            writer.write_all(piece)?;
        }
        writer.flush()?;
        drop(writer);
        let moved = Moved { map: map_open(&file)?, in_files: Arc::clone(&self.in_files) };
        self.in_files.fetch_add(moved.map.len(), Ordering::Relaxed);
        let bytes: ForeignBytes = Arc::new(moved);
        index.move_to(part, &bytes).map_err(io::Error::other)
    }

    /// Says whether a graph of all embeddings fits with what cannot be moved.
    pub(super) fn has_room_for_graph(&self, index: &TieredIndex, key_bytes: usize) -> bool {
        self.fixed_bytes(index, key_bytes) + graph_bytes(index) <= self.parts(GRAPH_PARTS)
    }

    /// Says whether so many rows of a saved index leave room for their graph.
    pub(super) const fn has_room_for(&self, key_bytes: usize, graph_bytes: usize) -> bool {
        key_bytes + graph_bytes <= self.parts(GRAPH_PARTS)
    }

    /// Returns what stays in memory whatever is moved, the graph left out.
    fn fixed_bytes(&self, index: &TieredIndex, key_bytes: usize) -> usize {
        let beside_graph = index.memory_bytes() - index.graph().map_or(0, Graph::memory_bytes) + key_bytes;
        if self.folder.is_none() || self.failure.is_some() {
            return beside_graph;
        }
        let pieces = [Part::Floats, Part::Codes].into_iter().flat_map(|part| index.store().movable_pieces(part));
        beside_graph - pieces.map(<[u8]>::len).sum::<usize>()
    }

    /// Counts a graph that is being built.
    pub(super) fn expect_graph(&mut self, index: &TieredIndex) {
        self.expected_bytes = graph_bytes(index);
    }

    /// Counts none any more.
    pub(super) const fn expect_nothing(&mut self) {
        self.expected_bytes = 0;
    }

    /// Says why the bound is not kept, or what is not done so as to keep it.
    pub(super) fn problem(&self, index: &TieredIndex, key_bytes: usize) -> Option<String> {
        let megabytes = |bytes: usize| bytes.div_ceil(1_000_000);
        if let Some(failure) = &self.failure {
            return Some(format!(
                "embeddings stay in memory, since no file could be written beside the database: {failure}"
            ));
        }
        let wants_graph = match index.options().engine {
            Engine::Auto => index.len() >= GRAPH_FROM,
            Engine::Hnsw => index.len() >= BUILD_FROM,
            Engine::Scan | Engine::HnswRs => false,
        };
        if wants_graph && index.graph().is_none() && !self.has_room_for_graph(index, key_bytes) {
            let wanted = (self.fixed_bytes(index, key_bytes) + graph_bytes(index)) / GRAPH_PARTS * PARTS;
            return Some(format!(
                "a graph does not fit max_memory='{}MB', so searches compare with every row; for {} rows it fits from max_memory='{}MB' on",
                megabytes(self.max_bytes),
                index.len(),
                megabytes(wanted)
            ));
        }
        let used = index.memory_bytes() + key_bytes;
        (used > self.max_bytes).then(|| {
            format!("the keys of {} rows, which cannot be moved, take more than max_memory; raise it", index.len())
        })
    }
}

fn graph_bytes(index: &TieredIndex) -> usize {
    Graph::memory_bytes_of(index.options(), index.store().rows())
}
