//! The whole graph in memory, for questions that no part of it can answer.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::rc::Rc;

use petgraph::graph::{DiGraph, NodeIndex};
use rusqlite::ffi;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::error::GraphError;
use super::fields::Fields;
use super::filter::Filter;
use super::library::{Graph, Library};
use super::nodes::{Node, Nodes};
use super::schema::Table;
use super::table::{Function, Home, Question, Rows};
use super::value::json;
use crate::sql::quote;

/// Its nodes and edges, numbered; `weight` is 1 where the question does not weigh.
pub(super) struct Whole {
    pub(super) graph: Rc<Graph>,
    pub(super) nodes: Nodes,
    pub(super) edges: Vec<(Node, Node, f64)>,
    db: *mut ffi::sqlite3,
}

impl Whole {
    /// Reads every edge that is asked for and every node of the node tables, those without edges too.
    pub(super) fn read(
        library: &Library,
        graph: Rc<Graph>,
        filter: &Filter,
        is_weighted: bool,
    ) -> Result<Self, GraphError> {
        let conn = library.connection()?;
        let mut whole = Self { graph: Rc::clone(&graph), nodes: Nodes::default(), edges: Vec::new(), db: library.db() };
        let of_statement = |error| GraphError::of_statement(&graph.name, error);
        // Only nodes that are asked for are in here once the tables are read.
        let asked = if filter.looks_at_nodes() { Some(()) } else { None };
        for (space, number) in graph.definition.spaces.iter().zip(0..) {
            let Some(node) = space else { continue };
            let table = Table::need(&conn, &graph.name, &node.table)?;
            let condition = filter.of_node(&graph, &table, 1)?;
            let sql = format!(
                "SELECT n.{} FROM main.{} AS n WHERE true{}",
                quote(&node.key),
                quote(&node.table),
                condition.sql
            );
            let statement = library.prepare(&sql).map_err(of_statement)?;
            for (value, at) in condition.values.iter().zip(1..) {
                statement.bind(at, value.into())?;
            }
            while statement.step().map_err(of_statement)? {
                whole.nodes.add(number, graph.comparison(number).collation, statement.value(0));
            }
        }
        for edge in &graph.definition.edges {
            let Some(condition) = filter.of_edge(&conn, &graph, edge, 1)? else { continue };
            let weight = edge.weight.as_ref().filter(|_| is_weighted);
            let weight = weight.map_or_else(|| "1".to_owned(), |column| format!("e.{}", quote(column)));
            let sql = format!(
                "SELECT e.{}, e.{}, {weight} FROM main.{} AS e WHERE true{}",
                quote(&edge.from),
                quote(&edge.to),
                quote(&edge.table),
                condition.sql
            );
            let statement = library.prepare(&sql).map_err(of_statement)?;
            for (value, at) in condition.values.iter().zip(1..) {
                statement.bind(at, value.into())?;
            }
            while statement.step().map_err(of_statement)? {
                let ends = [(0, edge.from_space), (1, edge.to_space)].map(|(column, space)| {
                    let (collation, value) = (graph.comparison(space).collation, statement.value(column));
                    match asked {
                        // The filter leaves out the nodes of spaces without a table as well.
                        Some(()) => whole.nodes.find(space, collation, value),
                        None => whole.nodes.add(space, collation, value).map(|(node, _)| node),
                    }
                });
                let [Some(from), Some(to)] = ends else { continue };
                let weight = whole.weight(&edge.table, statement.value(2))?;
                whole.edges.push((from, to, weight));
            }
        }
        Ok(whole)
    }

    fn weight(&self, table: &str, found: ValueRef<'_>) -> Result<f64, GraphError> {
        let number = match found {
            ValueRef::Integer(number) => number as f64,
            ValueRef::Real(number) => number,
            _ => f64::NAN,
        };
        if number >= 0.0 && number.is_finite() {
            return Ok(number);
        }
        let weight = json(found).to_string();
        Err(GraphError::Weight { graph: self.graph.name.clone(), table: table.to_owned(), weight })
    }

    /// Returns the graph as petgraph has it.
    pub(super) fn to_petgraph(&self) -> DiGraph<(), (), Node> {
        let mut out = DiGraph::with_capacity(self.nodes.len(), self.edges.len());
        for _ in 0..self.nodes.len() {
            out.add_node(());
        }
        for &(from, to, _) in &self.edges {
            out.add_edge(NodeIndex::new(from as usize), NodeIndex::new(to as usize), ());
        }
        out
    }

