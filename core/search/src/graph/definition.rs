//! What a graph is made of: read from what the user says, completed from the schema, and written as what the file keeps.
//!
//! Invariant: what is written is a declaration too, and reading it again gives the same graph.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::error::GraphError;
use super::fields::Fields;
use super::schema::Table;
use super::value::Comparison;

const EXAMPLE: &str = r#"{"nodes":"people","edges":"follows","from":"src","to":"dst"}"#;
const EDGE_TABLES: &str =
    "the name of a table, or an array of objects such as {\"table\":\"follows\",\"from\":\"src\",\"to\":\"dst\"}";
const NODE_TABLES: &str =
    "the name of a table, an object such as {\"table\":\"people\",\"key\":\"id\"}, or an array of these";
/// The most tables of either kind that one graph may have.
pub(super) const TABLES_MAX: usize = 256;

/// A table whose rows are nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeTable {
    pub(super) table: String,
    pub(super) key: String,
}

/// A table whose rows are edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EdgeTable {
    pub(super) table: String,
    pub(super) from: String,
    pub(super) to: String,
    /// The column that says what kind of edge a row is.
    pub(super) kind: Option<String>,
    /// What kind of edge every row is, where no column says it.
    pub(super) label: String,
    pub(super) weight: Option<String>,
    /// The column that names a row; `None` where there is none by itself.
    pub(super) id: Option<String>,
    pub(super) from_space: u16,
    pub(super) to_space: u16,
}

/// A graph as it is declared, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) is_undirected: bool,
    /// The kinds of nodes; the one of a graph that names no table of nodes is `None`.
    pub(super) spaces: Vec<Option<NodeTable>>,
    pub(super) edges: Vec<EdgeTable>,
}

/// What a user asks for: named tables, or what foreign keys tell.
pub(super) enum Asked {
    Declared(Definition),
    /// The tables to look at; `None` means all.
    Inferred {
        tables: Option<Vec<String>>,
        is_undirected: bool,
    },
}

pub(super) fn read(conn: &Connection, graph: &str, text: Option<&str>) -> Result<Asked, GraphError> {
    let place = format!("kith_graph('{graph}')");
    let mut fields = Fields::parse(&place, text, EXAMPLE)?;
    let is_undirected = fields.flag("undirected")?.unwrap_or(false);
    let Some(edges) = fields.take("edges") else {
        let tables = match fields.take("tables") {
            None => None,
            Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
                Some(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(_) => return Err(fields.wrong("tables", "an array of names of tables")),
        };
        fields.end()?;
        return Ok(Asked::Inferred { tables, is_undirected });
    };
    let reader = Reader { conn, graph };
    let mut spaces = reader.spaces(&mut fields)?;
    let listed = match edges {
        Value::String(table) => {
            let mut object = serde_json::Map::new();
            object.insert("table".to_owned(), table.into());
            for name in ["from", "to", "type", "weight", "id"] {
                if let Some(value) = fields.take(name) {
                    object.insert(name.to_owned(), value);
                }
            }
            vec![Value::Object(object)]
        }
        Value::Array(list) if !list.is_empty() && list.len() <= TABLES_MAX => list,
        _ => return Err(fields.wrong("edges", EDGE_TABLES)),
    };
    fields.end()?;
    if spaces.is_empty() {
        spaces.push(None);
    }
    let edges = listed.into_iter().map(|edge| reader.edge(edge, &spaces)).collect::<Result<_, _>>()?;
    Ok(Asked::Declared(Definition { is_undirected, spaces, edges }))
}

struct Reader<'a> {
    conn: &'a Connection,
    graph: &'a str,
}

