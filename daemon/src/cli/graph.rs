//! The arguments of `kith graph`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

/// `kith graph`.
#[derive(Debug, Args)]
pub struct Graph {
    /// The database file, of a workspace or plain SQLite.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// What to ask; without it, the graphs that the file declares.
    #[command(subcommand)]
    pub question: Option<Question>,
}

/// The questions.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// Declare a graph, in place of one of that name.
    Declare {
        /// Its name.
        graph: String,
        /// What it is made of, as JSON such as {"edges":"follows","from":"src","to":"dst"} [default: the foreign keys].
        definition: Option<String>,
    },
    /// Forget a graph; the tables stay.
    Drop {
        /// Its name.
        graph: String,
    },
    /// Follow edges from a node, each node once at its least depth.
    Traverse {
        /// The graph.
        graph: String,
        /// The node's id.
        start: String,
        /// How many edges to go at most.
        #[arg(long)]
        depth: Option<u32>,
        #[command(flatten)]
        walk: Walk,
    },
    /// List the edges of a node.
    Neighbors {
        /// The graph.
        graph: String,
        /// The node's id.
        node: String,
        #[command(flatten)]
        walk: Walk,
    },
    /// Find a shortest path between two nodes, by weight where the graph has weights.
    Path {
        /// The graph.
        graph: String,
        /// The id of the first node.
        from: String,
        /// The id of the last node.
        to: String,
        #[command(flatten)]
        walk: Walk,
    },
    /// Tell which nodes hang together.
    Components {
        /// The graph.
        graph: String,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// Rank nodes by how much they are referred to.
    Pagerank {
        /// The graph.
        graph: String,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// Group nodes that have more edges among each other than chance would give.
    Communities {
        /// The graph.
        graph: String,
        #[command(flatten)]
        narrow: Narrow,
    },
}

/// Which way edges are followed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Direction {
    /// From its first end to its second.
    Out,
    /// From its second end to its first.
    In,
    /// Either way.
    Both,
}

impl Direction {
    /// Its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        }
    }
}

/// What narrows any question down.
#[derive(Debug, Args)]
pub struct Narrow {
    /// Only edges of this type; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,

    /// Further options of the SQL function, as JSON such as {"edge_where":{"since":{">=":2020}}}.
    #[arg(long, value_name = "JSON")]
    pub options: Option<String>,

    /// Print this many rows at most.
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u32>,
}

/// What narrows questions about one node down.
#[derive(Debug, Args)]
pub struct Walk {
    /// Which way to follow edges [default: out].
    #[arg(long, value_enum)]
    pub direction: Option<Direction>,

    #[command(flatten)]
    pub narrow: Narrow,
}
