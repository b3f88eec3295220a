//! Two drivers and no network: frames are handed over in memory, so bytes and round trips can be counted.

use std::collections::VecDeque;

use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::sources::Entropy;
use kithdb_log::Role;
use kithdb_log::ids::HelloNonce;
use kithdb_peer::{Driver, DriverEvent, Effect, SessionId, Traffic};
use kithdb_sync::{Event, Input, Now};

const NOW: Now = Now { unix_ms: 1_800_000_000_000, elapsed_ms: 1_000 };
const FAR: u64 = 4_102_444_800_000;

fn options(seed: u64) -> OpenOptions {
    OpenOptions { entropy: Entropy::seeded(seed), clock: std::sync::Arc::new(|| NOW.unix_ms), ..OpenOptions::default() }
}

/// An owner and a member, both in memory, with one synced table at the owner.
fn workspace() -> (Driver, Driver) {
    let mut owner = Replica::open_memory(InitOptions { device_name: "desk".into(), open: options(1) }).unwrap();
    let ticket = owner.invite(Role::Writer, FAR, Vec::new()).unwrap();
    let join = JoinOptions { device_name: "phone".into(), merge_by_key: false, open: options(2) };
    let pending = Replica::prepare_join_memory(&ticket, join).unwrap();
    owner.admit(&pending.request().unwrap(), NOW.unix_ms).unwrap();
    let operations: Vec<_> = owner.membership().operations().cloned().collect();
    let member = pending.complete(&operations).unwrap();
    owner.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)").unwrap();
    owner.sync_table("notes").unwrap();
    (Driver::new(owner).unwrap(), Driver::new(member).unwrap())
}

/// Two drivers with a wire between them.
struct Pair {
    drivers: [Driver; 2],
    wire: VecDeque<(usize, Vec<u8>)>,
    events: Vec<(usize, DriverEvent)>,
    now: Now,
    session: SessionId,
}

impl Pair {
    fn new((left, right): (Driver, Driver)) -> Self {
        let mut pair =
            Self { drivers: [left, right], wire: VecDeque::new(), events: Vec::new(), now: NOW, session: SessionId(0) };
        pair.settle();
        pair
    }

