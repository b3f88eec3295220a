//! One side of a comparison: a process that has built or loaded its index and measures what it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::shell;

/// Numbers by their names, as an arm prints them.
pub type Figures = BTreeMap<String, f64>;

/// A running arm. It ends when it is dropped.
pub struct Arm {
    line: String,
    child: Child,
    /// Taken when the arm is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    answers: PathBuf,
    /// What it said when it was ready: `build_s`, and `memory_mb` if it knows.
    pub built: Figures,
}

impl Arm {
    /// Starts an arm and waits until its index is there.
    pub fn start(mut command: Command, answers: PathBuf) -> Result<Self> {
        let line = shell::line(&command);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("could not start `{line}`"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("a child without output")?);
        let mut arm = Self { line, child, input, output, answers, built: Figures::new() };
        arm.built = arm.read()?;
        Ok(arm)
    }

    /// Asks questions one after another and returns what that took.
    pub fn measure(&mut self, ef: usize, filter: u32, queries: usize) -> Result<Figures> {
        let input = self.input.as_mut().context("the arm has ended")?;
        writeln!(input, "{ef} {filter} {queries} {}", self.answers.display())
            .and_then(|()| input.flush())
            .with_context(|| format!("`{}` does not listen", self.line))?;
        self.read()
    }

    /// Returns the processor time of one question, in microseconds.
    pub fn query_us(&mut self, ef: usize, filter: u32, queries: usize) -> Result<f64> {
        let figures = self.measure(ef, filter, queries)?;
        figures.get("query_us").copied().with_context(|| format!("`{}` printed no time", self.line))
    }

    /// Returns the recall of the last answers.
    pub fn recall(&self, bench: &Path, set: &Path, filter: u32) -> Result<f64> {
        let mut judge = Command::new(bench);
        judge.arg("judge").arg("--set").arg(set).args(["--filter", &filter.to_string()]).arg(&self.answers);
        let printed = shell::output(&mut judge)?;
        figures(&printed)?.get("recall").copied().context("the judge printed no recall")
    }

    fn read(&mut self) -> Result<Figures> {
        let mut line = String::new();
        self.output.read_line(&mut line).with_context(|| format!("could not read from `{}`", self.line))?;
        ensure!(!line.is_empty(), "`{}` ended", self.line);
        figures(&line).with_context(|| format!("`{}` printed {line:?}", self.line))
    }
}

impl Drop for Arm {
    fn drop(&mut self) {
        // It ends with its input; how it ended changes nothing that was measured.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Reads what an arm printed.
pub fn figures(line: &str) -> Result<Figures> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (pairs, rest) = words.as_chunks::<2>();
    ensure!(rest.is_empty(), "not pairs of a name and a number");
    pairs.iter().map(|[name, number]| Ok(((*name).to_owned(), number.parse()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_pairs_of_a_name_and_a_number() {
        let read = figures("query_us 12.5 p50_us 3\n").expect("two pairs");
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("p50_us".to_owned(), 3.0), ("query_us".to_owned(), 12.5)]);
        assert!(figures("query_us").is_err());
        assert!(figures("query_us fast").is_err());
    }
}
