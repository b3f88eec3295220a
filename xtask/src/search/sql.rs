//! What search costs through SQL: each question, opening the database, a million rows.

use std::process::Command;

use anyhow::{Context, Result};

use super::arm::{Arm, Figures, figures};
use super::{ALL, Bench, RECALLS, Set, figure};
use crate::measured::Measured;
use crate::shell;

impl Bench {
    /// Makes the set's database; returns what building the index took. It is always made anew, so that what is measured is the
    /// program of now.
    fn fill(&self, set: &Set, threads: &str) -> Result<Figures> {
        println!("{set}: filling a database");
        let mut fill = Command::new(&self.binary);
        figures(&shell::output(fill.arg("fill").arg("--set").arg(&set.folder).args(["--threads", threads]))?)
    }

    /// Questions in SQL against the library's call for the same saved index.
    pub(super) fn sql(&self, set: &Set, table: &mut Vec<String>) -> Result<()> {
        self.fill(set, "1")?;
        let mut arm = self.ours(set, &["sql", "--library"])?;
        let ef = self.smallest_ef(&mut arm, set, ALL, RECALLS[0])?.context("the recall was not reached")?;
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let round = arm.measure(ef.ef, ALL, usize::MAX)?;
            pairs.push((figure(&round, "library_us"), figure(&round, "query_us")));
        }
        let measured = Measured::of_pairs(&pairs);
        let line = format!(
            "| {set} | through SQL, {ef}, against the library's call: {} us | {:.0} | {:.0} | {} | | +20 us |",
            measured.excess(),
            measured.base(),
            measured.ours(),
            measured.ratio()
        );
        println!("{line}");
        table.push(line);
        Ok(())
    }

    /// Opening a database whose last process was killed.
    pub(super) fn killed(&self, set: &Set) -> Result<String> {
        let (mut walls, mut cpus) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            println!("{set}: killing a process and opening its database");
            let measured = shell::output(Command::new(&self.binary).arg("crash").arg("--set").arg(&set.folder))?;
            let measured = figures(&measured)?;
            walls.push(figure(&measured, "open_s"));
            cpus.push(figure(&measured, "open_cpu_s"));
        }
        Ok(format!(
            "{set}: opened after SIGKILL, 1,000 rows not in the saved index, to the first answer: {} s on the wall, {} s of CPU (at \
             most 1 s); each of the 1,000 was found",
            spread(&walls),
            spread(&cpus)
        ))
    }

    /// A million rows: questions, memory, opening.
    pub(super) fn million(&self, set: &Set, notes: &mut Vec<String>) -> Result<()> {
        let filled = self.fill(set, "2")?;
        let (mut walls, mut cpus) = (Vec::new(), Vec::new());
        let mut arm = None;
        for _ in 0..self.rounds {
            let opened = self.ours(set, &["sql"])?;
            walls.push(figure(&opened.built, "open_s"));
            cpus.push(figure(&opened.built, "open_cpu_s"));
            arm = Some(opened);
        }
        let mut arm: Arm = arm.context("there is a round")?;
        notes.push(format!(
            "{set}: graph built in {:.0} s of CPU, tuning and saving included; opened after a clean close, to the first answer: {} s on \
             the wall, {} s of CPU (at most 1 s)",
            figure(&filled, "build_s"),
            spread(&walls),
            spread(&cpus)
        ));
        for wanted in RECALLS {
            let Some(ef) = self.smallest_ef(&mut arm, set, ALL, wanted)? else {
                notes.push(format!("{set}: recall {wanted} was not reached"));
                continue;
            };
            let [mut means, mut middles, mut walls, mut cpus] = [const { Vec::new() }; 4];
            let mut round = Figures::new();
            for _ in 0..self.rounds {
                round = arm.measure(ef.ef, ALL, usize::MAX)?;
                means.push(figure(&round, "query_us"));
                middles.push(figure(&round, "p50_us") / 1e3);
                walls.push(figure(&round, "p99_us") / 1e3);
                cpus.push(figure(&round, "p99_cpu_us") / 1e3);
            }
            let codes_mb = 1e6 * (384.0 + 8.0) / 1e6;
            let own_mb = figure(&round, "own_mb");
            notes.push(format!(
                "{set}: recall {wanted} through SQL, {ef}: {} us of CPU a question, the 99th of 100 {} ms; on the wall the median is {} ms, the \
                 99th of 100 {} ms (at most 10 ms); memory {:.2} GiB without the mapped floats: {own_mb:.0} MB of the process's own and {codes_mb:.0} MB of mapped \
                 codes (at most 0.8 GiB)",
                spread(&means),
                spread(&cpus),
                spread(&middles),
                spread(&walls),
                (own_mb + codes_mb) * 1e6 / f64::from(1 << 30)
            ));
        }
        Ok(())
    }
}

/// Writes the middle of the values with the least and the greatest.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let show = |value: Option<&f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    format!("{} ({}..{})", show(sorted.get(sorted.len() / 2)), show(sorted.first()), show(sorted.last()))
}
