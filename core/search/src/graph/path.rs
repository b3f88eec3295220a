//! `kith_shortest_path`: one path between two nodes that no other is shorter than.
//!
//! Without weights the search goes breadth first from both ends, from the smaller frontier at a time; with weights it is Dijkstra's
//! ("A note on two problems in connexion with graphs", 1959).
//!
//! Invariant: the conditions on nodes hold for every node of the path but its start.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::{CStr, c_int};
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::error::GraphError;
use super::fields::Fields;
use super::filter::{Direction, Filter};
use super::library::Graph;
use super::nodes::{Node, Nodes};
use super::plan::{EdgeStatement, Plan, Wanted};
use super::table::{Function, Home, Question, Rows};
use super::value;

const EXAMPLE: &str = r#"{"direction":"out","weighted":false}"#;
const NONE: u32 = u32::MAX;

/// See the module.
pub(super) struct ShortestPath;

impl Function for ShortestPath {
    const NAME: &'static CStr = c"kith_shortest_path";
    const USAGE: &'static str = "kith_shortest_path(graph, from, to) or kith_shortest_path(graph, from, to, options)";
    const COLUMNS: &'static CStr = c"CREATE TABLE x(step INTEGER, node, edge, type, weight, cost, edge_table TEXT, node_table TEXT, path TEXT, graph HIDDEN, start HIDDEN, goal HIDDEN, options HIDDEN)";
    const SHOWN: c_int = 9;
    const ARGUMENTS: usize = 4;
    const REQUIRED: usize = 3;
    type Rows = Steps;
    type Kept = ();

    fn ask(home: &Rc<Home<Self>>, question: &Question) -> Result<Steps, GraphError> {
        let graph = home.library.graph(&question.graph)?;
        let mut fields = Fields::parse("kith_shortest_path", question.options.as_deref(), EXAMPLE)?;
        let direction = Direction::read(&mut fields, &graph)?;
        let has_weights = graph.definition.edges.iter().any(|edge| edge.weight.is_some());
        let is_weighted = fields.flag("weighted")?.unwrap_or(has_weights);
        if is_weighted && !has_weights {
            return Err(GraphError::NoWeight { graph: graph.name.clone() });
        }
        let depth = fields.count("depth")?;
        if depth.is_some() && is_weighted {
            return Err(fields.wrong("depth", "left out where paths are weighted, or be given with \"weighted\":false"));
        }
        let filter = Filter::read(&mut fields, &graph)?;
        let from = graph.space("from_table", fields.text("from_table")?.as_deref())?;
        let to = graph.space("to_table", fields.text("to_table")?.as_deref())?;
        fields.end()?;

        let mut nodes = Nodes::default();
        let [start, goal] = [(from, 0), (to, 1)].map(|(space, at)| {
            let comparison = graph.comparison(space);
            let id = comparison.class.convert(question.ids.get(at).cloned().unwrap_or(Value::Null));
            nodes.add(space, comparison.collation, (&id).into()).map_or(NONE, |(node, _)| node)
        });
        let wanted = Wanted { id: true, kind: true, weight: has_weights };
        let plan = Plan::new(&home.library, &graph, direction, &filter, wanted)?;
        if start == NONE || goal == NONE || start != goal && !plan.admits(&nodes, goal)? {
            return Ok(Steps::none(graph, nodes));
        }
        let steps = if is_weighted {
            cheapest(&plan, &mut nodes, start, goal)?
        } else {
            let back = Plan::new(&home.library, &graph, opposite(direction), &filter, wanted)?;
            fewest([&plan, &back], &mut nodes, [start, goal], depth.unwrap_or(u64::MAX))?
        };
        let has_cost = is_weighted;
        Ok(Steps { graph, nodes, steps: steps.unwrap_or_default(), next: 0, has_cost })
    }
}

const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Out => Direction::In,
        Direction::In => Direction::Out,
        Direction::Both => Direction::Both,
    }
}

/// The edge by which a node was reached.
#[derive(Clone)]
struct Edge {
    id: Value,
    kind: Value,
    weight: Value,
    /// The number of its table within the graph.
    table: usize,
}

