//! `kith_traverse`: the nodes that are reached from one, breadth first, each at its least depth, or every simple path.
//!
//! Invariants:
//! 1. Rows come in the order of their depth.
//! 2. No more edges are read than the rows that are asked for need.
//! 3. Edges that the walk before has read are not read again as long as the file is as it was (`known.rs`).

use std::ffi::CStr;
use std::ffi::c_int;
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::error::GraphError;
use super::gear::{Gear, NONE, Visit};
use super::table::{Function, Home, Question, Rows};
use super::value;

/// How many walks are kept for the next question like theirs.
const KEPT_MAX: usize = 8;
/// Of how many nodes the walks that are kept may keep something, about 70 bytes each and four for each edge.
const KEPT_NODES_MAX: usize = 300_000;

const NODE: c_int = 0;
const DEPTH: c_int = 1;
const PATH: c_int = 2;
pub(super) const EDGE: c_int = 3;
pub(super) const TYPE: c_int = 4;
pub(super) const EDGE_TABLE: c_int = 5;
const NODE_TABLE: c_int = 6;

/// See the module.
pub(super) struct Traverse;

impl Function for Traverse {
    const NAME: &'static CStr = c"kith_traverse";
    const USAGE: &'static str = "kith_traverse(graph, start) or kith_traverse(graph, start, options)";
    const COLUMNS: &'static CStr = c"CREATE TABLE x(node, depth INTEGER, path TEXT, edge, type, edge_table TEXT, node_table TEXT, graph HIDDEN, start HIDDEN, options HIDDEN)";
    const SHOWN: c_int = 7;
    const ARGUMENTS: usize = 3;
    const REQUIRED: usize = 2;
    const DEPTH: Option<c_int> = Some(DEPTH);
    type Rows = Walk;
    type Kept = Vec<Gear>;

    fn ask(home: &Rc<Home<Self>>, question: &Question) -> Result<Walk, GraphError> {
        let graph = home.library.graph(&question.graph)?;
        let found = {
            let mut kept = home.kept.borrow_mut();
            let at = kept.iter().position(|gear| gear.key.is_of(&graph, question));
            at.map(|at| kept.remove(at))
        };
        let gear = match found {
            Some(gear) => gear,
            None => Gear::new(home, graph, question)?,
        };
        Walk::begin(home, gear, question)
    }
}

/// A walk that has begun.
pub(super) struct Walk {
    home: Rc<Home<Traverse>>,
    /// Given back in the end.
    gear: Option<Gear>,
    most: u32,
    /// The visit whose edges are read.
    from: u32,
    /// Which of its statements is next, and which is running.
    next: usize,
    running: Option<usize>,
    /// The places of the edges that are known of the visit, from the next one on.
    ahead: Option<(u32, u32)>,
    /// The visit that is shown; `NONE` before the first.
    shown: u32,
}

impl Walk {
    fn begin(home: &Rc<Home<Traverse>>, mut gear: Gear, question: &Question) -> Result<Self, GraphError> {
        let graph = Rc::clone(&gear.key.graph);
        let space = graph.space("from_table", gear.from_table.as_deref())?;
        let comparison = graph.comparison(space);
        gear.visits.clear();
        if !gear.keeps || gear.walk == u32::MAX || !gear.known.is_of_now(home.library.db()) {
            gear.forget();
        }
        gear.walk += 1;
        let mut start = comparison.class.convert(question.ids.first().cloned().unwrap_or(Value::Null));
        if let Value::Real(real) = start
            && gear.keeps
        {
            // As it would be in a column of integers.
            start = value::whole(real).map_or(start, Value::Integer);
        }
        if let Some((node, _)) = gear.nodes.add(space, comparison.collation, (&start).into()) {
            gear.is_first(node);
            gear.visits.push(Visit { node, parent: NONE, depth: 0 });
        }
        let asked = question.depth_most.map_or(NONE, |most| u32::try_from(most.max(0)).unwrap_or(NONE));
        let most = gear.bounds.most.min(asked);
        let home = Rc::clone(home);
        Ok(Self { home, gear: Some(gear), most, from: 0, next: 0, running: None, ahead: None, shown: NONE })
    }

