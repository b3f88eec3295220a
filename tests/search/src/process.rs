//! What this process has taken.

use std::fs;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Returns the processor time of this process, all threads, in seconds.
pub fn cpu_s() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// Returns the processor time of this thread, in seconds.
pub fn thread_cpu_s() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Returns the megabytes of memory that are this process's own: no mapped file is among them.
pub fn own_memory_mb() -> Result<f64> {
    let status =
        fs::read_to_string("/proc/self/status").context("the system does not say what memory this process has")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon in /proc/self/status")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("RssAnon is no number")?;
    Ok(kilobytes * 1024.0 / 1e6)
}
