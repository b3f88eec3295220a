//! `kith_neighbors`: the edges of one node, each as a row. What was compiled for one question is kept for the next one like it.

use std::ffi::{CStr, c_int};
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::error::GraphError;
use super::fields::Fields;
use super::filter::{Direction, Filter};
use super::library::Graph;
use super::nodes::{Node, Nodes};
use super::plan::{Plan, Wanted};
use super::table::{Function, Home, Question, Rows};

const EXAMPLE: &str = r#"{"direction":"both","type":"knows"}"#;

/// How many statements are kept for the next question like theirs.
const KEPT_MAX: usize = 8;

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
    type Kept = Vec<Ready>;

    fn ask(home: &Rc<Home<Self>>, question: &Question) -> Result<Edges, GraphError> {
        let graph = home.library.graph(&question.graph)?;
        let found = {
            let mut kept = home.kept.borrow_mut();
            let at = kept.iter().position(|ready| ready.is_of(&graph, question));
            at.map(|at| kept.remove(at))
        };
        let ready = match found {
            Some(ready) => ready,
            None => Ready::new(home, &graph, question)?,
        };
        let comparison = graph.comparison(ready.space);
        let start = comparison.class.convert(question.ids.first().cloned().unwrap_or(Value::Null));
        let mut nodes = Nodes::default();
        let start = nodes.add(ready.space, comparison.collation, (&start).into()).map(|(node, _)| node);
        Ok(Edges { home: Rc::clone(home), ready: Some(ready), nodes, start, next: 0, running: None, shown: 0 })
    }
}

/// What a question needs that the next one like it needs too.
pub(super) struct Ready {
    options: Option<String>,
    used: u32,
    space: u16,
    plan: Plan,
}

impl Ready {
    fn is_of(&self, graph: &Rc<Graph>, question: &Question) -> bool {
        Rc::ptr_eq(&self.plan.graph, graph) && self.options == question.options && self.used == question.used
    }

    fn new(home: &Home<Neighbors>, graph: &Rc<Graph>, question: &Question) -> Result<Self, GraphError> {
        let mut fields = Fields::parse("kith_neighbors", question.options.as_deref(), EXAMPLE)?;
        let direction = Direction::read(&mut fields, graph)?;
        let filter = Filter::read(&mut fields, graph)?;
        let space = graph.space("from_table", fields.text("from_table")?.as_deref())?;
        fields.end()?;
        let wanted = Wanted { id: question.uses(2), kind: question.uses(3), weight: question.uses(4) };
        let plan = Plan::new(&home.library, graph, direction, &filter, wanted)?;
        Ok(Self { options: question.options.clone(), used: question.used, space, plan })
    }
}

/// The edges, read as they are asked for.
pub(super) struct Edges {
    home: Rc<Home<Neighbors>>,
    /// Given back in the end.
    ready: Option<Ready>,
    nodes: Nodes,
    start: Option<Node>,
    next: usize,
    running: Option<usize>,
    shown: Node,
}

impl Rows for Edges {
    fn advance(&mut self) -> Result<bool, GraphError> {
        let (Some(start), Some(ready)) = (self.start, &self.ready) else { return Ok(false) };
        let plan = &ready.plan;
        let is_undirected = plan.graph.definition.is_undirected;
        loop {
            if let Some(running) = self.running {
                while let Some((node, _)) = plan.next(running, &mut self.nodes)? {
                    // Without a direction, a loop is found from both of its ends.
                    let is_second = is_undirected && plan.statements[running].is_reverse && node == start;
                    if !is_second && plan.admits(&self.nodes, node)? {
                        self.shown = node;
                        return Ok(true);
                    }
                }
            }
            let statements = plan.of_space(self.nodes.space(start));
            self.running = statements.get(self.next).copied();
            let Some(statement) = self.running else { return Ok(false) };
            plan.begin(statement, &self.nodes, start)?;
            self.next += 1;
        }
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let (Some(running), Some(ready)) = (self.running, &self.ready) else {
            return ToSqlOutput::Borrowed(ValueRef::Null);
        };
        let edge = &ready.plan.statements[running];
        let graph = &ready.plan.graph;
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

impl Drop for Edges {
    fn drop(&mut self) {
        let Some(ready) = self.ready.take() else { return };
        ready.plan.rest();
        let mut kept = self.home.kept.borrow_mut();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(ready);
    }
}
