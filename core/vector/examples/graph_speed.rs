//! Measures the graph: the time to build it, its memory, and the time of a question at each `ef`.
//!
//! `cargo run --release -p kithdb-vector --example graph_speed -- base.f32 queries.f32 384 [f32|f16|int8|bit] [threads]`; the files
//! hold little-endian 32-bit floats. It prints lines to compare with another library's on the same files.
#![allow(clippy::disallowed_methods)] // A measurement needs a clock.

use std::ops::ControlFlow;
use std::time::Instant;

use kithdb_vector::hnsw::{Graph, Question};
use kithdb_vector::index::{Encoding, Engine, IndexOptions, Neighbour};
use kithdb_vector::metric::Metric;
use kithdb_vector::recall::recall;
use kithdb_vector::scan::{rank, rescored, scan};
use kithdb_vector::slots::Slot;
use kithdb_vector::store::EmbeddingStore;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, base, queries, dimensions, rest @ ..] = &arguments[..] else { panic!("give base, queries and dimensions") };
    let dimensions: usize = dimensions.parse().expect("a number of dimensions");
    let encoding = match rest.first().map_or("int8", String::as_str) {
        "f32" => Encoding::F32,
        "f16" => Encoding::F16,
        "bit" => Encoding::Bit,
        _ => Encoding::Int8,
    };
    let threads = rest.get(1).map_or(1, |threads| threads.parse().expect("a number of threads"));
    let options = IndexOptions {
        dimensions,
        metric: Metric::Cosine,
        encoding,
        engine: Engine::Hnsw,
        connections: 16,
        ef_construction: 200,
        seed: 1,
    };
    let mut store = EmbeddingStore::new(&options).expect("dimensions in range");
    let base = read(base);
    for (slot, embedding) in (0..).map(Slot).zip(base.chunks_exact(dimensions)) {
        store.insert(slot, embedding).expect("a good embedding");
    }
    let slots: Vec<Slot> = store.occupied().iter().collect();
    let (start, before) = (Instant::now(), processor_seconds());
    let graph =
        Graph::build(&store, &slots, &options, threads, &|_| ControlFlow::Continue(())).expect("not broken off");
    let (seconds, processor) = (start.elapsed().as_secs_f64(), processor_seconds() - before);
    println!(
        "{encoding:?}: {} points built in {seconds:.1} s on {threads} threads, {processor:.1} s of processor",
        slots.len()
    );
    println!("memory beyond embeddings: {:.1} MB; {:?}", graph.memory_bytes() as f64 / 1e6, graph.check());

    let queries = read(queries);
    let queries: Vec<&[f32]> = queries.chunks_exact(dimensions).take(1_000).collect();
    let truth: Vec<Vec<Neighbour>> =
        queries.iter().map(|query| scan(&store, &store.prepare(query).expect("a good question"), 10, None)).collect();
    for ef in [10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320] {
        ask(&store, &graph, &queries, &truth, ef);
    }
    find_themselves(&store, &graph);

    // Every second embedding is taken out and put in again, so that the truth stays.
    let mut graph = graph;
    let (mut removing, mut inserting, mut bits) = (0.0, 0.0, 1u64);
    for _ in 0..slots.len() / 2 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let slot = slots[bits as usize % slots.len()];
        let start = processor_nanoseconds();
        graph.remove(&store, &[slot]);
        let between = processor_nanoseconds();
        graph.insert(&store, slot);
        removing += between - start;
        inserting += processor_nanoseconds() - between;
    }
    let count = (slots.len() / 2) as f64 * 1e3;
    println!(
        "half replaced: remove {:.0} us, insert {:.0} us; {:?}",
        removing / count,
        inserting / count,
        graph.check()
    );
    for ef in [40, 80, 160] {
        ask(&store, &graph, &queries, &truth, ef);
    }
    find_themselves(&store, &graph);
}

fn ask(store: &EmbeddingStore, graph: &Graph, queries: &[&[f32]], truth: &[Vec<Neighbour>], ef: usize) {
    let mut times = Vec::new();
    let mut found = 0.0;
    for (query, truth) in queries.iter().zip(truth) {
        let start = Instant::now();
        let query = store.prepare(query).expect("a good question");
        let mut slots = graph.search(&Question { store, query: &query }, ef);
        slots.truncate(rescored(store, 10));
        let answer = rank(store, &query, slots, 10);
        times.push(start.elapsed().as_nanos());
        found += recall(truth, &answer, 10);
    }
    times.sort_unstable();
    let (median, high) = (times[times.len() / 2] as f64 / 1e3, times[times.len() * 99 / 100] as f64 / 1e3);
    println!("ef {ef}: recall {:.4}, p50 {median:.0} us, p99 {high:.0} us", found / queries.len() as f64);
}

fn find_themselves(store: &EmbeddingStore, graph: &Graph) {
    for ef in [32, 64, 128] {
        let mut all = 0;
        let lost = graph.slots().step_by(5).filter(|&slot| {
            all += 1;
            let query = store.prepare_slot(slot);
            let found = rank(store, &query, graph.search(&Question { store, query: &query }, ef), 1);
            found[0].distance > 1e-5
        });
        let lost = lost.count();
        println!("ef {ef}: {lost} of {all} do not find themselves");
    }
}

/// What the one thread has used, as Linux counts it.
fn processor_nanoseconds() -> f64 {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    counts.split_whitespace().next().and_then(|count| count.parse().ok()).expect("a number")
}

fn read(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable file");
    bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect()
}

/// The time that all threads had the processor, as Linux counts it.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = status.rsplit(')').next().expect("a status").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}
