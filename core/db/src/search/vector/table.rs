//! The virtual table `kith_vector`: its life in the schema, its query plans, and its cursor.
//!
//! Invariants:
//! 1. It holds no transaction state of its own: what is pending stands in the table of changes.
//! 2. No panic leaves these functions; after one the index is made anew.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use kithdb_vector::metric::Metric;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{Value, ValueRef};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Inserts, UpdateVTab, Updates, VTab, VTabConnection,
    VTabCursor, VTabKind,
};
use rusqlite::{Connection, Error, ffi};

use super::changes;
use super::declaration::Declaration;
use super::keys;
use super::shared::{Shared, Use};
use super::value::{Element, Embedding};
use super::view::{Filter, Hit, Request, View};
use crate::storage::quote;

/// Most neighbours of one query.
const COUNT_MAX: i64 = 100_000;

const KEY: c_int = 0;
const DISTANCE: c_int = 1;
const EMBEDDING: c_int = 2;
const COUNT: c_int = 3;
const EF: c_int = 4;
const COMMAND: c_int = 5;
/// How constraints name the rowid.
const ROWID: c_int = -1;

/// The indexes that a connection uses, so that they outlive the reconnecting of its virtual tables.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<String, (Declaration, Use)>>);

impl Held {
    /// Returns what a `kith_vector` table of the connection was declared as, and its index.
    pub(super) fn get(&self, name: &str) -> Option<(Declaration, Arc<Shared>)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&name.to_ascii_lowercase()).map(|(declaration, used)| (declaration.clone(), Arc::clone(used.shared())))
    }

    fn hold(&self, conn: &Connection, name: &str, declaration: &Declaration) -> Arc<Shared> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || (declaration.clone(), Use::new(Shared::of(conn, name, declaration)));
        let (known, used) = held.entry(name.to_ascii_lowercase()).or_insert_with(begin);
        if known != declaration {
            (*known, *used) = begin();
        }
        Arc::clone(used.shared())
    }

    /// Lets go of the index of a table that is dropped or gets another name.
    fn release(&self, name: &str) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name.to_ascii_lowercase());
        if let Some((_, used)) = held {
            used.shared().is_gone.store(true, Ordering::Relaxed);
        }
    }
}

/// A `kith_vector` table of one connection.
#[repr(C)]
pub(super) struct Table {
    base: ffi::sqlite3_vtab,
    held: Arc<Held>,
    view: RefCell<View>,
}

pub(super) fn error(message: impl Into<String>) -> Error {
    Error::ModuleError(message.into())
}

fn of(reason: super::view::SearchError) -> Error {
    match reason {
        super::view::SearchError::Sqlite(error) => error,
        other => error(other.to_string()),
    }
}

/// Reads a name that SQLite hands over.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Table {
    fn make(
        db: &mut VTabConnection,
        held: &Arc<Held>,
        names: [&[u8]; 2],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let [database, name] = names.map(text);
        if database != "main" {
            return Err(error(format!(
                "kith_vector: {name:?} would be in the database {database:?}; create it in main, beside its content"
            )));
        }
        let declaration = Declaration::parse(arguments).map_err(|reason| error(reason.to_string()))?;
        // SAFETY: the handle is that of the connection that is creating this table, which outlives it: SQLite disconnects its tables
        // before it closes. The `Connection` made here does not own it.
        let conn = unsafe { Connection::from_handle(db.handle()) }?;
        conn.set_prepared_statement_cache_capacity(32);
        let shared = held.hold(&conn, &name, &declaration);
        let columns = format!(
            "CREATE TABLE x(key, distance REAL, {} HIDDEN, k HIDDEN, ef HIDDEN, command HIDDEN)",
            quote(&declaration.column)
        );
        let columns = CString::new(columns).map_err(|_| error("kith_vector: the column's name holds a zero byte"))?;
        let view = RefCell::new(View::new(conn, name, declaration, shared));
        let base = ffi::sqlite3_vtab { pModule: std::ptr::null(), nRef: 0, zErrMsg: std::ptr::null_mut() };
        Ok((columns.into(), Self { base, held: Arc::clone(held), view }))
    }

    /// Runs a method on the view; a panic becomes an error and has the index made anew.
    fn with<T>(&self, method: impl FnOnce(&mut View) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let Ok(mut view) = self.view.try_borrow_mut() else {
            return Err(error("kith_vector: a search cannot begin inside another one of the same table"));
        };
        catch_unwind(AssertUnwindSafe(|| method(&mut view))).unwrap_or_else(|_| {
            view.reset();
            Err(error("kith_vector: an internal error; please report it. The index is made anew from its table"))
        })
    }

    /// Changes the name of everything beside the table.
    pub(super) fn rename(&self, new: &str) -> rusqlite::Result<()> {
        self.with(|view| {
            let (content, _) = view.content().map_err(of)?;
            let conn = view.conn();
            changes::drop_triggers(conn, &view.name)?;
            let (from, to) = (changes::table_name(&view.name), changes::table_name(new));
            conn.execute_batch(&format!("ALTER TABLE main.{} RENAME TO {}", quote(&from), quote(&to)))?;
            changes::create_triggers(conn, new, &view.declaration, &content)?;
            self.held.release(&view.name);
            Ok(())
        })
    }
}

