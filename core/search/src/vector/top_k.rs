//! libSQL's `vector_top_k(index, query, k)`, with the name of a `kith_vector` table for the index.

use std::cell::RefCell;
use std::ffi::{CStr, c_int};
use std::rc::Rc;
use std::sync::Arc;

use rusqlite::types::{Value, ValueRef};
use rusqlite::vtab::{Filters, IndexConstraintOp, IndexInfo};
use rusqlite::{Connection, ffi};

use super::cursor::{count, query};
use super::search::{Hit, Request};
use super::table::{Held, error, of};
use super::view::{Kept, View};
use crate::function::{self, Asked, Listed, Row, TableFunction, whole_number};
use crate::sql::quote;

const NAME: &CStr = c"vector_top_k";

const DISTANCE: c_int = 1;
/// The first of the hidden columns, which are the arguments.
const ARGUMENTS: c_int = 2;

const COLUMNS: &CStr = c"CREATE TABLE x(id INTEGER, distance REAL, \"index\" HIDDEN, query HIDDEN, k HIDDEN)";

/// Registers the table-valued function.
pub(super) fn register(conn: &Connection, held: Arc<Held>) -> rusqlite::Result<()> {
    function::register::<TopK>(conn, NAME, held)
}

struct TopK {
    db: *mut ffi::sqlite3,
    held: Arc<Held>,
    /// What was read of the table that was asked last.
    last: RefCell<Option<Kept>>,
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
        self.held.begin_background(&conn, &name, &declaration);
        // Not held while it is asked, should that lead here again.
        let mut view = match self.last.take() {
            Some(kept) => View::of_kept(kept, name, declaration, shared),
            None => {
                conn.set_prepared_statement_cache_capacity(32);
                View::new(conn, name, declaration, shared)
            }
        };
        let Some(embedding) = query(arguments, 1, &view)? else { return Ok(Vec::new()) };
        let Some(wanted) = arguments.iter().nth(2).and_then(whole_number) else {
            return Err(error("vector_top_k(): the third argument is the number of rows"));
        };
        let request = Request { embedding, count: count(wanted)?, ef: None, filter: None };
        let hits = view.search(&request).map_err(of)?;
        *self.last.borrow_mut() = Some(view.keep());
        Ok(hits)
    }
}

impl TableFunction for TopK {
    type Aux = Arc<Held>;
    type Rows = Listed;

    fn open(db: *mut ffi::sqlite3, held: &Arc<Held>) -> Self {
        Self { db, held: Arc::clone(held), last: RefCell::default() }
    }

    fn name(&self) -> &'static CStr {
        NAME
    }

    fn columns(&self) -> &'static CStr {
        COLUMNS
    }

    fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
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

    fn ask(this: &Rc<Self>, asked: &Asked<'_>) -> rusqlite::Result<Listed> {
        let arguments = asked.arguments;
        if arguments.iter().any(|argument| argument == ValueRef::Null) {
            return Ok(Listed::new(Vec::new(), Vec::new()));
        }
        let row = |hit: Hit| {
            let distance = hit.distance.map_or(Value::Null, |distance| Value::Real(distance.into()));
            Row { rowid: None, values: vec![hit.identity.rowid.map_or(Value::Null, Value::Integer), distance] }
        };
        Ok(Listed::new(this.search(arguments)?.into_iter().map(row).collect(), Vec::new()))
    }
}
