//! `kith_neighbors`: the edges of one node, each as a row.

use std::ffi::{CStr, c_int};
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::error::GraphError;
use super::fields::Fields;
use super::filter::{Direction, Filter};
use super::nodes::{Node, Nodes};
use super::plan::{Plan, Wanted};
use super::table::{Function, Home, Question, Rows};

const EXAMPLE: &str = r#"{"direction":"both","type":"knows"}"#;

/// See the module.
pub(super) struct Neighbors;

impl Function for Neighbors {
    const NAME: &'static CStr = c"kith_neighbors";
    const USAGE: &'static str = "kith_neighbors(graph, node) or kith_neighbors(graph, node, options)";
    const COLUMNS: &'static CStr = c"CREATE TABLE x(node, direction TEXT, edge, type, weight, edge_table TEXT, node_table TEXT, graph HIDDEN, start HIDDEN, options HIDDEN)";
    const SHOWN: c_int = 7;
    const ARGUMENTS: usize = 3;
    const REQUIRED: usize = 2;
    type Rows = Edges;
    type Kept = ();

    fn ask(home: &Rc<Home<Self>>, question: &Question) -> Result<Edges, GraphError> {
        let graph = home.library.graph(&question.graph)?;
        let mut fields = Fields::parse("kith_neighbors", question.options.as_deref(), EXAMPLE)?;
        let direction = Direction::read(&mut fields, &graph)?;
        let filter = Filter::read(&mut fields, &graph)?;
        let space = graph.space("from_table", fields.text("from_table")?.as_deref())?;
        fields.end()?;
        let wanted = Wanted { id: question.uses(2), kind: question.uses(3), weight: question.uses(4) };
        let plan = Plan::new(&home.library, &graph, direction, &filter, wanted)?;
        let comparison = graph.comparison(space);
        let start = comparison.class.convert(question.ids.first().cloned().unwrap_or(Value::Null));
        let mut nodes = Nodes::default();
        let start = nodes.add(space, comparison.collation, (&start).into()).map(|(node, _)| node);
        Ok(Edges { plan, nodes, start, next: 0, running: None, shown: 0 })
    }
}

/// The edges, read as they are asked for.
pub(super) struct Edges {
    plan: Plan,
    nodes: Nodes,
    start: Option<Node>,
    next: usize,
    running: Option<usize>,
    shown: Node,
}

impl Edges {
    /// Tells whether an edge was shown already: without a direction, a loop is found from both of its ends.
    fn is_second(&self, statement: usize, node: Node) -> bool {
        let graph = &self.plan.graph;
        graph.definition.is_undirected && self.plan.statements[statement].is_reverse && Some(node) == self.start
    }
}

impl Rows for Edges {
    fn advance(&mut self) -> Result<bool, GraphError> {
        let Some(start) = self.start else { return Ok(false) };
        loop {
            if let Some(running) = self.running {
                while let Some((node, _)) = self.plan.next(running, &mut self.nodes)? {
                    if !self.is_second(running, node) && self.plan.admits(&self.nodes, node)? {
                        self.shown = node;
                        return Ok(true);
                    }
                }
            }
            let statements = self.plan.of_space(self.nodes.space(start));
            self.running = statements.get(self.next).copied();
            let Some(statement) = self.running else { return Ok(false) };
            self.plan.begin(statement, &self.nodes, start)?;
            self.next += 1;
        }
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let Some(running) = self.running else { return ToSqlOutput::Borrowed(ValueRef::Null) };
        let edge = &self.plan.statements[running];
        let graph = &self.plan.graph;
        ToSqlOutput::Borrowed(match column {
            0 => self.nodes.value(self.shown),
            1 if graph.definition.is_undirected => ValueRef::Null,
            1 => ValueRef::Text(if edge.is_reverse { b"in" } else { b"out" }),
            2 => edge.id(),
            3 => edge.kind(graph),
            4 => edge.weight(),
            5 => ValueRef::Text(graph.edge(edge.edge).table.as_bytes()),
            6 => graph.table_of(self.nodes.space(self.shown)),
            _ => ValueRef::Null,
        })
    }
}
