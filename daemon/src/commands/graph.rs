//! `kith graph`: questions about graphs over the tables of a file, which need not belong to a workspace.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, ensure};
use kithdb_core::file::shell_word;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use serde_json::{Map, Value as Json, json};

use super::database::{Database, said};
use crate::cli::graph::{Graph, Narrow, Question, Walk};
use crate::render::{Mode, Rows, visible};
use crate::report::Output;

/// Answers a question, or lists the graphs.
pub fn run(arguments: &Graph, output: Output) -> Result<ExitCode> {
    let database = Database::open(&arguments.file)?;
    let conn = database.conn();
    let file = shell_word(&arguments.file);
    match &arguments.question {
        None if !output.json
            && !conn.query_row("SELECT EXISTS(SELECT 1 FROM kith_graphs)", [], |row| row.get(0))? =>
        {
            output.line(format_args!("no graph is declared; declare one with `kith graph {file} declare NAME`"))?;
        }
        None => {
            let sql = if output.json {
                "SELECT name, definition, missing_indexes, problem FROM kith_graphs"
            } else {
                "SELECT name, definition, ifnull(missing_indexes, '') AS missing_indexes, ifnull(problem, '') AS problem FROM kith_graphs"
            };
            print(conn, sql, &[], "", output)?;
        }
        Some(Question::Declare { graph, definition }) => {
            let answer: String =
                conn.query_row("SELECT kith_graph(?1, ?2)", (graph, definition), |row| row.get(0)).map_err(said)?;
            output.line(answer)?;
        }
        Some(Question::Drop { graph }) => {
            let name: String = conn.query_row("SELECT kith_graph_drop(?1)", [graph], |row| row.get(0)).map_err(said)?;
            output.say(format_args!("forgot {name}"), json!({ "dropped": name }))?;
        }
        Some(question) => {
            let asked = Asked::of(question)?;
            let known: bool = conn.query_row(
                "SELECT EXISTS(SELECT 1 FROM kith_graphs WHERE name = ?1 COLLATE NOCASE)",
                [asked.graph],
                |row| row.get(0),
            )?;
            ensure!(
                known,
                "there is no graph {} in this file; `kith graph {file}` lists those there are, `kith graph {file} declare {}` makes it from foreign keys",
                asked.graph,
                asked.graph
            );
            print(conn, &asked.sql, &asked.values, &asked.nothing, output)?;
        }
    }
    database.close()?;
    Ok(ExitCode::SUCCESS)
}

/// A question in SQL.
struct Asked<'a> {
    graph: &'a str,
    sql: String,
    values: Vec<Value>,
    /// What to say when nothing is found.
    nothing: String,
}

impl<'a> Asked<'a> {
    fn of(question: &'a Question) -> Result<Self> {
        let (function, columns, graph, ids, depth, walk, narrow): (_, _, _, Vec<&str>, _, Option<&Walk>, &Narrow) =
            match question {
                Question::Traverse { graph, start, depth, walk } => {
                    ("kith_traverse", "node, depth, type, path", graph, vec![start], *depth, Some(walk), &walk.narrow)
                }
                Question::Neighbors { graph, node, walk } => (
                    "kith_neighbors",
                    "node, direction, type, weight, edge",
                    graph,
                    vec![node],
                    None,
                    Some(walk),
                    &walk.narrow,
                ),
                Question::Path { graph, from, to, walk } => (
                    "kith_shortest_path",
                    "step, node, type, cost",
                    graph,
                    vec![from, to],
                    None,
                    Some(walk),
                    &walk.narrow,
                ),
                Question::Components { graph, narrow } => {
                    ("kith_components", "node, component, size", graph, vec![], None, None, narrow)
                }
                Question::Pagerank { graph, narrow } => {
                    ("kith_pagerank", "node, rank", graph, vec![], None, None, narrow)
                }
                Question::Communities { graph, narrow } => {
                    ("kith_communities", "node, community, size", graph, vec![], None, None, narrow)
                }
                Question::Declare { .. } | Question::Drop { .. } => return Err(anyhow!("this is no question")),
            };
        let mut options: Map<String, Json> = match &narrow.options {
            Some(text) => serde_json::from_str(text)
                .context("--options takes a JSON object such as {\"edge_where\":{\"since\":{\">=\":2020}}}")?,
            None => Map::new(),
        };
        if let Some(depth) = depth {
            options.insert("depth".to_owned(), depth.into());
        }
        if let Some(direction) = walk.and_then(|walk| walk.direction) {
            options.insert("direction".to_owned(), direction.name().into());
        }
        if !narrow.types.is_empty() {
            options.insert("type".to_owned(), json!(narrow.types));
        }
        let nothing = nothing(question, &options);
        let mut values = vec![Value::Text(graph.clone())];
        values.extend(ids.iter().map(|id| id_of(id)));
        values.push(Value::Text(Json::Object(options).to_string()));
        let parameters: Vec<String> = (1..=values.len()).map(|number| format!("?{number}")).collect();
        let limit = narrow.limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
        let sql = format!("SELECT {columns} FROM {function}({}){limit}", parameters.join(", "));
        Ok(Self { graph, sql, values, nothing })
    }
}

/// Says that a question has no answer, and how it was narrowed down.
fn nothing(question: &Question, options: &Map<String, Json>) -> String {
    let within = match options.get("depth") {
        Some(Json::Array(pair)) if pair.len() == 2 => format!(" within {} to {} steps", pair[0], pair[1]),
        Some(Json::Number(depth)) => {
            format!(" within {depth} {}", if depth.as_u64() == Some(1) { "step" } else { "steps" })
        }
        _ => String::new(),
    };
    let along = match options.get("type") {
        Some(Json::Array(types)) => {
            let types: Vec<&str> = types.iter().filter_map(Json::as_str).collect();
            format!(" along edges of type {}", types.join(" or "))
        }
        Some(one) => format!(" along edges of type {}", one.as_str().map_or_else(|| one.to_string(), str::to_owned)),
        None => String::new(),
    };
    let way = match options.get("direction").and_then(Json::as_str) {
        Some("in") => ", edges being followed backwards",
        Some("both") => ", edges being followed either way",
        _ => "",
    };
    match question {
        Question::Traverse { start, .. } => format!("no node is reached from {start}{within}{along}{way}"),
        Question::Neighbors { node, .. } => format!("{node} has no neighbours{along}{way}"),
        Question::Path { from, to, .. } => format!("no path from {from} to {to}{within}{along}{way}"),
        _ => format!("the graph has no nodes{along}"),
    }
}

/// What looks like a whole number is one; a column of text makes it text again.
fn id_of(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::Integer(number),
        _ => Value::Text(text.to_owned()),
    }
}

/// Prints the rows of a query; to a person a sentence, if there are none.
fn print(conn: &Connection, sql: &str, values: &[Value], nothing: &str, output: Output) -> Result<()> {
    let mut statement = conn.prepare(sql).map_err(said)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let count = columns.len();
    let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(said)?;
    let mut row = rows.next().map_err(said)?;
    if row.is_none() && !output.json {
        return Ok(output.line(visible(nothing))?);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut printer = Rows::new(&mut out, if output.json { Mode::Json } else { Mode::Table }, columns);
    while let Some(found) = row {
        let values = (0..count).map(|at| found.get_ref(at)).collect::<rusqlite::Result<Vec<ValueRef<'_>>>>()?;
        printer.row(&values)?;
        row = rows.next().map_err(said)?;
    }
    printer.end()?;
    Ok(out.flush()?)
}
