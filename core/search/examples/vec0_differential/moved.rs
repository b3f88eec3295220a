//! sqlite-vec loaded after ours, and the way from its files to ours.

use std::path::Path;

use anyhow::{Result, ensure};
use rusqlite::Connection;

use crate::sides::{load, register};

fn texts(conn: &Connection, sql: &str) -> Result<Vec<String>> {
    Ok(conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Checks both.
pub fn run(extension: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.db");
    let search = "SELECT format('%s %s %.3f', rowid, t, distance) FROM x WHERE e MATCH '[1,1]' AND k = 2";
    let made = "CREATE VIRTUAL TABLE x USING vec0(e float[2], i int8[2], t text, +body text)";

    // Both on one connection: sqlite-vec takes the names over, and makes and reads its own tables.
    let both = Connection::open(&file)?;
    register(&both)?;
    load(&both, extension)?;
    both.execute_batch(made)?;
    both.execute_batch("INSERT INTO x(e, i, t, body) VALUES('[1,2]', vec_int8('[1,2]'), 'a', 'text'), ('[1,1]', vec_int8('[3,4]'), 'b', NULL)")?;
    let expected = texts(&both, search)?;
    ensure!(expected == ["2 b 0.000", "1 a 1.000"], "{expected:?}");
    ensure!(texts(&both, "SELECT name FROM sqlite_schema WHERE name = 'x_chunks'")?.len() == 1, "made by ours");
    both.query_row("SELECT vec_debug() LIKE '%Commit:%'", [], |row| row.get::<_, bool>(0))?;
    drop(both);

    // Its file without it: refused with the way to move over, which is then gone.
    let ours = Connection::open(&file)?;
    register(&ours)?;
    let refused = texts(&ours, search).err().map(|error| error.to_string()).unwrap_or_default();
    let (_, way) = refused.split_once("run ").unwrap_or_default();
    let (first, then) = way.split_once(" then, ").unwrap_or_default();
    let (_, last) = then.split_once("and run ").unwrap_or_default();
    ensure!(!first.is_empty() && !last.is_empty(), "no way to move over: {refused}");
    drop(ours);
    let theirs = Connection::open(&file)?;
    load(&theirs, extension)?;
    theirs.execute_batch(first)?;
    drop(theirs);
    let ours = Connection::open(&file)?;
    register(&ours)?;
    ours.execute_batch(made)?;
    ours.execute_batch(last)?;
    ensure!(texts(&ours, search)? == expected, "the rows did not come over");
    let int8 = texts(&ours, "SELECT vec_to_json(i) FROM x WHERE i MATCH vec_int8('[3,4]') AND k = 1")?;
    ensure!(int8 == ["[3,4]"], "{int8:?}");

    // And loaded after ours was used, ours go on where they are connected already.
    load(&ours, extension)?;
    ensure!(texts(&ours, search)? == expected, "ours are gone once sqlite-vec is loaded");
    Ok(())
}
