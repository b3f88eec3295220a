//! `kith_pagerank`: how much a node is referred to by nodes that are much referred to.
//!
//! Power iteration (Page and others: "The PageRank citation ranking: bringing order to the web", 1999), with the rank of nodes without outgoing edges
//! spread evenly over all. petgraph has a PageRank too, whose every iteration looks at each pair of nodes.

use std::ffi::CStr;

use super::error::GraphError;
use super::fields::Fields;
use super::nodes::Node;
use super::whole::{Measure, Number, Whole};

/// See the module.
pub(super) struct PageRank;

/// How ranks are computed.
pub(super) struct Options {
    damping: f64,
    /// The ranks are settled when their changes add up to less.
    tolerance: f64,
    iterations: u64,
}

impl Measure for PageRank {
    const NAME: &'static CStr = c"kith_pagerank";
    const USAGE: &'static str = "kith_pagerank(graph) or kith_pagerank(graph, options)";
    const COLUMNS: &'static CStr = c"CREATE TABLE x(node, rank REAL, node_table TEXT, graph HIDDEN, options HIDDEN)";
    const EXAMPLE: &'static str = r#"{"damping":0.85,"tolerance":1e-9}"#;
    const WIDTH: usize = 1;
    const WEIGHS: bool = true;
    type Options = Options;

    fn options(fields: &mut Fields) -> Result<Options, GraphError> {
        Ok(Options {
            damping: fields.real("damping", 0.0, 0.999_999)?.unwrap_or(0.85),
            tolerance: fields.real("tolerance", 1e-15, 1.0)?.unwrap_or(1e-9),
            iterations: fields.count("iterations")?.unwrap_or(1000),
        })
    }

    fn measure(whole: &Whole, options: Options) -> Result<Vec<(Node, [Number; 2])>, GraphError> {
        let ranks = ranks(whole, &options)?;
        let mut rows: Vec<_> = (0..).zip(ranks).collect();
        // Equal ranks stay in the order of the nodes.
        rows.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        Ok(rows.into_iter().map(|(node, rank)| (node, [Number::Real(rank); 2])).collect())
    }
}

fn ranks(whole: &Whole, options: &Options) -> Result<Vec<f64>, GraphError> {
    let count = whole.nodes.len();
    let even = 1.0 / count as f64;
    // An edge without direction refers both ways; a loop does so once.
    let back = whole.edges.iter().filter(|(from, to, _)| whole.graph.definition.is_undirected && from != to);
    let edges: Vec<_> = whole.edges.iter().copied().chain(back.map(|&(from, to, weight)| (to, from, weight))).collect();
    let mut given = vec![0.0; count];
    for &(from, _, weight) in &edges {
        given[from as usize] += weight;
    }
    let mut ranks = vec![even; count];
    for _ in 0..options.iterations {
        whole.check_interrupt()?;
        let kept: f64 = ranks.iter().zip(&given).filter(|(_, given)| **given == 0.0).map(|(rank, _)| rank).sum();
        let base = (1.0 - options.damping + options.damping * kept) * even;
        let mut next = vec![base; count];
        for &(from, to, weight) in &edges {
            if weight > 0.0 {
                next[to as usize] += options.damping * ranks[from as usize] * weight / given[from as usize];
            }
        }
        let moved: f64 = ranks.iter().zip(&next).map(|(one, other)| (one - other).abs()).sum();
        ranks = next;
        if moved < options.tolerance {
            return Ok(ranks);
        }
    }
    Err(GraphError::Unsettled { graph: whole.graph.name.clone(), iterations: options.iterations })
}
