//! `kith sync`: keeps a file in step with others and tells what happens.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kithdb_core::apply::{ApplyBudget, ApplyReport};
use kithdb_core::log_error::LogError;
use kithdb_core::seal::SealBudget;
use kithdb_log::AuthorId;
use kithdb_peer::{Device, Listen, Peer, PeerConfig, PeerEvent};
use tokio::sync::oneshot;

use super::{open, runtime};
use crate::cli::Sync;
use crate::report::Output;

mod rounds;
mod tell;

use rounds::Rounds;
use tell::Teller;

/// How long the other side may take to say that it has caught up too.
const COMPARE_MAX: Duration = Duration::from_secs(5);

/// When to say that nobody was found: before ten seconds are over.
const REPORT_AFTER: Duration = Duration::from_secs(9);

/// How long the end may take before the user is told that it takes time.
const END_QUIETLY: Duration = Duration::from_millis(500);

/// Why the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Ctrl-C, or the end of standard input.
    Asked,
    /// `--once`: both sides hold the same.
    Equal,
    /// `--once`: caught up, but something changed while the two compared, or was refused; a new session compares again.
    Again,
    /// `--once`: nobody was there.
    Nobody,
    /// The peer ended by itself.
    Failed,
}

/// Syncs until asked to stop.
pub fn run(arguments: &Sync, output: Output) -> Result<ExitCode> {
    let listen = arguments.listen.clone();
    let config = PeerConfig {
        listen: if listen.is_empty() { Listen::Everywhere } else { Listen::At(listen) },
        mdns: !arguments.no_mdns,
        peers: arguments.peers.clone(),
        report_after: REPORT_AFTER,
        ..PeerConfig::default()
    };
    let mut teller = Teller::new(output);
    let mut rounds = Rounds::default();
    let runtime = runtime()?;
    loop {
        if arguments.once {
            seal_all(&arguments.file)?;
        }
        match runtime.block_on(sync(arguments, config.clone(), &mut teller, &mut rounds))? {
            End::Asked | End::Equal => return Ok(ExitCode::SUCCESS),
            End::Nobody => {
                bail!("no peer was found, so nothing was synced; what was tried and what to do is told above")
            }
            End::Failed => return Ok(ExitCode::FAILURE),
            End::Again => rounds.end()?,
        }
    }
}

/// Seals what is pending before anybody is told what there is, so that one comparison is enough.
fn seal_all(file: &Path) -> Result<()> {
    let mut replica = open(file)?;
    while replica.seal(SealBudget::default())?.more {}
    Ok(replica.close()?)
}

/// Merges what was received, so that the tables show it before the command ends.
async fn apply_all(peer: &Peer) -> Result<Vec<PeerEvent>> {
    let applied = peer.call(|replica| {
        let mut sum = ApplyReport::default();
        loop {
            let report = replica.apply_stored(ApplyBudget::default())?;
            sum.entries += report.entries;
            sum.operations += report.operations;
            for (table, rows) in report.rows_written {
                *sum.rows_written.entry(table).or_default() += rows;
            }
            sum.tables_created.extend(report.tables_created);
            sum.refused.extend(report.refused);
            sum.waiting = report.waiting;
            if !report.more {
                break;
            }
        }
        let members = replica.workspace().membership();
        let device = |author: AuthorId| {
            Some(Device {
                author,
                name: members.get(author).map_or_else(|| author.short(), |member| member.name.clone()),
            })
        };
        let refused = std::mem::take(&mut sum.refused).into_iter().map(|refused| PeerEvent::Forged {
            device: device(refused.stream.author),
            sequence: Some(refused.sequence),
            reason: refused.reason,
        });
        Ok::<_, LogError>((refused.collect::<Vec<_>>(), sum))
    });
    let (mut events, report) = applied.await??;
    events.push(PeerEvent::Applied {
        entries: report.entries,
        operations: report.operations,
        rows: report.rows_written,
        tables_created: report.tables_created,
        waiting: report.waiting,
    });
    Ok(events)
}

