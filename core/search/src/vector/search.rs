//! What is asked of a view: the nearest rows, all rows, figures.

use std::collections::HashSet;
use std::sync::Arc;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{EmbeddingIndex, Query};
use kithdb_vector::tiered::Way;
use rusqlite::Connection;

use super::changes::Mark;
use super::content::{Content, Identity};
use super::keys::{Key, KeyHash};
use super::overlay::Overlay;
use super::rows::{Near, Rows};
use super::view::{SearchError, View};

/// Up to so many hidden rows the index is asked for more instead of being given all others as a filter.
const HIDDEN_MAX: usize = 64;
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

/// The rows of a filter.
#[derive(Debug, Default)]
struct Among {
    /// All if `None`.
    only: Option<Vec<Key>>,
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
    /// Whether each row is in the table and its key is its rowid, so that it need not be looked up there.
    pub(super) is_vouched: bool,
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
        let (hits, ghosts, clean) = self.ask(|conn, content, base| {
            let Among { only, without: mut gone } = among(conn, content, request.filter.as_ref())?;
            let mut identifier = if base.is_vouched { None } else { Some(content.identifier(conn)?) };
            let mut identify = |key: &Key| match (&mut identifier, key) {
                // A page of the table for each answer would cost more than all else here.
                (None, Key::Integer(rowid)) => Ok(Some(Identity { rowid: Some(*rowid), key: Vec::new() })),
                (Some(identifier), key) => identifier.identify(key),
                (None, key) => content.identifier(conn)?.identify(key),
            };
            let mut ghosts = Vec::new();
            loop {
                let wanted = request.count + gone.len();
                let (found, choice) = nearest(base, request, only.as_deref(), wanted).map_err(SearchError::Query)?;
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
                    return Ok((hits, ghosts, base.clean));
                }
            }
        })?;
        if let Some(clean) = clean.filter(|_| !ghosts.is_empty()) {
            let mut guard = self.shared.write();
            if let Some(state) = guard.as_mut().filter(|state| state.applied == clean) {
                state.forget(ghosts);
            }
        }
        Ok(hits)
    }

    /// Lists the rows that have an embedding, or those of the filter that have.
    pub(super) fn list(&mut self, filter: Option<&Filter>) -> Result<Vec<Hit>, SearchError> {
        self.ask(|conn, content, base| {
            let keys = match among(conn, content, filter)?.only {
                Some(keys) => keys,
                None => content.keys(conn)?,
            };
            let mut identifier = content.identifier(conn)?;
            let mut hits = Vec::with_capacity(keys.len());
            for key in keys {
                let is_there = match base.overlay.filter(|overlay| overlay.contains(&key)) {
                    Some(overlay) => overlay.rows.slot(&key).is_some(),
                    None => base.rows.slot(&key).is_some(),
                };
                if is_there && let Some(identity) = identifier.identify(&key)? {
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
        if let Filter::Not(filter) = filter {
            among.without.extend(keys_of(conn, content, filter)?);
            continue;
        }
        let mut keys = keys_of(conn, content, filter)?;
        if let Some(only) = among.only {
            let only: HashSet<Key, KeyHash> = only.into_iter().collect();
            keys.retain(|key| only.contains(key));
        }
        among.only = Some(keys);
    }
    if let Some(only) = &mut among.only {
        let without = std::mem::take(&mut among.without);
        only.retain(|key| !without.contains(key));
    }
    Ok(among)
}

fn keys_of(conn: &Connection, content: &Content, filter: &Filter) -> rusqlite::Result<Vec<Key>> {
    match filter {
        Filter::Keys(keys) => Ok(keys.clone()),
        Filter::Rowids(rowids) => {
            rowids.iter().filter_map(|&rowid| content.key_of_rowid(conn, rowid).transpose()).collect()
        }
        Filter::Between(from, to) => content.keys_between(conn, *from, *to),
        Filter::Not(_) | Filter::All(_) => Ok(among(conn, content, Some(filter))?.only.unwrap_or_default()),
    }
}

fn nearest(
    base: &Base<'_>,
    request: &Request,
    filter: Option<&[Key]>,
    wanted: usize,
) -> Result<(Vec<Near>, &'static str), EmbeddingError> {
    let hidden = base.overlay.map(|overlay| &overlay.hidden).filter(|hidden| !hidden.is_empty());
    let mut count = wanted;
    let allowed = match (filter, hidden) {
        (Some(keys), _) => {
            let is_hidden = |slot: &_| hidden.is_some_and(|hidden| hidden.contains(*slot));
            Some(keys.iter().filter_map(|key| base.rows.slot(key)).filter(|slot| !is_hidden(slot)).collect())
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
    let choice = match (way, filter.is_some()) {
        (Way::Walk, false) => "walk of the graph",
        (Way::Walk, true) => "walk of the graph, filtered",
        (Way::Scan, false) => "scan",
        (Way::Scan, true) => "scan of the filtered rows",
        (Way::WalkThenScan, false) => "scan, after a walk of the graph was given up",
        (Way::WalkThenScan, true) => "scan of the filtered rows, after a walk of the graph was given up",
    };
    if let Some(overlay) = base.overlay {
        found.retain(|near| !overlay.contains(&near.key));
        let allowed = filter.map(|keys| keys.iter().filter_map(|key| overlay.rows.slot(key)).collect());
        found.extend(overlay.rows.search(&query(wanted, allowed.as_ref()))?.0);
        found.sort_by(|left, right| left.distance.total_cmp(&right.distance));
    }
    found.truncate(wanted);
    Ok((found, choice))
}
