//! The table of results.

use crate::measure::{Took, median};

/// One line of the table: the same work done both ways, round by round.
pub struct Line {
    /// What was done.
    pub work: &'static str,
    /// The bar of the project, as a ratio.
    pub at_most: f64,
    /// Plain SQLite and KithDB, in pairs.
    pub pairs: Vec<(Took, Took)>,
}

/// Describes the machine.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores, {}", std::env::consts::OS)
}

/// Prints all lines.
pub fn print(lines: &[Line]) {
    println!("| work | plain, wall ms | KithDB, wall ms | wall ratio (min..max) | cpu ratio (min..max) | at most |");
    println!("|---|---|---|---|---|---|");
    for line in lines {
        let of = |pick: fn(&(Took, Took)) -> f64| line.pairs.iter().map(pick).collect::<Vec<f64>>();
        let wall = of(|(plain, ours)| ours.wall_s / plain.wall_s);
        let cpu = of(|(plain, ours)| ours.cpu_s / plain.cpu_s);
        println!(
            "| {} | {:.1} | {:.1} | {} | {} | {} |",
            line.work,
            median(of(|(plain, _)| plain.wall_s * 1e3)),
            median(of(|(_, ours)| ours.wall_s * 1e3)),
            spread(&wall),
            spread(&cpu),
            if line.at_most > 0.0 { format!("{:.2}x", line.at_most) } else { "-".to_owned() },
        );
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2}x ({least:.2}..{greatest:.2})", median(values.to_vec()))
}
