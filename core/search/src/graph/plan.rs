//! The statements that find a node's edges, compiled once for a question and kept for the next one like it.

use std::ffi::c_int;
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::error::GraphError;
use super::filter::{Direction, Filter};
use super::library::{Graph, Library};
use super::nodes::{Node, Nodes};
use super::prepared::Prepared;
use super::schema::Table;
use crate::sql::quote;

/// What is read of each edge beside the node at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: bool,
    pub(super) kind: bool,
    pub(super) weight: bool,
}

/// Finds edges of one table, one way.
pub(super) struct EdgeStatement {
    pub(super) statement: Prepared,
    /// The number of the edge table within the graph.
    pub(super) edge: usize,
    pub(super) is_reverse: bool,
    /// The kind of nodes that it leads to.
    pub(super) space: u16,
    id_at: Option<c_int>,
    kind_at: Option<c_int>,
    weight_at: Option<c_int>,
}

impl EdgeStatement {
    pub(super) fn id(&self) -> ValueRef<'_> {
        self.id_at.map_or(ValueRef::Null, |at| self.statement.value(at))
    }

    pub(super) fn kind<'a>(&'a self, graph: &'a Graph) -> ValueRef<'a> {
        match self.kind_at {
            Some(at) => self.statement.value(at),
            None => ValueRef::Text(graph.edge(self.edge).label.as_bytes()),
        }
    }

    /// Returns the weight; an edge of a table without weights counts 1.
    pub(super) fn weight(&self) -> ValueRef<'_> {
        self.weight_at.map_or(ValueRef::Integer(1), |at| self.statement.value(at))
    }
}

/// See the module.
pub(super) struct Plan {
    pub(super) graph: Rc<Graph>,
    pub(super) statements: Vec<EdgeStatement>,
    /// For each kind of node, the statements that find its edges.
    by_space: Vec<Vec<usize>>,
    /// For each kind of node, what tells whether a node is asked for; `None` where every one is.
    checks: Vec<Option<Check>>,
}

enum Check {
    Look(Prepared),
    /// No table tells anything of these nodes.
    Refuse,
}