async fn sync(arguments: &Sync, config: PeerConfig, teller: &mut Teller, rounds: &mut Rounds) -> Result<End> {
    let started = Instant::now();
    let (peer, mut events) = Peer::open(&arguments.file, config).await?;
    let mut stop = std::pin::pin!(asked_to_stop(arguments.until_eof));
    let mut told = Ok(());
    let mut compare_by: Option<tokio::time::Instant> = None;
    let end = loop {
        let overdue = async {
            match compare_by {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = events.recv() => event,
            asked = &mut stop => {
                asked?;
                break End::Asked;
            }
            () = overdue => break End::Again,
        };
        let Some(event) = event else { break End::Failed };
        told = teller.tell(&event);
        rounds.note(&event);
        match &event {
            PeerEvent::CaughtUp { .. } if arguments.once => {
                compare_by = Some(tokio::time::Instant::now() + COMPARE_MAX)
            }
            // The clock starts again with whatever still comes in.
            PeerEvent::Progress { .. } | PeerEvent::Disconnected { .. } => compare_by = None,
            _ => {}
        }
        let is_over = match &event {
            _ if told.is_err() => Some(End::Failed),
            PeerEvent::Stopped { .. } => Some(End::Failed),
            PeerEvent::NoPeerYet { .. } if arguments.once => Some(End::Nobody),
            PeerEvent::InStep { .. } if arguments.once => Some(End::Equal),
            PeerEvent::Disconnected { .. } if arguments.once && rounds.is_refused() => Some(End::Again),
            _ => None,
        };
        if let Some(end) = is_over {
            break end;
        }
    };
    if end == End::Equal {
        told = apply_all(&peer).await?.iter().try_for_each(|event| teller.tell(event));
    }
    let traffic = peer.status().await.ok();
    let leave = async {
        match end {
            // The same port is wanted again at once.
            End::Again => peer.shutdown().await,
            _ => peer.leave().await,
        }
    };
    let mut leave = std::pin::pin!(leave);
    let mut hint = std::pin::pin!(tokio::time::sleep(END_QUIETLY));
    let mut is_hint_due = end == End::Asked;
    loop {
        tokio::select! {
            () = &mut leave => break,
            // Who presses Ctrl-C again does not want to wait: what is committed is safe, the rest goes out next time.
            _ = tokio::signal::ctrl_c() => return Ok(End::Failed),
            () = &mut hint, if is_hint_due => {
                is_hint_due = false;
                teller.ending()?;
            }
        }
    }
    // What happened until the end is told too: it was done.
    while let Some(event) = events.recv().await {
        if told.is_ok() {
            told = teller.tell(&event);
        }
    }
    told?;
    teller.end(traffic.as_ref(), started.elapsed())?;
    Ok(end)
}

/// Waits for Ctrl-C, the signal to terminate, or the end of standard input where that counts.
async fn asked_to_stop(until_eof: bool) -> Result<()> {
    let eof = async { if until_eof { end_of_input().await } else { std::future::pending().await } };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C cannot be listened for"),
        terminated = terminated() => terminated,
        ended = eof => ended,
    }
}

#[cfg(unix)]
async fn terminated() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::terminate()).context("the signal to terminate cannot be listened for")?.recv().await;
    Ok(())
}

#[cfg(not(unix))]
async fn terminated() -> Result<()> {
    std::future::pending().await
}

/// Standard input has no async end on every platform, so a thread waits for it; it ends with the process.
async fn end_of_input() -> Result<()> {
    let (ended, wait) = oneshot::channel();
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut scratch = [0; 256];
            let mut input = std::io::stdin().lock();
            while matches!(input.read(&mut scratch), Ok(1..)) {}
            // Nobody waits any more if the peer stopped first.
            let _ = ended.send(());
        })
        .context("the system gives no thread")?;
    // The thread cannot end without sending.
    let _ = wait.await;
    Ok(())
}