    fn carry_out(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { frame, .. } => self.wire.push_back((1 - at, frame)),
                Effect::Disconnect { reason, .. } => panic!("driver {at} hung up: {reason}"),
                Effect::Event(event) => self.events.push((at, event)),
                _ => {}
            }
        }
    }

    fn connect(&mut self) {
        self.session = SessionId(self.session.0 + 1);
        for (at, dialer) in [(0, true), (1, false)] {
            let input = Input::PeerUp {
                session: self.session,
                dialer,
                local_transport: vec![at as u8],
                remote_transport: vec![1 - at as u8],
                nonce: HelloNonce::from_bytes([at as u8 + self.session.0 as u8; 32]),
            };
            let effects = self.drivers[at].input(input, self.now);
            self.carry_out(at, effects);
        }
        self.settle();
    }

    fn disconnect(&mut self) {
        for at in [0, 1] {
            let effects = self.drivers[at].input(Input::PeerDown { session: self.session }, self.now);
            self.carry_out(at, effects);
        }
        self.settle();
    }

    /// Hands over frames and lets both work until nothing is left to do.
    fn settle(&mut self) {
        loop {
            if let Some((at, bytes)) = self.wire.pop_front() {
                let effects = self.drivers[at].input(Input::Frame { session: self.session, bytes }, self.now);
                self.carry_out(at, effects);
                continue;
            }
            match (0..2).find(|at| self.drivers[*at].has_work()) {
                Some(at) => {
                    let effects = self.drivers[at].work(self.now);
                    self.carry_out(at, effects);
                }
                None => return,
            }
        }
    }

    fn write(&mut self, at: usize, sql: &str) {
        self.drivers[at].replica_mut().execute_batch(sql).unwrap();
        self.settle();
    }

    fn notes(&mut self, at: usize) -> Vec<(String, String)> {
        let sql = "SELECT id, body FROM notes ORDER BY id";
        self.drivers[at].replica_mut().query(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    fn traffic(&self) -> [Traffic; 2] {
        [0, 1].map(|at| self.drivers[at].traffic(self.session).unwrap())
    }

    #[track_caller]
    fn check_equal(&mut self) {
        let (left, right) = (self.notes(0), self.notes(1));
        assert_eq!(left, right);
        assert_eq!(self.drivers[0].digest(), self.drivers[1].digest());
    }
}

#[test]
fn writes_on_both_sides_meet() {
    let mut pair = Pair::new(workspace());
    pair.write(0, "INSERT INTO notes VALUES('a', 'from the desk')");
    pair.connect();
    pair.check_equal();
    pair.write(1, "INSERT INTO notes VALUES('b', 'from the phone')");
    pair.check_equal();
    pair.disconnect();
    pair.write(0, "UPDATE notes SET body = 'desk again' WHERE id = 'b'");
    pair.write(1, "DELETE FROM notes WHERE id = 'a'");
    pair.connect();
    pair.check_equal();
    assert_eq!(pair.notes(0), [("b".to_owned(), "desk again".to_owned())]);
}

#[test]
fn reunion_of_equal_replicas_is_one_round_trip_of_at_most_200_bytes() {
    let mut pair = Pair::new(workspace());
    pair.write(0, "INSERT INTO notes VALUES('a', 'one'), ('b', 'two')");
    pair.connect();
    pair.write(1, "INSERT INTO notes VALUES('c', 'three')");
    pair.check_equal();
    pair.disconnect();
    pair.connect();
    let [left, right] = pair.traffic();
    let bytes = left.sent_bytes + right.sent_bytes;
    println!("reunion of equal replicas: {bytes} bytes in {} + {} frames", left.sent_frames, right.sent_frames);
    assert!(bytes <= 200, "{bytes} bytes");
    assert_eq!((left.sent_frames, right.sent_frames), (1, 1), "one round trip");
    assert_eq!((left.sent_bytes, right.sent_bytes), (right.received_bytes, left.received_bytes));
}

#[test]
fn equal_replicas_stay_silent() {
    let mut pair = Pair::new(workspace());
    pair.write(0, "INSERT INTO notes VALUES('a', 'one')");
    pair.connect();
    let before = pair.traffic();
    for minute in 1..10 {
        pair.now.elapsed_ms = NOW.elapsed_ms + minute * 60_000;
        for at in [0, 1] {
            let effects = pair.drivers[at].input(Input::Timer, pair.now);
            pair.carry_out(at, effects);
            let effects = pair.drivers[at].look(pair.now);
            pair.carry_out(at, effects);
        }
        pair.settle();
    }
    assert_eq!(pair.traffic(), before);
}

#[test]
fn device_that_lost_the_answer_to_its_admission_is_let_in_again() {
    let (owner, _) = workspace();
    let mut owner = owner.into_replica();
    let ticket = owner.invite(Role::Writer, FAR, Vec::new()).unwrap();
    let join = JoinOptions { device_name: "tablet".into(), merge_by_key: false, open: options(3) };
    let pending = Replica::prepare_join_memory(&ticket, join).unwrap();
    let mut owner = Driver::new(owner).unwrap();
    for (attempt, nonce) in [(1, 1), (2, 2)] {
        let mut joiner = kithdb_sync::Joiner::new(ticket.clone(), pending.keys(), "tablet").unwrap();
        let session = SessionId(attempt);
        let up = |dialer: bool| Input::PeerUp {
            session,
            dialer,
            local_transport: vec![u8::from(dialer)],
            remote_transport: vec![u8::from(!dialer)],
            nonce: HelloNonce::from_bytes([nonce + u8::from(dialer); 32]),
        };
        let mut to_owner: VecDeque<Vec<u8>> = VecDeque::new();
        let mut outputs = joiner.handle(up(true), NOW);
        let mut effects = owner.input(up(false), NOW);
        let mut joined = false;
        loop {
            for output in outputs.drain(..) {
                match output {
                    kithdb_sync::Output::Send { frame, .. } => to_owner.push_back(frame),
                    kithdb_sync::Output::Joined { .. } => joined = true,
                    _ => {}
                }
            }
            for effect in effects.drain(..) {
                if let Effect::Send { frame, .. } = effect {
                    outputs.extend(joiner.handle(Input::Frame { session, bytes: frame }, NOW));
                }
            }
            match to_owner.pop_front() {
                Some(bytes) => effects = owner.input(Input::Frame { session, bytes }, NOW),
                None if outputs.is_empty() => break,
                None => {}
            }
        }
        assert!(joined, "attempt {attempt}");
    }
    assert_eq!(owner.replica().membership().members().count(), 3);
}

#[test]
fn other_connection_on_the_file_is_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    let mut replica = Replica::init(&path, InitOptions::new("desk")).unwrap();
    replica.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)").unwrap();
    replica.sync_table("notes").unwrap();
    let mut driver = Driver::new(replica).unwrap();
    let work = |driver: &mut Driver| {
        let mut effects = driver.look(NOW);
        while driver.has_work() {
            effects.extend(driver.work(NOW));
        }
        effects
    };
    work(&mut driver);
    assert!(work(&mut driver).is_empty(), "its own commits are no news");

    let mut other = Replica::open(&path, OpenOptions::default()).unwrap();
    other.execute_batch("INSERT INTO notes VALUES('a', 'one')").unwrap();
    let sealed = work(&mut driver).iter().any(|effect| matches!(effect, Effect::Event(DriverEvent::Sealed(_))));
    assert!(sealed);

    // Sealed by the other connection: nothing to seal here, but news for the engine.
    other.execute_batch("INSERT INTO notes VALUES('b', 'two')").unwrap();
    other.seal(Default::default()).unwrap();
    let heads: Vec<_> = driver.engine().heads().collect();
    work(&mut driver);
    assert_ne!(driver.engine().heads().collect::<Vec<_>>(), heads);
    assert_eq!(driver.told(), driver.replica().arrival().unwrap());

    // An invitation by the other connection.
    other.invite(Role::Writer, FAR, Vec::new()).unwrap();
    work(&mut driver);
    assert_eq!(driver.engine().membership().set_hash(), other.membership().set_hash());

    // A new life begun by the other connection.
    other.start_incarnation("a test").unwrap();
    work(&mut driver);
    assert_eq!(driver.replica().life().incarnation(), other.life().incarnation());
}

