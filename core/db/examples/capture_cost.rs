//! Measures what capture adds to plain SQLite: `cargo run --example capture_cost [ROWS] [ROUNDS]`.
//!
//! Arms alternate, so that a slow minute of the machine hits all of them; medians of the rounds are compared. On Linux the time is
//! the thread's own on the processor, so that a busy machine disturbs less; elsewhere it is the time on the wall.

use std::sync::OnceLock;
use std::time::Instant;

use kithdb_core::capture::Capture;
use kithdb_core::registry::{ColumnInfo, Registry, TableInfo, TableState};
use kithdb_core::storage;
use kithdb_log::{Affinity, Collation, ColumnId, KeyKind, LaneId, TableId, TableSchema};
use rusqlite::{Connection, params};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b INT, c REAL, d TEXT)";
/// The kind of trigger that notes writes of other programs.
const TRIGGERS: &str = "
    CREATE TRIGGER kith__i AFTER INSERT ON t WHEN NOT sqlite_compileoption_used('THREADSAFE') BEGIN INSERT INTO kith__dirty VALUES(1, new.id, 'insert', 0); END;
    CREATE TRIGGER kith__u AFTER UPDATE ON t WHEN NOT sqlite_compileoption_used('THREADSAFE') BEGIN INSERT INTO kith__dirty VALUES(1, new.id, 'update', 0); END;";

#[derive(Clone, Copy)]
struct Arm {
    name: &'static str,
    is_captured: bool,
    has_triggers: bool,
}

const ARMS: [Arm; 4] = [
    Arm { name: "plain", is_captured: false, has_triggers: false },
    Arm { name: "captured", is_captured: true, has_triggers: false },
    Arm { name: "plain, noting triggers", is_captured: false, has_triggers: true },
    Arm { name: "captured, noting triggers", is_captured: true, has_triggers: true },
];
const WORKS: [&str; 4] =
    ["inserts, one transaction", "inserts, 1000 a transaction", "inserts, autocommit", "updates, one transaction"];

fn table() -> TableInfo {
    let columns = [
        ("id", Affinity::Text),
        ("a", Affinity::Text),
        ("b", Affinity::Integer),
        ("c", Affinity::Real),
        ("d", Affinity::Text),
    ];
    TableInfo {
        num: 1,
        id: TableId::derive("t", 0),
        lane: LaneId::from_bytes([1; 32]),
        name: "t".into(),
        schema: TableSchema {
            name: "t".into(),
            earlier_uses: 0,
            sql: SCHEMA.into(),
            indexes: Vec::new(),
            columns: Vec::new(),
            key: vec![0],
            key_kind: KeyKind::Natural,
        },
        state: TableState::Synced,
        changed: None,
        existing_rows: false,
        columns: columns
            .iter()
            .enumerate()
            .map(|(index, (name, affinity))| ColumnInfo {
                id: ColumnId::from_bytes([index as u8; 16]),
                name: (*name).into(),
                affinity: *affinity,
                collation: Collation::Binary,
                table_index: index,
                cell: index.checked_sub(1),
                references: None,
            })
            .collect(),
        key: vec![0],
        cells: vec![1, 2, 3, 4],
        cell_ids: (1..5).map(|index| ColumnId::from_bytes([index; 16])).collect(),
        unique_cells: vec![false; 4],
        without_rowid: false,
    }
}

/// Nanoseconds this thread has run.
fn now_ns() -> f64 {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let on_processor = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let on_processor = on_processor.and_then(|text| text.split(' ').next()?.parse().ok());
    on_processor.unwrap_or_else(|| STARTED.get_or_init(Instant::now).elapsed().as_nanos() as f64)
}

fn id(row: usize) -> String {
    format!("01J{:08X}ZQ4K9M2T7V5W{:06X}", row / 16, (row as u32).wrapping_mul(2_654_435_761) >> 8)
}

/// Inserts rows and returns the nanoseconds a row took.
fn insert(conn: &Connection, rows: usize, per_transaction: usize) -> rusqlite::Result<f64> {
    let started = now_ns();
    let mut statement = conn.prepare("INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5)")?;
    for row in 0..rows {
        if per_transaction > 1 && row.is_multiple_of(per_transaction) {
            conn.execute_batch("BEGIN")?;
        }
        let note = format!("note {row} lorem ipsum dolor sit amet {:x}", row.wrapping_mul(40503));
        statement.execute(params![
            id(row),
            format!("name of user {row:06}"),
            row as i64 * 7,
            row as f64 * 0.37,
            note
        ])?;
        if per_transaction > 1 && (row + 1).is_multiple_of(per_transaction) {
            conn.execute_batch("COMMIT")?;
        }
    }
    Ok((now_ns() - started) / rows as f64)
}

fn update(conn: &Connection, rows: usize) -> rusqlite::Result<f64> {
    let started = now_ns();
    conn.execute_batch("BEGIN")?;
    let mut statement = conn.prepare("UPDATE t SET b = ?1 WHERE id = ?2")?;
    for row in 0..rows {
        statement.execute(params![row as i64 * 3 + 1, id(row)])?;
    }
    conn.execute_batch("COMMIT")?;
    Ok((now_ns() - started) / rows as f64)
}

fn measure(arm: Arm, rows: usize) -> Result<[f64; 4], Box<dyn std::error::Error>> {
    let open = || -> Result<(tempfile::TempDir, Connection, Option<Capture>), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let conn = Connection::open(folder.path().join("bench.db"))?;
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536")?;
        conn.execute_batch(SCHEMA)?;
        conn.execute_batch(storage::CREATE)?;
        if arm.has_triggers {
            conn.execute_batch(TRIGGERS)?;
        }
        let capture = if arm.is_captured {
            let capture = Capture::install(&conn, kithdb_core::sources::system_clock())?;
            capture.set_tables(&conn, &Registry::new(vec![table()]))?;
            Some(capture)
        } else {
            None
        };
        Ok((folder, conn, capture))
    };
    let (_folder, conn, _capture) = open()?;
    let one = insert(&conn, rows, rows)?;
    let updates = update(&conn, rows)?;
    let (_folder, conn, _capture) = open()?;
    let thousands = insert(&conn, rows, 1000.min(rows))?;
    let (_folder, conn, _capture) = open()?;
    let autocommit = insert(&conn, rows / 10, 1)?;
    Ok([one, thousands, autocommit, updates])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let mut times: Vec<Vec<[f64; 4]>> = vec![Vec::new(); ARMS.len()];
    for _ in 0..rounds {
        for (arm, times) in ARMS.iter().zip(&mut times) {
            times.push(measure(*arm, rows)?);
        }
    }
    for (work, name) in WORKS.iter().enumerate() {
        println!("{name} ({rows} rows, median of {rounds})");
        let base = median(times[0].iter().map(|round| round[work]).collect());
        for (arm, times) in ARMS.iter().zip(&times) {
            let time = median(times.iter().map(|round| round[work]).collect());
            println!("  {:<28} {time:8.0} ns a row  {:.2}x", arm.name, time / base);
        }
    }
    Ok(())
}
