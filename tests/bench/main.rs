//! `cargo xtask bench`: what sync costs against plain SQLite, measured in alternation in one run.
//!
//! Every figure is a median over rounds; ratios are taken round by round, because these machines drift. CPU time is the process' own
//! (user and system, all threads), wall time what a clock on the wall says.

mod arms;
mod live;
mod measure;
mod report;

use anyhow::Result;

fn main() -> Result<()> {
    let mut rows = 100_000;
    let mut rounds = 7;
    let mut only = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next();
        match (arg.as_str(), value.as_deref().and_then(|value| value.parse().ok())) {
            ("--rows", Some(value)) => rows = value,
            ("--rounds", Some(value)) => rounds = value,
            ("--only", _) => only = value,
            _ => anyhow::bail!("usage: bench [--rows N] [--rounds N] [--only writes|reads|transfer|live]"),
        }
    }
    let folder = tempfile::tempdir()?;
    println!("{}", report::machine());
    println!("{rows} rows, {rounds} rounds, SQLite {}, WAL, synchronous=NORMAL\n", rusqlite::version());
    let mut lines = Vec::new();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("writes") {
        arms::writes(folder.path(), rows, rounds, &mut lines)?;
    }
    if wanted("reads") {
        arms::reads(folder.path(), rows, rounds, &mut lines)?;
    }
    if wanted("transfer") {
        arms::transfer(folder.path(), rows, rounds, &mut lines)?;
        live::pull(folder.path(), rows, rounds, &mut lines)?;
    }
    if !lines.is_empty() {
        report::print(&lines);
    }
    if wanted("live") {
        println!();
        live::live(folder.path())?;
    }
    Ok(())
}