#[test]
fn writes_wait_while_the_application_holds_the_lock_and_sessions_live() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    let (owner, member) = workspace();
    drop(member);
    let mut owner = owner.into_replica();
    let ticket = owner.invite(Role::Writer, FAR, Vec::new()).unwrap();
    let join = JoinOptions { device_name: "phone".into(), merge_by_key: false, open: options(3) };
    let pending = Replica::prepare_join(&path, &ticket, join).unwrap();
    owner.admit(&pending.request().unwrap(), NOW.unix_ms).unwrap();
    let operations: Vec<_> = owner.membership().operations().cloned().collect();
    let member = pending.complete(&operations).unwrap();
    member.conn().busy_timeout(std::time::Duration::ZERO).unwrap();
    let mut pair = Pair::new((Driver::new(owner).unwrap(), Driver::new(member).unwrap()));

    let application = Replica::open(&path, options(4)).unwrap();
    application.conn().execute_batch("BEGIN IMMEDIATE").unwrap();
    pair.write(0, "INSERT INTO notes VALUES('a', 'one')");
    pair.connect();
    assert!(!pair.drivers[1].has_work(), "it waits");
    let is_delayed = |(at, event): &(usize, DriverEvent)| *at == 1 && matches!(event, DriverEvent::Delayed { .. });
    assert!(pair.events.iter().any(is_delayed));

    application.conn().execute_batch("COMMIT").unwrap();
    pair.now.elapsed_ms += 1_000;
    let effects = pair.drivers[1].input(Input::Timer, pair.now);
    pair.carry_out(1, effects);
    pair.settle();
    pair.check_equal();
    let is_caught_up =
        |(at, event): &(usize, DriverEvent)| *at == 1 && matches!(event, DriverEvent::Sync(Event::CaughtUp { .. }));
    assert!(pair.events.iter().any(is_caught_up));
}