impl Edge {
    fn of(graph: &Graph, statement: &EdgeStatement) -> Self {
        Self {
            id: owned(statement.id()),
            kind: owned(statement.kind(graph)),
            weight: owned(statement.weight()),
            table: statement.edge,
        }
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
    }
}

/// One node of the path.
struct Step {
    node: Node,
    /// The edge that leads to it; the start has none.
    edge: Option<Edge>,
    cost: f64,
}

/// How a node was reached from one end.
#[derive(Clone)]
struct Reached {
    parent: Node,
    edge: Option<Edge>,
}

/// One of the two searches.
struct Side<'a> {
    plan: &'a Plan,
    reached: Vec<Option<Reached>>,
    frontier: Vec<Node>,
}

impl Side<'_> {
    fn reach(&mut self, node: Node, reached: Reached) {
        let at = node as usize;
        if self.reached.len() <= at {
            self.reached.resize(at + 1, None);
        }
        self.reached[at] = Some(reached);
    }

    fn has(&self, node: Node) -> bool {
        self.reached.get(node as usize).is_some_and(Option::is_some)
    }

    /// Goes one edge further from the whole frontier; returns the first node that the other search has come to as well.
    ///
    /// Both have gone whole levels, so that any such node lies on a shortest path.
    fn widen(&mut self, nodes: &mut Nodes, start: Node, other: &Self) -> Result<Option<Node>, GraphError> {
        let plan = self.plan;
        for node in std::mem::take(&mut self.frontier) {
            for &statement in plan.of_space(nodes.space(node)) {
                plan.begin(statement, nodes, node)?;
                while let Some((found, _)) = plan.next(statement, nodes)? {
                    if self.has(found) || found != start && !plan.admits(nodes, found)? {
                        continue;
                    }
                    let edge = Edge::of(&plan.graph, &plan.statements[statement]);
                    self.reach(found, Reached { parent: node, edge: Some(edge) });
                    if other.has(found) {
                        plan.rest();
                        return Ok(Some(found));
                    }
                    self.frontier.push(found);
                }
            }
        }
        Ok(None)
    }
}

/// Finds a path of the fewest edges.
fn fewest(plans: [&Plan; 2], nodes: &mut Nodes, ends: [Node; 2], depth: u64) -> Result<Option<Vec<Step>>, GraphError> {
    let [start, goal] = ends;
    let mut sides = [0, 1].map(|at| {
        let mut side = Side { plan: plans[at], reached: Vec::new(), frontier: vec![ends[at]] };
        side.reach(ends[at], Reached { parent: NONE, edge: None });
        side
    });
    let mut meeting = (start == goal).then_some(start);
    let mut gone = 0;
    while meeting.is_none() {
        let [ahead, back] = &mut sides;
        if ahead.frontier.is_empty() || back.frontier.is_empty() || gone >= depth {
            return Ok(None);
        }
        meeting = if ahead.frontier.len() <= back.frontier.len() {
            ahead.widen(nodes, start, back)?
        } else {
            back.widen(nodes, start, ahead)?
        };
        gone += 1;
    }
    let [ahead, back] = &sides;
    let mut steps = Vec::new();
    let mut at = meeting.unwrap_or(start);
    let mut rest = at;
    while at != NONE {
        let Some(Some(reached)) = ahead.reached.get(at as usize) else { break };
        steps.push(Step { node: at, edge: reached.edge.clone(), cost: 0.0 });
        at = reached.parent;
    }
    steps.reverse();
    // From the other end an edge was found at the node that it leads from.
    while let Some(Some(Reached { parent, edge: Some(edge) })) = back.reached.get(rest as usize) {
        steps.push(Step { node: *parent, edge: Some(edge.clone()), cost: 0.0 });
        rest = *parent;
    }
    for (step, cost) in steps.iter_mut().zip(0_u32..) {
        step.cost = f64::from(cost);
    }
    Ok(Some(steps))
}

