//! A query of a `vec0` table: its rows are found when it begins, and their columns read when they are asked for.

use std::collections::HashSet;
use std::ffi::c_int;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::ffi;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{Context, Filters, VTabCursor};

use super::declaration::Kind;
use super::plan::Term;
use super::rows::{Condition, Operator};
use super::table::{Table, error, guarded};
use super::values;

/// Most rows of one search; sqlite-vec's own bound is 4,096.
const COUNT_MAX: i64 = 100_000;

/// A query under way.
#[repr(C)]
pub(super) struct Cursor<'vtab> {
    base: ffi::sqlite3_vtab_cursor,
    table: &'vtab Table,
    found: Vec<(i64, Option<f32>)>,
    place: usize,
}

/// What a search is asked.
#[derive(Default)]
struct Asked {
    conditions: Vec<Condition>,
    /// The rows that may be answered, as far as lists of them were given.
    rowids: Option<Vec<i64>>,
    query: Option<(usize, Vec<f32>)>,
    count: Option<i64>,
    limit: Option<i64>,
    offset: i64,
    bounds: Vec<(Operator, Option<f64>)>,
}

impl<'vtab> Cursor<'vtab> {
    pub(super) const fn new(table: &'vtab Table) -> Self {
        let base = ffi::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() };
        Self { base, table, found: Vec::new(), place: 0 }
    }

    /// Returns the subtype of what a column shows; 0 if it has none.
    pub(super) fn subtype(&self, column: c_int) -> u32 {
        let columns = &self.table.rows.declaration.columns;
        match usize::try_from(column).ok().and_then(|place| columns.get(place.checked_sub(1)?)) {
            Some(column) => match column.kind {
                Kind::Embedding { element, .. } => element.subtype(),
                _ => 0,
            },
            None => 0,
        }
    }

    fn read(&self, words: &str, arguments: &Filters<'_>) -> rusqlite::Result<Asked> {
        let declaration = &self.table.rows.declaration;
        let mut asked = Asked::default();
        for (index, (word, value)) in
            words.split(", ").filter(|word| !word.is_empty()).zip(arguments.iter()).enumerate()
        {
            let term = Term::read(word, declaration)
                .ok_or_else(|| error(format!("vec0: an internal error in the plan {word:?}; please report it")))?;
            match term {
                Term::Match(place) => {
                    let column = place.checked_sub(1).and_then(|place| declaration.columns.get(place));
                    let column = column.ok_or_else(|| error("vec0: an internal error; please report it"))?;
                    asked.query = Some((place, values::query(column, value, arguments.get_subtype(index))?));
                }
                Term::Count => asked.count = Some(number(value).map_or(0, |count| count as i64)),
                Term::Limit => asked.limit = number(value).map(|limit| limit as i64),
                Term::Offset => asked.offset = number(value).map_or(0, |offset| offset as i64).max(0),
                Term::Distance(operator) => asked.bounds.push((operator, number(value))),
                // The rowids are what the index is asked with, so a list of them needs no look at the table.
                Term::Compare(place, Operator::In)
                    if place.is_none() || !declaration.has_text_key && place == Some(0) =>
                {
                    let mut rowids = rowids(arguments, index)?;
                    if let Some(known) = &asked.rowids {
                        rowids.retain(|rowid| known.binary_search(rowid).is_ok());
                    }
                    asked.rowids = Some(rowids);
                }
                Term::Compare(place, operator) => {
                    let value =
                        if operator == Operator::In { list(arguments, index)? } else { arguments.get(index)? };
                    asked.conditions.push(Condition { place, operator, value });
                }
            }
        }
        Ok(asked)
    }

    fn begin(
        &self,
        is_search: bool,
        words: &str,
        arguments: &Filters<'_>,
    ) -> rusqlite::Result<Vec<(i64, Option<f32>)>> {
        let asked = self.read(words, arguments)?;
        let rows = &self.table.rows;
        if !is_search {
            // Not by ORDER BY, for which SQLite reads the whole table instead of the index.
            let mut listed = rows.list(&asked.conditions)?;
            listed.sort_unstable();
            return Ok(listed.into_iter().map(|rowid| (rowid, None)).collect());
        }
        let count = match (asked.count, asked.limit) {
            (Some(count), _) => count,
            // A negative limit is none.
            (None, Some(limit)) if limit < 0 => COUNT_MAX,
            (None, limit) => limit.unwrap_or_default().saturating_add(asked.offset),
        };
        let count = usize::try_from(count).ok().filter(|_| count <= COUNT_MAX).ok_or_else(|| {
            error(format!("vec0: k = {count} is not possible in a KNN query; it is a number from 0 to {COUNT_MAX}"))
        })?;
        let Some((place, query)) = asked.query.filter(|_| count > 0) else { return Ok(Vec::new()) };
        let mut among = asked.rowids;
        if !asked.conditions.is_empty() {
            let mut listed = rows.list(&asked.conditions)?;
            if let Some(given) = among {
                let given: HashSet<i64> = given.into_iter().collect();
                listed.retain(|rowid| given.contains(rowid));
            }
            among = Some(listed);
        }
        let mut indexes = self
            .table
            .indexes
            .try_borrow_mut()
            .map_err(|_| error("vec0: a search cannot begin inside another one of the same table"))?;
        let index = indexes
            .iter_mut()
            .find(|(known, _)| *known == place)
            .ok_or_else(|| error("vec0: an internal error; please report it"))?;
        if asked.bounds.is_empty() {
            return index.1.search(&query, count, among.as_deref());
        }
        // The bounds are those of the answers, so more are asked for until enough lie within.
        let mut wanted = count;
        loop {
            let found = index.1.search(&query, wanted, among.as_deref())?;
            let is_all = found.len() < wanted;
            let mut within: Vec<_> =
                found.into_iter().filter(|(_, distance)| is_within(*distance, &asked.bounds)).collect();
            if is_all || within.len() >= count || asked.bounds.iter().all(|(operator, _)| is_upper(*operator)) {
                within.truncate(count);
                return Ok(within);
            }
            wanted = wanted.saturating_mul(4);
        }
    }
}

