//! The index that scans while there are few embeddings and walks a graph when there are many.
//!
//! Invariants:
//! 1. The store alone says what is in the index. The graph may be behind: `pending` names every slot where the two differ, and a
//!    search compares those exactly. So no answer waits for the graph, and a lost graph loses nothing.
//! 2. While a build is out, `changed` names every slot that changed since its copy of the store was made.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use crate::codes::PreparedQuery;
#[cfg(feature = "hnsw-rs")]
use crate::engine_hnsw_rs::HnswRsGraph;
use crate::error::EmbeddingError;
use crate::hnsw::{Graph, Progress, Question, clamped};
use crate::index::{EmbeddingIndex, Engine, IndexOptions, Neighbour, Query};
use crate::limits::{BUILD_FROM, GRAPH_FROM};
use crate::rows::ForeignBytes;
use crate::scan::{rank, rescored, scan};
use crate::slots::{Slot, SlotSet};
use crate::store::{EmbeddingStore, Part};

/// Embeddings whose scan costs as much as one candidate of a walk: measured with 8-bit codes of 384 dimensions, where a walk took
/// 0.7 us for each and a scan 20 ns for each embedding.
const SCANNED_PER_CANDIDATE: usize = 32;

/// An index of embeddings that picks its way of searching by their number.
///
/// Inserts and removes change the store at once and leave the graph behind; [`catch_up`](Self::catch_up) brings it forward, a few slots
/// at a time, and a [`build_job`](Self::build_job) makes it on another thread. Answers are complete all the while: what the graph does
/// not know yet is compared exactly, which costs more the more there is of it.
pub struct TieredIndex {
    options: IndexOptions,
    store: EmbeddingStore,
    /// Shared with whoever tunes or saves it; copied only if it changes meanwhile.
    graph: Option<Arc<Graph>>,
    pending: SlotSet,
    build: Option<Build>,
    /// What is walked under the engine `hnsw_rs`; never behind.
    #[cfg(feature = "hnsw-rs")]
    foreign: Option<HnswRsGraph>,
}

/// How a search was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By comparing with every embedding that is allowed.
    Scan,
    /// By a walk of the graph.
    Walk,
    /// By a scan, after a walk had looked at too many that are not allowed, or had found too few.
    WalkThenScan,
}

/// A build that is out.
struct Build {
    token: Weak<()>,
    changed: SlotSet,
}

/// A copy of the store as it was, from which a graph is built without the index.
pub struct BuildJob {
    token: Arc<()>,
    options: IndexOptions,
    store: EmbeddingStore,
}

/// A graph to [`install`](TieredIndex::install).
pub struct BuiltGraph {
    token: Arc<()>,
    graph: Graph,
}

impl BuildJob {
    /// Builds the graph on so many threads; `None` if the callback broke it off.
    pub fn run(&self, threads: usize, progress: &(impl Fn(Progress) -> ControlFlow<()> + Sync)) -> Option<BuiltGraph> {
        let slots: Vec<Slot> = self.store.occupied().iter().collect();
        let graph = Graph::build(&self.store, &slots, &self.options, threads, progress)?;
        Some(BuiltGraph { token: Arc::clone(&self.token), graph })
    }

    /// Returns how many embeddings the graph will have.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Says whether the graph will have none.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

impl TieredIndex {
    /// Makes an empty index.
    ///
    /// # Errors
    /// The number of dimensions is out of range, or the engine is `hnsw_rs` and this build lacks the cargo feature `hnsw-rs`.
    pub fn new(options: IndexOptions) -> Result<Self, EmbeddingError> {
        let store = EmbeddingStore::new(&options)?;
        Self::with_store(options, store)
    }

    /// Makes an index over what a store holds; a graph is yet to be built. Options of the graph that are out of range are brought into it.
    ///
    /// # Errors
    /// The engine is `hnsw_rs` and this build lacks the cargo feature `hnsw-rs`.
    pub fn with_store(options: IndexOptions, store: EmbeddingStore) -> Result<Self, EmbeddingError> {
        let options = clamped(options);
        #[cfg(not(feature = "hnsw-rs"))]
        if options.engine == Engine::HnswRs {
            return Err(EmbeddingError::HnswRs);
        }
        let mut index = Self {
            #[cfg(feature = "hnsw-rs")]
            foreign: (options.engine == Engine::HnswRs).then(|| HnswRsGraph::new(&options, &store)),
            options,
            store,
            graph: None,
            pending: SlotSet::default(),
            build: None,
        };
        if index.options.engine == Engine::Hnsw {
            index.pending = index.store.occupied().clone();
            index.graph = Some(Arc::new(Graph::new(&index.options)));
        }
        Ok(index)
    }

