//! What can be wrong with a graph or a question about one, each with its remedy.

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// No graph of that name is declared in the file.
    #[error("there is no graph {name}; declare it with SELECT kith_graph({quoted}, '{{\"edges\":\"TABLE\",\"from\":\"COLUMN\",\"to\":\"COLUMN\"}}'), or see those there are with SELECT * FROM kith_graphs", quoted = literal(name))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// A function was called with too little.
    #[error("{function} is called as {usage}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// How it is called.
        usage: &'static str,
    },
    /// A text that should be a JSON object is not.
    #[error("{place}: {detail}; give a JSON object such as {example}")]
    NotJson {
        /// Whose argument it is.
        place: String,
        /// What is wrong.
        detail: String,
        /// What would be right.
        example: &'static str,
    },
    /// An option that is not known.
    #[error("{place} has no option \"{name}\"; it has {known}")]
    UnknownOption {
        /// Whose option it is.
        place: String,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// An option with a value that it cannot have.
    #[error("{place}: the option \"{name}\" must be {expected}")]
    Option {
        /// Whose option it is.
        place: String,
        /// The option.
        name: String,
        /// What it must be.
        expected: String,
    },
    /// A table that is not there.
    #[error(
        "graph {graph}: there is no table {table} in the main database; create it first, or declare the graph over another"
    )]
    MissingTable {
        /// The graph.
        graph: String,
        /// The table.
        table: String,
    },
    /// A column that is not there.
    #[error("graph {graph}: table {table} has no column {column}; it has {columns}")]
    MissingColumn {
        /// The graph.
        graph: String,
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The columns there are.
        columns: String,
    },
    /// An edge table whose ends are not named and not to be guessed.
    #[error(
        "graph {graph}: which columns of {table} hold the two ends of an edge is not said; name them with \"from\" and \"to\""
    )]
    Ends {
        /// The graph.
        graph: String,
        /// The table.
        table: String,
    },
    /// A node table without a column that names its rows.
    #[error(
        "graph {graph}: table {table} has no primary key of one column to be the nodes' id; name the column with \"nodes\":{{\"table\":{table:?},\"key\":\"COLUMN\"}}"
    )]
    Key {
        /// The graph.
        graph: String,
        /// The table.
        table: String,
    },
    /// A collation that node ids cannot be compared by.
    #[error(
        "graph {graph}: column {column} of {table} has the collation {collation}, by which ids cannot be looked up in memory; a graph's ends have BINARY, NOCASE or RTRIM"
    )]
    Collation {
        /// The graph.
        graph: String,
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The collation.
        collation: String,
    },
    /// Two columns that hold ids of the same nodes and compare them in two ways.
    #[error(
        "graph {graph}: {one} and {other} hold ids of the same nodes but compare them differently; declare both columns with the same type and collation"
    )]
    Mixed {
        /// The graph.
        graph: String,
        /// A column.
        one: String,
        /// Another.
        other: String,
    },
    /// No foreign key to make edges of.
    #[error(
        "graph {graph}: no foreign key of one column was found to make edges of{detail}; declare foreign keys, or name an edge table with \"edges\", \"from\" and \"to\""
    )]
    NoReferences {
        /// The graph.
        graph: String,
        /// What was left out and why.
        detail: String,
    },
    /// A filter on nodes where the graph does not know their table.
    #[error(
        "graph {graph} names no table of its nodes, so \"node_where\" has no columns to look at; declare the graph again with \"nodes\":\"TABLE\""
    )]
    NoNodes {
        /// The graph.
        graph: String,
    },
    /// A node that is not told apart from the equally numbered ones of other tables.
    #[error("graph {graph} has nodes of several tables, so \"{option}\" must say which the id belongs to: {tables}")]
    WhichTable {
        /// The graph.
        graph: String,
        /// The option that says it.
        option: &'static str,
        /// The tables there are.
        tables: String,
    },
    /// The tables no longer have what the declaration names.
    #[error("graph {graph} does not fit its tables ({detail}); declare it again with SELECT kith_graph({quoted}, …)", quoted = literal(graph))]
    Stale {
        /// The graph.
        graph: String,
        /// SQLite's words.
        detail: String,
    },
    /// Weights were asked for where none are declared.
    #[error(
        "graph {graph} has no weights; declare it again with \"weight\":\"COLUMN\", or ask with \"weighted\":false"
    )]
    NoWeight {
        /// The graph.
        graph: String,
    },
    /// A weight that shortest paths cannot be found with.
    #[error(
        "graph {graph}: an edge of {table} has the weight {weight}; a weight must be a number that is not negative: change it, leave such edges out with \"edge_where\", or ask with \"weighted\":false"
    )]
    Weight {
        /// The graph.
        graph: String,
        /// The edge table.
        table: String,
        /// The weight.
        weight: String,
    },
    /// All paths were asked for without a bound.
    #[error(
        "{place}: with \"unique\":\"path\" the option \"depth\" must say how long paths may be, since there can be very many"
    )]
    NoDepth {
        /// Whose option it is.
        place: &'static str,
    },
    /// More was met than is kept in memory.
    #[error("graph {graph}: more than {at_most} {what} were met; ask with a smaller \"depth\", a filter or a LIMIT")]
    TooMany {
        /// The graph.
        graph: String,
        /// What there was too much of.
        what: &'static str,
        /// How many there may be.
        at_most: usize,
    },
    /// Page ranks that did not settle.
    #[error(
        "graph {graph}: ranks still moved by more than the tolerance after {iterations} iterations; ask with a greater \"tolerance\" or \"iterations\", or a smaller \"damping\""
    )]
    Unsettled {
        /// The graph.
        graph: String,
        /// How many iterations were made.
        iterations: u64,
    },
    /// SQLite's own.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl GraphError {
    /// Makes SQLite's complaint about a statement over the graph's tables one about the declaration.
    pub(super) fn of_statement(graph: &str, error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(code, Some(detail)) if code.extended_code == rusqlite::ffi::SQLITE_ERROR => {
                Self::Stale { graph: graph.to_owned(), detail }
            }
            error => Self::Sqlite(error),
        }
    }

    /// Turns it into what a virtual table returns.
    pub(super) fn of_table(self) -> rusqlite::Error {
        match self {
            Self::Sqlite(error) => error,
            error => rusqlite::Error::ModuleError(error.to_string()),
        }
    }

    /// Turns it into what an SQL function returns.
    pub(super) fn of_function(self) -> rusqlite::Error {
        match self {
            Self::Sqlite(error) => error,
            error => rusqlite::Error::UserFunctionError(Box::new(error)),
        }
    }
}

/// Writes text as SQL does.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
