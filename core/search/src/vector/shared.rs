//! The index of a `kith_vector` table, which all connections of this process to one file share.
//!
//! Invariants:
//! 1. It holds what the content table held at one committed place in its changes, whoever brought it there.
//! 2. It can be thrown away at any time: the table has all that it was made from.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::JoinHandle;

use kithdb_vector::index::EmbeddingIndex;
use kithdb_vector::tuning::Tuned;
use rusqlite::Connection;

use super::changes::{self, Change, Mark};
use super::content::Content;
use super::declaration::Declaration;
use super::keys::Key;
use super::rows::Rows;
use super::snapshot::{self, Place};
use super::vouched::Vouched;

/// Changes that are kept after they were applied, for readers that began before them.
const RECENT_MAX: usize = 16_384;

/// Rows that are taken over at least before it is looked which rows are gone without a trigger's being told.
const LOOKED_AFTER: usize = 1_000;

/// Candidates of a walk before the index was tuned.
const EF: usize = 100;

/// An index as it stands.
pub(super) struct State {
    pub(super) rows: Rows,
    /// The last change that it knows.
    pub(super) applied: Mark,
    /// The last of the applied changes, after the place that the first reading began at.
    recent: VecDeque<Change>,
    /// No other index had it: rows got other slots, or were forgotten, though no change was noted.
    pub(super) version: u64,
    /// The place that was last saved.
    pub(super) saved: Option<Mark>,
    /// How many rows, about, it takes to make again what is not saved.
    pub(super) unsaved: usize,
    /// The candidates of a walk that give the recall that was declared.
    pub(super) tuned: Option<Tuned>,
    pub(super) vouched: Vouched,
    /// Rows that were taken over since it was last looked which are gone.
    unlooked: usize,
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl State {
    /// Reads the whole table into an empty index.
    pub(super) fn load(conn: &Connection, name: &str, content: &Content, empty: Rows) -> rusqlite::Result<Self> {
        let mut rows = empty;
        for key in content.ordered_keys(conn)? {
            rows.place(&key);
        }
        content.each(conn, |key, found| {
            if let Some(key) = key {
                rows.put(&key, found);
            }
            Ok(())
        })?;
        let unsaved = rows.index().len();
        Ok(Self { unsaved, saved: None, ..Self::of_saved(rows, changes::last(conn, name)?, None) })
    }

    /// Takes over what was saved at a place.
    pub(super) fn of_saved(rows: Rows, applied: Mark, tuned: Option<Tuned>) -> Self {
        let recent = VecDeque::from([Change { mark: applied, key: None }]);
        let (version, saved, vouched) = (next_version(), Some(applied), Vouched::by(None));
        Self { rows, applied, recent, version, saved, unsaved: 0, tuned, vouched, unlooked: 0 }
    }

    /// Takes over changed rows; false if that takes reading the whole table.
    pub(super) fn advance(
        &mut self,
        conn: &Connection,
        content: &Content,
        tail: Vec<Change>,
    ) -> rusqlite::Result<bool> {
        if tail.iter().any(|change| change.key.is_none()) {
            return Ok(false);
        }
        let keys: HashSet<&Key> = tail.iter().filter_map(|change| change.key.as_ref()).collect();
        for key in keys {
            let found = content.find(conn, key)?;
            self.rows.put(key, found);
            self.unsaved += 1;
            self.unlooked += 1;
        }
        if let Some(last) = tail.last() {
            self.applied = last.mark;
        }
        let surplus = (self.recent.len() + tail.len()).saturating_sub(RECENT_MAX);
        self.recent.drain(..surplus.min(self.recent.len()));
        self.recent.extend(tail.into_iter().rev().take(RECENT_MAX).rev());
        self.sweep(conn, content)?;
        Ok(true)
    }

    /// Takes out what is gone from the table though no trigger was told, once so many rows were taken over that it may be half of all:
    /// without it an index would grow for ever where rows are displaced by REPLACE. As after reading the whole table, the index knows
    /// no earlier place then.
    fn sweep(&mut self, conn: &Connection, content: &Content) -> rusqlite::Result<()> {
        if content.is_told || self.unlooked < LOOKED_AFTER.max(self.rows.index().len() / 2) {
            return Ok(());
        }
        self.unlooked = 0;
        let there: HashSet<Key> = content.keys(conn)?.into_iter().collect();
        let gone: Vec<Key> = self.rows.keys().filter(|key| !there.contains(key)).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        for key in &gone {
            self.rows.remove(key);
        }
        self.unsaved += gone.len();
        self.recent = VecDeque::from([Change { mark: self.applied, key: None }]);
        self.version = next_version();
        Ok(())
    }

    /// Returns the candidates of a walk where nothing else is said.
    pub(super) fn ef(&self) -> usize {
        self.tuned.map_or(EF, |tuned| tuned.ef)
    }

    /// Takes rows out that were gone at the place that the index is at, though no trigger was told: a REPLACE had displaced them.
    ///
    /// A reader whose snapshot is older may still have them, even one at the same place, so they count as changed.
    pub(super) fn forget(&mut self, keys: Vec<Key>) {
        for key in &keys {
            self.rows.remove(key);
        }
        let mark = self.applied;
        self.recent.extend(keys.into_iter().map(|key| Change { mark, key: Some(key) }));
        self.version = next_version();
    }

    /// Returns the keys of rows that were forgotten at the place that the index is at.
    pub(super) fn ghosts(&self) -> impl Iterator<Item = &Key> {
        let place = self.recent.partition_point(|change| change.mark.sequence < self.applied.sequence);
        self.recent.range((place + 1).min(self.recent.len())..).filter_map(|change| change.key.as_ref())
    }

    /// Returns the keys of the rows changed after a place; `None` if that is too long ago, or in another file.
    pub(super) fn changed_after(&self, mark: Mark) -> Option<impl Iterator<Item = &Key>> {
        let place = self.recent.partition_point(|change| change.mark.sequence < mark.sequence);
        let is_known = self.recent.get(place).is_some_and(|change| change.mark == mark);
        is_known.then(|| self.recent.range(place + 1..).filter_map(|change| change.key.as_ref()))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Shared {
    state: RwLock<Option<State>>,
    /// Where the index is saved; `None` for a database without a file.
    pub(super) place: Option<Place>,
    /// Whether the table was dropped or renamed, so that nothing is to be saved under its name.
    pub(super) is_gone: AtomicBool,
    /// Whether a connection that may write has used it: those that may not are to leave the file as it is.
    may_write: AtomicBool,
    /// How the last search was done.
    choice: Mutex<&'static str>,
    /// What the thread in the background is doing.
    pub(super) work: Work,
    /// Connections that use it.
    users: AtomicUsize,
}

/// The work of the background.
#[derive(Default)]
pub(super) struct Work {
    pub(super) is_running: AtomicBool,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    /// Steps of building a graph that are done.
    pub(super) done: AtomicUsize,
    /// Steps that there are; 0 when none is being built.
    pub(super) total: AtomicUsize,
    /// Whether another process has saved an index with a graph that the next search is to take over.
    pub(super) is_offered: AtomicBool,
    /// The place of the one that could not be.
    pub(super) declined: Mutex<Option<Mark>>,
}

/// Which index is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    file: PathBuf,
    table: String,
}

type Known = HashMap<Name, Vec<(Declaration, Weak<Shared>)>>;

static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();

fn known() -> MutexGuard<'static, Known> {
    KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Finds the index of a table, or begins it; a database without a file shares it with nobody.
    pub(super) fn of(conn: &Connection, table: &str, declaration: &Declaration) -> Arc<Self> {
        let shared = Self::find(conn, table, declaration);
        if conn.is_readonly("main").is_ok_and(|is_readonly| !is_readonly) {
            shared.may_write.store(true, Ordering::Relaxed);
        }
        shared
    }

    fn find(conn: &Connection, table: &str, declaration: &Declaration) -> Arc<Self> {
        let file = conn.path().filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(file) = file else { return Arc::default() };
        // The file may be a link to the one that another connection has opened.
        let file = file.canonicalize().unwrap_or(file);
        let place = Place {
            path: snapshot::path(&file, table),
            database: file.clone(),
            name: table.to_owned(),
            declaration: declaration.clone(),
        };
        let name = Name { file, table: table.to_ascii_lowercase() };
        let mut known = known();
        known.retain(|_, list| {
            list.retain(|(_, index)| index.strong_count() > 0);
            !list.is_empty()
        });
        let list = known.entry(name).or_default();
        // Not that of a table that was dropped, which another connection may still have.
        let is_there = |index: &Arc<Self>| !index.is_gone.load(Ordering::Relaxed);
        let mut of_this = list.iter().filter(|(known, _)| known == declaration);
        if let Some(index) = of_this.find_map(|(_, index)| index.upgrade().filter(is_there)) {
            return index;
        }
        let mut index = Self::default();
        index.place = Some(place);
        let index = Arc::new(index);
        list.push((declaration.clone(), Arc::downgrade(&index)));
        index
    }

    /// Says whether no connection uses it any more.
    pub(super) fn is_unused(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0
    }

    /// Returns the index; none after a panic while it was being changed.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<State>> {
        if self.state.is_poisoned() {
            drop(self.write());
        }
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the index if nobody is changing it.
    pub(super) fn try_read(&self) -> Option<RwLockReadGuard<'_, Option<State>>> {
        self.state.try_read().ok()
    }

