//! `kith_communities`: groups of nodes with more edges inside than chance would give.
//!
//! The Louvain method: Blondel, Guillaume, Lambiotte, Lefebvre, "Fast unfolding of communities in large networks", 2008, with the
//! resolution of Reichardt and Bornholdt (2006). Directions are left aside. Nodes are moved in an order that the seed gives, so that the
//! same graph and seed have the same answer. Known of the method: a community may be badly connected inside.

use std::collections::HashMap;
use std::ffi::CStr;

use super::error::GraphError;
use super::fields::Fields;
use super::nodes::Node;
use super::whole::{Measure, Number, Whole, by_group};

/// See the module.
pub(super) struct Communities;

/// How groups are found.
pub(super) struct Options {
    seed: u64,
    /// Above 1 groups are smaller, below 1 greater.
    resolution: f64,
}

impl Measure for Communities {
    const NAME: &'static CStr = c"kith_communities";
    const USAGE: &'static str = "kith_communities(graph) or kith_communities(graph, options)";
    const COLUMNS: &'static CStr =
        c"CREATE TABLE x(node, community INTEGER, size INTEGER, node_table TEXT, graph HIDDEN, options HIDDEN)";
    const EXAMPLE: &'static str = r#"{"resolution":1.0,"seed":1}"#;
    const WIDTH: usize = 2;
    const WEIGHS: bool = true;
    type Options = Options;

    fn options(fields: &mut Fields) -> Result<Options, GraphError> {
        Ok(Options {
            seed: fields.count("seed")?.unwrap_or(1),
            resolution: fields.real("resolution", 0.001, 1000.0)?.unwrap_or(1.0),
        })
    }

    fn measure(whole: &Whole, options: Options) -> Result<Vec<(Node, [Number; 2])>, GraphError> {
        let mut level = Level::of(whole);
        let mut groups: Vec<u32> = (0..).take(whole.nodes.len()).collect();
        let mut seed = options.seed;
        loop {
            let moved = level.group(&mut seed, options.resolution, whole)?;
            let count = moved.iter().max().map_or(0, |group| *group as usize + 1);
            for group in &mut groups {
                *group = moved[*group as usize];
            }
            if count == level.neighbors.len() {
                return Ok(by_group(&groups));
            }
            level = level.merged(&moved, count);
        }
    }
}

/// The graph at one level: groups of the level below are its nodes.
struct Level {
    /// For each node its neighbours with the weight between, itself left out.
    neighbors: Vec<Vec<(u32, f64)>>,
    /// Twice the weight inside each node, and all that leads out of it.
    degrees: Vec<f64>,
    /// The sum of the degrees.
    total: f64,
}

impl Level {
    fn of(whole: &Whole) -> Self {
        let count = whole.nodes.len();
        let mut level = Self { neighbors: vec![Vec::new(); count], degrees: vec![0.0; count], total: 0.0 };
        for &(from, to, weight) in &whole.edges {
            for (near, far) in [(from, to), (to, from)] {
                level.degrees[near as usize] += weight;
                level.total += weight;
                if near != far {
                    level.neighbors[near as usize].push((far, weight));
                }
            }
        }
        level
    }

    /// Moves nodes to the group of a neighbour for as long as that raises the modularity; returns each node's group, numbered from 0.
    fn group(&self, seed: &mut u64, resolution: f64, whole: &Whole) -> Result<Vec<u32>, GraphError> {
        let count = self.neighbors.len();
        let mut groups: Vec<u32> = (0..).take(count).collect();
        let mut degrees = self.degrees.clone();
        let mut order = groups.clone();
        shuffle(&mut order, seed);
        let mut weights: Vec<f64> = vec![0.0; count];
        let mut near: Vec<u32> = Vec::new();
        let mut has_moved = self.total > 0.0;
        while has_moved {
            whole.check_interrupt()?;
            has_moved = false;
            for &node in &order {
                let own = groups[node as usize];
                near.clear();
                near.push(own);
                for &(other, weight) in &self.neighbors[node as usize] {
                    let group = groups[other as usize];
                    if weights[group as usize] == 0.0 && group != own {
                        near.push(group);
                    }
                    weights[group as usize] += weight;
                }
                let degree = self.degrees[node as usize];
                degrees[own as usize] -= degree;
                let gain =
                    |group: u32| weights[group as usize] - resolution * degree * degrees[group as usize] / self.total;
                // A move must gain more than rounding does, or two groups could hand a node to and fro.
                let (mut best, mut most) = (own, gain(own) + 1e-12 * self.total);
                for &group in &near[1..] {
                    if gain(group) > most {
                        (best, most) = (group, gain(group));
                    }
                }
                for &group in &near {
                    weights[group as usize] = 0.0;
                }
                degrees[best as usize] += degree;
                groups[node as usize] = best;
                has_moved |= best != own;
            }
        }
        let mut numbers = HashMap::new();
        for group in &mut groups {
            // There are no more groups than nodes.
            let next = numbers.len() as u32;
            *group = *numbers.entry(*group).or_insert(next);
        }
        Ok(groups)
    }

    /// Makes each group one node.
    fn merged(&self, groups: &[u32], count: usize) -> Self {
        let mut level = Self { neighbors: vec![Vec::new(); count], degrees: vec![0.0; count], total: self.total };
        let mut between: Vec<HashMap<u32, f64>> = vec![HashMap::new(); count];
        for (node, &group) in groups.iter().enumerate() {
            level.degrees[group as usize] += self.degrees[node];
            for &(other, weight) in &self.neighbors[node] {
                let far = groups[other as usize];
                if far != group {
                    *between[group as usize].entry(far).or_insert(0.0) += weight;
                }
            }
        }
        for (group, between) in between.into_iter().enumerate() {
            let mut list: Vec<_> = between.into_iter().collect();
            // A map has its own order in every process.
            list.sort_by_key(|(far, _)| *far);
            level.neighbors[group] = list;
        }
        level
    }
}

/// Shuffles (Fisher and Yates) by splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn shuffle(order: &mut [u32], seed: &mut u64) {
    for at in (1..order.len()).rev() {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let other = (mixed ^ (mixed >> 31)) % (at as u64 + 1);
        order.swap(at, other as usize);
    }
}