    /// Makes an index over a store and a graph that was saved with it. Where the graph holds other slots than the store, it is taken
    /// to be behind.
    ///
    /// # Errors
    /// The engine is `hnsw_rs` and this build lacks the cargo feature `hnsw-rs`.
    pub fn with_graph(options: IndexOptions, store: EmbeddingStore, graph: Graph) -> Result<Self, EmbeddingError> {
        let mut index = Self::with_store(options, store)?;
        if matches!(index.options.engine, Engine::Auto | Engine::Hnsw) {
            let occupied = index.store.occupied();
            let missing = occupied.iter().filter(|&slot| !graph.contains(slot));
            index.pending = missing.chain(graph.slots().filter(|&slot| !occupied.contains(slot))).collect();
            index.graph = Some(Arc::new(graph));
        }
        Ok(index)
    }

    /// Returns the embeddings.
    pub fn store(&self) -> &EmbeddingStore {
        &self.store
    }

    /// Returns the graph, if there is one.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_deref()
    }

    /// Returns the graph as it is now, to be read while the index goes on. It must be let go of before the graph changes, or it is copied.
    pub fn shared_graph(&self) -> Option<Arc<Graph>> {
        self.graph.clone()
    }

    /// Gives up the graph, of which the memory is wanted: all is scanned.
    pub fn forget_graph(&mut self) {
        (self.graph, self.pending) = (None, SlotSet::default());
    }

    /// Moves a part of the embeddings to foreign memory: see [`EmbeddingStore::move_to`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn move_to(&mut self, part: Part, bytes: &ForeignBytes) -> Result<(), EmbeddingError> {
        self.store.move_to(part, bytes)
    }

    /// Uses the foreign memory of another store for what has not changed since a copy of this one's was made: see
    /// [`EmbeddingStore::take_unchanged`].
    pub fn take_unchanged(&mut self, copy: &EmbeddingStore, same: &EmbeddingStore) {
        self.store.take_unchanged(copy, same);
    }

    /// Returns how many slots the graph is behind.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Says whether a graph should be built now: there are many embeddings and none, or most are not in it.
    pub fn is_build_due(&self) -> bool {
        let is_large = match self.options.engine {
            Engine::Auto => self.len() >= GRAPH_FROM,
            Engine::Hnsw => self.len() >= BUILD_FROM,
            Engine::Scan | Engine::HnswRs => false,
        };
        let is_out = self.build.as_ref().is_some_and(|build| build.token.strong_count() > 0);
        is_large && !is_out && self.graph.as_ref().is_none_or(|graph| self.pending.len() > graph.len() / 2)
    }

    /// Returns what is needed to build the graph, if that is due and no other build is out. A job that is dropped is out no more.
    pub fn build_job(&mut self) -> Option<BuildJob> {
        self.is_build_due().then(|| {
            let token = Arc::new(());
            self.build = Some(Build { token: Arc::downgrade(&token), changed: SlotSet::default() });
            BuildJob { token, options: self.options.clone(), store: self.store.clone() }
        })
    }

    /// Takes a graph that was built; says whether it was that of the build which is out. What changed since is pending.
    pub fn install(&mut self, built: BuiltGraph) -> bool {
        let is_ours = self.build.as_ref().is_some_and(|build| build.token.ptr_eq(&Arc::downgrade(&built.token)));
        if let Some(build) = self.build.take_if(|_| is_ours) {
            self.graph = Some(Arc::new(built.graph));
            self.pending = build.changed;
        }
        is_ours
    }

    /// Brings up to so many pending slots into the graph; returns how many are pending then. Each takes about as long as a few searches.
    pub fn catch_up(&mut self, limit: usize) -> usize {
        if let Some(graph) = self.graph.as_mut().filter(|_| !self.pending.is_empty()) {
            let graph = Arc::make_mut(graph);
            let slots: Vec<Slot> = self.pending.iter().take(limit).collect();
            graph.remove(&self.store, &slots);
            for slot in slots {
                if self.store.occupied().contains(slot) {
                    graph.insert(&self.store, slot);
                }
                self.pending.remove(slot);
            }
        }
        self.pending.len()
    }

    /// Remembers that a slot changed.
    fn note(&mut self, slot: Slot) {
        if self.graph.is_some() {
            self.pending.insert(slot);
        }
        if let Some(build) = &mut self.build {
            build.changed.insert(slot);
        }
        #[cfg(feature = "hnsw-rs")]
        if let Some(foreign) = &mut self.foreign {
            foreign.follow(&self.store, slot);
        }
    }

    /// Returns the nearest embeddings, and how they were found.
    ///
    /// # Errors
    /// The query's embedding is refused as an inserted one would be.
    pub fn search_by(&self, query: &Query<'_>) -> Result<(Vec<Neighbour>, Way), EmbeddingError> {
        let prepared = self.store.prepare(query.embedding)?;
        let present = self.present(query);
        let wanted = query.count.min(present);
        let way = match self.walk(&prepared, query, present) {
            Walked::Found(answer) if answer.len() == wanted => return Ok((answer, Way::Walk)),
            Walked::Found(_) | Walked::GivenUp => Way::WalkThenScan,
            Walked::NotWorthIt => Way::Scan,
        };
        Ok((scan(&self.store, &prepared, query.count, query.allowed), way))
    }

    /// Returns the least number of allowed embeddings from which a search with so many candidates walks the graph; `None` if none does.
    ///
    /// About a fifth of all at 100,000 embeddings and the usual candidates, less of more.
    pub fn walked_from(&self, ef: usize) -> Option<usize> {
        let (mut least, mut most) = (0, self.len());
        if self.graph.is_none() || !self.is_walk_cheaper(ef, most) {
            return None;
        }
        while most - least > 1 {
            let middle = least + (most - least) / 2;
            if self.is_walk_cheaper(ef, middle) {
                most = middle;
            } else {
                least = middle;
            }
        }
        Some(most)
    }

    fn present(&self, query: &Query<'_>) -> usize {
        query.allowed.map_or(self.len(), |allowed| allowed.common(self.store.occupied()))
    }

    fn is_walk_cheaper(&self, ef: usize, present: usize) -> bool {
        // A filter that lets one in `n` pass makes the walk `n` times longer.
        let stretch = self.len().div_ceil(present.max(1));
        let walked =
            ef.saturating_mul(SCANNED_PER_CANDIDATE).saturating_mul(stretch).saturating_add(self.pending.len());
        walked <= present
    }

    /// Asks the graph.
    fn walk(&self, prepared: &PreparedQuery, query: &Query<'_>, present: usize) -> Walked {
        #[cfg(feature = "hnsw-rs")]
        if let Some(foreign) = &self.foreign {
            return match foreign.search(&self.store, query, present) {
                Some(slots) => Walked::Found(rank(&self.store, prepared, slots, query.count)),
                None => Walked::NotWorthIt,
            };
        }
        let ef = query.ef.max(query.count);
        let Some(graph) = self.graph.as_deref().filter(|_| self.is_walk_cheaper(ef, present)) else {
            return Walked::NotWorthIt;
        };
        let target = Question { store: &self.store, query: prepared };
        let occupied = self.store.occupied();
        let mut slots = if query.allowed.is_none() && self.pending.is_empty() {
            graph.search(&target, ef)
        } else {
            let is_allowed = |slot| {
                occupied.contains(slot)
                    && !self.pending.contains(slot)
                    && query.allowed.is_none_or(|allowed| allowed.contains(slot))
            };
            match graph.search_allowed(&target, ef, is_allowed, present) {
                Some(slots) => slots,
                None => return Walked::GivenUp,
            }
        };
        slots.truncate(rescored(&self.store, query.count));
        let mut answer = rank(&self.store, prepared, slots, query.count);
        if !self.pending.is_empty() {
            let pending: SlotSet = self
                .pending
                .iter()
                .filter(|&slot| query.allowed.is_none_or(|allowed| allowed.contains(slot)))
                .collect();
            answer.extend(scan(&self.store, prepared, query.count, Some(&pending)));
            answer.sort_by(|left, right| left.distance.total_cmp(&right.distance).then(left.slot.cmp(&right.slot)));
            answer.truncate(query.count);
        }
        Walked::Found(answer)
    }
}

