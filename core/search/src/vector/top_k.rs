//! libSQL's `vector_top_k(index, query, k)`, with the name of a `kith_vector` table for the index.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::sync::Arc;

use rusqlite::types::{Value, ValueRef};
use rusqlite::vtab::{Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, ffi};

use super::cursor::{count, query};
use super::search::{Hit, Request};
use super::table::{Held, error, of};
use super::view::View;
use crate::sql::quote;

const ID: c_int = 0;
const DISTANCE: c_int = 1;
/// The first of the hidden columns, which are the arguments.
const ARGUMENTS: c_int = 2;

const COLUMNS: &CStr = c"CREATE TABLE x(id INTEGER, distance REAL, \"index\" HIDDEN, query HIDDEN, k HIDDEN)";

/// Registers the table-valued function.
pub(super) fn register(conn: &Connection, held: Arc<Held>) -> rusqlite::Result<()> {
    const MODULE: Module<'_, TopK> = Module::eponymous_only_module();
    conn.create_module(c"vector_top_k", &MODULE, Some(held))
}

#[repr(C)]
struct TopK {
    base: ffi::sqlite3_vtab,
    db: *mut ffi::sqlite3,
    held: Arc<Held>,
}

impl TopK {
    fn search(&self, arguments: &Filters<'_>) -> rusqlite::Result<Vec<Hit>> {
        let Value::Text(name) = arguments.get(0)? else {
            return Err(error("vector_top_k(): the first argument is the name of a kith_vector table"));
        };
        // SAFETY: the handle is that of the connection that this table belongs to; it is open while SQLite calls.
        let conn = unsafe { Connection::from_handle(self.db) }?;
        // Has SQLite connect the table, if it has not yet.
        let is_there = conn.prepare(&format!("SELECT 1 FROM main.{}", quote(&name))).is_ok();
        let Some((declaration, shared)) = self.held.get(&name).filter(|_| is_there) else {
            return Err(error(format!(
                "vector_top_k(): {name:?} is no kith_vector table; make one over the column that is to be searched"
            )));
        };
        let mut view = View::new(conn, name, declaration, shared);
        let Some(embedding) = query(arguments, 1, &view)? else { return Ok(Vec::new()) };
        let Value::Integer(wanted) = arguments.get(2)? else {
            return Err(error("vector_top_k(): the third argument is the number of rows"));
        };
        view.search(&Request { embedding, count: count(wanted)?, ef: None, filter: None }).map_err(of)
    }
}

// SAFETY: `TopK` is `repr(C)` and begins with SQLite's own part.
unsafe impl<'vtab> VTab<'vtab> for TopK {
    type Aux = Arc<Held>;
    type Cursor = Cursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let held = aux.cloned().ok_or_else(|| error("vector_top_k(): the module has no registry"))?;
        let base = ffi::sqlite3_vtab { pModule: std::ptr::null(), nRef: 0, zErrMsg: std::ptr::null_mut() };
        // SAFETY: the handle is only used while SQLite calls methods of this table.
        let db = unsafe { db.handle() };
        Ok((COLUMNS.into(), Self { base, db, held }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let mut given = 0;
        for (constraint, mut usage) in info.constraints_and_usages() {
            let place = constraint.column() - ARGUMENTS;
            if place < 0 || constraint.operator() != IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ {
                continue;
            }
            if !constraint.is_usable() {
                return Ok(false);
            }
            usage.set_argv_index(place + 1);
            usage.set_omit(true);
            given |= 1 << place;
        }
        if given != 0b111 {
            return Err(error("vector_top_k() takes three arguments: the table, the embedding and the number of rows"));
        }
        let is_nearest_first = {
            let mut terms = info.order_bys();
            let first = terms.next();
            first.is_some_and(|term| term.column() == DISTANCE && !term.is_order_by_desc()) && terms.next().is_none()
        };
        info.set_order_by_consumed(is_nearest_first);
        info.set_estimated_cost(1000.0);
        info.set_estimated_rows(10);
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor<'vtab>> {
        let base = ffi::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() };
        Ok(Cursor { base, table: self, hits: Vec::new(), place: 0 })
    }
}

#[repr(C)]
struct Cursor<'vtab> {
    base: ffi::sqlite3_vtab_cursor,
    table: &'vtab TopK,
    hits: Vec<Hit>,
    place: usize,
}

// SAFETY: `Cursor` is `repr(C)` and begins with SQLite's own part.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, _: c_int, _: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        (self.hits, self.place) = (Vec::new(), 0);
        if arguments.iter().all(|argument| argument != ValueRef::Null) {
            self.hits = self.table.search(arguments)?;
        }
        Ok(())
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
            ID => context.set_result(hit.identity.rowid),
            DISTANCE => context.set_result(hit.distance.map(f64::from)),
            _ => Ok(()),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.place as i64 + 1)
    }
}
