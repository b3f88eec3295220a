//! What a walk needs and the next one like it needs too: its statements, the nodes it has met and the edges it has read.

use std::ffi::c_int;
use std::rc::Rc;

use super::error::GraphError;
use super::fields::Fields;
use super::filter::{Direction, Filter};
use super::known::Known;
use super::library::Graph;
use super::nodes::{Node, Nodes};
use super::plan::{Plan, Wanted};
use super::table::{Home, Question};
use super::traverse::{EDGE, EDGE_TABLE, TYPE, Traverse};

const EXAMPLE: &str = r#"{"direction":"out","depth":3,"type":"knows"}"#;
/// The most partial paths that are kept in memory, 12 bytes each.
const PATHS_MAX: usize = 20_000_000;
/// What has held more nodes than these is made anew for a walk that begins from nothing: in a small table they are found faster.
const SMALL_NODES_MAX: usize = 4_096;
/// No place in the list of visits, or no depth that would be too great.
pub(super) const NONE: u32 = u32::MAX;

/// The options, as they are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) is_by_path: bool,
}

/// What a walk is kept under.
pub(super) struct Key {
    pub(super) graph: Rc<Graph>,
    options: Option<String>,
    used: u32,
}

impl Key {
    pub(super) fn is_of(&self, graph: &Rc<Graph>, question: &Question) -> bool {
        Rc::ptr_eq(&self.graph, graph) && self.options == question.options && self.used == question.used
    }
}

/// What a question needs that the next one like it needs too.
pub(super) struct Gear {
    pub(super) key: Key,
    pub(super) bounds: Bounds,
    pub(super) from_table: Option<String>,
    pub(super) plan: Plan,
    pub(super) nodes: Nodes,
    pub(super) visits: Vec<Visit>,
    /// The number of the walk that last came to a node; the walks of this gear are numbered from 1.
    met: Vec<u32>,
    pub(super) walk: u32,
    /// Whether a node is asked for, as far as it was looked up.
    pub(super) admitted: Vec<Option<bool>>,
    pub(super) known: Known,
    /// Whether the edges may be kept: their own columns are not asked for, and the tables and conditions are of the simple kind.
    pub(super) keeps: bool,
}

/// One node on one path.
pub(super) struct Visit {
    pub(super) node: Node,
    /// The place of the node before it.
    pub(super) parent: u32,
    pub(super) depth: u32,
}

impl Gear {
    pub(super) fn new(home: &Home<Traverse>, graph: Rc<Graph>, question: &Question) -> Result<Self, GraphError> {
        let place = "kith_traverse";
        let mut fields = Fields::parse(place, question.options.as_deref(), EXAMPLE)?;
        let direction = Direction::read(&mut fields, &graph)?;
        let (least, most) = depth(&mut fields)?;
        let is_by_path = match fields.text("unique")?.as_deref() {
            None | Some("node") => false,
            Some("path") => true,
            Some(_) => return Err(fields.wrong("unique", "\"node\" or \"path\"")),
        };
        if is_by_path && most == NONE {
            return Err(GraphError::NoDepth { place });
        }
        let filter = Filter::read(&mut fields, &graph)?;
        let from_table = fields.text("from_table")?;
        fields.end()?;
        let uses = |column: c_int| question.uses(column.unsigned_abs());
        let wanted = Wanted { id: uses(EDGE), kind: uses(TYPE), weight: false };
        let keeps = !(uses(EDGE) || uses(TYPE) || uses(EDGE_TABLE))
            && filter.is_steady()
            && graph.is_plain(&home.library.connection()?)?;
        let plan = Plan::new(&home.library, &graph, direction, &filter, wanted)?;
        let key = Key { graph, options: question.options.clone(), used: question.used };
        let bounds = Bounds { least, most, is_by_path };
        Ok(Self {
            key,
            bounds,
            from_table,
            plan,
            nodes: Nodes::default(),
            visits: Vec::new(),
            met: Vec::new(),
            walk: 0,
            admitted: Vec::new(),
            known: Known::default(),
            keeps,
        })
    }

    /// Forgets the nodes, and what is known of them.
    pub(super) fn forget(&mut self) {
        if self.nodes.len() > SMALL_NODES_MAX {
            self.nodes = Nodes::default();
        }
        self.nodes.clear();
        self.met.clear();
        self.admitted.clear();
        self.known.forget();
        self.walk = 0;
    }

    pub(super) fn kept_nodes(&self) -> usize {
        self.visits.len().max(self.nodes.len())
    }

    pub(super) fn give_back(&mut self) {
        self.nodes = Nodes::default();
        self.visits = Vec::new();
        self.met = Vec::new();
        self.admitted = Vec::new();
        self.known = Known::default();
        self.walk = 0;
    }

    /// Tells whether this walk comes to a node for the first time.
    pub(super) fn is_first(&mut self, node: Node) -> bool {
        let at = node as usize;
        if self.met.len() <= at {
            self.met.resize((at + 1).max(self.nodes.len()), 0);
        }
        std::mem::replace(&mut self.met[at], self.walk) != self.walk
    }

    /// Makes a visit of the node at the end of an edge if it is one; tells whether it is.
    pub(super) fn visit(&mut self, node: Node, parent: u32, depth: u32) -> Result<bool, GraphError> {
        let is_fresh = if self.bounds.is_by_path { !self.is_on_path(node, parent) } else { self.is_first(node) };
        if !is_fresh || !self.admits(node)? {
            return Ok(false);
        }
        if self.visits.len() >= PATHS_MAX && self.bounds.is_by_path {
            return Err(self.plan.too_many("paths", PATHS_MAX));
        }
        self.visits.push(Visit { node, parent, depth });
        Ok(true)
    }

    /// Tells whether a node lies on the path to a visit.
    fn is_on_path(&self, node: Node, mut at: u32) -> bool {
        while at != NONE {
            let visit = &self.visits[at as usize];
            if visit.node == node {
                return true;
            }
            at = visit.parent;
        }
        false
    }

    /// Tells whether a node is asked for. Paths come by a node often, so that it is looked up once for each walk at least.
    fn admits(&mut self, node: Node) -> Result<bool, GraphError> {
        if !self.plan.looks_at(&self.nodes, node) {
            return Ok(true);
        }
        let at = node as usize;
        if self.admitted.len() <= at {
            self.admitted.resize(at + 1, None);
        }
        match self.admitted[at] {
            Some(known) => Ok(known),
            None => {
                let found = self.plan.admits(&self.nodes, node)?;
                self.admitted[at] = Some(found);
                Ok(found)
            }
        }
    }
}

/// Reads how deep to go: a number, or the least and the greatest.
fn depth(fields: &mut Fields) -> Result<(u32, u32), GraphError> {
    let count = |value: &serde_json::Value| value.as_u64().map(|depth| u32::try_from(depth).unwrap_or(NONE));
    let read = match fields.take("depth") {
        None => Some((1, NONE)),
        Some(serde_json::Value::Array(pair)) => match &pair[..] {
            [least, most] => count(least).zip(count(most)),
            _ => None,
        },
        Some(one) => count(&one).map(|most| (1, most)),
    };
    read.ok_or_else(|| fields.wrong("depth", "a whole number, or the least and the greatest such as [0,3]"))
}