/// What came of a walk.
enum Walked {
    Found(Vec<Neighbour>),
    /// More had to be looked at than a scan looks at.
    GivenUp,
    /// There is no graph, or a scan costs less.
    NotWorthIt,
}

impl EmbeddingIndex for TieredIndex {
    fn options(&self) -> &IndexOptions {
        &self.options
    }

    fn len(&self) -> usize {
        self.store.len()
    }

    fn insert(&mut self, slot: Slot, embedding: &[f32]) -> Result<(), EmbeddingError> {
        self.store.insert(slot, embedding)?;
        self.note(slot);
        Ok(())
    }

    fn remove(&mut self, slot: Slot) -> bool {
        let was_there = self.store.remove(slot);
        if was_there {
            self.note(slot);
            // Half, so that a count which goes up and down does not build again and again.
            if self.options.engine == Engine::Auto && self.len() < GRAPH_FROM / 2 {
                self.forget_graph();
            }
        }
        was_there
    }

    fn embedding(&self, slot: Slot) -> Option<Vec<f32>> {
        self.store.embedding(slot)
    }

    fn search(&self, query: &Query<'_>) -> Result<Vec<Neighbour>, EmbeddingError> {
        Ok(self.search_by(query)?.0)
    }

    fn memory_bytes(&self) -> usize {
        let graph = self.graph.as_deref().map_or(0, Graph::memory_bytes);
        #[cfg(feature = "hnsw-rs")]
        let graph = graph + self.foreign.as_ref().map_or(0, HnswRsGraph::memory_bytes);
        self.store.memory_bytes() + graph + size_of_val(self.pending.words())
    }
}
