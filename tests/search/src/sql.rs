//! A set in a database, searched through SQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use kithdb_vector::index::{EmbeddingIndex, Query};
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::snapshot::{Depth, decode};
use kithdb_vector::tiered::TieredIndex;
use memmap2::Mmap;
use rusqlite::Connection;

use crate::data::COUNT;
use crate::npy;
use crate::process::{cpu_s, own_memory_mb, thread_cpu_s};

/// The folder of the database in that of the set.
pub const FOLDER: &str = "sql";
/// The database in its folder.
pub const DATABASE: &str = "rows.db";
/// The question: the nearest rows with the candidates of a walk given.
pub const NEAREST: &str = "SELECT key, distance FROM nearest WHERE embedding MATCH ?1 AND k = ?2 AND ef = ?3";
/// Rows of a transaction that fills the database, so that the write-ahead log stays small.
const TRANSACTION: usize = 10_000;
/// Questions of one way before the other has its turn.
const TURN: usize = 20;

/// Makes the database of a set; the index is built and saved, and the database closed.
#[derive(Args)]
pub struct Fill {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// Threads that build the graph.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Opens the database of a set. Then each line of standard input is a measurement: `EF FILTER QUERIES ANSWERS-FILE`; the filter must be
/// 1000, which is none.
#[derive(Args)]
pub struct Ask {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// Ask the same questions of the same saved index by the library's call too, in turn.
    #[arg(long)]
    library: bool,
}

/// Opens a database as every program of ours does.
pub fn open(file: &Path) -> Result<Connection> {
    let conn = Connection::open(file).with_context(|| format!("could not open {}", file.display()))?;
    kithdb_search::register(&conn, |_| None)?;
    conn.execute_batch("PRAGMA journal_mode = WAL")?;
    Ok(conn)
}

/// Returns the bytes of an embedding as a column holds them.
pub fn blob(embedding: &[f32]) -> Vec<u8> {
    embedding.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl Fill {
    /// Fills the database.
    pub fn run(&self) -> Result<()> {
        let base = npy::read_floats(&self.set.join("base.npy"))?;
        let (fresh, whole) = (self.set.join("sql-unfinished"), self.set.join(FOLDER));
        for folder in [&fresh, &whole] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        fs::create_dir_all(&fresh)?;
        let conn = open(&fresh.join(DATABASE))?;
        conn.pragma_update(None, "threads", self.threads as i64)?;
        conn.execute_batch("CREATE TABLE rows(id INTEGER PRIMARY KEY, embedding BLOB NOT NULL)")?;
        let rows: Vec<_> = (0i64..).zip(base.rows()).collect();
        for rows in rows.chunks(TRANSACTION) {
            conn.execute_batch("BEGIN")?;
            let mut insert = conn.prepare_cached("INSERT INTO rows(id, embedding) VALUES(?1, ?2)")?;
            for (id, row) in rows {
                insert.execute((id, blob(row)))?;
            }
            conn.execute_batch("COMMIT")?;
        }
        let dims = base.width;
        conn.execute_batch(&format!(
            "CREATE VIRTUAL TABLE nearest USING kith_vector(content=rows, column=embedding, dims={dims})"
        ))?;
        let first = blob(base.row(0));
        drop(base);
        let (cpu, wall) = (cpu_s(), Instant::now());
        ask(&conn, &first, 0)?;
        // The index is built and saved in the background, and its thread ends then.
        while !is_saved(&fresh)? {
            std::thread::sleep(Duration::from_millis(100));
        }
        let (tier, behind): (String, i64) =
            conn.query_row("SELECT tier, behind FROM kith_vector_stats", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        ensure!(behind == 0, "{behind} rows are not in the graph");
        conn.close().map_err(|(_, error)| error)?;
        fs::rename(&fresh, &whole)?;
        let is_graph = u8::from(tier == "hnsw");
        println!("build_s {:.3} wall_s {:.3} is_graph {is_graph}", cpu_s() - cpu, wall.elapsed().as_secs_f64());
        Ok(())
    }
}

fn saved(folder: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // What is half written has one more part.
        if name.strip_prefix(DATABASE).is_some_and(|rest| rest.matches('-').count() == 3) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn is_saved(folder: &Path) -> Result<bool> {
    Ok(saved(folder)?.is_some())
}

/// Asks one question; with `ef` 0 the index's own choice is taken.
fn ask(conn: &Connection, embedding: &[u8], ef: usize) -> Result<Vec<(i64, f64)>> {
    let ef = (ef > 0).then_some(ef);
    let sql =
        if ef.is_some() { NEAREST } else { "SELECT key, distance FROM nearest WHERE embedding MATCH ?1 AND k = ?2" };
    let mut statement = conn.prepare_cached(sql)?;
    statement.raw_bind_parameter(1, embedding)?;
    statement.raw_bind_parameter(2, COUNT as i64)?;
    if let Some(ef) = ef {
        statement.raw_bind_parameter(3, ef as i64)?;
    }
    let mut rows = statement.raw_query();
    let mut found = Vec::with_capacity(COUNT);
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, row.get(1)?));
    }
    Ok(found)
}

/// Reads the saved index by itself, as the library's users would.
fn read_saved(folder: &Path) -> Result<TieredIndex> {
    let path = saved(folder)?.context("no saved index")?;
    let file = fs::File::open(&path)?;
    // SAFETY: the file is this bench's own, and nothing writes to it while it measures.
    let bytes: ForeignBytes = Arc::new(unsafe { Mmap::map(&file) }?);
    let snapshot = decode(&bytes, Depth::ButFloats)?;
    let options = snapshot.header.options.clone();
    Ok(match snapshot.graph {
        Some(graph) => TieredIndex::with_graph(options, snapshot.store, graph)?,
        None => TieredIndex::with_store(options, snapshot.store)?,
    })
}

impl Ask {
    /// Opens the database and measures what it is told to.
    pub fn run(&self) -> Result<()> {
        let queries = npy::read_floats(&self.set.join("queries.npy"))?;
        let folder = self.set.join(FOLDER);
        let blobs: Vec<_> = queries.rows().map(blob).collect();
        let (cpu, wall) = (cpu_s(), Instant::now());
        let conn = open(&folder.join(DATABASE))?;
        ensure!(ask(&conn, &blobs[0], 0)?.len() == COUNT, "too few rows");
        let (open_s, open_cpu_s) = (wall.elapsed().as_secs_f64(), cpu_s() - cpu);
        let (ef, index_bytes): (i64, i64) =
            conn.query_row("SELECT ef, memory_bytes FROM kith_vector_stats", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let library = if self.library { Some(read_saved(&folder)?) } else { None };
        println!("open_s {open_s:.3} open_cpu_s {open_cpu_s:.3} ef {ef} index_mb {:.1}", index_bytes as f64 / 1e6);
        for line in std::io::stdin().lines() {
            let line = line?;
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().context("a measurement is `EF FILTER QUERIES ANSWERS-FILE`");
            let ef: usize = word()?.parse()?;
            ensure!(word()? == "1000", "no filter here");
            let (asked, file) = (word()?.parse::<usize>()?.min(blobs.len()), word()?.to_owned());
            let by_library = |place: usize| -> Result<()> {
                if let Some(index) = &library {
                    index.search(&Query { embedding: queries.row(place), count: COUNT, ef, allowed: None })?;
                }
                Ok(())
            };
            for (place, embedding) in blobs.iter().enumerate().take(asked.min(10)) {
                ask(&conn, embedding, ef)?;
                by_library(place)?;
            }
            let (mut sql_s, mut library_s) = (0.0, 0.0);
            let (mut answers, mut walls, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
            let places: Vec<usize> = (0..asked).collect();
            for (turn, places) in places.chunks(TURN).enumerate() {
                // Each way comes first in every other turn, so that neither always finds the caches filled by the other.
                for is_sql in if turn % 2 == 0 { [true, false] } else { [false, true] } {
                    let before = thread_cpu_s();
                    for &place in places {
                        if is_sql {
                            let (start, cpu) = (Instant::now(), thread_cpu_s());
                            let found = ask(&conn, &blobs[place], ef)?;
                            cpus.push((thread_cpu_s() - cpu) * 1e6);
                            walls.push(start.elapsed().as_secs_f64() * 1e6);
                            answers.extend((0..COUNT).map(|rank| found.get(rank).map_or(-1, |found| found.0 as i32)));
                        } else {
                            by_library(place)?;
                        }
                    }
                    *(if is_sql { &mut sql_s } else { &mut library_s }) += thread_cpu_s() - before;
                }
            }
            walls.sort_by(f64::total_cmp);
            cpus.sort_by(f64::total_cmp);
            let bytes: Vec<u8> = answers.iter().flat_map(|row: &i32| row.to_le_bytes()).collect();
            fs::write(&file, bytes).with_context(|| format!("could not write {file}"))?;
            let [sql_us, library_us] = [sql_s, library_s].map(|seconds| seconds * 1e6 / asked as f64);
            println!(
                "query_us {sql_us:.2} library_us {library_us:.2} p50_us {:.2} p99_us {:.2} p99_cpu_us {:.2} own_mb {:.1}",
                walls[asked / 2],
                walls[asked * 99 / 100],
                cpus[asked * 99 / 100],
                own_memory_mb()?
            );
        }
        Ok(())
    }
}
