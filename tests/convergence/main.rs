//! Convergence: peers that write apart and hear of each other in any order end with the same rows, the same parked lives, and what a
//! naive model says.
//!
//! `KITHDB_SEEDS=20000` runs more seeds, `KITHDB_SEED=17` runs one, and with `KITHDB_SHRINK=1` a failing one is cut down and printed.
//! Seeds that failed once are in `seeds.txt` and run every time.

mod check;
mod model;
mod rng;
mod scenario;
mod shapes;
mod sql;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use check::Tally;
use scenario::Scenario;
use world::{Outcome, World};

/// How many seeds a run tries unless told otherwise.
const SEEDS: u64 = 2_000;
/// How many failures are printed before a run gives up.
const FAILURES_MAX: usize = 5;

fn run(scenario: &Scenario) -> Outcome<Tally> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::open(scenario)?;
        for event in &scenario.events {
            world.step(event).map_err(|error| format!("{event}: {error}"))?;
        }
        world.settle()?;
        check::check(&mut world)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panic".to_owned()))
    })
}

/// Leaves events out as long as the run fails.
fn shrink(scenario: &Scenario) -> Scenario {
    let mut best = scenario.clone();
    let mut size = best.events.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.events.len() {
            let mut fewer = best.clone();
            fewer.events.drain(at..(at + size).min(best.events.len()));
            if run(&fewer).is_err() { best = fewer } else { at += size }
        }
        size /= 2;
    }
    for index in 0..best.events.len() {
        let mut at = 0;
        while let scenario::Event::Run { sql, .. } = &best.events[index]
            && at < sql.len()
        {
            let mut fewer = best.clone();
            if let scenario::Event::Run { sql, .. } = &mut fewer.events[index] {
                sql.remove(at);
            }
            if run(&fewer).is_err() { best = fewer } else { at += 1 }
        }
    }
    best
}

fn report(scenario: &Scenario, error: &str) -> String {
    let mut text = format!(
        "seed {0} failed: {error}\nrun it again: KITHDB_SEED={0} KITHDB_SHRINK=1 cargo test -p kithdb-tests --test convergence -- --nocapture\n",
        scenario.seed
    );
    if std::env::var_os("KITHDB_SHRINK").is_some() {
        let least = shrink(scenario);
        let error = run(&least).err().unwrap_or_default();
        text.push_str(&format!("{} peers, on disk: {}, drifts {:?}\n", least.peers, least.on_disk, least.drifts));
        for (peer, settings) in least.settings.iter().enumerate() {
            text.push_str(&format!("  {peer}: {}\n", settings.join(";\n     ")));
        }
        for event in &least.events {
            text.push_str(&format!("  {event}\n"));
        }
        text.push_str(&format!("{error}\n"));
    }
    text
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The seeds to run: those that failed once, then new ones.
fn seeds() -> Vec<u64> {
    if let Some(seed) = number("KITHDB_SEED") {
        return vec![seed];
    }
    let failed_once = include_str!("seeds.txt").lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    failed_once.chain(1..=number("KITHDB_SEEDS").unwrap_or(SEEDS)).collect()
}

#[test]
fn replicas_converge_whatever_is_written_and_in_whatever_order_it_arrives() {
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
                    let scenario = Scenario::draw(seed);
                    match run(&scenario) {
                        Ok(tally) => total.lock().unwrap().add(&tally),
                        Err(error) => {
                            let text = report(&scenario, &error);
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
    println!("convergence: {} seeds in {:.1} s on {threads} threads", seeds.len(), started.elapsed().as_secs_f64());
    println!("{:?}", total.into_inner().unwrap());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
