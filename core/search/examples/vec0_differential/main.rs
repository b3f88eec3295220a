//! `vec0` and sqlite-vec's scalar functions against sqlite-vec itself: the same statements on both give equal answers.
//!
//! usage: vec0_differential --extension FILE [--programs N] [--seed N], or --extension FILE --measure ROWS [--rounds N] for the time that
//! questions take on both, where FILE is sqlite-vec's `vec0` library.
//!
//! It is no test of the crate, since it needs the original; `cargo xtask test` fetches that and runs this.

mod answers;
mod measure;
mod moved;
mod random;
mod scalars;
mod sides;
mod statements;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::sides::Pair;

fn main() -> Result<()> {
    let (mut extension, mut programs, mut seed) = (None, 60, 0);
    let (mut measured, mut rounds) = (None, 7);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--extension", Some(file)) => extension = Some(PathBuf::from(file)),
            ("--programs", Some(count)) => programs = count.parse()?,
            ("--seed", Some(first)) => seed = first.parse()?,
            ("--measure", Some(rows)) => measured = Some(rows.parse()?),
            ("--rounds", Some(count)) => rounds = count.parse()?,
            _ => bail!(
                "usage: vec0_differential --extension FILE [--programs N] [--seed N], or --extension FILE --measure ROWS [--rounds N]"
            ),
        }
    }
    let extension = extension.context("--extension is missing")?;
    if let Some(rows) = measured {
        return measure::run(&extension, rows, rounds);
    }
    let mut checks = Checks::default();
    let scalars = scalars::statements();
    let scripts = statements::SAME.iter().map(|script| script.to_vec());
    for script in scripts.chain([scalars.iter().map(String::as_str).collect()]) {
        let pair = Pair::open(&extension)?;
        for sql in script {
            checks.note(pair.same(sql));
        }
    }
    checks.finish("statements of sqlite-vec's documentation and beyond: equal")?;
    for (script, known) in statements::DIFFERENT {
        let pair = Pair::open(&extension)?;
        for sql in script.iter().copied() {
            ensure!(pair.same(sql)?.is_some(), "refused: {sql}");
        }
        for (sql, ours) in known.iter().copied() {
            checks.note(pair.differs(sql, ours));
        }
    }
    checks.finish("statements where ours is meant to differ: as the guide says")?;
    let mut counts = random::Counts::default();
    for number in seed..seed + programs {
        random::run(&extension, number, &mut counts).with_context(|| format!("in the program of seed {number}"))?;
    }
    ensure!(programs < 20 || counts.searches > 1_000, "the random programs hardly search: {counts:?}");
    println!("{programs} random programs: {counts:?}: equal");
    moved::run(&extension)?;
    println!("sqlite-vec after ours, and its files: as the guide says");
    Ok(())
}

/// Statements compared, and what was wrong with some.
#[derive(Default)]
struct Checks {
    compared: usize,
    refused: usize,
    rows: usize,
    wrong: Vec<String>,
}

impl Checks {
    fn note(&mut self, result: Result<Option<usize>>) {
        self.compared += 1;
        match result {
            Ok(Some(rows)) => self.rows += rows,
            Ok(None) => self.refused += 1,
            Err(error) => self.wrong.push(format!("{error:#}")),
        }
    }

    fn finish(&mut self, said: &str) -> Result<()> {
        let Self { compared, refused, rows, wrong } = std::mem::take(self);
        ensure!(wrong.is_empty(), "{} of {compared} statements:\n{}", wrong.len(), wrong.join("\n"));
        println!("{compared} {said} ({rows} rows; {refused} refused)");
        Ok(())
    }
}