    /// Fails if `sqlite3_interrupt` was called: asked between the rounds of a long computation.
    pub(super) fn check_interrupt(&self) -> Result<(), GraphError> {
        // SAFETY: the connection is open while one of its statements runs.
        if unsafe { ffi::sqlite3_is_interrupted(self.db) } != 0 {
            let interrupted = ffi::Error::new(ffi::SQLITE_INTERRUPT);
            return Err(GraphError::Sqlite(rusqlite::Error::SqliteFailure(interrupted, None)));
        }
        Ok(())
    }
}

/// A question whose answer has one row for each node.
pub(super) trait Measure: Sized + 'static {
    const NAME: &'static CStr;
    const USAGE: &'static str;
    const COLUMNS: &'static CStr;
    const EXAMPLE: &'static str;
    /// The columns between the node and its table.
    const WIDTH: usize;
    /// Whether weights count, where there are any.
    const WEIGHS: bool;
    type Options;

    fn options(fields: &mut Fields) -> Result<Self::Options, GraphError>;

    /// Returns the nodes in the order of the rows, with what is said of each.
    fn measure(whole: &Whole, options: Self::Options) -> Result<Vec<(Node, [Number; 2])>, GraphError>;
}

/// What is said of a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Count(u32),
    Real(f64),
}

impl Number {
    fn value(self) -> ToSqlOutput<'static> {
        ToSqlOutput::Owned(match self {
            Self::Count(count) => i64::from(count).into(),
            Self::Real(real) => real.into(),
        })
    }
}

/// The function of a measure.
pub(super) struct Of<M>(PhantomData<M>);

impl<M: Measure> Function for Of<M> {
    const NAME: &'static CStr = M::NAME;
    const USAGE: &'static str = M::USAGE;
    const COLUMNS: &'static CStr = M::COLUMNS;
    const SHOWN: c_int = M::WIDTH as c_int + 2;
    const ARGUMENTS: usize = 2;
    const REQUIRED: usize = 1;
    type Rows = Measured<M>;
    type Kept = ();

    fn ask(home: &Rc<Home<Self>>, question: &Question) -> Result<Measured<M>, GraphError> {
        let graph = home.library.graph(&question.graph)?;
        let place = M::NAME.to_str().unwrap_or_default();
        let mut fields = Fields::parse(place, question.options.as_deref(), M::EXAMPLE)?;
        let options = M::options(&mut fields)?;
        let has_weights = M::WEIGHS && graph.definition.edges.iter().any(|edge| edge.weight.is_some());
        let is_weighted = if M::WEIGHS { fields.flag("weighted")?.unwrap_or(has_weights) } else { false };
        if is_weighted && !has_weights {
            return Err(GraphError::NoWeight { graph: graph.name.clone() });
        }
        let filter = Filter::read(&mut fields, &graph)?;
        fields.end()?;
        let whole = Whole::read(&home.library, graph, &filter, is_weighted)?;
        let rows = if whole.nodes.len() == 0 { Vec::new() } else { M::measure(&whole, options)? };
        Ok(Measured { whole, rows, next: 0, measure: PhantomData })
    }
}

/// The rows of a measure.
pub(super) struct Measured<M> {
    whole: Whole,
    rows: Vec<(Node, [Number; 2])>,
    /// How many rows were come to.
    next: usize,
    measure: PhantomData<M>,
}

impl<M: Measure> Rows for Measured<M> {
    fn advance(&mut self) -> Result<bool, GraphError> {
        self.next += 1;
        Ok(self.next <= self.rows.len())
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let row = self.next.checked_sub(1).and_then(|at| self.rows.get(at));
        let (Some((node, numbers)), Ok(column)) = (row, usize::try_from(column)) else {
            return ToSqlOutput::Borrowed(ValueRef::Null);
        };
        match column {
            0 => ToSqlOutput::Borrowed(self.whole.nodes.value(*node)),
            at if at <= M::WIDTH => numbers[at - 1].value(),
            _ => ToSqlOutput::Borrowed(self.whole.graph.table_of(self.whole.nodes.space(*node))),
        }
    }
}

/// Numbers groups of nodes from 1, the greatest first, and lists their nodes in that order; each with its group and that one's size.
pub(super) fn by_group(groups: &[u32]) -> Vec<(Node, [Number; 2])> {
    let mut members: Vec<Vec<Node>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (group, node) in groups.iter().zip(0..) {
        let at = *places.entry(*group).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[at].push(node);
    }
    // Equal sizes stay in the order of their first nodes.
    members.sort_by_key(|nodes| std::cmp::Reverse(nodes.len()));
    let mut out = Vec::with_capacity(groups.len());
    for (nodes, number) in members.iter().zip(1..) {
        let size = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        out.extend(nodes.iter().map(|node| (*node, [Number::Count(number), Number::Count(size)])));
    }
    out
}
