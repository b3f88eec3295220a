//! Several processes on one file, and processes that are killed. This program starts itself again as each of them.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

/// What cannot have ended by then does not end.
const PATIENCE: Duration = Duration::from_secs(120);
const NEAREST: i64 = 5;

type Test = (&'static str, fn());

const TESTS: [Test; 4] = [
    ("one_process_builds_and_the_other_takes_over_what_it_saved", one_builds),
    ("a_process_builds_when_the_one_that_did_is_killed", the_builder_is_killed),
    ("an_index_survives_kills_while_it_is_saved", kills_while_saving),
    ("max_memory_bounds_the_peak_and_leaves_no_file", memory_is_bounded),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["child-that-searches", path] => search_when_asked(Path::new(path)),
        ["child-that-measures", path] => measure(Path::new(path)),
        ["child-that-saves", path, seed] => save_for_ever(Path::new(path), seed.parse().unwrap()),
        arguments => {
            let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
            for (name, test) in TESTS {
                if filter.is_none_or(|filter| name.contains(filter)) {
                    test();
                    eprintln!("test {name} ... ok");
                }
            }
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn embedding(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| self.below(2001) as f32 / 1000.0 - 1.0).collect()
    }
}

fn blob(embedding: &[f32]) -> Vec<u8> {
    embedding.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    kithdb_search::register(&conn, |_| None).unwrap();
    conn
}

fn create(path: &Path, rows: u64, dimensions: usize, options: &str) {
    let conn = open(path);
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL;
         CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB);
         CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims={dimensions}, metric=l2, {options});
         BEGIN"
    ))
    .unwrap();
    let mut random = Random(1);
    for id in 0..rows {
        conn.execute("INSERT INTO docs VALUES(?1, ?2)", params![id as i64, blob(&random.embedding(dimensions))])
            .unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
}

/// The file that the index is saved in: docs/FORMAT.md.
fn saved(path: &Path) -> PathBuf {
    let mut name = path.canonicalize().unwrap().into_os_string();
    name.push(format!("-kith-vector-{}", &blake3::hash(b"near").to_hex().as_str()[..16]));
    name.into()
}

