//! Two things measured in alternation, since machines drift: ratios are taken round by round.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// What each round measured, in any unit.
#[derive(Default)]
pub struct Measured {
    base: Vec<f64>,
    ours: Vec<f64>,
    ratios: Vec<f64>,
    noise: Vec<f64>,
}

/// Measures the one, the other, and the one again, so that each ratio stands beside one of a thing against itself; every other round
/// goes the other way about.
pub fn alternate(
    rounds: usize,
    mut measure_base: impl FnMut() -> Result<f64>,
    mut measure_ours: impl FnMut() -> Result<f64>,
) -> Result<Measured> {
    let mut measured = Measured::default();
    for round in 0..rounds {
        let (base, ours, again) = if round % 2 == 0 {
            (measure_base()?, measure_ours()?, measure_base()?)
        } else {
            let again = measure_base()?;
            let ours = measure_ours()?;
            (measure_base()?, ours, again)
        };
        measured.base.push(base);
        measured.ours.push(ours);
        measured.ratios.push(ours / base);
        measured.noise.push(again / base);
    }
    Ok(measured)
}

impl Measured {
    /// Takes pairs that were measured side by side, with nothing to say how the one differs from itself.
    pub fn of_pairs(pairs: &[(f64, f64)]) -> Self {
        Self {
            base: pairs.iter().map(|pair| pair.0).collect(),
            ours: pairs.iter().map(|pair| pair.1).collect(),
            ratios: pairs.iter().map(|pair| pair.1 / pair.0).collect(),
            noise: Vec::new(),
        }
    }

    /// Writes how much more the other took, in the same unit, with the least and the greatest of the rounds.
    pub fn excess(&self) -> String {
        let excess: Vec<_> = self.base.iter().zip(&self.ours).map(|(base, ours)| ours - base).collect();
        let least = excess.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = excess.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:+.0} ({least:+.0}..{greatest:+.0})", median(excess))
    }

    /// Returns the median of the one.
    pub fn base(&self) -> f64 {
        median(self.base.clone())
    }

    /// Returns the median of the other.
    pub fn ours(&self) -> f64 {
        median(self.ours.clone())
    }

    /// Writes the ratio of the other to the one, with the least and the greatest.
    pub fn ratio(&self) -> String {
        spread(&self.ratios)
    }

    /// Writes the ratio of the one to itself.
    pub fn noise(&self) -> String {
        spread(&self.noise)
    }
}

/// Names the processor, its cores, the system and the date.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = shell::output(Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_default();
    format!("{model}, {cores} cores, {}, {}", std::env::consts::OS, date.trim())
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2}x ({least:.2}..{greatest:.2})", median(values.to_vec()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_compares_what_it_measured_itself() {
        let (mut base, mut ours) = ([10.0, 11.0, 20.0, 22.0].into_iter(), [5.0, 20.0].into_iter());
        let next_base = || Ok(base.next().expect("twice a round"));
        let measured = alternate(2, next_base, || Ok(ours.next().expect("once a round"))).expect("nothing fails");
        // The second round goes the other way about: what it measures last is what it divides by.
        assert_eq!(measured.ratio(), "0.70x (0.50..0.91)");
        assert_eq!(measured.noise(), "1.00x (0.91..1.10)");
        assert!((measured.base() - 16.0).abs() < 1e-9 && (measured.ours() - 12.5).abs() < 1e-9);
    }

    #[test]
    fn pairs_tell_how_much_more_the_other_took() {
        let measured = Measured::of_pairs(&[(10.0, 15.0), (20.0, 18.0), (10.0, 30.0)]);
        assert_eq!(measured.excess(), "+5 (-2..+20)");
        assert_eq!(measured.ratio(), "1.50x (0.90..3.00)");
    }

    #[test]
    fn median_of_an_even_number_lies_between_the_middle_two() {
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!((median(vec![3.0, 9.0, 1.0]) - 3.0).abs() < 1e-9);
    }
}
