//! A query of a `kith_vector` table: its arguments, and its answers row by row.

use std::ffi::c_int;

use kithdb_vector::metric::Metric;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::ffi;
use rusqlite::types::ValueRef;
use rusqlite::vtab::{Context, Filters, VTabCursor};

use super::keys;
use super::plan::{self, COUNT, DISTANCE, EF, EMBEDDING, KEY};
use super::search::{Filter, Hit, Request};
use super::table::{Table, error, of};
use super::value::{Element, Embedding, ValueError};
use super::view::View;
use crate::embed::embedder;
use crate::function::whole_number;

/// Most neighbours of one query.
const COUNT_MAX: i64 = 100_000;

/// A query under way; its answers are found when it begins.
#[repr(C)]
pub(super) struct Cursor<'vtab> {
    base: ffi::sqlite3_vtab_cursor,
    table: &'vtab Table,
    hits: Vec<Hit>,
    place: usize,
    /// `k` and `ef` as they were given.
    asked: [Option<i64>; 2],
}

impl<'vtab> Cursor<'vtab> {
    pub(super) const fn new(table: &'vtab Table) -> Self {
        let base = ffi::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() };
        Self { base, table, hits: Vec::new(), place: 0, asked: [None; 2] }
    }
}

impl Cursor<'_> {
    fn begin(
        &mut self,
        is_search: bool,
        words: &str,
        arguments: &Filters<'_>,
        view: &mut View,
    ) -> rusqlite::Result<()> {
        let (mut limit, mut offset, mut embedding) = (None, 0, None);
        let mut filters = Vec::new();
        for (index, word) in plan::words(words).enumerate() {
            let number = || {
                let number = arguments.iter().nth(index).and_then(whole_number);
                number.ok_or_else(|| error(format!("kith_vector: {word} is to be a whole number")))
            };
            match word {
                "query" => embedding = query(arguments, index, view)?,
                "k" => self.asked[0] = Some(number()?),
                "limit" => limit = Some(number()?),
                "offset" => offset = number()?.max(0),
                "ef" => self.asked[1] = Some(number()?),
                word => filters.extend(filter(word, arguments, index, view)?),
            }
        }
        if !is_search && self.asked != [None; 2] {
            return Err(error(
                "kith_vector: k and ef belong to a search; say what for: AND embedding MATCH …"
                    .replace("embedding", &view.declaration.column),
            ));
        }
        let is_nothing = filters.iter().any(Filter::is_empty);
        let filter = (!filters.is_empty()).then_some(Filter::All(filters));
        if !is_search {
            if !is_nothing {
                self.hits = view.list(filter.as_ref()).map_err(of)?;
            }
            return Ok(());
        }
        let count = match (self.asked[0], limit) {
            (Some(count), _) => count,
            (None, Some(limit)) if limit >= 0 => limit.saturating_add(offset),
            _ => {
                return Err(error(
                    "kith_vector: say how many rows are to be found: AND k = 10, or ORDER BY distance LIMIT 10 if nothing is joined",
                ));
            }
        };
        let count = self::count(count)?;
        let ef = self.asked[1].map(|ef| {
            usize::try_from(ef).ok().filter(|ef| *ef > 0 && *ef as i64 <= COUNT_MAX).ok_or_else(|| {
                error(format!(
                    "kith_vector: ef = {ef} is not possible; a whole number from 1 to {COUNT_MAX} is expected"
                ))
            })
        });
        let ef = ef.transpose()?;
        let Some(embedding) = embedding else { return Ok(()) };
        let request = Request { embedding, count, ef, filter };
        self.hits = view.search(&request).map_err(of)?;
        Ok(())
    }
}

/// Checks the number of rows that are asked for.
pub(super) fn count(count: i64) -> rusqlite::Result<usize> {
    let checked = usize::try_from(count).ok().filter(|_| count <= COUNT_MAX);
    checked.ok_or_else(|| error(format!("kith_vector: {count} rows cannot be asked for; 0 to {COUNT_MAX} can")))
}