// SAFETY: `Table` is `repr(C)` and begins with SQLite's own part.
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Arc<Held>;
    type Cursor = Cursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        database: &[u8],
        name: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let held = aux.ok_or_else(|| error("kith_vector: the module has no registry"))?;
        Self::make(db, held, [database, name], arguments)
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        plan(info)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor<'vtab>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() },
            table: self,
            hits: Vec::new(),
            place: 0,
            asked: [None; 2],
        })
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Default;

    fn create(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        module: &[u8],
        database: &[u8],
        name: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let (columns, table) = Self::connect(db, aux, module, database, name, arguments)?;
        table.with(|view| {
            let conn = view.conn();
            let content = super::content::Content::read(conn, &view.declaration).map_err(|reason| of(reason.into()))?;
            let rowid = conn.last_insert_rowid();
            changes::create(conn, &view.name, &view.declaration, &content)?;
            // SAFETY: the handle is open: SQLite is calling.
            unsafe { ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) };
            Ok(())
        })?;
        Ok((columns, table))
    }

    fn destroy(&self) -> rusqlite::Result<()> {
        self.with(|view| {
            changes::drop_all(view.conn(), &view.name)?;
            self.held.release(&view.name);
            Ok(())
        })
    }
}

impl UpdateVTab<'_> for Table {
    fn delete(&mut self, _: ValueRef<'_>) -> rusqlite::Result<()> {
        Err(self.read_only())
    }

    fn insert(&mut self, arguments: &Inserts<'_>) -> rusqlite::Result<i64> {
        let command: Option<String> = arguments.get(COMMAND as usize + 2)?;
        match command.as_deref() {
            Some("rebuild") => self.with(|view| view.rebuild().map_err(of)).map(|()| 0),
            Some(other) => Err(error(format!("kith_vector: unknown command {other:?}; there is 'rebuild'"))),
            None => Err(self.read_only()),
        }
    }

    fn update(&mut self, _: &Updates<'_>) -> rusqlite::Result<()> {
        Err(self.read_only())
    }
}

impl Table {
    fn read_only(&self) -> Error {
        match self.view.try_borrow() {
            Ok(view) => error(format!(
                "kith_vector: {:?} shows what is in table {:?}; write there",
                view.name, view.declaration.content
            )),
            Err(_) => error("kith_vector: write to the content table"),
        }
    }
}

/// What a plan hands to its cursor, in this order; the names stand in `EXPLAIN QUERY PLAN`.
const ARGUMENTS: [&str; 7] = ["query", "k", "limit", "offset", "ef", "rowids", "keys"];

/// Chooses a plan: the words of [`ARGUMENTS`] that it uses, in that order.
fn plan(info: &mut IndexInfo) -> rusqlite::Result<bool> {
    let is_nearest_first = {
        let mut terms = info.order_bys();
        let first = terms.next();
        let is_distance = first.as_ref().is_some_and(|term| term.column() == DISTANCE && !term.is_order_by_desc());
        is_distance && terms.next().is_none()
    };
    let is_ordered = info.num_of_order_by() == 0 || is_nearest_first;
    let mut chosen = [None; ARGUMENTS.len()];
    let mut has_unusable = false;
    for (index, constraint) in info.constraints().enumerate() {
        let place = match (constraint.operator(), constraint.column()) {
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_MATCH, EMBEDDING) => 0,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, COUNT) => 1,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIMIT, _) if is_ordered => 2,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_OFFSET, _) if is_ordered => 3,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, EF) => 4,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, ROWID) => 5,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, KEY) => 6,
            _ => continue,
        };
        if !constraint.is_usable() {
            // The arguments of a search must be known before it begins; a filter can also be judged afterwards.
            has_unusable |= matches!(place, 0 | 1 | 4);
        } else if chosen[place].is_none() {
            chosen[place] = Some(index);
        }
    }
    if has_unusable {
        return Ok(false);
    }
    let is_search = chosen[0].is_some();
    if chosen[1].is_some() || !is_search {
        // With `k`, SQLite cuts the answer itself.
        (chosen[2], chosen[3]) = (None, None);
    }
    for place in [5, 6] {
        let Some(index) = chosen[place] else { continue };
        // `rowid = …` may come row by row from a join, whose rows are to be found among the k nearest.
        let is_list = info.is_in_constraint(index)? && info.set_in_constraint(index, true)?;
        let is_filter = is_list || !is_search || info.rhs_value(index)?.is_some();
        if !is_filter {
            chosen[place] = None;
        }
    }
    if chosen[5].is_some() {
        chosen[6] = None;
    }
    let mut words = Vec::new();
    for (place, index) in chosen.iter().enumerate() {
        let Some(index) = *index else { continue };
        words.push(match place {
            5 if info.is_in_constraint(index)? => "rowid in",
            6 if info.is_in_constraint(index)? => "key in",
            5 => "rowid",
            6 => "key",
            place => ARGUMENTS[place],
        });
        let mut usage = info.constraint_usage(index);
        usage.set_argv_index(words.len() as c_int);
        // LIMIT and OFFSET are SQLite's to apply.
        usage.set_omit(!matches!(place, 2 | 3));
    }
    let is_narrow = chosen[5].is_some() || chosen[6].is_some();
    if is_search {
        info.set_order_by_consumed(is_nearest_first);
        info.set_estimated_cost(if is_narrow { 900.0 } else { 1000.0 });
        info.set_estimated_rows(10);
    } else {
        info.set_estimated_cost(if is_narrow { 10.0 } else { 1e6 });
        info.set_estimated_rows(if is_narrow { 1 } else { 100_000 });
    }
    info.set_idx_num(c_int::from(is_search));
    info.set_idx_str(&words.join(", "));
    Ok(true)
}

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

