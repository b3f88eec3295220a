//! The graphs that a file declares, as a connection last read them.
//!
//! Invariant: a graph is read again when its declaration or the schema has changed since, whoever changed it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use kithdb_log::Collation;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ffi};

use super::definition::{self, Asked, Definition, EdgeTable};
use super::error::GraphError;
use super::prepared::Prepared;
use super::schema::Table;
use super::value::Comparison;
use crate::Internal;

/// Where declarations are kept; the file has it once a graph is declared.
pub(super) const CREATE: &str = "CREATE TABLE IF NOT EXISTS main.kith__graphs(name TEXT PRIMARY KEY COLLATE NOCASE, definition TEXT NOT NULL) WITHOUT ROWID";
const FIND: &str = "SELECT name, definition FROM main.kith__graphs WHERE name = ?1";
const SCHEMA_VERSION: &str = "PRAGMA main.schema_version";

/// A declared graph with what the schema says of it.
pub(super) struct Graph {
    pub(super) name: String,
    pub(super) definition: Definition,
    /// How the ids of each kind of node compare.
    pub(super) comparisons: Vec<Comparison>,
}

impl Graph {
    /// Reads a declaration that the file keeps.
    pub(super) fn read(conn: &Connection, name: &str, text: &str) -> Result<Self, GraphError> {
        match definition::read(conn, name, Some(text))? {
            Asked::Declared(definition) => {
                let comparisons = definition.comparisons(conn, name)?;
                Ok(Self { name: name.to_owned(), definition, comparisons })
            }
            Asked::Inferred { .. } => {
                Err(GraphError::Stale { graph: name.to_owned(), detail: "its declaration is damaged".to_owned() })
            }
        }
    }

    pub(super) fn comparison(&self, space: u16) -> Comparison {
        self.comparisons[usize::from(space)]
    }

    pub(super) fn edge(&self, edge: usize) -> &EdgeTable {
        &self.definition.edges[edge]
    }

    /// Tells whether what is read of the graph depends on the file alone, and equal ids are the same value to the byte: so for tables
    /// whose ids are integers or text. What a view shows may depend on more, and 1 and 1.0 are equal.
    pub(super) fn is_plain(&self, conn: &Connection) -> Result<bool, GraphError> {
        for edge in &self.definition.edges {
            let table = Table::need(conn, &self.name, &edge.table)?;
            if table.is_view || !table.has_plain_ids(&edge.from) || !table.has_plain_ids(&edge.to) {
                return Ok(false);
            }
        }
        for node in self.definition.spaces.iter().flatten() {
            if Table::need(conn, &self.name, &node.table)?.is_view {
                return Ok(false);
            }
        }
        Ok(self.comparisons.iter().all(|comparison| comparison.collation == Collation::Binary))
    }

    /// Returns the name of the table of a kind of nodes, or NULL.
    pub(super) fn table_of(&self, space: u16) -> ValueRef<'_> {
        let node = self.definition.spaces.get(usize::from(space)).and_then(Option::as_ref);
        node.map_or(ValueRef::Null, |node| ValueRef::Text(node.table.as_bytes()))
    }

    /// Returns the number of the kind of nodes that an id belongs to.
    pub(super) fn space(&self, option: &'static str, table: Option<&str>) -> Result<u16, GraphError> {
        let spaces = &self.definition.spaces;
        let found = match table {
            None if spaces.len() == 1 => Some(0),
            None => None,
            Some(table) => spaces
                .iter()
                .position(|space| space.as_ref().is_some_and(|node| node.table.eq_ignore_ascii_case(table))),
        };
        found.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| {
            let tables = spaces.iter().flatten().map(|node| node.table.as_str()).collect::<Vec<_>>().join(", ");
            if tables.is_empty() {
                return GraphError::NoNodes { graph: self.name.clone() };
            }
            GraphError::WhichTable { graph: self.name.clone(), option, tables }
        })
    }
}

struct Known {
    text: String,
    schema_version: i64,
    graph: Rc<Graph>,
}

/// See the module.
pub(super) struct Library {
    db: *mut ffi::sqlite3,
    internal: Internal,
    statements: RefCell<Option<(Prepared, Prepared)>>,
    known: RefCell<HashMap<String, Known>>,
}

impl Library {
    pub(super) fn new(db: *mut ffi::sqlite3, internal: Internal) -> Self {
        Self { db, internal, statements: RefCell::new(None), known: RefCell::default() }
    }

    pub(super) const fn db(&self) -> *mut ffi::sqlite3 {
        self.db
    }

    /// How to begin what is only KithDB's.
    pub(super) const fn internal(&self) -> Internal {
        self.internal
    }

    /// Borrows the connection for a short while.
    pub(super) fn connection(&self) -> rusqlite::Result<Connection> {
        // SAFETY: the library belongs to a virtual table, which lives no longer than its connection; the handle is not closed when
        // this borrowed connection is dropped.
        unsafe { Connection::from_handle(self.db) }
    }

    /// Compiles a statement that lives as long as the virtual table may.
    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<Prepared> {
        // SAFETY: as in `connection`; SQLite uses a virtual table on the connection's thread only.
        unsafe { Prepared::new(self.db, sql) }
    }

    /// Returns the graph of that name.
    pub(super) fn graph(&self, name: &str) -> Result<Rc<Graph>, GraphError> {
        let unknown = || GraphError::Unknown { name: name.to_owned() };
        let mut statements = self.statements.borrow_mut();
        if statements.is_none() {
            let conn = self.connection()?;
            // The application is not asked about what is only KithDB's.
            let _quiet = (self.internal)(&conn);
            let find = self.prepare(FIND).map_err(|error| if is_missing(&error) { unknown() } else { error.into() })?;
            *statements = Some((find, self.prepare(SCHEMA_VERSION)?));
        }
        let Some((find, version)) = statements.as_ref() else { return Err(unknown()) };
        let schema_version = match version.step()?.then(|| version.value(0)) {
            Some(ValueRef::Integer(number)) => number,
            _ => 0,
        };
        version.reset();
        find.bind(1, ValueRef::Text(name.as_bytes()))?;
        let found = match find.step() {
            Ok(found) => found,
            Err(error) if is_missing(&error) => {
                *statements = None;
                return Err(unknown());
            }
            Err(error) => return Err(error.into()),
        };
        if !found {
            return Err(unknown());
        }
        let (ValueRef::Text(stored), ValueRef::Text(text)) = (find.value(0), find.value(1)) else {
            find.reset();
            return Err(GraphError::Stale { graph: name.to_owned(), detail: "its declaration is damaged".to_owned() });
        };
        let mut known = self.known.borrow_mut();
        if let Some(found) = known.get(name)
            && found.schema_version == schema_version
            && found.text.as_bytes() == text
        {
            find.reset();
            return Ok(Rc::clone(&found.graph));
        }
        let (stored, text) = (String::from_utf8_lossy(stored).into_owned(), String::from_utf8_lossy(text).into_owned());
        find.reset();
        let graph = Rc::new(Graph::read(&self.connection()?, &stored, &text)?);
        known.insert(name.to_owned(), Known { text, schema_version, graph: Rc::clone(&graph) });
        Ok(graph)
    }
}

fn is_missing(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == ffi::SQLITE_ERROR)
}
