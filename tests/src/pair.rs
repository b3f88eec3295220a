//! Two replicas of one workspace, and carrying entries from one to the other without a network.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kithdb_core::apply::ApplyBudget;
use kithdb_core::entries::Stored;
use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_core::sources::{ClockSource, Entropy};
use kithdb_log::{Role, SealedEntry};

/// Where the clocks of tests begin.
pub const START_UNIX_MS: u64 = 1_800_000_000_000;
const BYTES_PER_LOAD: usize = 4 << 20;

/// Makes a clock that goes on by a millisecond whenever it is asked.
pub fn ticking_clock() -> ClockSource {
    let now = AtomicU64::new(START_UNIX_MS);
    Arc::new(move || now.fetch_add(1, Ordering::Relaxed))
}

/// Makes options with seeded randomness, a clock of their own, and no waiting for locks.
pub fn options(seed: u64) -> OpenOptions {
    OpenOptions { busy_timeout: Duration::ZERO, clock: ticking_clock(), entropy: Entropy::seeded(seed) }
}

/// Founds a workspace in memory, or in a file.
pub fn found(path: Option<&Path>, seed: u64) -> Replica {
    let init = InitOptions { open: options(seed), ..InitOptions::new("writer") };
    let founded = match path {
        Some(path) => Replica::init(path, init),
        None => Replica::open_memory(init),
    };
    founded.unwrap_or_else(|error| panic!("the workspace could not be founded: {error}"))
}

/// Makes an empty replica in memory of the workspace of another.
pub fn join(owner: &mut Replica, seed: u64) -> Replica {
    let ticket = owner.invite(Role::Writer, START_UNIX_MS * 2, Vec::new()).expect("the founder may invite");
    let options = JoinOptions { open: options(seed), ..JoinOptions::new("reader") };
    let pending = Replica::prepare_join_memory(&ticket, options).expect("a ticket opens a join");
    owner.admit(&pending.request().expect("a join has a request"), START_UNIX_MS).expect("the founder may admit");
    let operations: Vec<_> = owner.membership().operations().cloned().collect();
    pending.complete(&operations).expect("an admitted device joins")
}

/// Seals everything that is committed.
pub fn seal_all(replica: &mut Replica) -> Result<(), String> {
    loop {
        let report = replica.seal(SealBudget::default()).map_err(|error| format!("sealing failed: {error}"))?;
        if !report.more {
            return Ok(());
        }
    }
}

/// Reads the entries that `from` has and `to` lacks.
pub fn entries_for(from: &Replica, to: &Replica) -> Result<Vec<SealedEntry>, String> {
    let failed = |error| format!("reading entries failed: {error}");
    let known = to.sync_state().map_err(failed)?.streams;
    let mut out = Vec::new();
    for stream in from.sync_state().map_err(failed)?.streams {
        let mut height = known.iter().find(|state| state.id == stream.id).map(|state| state.height).unwrap_or_default();
        while height < stream.height {
            let entries = from.load_entries(&stream.id, height.next(), BYTES_PER_LOAD).map_err(failed)?;
            let last = entries.last().ok_or("a stream is shorter than it says")?;
            height = last.header.sequence;
            out.extend(entries);
        }
    }
    Ok(out)
}

/// Stores entries and applies all that can be applied; anything refused or left waiting is an error.
pub fn take_in(to: &mut Replica, entries: &[SealedEntry]) -> Result<(), String> {
    let report = to.store_entries(entries).map_err(|error| format!("storing failed: {error}"))?;
    if let Some(bad) = report.outcomes.iter().find(|outcome| !matches!(outcome, Stored::New | Stored::Known)) {
        return Err(format!("an entry was not stored: {bad:?}"));
    }
    loop {
        let report = to.apply_stored(ApplyBudget::default()).map_err(|error| format!("applying failed: {error}"))?;
        if let Some(refused) = report.refused.first() {
            return Err(format!("an entry was refused: {}", refused.reason));
        }
        if !report.more {
            return if report.waiting == 0 { Ok(()) } else { Err(format!("{} entries wait", report.waiting)) };
        }
    }
}

/// Seals on one side and applies on the other.
pub fn deliver(from: &mut Replica, to: &mut Replica) -> Result<(), String> {
    seal_all(from)?;
    let entries = entries_for(from, to)?;
    take_in(to, &entries)
}

/// Says what `kith verify` would complain about.
pub fn verify(replica: &mut Replica) -> Result<(), String> {
    let report = replica.verify(|_, _, _| {}).map_err(|error| format!("verifying failed: {error}"))?;
    if report.is_clean() {
        return Ok(());
    }
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    Err(format!("verify found: {}", problems.join("; ")))
}
