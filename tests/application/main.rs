//! An application that has its file open in a process whose peer takes in what others send.

use std::path::Path;
use std::time::Duration;

use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, Replica};
use kithdb_log::Role;
use kithdb_peer::{Address, Peer, PeerConfig, PeerEvent, PeerEvents};
use kithdb_sqlite::{Database, OpenOptions, Step, ValueRef};

/// A moment that the ticket outlives: the year 2100.
const FAR: u64 = 4_102_444_800_000;
const NOTES: &str = "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT); SELECT kith_sync('notes')";
const ADMITTED: u64 = 1_800_000_000_000;

fn devices(desk: &Path, phone: &Path) {
    let mut owner = Replica::init(desk, InitOptions::new("desk")).unwrap();
    owner.execute_batch(NOTES).unwrap();
    let ticket = owner.invite(Role::Writer, FAR, Vec::new()).unwrap();
    let pending = Replica::prepare_join(phone, &ticket, JoinOptions::new("phone")).unwrap();
    owner.admit(&pending.request().unwrap(), ADMITTED).unwrap();
    let operations: Vec<_> = owner.membership().operations().cloned().collect();
    let mut joined = pending.complete(&operations).unwrap();
    joined.execute_batch(NOTES).unwrap();
    joined.close().unwrap();
    owner.close().unwrap();
}

async fn address(events: &mut PeerEvents) -> Address {
    loop {
        let event = events.recv().await.expect("the peer runs");
        if let PeerEvent::Listening { address } = event
            && address.to_string().contains("/quic-v1")
        {
            return address;
        }
    }
}

/// Opens as an application that does not wait for locks.
fn open(path: &Path) -> Database {
    let options = OpenOptions { busy_timeout: Duration::ZERO, ..OpenOptions::default() };
    Database::open(path.to_str().unwrap(), &options).unwrap()
}

#[track_caller]
fn count(database: &Database) -> i64 {
    let (statement, _) = database.prepare("SELECT count(*) FROM notes WHERE body = 'phone'").unwrap();
    let statement = statement.unwrap();
    assert_eq!(statement.step().unwrap(), Step::Row);
    let ValueRef::Integer(count) = statement.column(0) else { panic!("a count is a number") };
    count
}

/// A transaction that reads before it writes is refused by SQLite at once if somebody else has written in between, and without a busy
/// timeout each write is while somebody else writes.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_not_refused_while_a_peer_takes_in_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, phone) = (folder.path().join("desk.db"), folder.path().join("phone.db"));
    devices(&desk, &phone);
    let (at_desk, mut events) = Peer::open(&desk, PeerConfig::loopback()).await.unwrap();
    let config = PeerConfig::loopback().with_peer(address(&mut events).await);
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let (at_phone, mut events) = Peer::open(&phone, config).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });

    let other = std::thread::spawn(move || {
        let database = open(&phone);
        for note in 0..300 {
            database.execute_batch(&format!("INSERT INTO notes VALUES('phone {note}', 'phone')")).unwrap();
        }
    });
    let application = std::thread::spawn(move || {
        let database = open(&desk);
        let (mut rounds, mut taken_in) = (0, 0);
        while rounds < 300 || taken_in < 300 {
            database.execute_batch("BEGIN").unwrap();
            taken_in = count(&database);
            database.execute_batch(&format!("INSERT INTO notes VALUES('desk {rounds}', 'desk'); COMMIT")).unwrap();
            rounds += 1;
        }
    });
    other.join().unwrap();
    application.join().unwrap();
    at_phone.shutdown().await;
    at_desk.shutdown().await;
}
