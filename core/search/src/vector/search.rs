//! What is asked of a view: the nearest rows, all rows, figures.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Query};
use kithdb_vector::slots::Slot;
use kithdb_vector::tiered::Way;
use rusqlite::Connection;

use super::changes::Mark;
use super::content::{Content, Identity};
use super::keys::{Key, KeyHash};
use super::overlay::Overlay;
use super::rows::{Near, Rows};
use super::view::{SearchError, View};
use super::vouched::Vouching;

/// Up to so many hidden rows the index is asked for more instead of being given all others as a filter.
const HIDDEN_MAX: usize = 64;
/// Rows that a search looks up beside its own, as long as that is due: a lookup costs about 2 microseconds, a search some tens.
const LOOKED_UP: usize = 16;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) embedding: Vec<f32>,
    pub(super) count: usize,
    pub(super) ef: Option<usize>,
    pub(super) filter: Option<Filter>,
}

/// The rows that may be answered.
#[derive(Debug, Clone)]
pub(super) enum Filter {
    Keys(Vec<Key>),
    Rowids(Vec<i64>),
    /// Rowids from the first to the second.
    Between(i64, i64),
    Not(Box<Filter>),
    /// Those that every one of these lets through.
    All(Vec<Filter>),
}

impl Filter {
    /// Says whether it lets no row through, as far as that is seen without the table.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.is_empty(),
            Self::Rowids(rowids) => rowids.is_empty(),
            Self::Between(from, to) => from > to,
            Self::Not(_) => false,
            Self::All(filters) => filters.iter().any(Self::is_empty),
        }
    }
}

/// The rows of a filter.
#[derive(Debug, Default)]
struct Among {
    /// All if `None`.
    only: Option<Vec<Key>>,
    /// Of all of them, those whose key, which is the rowid, is in here. The table is not read for it.
    within: Option<RangeInclusive<i64>>,
    /// And of these none.
    without: HashSet<Key, KeyHash>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) key: Key,
    pub(super) identity: Identity,
    pub(super) distance: Option<f32>,
}

/// What a question is put to.
pub(super) struct Base<'s> {
    pub(super) rows: &'s Rows,
    pub(super) overlay: Option<&'s Overlay>,
    /// The candidates of a walk where nothing else is said.
    pub(super) ef: usize,
    /// The place that `rows` is at, if it is the shared index and this reader's snapshot is committed and at that place too.
    pub(super) clean: Option<Mark>,
    pub(super) vouching: Vouching,
}

/// Figures for `kith_vector_stats`.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) indexed: usize,
    pub(super) refused: Vec<(Key, Option<String>)>,
    pub(super) pending: usize,
    /// Candidates of a walk where nothing else is said.
    pub(super) ef: usize,
    /// Whether a graph is searched.
    pub(super) has_graph: bool,
    /// Rows that the graph does not know yet.
    pub(super) behind: usize,
    pub(super) memory_bytes: usize,
    /// Embeddings in mapped files.
    pub(super) mapped_bytes: usize,
    /// Why the bound on the memory is not kept, or what is not done so as to keep it.
    pub(super) memory_problem: Option<String>,
    pub(super) is_watched: bool,
    pub(super) applied: i64,
}

impl View {
    /// Finds the rows nearest to an embedding, nearest first.
    pub(super) fn search(&mut self, request: &Request) -> Result<Vec<Hit>, SearchError> {
        let shared = Arc::clone(&self.shared);
        let (hits, ghosts, clean, looked) = self.ask(|conn, content, base| {
            let Among { only, within, without: mut gone } = among(conn, content, request.filter.as_ref())?;
            let allowed = match (&only, within) {
                (Some(keys), _) => Allowed::Keys(keys),
                (None, Some(range)) => Allowed::Within(range),
                (None, None) => Allowed::All,
            };
            let mut identifier = if base.vouching == Vouching::All { None } else { Some(content.identifier(conn)?) };
            let mut identify = |key: &Key| match (&mut identifier, key) {
                // A page of the table for each answer would cost more than all else here.
                (None, Key::Integer(rowid)) => Ok(Some(Identity::of_rowid(*rowid))),
                (Some(identifier), key) => identifier.identify(key),
                (None, key) => content.identifier(conn)?.identify(key),
            };
            let mut ghosts = Vec::new();
            loop {
                let wanted = request.count + gone.len();
                let (found, choice) = nearest(base, request, &allowed, wanted).map_err(SearchError::Query)?;
                shared.note_choice(choice);
                let is_all = found.len() < wanted;
                let mut hits = Vec::with_capacity(request.count);
                let before = gone.len();
                for near in found {
                    if hits.len() == request.count {
                        break;
                    }
                    if gone.contains(&near.key) {
                        continue;
                    }
                    match identify(&near.key)? {
                        Some(identity) => hits.push(Hit { key: near.key, identity, distance: Some(near.distance) }),
                        // Displaced by a REPLACE, of which no trigger is told.
                        None => {
                            ghosts.push(near.key.clone());
                            gone.insert(near.key);
                        }
                    }
                }
                if is_all || hits.len() == request.count || gone.len() == before {
                    let looked = match (base.vouching, base.clean) {
                        (Vouching::Until(from), Some(_)) => {
                            let until = (from.slot + LOOKED_UP).min(base.rows.slots());
                            for key in base.rows.keys_in(from.slot..until) {
                                if !ghosts.contains(key) && identify(key)?.is_none() {
                                    ghosts.push(key.clone());
                                }
                            }
                            Some((from, until))
                        }
                        _ => None,
                    };
                    return Ok((hits, ghosts, base.clean, looked));
                }
            }
        })?;
        if let Some(clean) = clean.filter(|_| !ghosts.is_empty() || looked.is_some()) {
            // How far it was looked is not worth waiting for.
            let guard = if ghosts.is_empty() { self.shared.try_write() } else { Some(self.shared.write()) };
            if let Some(mut guard) = guard
                && let Some(state) = guard.as_mut().filter(|state| state.applied == clean)
            {
                if let Some((from, until)) = looked {
                    let slots = state.rows.slots();
                    state.vouched.note(from, until, slots);
                }
                if !ghosts.is_empty() {
                    state.forget(ghosts);
                }
            }
        }
        Ok(hits)
    }

