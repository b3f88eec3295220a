//! The work that is measured, done by plain SQLite and by a replica.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use kithdb_core::apply::ApplyBudget;
use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_log::{AdminOperation, Role, SealedEntry, SequenceNumber};
use rusqlite::{Connection, params};

use crate::measure::{Took, timed};
use crate::report::Line;

const CREATE: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b INT, c REAL, d TEXT)";
const INSERT: &str = "INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5)";

/// Ids of 26 characters in the manner of ULIDs: rising slowly, with a scattered end.
fn id(row: usize) -> String {
    format!("01J{:08}XZQ4K9M2T7V5W{:06X}", row / 16, (row as u32).wrapping_mul(2_654_435_761) >> 8)
}

/// One of the two ways of doing the work.
enum Arm {
    Plain(Connection),
    Ours(Box<Replica>),
}

impl Arm {
    fn conn(&self) -> &Connection {
        match self {
            Self::Plain(conn) => conn,
            Self::Ours(replica) => replica.conn(),
        }
    }
}

fn fresh(folder: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir(&folder)?;
    Ok(folder.join("bench.db"))
}

/// Opens plain SQLite on a fresh file with the bench's table.
pub fn plain(folder: &Path, name: &str) -> Result<Connection> {
    let conn = Connection::open(fresh(folder, name)?)?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    conn.execute_batch(CREATE)?;
    Ok(conn)
}

fn ours(folder: &Path, name: &str) -> Result<Box<Replica>> {
    let mut replica = Replica::init(fresh(folder, name)?, InitOptions::new("bench"))?;
    replica.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    replica.execute_batch(CREATE)?;
    replica.sync_table("t")?;
    while replica.seal(SealBudget::default())?.more {}
    Ok(Box::new(replica))
}

/// Inserts rows of the bench.
pub fn insert(conn: &Connection, from: usize, to: usize, per_transaction: usize) -> Result<()> {
    let mut statement = conn.prepare(INSERT)?;
    for row in from..to {
        if per_transaction > 1 && (row - from).is_multiple_of(per_transaction) {
            conn.execute_batch("BEGIN")?;
        }
        let number = i64::try_from(row)?;
        let (a, d) =
            (format!("name of user {row:06}"), format!("note {row} lorem ipsum dolor sit amet {:x}", row * 40503));
        statement.execute(params![id(row), a, number * 7, row as f64 * 0.37, d])?;
        if per_transaction > 1 && ((row - from) % per_transaction == per_transaction - 1 || row == to - 1) {
            conn.execute_batch("COMMIT")?;
        }
    }
    Ok(())
}

fn update(conn: &Connection, rows: usize) -> Result<()> {
    let mut statement = conn.prepare("UPDATE t SET b = ?1 WHERE id = ?2")?;
    conn.execute_batch("BEGIN")?;
    for row in 0..rows {
        statement.execute(params![i64::try_from(row)? * 3 + 1, id(row)])?;
    }
    conn.execute_batch("COMMIT")?;
    Ok(())
}

fn size(conn: &Connection) -> Result<f64> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let pages: f64 =
        conn.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| row.get(0))?;
    Ok(pages)
}

/// Does the work in both arms, in turn, which one goes first changing from round to round.
pub fn pairs(rounds: usize, mut work: impl FnMut(bool) -> Result<Took>) -> Result<Vec<(Took, Took)>> {
    let mut out = Vec::new();
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        let ours_first = round % 2 == 1;
        let first = work(ours_first)?;
        let second = work(!ours_first)?;
        if round > 0 {
            out.push(if ours_first { (second, first) } else { (first, second) });
        }
    }
    Ok(out)
}

fn arm(folder: &Path, is_ours: bool) -> Result<Arm> {
    Ok(if is_ours { Arm::Ours(ours(folder, "ours")?) } else { Arm::Plain(plain(folder, "plain")?) })
}

