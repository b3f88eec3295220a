//! What a user feels: how long a commit takes to the other device's table, and what a reunion of equal peers costs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use kithdb_core::replica::{OpenOptions, Replica};
use kithdb_peer::{Address, Peer, PeerConfig, PeerEvent, PeerEvents};

use crate::arms;
use crate::measure::{median, timed};
use crate::report::Line;

/// How many commits are timed.
const COMMITS: usize = 200;

async fn address(events: &mut PeerEvents) -> Result<Address> {
    loop {
        let event = events.recv().await.context("the peer stopped")?;
        if let PeerEvent::Listening { address } = event
            && address.to_string().contains("/quic-v1")
        {
            return Ok(address);
        }
    }
}

async fn until(events: &mut PeerEvents, found: impl Fn(&PeerEvent) -> bool) -> Result<()> {
    while !found(&events.recv().await.context("the peer stopped")?) {}
    Ok(())
}

async fn connected(desk: &Path, phone: &Path) -> Result<(Peer, (Peer, PeerEvents))> {
    let (at_desk, mut desk_events) = Peer::open(desk, PeerConfig::loopback()).await?;
    let config = PeerConfig::loopback().with_peer(address(&mut desk_events).await?);
    tokio::spawn(async move { while desk_events.recv().await.is_some() {} });
    let (at_phone, mut events) = Peer::open(phone, config).await?;
    until(&mut events, |event| matches!(event, PeerEvent::InStep { .. })).await?;
    Ok((at_desk, (at_phone, events)))
}

/// Times commits of another connection to the same file, as `kith sql` makes them while `kith sync` holds it.
async fn run(desk: PathBuf, phone: PathBuf) -> Result<()> {
    let (at_desk, (at_phone, mut events)) = connected(&desk, &phone).await?;
    let mut program = Replica::open(&desk, OpenOptions::default())?;
    let reader = rusqlite::Connection::open(&phone)?;
    let mut taken_ms = Vec::new();
    for commit in 0..COMMITS {
        let started = Instant::now();
        program.execute(
            "INSERT INTO t VALUES(?1, 'live', ?2, 0.5, 'text')",
            rusqlite::params![format!("live {commit}"), commit as i64],
        )?;
        until_rows(&reader, &mut events, commit + 1).await?;
        taken_ms.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let greatest = taken_ms.iter().copied().fold(0.0, f64::max);
    println!(
        "live write to the other peer's table, {COMMITS} commits of another connection: median {:.1} ms, greatest {greatest:.1} ms (at most 50 ms median)",
        median(taken_ms)
    );
    program.close()?;
    at_phone.shutdown().await;
    at_desk.shutdown().await;

    let (at_desk, (at_phone, _events)) = connected(&desk, &phone).await?;
    let status = at_phone.status().await?;
    let traffic = status.sessions.first().context("no session")?.traffic;
    println!(
        "reunion of equal peers: {} bytes of sync payload in {} frames, both ways (at most 200 bytes)",
        traffic.sent_bytes + traffic.received_bytes,
        traffic.sent_frames + traffic.received_frames
    );
    at_phone.shutdown().await;
    at_desk.shutdown().await;
    Ok(())
}

/// Waits until the table that a reader sees holds so many rows; it may not even be there at first.
async fn until_rows(reader: &rusqlite::Connection, events: &mut PeerEvents, rows: usize) -> Result<()> {
    loop {
        let there: bool =
            reader.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 't'", [], |row| row.get(0))?;
        let sql = if there { "SELECT count(*) FROM t" } else { "SELECT 0" };
        if usize::try_from(reader.query_row(sql, [], |row| row.get::<_, i64>(0))?)? >= rows {
            return Ok(());
        }
        until(events, |event| matches!(event, PeerEvent::Applied { .. })).await?;
    }
}

/// Waits until so many rows were written to the table, by what the peer tells: asking the table would count as the peer's work.
async fn until_written(events: &mut PeerEvents, rows: u64) -> Result<()> {
    let mut written = 0;
    while written < rows {
        if let PeerEvent::Applied { rows, .. } = events.recv().await.context("the peer stopped")? {
            written += rows.get("t").copied().unwrap_or(0);
        }
    }
    Ok(())
}

/// Sealing, transfer over libp2p on loopback, verification and apply, from the end of another connection's COMMIT, which is part of
/// the inserts, to the last row on the other side; the processor time of both peers counts.
pub fn pull(folder: &Path, rows: usize, rounds: usize, lines: &mut Vec<Line>) -> Result<()> {
    let pairs = arms::pairs(rounds, |is_ours| {
        if !is_ours {
            let conn = arms::plain(folder, "plain")?;
            return Ok(timed(|| arms::insert(&conn, 0, rows, rows))?.0);
        }
        let (desk, phone) = arms::workspace(folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (at_desk, (at_phone, mut events)) = runtime.block_on(connected(&desk, &phone))?;
        let reader = rusqlite::Connection::open(&phone)?;
        runtime.block_on(until_rows(&reader, &mut events, 0))?;
        let program = Replica::open(&desk, OpenOptions::default())?;
        arms::insert(program.conn(), 0, rows, rows)?;
        let (took, ()) = timed(|| runtime.block_on(until_written(&mut events, rows as u64)))?;
        runtime.block_on(until_rows(&reader, &mut events, rows))?;
        program.close()?;
        runtime.block_on(async {
            at_phone.shutdown().await;
            at_desk.shutdown().await;
        });
        Ok(took)
    })?;
    lines.push(Line { work: "the same between two running peers over libp2p on loopback", at_most: 4.0, pairs });
    Ok(())
}

/// Measures over real libp2p on loopback, between two files of one workspace.
pub fn live(folder: &Path) -> Result<()> {
    let (desk, phone) = arms::workspace(folder)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(desk, phone))
}
