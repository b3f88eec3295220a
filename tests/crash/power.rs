//! Power cuts: what was not synced is lost in part, out of order and torn.

use std::path::{Path, PathBuf};

use kithdb_core::replica::Replica;
use kithdb_core::seal::SealBudget;
use kithdb_log::SequenceNumber;
use kithdb_tests::random::Random;
use kithdb_tests::{numbered, pair};

use crate::law::{Witness, check_opened};
use crate::vfs::{self, Fault};

const BYTES_PER_LOAD: usize = 8 << 20;
const CUTS_PER_FILE: u64 = 12;
/// Before so many operations the power goes, or when the work is done.
const OPERATIONS_MAX: usize = 150;
const ACTIONS_MAX: usize = 40;
/// Few, so that the power goes in every part of a transaction and checking stays fast.
const ROWS_MAX: usize = 12;

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    pub journal: &'static str,
    pub synchronous: &'static str,
}

/// Modes that are in use. With a rollback journal FULL may lose the last transaction: SQLite syncs the folder with EXTRA only.
pub const MODES: [Mode; 5] = [
    Mode { journal: "WAL", synchronous: "NORMAL" },
    Mode { journal: "WAL", synchronous: "FULL" },
    Mode { journal: "DELETE", synchronous: "NORMAL" },
    Mode { journal: "DELETE", synchronous: "FULL" },
    Mode { journal: "DELETE", synchronous: "EXTRA" },
];

impl Mode {
    /// Returns how many of the last acknowledged commits a power cut may take.
    const fn losses_max(self) -> u64 {
        match (self.journal.as_bytes(), self.synchronous.as_bytes()) {
            (b"WAL", b"FULL") | (_, b"EXTRA") => 0,
            (_, b"FULL") => 1,
            _ => u64::MAX,
        }
    }
}

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub cuts: u64,
    pub commits: u64,
    /// Commits that NORMAL allows to be lost and that were.
    pub lost: u64,
    pub published: u64,
    /// Times that the sidecar was found behind or that a new incarnation was begun.
    pub incarnations: u64,
}

/// Cuts the power so many times.
pub fn run(mode: Mode, seed: u64, cuts: u64) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    while tally.cuts < cuts {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().canonicalize().map_err(|error| error.to_string())?;
        vfs::watch(&path);
        let outcome = on_one_file(&path, mode, &mut random, cuts, &mut tally);
        vfs::unwatch(&path);
        outcome?;
    }
    Ok(tally)
}

struct Bench {
    folder: PathBuf,
    path: PathBuf,
    mode: Mode,
    witness: Witness,
    /// The last transaction that was acknowledged, and the last that was before entries were published.
    acknowledged: u64,
    published: u64,
}

fn on_one_file(folder: &Path, mode: Mode, random: &mut Random, cuts: u64, tally: &mut Tally) -> Result<(), String> {
    let path = folder.join("x.db");
    let mut replica = pair::found(Some(&path), random.bits());
    set(&replica, "journal_mode", mode.journal)?;
    numbered::create(&mut replica);
    let mut witness = Witness::new(&mut replica, random.bits());
    witness.check_equal(&mut replica)?;
    replica.close().map_err(|error| error.to_string())?;
    let mut bench = Bench { folder: folder.to_owned(), path, mode, witness, acknowledged: 0, published: 0 };
    for _ in 0..CUTS_PER_FILE.min(cuts - tally.cuts) {
        let cut = tally.cuts;
        bench.cut_once(random, tally).map_err(|error| format!("{mode:?}, cut {cut}: {error}"))?;
        tally.cuts += 1;
    }
    bench.witness.verify()?;
    tally.published += bench.witness.count() as u64;
    Ok(())
}

fn set(replica: &Replica, name: &str, value: &str) -> Result<(), String> {
    replica.conn().pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error.to_string()),
    })
}

impl Bench {
    fn open(&self, seed: u64) -> Result<Replica, String> {
        let replica = Replica::open(&self.path, pair::options(seed))
            .map_err(|error| format!("the file does not open: {error}"))?;
        set(&replica, "synchronous", self.mode.synchronous)?;
        Ok(replica)
    }

    fn cut_once(&mut self, random: &mut Random, tally: &mut Tally) -> Result<(), String> {
        let mut replica = self.open(random.bits())?;
        let sidecar = kithdb_core::life::sidecar_path(&self.path);
        let synced_sidecar = std::fs::read(&sidecar).map_err(|error| error.to_string())?;
        vfs::set_fault(&self.folder, Some(Fault::PowerCut(random.between(1, OPERATIONS_MAX) as u64)));
        let begun = self.work(&mut replica, random, tally)?;
        // Nothing that closing writes reaches the disk.
        vfs::set_fault(&self.folder, Some(Fault::PowerCut(0)));
        drop(replica);
        vfs::cut_power(&self.folder, random);
        if random.percent(30) {
            // It is synced when it is made only.
            std::fs::write(&sidecar, synced_sidecar).map_err(|error| error.to_string())?;
        }
        if random.percent(20) {
            // The power goes again while the file is recovered.
            vfs::set_fault(&self.folder, Some(Fault::PowerCut(random.between(1, 20) as u64)));
            drop(Replica::open(&self.path, pair::options(random.bits())));
            vfs::set_fault(&self.folder, Some(Fault::PowerCut(0)));
            vfs::cut_power(&self.folder, random);
        }
        let mut replica = self.open(random.bits())?;
        let required = self.acknowledged.saturating_sub(self.mode.losses_max()).max(self.published);
        let last = check_opened(&mut replica, &mut self.witness, required, begun)?;
        tally.lost += self.acknowledged.saturating_sub(last);
        tally.incarnations += u64::from(replica.life().reason().is_some());
        // Checking has published everything.
        (self.acknowledged, self.published) = (last, last);
        replica.close().map_err(|error| error.to_string())
    }

    /// Works until the power goes; returns the number of the last transaction that was begun.
    fn work(&mut self, replica: &mut Replica, random: &mut Random, tally: &mut Tally) -> Result<u64, String> {
        let mut begun = self.acknowledged;
        for _ in 0..random.between(1, ACTIONS_MAX) {
            let done = match random.below(100) {
                0..=79 => {
                    begun = self.acknowledged + 1;
                    let written = numbered::write(replica, begun, ROWS_MAX, random).map_err(|error| error.to_string());
                    if written.is_ok() {
                        self.acknowledged = begun;
                        tally.commits += 1;
                    }
                    written
                }
                80..=92 => self.publish(replica),
                _ => replica.execute_batch("PRAGMA wal_checkpoint").map_err(|error| error.to_string()),
            };
            if let Err(error) = done {
                return if vfs::has_failed(&self.folder) {
                    Ok(begun)
                } else {
                    Err(format!("there was no reason to fail: {error}"))
                };
            }
        }
        Ok(begun)
    }

    fn publish(&mut self, replica: &mut Replica) -> Result<(), String> {
        let report = replica.seal(SealBudget::default()).map_err(|error| error.to_string())?;
        for head in report.heads {
            let mut entries = Vec::new();
            let mut next = SequenceNumber::default().next();
            while next <= head.height {
                entries
                    .extend(replica.load_entries(&head.id, next, BYTES_PER_LOAD).map_err(|error| error.to_string())?);
                next = entries.last().map_or(head.height, |entry| entry.header.sequence).next();
            }
            self.witness.give(&entries)?;
        }
        if !report.more {
            self.published = self.acknowledged;
        }
        Ok(())
    }
}