impl Reader<'_> {
    fn place(&self) -> String {
        format!("kith_graph('{}')", self.graph)
    }

    fn spaces(&self, fields: &mut Fields) -> Result<Vec<Option<NodeTable>>, GraphError> {
        let listed = match fields.take("nodes") {
            None => return Ok(Vec::new()),
            Some(one @ (Value::String(_) | Value::Object(_))) => vec![one],
            Some(Value::Array(list)) if list.len() <= TABLES_MAX => list,
            Some(_) => return Err(fields.wrong("nodes", NODE_TABLES)),
        };
        let read = |value: Value| {
            let (name, key) = match value {
                Value::String(name) => (name, None),
                value @ Value::Object(_) => {
                    let mut fields = Fields::of(&self.place(), value, EXAMPLE)?;
                    let (name, key) = (fields.text("table")?, fields.text("key")?);
                    let name = name.ok_or_else(|| fields.wrong("nodes", NODE_TABLES))?;
                    fields.end()?;
                    (name, key)
                }
                _ => return Err(fields.wrong("nodes", NODE_TABLES)),
            };
            let table = Table::need(self.conn, self.graph, &name)?;
            let key = match key {
                Some(key) => column_name(&table, self.graph, &key)?,
                None => table
                    .own_key()
                    .ok_or_else(|| GraphError::Key { graph: self.graph.to_owned(), table: table.name.clone() })?,
            };
            Ok(Some(NodeTable { table: table.name, key }))
        };
        listed.into_iter().map(read).collect()
    }

    fn edge(&self, value: Value, spaces: &[Option<NodeTable>]) -> Result<EdgeTable, GraphError> {
        let mut fields = Fields::of(&self.place(), value, EXAMPLE)?;
        let name = fields.text("table")?.ok_or_else(|| fields.wrong("edges", EDGE_TABLES))?;
        let table = Table::need(self.conn, self.graph, &name)?;
        let column = |given: Option<String>| given.map(|name| column_name(&table, self.graph, &name)).transpose();
        let ends = (column(fields.text("from")?)?, column(fields.text("to")?)?);
        let (from, to) = match ends {
            (Some(from), Some(to)) => (from, to),
            (None, None) => match &table.references(self.conn)?.0[..] {
                [from, to] => (from.column.clone(), to.column.clone()),
                _ => return Err(GraphError::Ends { graph: self.graph.to_owned(), table: table.name }),
            },
            _ => return Err(GraphError::Ends { graph: self.graph.to_owned(), table: table.name }),
        };
        let (kind, weight) = (column(fields.text("type")?)?, column(fields.text("weight")?)?);
        let id =
            column(fields.text("id")?)?.or_else(|| table.own_key().or_else(|| table.rowid_name().map(str::to_owned)));
        let label = fields.text("label")?.unwrap_or_else(|| table.name.clone());
        let mut space = |name: &'static str| match fields.text(name)? {
            None if spaces.len() == 1 => Ok(0),
            given => {
                let at = spaces
                    .iter()
                    .flatten()
                    .position(|node| given.as_ref().is_some_and(|given| node.table.eq_ignore_ascii_case(given)));
                at.and_then(|at| u16::try_from(at).ok())
                    .ok_or_else(|| fields.wrong(name, "one of the tables in \"nodes\""))
            }
        };
        let (from_space, to_space) = (space("from_nodes")?, space("to_nodes")?);
        fields.end()?;
        Ok(EdgeTable { table: table.name, from, to, kind, label, weight, id, from_space, to_space })
    }
}

/// Returns a column's name as it was created; the rowid is one too.
fn column_name(table: &Table, graph: &str, name: &str) -> Result<String, GraphError> {
    if table.is_rowid(name) {
        return Ok(name.to_ascii_lowercase());
    }
    Ok(table.need_column(graph, name)?.name.clone())
}

impl Definition {
    /// Writes the declaration in full.
    pub(super) fn to_json(&self) -> Value {
        let nodes: Vec<_> =
            self.spaces.iter().flatten().map(|node| json!({ "table": node.table, "key": node.key })).collect();
        let edges: Vec<_> = self.edges.iter().map(|edge| self.edge_json(edge)).collect();
        let mut out = json!({ "edges": edges });
        if !nodes.is_empty() {
            out["nodes"] = nodes.into();
        }
        if self.is_undirected {
            out["undirected"] = true.into();
        }
        out
    }

    fn edge_json(&self, edge: &EdgeTable) -> Value {
        let mut out = json!({ "table": edge.table, "from": edge.from, "to": edge.to });
        let mut put = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                out[name] = value.as_str().into();
            }
        };
        put("type", &edge.kind);
        put("weight", &edge.weight);
        put("id", &edge.id);
        put("label", &Some(edge.label.clone()).filter(|label| *label != edge.table && edge.kind.is_none()));
        if self.spaces.len() > 1 {
            put("from_nodes", &self.space_name(edge.from_space));
            put("to_nodes", &self.space_name(edge.to_space));
        }
        out
    }

    pub(super) fn space_name(&self, space: u16) -> Option<String> {
        self.spaces.get(usize::from(space)).and_then(Option::as_ref).map(|node| node.table.clone())
    }

    /// Returns how the ids of each kind of node compare, which every column that holds them must agree on.
    pub(super) fn comparisons(&self, conn: &Connection, graph: &str) -> Result<Vec<Comparison>, GraphError> {
        let mut found: Vec<Option<(Comparison, String)>> = vec![None; self.spaces.len()];
        for edge in &self.edges {
            let table = Table::need(conn, graph, &edge.table)?;
            for (column, space) in [(&edge.from, edge.from_space), (&edge.to, edge.to_space)] {
                let comparison = table.comparison(conn, graph, column)?;
                let name = format!("{}.{column}", table.name);
                match &found[usize::from(space)] {
                    None => found[usize::from(space)] = Some((comparison, name)),
                    Some((known, _)) if *known == comparison => {}
                    Some((_, one)) => {
                        return Err(GraphError::Mixed { graph: graph.to_owned(), one: one.clone(), other: name });
                    }
                }
            }
        }
        let mut out = Vec::new();
        for (space, found) in self.spaces.iter().zip(found) {
            out.push(match (found, space) {
                (Some((comparison, _)), _) => comparison,
                // No edge touches it.
                (None, Some(node)) => Table::need(conn, graph, &node.table)?.comparison(conn, graph, &node.key)?,
                (None, None) => {
                    return Err(GraphError::NoReferences { graph: graph.to_owned(), detail: String::new() });
                }
            });
        }
        Ok(out)
    }
}