impl Plan {
    pub(super) fn new(
        library: &Library,
        graph: &Rc<Graph>,
        direction: Direction,
        filter: &Filter,
        wanted: Wanted,
    ) -> Result<Self, GraphError> {
        let conn = library.connection()?;
        let spaces = graph.definition.spaces.len();
        let mut plan = Self {
            graph: Rc::clone(graph),
            statements: Vec::new(),
            by_space: vec![Vec::new(); spaces],
            checks: Vec::new(),
        };
        for edge in 0..graph.definition.edges.len() {
            for &is_reverse in direction.ways() {
                plan.add(library, &conn, edge, is_reverse, filter, wanted)?;
            }
        }
        for space in 0..spaces {
            plan.checks.push(if filter.looks_at_nodes() {
                Some(check(library, &conn, graph, space, filter)?)
            } else {
                None
            });
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        library: &Library,
        conn: &Connection,
        number: usize,
        is_reverse: bool,
        filter: &Filter,
        wanted: Wanted,
    ) -> Result<(), GraphError> {
        let graph = Rc::clone(&self.graph);
        let edge = graph.edge(number);
        let Some(condition) = filter.of_edge(conn, &graph, edge, 2)? else { return Ok(()) };
        let table = Table::need(conn, &graph.name, &edge.table)?;
        let (near, far) = if is_reverse { (&edge.to, &edge.from) } else { (&edge.from, &edge.to) };
        let mut columns = vec![format!("e.{}", quote(far))];
        let mut column = |name: &Option<String>, is_wanted: bool| -> Option<c_int> {
            let name = name.as_ref().filter(|_| is_wanted)?;
            columns.push(format!("e.{}", quote(name)));
            c_int::try_from(columns.len() - 1).ok()
        };
        let (id_at, kind_at) = (column(&edge.id, wanted.id), column(&edge.kind, wanted.kind));
        let weight_at = column(&edge.weight, wanted.weight);
        let sql = format!(
            "SELECT {} FROM main.{} AS e WHERE {}{}",
            columns.join(", "),
            quote(&edge.table),
            table.equals("e", near, 1),
            condition.sql
        );
        let statement = prepare(library, &graph, &sql, &condition.values)?;
        let (near, space) =
            if is_reverse { (edge.to_space, edge.from_space) } else { (edge.from_space, edge.to_space) };
        self.by_space[usize::from(near)].push(self.statements.len());
        self.statements.push(EdgeStatement { statement, edge: number, is_reverse, space, id_at, kind_at, weight_at });
        Ok(())
    }

    /// Returns the statements that find the edges of a kind of node.
    pub(super) fn of_space(&self, space: u16) -> &[usize] {
        &self.by_space[usize::from(space)]
    }

    /// Makes a statement ready to find the edges of a node.
    #[inline]
    pub(super) fn begin(&self, statement: usize, nodes: &Nodes, node: Node) -> Result<(), GraphError> {
        Ok(self.statements[statement].statement.bind(1, nodes.value(node))?)
    }

    /// Goes on to the next edge, and returns the node at its other end with whether it is new; NULL is no node, and passed over.
    #[inline]
    pub(super) fn next(&self, statement: usize, nodes: &mut Nodes) -> Result<Option<(Node, bool)>, GraphError> {
        let edge = &self.statements[statement];
        let collation = self.graph.comparison(edge.space).collation;
        while edge.statement.step().map_err(|error| GraphError::of_statement(&self.graph.name, error))? {
            if let Some(met) = nodes.add(edge.space, collation, edge.statement.value(0)) {
                return Ok(Some(met));
            }
            if nodes.len() >= Node::MAX as usize {
                return Err(self.too_many("nodes", Node::MAX as usize));
            }
        }
        Ok(None)
    }

    /// Tells whether a node must be looked up to tell whether it is asked for.
    #[inline]
    pub(super) fn looks_at(&self, nodes: &Nodes, node: Node) -> bool {
        self.checks[usize::from(nodes.space(node))].is_some()
    }

    /// Tells whether a node is asked for.
    #[inline]
    pub(super) fn admits(&self, nodes: &Nodes, node: Node) -> Result<bool, GraphError> {
        match &self.checks[usize::from(nodes.space(node))] {
            None => Ok(true),
            Some(Check::Refuse) => Ok(false),
            Some(Check::Look(statement)) => {
                statement.bind(1, nodes.value(node))?;
                let found = statement.step().map_err(|error| GraphError::of_statement(&self.graph.name, error))?;
                statement.reset();
                Ok(found)
            }
        }
    }

    /// Ends what is still running.
    pub(super) fn rest(&self) {
        for edge in &self.statements {
            edge.statement.reset();
        }
    }

    pub(super) fn too_many(&self, what: &'static str, at_most: usize) -> GraphError {
        GraphError::TooMany { graph: self.graph.name.clone(), what, at_most }
    }
}

/// Compiles a statement over the graph's tables and binds what does not change, from the second parameter on.
fn prepare(
    library: &Library,
    graph: &Graph,
    sql: &str,
    values: &[rusqlite::types::Value],
) -> Result<Prepared, GraphError> {
    let statement = library.prepare(sql).map_err(|error| GraphError::of_statement(&graph.name, error))?;
    for (value, at) in values.iter().zip(2..) {
        statement.bind(at, value.into())?;
    }
    Ok(statement)
}

fn check(
    library: &Library,
    conn: &Connection,
    graph: &Graph,
    space: usize,
    filter: &Filter,
) -> Result<Check, GraphError> {
    let Some(node) = &graph.definition.spaces[space] else { return Ok(Check::Refuse) };
    let table = Table::need(conn, &graph.name, &node.table)?;
    let condition = filter.of_node(graph, &table, 2)?;
    let sql = format!(
        "SELECT 1 FROM main.{} AS n WHERE {}{}",
        quote(&node.table),
        table.equals("n", &node.key, 1),
        condition.sql
    );
    Ok(Check::Look(prepare(library, graph, &sql, &condition.values)?))
}
