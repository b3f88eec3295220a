//! Crashes: kill -9, power cuts, a COMMIT that is BUSY after the flush, a full disk and I/O errors.
//!
//! Laws:
//! 1. Every acknowledged commit is there after a kill, and after a power cut as far as `synchronous` promises it.
//! 2. No transaction is half there, and `kith verify` is clean.
//! 3. What was published is still there, byte for byte, and no sequence number is ever used twice.
//! 4. A peer that was given entries before the crash ends equal to the file.
//! 5. A failing disk gives an error; the process lives, and goes on when the cause is gone.

mod busy;
mod faults;
mod kill;
mod law;
mod power;
mod vfs;

use std::time::Instant;

use kithdb_tests::random::{number_from_env, seed_from_env};

const KILLS: u64 = 200;
const CUTS_PER_MODE: u64 = 120;
const BUSY_TRANSACTIONS: u64 = 300;
const THREADS: u64 = 2;

/// Runs parts of a test side by side; each has a seed of its own. The first failure is shown with how to run it again.
fn run_parts<T: Send>(name: &str, parts: u64, part: impl Fn(u64, u64) -> Result<T, String> + Sync) -> Vec<T> {
    let seed = seed_from_env("KITH_CRASH_SEED");
    let only = number_from_env("KITH_CRASH_PART");
    println!("{name}: KITH_CRASH_SEED={seed}");
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..parts)
            .filter(|index| only.is_none_or(|only| only == *index))
            .map(|index| {
                (
                    index,
                    scope.spawn({
                        let part = &part;
                        move || part(index, seed.wrapping_add(index))
                    }),
                )
            })
            .collect();
        let ended = started.into_iter().map(|(index, handle)| {
            let outcome = handle.join().unwrap_or_else(|_| Err("panicked, see above".to_owned()));
            outcome.unwrap_or_else(|error| {
                panic!("{error}\nreplay with: KITH_CRASH_SEED={seed} KITH_CRASH_PART={index} cargo test -p kithdb-tests --test crash {name}")
            })
        });
        ended.collect()
    })
}

#[test]
fn killed_writers_lose_nothing() {
    let started = Instant::now();
    let kills = number_from_env("KITH_CRASH_KILLS").unwrap_or(KILLS);
    let tallies = run_parts("killed_writers_lose_nothing", THREADS, |_, seed| kill::run(seed, kills.div_ceil(THREADS)));
    let sum = |count: fn(&kill::Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    println!(
        "{} kills: {} commits acknowledged, {} more on disk, {} entries published, {:.1} s",
        sum(|tally| tally.kills),
        sum(|tally| tally.commits),
        sum(|tally| tally.unacknowledged),
        sum(|tally| tally.published),
        started.elapsed().as_secs_f64()
    );
}

#[test]
fn power_cuts_lose_only_what_synchronous_allows() {
    let started = Instant::now();
    let cuts = number_from_env("KITH_CRASH_CUTS").unwrap_or(CUTS_PER_MODE);
    let tallies =
        run_parts("power_cuts_lose_only_what_synchronous_allows", power::MODES.len() as u64, |index, seed| {
            power::run(power::MODES[index as usize], seed, cuts)
        });
    for (mode, tally) in power::MODES.iter().zip(&tallies) {
        println!("{mode:?}: {tally:?}");
    }
    println!(
        "{} power cuts, {:.1} s",
        tallies.iter().map(|tally| tally.cuts).sum::<u64>(),
        started.elapsed().as_secs_f64()
    );
}

#[test]
fn busy_commit_may_be_retried_undone_or_abandoned() {
    let started = Instant::now();
    let tallies = run_parts("busy_commit_may_be_retried_undone_or_abandoned", THREADS, |_, seed| {
        busy::run(seed, BUSY_TRANSACTIONS / THREADS)
    });
    let busy: u64 = tallies.iter().map(|tally| tally.busy).sum();
    let transactions: u64 = tallies.iter().map(|tally| tally.transactions).sum();
    println!("{transactions} transactions met {busy} BUSY commits, {:.1} s", started.elapsed().as_secs_f64());
    assert!(busy > 0, "no COMMIT met a reader");
}

#[test]
fn failing_disk_gives_errors_and_loses_nothing() {
    let started = Instant::now();
    let kinds = [("WAL", false), ("WAL", true), ("DELETE", false), ("DELETE", true)];
    let tallies = run_parts("failing_disk_gives_errors_and_loses_nothing", kinds.len() as u64, |index, seed| {
        let (journal, stays) = kinds[index as usize];
        faults::run(journal, stays, seed)
    });
    let (faults, errors) = tallies.iter().fold((0, 0), |sum, tally| (sum.0 + tally.faults, sum.1 + tally.errors));
    println!("{faults} faults gave {errors} errors, {:.1} s", started.elapsed().as_secs_f64());
    assert!(errors > 0, "nothing failed");
}
