//! Kill -9 of a writing process at random instants.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_log::SealedEntry;
use kithdb_tests::numbered;
use kithdb_tests::random::Random;

use crate::law::{Witness, check_opened};

/// After so many kills a new database is begun, so that checking stays fast.
const KILLS_PER_FILE: u64 = 5;
/// How long a process may take to its first commit before something must be wrong.
const FIRST_COMMIT_MAX: Duration = Duration::from_secs(60);

/// What a writer says.
enum Said {
    Committed(u64),
    Published(Box<SealedEntry>),
}

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub kills: u64,
    pub commits: u64,
    pub published: u64,
    /// Commits that were on disk without having been acknowledged.
    pub unacknowledged: u64,
}

/// Kills a writer so many times, on as many files as that needs.
pub fn run(seed: u64, kills: u64) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    while tally.kills < kills {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("x.db");
        let is_wal = random.percent(50);
        let mut witness = begin(&path, is_wal, random.bits())?;
        for _ in 0..KILLS_PER_FILE.min(kills - tally.kills) {
            kill_once(&path, &mut witness, &mut random, &mut tally).map_err(|error| {
                format!("kill {} ({} journal): {error}", tally.kills, if is_wal { "WAL" } else { "rollback" })
            })?;
        }
        witness.verify()?;
        tally.published += witness.count() as u64;
    }
    Ok(tally)
}

fn begin(path: &Path, is_wal: bool, seed: u64) -> Result<Witness, String> {
    let mut replica = Replica::init(path, InitOptions::new("writer")).map_err(|error| error.to_string())?;
    if !is_wal {
        replica
            .conn()
            .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
            .map_err(|error| error.to_string())?;
    }
    numbered::create(&mut replica);
    let mut witness = Witness::new(&mut replica, seed);
    witness.check_equal(&mut replica)?;
    Ok(witness)
}

fn kill_once(path: &Path, witness: &mut Witness, random: &mut Random, tally: &mut Tally) -> Result<(), String> {
    let seal_percent = *random.pick(&[0, 0, 5, 30]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_crash-writer"))
        .arg(path)
        .arg(random.bits().to_string())
        .arg(seal_percent.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the writer could not be started: {error}"))?;
    let pipe = child.stdout.take().ok_or("the writer has no output")?;
    let (sender, receiver) = channel();
    let reader = std::thread::spawn(move || listen(pipe, &sender));

    let work = Duration::from_micros(random.between(1_000, 60_000) as u64);
    let mut heard = Vec::new();
    hear(&receiver, work, &mut heard)?;
    child.kill().map_err(|error| format!("the writer could not be killed: {error}"))?;
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.code().is_some() {
        return Err(format!("the writer ended by itself with {status}"));
    }
    reader.join().map_err(|_| "listening failed")?;
    heard.extend(receiver.try_iter());

    let mut acknowledged = 0;
    let mut entries = Vec::new();
    for said in heard {
        match said {
            Said::Committed(n) => {
                acknowledged = n;
                tally.commits += 1;
            }
            Said::Published(entry) => entries.push(*entry),
        }
    }
    witness.give(&entries)?;
    let mut replica =
        Replica::open(path, OpenOptions::default()).map_err(|error| format!("the file does not open: {error}"))?;
    if replica.life().reason().is_some() {
        return Err(format!("a new incarnation was begun: {:?}", replica.life().reason()));
    }
    let last = check_opened(&mut replica, witness, acknowledged, acknowledged + 1)?;
    tally.unacknowledged += last - acknowledged;
    tally.kills += 1;
    replica.close().map_err(|error| error.to_string())
}

/// Listens until the first commit and for some time from then on.
fn hear(receiver: &Receiver<Said>, work: Duration, heard: &mut Vec<Said>) -> Result<(), String> {
    let mut deadline = Instant::now() + FIRST_COMMIT_MAX;
    let mut has_committed = false;
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(said) => {
                if matches!(said, Said::Committed(_)) && !has_committed {
                    has_committed = true;
                    deadline = Instant::now() + work;
                }
                heard.push(said);
            }
            Err(RecvTimeoutError::Timeout) if has_committed => return Ok(()),
            Err(RecvTimeoutError::Timeout) => return Err("the writer committed nothing".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Err("the writer ended by itself".to_owned()),
        }
    }
}

/// Reads what the writer says until the pipe ends; what was cut short by the kill was not said.
fn listen(mut pipe: impl Read, sender: &std::sync::mpsc::Sender<Said>) {
    let mut next = || -> Option<Said> {
        let mut kind = [0];
        pipe.read_exact(&mut kind).ok()?;
        if kind == *b"C" {
            let mut number = [0; 8];
            pipe.read_exact(&mut number).ok()?;
            return Some(Said::Committed(u64::from_le_bytes(number)));
        }
        let mut length = [0; 4];
        pipe.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        pipe.read_exact(&mut bytes).ok()?;
        SealedEntry::decode(&bytes).ok().map(|entry| Said::Published(Box::new(entry)))
    };
    while let Some(said) = next() {
        if sender.send(said).is_err() {
            return;
        }
    }
}
