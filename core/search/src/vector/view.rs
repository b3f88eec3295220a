//! One connection's view of a `kith_vector` table: the shared index, with what this connection's snapshot says otherwise.
//!
//! Invariants:
//! 1. Answers are those of the snapshot that the statement reads: the index moves on committed rows only, what is not committed or
//!    not seen any more lies over it, and every answer is looked up in the table where a row can go without a trigger being told.
//! 2. When there is no index that fits the snapshot, the table itself is read.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::EmbeddingIndex;
use kithdb_vector::tiered::TieredIndex;
use rusqlite::{Connection, TransactionState};

use super::changes::{self, Change, Tail};
use super::content::{Content, ContentError};
use super::declaration::Declaration;
use super::engine;
use super::memory::Bound;
use super::overlay::Overlay;
use super::rows::Rows;
use super::search::Base;
use super::shared::{Shared, State};
use super::snapshot::{self, Found, Place};
use super::source;
use super::vouched::{Vouched, Vouching};

/// Why a table cannot be searched.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("kith_vector: the query: {0}")]
    Query(EmbeddingError),
    #[error("kith_vector: {0}")]
    Index(EmbeddingError),
    #[error("kith_vector: table {table:?} is gone, in which changes are noted; drop {name:?} and create it again")]
    NoChanges { name: String, table: String },
    #[error(
        "kith_vector: table {content:?} is called {now:?} now; drop {name:?} and create it again with content={now}, or give the table its name back"
    )]
    Renamed { name: String, content: String, now: String },
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// The content table as it was at a version of the schema.
struct Known {
    schema: i64,
    content: Rc<Content>,
    is_watched: bool,
}

/// What a view has read of its table's definition, and its statements: to read them again costs more than a search.
pub(super) struct Kept {
    conn: Connection,
    name: String,
    declaration: Declaration,
    known: Option<Known>,
}

/// See the module.
pub(super) struct View {
    conn: Connection,
    pub(super) name: String,
    pub(super) declaration: Declaration,
    pub(super) shared: Arc<Shared>,
    known: Option<Known>,
    overlay: Option<Overlay>,
    /// An index of this connection's own, for a snapshot that the shared one does not fit.
    own: Option<State>,
}

impl View {
    pub(super) fn new(conn: Connection, name: String, declaration: Declaration, shared: Arc<Shared>) -> Self {
        Self { conn, name, declaration, shared, known: None, overlay: None, own: None }
    }

    /// Begins where another view of the same connection has ended, whichever table that was of.
    pub(super) fn of_kept(kept: Kept, name: String, declaration: Declaration, shared: Arc<Shared>) -> Self {
        let known = kept.known.filter(|_| kept.name == name && kept.declaration == declaration);
        Self { known, ..Self::new(kept.conn, name, declaration, shared) }
    }

    /// Ends, and keeps what holds for the next one.
    pub(super) fn keep(self) -> Kept {
        let Self { conn, name, declaration, known, .. } = self;
        // A rollback takes the schema's version back, and another change of the schema then has the same.
        let known =
            known.filter(|_| conn.transaction_state(Some("main")).is_ok_and(|state| state != TransactionState::Write));
        Kept { conn, name, declaration, known }
    }

    pub(super) const fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Says how a search will be done, as far as that is known before it; waits for nobody.
    pub(super) fn tier(&self, is_filtered: bool) -> String {
        let Some(state) = self.shared.try_read() else { return "scan or walk of the graph".to_owned() };
        let Some(state) = state.as_ref() else {
            let of_place = |place: &Place| place.has_saved_graph();
            return match self.shared.place.as_ref().is_some_and(of_place) {
                true => "walk of the graph if what is saved fits, else scan",
                false => "scan, once the table is read",
            }
            .to_owned();
        };
        let index = state.rows.index();
        match index.walked_from(state.ef()) {
            Some(least) if is_filtered => {
                format!("exact below {least} of {} rows, above walk of the graph", index.len())
            }
            Some(_) => "walk of the graph".to_owned(),
            None => "scan".to_owned(),
        }
    }

    /// Returns the content table as it is now, and whether its changes are noted.
    pub(super) fn content(&mut self) -> Result<(Rc<Content>, bool), SearchError> {
        let schema: i64 = self.conn.prepare_cached("PRAGMA main.schema_version")?.query_row([], |row| row.get(0))?;
        if let Some(known) = self.known.as_ref().filter(|known| known.schema == schema) {
            return Ok((Rc::clone(&known.content), known.is_watched));
        }
        let content = match Content::read(&self.conn, &self.declaration) {
            Err(ContentError::Missing { table, there }) => {
                return Err(match changes::watched(&self.conn, &self.name)? {
                    Some(now) => SearchError::Renamed { name: self.name.clone(), content: table, now },
                    None => ContentError::Missing { table, there }.into(),
                });
            }
            content => Rc::new(content?),
        };
        let table = changes::table_name(&self.name);
        if !self.conn.table_exists(Some("main"), table.as_str())? {
            return Err(SearchError::NoChanges { name: self.name.clone(), table });
        }
        let is_watched = changes::are_triggers_there(&self.conn, &self.name, &self.declaration.content)?;
        self.known = Some(Known { schema, content: Rc::clone(&content), is_watched });
        Ok((content, is_watched))
    }