/// Inserts and updates.
pub fn writes(folder: &Path, rows: usize, rounds: usize, lines: &mut Vec<Line>) -> Result<()> {
    let kinds: [(&'static str, usize, usize, f64); 3] = [
        ("inserts in one transaction", rows, rows, 3.0),
        ("inserts in transactions of 1,000", rows, 1000, 2.0),
        ("autocommit inserts", rows / 10, 1, 2.0),
    ];
    for (work, count, per_transaction, at_most) in kinds {
        let pairs = pairs(rounds, |is_ours| {
            let arm = arm(folder, is_ours)?;
            Ok(timed(|| insert(arm.conn(), 0, count, per_transaction))?.0)
        })?;
        lines.push(Line { work, at_most, pairs });
    }
    let noise = pairs(rounds, |_| {
        let conn = plain(folder, "plain")?;
        Ok(timed(|| insert(&conn, 0, rows, rows))?.0)
    })?;
    lines.push(Line { work: "noise: plain against plain, inserts in one transaction", at_most: 0.0, pairs: noise });
    let updates = pairs(rounds, |is_ours| {
        let mut arm = arm(folder, is_ours)?;
        insert(arm.conn(), 0, rows, rows)?;
        if let Arm::Ours(replica) = &mut arm {
            while replica.seal(SealBudget::default())?.more {}
        }
        size(arm.conn())?;
        Ok(timed(|| update(arm.conn(), rows))?.0)
    })?;
    lines.push(Line { work: "one-column updates in one transaction", at_most: 3.0, pairs: updates });
    let sizes = pairs(1, |is_ours| {
        let mut arm = arm(folder, is_ours)?;
        insert(arm.conn(), 0, rows, rows)?;
        if let Arm::Ours(replica) = &mut arm {
            while replica.seal(SealBudget::default())?.more {}
        }
        let bytes = size(arm.conn())?;
        Ok(Took { wall_s: bytes / 1e9, cpu_s: bytes / 1e9 })
    })?;
    lines.push(Line { work: "file size after the inserts, sealed (MB in place of ms)", at_most: 1.5, pairs: sizes });
    Ok(())
}

/// Reads from a synced table.
pub fn reads(folder: &Path, rows: usize, rounds: usize, lines: &mut Vec<Line>) -> Result<()> {
    let plain = plain(folder, "plain")?;
    insert(&plain, 0, rows, rows)?;
    let mut replica = ours(folder, "ours")?;
    insert(replica.conn(), 0, rows, rows)?;
    while replica.seal(SealBudget::default())?.more {}
    let by_key = |conn: &Connection| -> Result<()> {
        let mut statement = conn.prepare("SELECT * FROM t WHERE id = ?1")?;
        for row in 0..rows {
            let row = row * 7919 % rows;
            let b: i64 = statement.query_row([id(row)], |found| found.get(2))?;
            anyhow::ensure!(b == i64::try_from(row)? * 7, "row {row} reads {b}");
        }
        Ok(())
    };
    let scan = |conn: &Connection| -> Result<()> {
        for _ in 0..10 {
            let sum: f64 =
                conn.query_row("SELECT sum(b) + sum(c) + sum(length(a)) + sum(length(d)) FROM t", [], |row| {
                    row.get(0)
                })?;
            anyhow::ensure!(sum > 0.0, "the table is empty");
        }
        Ok(())
    };
    let arms = [&plain, replica.conn()];
    let pairs_by_key = pairs(rounds, |is_ours| Ok(timed(|| by_key(arms[usize::from(is_ours)]))?.0))?;
    lines.push(Line { work: "reads by key", at_most: 1.05, pairs: pairs_by_key });
    let pairs_scan = pairs(rounds, |is_ours| Ok(timed(|| scan(arms[usize::from(is_ours)]))?.0))?;
    lines.push(Line { work: "full scans", at_most: 1.05, pairs: pairs_scan });
    Ok(())
}

/// Sealing on one replica, verification, storing and applying on another.
pub fn transfer(folder: &Path, rows: usize, rounds: usize, lines: &mut Vec<Line>) -> Result<()> {
    let (mut sealing, mut applying) = (Vec::new(), Vec::new());
    let pairs = pairs(rounds, |is_ours| {
        if !is_ours {
            let conn = plain(folder, "plain")?;
            return Ok(timed(|| insert(&conn, 0, rows, rows))?.0);
        }
        let mut source = ours(folder, "ours")?;
        let mut target = join(&mut source, &fresh(folder, "peer")?)?;
        pull(&source, &mut target)?;
        insert(source.conn(), 0, rows, rows)?;
        let (sealed, ()) = timed(|| {
            while source.seal(SealBudget::default())?.more {}
            Ok(())
        })?;
        let (applied, ()) = timed(|| pull(&source, &mut target))?;
        let count: i64 = target.conn().query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
        anyhow::ensure!(usize::try_from(count)? == rows, "the peer has {count} of {rows} rows");
        sealing.push(sealed);
        applying.push(applied);
        Ok(Took { wall_s: sealed.wall_s + applied.wall_s, cpu_s: sealed.cpu_s + applied.cpu_s })
    })?;
    let plain: Vec<Took> = pairs.iter().map(|(plain, _)| *plain).collect();
    lines.push(Line { work: "pull and apply: sealing, transfer, verification, apply", at_most: 4.0, pairs });
    let split = |part: &[Took]| plain.iter().copied().zip(part[part.len() - plain.len()..].iter().copied()).collect();
    lines.push(Line { work: "- of it sealing at the source", at_most: 0.0, pairs: split(&sealing) });
    lines.push(Line { work: "- of it transfer, verification and apply", at_most: 0.0, pairs: split(&applying) });
    Ok(())
}

/// Carries every entry that the target lacks over as bytes, checks it as a peer does, stores and applies it.
fn pull(source: &Replica, target: &mut Replica) -> Result<()> {
    let workspace = target.workspace().id();
    let known = target.sync_state()?;
    for stream in source.sync_state()?.streams {
        let mut from = known
            .streams
            .iter()
            .find(|known| known.id == stream.id)
            .map_or(SequenceNumber::default(), |known| known.height)
            .next();
        while from <= stream.height {
            let entries = source.load_entries(&stream.id, from, 4 << 20)?;
            let mut received = Vec::new();
            for entry in &entries {
                let entry = SealedEntry::decode(&entry.encode())?;
                entry.verify(workspace)?;
                target.workspace().membership().allowed_at(entry.header.stream.author, &entry.header.frontier)?;
                from = entry.header.sequence.next();
                received.push(entry);
            }
            target.store_entries(&received)?;
        }
    }
    while target.apply_stored(ApplyBudget::default())?.more {}
    Ok(())
}

/// Makes a second member's replica, as `kith invite` and `kith join` do.
fn join(source: &mut Replica, path: &Path) -> Result<Replica> {
    let ticket = source.invite(Role::Writer, u64::MAX, Vec::new())?;
    let pending = Replica::prepare_join(path, &ticket, JoinOptions::new("peer"))?;
    let now_unix_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    source.admit(&pending.request()?, now_unix_ms)?;
    let operations: Vec<AdminOperation> = source.membership().operations().cloned().collect();
    pending.complete(&operations).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Founds a workspace with the bench's table on one file and joins it with another.
pub fn workspace(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut source = ours(folder, "desk")?;
    let phone = fresh(folder, "phone")?;
    join(&mut source, &phone)?.close()?;
    let desk = source.path().map(Path::to_path_buf).unwrap_or_default();
    source.close()?;
    Ok((desk, phone))
}
