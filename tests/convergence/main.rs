//! Convergence: peers that write apart and hear of each other in any order end with the same rows, the same parked lives, and what a
//! naive model says.
//!
//! `KITHDB_SEEDS=20000` runs more seeds, `KITHDB_SEED=17` runs one, and with `KITHDB_SHRINK=1` a failing one is cut down and printed.
//! Seeds that failed once are in `seeds.txt` and run every time.

mod check;
mod forge;
mod model;
mod orders;
mod regressions;
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
use kithdb_tests::random::{self, number_from_env};
use scenario::Scenario;
use world::{Outcome, World};

/// How many seeds a run tries unless told otherwise.
const SEEDS: u64 = 2_000;
/// How many small sets of entries are looked at in every order.
const SETS: u64 = 120;
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
        Err(text
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "panic".to_owned()))
    })
}

/// The start of an error without what differs from run to run.
fn kind(error: &str) -> String {
    let start = error.rsplit_once("\n     ").map_or(error, |(_, end)| end);
    let end = start.split_once(": ").map_or(start, |(_, end)| end);
    end.chars().filter(|c| c.is_alphabetic()).take(24).collect()
}

/// Leaves events out as long as the run fails in the same way.
fn shrink(scenario: &Scenario, error: &str) -> Scenario {
    let fails = |scenario: &Scenario| run(scenario).is_err_and(|other| kind(&other) == kind(error));
    let mut best = scenario.clone();
    let mut size = best.events.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.events.len() {
            let mut fewer = best.clone();
            fewer.events.drain(at..(at + size).min(best.events.len()));
            if fails(&fewer) { best = fewer } else { at += size }
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
            if fails(&fewer) { best = fewer } else { at += 1 }
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
        let least = shrink(scenario, error);
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

/// Runs `one` for every item on all cores; returns what came of those that went well and the failures.
fn on_all_cores<T: Sync, R: Send>(items: &[T], one: impl Fn(&T) -> Result<R, String> + Sync) -> (Vec<R>, Vec<String>) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = one(item);
                    let mut results = results.lock().unwrap();
                    match result {
                        Ok(result) => results.0.push(result),
                        Err(failure) => results.1.push(failure),
                    }
                    if results.1.len() >= FAILURES_MAX {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap()
}

#[test]
fn replicas_converge_whatever_is_written_and_in_whatever_order_it_arrives() {
    let started = Instant::now();
    let seeds = seeds();
    let (tallies, failures) = on_all_cores(&seeds, |&seed| {
        let scenario = Scenario::draw(seed);
        run(&scenario).map_err(|error| report(&scenario, &error))
    });
    let mut total = Tally::default();
    tallies.iter().for_each(|tally| total.add(tally));
    println!("convergence: {} seeds in {:.1} s; {total:?}", seeds.len(), started.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_order_of_arrival_of_a_few_entries_shows_the_same_rows() {
    let started = Instant::now();
    let sets: Vec<u64> = (1..=number_from_env("KITHDB_SETS").unwrap_or(SETS)).collect();
    let (found, failures) = on_all_cores(&sets, |&set| orders::run(set).map_err(|error| format!("set {set}: {error}")));
    let mut total = Tally::default();
    let mut orders = 0;
    for (count, tally) in found.into_iter().flatten() {
        orders += count;
        total.add(&tally);
    }
    println!("convergence: {orders} orders of arrival in {:.1} s; {total:?}", started.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(orders > 0, "no set of entries had few enough orders");
}
