//! A full disk and I/O errors at every operation of a small piece of work.

use std::ffi::c_int;
use std::path::Path;

use kithdb_core::replica::Replica;
use kithdb_tests::random::Random;
use kithdb_tests::{numbered, pair};
use rusqlite::ffi;

use crate::law::{Witness, check_opened};
use crate::vfs::{self, Fault};

const CODES: [c_int; 3] = [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC];
const TRANSACTIONS: u64 = 3;
const ROWS_MAX: usize = 4;

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub faults: u64,
    /// Steps that failed with an error.
    pub errors: u64,
}

/// Lets each operation of the work fail in turn, once or from then on, and each in one of the ways a disk fails.
pub fn run(journal: &str, stays: bool, seed: u64) -> Result<Tally, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().canonicalize().map_err(|error| error.to_string())?;
    vfs::watch(&path);
    let outcome = on_one_file(&path, journal, stays, seed);
    vfs::unwatch(&path);
    outcome
}

fn on_one_file(folder: &Path, journal: &str, stays: bool, seed: u64) -> Result<Tally, String> {
    let path = folder.join("x.db");
    let mut tally = Tally::default();
    let mut random = Random::new(seed);
    let mut replica = pair::found(Some(&path), random.bits());
    replica
        .conn()
        .pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))
        .map_err(|error| error.to_string())?;
    numbered::create(&mut replica);
    let mut witness = Witness::new(&mut replica, random.bits());
    witness.check_equal(&mut replica)?;
    replica.close().map_err(|error| error.to_string())?;
    let mut last = 0;
    for at in 1.. {
        let code = CODES[(at as usize + seed as usize) % CODES.len()];
        vfs::set_fault(folder, Some(Fault::Error { at, code, stays }));
        let work = Work { path: &path, first: last + 1, seed: seed.wrapping_add(at) };
        let failed = |error: String| format!("{journal}, code {code}, operation {at}, stays: {stays}: {error}");
        let acknowledged = work.run(folder, &mut tally).map_err(failed)?;
        let was_reached = vfs::has_failed(folder);
        vfs::set_fault(folder, None);
        let mut replica =
            Replica::open(&path, pair::options(random.bits())).map_err(|error| failed(error.to_string()))?;
        last = check_opened(&mut replica, &mut witness, acknowledged, last + TRANSACTIONS + 1).map_err(failed)?;
        replica.close().map_err(|error| failed(error.to_string()))?;
        if !was_reached {
            break;
        }
        tally.faults += 1;
    }
    witness.verify()?;
    Ok(tally)
}

struct Work<'a> {
    path: &'a Path,
    first: u64,
    seed: u64,
}

impl Work<'_> {
    /// Writes, seals and writes again; goes on after errors, and once more after the cause is gone. Returns the last transaction
    /// that was acknowledged.
    fn run(&self, folder: &Path, tally: &mut Tally) -> Result<u64, String> {
        let mut random = Random::new(self.seed);
        let mut n = self.first;
        let mut note = |error: String| {
            tally.errors += 1;
            if error.trim().is_empty() { Err("an error says nothing".to_owned()) } else { Ok(()) }
        };
        let mut replica = match Replica::open(self.path, pair::options(self.seed)) {
            Ok(replica) => replica,
            Err(error) => {
                note(error.to_string())?;
                return Ok(n - 1);
            }
        };
        for step in 0..=TRANSACTIONS {
            if step == TRANSACTIONS {
                // The cause is gone: the same process goes on.
                vfs::lift_fault(folder);
            }
            match numbered::write(&mut replica, n, ROWS_MAX, &mut random) {
                Ok(()) => n += 1,
                Err(error) if step < TRANSACTIONS => note(error.to_string())?,
                Err(error) => return Err(format!("the replica does not go on: {error}")),
            }
            if step == 1 {
                match pair::seal_all(&mut replica) {
                    Ok(()) => {}
                    Err(error) => note(error)?,
                }
            }
        }
        pair::seal_all(&mut replica)?;
        Ok(n - 1)
    }
}
