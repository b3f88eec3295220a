//! The commands of the shell that are not SQL.

use std::io::{self, Write};

use anyhow::{Result, bail};

use super::{Next, Shell};
use crate::commands::Database;
use crate::render::Mode;

const HELP: &str = "\
.tables [PATTERN]     the tables and views, and which of them are synced
.schema [PATTERN]     the statements that made them
.mode [MODE]          how rows are printed: table, json, csv, line or list
.help                 this text
.quit                 leave (so does Ctrl-D)

SELECT kith_sync('table');     record a table's writes and send them; '*' stands for every table
SELECT kith_unsync('table');   stop that, for good; the rows stay

SELECT kith_text('table', 'column,column');                             index texts, and keep the index
SELECT key, snippet FROM kith_search('table', 'some words', 10);        search them; also kith_fuzzy and kith_hybrid
SELECT kith_graph('name', '{\"edges\":\"table\",\"from\":\"a\",\"to\":\"b\"}');     declare a graph over a table of edges
SELECT * FROM kith_traverse('name', 'start', '{\"depth\":2}');            follow it; SELECT * FROM kith_graphs lists them
";

/// Runs a dot command.
pub fn run(shell: &mut Shell, line: &str) -> Result<Next> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default();
    let argument = words.next();
    if words.next().is_some() {
        bail!("`{command}` takes at most one argument; see .help");
    }
    match command {
        ".quit" | ".exit" | ".q" => return Ok(Next::Quit),
        ".help" => io::stdout().write_all(HELP.as_bytes())?,
        ".mode" => match argument {
            None => writeln!(io::stdout(), "{}", format!("{:?}", shell.mode).to_lowercase())?,
            Some(name) => match Mode::parse(name) {
                Some(mode) => shell.mode = mode,
                None => bail!("`{name}` is not a mode; choose table, json, csv, line or list"),
            },
        },
        ".tables" => {
            // A plain file has none that are.
            let synced = match shell.database {
                Database::Plain { .. } => "",
                _ => {
                    ", EXISTS(SELECT 1 FROM kith__tables t WHERE t.name = s.name COLLATE NOCASE AND state = 'synced') AS synced"
                }
            };
            let condition = condition(argument);
            shell.run_sql(&format!(
                "SELECT name, type{synced} FROM main.sqlite_schema s WHERE {condition} ORDER BY name"
            ))?;
        }
        ".schema" => {
            // Definitions read best as they were written, unless JSON was asked for.
            let mode = shell.mode;
            if mode != Mode::Json {
                shell.mode = Mode::List;
            }
            let outcome = shell.run_sql(&format!(
                "SELECT sql || ';' AS sql FROM main.sqlite_schema s WHERE sql IS NOT NULL AND {} ORDER BY tbl_name, type DESC, name",
                condition(argument).replace("type IN ('table', 'view')", "name NOT LIKE 'kith\\_%' ESCAPE '\\'")
            ));
            shell.mode = mode;
            outcome?;
        }
        _ => bail!("there is no command `{command}`; see .help"),
    }
    Ok(Next::Read)
}

/// Leaves out what belongs to SQLite and KithDB, and what the pattern does not match.
fn condition(pattern: Option<&str>) -> String {
    let own = "type IN ('table', 'view') AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name NOT LIKE 'kith\\_%' ESCAPE '\\'";
    match pattern {
        Some(pattern) => format!("{own} AND tbl_name LIKE '{}'", pattern.replace('\'', "''")),
        None => own.to_owned(),
    }
}
