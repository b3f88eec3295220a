//! The index of `kith_vector` without its face in SQL: for a virtual table of this crate that keeps its rows in an ordinary table with
//! an INTEGER PRIMARY KEY.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kithdb_vector::error::EmbeddingError;
use kithdb_vector::index::{Encoding, Engine, IndexOptions};
use kithdb_vector::metric::Metric;
use rusqlite::{Connection, ffi};

use super::changes;
use super::content::Content;
use super::declaration::{CONNECTIONS, Declaration, EF_CONSTRUCTION, SEED, recall};
use super::keys::Key;
use super::search::{Filter, Request};
use super::table::{Held, error};
use super::value::Element;
use super::view::{SearchError, View};
use crate::sql::quote;

/// The recall of a scan.
const ALL_PERMILLE: u32 = 1000;

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
    /// Columns that an index of SQLite's begins with, and by which rows that are searched together lie together.
    pub(crate) order: Vec<String>,
}

/// Reads a recall as it is declared, in thousandths.
pub(crate) fn parse_recall(value: &str) -> rusqlite::Result<u32> {
    recall(value).map_err(|reason| error(named(&reason.to_string())))
}

/// Puts the module's name where an error of the index itself has its own.
fn named(message: &str) -> String {
    format!("vec0: {}", message.strip_prefix("kith_vector: ").unwrap_or(message))
}

/// Makes SQLite's error of why something cannot be done, in the words of a table that holds its rows itself.
pub(super) fn refused(declaration: &Declaration, reason: SearchError) -> rusqlite::Error {
    let Declaration { column, content, .. } = declaration;
    let query = |why: &str| error(format!("vec0: the query vector for the {column:?} column is invalid: {why}"));
    match reason {
        SearchError::Query(EmbeddingError::Zero) => query(
            "it is all zero, so that it has no direction to compare by distance_metric=cosine; search for another one, or declare distance_metric=l2",
        ),
        SearchError::Query(why) => query(&why.to_string().replace("the embedding's", "its")),
        SearchError::NoChanges { table, .. } => error(format!(
            "vec0: table {table:?} is gone, in which changes are noted; copy the rows of {content:?}, drop the vec0 table and create it again"
        )),
        SearchError::Sqlite(reason) => reason,
        other => error(named(&other.to_string())),
    }
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
            order: self.order.clone(),
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
            recall_permille: self.recall_permille.unwrap_or(ALL_PERMILLE),
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

    fn refused(&self, reason: SearchError) -> rusqlite::Error {
        refused(&self.view.declaration, reason)
    }

    /// Makes the table of changes and its triggers, once the indexed table is there.
    pub(crate) fn create(&self) -> rusqlite::Result<()> {
        let View { name, declaration, .. } = &self.view;
        let content = Content::read(self.view.conn(), declaration).map_err(|reason| self.refused(reason.into()))?;
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
        let content = Content::read(conn, &declaration).map_err(|reason| self.refused(reason.into()))?;
        changes::drop_triggers(conn, &self.view.name)?;
        let [from, to] = [&self.view.name, name].map(|name| quote(&changes::table_name(name)));
        conn.execute_batch(&format!("ALTER TABLE main.{from} RENAME TO {to}"))?;
        changes::create_triggers(conn, name, &declaration, &content)?;
        self.held.release(&self.view.name);
        Ok(())
    }

    /// Finds the rows nearest to an embedding, nearest first, among those with the rowids if there are any; equally near ones in
    /// the order of their rowids. Rows whose embedding has no distance to any, such as one of zeros under cosine, come last and without one.
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
        let hits = self.view.search(&request).map_err(|reason| self.refused(reason))?;
        let rowid = |key: &Key| if let Key::Integer(rowid) = key { Some(*rowid) } else { None };
        let mut found: Vec<_> = hits.iter().filter_map(|hit| Some((rowid(&hit.key)?, hit.distance))).collect();
        // Where an index keeps a row depends on when it was made, which is not to be seen.
        found.sort_by(|(left, near), (right, far)| {
            let distance = |of: &Option<f32>| of.unwrap_or(f32::INFINITY);
            distance(near).total_cmp(&distance(far)).then(left.cmp(right))
        });
        if found.len() < count {
            let refused = self.view.refused().map_err(|reason| self.refused(reason))?;
            let among: Option<HashSet<i64>> = among.map(|rowids| rowids.iter().copied().collect());
            let is_meant = |rowid: &i64| among.as_ref().is_none_or(|rowids| rowids.contains(rowid));
            let rest = refused.iter().filter_map(rowid).filter(is_meant).map(|rowid| (rowid, None));
            found.extend(rest.take(count - found.len()));
        }
        Ok(found)
    }
}
