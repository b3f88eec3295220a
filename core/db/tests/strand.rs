//! A file that is restored together with its sidecar and written to before it meets anybody: what it wrote is written anew, and all that
//! it had published before comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kithdb_core::apply::ApplyBudget;
use kithdb_core::entries::Stored;
use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_core::strand::{Branch, OwnFork, TakenBack};
use kithdb_log::{Role, SealedEntry, SequenceNumber, StreamId};

const NOW: u64 = 1_800_000_000_000;
const TABLES: [&str; 3] = ["notes", "people", "numbers"];

/// A device with a file, and others in memory.
struct World {
    dir: tempfile::TempDir,
    clock: Arc<AtomicU64>,
    /// The device whose file is restored.
    here: Replica,
    there: Replica,
}

fn part(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn seal(replica: &mut Replica) {
    while replica.seal(SealBudget::default()).unwrap().more {}
}

fn entries(replica: &Replica, stream: &StreamId) -> Vec<SealedEntry> {
    replica.load_entries(stream, SequenceNumber::new(1), usize::MAX).unwrap()
}

/// Finds where the streams that `here` wrote itself part from what `there` holds, as the engine does.
fn find_forks(here: &Replica, there: &Replica) -> Vec<OwnFork> {
    let mut forks = Vec::new();
    for stream in there.sync_state().unwrap().streams.iter().filter(|stream| stream.id.author == here.author()) {
        for entry in entries(there, &stream.id) {
            let (sequence, previous) = (entry.header.sequence, entry.header.previous);
            match here.compare_own(&stream.id, sequence, entry.hash(), Some(previous)).unwrap() {
                Branch::Forked => {
                    forks.push(OwnFork { stream: stream.id, agreed: SequenceNumber::new(sequence.get() - 1) });
                }
                Branch::Same | Branch::ForkedBefore => {}
                Branch::Settled => break,
            }
        }
    }
    forks
}

/// Carries over all that `to` lacks and merges it; tells how many entries belong to another branch.
fn pull(from: &Replica, to: &mut Replica) -> usize {
    let known = to.sync_state().unwrap();
    let mut forked = 0;
    for stream in from.sync_state().unwrap().streams {
        let height = known.streams.iter().find(|known| known.id == stream.id).map_or(0, |known| known.height.get());
        if height >= stream.height.get() {
            continue;
        }
        let entries = from.load_entries(&stream.id, SequenceNumber::new(height + 1), usize::MAX).unwrap();
        for outcome in to.store_entries(&entries).unwrap().outcomes {
            match outcome {
                Stored::New => {}
                Stored::Fork { .. } | Stored::Gap => forked += 1,
                Stored::Known => panic!("{outcome:?}"),
            }
        }
    }
    loop {
        let report = to.apply_stored(ApplyBudget::default()).unwrap();
        assert!(report.refused.is_empty(), "{:?}", report.refused);
        assert_eq!(report.waiting, 0);
        if !report.more {
            return forked;
        }
    }
}

fn dump(replica: &Replica) -> Vec<String> {
    let mut out = Vec::new();
    for (table, line) in [
        ("notes", "quote(id) || quote(body) || quote(done)"),
        ("people", "quote(id) || quote(mail) || quote(name)"),
        ("numbers", "quote(id) || quote(n)"),
    ] {
        let sql = format!("SELECT '{table} ' || {line} FROM {table} ORDER BY 1");
        let mut select = replica.conn().prepare(&sql).unwrap();
        out.extend(select.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
        out.extend(replica.parked_dump(table).unwrap().into_iter().map(|life| format!("{table} parks {life:?}")));
    }
    out
}

#[track_caller]
fn verify(replica: &mut Replica) {
    let report = replica.verify(|_, _, _| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.problems);
}

impl World {
    fn options(clock: &Arc<AtomicU64>) -> OpenOptions {
        let clock = Arc::clone(clock);
        OpenOptions { clock: Arc::new(move || clock.fetch_add(1, Ordering::Relaxed)), ..OpenOptions::default() }
    }

    /// Founds a workspace of two; `define` says whether its tables are there when the copy is made.
    fn new(define: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(NOW));
        let init = InitOptions { open: Self::options(&clock), ..InitOptions::new("here") };
        let mut here = Replica::init(dir.path().join("a.db"), init).unwrap();
        let there = Self::join(&mut here, &clock, "there");
        let mut world = Self { dir, clock, here, there };
        if define {
            world.define();
            world.write(
                "INSERT INTO notes VALUES('a', 'first', 0), ('b', 'second', 0), ('c', 'third', 0);
                 INSERT INTO people VALUES('x', 'x@', 'X'); INSERT INTO numbers VALUES(1, 10)",
            );
            world.meet();
        }
        world
    }

    fn join(founder: &mut Replica, clock: &Arc<AtomicU64>, name: &str) -> Replica {
        let ticket = founder.invite(Role::Writer, NOW * 2, Vec::new()).unwrap();
        let options = JoinOptions { open: Self::options(clock), ..JoinOptions::new(name) };
        let pending = Replica::prepare_join_memory(&ticket, options).unwrap();
        founder.admit(&pending.request().unwrap(), NOW).unwrap();
        let operations: Vec<_> = founder.membership().operations().cloned().collect();
        pending.complete(&operations).unwrap()
    }

    fn define(&mut self) {
        self.here
            .execute_batch(
                "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, done INT);
                 CREATE TABLE people(id TEXT PRIMARY KEY, mail TEXT UNIQUE, name TEXT);
                 CREATE TABLE numbers(id INTEGER PRIMARY KEY, n INT)",
            )
            .unwrap();
        for table in TABLES {
            self.here.sync_table(table).unwrap();
        }
    }

    /// Writes here and seals it: every call makes entries of its own.
    fn write(&mut self, sql: &str) {
        self.here.execute_batch(sql).unwrap();
        seal(&mut self.here);
    }

    /// Closes the file here and does something to it.
    fn closed(&mut self, run: impl FnOnce(&Path)) {
        let path = self.here.path().unwrap().to_owned();
        let other = Replica::open_memory(InitOptions::new("placeholder")).unwrap();
        std::mem::replace(&mut self.here, other).close().unwrap();
        run(&path);
        self.here = Replica::open(&path, Self::options(&self.clock)).unwrap();
    }

    fn back_up(&mut self) {
        let backup = self.dir.path().join("backup.db");
        self.closed(|path| {
            for suffix in ["", "-kith-life"] {
                fs::copy(part(path, suffix), part(&backup, suffix)).unwrap();
            }
        });
    }

    /// Puts the copy and its sidecar in the place of the originals, in the same inodes: nothing gives it away.
    fn restore(&mut self) {
        let (backup, life) = (self.dir.path().join("backup.db"), self.here.life().incarnation());
        self.closed(|path| {
            for suffix in ["", "-kith-life"] {
                fs::write(part(path, suffix), fs::read(part(&backup, suffix)).unwrap()).unwrap();
            }
        });
        assert_eq!(self.here.life().incarnation(), life, "the restore was noticed");
    }

    /// Lets both meet: here takes back what forked, then everything is carried both ways.
    fn meet(&mut self) -> TakenBack {
        seal(&mut self.here);
        seal(&mut self.there);
        let forks = find_forks(&self.here, &self.there);
        let taken = self.here.take_back(&forks, "a test").unwrap();
        assert_eq!(pull(&self.there, &mut self.here), 0);
        assert_eq!(pull(&self.here, &mut self.there), 0);
        taken
    }

    /// Both hold and show the same, and everything agrees with the log.
    #[track_caller]
    fn check(&mut self, rows: &[&str]) {
        verify(&mut self.here);
        verify(&mut self.there);
        assert_eq!(dump(&self.here), dump(&self.there));
        let (here, there) = (self.here.sync_state().unwrap(), self.there.sync_state().unwrap());
        let heads = |state: &kithdb_core::entries::SyncState| {
            let mut heads: Vec<_> =
                state.streams.iter().map(|stream| (stream.id, stream.height, stream.head)).collect();
            heads.sort();
            heads
        };
        assert_eq!(heads(&here), heads(&there));
        let shown = dump(&self.here);
        for row in rows {
            assert!(shown.iter().any(|line| line == row), "{row} is not in {shown:#?}");
        }
    }
}

#[test]
fn nothing_is_lost_whichever_branch_is_longer() {
    for (published, stranded) in [(1, 1), (1, 4), (4, 1), (3, 3), (0, 2), (2, 0)] {
        let mut world = World::new(true);
        world.back_up();
        for number in 0..published {
            world.write(&format!("INSERT INTO notes VALUES('published {number}', 'p', {number})"));
        }
        world.meet();
        let (life, arrival) = (world.here.life().incarnation(), world.here.arrival().unwrap());
        world.restore();
        for number in 0..stranded {
            world.write(&format!("INSERT INTO notes VALUES('stranded {number}', 's', {number})"));
        }
        let before = world.here.arrival().unwrap();
        let taken = world.meet();
        let rows: Vec<String> = (0..published)
            .map(|number| format!("notes 'published {number}''p'{number}"))
            .chain((0..stranded).map(|number| format!("notes 'stranded {number}''s'{number}")))
            .collect();
        world.check(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        let forked = published > 0 && stranded > 0;
        assert_eq!((taken.entries, taken.operations), if forked { (stranded, stranded) } else { (0, 0) });
        assert_eq!(world.here.life().incarnation() != life, forked);
        assert!(world.here.arrival().unwrap() > before.min(arrival), "numbers of arrivals are not used again");
        // The sidecar has followed: this is one life, and it goes on.
        let life = world.here.life().incarnation();
        world.closed(|_| {});
        assert_eq!(world.here.life().incarnation(), life);
        world.write("INSERT INTO notes VALUES('later', 'l', 0)");
        world.meet();
        world.check(&["notes 'later''l'0"]);
    }
}

#[test]
fn every_kind_of_write_keeps_its_meaning() {
    let mut world = World::new(true);
    world.write(
        "INSERT INTO notes VALUES('moves', 'm', 1), ('dies', 'd', 1), ('comes back', 'old', 1);
         INSERT INTO people VALUES('holder', 'contested@', 'old')",
    );
    world.meet();
    world.back_up();
    // What was published: other cells of the same rows, another row under the same key, the same UNIQUE value, the same number.
    world.write("UPDATE notes SET done = 7 WHERE id = 'a'");
    world.write(
        "INSERT INTO notes VALUES('both', 'published', 1); INSERT INTO people VALUES('p', 'same@', 'published')",
    );
    world.write("INSERT INTO numbers VALUES(2, 20), (3, 33); UPDATE notes SET done = 8 WHERE id = 'moves'");
    world.meet();
    world.restore();
    world.write("UPDATE notes SET body = 'stranded' WHERE id = 'a'; UPDATE notes SET body = 'again' WHERE id = 'a'");
    world.write("INSERT INTO notes VALUES('both', 'stranded', 2); UPDATE notes SET done = 3 WHERE id = 'both'");
    world.write("DELETE FROM notes WHERE id = 'dies'; DELETE FROM notes WHERE id = 'comes back'");
    world.write("INSERT INTO notes VALUES('comes back', 'new', 2)");
    world.write("UPDATE notes SET id = 'moved' WHERE id = 'moves'; UPDATE notes SET body = 'mm' WHERE id = 'moved'");
    world.write("INSERT INTO notes VALUES('short', 's', 1); DELETE FROM notes WHERE id = 'short'");
    world.write(
        "UPDATE people SET mail = NULL WHERE id = 'holder'; INSERT INTO people VALUES('heir', 'contested@', 'new')",
    );
    world.write("INSERT INTO people VALUES('s', 'same@', 'stranded')");
    world.write("INSERT INTO numbers VALUES(2, 22), (3, 33)");
    let taken = world.meet();
    assert_eq!(taken.entries, 9, "{taken:?}");
    world.check(&[
        "notes 'a''again'7",
        "notes 'both''stranded'3",
        "notes 'comes back''new'2",
        "notes 'moved''mm'8",
        "people 'holder'NULL'old'",
        "people 'heir''contested@''new'",
        // Whoever claimed the value first keeps it; the other is kept aside, as it is between two devices.
        "people 'p''same@''published'",
        "numbers 220",
        "numbers 333",
    ]);
    let shown = dump(&world.here).join("\n");
    assert!(!shown.contains("notes 'dies'") && !shown.contains("notes 'moves'") && !shown.contains("notes 'short'"));
    let parked = world.here.parked_dump("people").unwrap();
    assert!(parked.iter().any(|life| life.reason == kithdb_core::merge::Reason::Unique), "{parked:?}");
    let parked = world.here.parked_dump("numbers").unwrap();
    assert!(parked.iter().any(|life| life.reason == kithdb_core::merge::Reason::IdTaken), "{parked:?}");
}

#[test]
fn what_is_pending_and_what_others_wrote_since_wins_over_what_is_stranded() {
    let mut world = World::new(true);
    world.back_up();
    world.write("INSERT INTO notes VALUES('published', 'p', 0)");
    world.meet();
    world.restore();
    world.write("UPDATE notes SET body = 'old', done = 1 WHERE id = 'a'; INSERT INTO notes VALUES('new', 'old', 1)");
    // Another device writes later, and that arrives here before the fork is noticed.
    world.there.execute_batch("UPDATE notes SET body = 'newer' WHERE id = 'a'").unwrap();
    seal(&mut world.there);
    pull(&world.there, &mut world.here);
    world.here.execute_batch("UPDATE notes SET done = 2 WHERE id = 'new'; DELETE FROM notes WHERE id = 'b'").unwrap();
    let forks = find_forks(&world.here, &world.there);
    world.here.take_back(&forks, "a test").unwrap();
    verify(&mut world.here);
    world.meet();
    world.check(&["notes 'a''newer'1", "notes 'new''old'2", "notes 'published''p'0"]);
    assert!(!dump(&world.here).join("\n").contains("notes 'b'"));
}

#[test]
fn transactions_over_two_tables_and_streams_that_did_not_fork() {
    let mut world = World::new(true);
    world.back_up();
    world.write("BEGIN; INSERT INTO notes VALUES('n', 'p', 1); INSERT INTO people VALUES('n', 'p@', 'p'); COMMIT");
    world.meet();
    world.restore();
    // Two of the three tables fork; the part in the third stays where it is.
    world.write(
        "BEGIN; INSERT INTO notes VALUES('m', 's', 1); INSERT INTO people VALUES('m', 's@', 's');
         INSERT INTO numbers VALUES(5, 50); COMMIT",
    );
    let old = world.here.life().incarnation();
    let taken = world.meet();
    assert_eq!((taken.entries, taken.heads.len()), (2, 2));
    world.check(&["notes 'm''s'1", "notes 'n''p'1", "people 'm''s@''s'", "people 'n''p@''p'", "numbers 550"]);
    let numbers = world.here.registry().by_name("numbers").unwrap().lane;
    let streams = world.there.sync_state().unwrap().streams;
    assert!(streams.iter().filter(|stream| stream.id.lane == numbers).all(|stream| stream.id.incarnation == old));
}

#[test]
fn streams_that_forked_at_their_first_entry_and_definitions_go_on() {
    let mut world = World::new(false);
    world.back_up();
    world.define();
    world.write("INSERT INTO notes VALUES('published', 'p', 1)");
    world.meet();
    world.restore();
    world.here.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, done INT)").unwrap();
    // Rows from before sync are stranded too.
    world.here.execute_batch("INSERT INTO notes VALUES('existing', 'e', 1)").unwrap();
    world.here.sync_table("notes").unwrap();
    world.write("INSERT INTO notes VALUES('stranded', 's', 1); UPDATE notes SET done = 2 WHERE id = 'existing'");
    world.meet();
    world.check(&["notes 'existing''e'2", "notes 'published''p'1", "notes 'stranded''s'1"]);
}

#[test]
fn fork_that_shows_in_a_second_table_later_needs_no_further_incarnation() {
    let mut world = World::new(true);
    world.back_up();
    world.write("INSERT INTO notes VALUES('n', 'p', 1); INSERT INTO people VALUES('n', 'p@', 'p')");
    world.meet();
    world.restore();
    world.write("INSERT INTO notes VALUES('m', 's', 1); INSERT INTO people VALUES('m', 's@', 's')");
    let forks = find_forks(&world.here, &world.there);
    assert_eq!(forks.len(), 2);
    world.here.take_back(&forks[..1], "a test").unwrap();
    let life = world.here.life().incarnation();
    assert_eq!(world.here.life().reason(), Some("a test"));
    verify(&mut world.here);
    world.here.take_back(&forks[1..], "another").unwrap();
    assert_eq!(world.here.life().incarnation(), life);
    // Once more changes nothing.
    assert_eq!(world.here.take_back(&forks, "again").unwrap().entries, 0);
    assert_eq!(world.here.life().incarnation(), life);
    world.meet();
    world.check(&["notes 'm''s'1", "notes 'n''p'1", "people 'm''s@''s'", "people 'n''p@''p'"]);
}

#[test]
fn branch_that_was_taken_back_is_not_taken_up_again_from_who_has_it() {
    let mut world = World::new(true);
    let mut third = World::join(&mut world.here, &world.clock, "third");
    let operations: Vec<_> = world.here.membership().operations().cloned().collect();
    world.there.store_admin(&operations).unwrap();
    assert_eq!(pull(&world.here, &mut third), 0);
    world.back_up();
    world.write("INSERT INTO notes VALUES('published', 'p', 1)");
    world.meet();
    world.restore();
    world.write("INSERT INTO notes VALUES('stranded', 's', 1)");
    assert_eq!(pull(&world.here, &mut third), 0, "the third takes the branch that is given up later");
    let forks = find_forks(&world.here, &world.there);
    world.here.take_back(&forks, "a test").unwrap();
    let life = world.here.life().incarnation();
    // Before the other branch has come, it would fit.
    assert_eq!(pull(&third, &mut world.here), 1);
    world.meet();
    world.check(&["notes 'published''p'1", "notes 'stranded''s'1"]);
    assert_eq!(find_forks(&world.here, &third), [], "nothing more is to be done about it");
    assert_eq!(world.here.life().incarnation(), life);
    assert_eq!(pull(&world.here, &mut third), 0);
    assert!(dump(&third).iter().any(|line| line == "notes 'stranded''s'1"));
}

#[test]
fn entries_of_lives_that_this_file_has_not_heard_of_are_compared_without_writing() {
    let mut world = World::new(true);
    world.back_up();
    world.here.start_incarnation("elsewhere").unwrap();
    world.write("INSERT INTO notes VALUES('elsewhere', 'e', 1)");
    world.meet();
    world.closed(|path| fs::write(path, fs::read(path.with_file_name("backup.db")).unwrap()).unwrap());
    world.write("INSERT INTO notes VALUES('here', 'h', 1)");
    world.meet();
    world.check(&["notes 'elsewhere''e'1", "notes 'here''h'1"]);
}