    /// Takes one step of the search; returns whether it came to a new visit, or `None` at the end.
    fn step(&mut self) -> Result<Option<bool>, GraphError> {
        let Some(gear) = &mut self.gear else { return Ok(None) };
        let Some(visit) = gear.visits.get(self.from as usize) else { return Ok(None) };
        // Visits come in the order of their depth: no later one leads further.
        if visit.depth >= self.most {
            return Ok(None);
        }
        let (node, depth) = (visit.node, visit.depth + 1);
        if let Some((place, end)) = self.ahead {
            for place in place..end {
                if gear.visit(gear.known.end(place), self.from, depth)? {
                    self.ahead = Some((place + 1, end));
                    return Ok(Some(true));
                }
            }
            self.ahead = None;
            self.from += 1;
            return Ok(Some(false));
        }
        let Some(running) = self.running else {
            if self.next == 0 && gear.keeps {
                if gear.known.is_of_now(self.home.library.db()) {
                    self.ahead = gear.known.of(node);
                    if self.ahead.is_some() {
                        return Ok(Some(false));
                    }
                } else {
                    gear.admitted.clear();
                }
                gear.known.open();
            }
            match gear.plan.of_space(gear.nodes.space(node)).get(self.next) {
                Some(&statement) => {
                    gear.plan.begin(statement, &gear.nodes, node)?;
                    self.running = Some(statement);
                    self.next += 1;
                }
                None => {
                    gear.known.close(node, self.home.library.db());
                    self.from += 1;
                    self.next = 0;
                }
            }
            return Ok(Some(false));
        };
        loop {
            let Some((found, _)) = gear.plan.next(running, &mut gear.nodes)? else {
                self.running = None;
                return Ok(Some(false));
            };
            gear.known.note(found);
            if gear.visit(found, self.from, depth)? {
                return Ok(Some(true));
            }
        }
    }
}

impl Rows for Walk {
    fn advance(&mut self) -> Result<bool, GraphError> {
        let least = match &self.gear {
            Some(gear) if !gear.visits.is_empty() => gear.bounds.least,
            _ => return Ok(false),
        };
        if self.shown == NONE && least == 0 {
            self.shown = 0;
            return Ok(true);
        }
        while let Some(is_visit) = self.step()? {
            let visits = self.gear.as_ref().map_or(&[][..], |gear| &gear.visits);
            if is_visit && visits.last().is_some_and(|visit| visit.depth >= least) {
                // There are fewer visits than nodes or paths may be, so it fits.
                self.shown = u32::try_from(visits.len() - 1).unwrap_or(NONE);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let null = ToSqlOutput::Borrowed(ValueRef::Null);
        let Some(gear) = &self.gear else { return null };
        let Some(visit) = gear.visits.get(self.shown as usize) else { return null };
        let edge = self.running.map(|statement| &gear.plan.statements[statement]);
        match (column, edge) {
            (NODE, _) => ToSqlOutput::Borrowed(gear.nodes.value(visit.node)),
            (DEPTH, _) => ToSqlOutput::Owned(i64::from(visit.depth).into()),
            (PATH, _) => ToSqlOutput::Owned(Value::Text(path(gear, self.shown))),
            // The edge that led here is the one that its statement stands on.
            (EDGE, Some(edge)) => ToSqlOutput::Borrowed(edge.id()),
            (TYPE, Some(edge)) => ToSqlOutput::Borrowed(edge.kind(&gear.key.graph)),
            (EDGE_TABLE, Some(edge)) => {
                ToSqlOutput::Borrowed(ValueRef::Text(gear.key.graph.edge(edge.edge).table.as_bytes()))
            }
            (NODE_TABLE, _) => ToSqlOutput::Borrowed(gear.key.graph.table_of(gear.nodes.space(visit.node))),
            _ => null,
        }
    }
}

/// Writes the ids from the start to a visit as a JSON array.
fn path(gear: &Gear, mut at: u32) -> String {
    let mut ids = Vec::new();
    while at != NONE {
        let visit = &gear.visits[at as usize];
        ids.push(value::json(gear.nodes.value(visit.node)));
        at = visit.parent;
    }
    ids.reverse();
    serde_json::Value::Array(ids).to_string()
}

impl Drop for Walk {
    fn drop(&mut self) {
        let Some(mut gear) = self.gear.take() else { return };
        gear.plan.rest();
        gear.known.drop_open();
        let mut kept = self.home.kept.borrow_mut();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(gear);
        // Those that were not asked for the longest time give their memory back first.
        let mut nodes: usize = kept.iter().map(Gear::kept_nodes).sum();
        for gear in kept.iter_mut() {
            if nodes <= KEPT_NODES_MAX {
                break;
            }
            nodes -= gear.kept_nodes();
            gear.give_back();
        }
    }
}