    /// Lists the rows that have an embedding, or those of the filter that have.
    pub(super) fn list(&mut self, filter: Option<&Filter>) -> Result<Vec<Hit>, SearchError> {
        self.ask(|conn, content, base| {
            let (keys, are_there) = match among(conn, content, filter)? {
                Among { only: Some(keys), .. } => (keys, false),
                Among { within: Some(range), .. } => (content.keys_between(conn, range)?, true),
                _ => (content.keys(conn)?, true),
            };
            let mut identifier = content.identifier(conn)?;
            let mut identify = |key: &Key| match key {
                Key::Integer(rowid) if are_there => Ok(Some(Identity::of_rowid(*rowid))),
                key => identifier.identify(key),
            };
            let mut hits = Vec::with_capacity(keys.len());
            for key in keys {
                let is_there = match base.overlay.filter(|overlay| overlay.contains(&key)) {
                    Some(overlay) => overlay.rows.slot(&key).is_some(),
                    None => base.rows.slot(&key).is_some(),
                };
                if is_there && let Some(identity) = identify(&key)? {
                    hits.push(Hit { key, identity, distance: None });
                }
            }
            Ok(hits)
        })
    }

    /// Lists the keys of the rows that were left out, in order.
    pub(super) fn refused(&mut self) -> Result<Vec<Key>, SearchError> {
        self.ask(|_, _, base| {
            let is_hidden = |key: &&Key| base.overlay.is_some_and(|overlay| overlay.contains(key));
            let mut keys: Vec<_> = base.rows.refused().keys().filter(|key| !is_hidden(key)).cloned().collect();
            keys.extend(base.overlay.iter().flat_map(|overlay| overlay.rows.refused().keys().cloned()));
            keys.sort_unstable();
            Ok(keys)
        })
    }

    /// Returns the figures as they are for this snapshot.
    pub(super) fn figures(&mut self) -> Result<Figures, SearchError> {
        let (_, is_watched) = self.content()?;
        self.ask(|_, _, base| {
            let overlay = base.overlay;
            let hidden = |key: &Key| overlay.is_some_and(|overlay| overlay.contains(key));
            let mut refused: Vec<_> = base
                .rows
                .refused()
                .iter()
                .filter(|(key, _)| !hidden(key))
                .map(|(key, why)| (key.clone(), why.clone()))
                .collect();
            refused.extend(
                overlay.iter().flat_map(|overlay| overlay.rows.refused()).map(|(key, why)| (key.clone(), why.clone())),
            );
            let over = overlay.map_or(0, |overlay| overlay.rows.index().len());
            Ok(Figures {
                indexed: base.rows.index().len() - overlay.map_or(0, |overlay| overlay.hidden.len()) + over,
                refused,
                pending: overlay.map_or(0, Overlay::len),
                ef: base.ef,
                has_graph: base.rows.index().graph().is_some(),
                behind: base.rows.index().pending(),
                memory_bytes: base.rows.memory_bytes() + overlay.map_or(0, |overlay| overlay.rows.memory_bytes()),
                mapped_bytes: base.rows.index().store().foreign_bytes(),
                memory_problem: base.rows.memory_problem(),
                is_watched,
                applied: base.clean.map_or(0, |mark| mark.sequence),
            })
        })
    }
}