#[test]
fn full_disk_pauses_receiving_and_nothing_is_lost() {
    let mut pair = Pair::new(workspace());
    pair.connect();
    let pages: i64 = pair.drivers[1].replica().conn().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let set_limit = |pair: &mut Pair, pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        let _: i64 = pair.drivers[1].replica().conn().query_row(&sql, [], |row| row.get(0)).unwrap();
    };
    set_limit(&mut pair, pages);
    pair.write(
        0,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
         INSERT INTO notes SELECT i, hex(randomblob(50000)) FROM n",
    );
    let is_paused = |(at, event): &(usize, DriverEvent)| {
        *at == 1 && matches!(event, DriverEvent::Sync(Event::ReceivingPaused { disk_full: true, .. }))
    };
    assert!(pair.events.iter().any(is_paused), "{:?}", pair.events);
    assert!(pair.drivers[1].engine().proven_sessions().count() == 1, "the session lives");
    assert!(pair.notes(1).is_empty());

    set_limit(&mut pair, 1_000_000);
    for _ in 0..20 {
        pair.now.elapsed_ms += 60_000;
        for at in [0, 1] {
            let effects = pair.drivers[at].input(Input::Timer, pair.now);
            pair.carry_out(at, effects);
            pair.settle();
        }
    }
    assert_eq!(pair.notes(1).len(), 20);
    pair.check_equal();
}

#[test]
fn file_behind_what_it_published_goes_on_as_another_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    let mut desk = Replica::init(&path, InitOptions { device_name: "desk".into(), open: options(1) }).unwrap();
    let ticket = desk.invite(Role::Writer, FAR, Vec::new()).unwrap();
    let join = JoinOptions { device_name: "phone".into(), merge_by_key: false, open: options(2) };
    let pending = Replica::prepare_join_memory(&ticket, join).unwrap();
    desk.admit(&pending.request().unwrap(), NOW.unix_ms).unwrap();
    let operations: Vec<_> = desk.membership().operations().cloned().collect();
    let phone = Driver::new(pending.complete(&operations).unwrap()).unwrap();
    desk.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)").unwrap();
    desk.sync_table("notes").unwrap();
    desk.seal(Default::default()).unwrap();
    desk.close().unwrap();
    let files = ["notes.db", "notes.db-kith-life"];
    let backup = files.map(|name| std::fs::read(folder.path().join(name)).unwrap());

    let open = || Driver::new(Replica::open(&path, options(3)).unwrap()).unwrap();
    let mut pair = Pair::new((open(), phone));
    pair.write(0, "INSERT INTO notes VALUES('a', 'published')");
    pair.connect();
    pair.check_equal();
    pair.disconnect();
    let Pair { drivers: [desk, phone], .. } = pair;
    let incarnation = desk.replica().life().incarnation();
    desk.into_replica().close().unwrap();

    // A backup of everything, put back in place: the file cannot tell by itself.
    for (name, bytes) in files.iter().zip(&backup) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut pair = Pair::new((open(), phone));
    assert_eq!(pair.drivers[0].replica().life().incarnation(), incarnation);
    pair.connect();
    assert_ne!(pair.drivers[0].replica().life().incarnation(), incarnation);
    pair.write(0, "INSERT INTO notes VALUES('b', 'after the restore')");
    pair.check_equal();
    assert_eq!(pair.notes(1).len(), 2);
}
