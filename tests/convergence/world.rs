//! Runs a scenario on real replicas: their SQL, their clocks, and what each hears of the others, in disorder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kithdb_core::apply::ApplyBudget;
use kithdb_core::entries::Stored;
use kithdb_core::join::JoinOptions;
use kithdb_core::log_error::LogError;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_core::sources::{ClockSource, Entropy};
use kithdb_core::strand::{Branch, OwnFork};
use kithdb_log::{AuthorId, IncarnationId, LaneId, Role, SealedEntry, SequenceNumber, StreamId};

use crate::check::{Tally, check_alone};
use crate::forge;
use crate::model::Secrets;
use crate::rng::Rng;
use crate::scenario::{EVERYTHING, Event, Scenario};
use crate::shapes::SHAPES;

/// When every run begins, in milliseconds since the Unix epoch.
const START_UNIX_MS: u64 = 1_800_000_000_000;
/// More than any clock is ever off, in milliseconds.
const LATER_MS: u64 = 12 * 3_600_000;
/// How often everybody may tell everybody before nothing must be left to tell.
const ROUNDS_MAX: usize = 8;

/// A time after everything that happens in a run, in milliseconds since the Unix epoch.
pub const fn far_later() -> u64 {
    START_UNIX_MS + 10 * LATER_MS
}

/// A failure, with what led to it.
pub type Outcome<T> = Result<T, String>;

