//! A graph from foreign keys.
//!
//! The rule: a table with exactly two foreign keys of one column, to which no foreign key points, is a *link*, if both lead to the
//! same table or no column by itself is its primary key; each of its rows is an edge from the row that the first refers to (in the
//! order of the columns) to the one that the second does. Rows of every other table are nodes, and each of their foreign keys is an
//! edge from the row to the one it refers to, of the type `table.column`.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::definition::{Definition, EdgeTable, NodeTable, TABLES_MAX};
use super::error::GraphError;
use super::schema::{Reference, Table};

/// What was left out, and why.
pub(super) type Skipped = Vec<Value>;

/// Makes edges of the foreign keys of the named tables, or of all.
pub(super) fn infer(
    conn: &Connection,
    graph: &str,
    tables: Option<Vec<String>>,
    is_undirected: bool,
) -> Result<(Definition, Skipped), GraphError> {
    let names = match tables {
        Some(names) => names,
        None => conn
            .prepare_cached(
                "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                 AND name NOT LIKE 'kith\\_%' ESCAPE '\\' ORDER BY name",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?,
    };
    let mut found = Found { conn, graph, spaces: Vec::new(), edges: Vec::new(), skipped: Vec::new() };
    let mut read = Vec::new();
    for name in &names {
        // A virtual table has no foreign keys.
        let Some(table) = Table::read(conn, name)? else { continue };
        let (references, composite) = table.references(conn)?;
        if composite > 0 {
            found.skip(&table, "a foreign key of several columns cannot be an edge, whose ends have one column each");
        }
        read.push((table, references));
    }
    for (table, references) in &read {
        let is_referred_to =
            read.iter().any(|(_, others)| others.iter().any(|other| other.parent.eq_ignore_ascii_case(&table.name)));
        match &references[..] {
            [from, to] if !is_referred_to && is_link(table, from, to) => found.link(table, from, to)?,
            _ => found.rows(table, references)?,
        }
    }
    if found.edges.is_empty() {
        let reasons = found.skipped.iter().filter_map(|skipped| skipped["reason"].as_str());
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        let detail = if reasons.is_empty() { String::new() } else { format!(" ({reasons})") };
        return Err(GraphError::NoReferences { graph: graph.to_owned(), detail });
    }
    if found.edges.len() > TABLES_MAX {
        return Err(GraphError::TooMany { graph: graph.to_owned(), what: "foreign keys", at_most: TABLES_MAX });
    }
    let spaces = found.spaces.into_iter().map(Some).collect();
    Ok((Definition { is_undirected, spaces, edges: found.edges }, found.skipped))
}

fn is_link(table: &Table, from: &Reference, to: &Reference) -> bool {
    from.parent.eq_ignore_ascii_case(&to.parent) || table.key().len() != 1
}

struct Found<'a> {
    conn: &'a Connection,
    graph: &'a str,
    spaces: Vec<NodeTable>,
    edges: Vec<EdgeTable>,
    skipped: Skipped,
}

impl Found<'_> {
    fn skip(&mut self, table: &Table, reason: &str) {
        self.skipped.push(json!({ "table": table.name, "reason": format!("{}: {reason}", table.name) }));
    }

    /// Returns the number of the nodes that a foreign key leads to, if they can be told by it.
    fn parent(&mut self, table: &Table, reference: &Reference) -> Result<Option<u16>, GraphError> {
        let Some(parent) = Table::read(self.conn, &reference.parent)? else {
            self.skip(
                table,
                &format!("{} refers to the table {}, which is not there", reference.column, reference.parent),
            );
            return Ok(None);
        };
        let Some(key) = parent.own_key() else {
            self.skip(
                table,
                &format!("{} refers to {}, which has no primary key of one column", reference.column, parent.name),
            );
            return Ok(None);
        };
        if reference.parent_column.as_ref().is_some_and(|column| !column.eq_ignore_ascii_case(&key)) {
            self.skip(
                table,
                &format!("{} refers to another column of {} than its primary key", reference.column, parent.name),
            );
            return Ok(None);
        }
        let compares = parent.comparison(self.conn, self.graph, &key);
        if compares? != table.comparison(self.conn, self.graph, &reference.column)? {
            self.skip(table, &format!("{} and {}.{key} differ in type or collation", reference.column, parent.name));
            return Ok(None);
        }
        Ok(Some(self.space(parent.name, key)))
    }

    fn space(&mut self, table: String, key: String) -> u16 {
        let known = self.spaces.iter().position(|node| node.table == table);
        let at = known.unwrap_or_else(|| {
            self.spaces.push(NodeTable { table, key });
            self.spaces.len() - 1
        });
        // `TABLES_MAX` is looked at in the end; there are as many spaces as edges and one, at most.
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn link(&mut self, table: &Table, from: &Reference, to: &Reference) -> Result<(), GraphError> {
        let ends = (self.parent(table, from)?, self.parent(table, to)?);
        let (Some(from_space), Some(to_space)) = ends else { return Ok(()) };
        self.edges.push(EdgeTable {
            table: table.name.clone(),
            from: from.column.clone(),
            to: to.column.clone(),
            kind: None,
            label: table.name.clone(),
            weight: None,
            id: table.own_key().or_else(|| table.rowid_name().map(str::to_owned)),
            from_space,
            to_space,
        });
        Ok(())
    }

    fn rows(&mut self, table: &Table, references: &[Reference]) -> Result<(), GraphError> {
        if references.is_empty() {
            return Ok(());
        }
        let Some(key) = table.own_key() else {
            self.skip(table, "it has no primary key of one column, so its rows cannot be nodes");
            return Ok(());
        };
        for reference in references {
            let Some(to_space) = self.parent(table, reference)? else { continue };
            let from_space = self.space(table.name.clone(), key.clone());
            self.edges.push(EdgeTable {
                table: table.name.clone(),
                from: key.clone(),
                to: reference.column.clone(),
                kind: None,
                label: format!("{}.{}", table.name, reference.column),
                weight: None,
                id: Some(key.clone()),
                from_space,
                to_space,
            });
        }
        Ok(())
    }
}
