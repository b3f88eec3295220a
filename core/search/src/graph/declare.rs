//! `kith_graph` and `kith_graph_drop`.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, ffi};
use serde_json::{Value, json};

use super::definition::{Asked, Definition};
use super::error::GraphError;
use super::infer;
use super::library::{CREATE, Graph};
use super::schema::Table;
use crate::Internal;
use crate::function::scalar;
use crate::sql::{lock_to_write, quote};

const DECLARATIONS: &str = "kith__graphs";
const DECLARE: &str = "kith_graph(name) or kith_graph(name, definition)";
const DROP: &str = "kith_graph_drop(name)";

/// Registers the functions that write; neither can be called from a schema.
pub(super) fn register(conn: &Connection, internal: Internal) -> rusqlite::Result<()> {
    let direct = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    for arguments in [1, 2] {
        scalar(conn, "kith_graph", arguments, direct, move |context| {
            let name = name(context, "kith_graph", DECLARE)?;
            let definition = if arguments == 2 { text(context, 1, "kith_graph", DECLARE)? } else { None };
            // SAFETY: the reference lives no longer than this call, and stays on the thread that runs the statement.
            let conn = unsafe { context.get_connection() }?;
            declare(&conn, internal, &name, definition.as_deref())
                .map(|answer| answer.to_string())
                .map_err(GraphError::of_function)
        })?;
    }
    scalar(conn, "kith_graph_drop", 1, direct, move |context| {
        let name = name(context, "kith_graph_drop", DROP)?;
        // SAFETY: as above.
        let conn = unsafe { context.get_connection() }?;
        drop_graph(&conn, internal, &name).map_err(GraphError::of_function)
    })
}

fn text(
    context: &Context<'_>,
    argument: usize,
    function: &'static str,
    usage: &'static str,
) -> rusqlite::Result<Option<String>> {
    match context.get_raw(argument) {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        _ => Err(GraphError::Arguments { function, usage }.of_function()),
    }
}

fn name(context: &Context<'_>, function: &'static str, usage: &'static str) -> rusqlite::Result<String> {
    let name = text(context, 0, function, usage)?.filter(|name| !name.is_empty());
    name.ok_or_else(|| GraphError::Arguments { function, usage }.of_function())
}

/// Declares a graph, in place of one of that name, and tells what it is made of.
fn declare(conn: &Connection, internal: Internal, name: &str, text: Option<&str>) -> Result<Value, GraphError> {
    if !conn.is_autocommit() {
        let _quiet = internal(conn);
        lock_to_write(conn, DECLARATIONS, CREATE)?;
    }
    let (definition, skipped) = match super::definition::read(conn, name, text)? {
        Asked::Declared(definition) => (definition, Vec::new()),
        Asked::Inferred { tables, is_undirected } => infer::infer(conn, name, tables, is_undirected)?,
    };
    definition.comparisons(conn, name)?;
    let declaration = definition.to_json();
    let mut answer = json!({ "graph": name });
    for (part, value) in declaration.as_object().into_iter().flatten() {
        answer[part] = value.clone();
    }
    if !skipped.is_empty() {
        answer["skipped"] = skipped.into();
    }
    let missing = missing_indexes(conn, name, &definition)?;
    if !missing.is_empty() {
        answer["missing_indexes"] = missing.into();
    }
    let _quiet = internal(conn);
    conn.execute_batch(CREATE)?;
    conn.execute(
        "INSERT INTO main.kith__graphs VALUES(?1, ?2)
         ON CONFLICT(name) DO UPDATE SET name = excluded.name, definition = excluded.definition",
        [name, &declaration.to_string()],
    )?;
    Ok(answer)
}

fn drop_graph(conn: &Connection, internal: Internal, name: &str) -> Result<String, GraphError> {
    let _quiet = internal(conn);
    if !conn.is_autocommit() {
        lock_to_write(conn, DECLARATIONS, CREATE)?;
    }
    let is_kept: bool = conn.query_row(
        "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'kith__graphs')",
        [],
        |row| row.get(0),
    )?;
    let dropped = if is_kept {
        conn.query_row("DELETE FROM main.kith__graphs WHERE name = ?1 RETURNING name", [name], |row| row.get(0))
            .optional()?
    } else {
        None
    };
    dropped.ok_or_else(|| GraphError::Unknown { name: name.to_owned() })
}

/// Returns the statements that make the indexes which questions would be quicker with.
pub(super) fn missing_indexes(
    conn: &Connection,
    graph: &str,
    definition: &Definition,
) -> Result<Vec<String>, GraphError> {
    let mut out = Vec::new();
    for edge in &definition.edges {
        let table = Table::need(conn, graph, &edge.table)?;
        for (near, far) in [(&edge.from, &edge.to), (&edge.to, &edge.from)] {
            if table.has_index(conn, near)? {
                continue;
            }
            let name = format!("{}_by_{near}", edge.table);
            // With the other columns in it the index alone answers, without the table's row.
            let others = [Some(far), edge.kind.as_ref()].into_iter().flatten();
            let columns: Vec<String> = std::iter::once(near)
                .chain(others.filter(|other| *other != near && !table.is_rowid(other)))
                .map(|column| quote(column))
                .collect();
            let sql = format!("CREATE INDEX {} ON {}({})", quote(&name), quote(&edge.table), columns.join(", "));
            if !out.contains(&sql) {
                out.push(sql);
            }
        }
    }
    Ok(out)
}

/// Reads every graph for [`super::list`]: its name, its declaration, and what would make it quicker or is wrong with it.
pub(super) fn list(conn: &Connection, internal: Internal) -> rusqlite::Result<Vec<[Option<String>; 4]>> {
    let is_kept: bool = {
        let _quiet = internal(conn);
        conn.query_row(
            "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'kith__graphs')",
            [],
            |row| row.get(0),
        )?
    };
    if !is_kept {
        return Ok(Vec::new());
    }
    let kept: Vec<(String, String)> = {
        let _quiet = internal(conn);
        let mut statement = conn.prepare("SELECT name, definition FROM main.kith__graphs ORDER BY name")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut out = Vec::new();
    for (name, text) in kept {
        let missing = Graph::read(conn, &name, &text).and_then(|graph| missing_indexes(conn, &name, &graph.definition));
        let (missing, problem) = match missing {
            Ok(missing) => (Some(missing.join("; ")).filter(|sql| !sql.is_empty()), None),
            // Of one graph only: a view may name a table that is gone.
            Err(GraphError::Sqlite(error))
                if error.sqlite_error().is_none_or(|error| error.extended_code != ffi::SQLITE_ERROR) =>
            {
                return Err(error);
            }
            Err(error) => (None, Some(error.to_string())),
        };
        out.push([Some(name), Some(text), missing, problem]);
    }
    Ok(out)
}