/// A node that waits to be left, cheapest first.
struct Waiting {
    cost: f64,
    node: Node,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        // Turned round, since the heap gives the greatest; equal costs in the order of meeting.
        other.cost.total_cmp(&self.cost).then_with(|| other.node.cmp(&self.node))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// Finds a path of the least weight.
fn cheapest(plan: &Plan, nodes: &mut Nodes, start: Node, goal: Node) -> Result<Option<Vec<Step>>, GraphError> {
    let mut best: Vec<Option<(f64, Reached)>> = vec![None; nodes.len()];
    best[start as usize] = Some((0.0, Reached { parent: NONE, edge: None }));
    let mut waiting = BinaryHeap::from([Waiting { cost: 0.0, node: start }]);
    while let Some(Waiting { cost, node }) = waiting.pop() {
        if node == goal {
            break;
        }
        if best[node as usize].as_ref().is_some_and(|(known, _)| *known < cost) {
            continue;
        }
        for &statement in plan.of_space(nodes.space(node)) {
            plan.begin(statement, nodes, node)?;
            while let Some((found, _)) = plan.next(statement, nodes)? {
                let edge = &plan.statements[statement];
                let further = cost + weight(&plan.graph, edge)?;
                if best.len() <= found as usize {
                    best.resize(found as usize + 1, None);
                }
                let is_known = best[found as usize].as_ref().map(|(known, _)| *known);
                if is_known.is_some_and(|known| known <= further) || is_known.is_none() && !plan.admits(nodes, found)? {
                    continue;
                }
                best[found as usize] =
                    Some((further, Reached { parent: node, edge: Some(Edge::of(&plan.graph, edge)) }));
                waiting.push(Waiting { cost: further, node: found });
            }
        }
    }
    if best[goal as usize].is_none() {
        return Ok(None);
    }
    let mut steps = Vec::new();
    let mut at = goal;
    while at != NONE {
        let Some((cost, reached)) = best[at as usize].take() else { break };
        steps.push(Step { node: at, edge: reached.edge, cost });
        at = reached.parent;
    }
    steps.reverse();
    Ok(Some(steps))
}

/// Reads the weight of the edge that a statement stands on.
fn weight(graph: &Graph, edge: &EdgeStatement) -> Result<f64, GraphError> {
    let found = edge.weight();
    let number = match found {
        ValueRef::Integer(number) => number as f64,
        ValueRef::Real(number) => number,
        _ => f64::NAN,
    };
    if number >= 0.0 {
        return Ok(number);
    }
    let (table, weight) = (graph.edge(edge.edge).table.clone(), value::json(found).to_string());
    Err(GraphError::Weight { graph: graph.name.clone(), table, weight })
}

/// The path, step by step.
pub(super) struct Steps {
    graph: Rc<Graph>,
    nodes: Nodes,
    steps: Vec<Step>,
    /// The number of steps that were come to.
    next: usize,
    has_cost: bool,
}

impl Steps {
    const fn none(graph: Rc<Graph>, nodes: Nodes) -> Self {
        Self { graph, nodes, steps: Vec::new(), next: 0, has_cost: false }
    }
}

impl Rows for Steps {
    fn advance(&mut self) -> Result<bool, GraphError> {
        self.next += 1;
        Ok(self.next <= self.steps.len())
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let null = ToSqlOutput::Borrowed(ValueRef::Null);
        let Some((at, step)) = self.next.checked_sub(1).and_then(|at| Some((at, self.steps.get(at)?))) else {
            return null;
        };
        let of_edge = |read: fn(&Edge) -> &Value| step.edge.as_ref().map_or(ValueRef::Null, |edge| read(edge).into());
        ToSqlOutput::Borrowed(match column {
            0 => ValueRef::Integer(at as i64),
            1 => self.nodes.value(step.node),
            2 => of_edge(|edge| &edge.id),
            3 => of_edge(|edge| &edge.kind),
            4 => of_edge(|edge| &edge.weight),
            5 if self.has_cost => ValueRef::Real(step.cost),
            5 => ValueRef::Integer(at as i64),
            6 => step
                .edge
                .as_ref()
                .map_or(ValueRef::Null, |edge| ValueRef::Text(self.graph.edge(edge.table).table.as_bytes())),
            7 => self.graph.table_of(self.nodes.space(step.node)),
            8 => {
                let ids = self.steps[..=at].iter().map(|step| value::json(self.nodes.value(step.node)));
                return ToSqlOutput::Owned(Value::Text(serde_json::Value::Array(ids.collect()).to_string()));
            }
            _ => ValueRef::Null,
        })
    }
}