/// Searches for the embedding of a random seed.
fn search(conn: &Connection, query: &[u8]) -> Vec<i64> {
    let mut statement = conn.prepare("SELECT rowid FROM near WHERE embedding MATCH ?1 AND k = ?2").unwrap();
    statement.query_map(params![query, NEAREST], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Searches without an index.
fn exact(conn: &Connection, query: &[u8]) -> Vec<i64> {
    let sql = "SELECT id FROM docs ORDER BY vec_distance_l2(embedding, ?1), id LIMIT ?2";
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map(params![query, NEAREST], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// For each line it reads, searches for the embedding of that seed and says how, whether it has built a graph so far, and what it found.
fn search_when_asked(path: &Path) {
    let conn = open(path);
    let mut has_built = false;
    for seed in std::io::stdin().lines() {
        let query = blob(&Random(seed.unwrap().parse().unwrap()).embedding(8));
        let found = search(&conn, &query);
        let (tier, is_building): (String, bool) = conn
            .query_row(
                "SELECT CASE behind WHEN 0 THEN tier ELSE 'scan' END, progress IS NOT NULL FROM kith_vector_stats",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        has_built |= is_building;
        println!("{tier} {has_built} {found:?}");
    }
    conn.close().unwrap();
}

struct Searcher {
    child: Child,
    asks: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What a searcher says of itself.
struct Said {
    has_graph: bool,
    has_built: bool,
    /// Of the true nearest.
    found: usize,
}

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

impl Searcher {
    fn start(path: &Path) -> Self {
        let mut child = start(&["child-that-searches", path.to_str().unwrap()]);
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { asks: child.stdin.take(), child, answers }
    }

    fn ask(&mut self, conn: &Connection, seed: u64) -> Said {
        writeln!(self.asks.as_mut().unwrap(), "{seed}").unwrap();
        let answer = self.answers.next().unwrap().unwrap();
        let (tier, rest) = answer.split_once(' ').unwrap();
        let (has_built, found) = rest.split_once(' ').unwrap();
        let found: Vec<i64> = found.trim_matches(['[', ']']).split(", ").map(|id| id.parse().unwrap()).collect();
        let truth = exact(conn, &blob(&Random(seed).embedding(8)));
        assert_eq!(found.len(), truth.len());
        let right = found.iter().filter(|id| truth.contains(id)).count();
        let has_graph = tier == "hnsw";
        assert!(has_graph || right == truth.len(), "a scan finds all: {found:?}, {truth:?}");
        Said { has_graph, has_built: has_built == "true", found: right }
    }

    fn end(mut self) {
        drop(self.asks.take());
        assert!(self.child.wait().unwrap().success());
    }
}

const GRAPH: &str = "engine=hnsw, m=8, ef_construction=60";
const ROWS: u64 = 12_000;

/// Takes the turn as a process that builds does.
fn hold_turn(path: &Path) -> std::fs::File {
    let mut lock = saved(path).into_os_string();
    lock.push("-lock");
    let file = std::fs::File::create(lock).unwrap();
    file.try_lock().unwrap();
    file
}

fn one_builds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, ROWS, 8, GRAPH);
    let plain = open(&path);
    let turn = hold_turn(&path);
    let mut both = [Searcher::start(&path), Searcher::start(&path)];
    // While another process has the turn, both go on scanning.
    for seed in 0..20 {
        for searcher in &mut both {
            let said = searcher.ask(&plain, seed);
            assert!(!said.has_graph && !said.has_built);
        }
    }
    drop(turn);
    let until = Instant::now() + PATIENCE;
    let (mut seed, mut found, mut wanted) = (20, 0, 0);
    let has_built = loop {
        seed += 1;
        let said = both.each_mut().map(|searcher| searcher.ask(&plain, seed));
        if said.iter().all(|said| said.has_graph) {
            found += said.iter().map(|said| said.found).sum::<usize>();
            wanted += 2 * NEAREST as usize;
        }
        if wanted > 200 {
            break said.map(|said| said.has_built);
        }
        assert!(Instant::now() < until, "no graph came");
    };
    assert_eq!(has_built.iter().filter(|&&has_built| has_built).count(), 1, "{has_built:?}");
    assert!(found * 10 >= wanted * 9, "{found} of {wanted}");
    // What the other one took over goes on with what is written from then on.
    let mine = blob(&Random(777).embedding(8));
    plain.execute("INSERT INTO docs VALUES(?1, ?2)", params![1_000_000, mine]).unwrap();
    for mut searcher in both {
        assert!(searcher.ask(&plain, 777).found > 0);
        searcher.end();
    }
    assert_eq!(leftovers(&path), [""; 0]);
}

fn the_builder_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, ROWS, 8, GRAPH);
    let plain = open(&path);
    let mut first = Searcher::start(&path);
    let until = Instant::now() + PATIENCE;
    let mut seed = 0;
    while !first.ask(&plain, seed).has_built {
        seed += 1;
        assert!(Instant::now() < until, "no build began");
    }
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut second = Searcher::start(&path);
    while !second.ask(&plain, seed).has_graph {
        seed += 1;
        assert!(Instant::now() < until, "no graph came");
    }
    second.end();
    assert_eq!(leftovers(&path), [""; 0]);
}

/// Lists what processes left behind that were killed while they saved, or had the turn.
fn leftovers(path: &Path) -> Vec<String> {
    let saved = saved(path);
    let prefix = format!("{}-", saved.file_name().unwrap().to_str().unwrap());
    let files = std::fs::read_dir(saved.parent().unwrap()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

const WIDE: usize = 256;
const WIDE_ROWS: u64 = 10_500;

fn change_and_search(conn: &Connection, random: &mut Random) {
    let first = random.below(WIDE_ROWS - 1_500) as i64;
    let sql = "UPDATE docs SET embedding = ?1 WHERE id = ?2";
    conn.execute_batch("BEGIN").unwrap();
    for id in first..first + 1_200 {
        let mut embedding = vec![0.0; WIDE];
        embedding[(id % 7) as usize] = random.below(1_000) as f32;
        conn.execute(sql, params![blob(&embedding), id]).unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
    search(conn, &blob(&random.embedding(WIDE)));
}

/// Changes so many rows again and again that the index is saved each time, and says when it has begun.
fn save_for_ever(path: &Path, seed: u64) {
    let conn = open(path);
    let mut random = Random(seed);
    loop {
        change_and_search(&conn, &mut random);
        println!("searched");
    }
}

fn check(path: &Path, random: &mut Random) {
    let conn = open(path);
    for _ in 0..3 {
        let query = blob(&random.embedding(WIDE));
        let (found, truth) = (search(&conn, &query), exact(&conn, &query));
        // Rows of equal distance may change places.
        let distance = |id: &i64| -> f64 {
            let sql = "SELECT vec_distance_l2(embedding, ?1) FROM docs WHERE id = ?2";
            conn.query_row(sql, params![query, id], |row| row.get(0)).unwrap()
        };
        for (found, truth) in found.iter().zip(&truth) {
            assert!((distance(found) - distance(truth)).abs() < 1e-4, "{found} is no neighbour as near as {truth}");
        }
        assert_eq!(found.len(), truth.len());
    }
    conn.close().unwrap();
}

fn kills_while_saving() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    create(&path, WIDE_ROWS, WIDE, "engine=scan");
    let mut random = Random(42);
    let mut in_the_middle = 0;
    for round in 0..60 {
        let before = leftovers(&path);
        let mut child = start(&["child-that-saves", path.to_str().unwrap(), &random.next().to_string()]);
        let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(says.next().unwrap().unwrap(), "searched");
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it ended by itself");
        let is_new = |name: &String| !name.ends_with("-lock") && !before.contains(name);
        let was_saving = leftovers(&path).iter().any(is_new);
        in_the_middle += usize::from(was_saving);
        if was_saving || round % 8 == 0 {
            check(&path, &mut random);
        }
        if in_the_middle >= 5 {
            break;
        }
    }
    assert!(in_the_middle > 0, "no kill fell into a save");
    let conn = open(&path);
    let before = saved(&path).metadata().map(|file| file.modified().unwrap()).ok();
    change_and_search(&conn, &mut random);
    conn.close().unwrap();
    let after = saved(&path).metadata().unwrap().modified().unwrap();
    assert!(before.is_none_or(|before| before < after), "the index was not saved again");
    assert_eq!(leftovers(&path), [""; 0]);
    check(&path, &mut random);
}

/// Reads the whole table into an index, says what that took, and waits.
fn measure(path: &Path) {
    let conn = open(path);
    let sql = "SELECT indexed, memory_bytes, mapped_bytes FROM kith_vector_stats";
    let figures = |row: &rusqlite::Row<'_>| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]);
    let [indexed, memory, mapped] = conn.query_row(sql, [], figures).unwrap();
    // The most memory there ever was, in KiB; where the system does not tell, the index's own figure.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    let peak = peak.map_or(memory, |peak| peak.trim().parse::<i64>().unwrap() * 1024);
    println!("{indexed} {memory} {mapped} {peak}");
    std::io::stdin().lines().next();
}

fn memory_is_bounded() {
    const ROWS: u64 = 30_000;
    let mut peaks = Vec::new();
    for options in ["engine=scan", "engine=scan, max_memory='16MB'"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        create(&path, ROWS, WIDE, options);
        // Nothing is saved meanwhile.
        let turn = hold_turn(&path);
        let mut child = start(&["child-that-measures", path.to_str().unwrap()]);
        let said = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let said: Vec<i64> = said.split(' ').map(|number| number.parse().unwrap()).collect();
        let [indexed, memory, mapped, peak] = said[..] else { panic!("{said:?}") };
        assert_eq!(indexed, ROWS as i64);
        assert_eq!((memory < 16_000_000, mapped > 20_000_000), (peaks.len() == 1, peaks.len() == 1), "{said:?}");
        peaks.push(peak);
        let names = || {
            let files = std::fs::read_dir(folder.path()).unwrap();
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.filter(|name| !name.ends_with("-lock")).collect();
            names.sort();
            names
        };
        // While embeddings lie in a file, and when the process was killed.
        assert_eq!(names(), ["a.db", "a.db-shm", "a.db-wal"]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names(), ["a.db", "a.db-shm", "a.db-wal"]);
        drop(turn);
    }
    assert!(peaks[0] - peaks[1] > 15_000_000, "{peaks:?}");
}