/// Adds what was being done to an error and its causes.
pub fn during<E: std::error::Error>(what: &str) -> impl FnOnce(E) -> String {
    move |error| {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

/// One peer.
pub struct Peer {
    pub replica: Replica,
    now_unix_ms: Arc<AtomicU64>,
    skew_ms: i64,
    drift: i64,
    settings: Vec<String>,
    backup: Option<PathBuf>,
}

/// All peers of one run.
pub struct World {
    pub peers: Vec<Peer>,
    pub secrets: Secrets,
    /// What was compared before the end.
    pub midway: Tally,
    pub tables: Vec<usize>,
    elapsed_ms: u64,
    folder: Option<tempfile::TempDir>,
    seed: u64,
    files: u64,
}

/// Opens a replica with a clock and random bytes of the run's own.
pub fn options(seed: u64, clock: &Arc<AtomicU64>) -> OpenOptions {
    let clock = Arc::clone(clock);
    let source: ClockSource = Arc::new(move || clock.load(Ordering::Relaxed));
    OpenOptions { clock: source, entropy: Entropy::seeded(seed), ..OpenOptions::default() }
}

impl World {
    /// Founds a workspace and lets everybody join.
    pub fn open(scenario: &Scenario) -> Outcome<Self> {
        let folder =
            if scenario.on_disk { Some(tempfile::tempdir().map_err(during("making a folder"))?) } else { None };
        let mut files = 0;
        let mut peers: Vec<Peer> = Vec::new();
        for index in 0..scenario.peers {
            let now_unix_ms = Arc::new(AtomicU64::new(START_UNIX_MS));
            files += 1;
            let open = options(file_seed(scenario.seed, files), &now_unix_ms);
            let path = folder.as_ref().map(|folder| path_in(folder, files));
            let replica = match peers.first_mut() {
                None => found(path, open)?,
                Some(founder) => join(&mut founder.replica, path, open)?,
            };
            let (drift, settings) = (scenario.drifts[index], scenario.settings[index].clone());
            peers.push(Peer { replica, now_unix_ms, skew_ms: 0, drift, settings, backup: None });
        }
        let everybody: Vec<_> = peers[0].replica.membership().operations().cloned().collect();
        for peer in &mut peers[1..] {
            peer.replica.store_admin(&everybody).map_err(during("telling who belongs"))?;
        }
        let secrets = Secrets::of_member(&peers[1].replica)?;
        Ok(Self {
            peers,
            secrets,
            midway: Tally::default(),
            tables: scenario.tables.clone(),
            elapsed_ms: 0,
            folder,
            seed: scenario.seed,
            files,
        })
    }

    fn new_path(&mut self) -> Option<PathBuf> {
        self.files += 1;
        self.folder.as_ref().map(|folder| path_in(folder, self.files))
    }

    fn next_seed(&mut self) -> u64 {
        self.files += 1;
        file_seed(self.seed, self.files)
    }

    fn wait(&mut self, ms: u64) {
        self.elapsed_ms += ms;
        for peer in &self.peers {
            peer.set_clock(self.elapsed_ms);
        }
    }

    /// Lets one event happen.
    pub fn step(&mut self, event: &Event) -> Outcome<()> {
        self.wait(20);
        let peers = self.peers.len();
        match event {
            Event::Create { peer, table } => {
                let shape = &SHAPES[*table];
                let peer = &mut self.peers[*peer % peers];
                // It may have come from a peer.
                if peer.replica.execute_batch(shape.sql).is_ok() {
                    for sql in shape.indexes {
                        peer.replica.execute_batch(sql).map_err(during("creating an index"))?;
                    }
                }
                peer.set_up();
            }
            Event::Sync { peer, table } => {
                let peer = &mut self.peers[*peer % peers];
                if has_table(peer, SHAPES[*table].name)? {
                    peer.replica.sync_table(SHAPES[*table].name).map_err(during("kith_sync"))?;
                }
            }
            Event::Run { peer, sql } => self.peers[*peer % peers].run(sql)?,
            Event::Seal { peer, bytes } => {
                self.peers[*peer % peers].seal(*bytes)?;
            }
            Event::Pull { to, from, order } => {
                if to % peers != from % peers {
                    self.pull(*to % peers, *from % peers, &mut Rng::new(*order), *order == EVERYTHING)?;
                }
            }
            Event::Apply { peer, bytes } => {
                self.peers[*peer % peers].apply(*bytes)?;
            }
            Event::Forge { peer, table, order } => {
                let peer = &mut self.peers[*peer % peers];
                let now_unix_ms = peer.now_unix_ms.load(Ordering::Relaxed);
                let entry = forge::entry(&peer.replica, &self.secrets, &SHAPES[*table], now_unix_ms, *order)?;
                peer.replica.store_entries(&[entry]).map_err(during("storing a forged entry"))?;
            }
            Event::Check { peer } => {
                let index = *peer % peers;
                if self.peers[index].seal_all().is_ok() {
                    let tally = check_alone(&mut self.peers[index].replica, &self.secrets, &self.tables, false)?;
                    self.midway.add(&tally);
                }
            }
            Event::Wait { ms } => self.wait(*ms),
            Event::Skew { peer, ms } => self.peers[*peer % peers].skew_ms = *ms,
            Event::Copy { peer } => self.copy(*peer % peers)?,
            Event::BackUp { peer } => self.back_up(*peer % peers)?,
            Event::Restore { peer } => self.restore(*peer % peers)?,
            Event::Strand { peer, published, stranded } => self.strand(*peer % peers, published, stranded)?,
            Event::Reopen { peer } => self.reopen(*peer % peers)?,
        }
        Ok(())
    }

    /// Stores some, or all, of what another peer has; returns how many entries were new.
    fn pull(&mut self, to: usize, from: usize, rng: &mut Rng, everything: bool) -> Outcome<usize> {
        let known = heights(&self.peers[to].replica)?;
        let mut queues: Vec<Vec<SealedEntry>> = Vec::new();
        for (stream, height) in heights(&self.peers[from].replica)? {
            let have = known.get(&stream).copied().unwrap_or_default();
            if height <= have || (!everything && rng.chance(25)) {
                continue;
            }
            // An entry that is known already now and then.
            let first = if have.get() > 0 && rng.chance(20) { have } else { have.next() };
            let mut entries =
                self.peers[from].replica.load_entries(&stream, first, usize::MAX).map_err(during("loading entries"))?;
            if !everything {
                entries.truncate(1 + rng.below(entries.len()));
            }
            entries.reverse();
            queues.push(entries);
        }
        let mut arriving = Vec::new();
        while !queues.is_empty() {
            let index = rng.below(queues.len());
            match queues[index].pop() {
                Some(entry) => {
                    if rng.chance(5) {
                        arriving.push(entry.clone());
                    }
                    arriving.push(entry);
                }
                None => {
                    queues.swap_remove(index);
                }
            }
        }
        let peer = &mut self.peers[to];
        let mut stored = 0;
        while !arriving.is_empty() {
            let count = (1 + rng.below(6)).min(arriving.len());
            let rest = arriving.split_off(count);
            let report = peer.replica.store_entries(&arriving).map_err(during("storing"))?;
            for outcome in &report.outcomes {
                match outcome {
                    Stored::New => stored += 1,
                    Stored::Known => {}
                    other => return Err(format!("peer {to} took an entry of peer {from} as {other:?}")),
                }
            }
            arriving = rest;
            if !everything && rng.chance(30) {
                peer.apply(1 << 20)?;
            }
        }
        Ok(stored)
    }

    /// Copies a peer's file and opens the copy.
    fn copy(&mut self, from: usize) -> Outcome<()> {
        let Some(path) = self.peers[from].replica.path().map(Path::to_owned) else { return Ok(()) };
        let Some(copy) = self.new_path() else { return Ok(()) };
        for suffix in ["", "-wal", "-kith-key", "-kith-life"] {
            let (source, target) = (beside(&path, suffix), beside(&copy, suffix));
            if source.exists() {
                std::fs::copy(source, target).map_err(during("copying"))?;
            }
        }
        let now_unix_ms = Arc::new(AtomicU64::new(0));
        let open = options(self.next_seed(), &now_unix_ms);
        let replica = Replica::open(&copy, open).map_err(during("opening a copy"))?;
        let original = &self.peers[from];
        if replica.life().incarnation() == original.replica.life().incarnation() {
            return Err("a copy took itself for the original".to_owned());
        }
        let peer = Peer {
            replica,
            now_unix_ms,
            skew_ms: original.skew_ms,
            drift: original.drift,
            settings: original.settings.clone(),
            backup: None,
        };
        peer.set_clock(self.elapsed_ms);
        self.peers.push(peer);
        Ok(())
    }

    /// Puts an earlier copy of a peer's own file in its place; what was written since and told nobody is gone.
    fn restore(&mut self, index: usize) -> Outcome<()> {
        let Some((path, backup)) =
            self.peers[index].replica.path().map(Path::to_owned).zip(self.peers[index].backup.clone())
        else {
            return Ok(());
        };
        let seed = self.next_seed();
        let peer = self.peers.remove(index);
        let open = options(seed, &peer.now_unix_ms);
        peer.replica.close().map_err(during("closing"))?;
        for suffix in ["", "-wal"] {
            let (source, target) = (beside(&backup, suffix), beside(&path, suffix));
            if source.exists() {
                std::fs::copy(source, target).map_err(during("restoring"))?;
            } else if target.exists() {
                std::fs::remove_file(target).map_err(during("restoring"))?;
            }
        }
        let mut peer = Peer { replica: Replica::open(&path, open).map_err(during("opening a restored file"))?, ..peer };
        peer.set_up();
        self.peers.insert(index, peer);
        Ok(())
    }

    /// Lets a peer's streams fork, and the peer find out.
    fn strand(&mut self, index: usize, published: &[String], stranded: &[String]) -> Outcome<()> {
        let Some(path) = self.peers[index].replica.path().map(Path::to_owned) else { return Ok(()) };
        let Some(backup) = self.new_path() else { return Ok(()) };
        self.peers[index].seal(1 << 20)?;
        for suffix in ["", "-wal", "-kith-life"] {
            let source = beside(&path, suffix);
            if source.exists() {
                std::fs::copy(source, beside(&backup, suffix)).map_err(during("copying"))?;
            }
        }
        self.peers[index].run(published)?;
        self.peers[index].seal(1 << 20)?;
        for to in (0..self.peers.len()).filter(|to| *to != index) {
            self.pull(to, index, &mut Rng::new(EVERYTHING), true)?;
        }
        let seed = self.next_seed();
        let peer = self.peers.remove(index);
        let open = options(seed, &peer.now_unix_ms);
        let life = peer.replica.life().incarnation();
        peer.replica.close().map_err(during("closing"))?;
        for suffix in ["", "-wal", "-kith-life"] {
            let (source, target) = (beside(&backup, suffix), beside(&path, suffix));
            match std::fs::read(source) {
                // Written over the file that is there, so that its inode stays.
                Ok(bytes) => std::fs::write(target, bytes).map_err(during("restoring"))?,
                Err(_) if target.exists() => std::fs::remove_file(target).map_err(during("restoring"))?,
                Err(_) => {}
            }
        }
        let mut peer = Peer { replica: Replica::open(&path, open).map_err(during("opening a restored file"))?, ..peer };
        if peer.replica.life().incarnation() != life {
            return Err("a restored sidecar gave itself away".to_owned());
        }
        peer.set_up();
        self.peers.insert(index, peer);
        self.wait(20);
        let peer = &mut self.peers[index];
        peer.run(stranded)?;
        peer.seal(1 << 20)?;
        let other = (index + 1) % self.peers.len();
        let forks = self.find_forks(index, other)?;
        let is_behind = {
            let own = heights(&self.peers[index].replica)?;
            heights(&self.peers[other].replica)?
                .iter()
                .any(|(stream, height)| stream.incarnation == life && own.get(stream).is_none_or(|own| own < height))
        };
        let peer = &mut self.peers[index];
        if forks.is_empty() {
            if is_behind {
                peer.replica.start_incarnation("it is behind").map_err(during("beginning an incarnation"))?;
            }
            return Ok(());
        }
        let mut taken = peer.replica.take_back(&forks, "it forked");
        if let Err(LogError::Clock(_)) = taken {
            peer.now_unix_ms.store(START_UNIX_MS + self.elapsed_ms + LATER_MS / 4, Ordering::Relaxed);
            taken = peer.replica.take_back(&forks, "it forked");
        }
        self.midway.taken_back += taken.map_err(during("writing anew what was stranded"))?.operations as usize;
        Ok(())
    }

    /// Finds where a peer's own streams part from what another holds of them.
    fn find_forks(&self, index: usize, other: usize) -> Outcome<Vec<OwnFork>> {
        let (here, there) = (&self.peers[index].replica, &self.peers[other].replica);
        let mut forks = Vec::new();
        for stream in heights(there)?.into_keys().filter(|stream| stream.author == here.author()) {
            let entries =
                there.load_entries(&stream, SequenceNumber::new(1), usize::MAX).map_err(during("loading entries"))?;
            for entry in entries {
                let (sequence, previous) = (entry.header.sequence, Some(entry.header.previous));
                let branch =
                    here.compare_own(&stream, sequence, entry.hash(), previous).map_err(during("comparing entries"))?;
                match branch {
                    Branch::Same | Branch::ForkedBefore => {}
                    Branch::Forked => {
                        forks.push(OwnFork { stream, agreed: SequenceNumber::new(sequence.get() - 1) });
                    }
                    Branch::Settled => return Err(format!("a fork of {stream:?} cannot be mended")),
                }
            }
        }
        Ok(forks)
    }

    fn back_up(&mut self, index: usize) -> Outcome<()> {
        let Some(path) = self.peers[index].replica.path().map(Path::to_owned) else { return Ok(()) };
        let Some(backup) = self.new_path() else { return Ok(()) };
        for suffix in ["", "-wal"] {
            let source = beside(&path, suffix);
            if source.exists() {
                std::fs::copy(source, beside(&backup, suffix)).map_err(during("backing up"))?;
            }
        }
        self.peers[index].backup = Some(backup);
        Ok(())
    }

    fn reopen(&mut self, index: usize) -> Outcome<()> {
        let Some(path) = self.peers[index].replica.path().map(Path::to_owned) else { return Ok(()) };
        let seed = self.next_seed();
        let peer = self.peers.remove(index);
        let open = options(seed, &peer.now_unix_ms);
        let incarnation = peer.replica.life().incarnation();
        peer.replica.close().map_err(during("closing"))?;
        let mut peer = Peer { replica: Replica::open(&path, open).map_err(during("opening again"))?, ..peer };
        if peer.replica.life().incarnation() != incarnation {
            return Err("a file took itself for a copy".to_owned());
        }
        peer.set_up();
        self.peers.insert(index, peer);
        Ok(())
    }

    /// Sets all clocks right, and lets everybody tell everybody everything until nothing is new.
    pub fn settle(&mut self) -> Outcome<()> {
        for peer in &mut self.peers {
            peer.skew_ms = 0;
            peer.drift = 0;
        }
        self.wait(LATER_MS);
        let mut rng = Rng::new(self.seed ^ 0x5e77);
        for round in 0..ROUNDS_MAX {
            let mut moved = 0;
            for index in 0..self.peers.len() {
                let peer = &mut self.peers[index];
                for &table in &self.tables {
                    if has_table(peer, SHAPES[table].name)? {
                        let report =
                            peer.replica.sync_table(SHAPES[table].name).map_err(during("kith_sync at the end"))?;
                        moved += report.synced.len();
                    }
                }
                moved += peer.seal_all()?;
            }
            let mut order: Vec<(usize, usize)> = (0..self.peers.len())
                .flat_map(|to| (0..self.peers.len()).map(move |from| (to, from)))
                .filter(|(to, from)| to != from)
                .collect();
            rng.shuffle(&mut order);
            for (to, from) in order {
                moved += self.pull(to, from, &mut rng, true)?;
                if rng.chance(30) {
                    moved += self.peers[to].apply_all()?;
                }
            }
            for peer in &mut self.peers {
                moved += peer.apply_all()?;
            }
            if moved == 0 {
                return self.check_settled(round);
            }
        }
        Err(format!("there was still something new in round {ROUNDS_MAX}"))
    }

    fn check_settled(&mut self, round: usize) -> Outcome<()> {
        let first = heights(&self.peers[0].replica)?;
        let refused = with_status(&self.peers[0].replica, "= 3")?;
        for (index, peer) in self.peers.iter().enumerate() {
            if heights(&peer.replica)? != first {
                return Err(format!("peer {index} has other entries than peer 0 after round {round}"));
            }
            if with_status(&peer.replica, "= 3")? != refused {
                return Err(format!("peer {index} refused other entries than peer 0"));
            }
            let waiting = with_status(&peer.replica, "NOT IN (1, 3)")?.len();
            if waiting > 0 {
                return Err(format!("{waiting} entries of peer {index} wait for ever"));
            }
        }
        Ok(())
    }
}

impl Peer {
    fn set_clock(&self, elapsed_ms: u64) {
        let now = START_UNIX_MS as i64 + elapsed_ms as i64 + self.skew_ms + elapsed_ms as i64 * self.drift / 1000;
        self.now_unix_ms.store(now as u64, Ordering::Relaxed);
    }

    /// Sets what the peer sets, as far as its tables are there.
    fn set_up(&mut self) {
        for sql in &self.settings {
            // A trigger whose table is not there yet is made later.
            let _ = self.replica.execute_batch(sql);
        }
    }

    fn run(&mut self, sql: &[String]) -> Outcome<()> {
        for statement in sql {
            // What a constraint, a missing table or a clock that is wrong refuses, is refused here too.
            let _ = self.replica.execute_batch(statement);
        }
        // A COMMIT that is refused may have ended the transaction, or left it open.
        if !self.replica.conn().is_autocommit()
            && self.replica.execute_batch("COMMIT").is_err()
            && !self.replica.conn().is_autocommit()
        {
            self.replica.execute_batch("ROLLBACK").map_err(during("rolling back"))?;
        }
        Ok(())
    }

    fn seal(&mut self, bytes: usize) -> Outcome<usize> {
        match self.replica.seal(SealBudget { bytes }) {
            Ok(report) => Ok(report.heads.len() + usize::from(report.more)),
            // A clock that is behind what it has heard of is set right before the end.
            Err(LogError::Clock(_)) => Ok(0),
            Err(error) => Err(during("sealing")(error)),
        }
    }

    fn seal_all(&mut self) -> Outcome<usize> {
        let mut sealed = 0;
        loop {
            let report = self.replica.seal(SealBudget::default()).map_err(during("sealing at the end"))?;
            sealed += report.heads.len();
            if !report.more {
                return Ok(sealed);
            }
        }
    }

    fn apply(&mut self, bytes: usize) -> Outcome<usize> {
        let report = match self.replica.apply_stored(ApplyBudget { bytes }) {
            Ok(report) => report,
            Err(LogError::Clock(_)) => return Ok(0),
            Err(error) => return Err(during("applying")(error)),
        };
        if let Some(refused) = report.refused.iter().find(|refused| !forge::is_forged(&refused.stream)) {
            return Err(format!("an entry was refused: {}", refused.reason));
        }
        if !report.tables_created.is_empty() {
            self.set_up();
        }
        Ok(report.entries as usize + usize::from(report.more))
    }

    fn apply_all(&mut self) -> Outcome<usize> {
        let mut applied = 0;
        loop {
            match self.apply(1 << 20)? {
                0 => return Ok(applied),
                count => applied += count,
            }
        }
    }
}

fn file_seed(seed: u64, file: u64) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(file)
}

fn path_in(folder: &tempfile::TempDir, file: u64) -> PathBuf {
    folder.path().join(format!("{file}.db"))
}

fn found(path: Option<PathBuf>, open: OpenOptions) -> Outcome<Replica> {
    let options = InitOptions { device_name: "founder".to_owned(), open };
    let founded = match path {
        None => Replica::open_memory(options),
        Some(path) => Replica::init(path, options),
    };
    founded.map_err(during("founding"))
}

fn join(founder: &mut Replica, path: Option<PathBuf>, open: OpenOptions) -> Outcome<Replica> {
    let ticket = founder.invite(Role::Writer, far_later(), Vec::new()).map_err(during("inviting"))?;
    let options = JoinOptions { device_name: "member".to_owned(), merge_by_key: false, open };
    let pending = match path {
        None => Replica::prepare_join_memory(&ticket, options),
        Some(path) => Replica::prepare_join(path, &ticket, options),
    };
    let pending = pending.map_err(during("joining"))?;
    let request = pending.request().map_err(during("joining"))?;
    founder.admit(&request, START_UNIX_MS).map_err(during("admitting"))?;
    let operations: Vec<_> = founder.membership().operations().cloned().collect();
    pending.complete(&operations).map_err(during("joining"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn has_table(peer: &Peer, name: &str) -> Outcome<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    peer.replica.conn().query_row(sql, [name], |row| row.get(0)).map_err(during("looking for a table"))
}

/// Names the entries of a replica that have a status.
pub fn with_status(replica: &Replica, status: &str) -> Outcome<BTreeSet<(StreamId, SequenceNumber)>> {
    let sql = format!(
        "SELECT a.author, a.incarnation, s.lane, e.sequence FROM kith__entries e JOIN kith__streams s ON s.num = e.stream
         JOIN kith__authors a ON a.num = s.author WHERE e.status {status}"
    );
    let mut select = replica.conn().prepare_cached(&sql).map_err(during("reading what waits"))?;
    let rows = select.query_map([], |row| {
        let author = AuthorId::from_bytes(row.get(0)?);
        let incarnation = IncarnationId::from_bytes(row.get(1)?);
        let stream = StreamId { author, incarnation, lane: LaneId::from_bytes(row.get(2)?) };
        Ok((stream, SequenceNumber::new(row.get::<_, i64>(3)?.unsigned_abs())))
    });
    rows.and_then(Iterator::collect).map_err(during("reading what waits"))
}

/// Tells how far a replica's streams reach.
pub fn heights(replica: &Replica) -> Outcome<BTreeMap<StreamId, SequenceNumber>> {
    let state = replica.sync_state().map_err(during("reading the streams"))?;
    Ok(state.streams.into_iter().map(|stream| (stream.id, stream.height)).collect())
}
