//! The simulator: several devices, each a real replica with its driver, sessions that are slow, stuck, cut and lying, crashes, wrong clocks,
//! copied and restored files; then calm, and everybody must hold and show the same and be silent.
//!
//! `KITHDB_SEEDS=5000` runs more seeds, `KITHDB_SEED=17` runs one, and with `KITHDB_SAY=1` it tells what happens.
//! Seeds that failed once are in `seeds.txt` and run first every time.

mod check;
mod link;
mod node;
mod run;
mod sql;
mod trouble;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kithdb_tests::random::{self, number_from_env};
use world::Tally;

/// How many seeds a run tries unless told otherwise.
const SEEDS: u64 = 120;
/// How many failures are printed before a run gives up.
const FAILURES_MAX: usize = 5;

fn run(seed: u64) -> Result<(Tally, u64), String> {
    catch_unwind(AssertUnwindSafe(|| run::run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

/// The seeds to run: those that failed once, then new ones.
fn seeds() -> Vec<u64> {
    if let Some(seed) = number_from_env("KITHDB_SEED") {
        return vec![seed];
    }
    let failed_once = include_str!("seeds.txt").lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    match number_from_env("KITHDB_SEEDS") {
        Some(count) => failed_once.chain(1..=count).collect(),
        None => failed_once.chain(random::seeds(SEEDS)).collect(),
    }
}

#[test]
fn nodes_agree_and_fall_silent_whatever_went_wrong_before() {
    let started = Instant::now();
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match run(seed) {
                        Ok((tally, _)) => total.lock().unwrap().add(&tally),
                        Err(error) => {
                            let text = format!(
                                "seed {seed} failed: {error}\nrun it again: KITHDB_SEED={seed} KITHDB_SAY=1 cargo test -p kithdb-tests --test simulation -- --nocapture\n"
                            );
                            println!("{text}");
                            let mut failures = failures.lock().unwrap();
                            failures.push(text);
                            if failures.len() >= FAILURES_MAX {
                                next.store(seeds.len(), Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let total = total.into_inner().unwrap();
    println!("simulation: {} seeds in {:.1} s on {threads} threads", seeds.len(), started.elapsed().as_secs_f64());
    println!("{total:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in 1..=3 {
        assert_eq!(run(seed).map(|(_, trace)| trace), run(seed).map(|(_, trace)| trace), "seed {seed}");
    }
}