fn among(conn: &Connection, content: &Content, filter: Option<&Filter>) -> rusqlite::Result<Among> {
    let mut among = Among::default();
    let Some(filter) = filter else { return Ok(among) };
    let filters = if let Filter::All(filters) = filter { filters.as_slice() } else { std::slice::from_ref(filter) };
    for filter in filters {
        match filter {
            Filter::Not(filter) => among.without.extend(keys_of(conn, content, filter)?),
            Filter::Between(from, to) => {
                let (low, high) = among.within.map_or((i64::MIN, i64::MAX), RangeInclusive::into_inner);
                among.within = Some(low.max(*from)..=high.min(*to));
            }
            filter => {
                let keys = keys_of(conn, content, filter)?;
                among.narrow(keys);
            }
        }
    }
    match among.within.take() {
        Some(range) if !content.is_rowid => among.narrow(content.keys_between(conn, range)?),
        Some(range) => match &mut among.only {
            Some(only) => only.retain(|key| is_within(key, &range)),
            None => among.within = Some(range),
        },
        None => {}
    }
    if let Some(only) = &mut among.only {
        let without = std::mem::take(&mut among.without);
        only.retain(|key| !without.contains(key));
    }
    Ok(among)
}

impl Among {
    fn narrow(&mut self, mut keys: Vec<Key>) {
        if let Some(only) = self.only.take() {
            let only: HashSet<Key, KeyHash> = only.into_iter().collect();
            keys.retain(|key| only.contains(key));
        }
        self.only = Some(keys);
    }
}

fn is_within(key: &Key, range: &RangeInclusive<i64>) -> bool {
    matches!(key, Key::Integer(number) if range.contains(number))
}

fn keys_of(conn: &Connection, content: &Content, filter: &Filter) -> rusqlite::Result<Vec<Key>> {
    match filter {
        Filter::Keys(keys) => Ok(keys.clone()),
        Filter::Rowids(rowids) => {
            rowids.iter().filter_map(|&rowid| content.key_of_rowid(conn, rowid).transpose()).collect()
        }
        Filter::Between(from, to) => content.keys_between(conn, *from..=*to),
        Filter::Not(_) | Filter::All(_) => Ok(among(conn, content, Some(filter))?.only.unwrap_or_default()),
    }
}

/// Which rows a search is to choose among.
enum Allowed<'k> {
    All,
    Keys(&'k [Key]),
    /// Those whose key is a number of these.
    Within(RangeInclusive<i64>),
}

impl Allowed<'_> {
    /// Returns their slots; `None` if they are all.
    fn slots<'r>(&'r self, rows: &'r Rows) -> Option<Box<dyn Iterator<Item = Slot> + 'r>> {
        match self {
            Self::All => None,
            Self::Keys(keys) => Some(Box::new(keys.iter().filter_map(|key| rows.slot(key)))),
            Self::Within(range) => Some(Box::new(rows.slots_where(|key| is_within(key, range)))),
        }
    }
}

fn nearest(
    base: &Base<'_>,
    request: &Request,
    among: &Allowed<'_>,
    wanted: usize,
) -> Result<(Vec<Near>, &'static str), EmbeddingError> {
    let hidden = base.overlay.map(|overlay| &overlay.hidden).filter(|hidden| !hidden.is_empty());
    let mut count = wanted;
    let allowed = match (among.slots(base.rows), hidden) {
        (Some(slots), _) => {
            let is_hidden = |slot: &_| hidden.is_some_and(|hidden| hidden.contains(*slot));
            Some(slots.filter(|slot| !is_hidden(slot)).collect())
        }
        (None, Some(hidden)) if hidden.len() > HIDDEN_MAX => Some(base.rows.all_but(hidden)),
        (None, Some(hidden)) => {
            count += hidden.len();
            None
        }
        (None, None) => None,
    };
    let query =
        |count, allowed| Query { embedding: &request.embedding, count, ef: request.ef.unwrap_or(base.ef), allowed };
    let asked = query(count, allowed.as_ref());
    let (mut found, way) = base.rows.search(&asked)?;
    let choice = match (way, !matches!(among, Allowed::All)) {
        (Way::Walk, false) => "walk of the graph",
        (Way::Walk, true) => "walk of the graph, filtered",
        (Way::Scan, false) => "scan",
        (Way::Scan, true) => "scan of the filtered rows",
        (Way::WalkThenScan, false) => "scan, after a walk of the graph was given up",
        (Way::WalkThenScan, true) => "scan of the filtered rows, after a walk of the graph was given up",
    };
    if let Some(overlay) = base.overlay {
        found.retain(|near| !overlay.contains(&near.key));
        let allowed = among.slots(&overlay.rows).map(Iterator::collect);
        found.extend(overlay.rows.search(&query(wanted, allowed.as_ref()))?.0);
        found.sort_by(|left, right| left.distance.total_cmp(&right.distance));
    }
    found.truncate(wanted);
    Ok((found, choice))
}