    /// Puts a question to the rows as this connection's snapshot has them.
    pub(super) fn ask<T>(
        &mut self,
        question: impl FnOnce(&Connection, &Content, &Base<'_>) -> Result<T, SearchError>,
    ) -> Result<T, SearchError> {
        let (content, is_watched) = self.content()?;
        if !is_watched {
            self.own = None;
        }
        let is_committed = is_watched && self.conn.transaction_state(Some("main"))? != TransactionState::Write;
        let shared = Arc::clone(&self.shared);
        let offered = &shared.work.is_offered;
        if is_committed && offered.load(Ordering::Relaxed) && offered.swap(false, Ordering::AcqRel) {
            self.take_over(&content, &shared)?;
        }
        if is_watched {
            let state = shared.read();
            if let Some(state) = state.as_ref()
                && self.fits(&content, state, is_committed)?
            {
                self.own = None;
                let overlay = self.overlay.as_ref();
                let is_at_it = overlay.is_none_or(|overlay| overlay.last == state.applied);
                let clean = (is_committed && is_at_it).then_some(state.applied);
                if is_committed {
                    // What another process has saved may not have fitted, and then nothing else begins the work.
                    self.work(&shared, state);
                }
                let vouching = self.vouching(state, &content);
                return question(
                    &self.conn,
                    &content,
                    &Base { rows: &state.rows, overlay, ef: state.ef(), clean, vouching },
                );
            }
        }
        if is_committed
            && let Some(state) = self.move_on(&content, &shared)?
            && let Some(state) = state.as_ref()
        {
            (self.own, self.overlay) = (None, None);
            self.work(&shared, state);
            let (clean, vouching) = (Some(state.applied), self.vouching(state, &content));
            let base = Base { rows: &state.rows, overlay: None, ef: state.ef(), clean, vouching };
            return question(&self.conn, &content, &base);
        }
        self.overlay = None;
        let own = self.own_state(&content)?;
        let base = Base { rows: &own.rows, overlay: None, ef: own.ef(), clean: None, vouching: Vouching::Never };
        let answer = question(&self.conn, &content, &base);
        self.own = Some(own);
        answer
    }

    /// Begins what is due in the background.
    fn work(&self, shared: &Arc<Shared>, state: &State) {
        engine::work(shared, state, self.declaration.recall_permille, || engine::build_threads(&self.conn));
    }

    /// Says whether each row that this snapshot sees in an index, or over it, is in the table, so that none has to be looked up.
    fn vouching(&self, state: &State, content: &Content) -> Vouching {
        match &self.known {
            Some(known) if content.is_told => state.vouched.under(known.schema),
            _ => Vouching::Never,
        }
    }

    /// Lays what this snapshot has otherwise over an index; false if the index must be moved, or does not fit at all.
    fn fits(&mut self, content: &Content, state: &State, is_committed: bool) -> Result<bool, SearchError> {
        let kept = self.overlay.take().filter(|overlay| {
            overlay.base == state.applied
                && overlay.version == state.version
                && (!is_committed || overlay.last.sequence < state.applied.sequence)
        });
        if let Some(mut overlay) = kept
            && let Tail::Follows(new) = changes::tail(&self.conn, &self.name, content, overlay.last)?
            && (new.is_empty() || !is_committed)
            && self.lay(content, state, &mut overlay, &new)?
        {
            self.overlay = Some(overlay);
            return Ok(true);
        }
        let make_exact = || engine::make_exact(&self.declaration.options).map_err(SearchError::Index);
        match changes::tail(&self.conn, &self.name, content, state.applied)? {
            Tail::Follows(new) if new.is_empty() && state.ghosts().next().is_none() => Ok(true),
            Tail::Follows(new) if !is_committed || new.is_empty() => {
                let mut overlay = Overlay::new(Rows::new(make_exact()?, self.bound()), state, state.applied);
                overlay.add(&self.conn, content, &state.rows, state.ghosts())?;
                let fits = self.lay(content, state, &mut overlay, &new)?;
                self.overlay = fits.then_some(overlay);
                Ok(fits)
            }
            Tail::Older(mark) => {
                let Some(keys) = state.changed_after(mark) else { return Ok(false) };
                let mut overlay = Overlay::new(Rows::new(make_exact()?, self.bound()), state, mark);
                overlay.add(&self.conn, content, &state.rows, keys)?;
                self.overlay = Some(overlay);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn lay(&self, content: &Content, state: &State, overlay: &mut Overlay, new: &[Change]) -> rusqlite::Result<bool> {
        if new.iter().any(|change| change.key.is_none()) {
            return Ok(false);
        }
        overlay.add(&self.conn, content, &state.rows, new.iter().filter_map(|change| change.key.as_ref()))?;
        if let Some(last) = new.last() {
            overlay.last = last.mark;
        }
        Ok(true)
    }

    /// Brings the shared index to this snapshot, which is committed; `None` if the snapshot is older than the index.
    fn move_on<'s>(
        &self,
        content: &Content,
        shared: &'s Shared,
    ) -> Result<Option<RwLockReadGuard<'s, Option<State>>>, SearchError> {
        let mut guard = shared.write();
        let is_done = match guard.as_mut() {
            None => false,
            Some(state) => match changes::tail(&self.conn, &self.name, content, state.applied)? {
                Tail::Follows(new) => state.advance(&self.conn, content, new)?,
                // Another connection may have moved it in between. A snapshot taken just now is the newest there is.
                Tail::Older(_) if !self.conn.is_autocommit() => return Ok(None),
                Tail::Older(_) | Tail::Unknown => false,
            },
        };
        if !is_done {
            *guard = None;
            *guard = Some(self.load(content, shared)?);
        }
        Ok(Some(RwLockWriteGuard::downgrade(guard)))
    }

    /// Takes over the index that another process has built and saved, while others search the one that is there.
    fn take_over(&mut self, content: &Content, shared: &Shared) -> Result<(), SearchError> {
        let Some(found) = self.find(content, shared) else { return Ok(()) };
        let mark = found.mark;
        let loaded = self.load_saved(content, &found)?;
        if loaded.is_none() {
            *shared.work.declined.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        } else {
            *shared.write() = loaded;
        }
        Ok(())
    }

    fn find(&self, content: &Content, shared: &Shared) -> Option<Found> {
        snapshot::find(&shared.place.as_ref()?.path, &self.declaration, content.is_rowid)
    }

    /// Makes the shared index from what was saved and the changes since; `None` if that does not fit, or takes longer than all rows.
    fn load_saved(&self, content: &Content, found: &Found) -> Result<Option<State>, SearchError> {
        if let Tail::Follows(new) = changes::tail(&self.conn, &self.name, content, found.mark)?
            && let Some(mut state) = found.read(&self.declaration, self.bound())
            && new.len() <= state.rows.index().len()
            && state.advance(&self.conn, content, new)?
        {
            return Ok(Some(state));
        }
        Ok(None)
    }

    /// Makes the shared index: from what was saved, or from the whole table.
    fn load(&self, content: &Content, shared: &Shared) -> Result<State, SearchError> {
        if let Some(found) = self.find(content, shared)
            && let Some(state) = self.load_saved(content, &found)?
        {
            return Ok(state);
        }
        let index = TieredIndex::new(self.declaration.options.clone()).map_err(SearchError::Index)?;
        let mut state = State::load(&self.conn, &self.name, content, Rows::new(index, self.bound()))?;
        state.vouched = Vouched::by(self.known.as_ref().filter(|_| content.is_told).map(|known| known.schema));
        Ok(state)
    }

    /// Begins the bound on the memory of one index, if there is one.
    fn bound(&self) -> Option<Bound> {
        let database = self.shared.place.as_ref().map(|place| place.database.as_path());
        self.declaration.max_memory_bytes.map(|bytes| Bound::new(bytes, database))
    }

    /// Brings the index of this connection's own to this snapshot.
    fn own_state(&mut self, content: &Content) -> Result<State, SearchError> {
        if let Some(mut own) = self.own.take()
            && let Tail::Follows(new) = changes::tail(&self.conn, &self.name, content, own.applied)?
            && own.advance(&self.conn, content, new)?
        {
            return Ok(own);
        }
        let index = engine::make_scan(&self.declaration.options).map_err(SearchError::Index)?;
        Ok(State::load(&self.conn, &self.name, content, Rows::new(index, self.bound()))?)
    }

    /// Watches the content table again, if it was made anew, and has everything read from it again.
    pub(super) fn rebuild(&mut self) -> Result<(), SearchError> {
        let content = Content::read(&self.conn, &self.declaration)?;
        if !changes::are_triggers_there(&self.conn, &self.name, &self.declaration.content)? {
            changes::widen(&self.conn, &self.name, &content)?;
            changes::drop_triggers(&self.conn, &self.name)?;
            changes::create_triggers(&self.conn, &self.name, &self.declaration, &content)?;
        }
        changes::note_all(&self.conn, &self.name)?;
        source::drop_triggers(&self.conn, &self.name)?;
        source::create_triggers(&self.conn, &self.name, &self.declaration, &content)?;
        source::note_all(&self.conn, &self.name)?;
        self.known = None;
        Ok(())
    }

    /// Forgets everything that was made from the table.
    pub(super) fn reset(&mut self) {
        (self.known, self.overlay, self.own) = (None, None, None);
        *self.shared.write() = None;
    }
}
