//! Which edges and nodes a question takes: kinds of edges, and conditions on columns.
//!
//! Invariant: names of columns are checked against the schema and quoted; values are only ever bound.

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::{Map, Value as Json};

use super::definition::EdgeTable;
use super::error::GraphError;
use super::fields::Fields;
use super::library::Graph;
use super::schema::Table;
use crate::sql::quote;

/// Which way edges are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Out,
    In,
    Both,
}

/// What every question may narrow a graph down by.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    kinds: Option<Vec<Value>>,
    edge_where: Map<String, Json>,
    node_where: Map<String, Json>,
}

/// A condition in SQL, and what is to be bound in it from the given parameter on.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

const TYPES: &str = "a text or number, or an array of these";
const CONDITION: &str = "a value, null, an array of values, or operators such as {\">=\":1,\"<\":9}; the operators are =, !=, <, <=, >, >=, in, not_in, like, glob";

impl Direction {
    pub(super) fn read(fields: &mut Fields, graph: &Graph) -> Result<Self, GraphError> {
        let given = fields.text("direction")?;
        // An edge without direction leads both ways, whatever is asked.
        if graph.definition.is_undirected {
            return Ok(Self::Both);
        }
        match given.as_deref() {
            None | Some("out") => Ok(Self::Out),
            Some("in") => Ok(Self::In),
            Some("both") => Ok(Self::Both),
            Some(_) => Err(fields.wrong("direction", "\"out\", \"in\" or \"both\"")),
        }
    }

    /// Returns whether edges are followed backwards, for each way that they are.
    pub(super) const fn ways(self) -> &'static [bool] {
        match self {
            Self::Out => &[false],
            Self::In => &[true],
            Self::Both => &[false, true],
        }
    }
}

impl Filter {
    pub(super) fn read(fields: &mut Fields, graph: &Graph) -> Result<Self, GraphError> {
        let kinds = match fields.take("type") {
            None => None,
            Some(Json::Array(list)) => {
                let kinds: Option<Vec<Value>> = list.iter().map(scalar).collect();
                Some(kinds.ok_or_else(|| fields.wrong("type", TYPES))?)
            }
            Some(one) => Some(vec![scalar(&one).ok_or_else(|| fields.wrong("type", TYPES))?]),
        };
        let edge_where = fields.object("edge_where")?.unwrap_or_default();
        let node_where = fields.object("node_where")?.unwrap_or_default();
        if !node_where.is_empty() && graph.definition.spaces.iter().all(Option::is_none) {
            return Err(GraphError::NoNodes { graph: graph.name.clone() });
        }
        Ok(Self { kinds, edge_where, node_where })
    }

    /// Returns the condition on the rows of an edge table; `None` if no row of it is asked for.
    pub(super) fn of_edge(
        &self,
        conn: &Connection,
        graph: &Graph,
        edge: &EdgeTable,
        first: usize,
    ) -> Result<Option<Condition>, GraphError> {
        let table = Table::need(conn, &graph.name, &edge.table)?;
        let mut condition = Condition::default();
        if let Some(kinds) = &self.kinds {
            match &edge.kind {
                Some(column) => {
                    let column = format!("e.{}", quote(column));
                    condition.any_of(&column, false, kinds, first);
                }
                None if kinds.contains(&Value::Text(edge.label.clone())) => {}
                None => return Ok(None),
            }
        }
        condition.all(graph, &table, "e", &self.edge_where, first)?;
        Ok(Some(condition))
    }

    /// Tells whether the conditions mean the same as long as the rows do: what LIKE and GLOB do is a setting, or the application's.
    pub(super) fn is_steady(&self) -> bool {
        let is_steady = |value: &Json| match value {
            Json::Object(operators) => !operators.keys().any(|operator| operator == "like" || operator == "glob"),
            _ => true,
        };
        self.edge_where.values().chain(self.node_where.values()).all(is_steady)
    }

    pub(super) fn looks_at_nodes(&self) -> bool {
        !self.node_where.is_empty()
    }

    /// Returns the condition on the rows of a node table.
    pub(super) fn of_node(&self, graph: &Graph, table: &Table, first: usize) -> Result<Condition, GraphError> {
        let mut condition = Condition::default();
        condition.all(graph, table, "n", &self.node_where, first)?;
        Ok(condition)
    }
}

impl Condition {
    fn all(
        &mut self,
        graph: &Graph,
        table: &Table,
        alias: &str,
        wanted: &Map<String, Json>,
        first: usize,
    ) -> Result<(), GraphError> {
        for (name, value) in wanted {
            let column = format!("{alias}.{}", quote(&table.need_column(&graph.name, name)?.name));
            let wrong = || GraphError::Option {
                place: format!("graph {}", graph.name),
                name: name.clone(),
                expected: CONDITION.to_owned(),
            };
            match value {
                Json::Object(operators) => {
                    for (operator, value) in operators {
                        self.operator(&column, operator, value, first).ok_or_else(wrong)?;
                    }
                }
                Json::Array(_) => self.operator(&column, "in", value, first).ok_or_else(wrong)?,
                _ => self.operator(&column, "=", value, first).ok_or_else(wrong)?,
            }
        }
        Ok(())
    }

    /// Adds one comparison; `None` if there is none of that kind.
    fn operator(&mut self, column: &str, operator: &str, value: &Json, first: usize) -> Option<()> {
        match (operator, value) {
            ("in" | "not_in", Json::Array(list)) => {
                let values: Vec<Value> = list.iter().map(scalar).collect::<Option<_>>()?;
                self.any_of(column, operator == "not_in", &values, first);
            }
            ("=", Json::Null) => self.sql.push_str(&format!(" AND {column} IS NULL")),
            ("!=", Json::Null) => self.sql.push_str(&format!(" AND {column} IS NOT NULL")),
            ("=" | "!=" | "<" | "<=" | ">" | ">=" | "like" | "glob", value) => {
                let value = scalar(value)?;
                let parameter = self.parameter(value, first);
                self.sql.push_str(&format!(" AND {column} {} {parameter}", operator.to_ascii_uppercase()));
            }
            _ => return None,
        }
        Some(())
    }

    fn any_of(&mut self, column: &str, is_negated: bool, values: &[Value], first: usize) {
        if let ([value], false) = (values, is_negated) {
            // As an equality it can narrow an index down further.
            let parameter = self.parameter(value.clone(), first);
            self.sql.push_str(&format!(" AND {column} = {parameter}"));
            return;
        }
        let list: Vec<String> = values.iter().map(|value| self.parameter(value.clone(), first)).collect();
        let negation = if is_negated { "NOT " } else { "" };
        self.sql.push_str(&format!(" AND {column} {negation}IN ({})", list.join(", ")));
    }

    fn parameter(&mut self, value: Value, first: usize) -> String {
        self.values.push(value);
        format!("?{}", first + self.values.len() - 1)
    }
}

/// Reads a value that can be bound; JSON's true and false are SQLite's 1 and 0.
fn scalar(value: &Json) -> Option<Value> {
    match value {
        Json::Bool(flag) => Some(Value::Integer((*flag).into())),
        Json::Number(number) => number.as_i64().map(Value::Integer).or_else(|| number.as_f64().map(Value::Real)),
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}