const fn is_upper(operator: Operator) -> bool {
    matches!(operator, Operator::Less | Operator::LessOrEqual)
}

fn is_within(distance: Option<f32>, bounds: &[(Operator, Option<f64>)]) -> bool {
    let Some(distance) = distance.map(f64::from) else { return false };
    bounds.iter().all(|(operator, bound)| {
        bound.is_some_and(|bound| match operator {
            Operator::Less => distance < bound,
            Operator::LessOrEqual => distance <= bound,
            Operator::Greater => distance > bound,
            Operator::GreaterOrEqual => distance >= bound,
            _ => false,
        })
    })
}

/// Reads a number as SQLite's `sqlite3_value_double` does, but for text that only begins with one; `None` for NULL.
fn number(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0.0))
        }
    }
}

fn rowids(arguments: &Filters<'_>, index: usize) -> rusqlite::Result<Vec<i64>> {
    let mut rowids = Vec::new();
    let mut values = arguments.in_values(index)?;
    while let Some(value) = values.next()? {
        match value {
            ValueRef::Integer(rowid) => rowids.push(rowid),
            ValueRef::Real(_) | ValueRef::Text(_) => {
                rowids.extend(
                    number(value)
                        .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
                        .map(|number| number as i64),
                );
            }
            ValueRef::Null | ValueRef::Blob(_) => {}
        }
    }
    rowids.sort_unstable();
    rowids.dedup();
    Ok(rowids)
}

/// Reads the values of a list into a JSON array.
fn list(arguments: &Filters<'_>, index: usize) -> rusqlite::Result<Value> {
    let mut json = Vec::new();
    let mut values = arguments.in_values(index)?;
    while let Some(value) = values.next()? {
        json.push(match value {
            ValueRef::Integer(number) => serde_json::Value::from(number),
            ValueRef::Real(number) => serde_json::Value::from(number),
            ValueRef::Text(text) => serde_json::Value::from(String::from_utf8_lossy(text)),
            ValueRef::Null | ValueRef::Blob(_) => continue,
        });
    }
    Ok(Value::Text(serde_json::Value::Array(json).to_string()))
}

// SAFETY: `Cursor` is `repr(C)` and begins with SQLite's own part.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, plan: c_int, words: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        (self.found, self.place) = (Vec::new(), 0);
        self.found = guarded(|| self.begin(plan == 1, words.unwrap_or_default(), arguments))?;
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.place += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.place >= self.found.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let rows = &self.table.rows;
        // An UPDATE that leaves the column as it is has no need of it.
        if context.no_change() {
            return Ok(());
        }
        let Some((rowid, distance)) = self.found.get(self.place) else { return Ok(()) };
        if column == rows.declaration.distance() {
            return context.set_result(distance.map(f64::from));
        }
        if column == 0 && !rows.declaration.has_text_key {
            return context.set_result(rowid);
        }
        match usize::try_from(column).ok().filter(|place| *place <= rows.declaration.columns.len()) {
            Some(place) => {
                guarded(|| rows.show(*rowid, place, |value| context.set_result(ToSqlOutput::Borrowed(value))))
            }
            None => Ok(()),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.found.get(self.place).map_or(0, |(rowid, _)| *rowid))
    }
}
