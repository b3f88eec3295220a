//! Time: the wall's and the processor's.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// How long something took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    /// By the clock on the wall, in seconds.
    pub wall_s: f64,
    /// Of processor time, in seconds.
    pub cpu_s: f64,
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Runs something and says how long it took.
pub fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(Took, T)> {
    let (wall_before, cpu_before) = (Instant::now(), cpu());
    let out = run()?;
    Ok((Took { wall_s: wall_before.elapsed().as_secs_f64(), cpu_s: (cpu() - cpu_before).as_secs_f64() }, out))
}

/// Returns the middle of the values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