/// Reads the embedding that is searched for, or embeds the text that is; `None` for NULL, and if there is nothing in it to embed.
pub(super) fn query(arguments: &Filters<'_>, index: usize, view: &View) -> rusqlite::Result<Option<Vec<f32>>> {
    let options = &view.declaration.options;
    let subtype = arguments.get_subtype(index);
    let element = Element::of_subtype(subtype);
    let value = arguments.iter().nth(index).ok_or_else(|| error("kith_vector: the query is missing"))?;
    if value == ValueRef::Null {
        return Ok(None);
    }
    let embedding = match (Embedding::read(value, element), value, &view.declaration.model) {
        (Ok(embedding), ..) => embedding,
        // A JSON array is an embedding; any other text is one to embed, where it is known how.
        (Err(ValueError::Json { .. }), ValueRef::Text(text), Some(model)) => {
            let answer = embedder(model).and_then(|model| model.embed(&[&String::from_utf8_lossy(text)]));
            match answer.map_err(|reason| error(format!("kith_vector: the query: {reason}")))?.pop().flatten() {
                Some(numbers) => Embedding::Float32(numbers),
                None => return Ok(None),
            }
        }
        (Err(ValueError::Json { .. }), ValueRef::Text(text), None) if !text.trim_ascii_start().starts_with(b"[") => {
            return Err(error(format!(
                "kith_vector: the query is a text, and {:?} declares no model that embeds it; ask with its embedding, as in MATCH kith_embed('a text'), or create the table with model=",
                view.name
            )));
        }
        (Err(reason), ..) => return Err(error(format!("kith_vector: the query: {reason}"))),
    };
    let (expected, got) = (options.dimensions, embedding.len());
    if got != expected {
        return Err(error(format!(
            "kith_vector: the query has {got} dimensions, {:?} has {expected}; embed it with the same model",
            view.name
        )));
    }
    if embedding.element() == Element::Bit && options.metric != Metric::Hamming {
        return Err(error("kith_vector: a query of bits needs metric=hamming"));
    }
    Ok(Some(embedding.into_floats()))
}

/// Reads a condition on the rows, as the plan names it; `None` where it is left to SQLite alone.
fn filter(word: &str, arguments: &Filters<'_>, index: usize, view: &mut View) -> rusqlite::Result<Option<Filter>> {
    let (name, how) = word.split_once(' ').unwrap_or((word, ""));
    if matches!(how, "" | "in" | "not") {
        let chosen = match name {
            "rowid" => {
                let mut rowids = Vec::new();
                each(arguments, index, how == "in", |value| rowids.extend(whole(value)))?;
                rowids.sort_unstable();
                rowids.dedup();
                Filter::Rowids(rowids)
            }
            "key" => {
                let (content, _) = view.content().map_err(of)?;
                let mut keys = Vec::new();
                each(arguments, index, how == "in", |value| keys.extend(content.keys_of(value)))?;
                keys.sort_unstable();
                keys.dedup();
                Filter::Keys(keys)
            }
            _ => return Ok(None),
        };
        return Ok(Some(if how == "not" { Filter::Not(Box::new(chosen)) } else { chosen }));
    }
    let Some((floor, ceiling)) = arguments.iter().nth(index).and_then(bound) else { return Ok(None) };
    let (from, to) = match how {
        "above" => (floor.saturating_add(1), i64::MAX),
        "from" => (ceiling, i64::MAX),
        "below" => (i64::MIN, ceiling.saturating_sub(1)),
        _ => (i64::MIN, floor),
    };
    Ok(Some(Filter::Between(from, to)))
}

/// Visits the values of a list, or the one value that stands in its place.
fn each(
    arguments: &Filters<'_>,
    index: usize,
    is_list: bool,
    mut visit: impl FnMut(ValueRef<'_>),
) -> rusqlite::Result<()> {
    if is_list {
        let mut list = arguments.in_values(index)?;
        while let Some(value) = list.next()? {
            visit(value);
        }
    } else if let Some(value) = arguments.iter().nth(index) {
        visit(value);
    }
    Ok(())
}

/// Reads a rowid that is asked for; text is compared with numbers as the number that it writes.
fn whole(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Text(text) => str::from_utf8(text).ok()?.trim().parse().ok(),
        value => whole_number(value),
    }
}

/// Reads a bound of rowids: the whole numbers next to it.
fn bound(value: ValueRef<'_>) -> Option<(i64, i64)> {
    match value {
        ValueRef::Real(number) if number.is_finite() => Some((number.floor() as i64, number.ceil() as i64)),
        value => whole(value).map(|number| (number, number)),
    }
}

// SAFETY: `Cursor` is `repr(C)` and begins with SQLite's own part.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, plan: c_int, words: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        (self.hits, self.place, self.asked) = (Vec::new(), 0, [None; 2]);
        let table = self.table;
        table.with(|view| self.begin(plan == 1, words.unwrap_or_default(), arguments, view))
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.place += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.place >= self.hits.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let Some(hit) = self.hits.get(self.place) else { return Ok(()) };
        match column {
            KEY if hit.identity.key.is_empty() => context.set_result(hit.identity.rowid),
            KEY => context.set_result(keys::shown(hit.identity.key.clone())),
            DISTANCE => context.set_result(hit.distance.map(f64::from)),
            EMBEDDING => {
                let stored = self.table.with(|view| {
                    let (content, _) = view.content().map_err(of)?;
                    content.stored(view.conn(), &hit.key)
                })?;
                context.set_result(stored)
            }
            COUNT => context.set_result(self.asked[0]),
            EF => context.set_result(self.asked[1]),
            _ => Ok(()),
        }
    }

    /// The row's own rowid; a table WITHOUT ROWID has none, so a number is made from the key: SQLite tells rows by it that two
    /// searches joined by OR have found.
    fn rowid(&self) -> rusqlite::Result<i64> {
        let Some(hit) = self.hits.get(self.place) else { return Ok(0) };
        Ok(hit.identity.rowid.unwrap_or_else(|| hit.key.number()))
    }
}
