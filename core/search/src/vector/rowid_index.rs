//! The index of `kith_vector` without its face in SQL: for a virtual table of this crate that keeps its rows in an ordinary table with
//! an INTEGER PRIMARY KEY.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kithdb_vector::index::{Encoding, Engine, IndexOptions};
use kithdb_vector::metric::Metric;
use rusqlite::{Connection, ffi};

use super::changes;
use super::content::Content;
use super::declaration::{CONNECTIONS, Declaration, EF_CONSTRUCTION, RECALL_PERMILLE, SEED, recall};
use super::keys::Key;
use super::search::{Filter, Request};
use super::table::{Held, error, of};
use super::value::Element;
use super::view::View;
use crate::sql::quote;

/// The indexes that a connection uses.
pub(crate) type Indexes = Arc<Held>;

/// What an index is made over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedColumn {
    /// The table.
    pub(crate) table: String,
    /// Its column.
    pub(crate) column: String,
    /// What a BLOB in it holds.
    pub(crate) element: Element,
    /// Numbers of each embedding.
    pub(crate) dimensions: usize,
    /// What near means.
    pub(crate) metric: Metric,
    /// The recall that a graph is to give, in thousandths; `None` for a scan that misses nothing.
    pub(crate) recall_permille: Option<u32>,
}

/// Reads a recall as it is declared, in thousandths.
pub(crate) fn parse_recall(value: &str) -> rusqlite::Result<u32> {
    recall(value).map_err(|reason| error(reason.to_string()))
}

impl IndexedColumn {
    fn declaration(&self) -> Declaration {
        let (encoding, engine) = match (self.recall_permille, self.element) {
            (_, Element::Bit) => (Encoding::Bit, Engine::Scan),
            (None, _) => (Encoding::F32, Engine::Scan),
            (Some(_), _) => (Encoding::Int8, Engine::Auto),
        };
        Declaration {
            source: None,
            model: None,
            is_in_background: false,
            content: self.table.clone(),
            column: self.column.clone(),
            element: self.element,
            options: IndexOptions {
                dimensions: self.dimensions,
                metric: self.metric,
                encoding,
                engine,
                connections: CONNECTIONS,
                ef_construction: EF_CONSTRUCTION,
                seed: SEED,
            },
            recall_permille: self.recall_permille.unwrap_or(RECALL_PERMILLE),
            max_memory_bytes: None,
        }
    }
}

/// An index as one connection sees it.
pub(crate) struct RowidIndex {
    held: Indexes,
    view: View,
}

impl RowidIndex {
    /// Takes up the index of a column under a name of its own, which what belongs to it is called after.
    ///
    /// # Safety
    /// The handle is open and stays so for as long as the index is there.
    pub(crate) unsafe fn open(
        db: *mut ffi::sqlite3,
        held: &Indexes,
        name: &str,
        column: &IndexedColumn,
    ) -> rusqlite::Result<Self> {
        // SAFETY: by this function's own contract; the `Connection` made here does not own the handle.
        let conn = unsafe { Connection::from_handle(db) }?;
        conn.set_prepared_statement_cache_capacity(32);
        let declaration = column.declaration();
        let shared = held.hold(&conn, name, &declaration);
        Ok(Self { held: Arc::clone(held), view: View::new(conn, name.to_owned(), declaration, shared) })
    }

    /// Makes the table of changes and its triggers, once the indexed table is there.
    pub(crate) fn create(&self) -> rusqlite::Result<()> {
        let View { name, declaration, .. } = &self.view;
        let content = Content::read(self.view.conn(), declaration).map_err(|reason| of(reason.into()))?;
        changes::create(self.view.conn(), name, declaration, &content)
    }

    /// Removes the table of changes and its triggers.
    pub(crate) fn destroy(&self) -> rusqlite::Result<()> {
        changes::drop_all(self.view.conn(), &self.view.name)?;
        self.held.release(&self.view.name);
        Ok(())
    }

    /// Gives the table of changes and its triggers another name, once the indexed table has its own.
    pub(crate) fn rename(&self, name: &str, table: &str) -> rusqlite::Result<()> {
        let conn = self.view.conn();
        // SQLite connects the table anew under its new name, so this index stays as it is.
        let declaration = Declaration { content: table.to_owned(), ..self.view.declaration.clone() };
        let content = Content::read(conn, &declaration).map_err(|reason| of(reason.into()))?;
        changes::drop_triggers(conn, &self.view.name)?;
        let [from, to] = [&self.view.name, name].map(|name| quote(&changes::table_name(name)));
        conn.execute_batch(&format!("ALTER TABLE main.{from} RENAME TO {to}"))?;
        changes::create_triggers(conn, name, &declaration, &content)?;
        self.held.release(&self.view.name);
        Ok(())
    }

    /// Finds the rows nearest to an embedding, nearest first, among those with the rowids, which ascend, if there are any. Rows whose embedding has no
    /// distance to any, such as one of zeros under cosine, come last and without one.
    pub(crate) fn search(
        &mut self,
        embedding: &[f32],
        count: usize,
        among: Option<&[i64]>,
    ) -> rusqlite::Result<Vec<(i64, Option<f32>)>> {
        let searched = catch_unwind(AssertUnwindSafe(|| self.nearest(embedding, count, among)));
        searched.unwrap_or_else(|_| {
            self.view.reset();
            Err(error("vec0: an internal error; please report it. The index is made anew from its table"))
        })
    }

    fn nearest(
        &mut self,
        embedding: &[f32],
        count: usize,
        among: Option<&[i64]>,
    ) -> rusqlite::Result<Vec<(i64, Option<f32>)>> {
        let filter = among.map(|rowids| Filter::Keys(rowids.iter().copied().map(Key::Integer).collect()));
        let request = Request { embedding: embedding.to_vec(), count, ef: None, filter };
        let hits = self.view.search(&request).map_err(of)?;
        let rowid = |key: &Key| if let Key::Integer(rowid) = key { Some(*rowid) } else { None };
        let mut found: Vec<_> = hits.iter().filter_map(|hit| Some((rowid(&hit.key)?, hit.distance))).collect();
        if found.len() < count {
            let refused = self.view.refused().map_err(of)?;
            let is_meant = |rowid: &i64| among.is_none_or(|rowids| rowids.binary_search(rowid).is_ok());
            let rest = refused.iter().filter_map(rowid).filter(is_meant).map(|rowid| (rowid, None));
            found.extend(rest.take(count - found.len()));
        }
        Ok(found)
    }
}
