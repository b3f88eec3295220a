//! `cargo xtask bench graph`: traversals of WordNet against the recursive query that a user would write, on one connection, in
//! alternation; every answer is compared before it is timed.

// The measuring is that of `cargo xtask bench`, and the database what `kith demo` makes. It is an example and no part of that bench, since
// what is measured is in this crate and a bench of all crates takes minutes to build.
#[path = "../../../../tests/bench/measure.rs"]
mod measure;
#[path = "../../../../tests/bench/report.rs"]
mod report;
#[allow(dead_code, reason = "the import of WordNet tells of its progress, which nobody looks at here")]
#[path = "../../../../daemon/src/demo/wordnet.rs"]
mod wordnet;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rusqlite::{Connection, Statement};

use crate::measure::{Took, timed};
use crate::report::Line;
use crate::wordnet::{Source, import};

/// How many synsets are started from in each round, spread evenly over all.
const STARTS: usize = 2_000;

/// The depths, whether something is committed before each question, and the project's bars where there are any.
const WORKS: [(&str, u32, bool, f64); 4] = [
    ("1 hop from each of 2,000 synsets of WordNet", 1, false, 0.0),
    ("2 hops from each", 2, false, 0.0),
    ("3 hops from each", 3, false, 1.0),
    ("3 hops, each after a commit, so that no edges are kept", 3, true, 1.0),
];

const PLAIN: &str = "
    WITH RECURSIVE walk(node, depth) AS (
      VALUES(?1, 0) UNION
      SELECT relations.target, walk.depth + 1 FROM walk JOIN relations ON relations.source = walk.node WHERE walk.depth < ?2
    ) SELECT node, min(depth) FROM walk WHERE node <> ?1 GROUP BY node";
const OURS: &str = "SELECT node, depth FROM kith_traverse('wordnet', ?1) WHERE depth <= ?2";

fn main() -> Result<()> {
    let (mut dictionary, mut rounds) = (None, 7);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--wordnet", Some(folder)) => dictionary = Some(PathBuf::from(folder)),
            ("--rounds", Some(count)) => rounds = count.parse()?,
            _ => anyhow::bail!("usage: graph_bench [--wordnet DIR] [--rounds N]"),
        }
    }
    println!("{}", report::machine());
    let folder = tempfile::tempdir()?;
    let mut lines = Vec::new();
    traversals(folder.path(), dictionary, rounds, &mut lines)?;
    report::print(&lines);
    Ok(())
}

/// Does the work in both ways, in turn, which one goes first changing from round to round; the first round is not counted.
fn pairs(rounds: usize, mut work: impl FnMut(bool) -> Result<Took>) -> Result<Vec<(Took, Took)>> {
    let mut out = Vec::new();
    for round in 0..=rounds {
        let ours_first = round % 2 == 1;
        let (first, second) = (work(ours_first)?, work(!ours_first)?);
        if round > 0 {
            out.push(if ours_first { (second, first) } else { (first, second) });
        }
    }
    Ok(out)
}

/// Measures 1, 2 and 3 hops; `dictionary` is the folder of WordNet, or none for the extract.
fn traversals(folder: &Path, dictionary: Option<PathBuf>, rounds: usize, lines: &mut Vec<Line>) -> Result<()> {
    let conn = Connection::open(folder.join("wordnet.db"))?;
    kithdb_search::register(&conn, |_| None)?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    let source = dictionary.map_or(Source::Extract, Source::Folder);
    let summary = import(&conn, &source, &mut |_| {})?;
    let declaration = r#"{"nodes":"synsets","edges":"relations","from":"source","to":"target","type":"kind"}"#;
    conn.query_row("SELECT kith_graph('wordnet', ?1)", [declaration], |_| Ok(()))?;
    let starts: Vec<String> = conn
        .prepare("SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM synsets) WHERE n % max(1, ?1 / ?2) = 0 LIMIT ?2")?
        .query_map([i64::try_from(summary.synsets)?, i64::try_from(STARTS)?], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    println!("WordNet: {} synsets, {} relations, {} starts\n", summary.synsets, summary.relations, starts.len());
    conn.execute_batch("CREATE TABLE commits(n INTEGER); INSERT INTO commits VALUES(0)")?;
    let (mut plain, mut ours) = (conn.prepare(PLAIN)?, conn.prepare(OURS)?);
    let mut commit = conn.prepare("UPDATE commits SET n = n + 1")?;
    for (work, depth, commits, at_most) in WORKS {
        let mut found = 0;
        for start in &starts {
            let (mut one, mut other) = (reached(&mut plain, start, depth)?, reached(&mut ours, start, depth)?);
            one.sort();
            other.sort();
            ensure!(one == other, "from {start}, {depth} hops: the recursive query and the traversal differ");
            found += one.len();
        }
        println!("{work}: {found} nodes");
        let pairs = pairs(rounds, |is_ours| {
            let statement = if is_ours { &mut ours } else { &mut plain };
            let (took, count) = timed(|| {
                let mut count = 0;
                for start in &starts {
                    if commits {
                        commit.execute([])?;
                    }
                    let mut rows = statement.query((start, depth))?;
                    while let Some(row) = rows.next()? {
                        count += usize::from(row.get_ref(0)?.as_str().is_ok() && row.get_ref(1)?.as_i64()? > 0);
                    }
                }
                Ok(count)
            })?;
            ensure!(count == found, "{count} rows in place of {found}");
            Ok(took)
        })?;
        lines.push(Line { work, at_most, pairs });
    }
    Ok(())
}

fn reached(statement: &mut Statement<'_>, start: &str, depth: u32) -> Result<Vec<(String, u32)>> {
    Ok(statement.query_map((start, depth), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?)
}