impl Cursor<'_> {
    fn begin(
        &mut self,
        is_search: bool,
        words: &str,
        arguments: &Filters<'_>,
        view: &mut View,
    ) -> rusqlite::Result<()> {
        let (mut limit, mut offset) = (None, 0);
        let (mut embedding, mut filter) = (None, None);
        for (index, word) in words.split(", ").filter(|word| !word.is_empty()).enumerate() {
            let number = || {
                let value: Value = arguments.get(index)?;
                match value {
                    Value::Integer(number) => Ok(number),
                    _ => Err(error(format!("kith_vector: {word} is to be a whole number"))),
                }
            };
            match word {
                "query" => embedding = Some(query(arguments, index, view)?),
                "k" => self.asked[0] = Some(number()?),
                "limit" => limit = Some(number()?),
                "offset" => offset = number()?.max(0),
                "ef" => self.asked[1] = Some(number()?),
                "rowid" | "rowid in" => {
                    let mut rowids = Vec::new();
                    values(arguments, index, word.ends_with("in"), |value| rowids.extend(whole(value)))?;
                    rowids.sort_unstable();
                    rowids.dedup();
                    filter = Some(Filter::Rowids(rowids));
                }
                _ => {
                    let (content, _) = view.content().map_err(of)?;
                    if content.key.len() > 1 {
                        return Err(error("kith_vector: rows with a key of several columns are filtered by rowid"));
                    }
                    let mut keys = Vec::new();
                    values(arguments, index, word.ends_with("in"), |value| keys.extend(content.key_of(value)))?;
                    keys.sort_unstable();
                    keys.dedup();
                    filter = Some(Filter::Keys(keys));
                }
            }
        }
        if !is_search {
            self.hits = view.list(filter.as_ref()).map_err(of)?;
            return Ok(());
        }
        let count = match (self.asked[0], limit) {
            (Some(count), _) => count,
            (None, Some(limit)) if limit >= 0 => limit.saturating_add(offset),
            _ => {
                return Err(error("kith_vector: say how many rows: AND k = 10, or ORDER BY distance LIMIT 10"));
            }
        };
        if !(0..=COUNT_MAX).contains(&count) {
            return Err(error(format!("kith_vector: {count} rows cannot be asked for; 0 to {COUNT_MAX} can")));
        }
        let ef = self.asked[1].map(|ef| {
            usize::try_from(ef).ok().filter(|ef| *ef > 0 && *ef as i64 <= COUNT_MAX).ok_or_else(|| {
                error(format!(
                    "kith_vector: ef = {ef} is not possible; a whole number from 1 to {COUNT_MAX} is expected"
                ))
            })
        });
        let request =
            Request { embedding: embedding.unwrap_or_default(), count: count as usize, ef: ef.transpose()?, filter };
        self.hits = view.search(&request).map_err(of)?;
        Ok(())
    }
}

/// Reads the embedding that is searched for.
fn query(arguments: &Filters<'_>, index: usize, view: &View) -> rusqlite::Result<Vec<f32>> {
    let options = &view.declaration.options;
    let subtype = arguments.get_subtype(index);
    let element = Element::of_subtype(subtype);
    let mut read = None;
    if let Some(value) = arguments.iter().nth(index) {
        read =
            Some(Embedding::read(value, element).map_err(|reason| error(format!("kith_vector: the query: {reason}")))?);
    }
    let embedding = read.ok_or_else(|| error("kith_vector: the query is missing"))?;
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
    Ok(embedding.into_floats())
}

fn values(
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

fn whole(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Real(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i64),
        _ => None,
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

    /// The row's own rowid; a table WITHOUT ROWID has none, so its rows are counted.
    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.hits.get(self.place).and_then(|hit| hit.identity.rowid).unwrap_or(self.place as i64 + 1))
    }
}
