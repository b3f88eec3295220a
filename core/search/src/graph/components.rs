//! `kith_components`: which nodes hang together.
//!
//! The work is petgraph's: its union-find for components whatever the direction of edges, its iterative `kosaraju_scc` for strong ones
//! (its Tarjan calls itself, once for each node of a long path).

use std::ffi::CStr;

use petgraph::algo::kosaraju_scc;
use petgraph::unionfind::UnionFind;

use super::error::GraphError;
use super::fields::Fields;
use super::nodes::Node;
use super::whole::{Measure, Number, Whole, by_group};

/// See the module.
pub(super) struct Components;

impl Measure for Components {
    const NAME: &'static CStr = c"kith_components";
    const USAGE: &'static str = "kith_components(graph) or kith_components(graph, options)";
    const COLUMNS: &'static CStr =
        c"CREATE TABLE x(node, component INTEGER, size INTEGER, node_table TEXT, graph HIDDEN, options HIDDEN)";
    const EXAMPLE: &'static str = r#"{"strong":true}"#;
    const WIDTH: usize = 2;
    const WEIGHS: bool = false;
    /// Whether each node must be reached from each other along the edges.
    type Options = bool;

    fn options(fields: &mut Fields) -> Result<bool, GraphError> {
        Ok(fields.flag("strong")?.unwrap_or(false))
    }

    fn measure(whole: &Whole, is_strong: bool) -> Result<Vec<(Node, [Number; 2])>, GraphError> {
        if is_strong && !whole.graph.definition.is_undirected {
            let mut groups = vec![0; whole.nodes.len()];
            for (component, number) in kosaraju_scc(&whole.to_petgraph()).iter().zip(0..) {
                for node in component {
                    groups[node.index()] = number;
                }
            }
            return Ok(by_group(&groups));
        }
        let mut sets = UnionFind::<Node>::new(whole.nodes.len());
        for &(from, to, _) in &whole.edges {
            sets.union(from, to);
        }
        Ok(by_group(&sets.into_labeling()))
    }
}