    /// Returns the index to be changed if nobody uses it.
    pub(super) fn try_write(&self) -> Option<RwLockWriteGuard<'_, Option<State>>> {
        self.state.try_write().ok()
    }

    /// Returns the index to be changed; none after a panic in the middle of that.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Option<State>> {
        self.state.write().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            *state = None;
            self.state.clear_poison();
            state
        })
    }

    /// Notes how a search was done.
    pub(super) fn note_choice(&self, choice: &'static str) {
        *self.choice.lock().unwrap_or_else(PoisonError::into_inner) = choice;
    }

    /// Says how the last search was done; empty if there was none.
    pub(super) fn choice(&self) -> &'static str {
        *self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's use of an index.
pub(super) struct Use(Arc<Shared>);

impl Use {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.users.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Use {
    /// With the last one the work in the background ends, so that the process may end too.
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            let thread = self.0.work.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            let ended = thread.map(|thread| {
                thread.thread().unpark();
                thread.join()
            });
            if matches!(ended, Some(Err(_))) {
                tracing::error!("the thread that builds an index of embeddings has failed");
            }
        }
    }
}

impl Drop for Shared {
    /// The last connection of this process closes the file.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = &self.place else { return };
        if self.is_gone.load(Ordering::Relaxed) {
            // It may never have been there.
            let _ = std::fs::remove_file(&place.path);
        } else if let Some(state) = state {
            place.close(state, self.may_write.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use kithdb_vector::index::{Encoding, Engine, IndexOptions};
    use kithdb_vector::metric::Metric;
    use kithdb_vector::tiered::TieredIndex;

    use super::*;

    #[test]
    fn an_index_that_a_panic_left_half_changed_is_thrown_away() {
        let options = IndexOptions {
            dimensions: 2,
            metric: Metric::L2,
            encoding: Encoding::F32,
            engine: Engine::Scan,
            connections: 16,
            ef_construction: 200,
            seed: 1,
        };
        let rows = Rows::new(TieredIndex::new(options).unwrap(), None);
        let shared = Shared::default();
        *shared.write() = Some(State::of_saved(rows, Mark::default(), None));
        assert!(shared.read().is_some());
        let failed = std::thread::scope(|scope| {
            let change = scope.spawn(|| {
                let _state = shared.write();
                panic!("in the middle of a change");
            });
            change.join().is_err()
        });
        assert!(failed && shared.read().is_none());
    }
}
