//! Makes a failing program shorter for as long as it fails in the same way.

use std::time::{Duration, Instant};

use crate::program::Program;
use crate::run::{Failure, check};

const SHRINKING_MAX: Duration = Duration::from_secs(5);

/// Returns the shortest program found, and its failure.
pub fn shrink(program: &Program, seed: u64, failure: &Failure) -> (Program, Failure) {
    let started = Instant::now();
    let mut best = (program.clone(), failure.clone());
    let mut chunk = program.steps.len().max(program.setup.len()).max(1);
    loop {
        let before = best.0.clone();
        for part in [Part::Steps, Part::Setup, Part::Synced] {
            // The first table is what the run itself needs.
            let mut at = usize::from(matches!(part, Part::Setup));
            while at < part.len(&best.0) && started.elapsed() < SHRINKING_MAX {
                let mut shorter = best.0.clone();
                part.remove(&mut shorter, at, chunk);
                match check(&shorter, seed) {
                    Err(failed) if failed.law == failure.law => best = (shorter, failed),
                    _ => at += chunk,
                }
            }
        }
        if started.elapsed() >= SHRINKING_MAX || (chunk == 1 && best.0 == before) {
            return best;
        }
        chunk = (chunk / 2).max(1);
    }
}

#[derive(Clone, Copy)]
enum Part {
    Steps,
    Setup,
    Synced,
}

impl Part {
    fn len(self, program: &Program) -> usize {
        match self {
            Self::Steps => program.steps.len(),
            Self::Setup => program.setup.len(),
            Self::Synced => program.synced.len(),
        }
    }

    fn remove(self, program: &mut Program, at: usize, count: usize) {
        let end = (at + count).min(self.len(program));
        match self {
            Self::Steps => drop(program.steps.drain(at..end)),
            Self::Setup => drop(program.setup.drain(at..end)),
            Self::Synced => drop(program.synced.drain(at..end)),
        }
    }
}
