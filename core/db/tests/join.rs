//! Inviting, admitting and joining: what a ticket opens, and what it does not.

use std::time::Duration;

use kithdb_core::define::CreateOutcome;
use kithdb_core::error::JoinError;
use kithdb_core::join::{JoinOptions, PendingJoin};
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::sources::Entropy;
use kithdb_log::{AdminOperation, Role, Ticket};

const NOW: u64 = 1_800_000_000_000;
const LATER: u64 = NOW + 86_400_000;

fn options(seed: u64) -> OpenOptions {
    OpenOptions {
        entropy: Entropy::seeded(seed),
        clock: std::sync::Arc::new(|| NOW),
        busy_timeout: Duration::from_secs(1),
    }
}

fn owner() -> Replica {
    Replica::open_memory(InitOptions { device_name: "owner".into(), open: options(1) }).unwrap()
}

fn pending(ticket: &Ticket, seed: u64) -> PendingJoin {
    let options = JoinOptions { open: options(seed), ..JoinOptions::new(format!("joiner {seed}")) };
    Replica::prepare_join_memory(ticket, options).unwrap()
}

fn all(replica: &Replica) -> Vec<AdminOperation> {
    replica.membership().operations().cloned().collect()
}

#[track_caller]
fn check_join(pending: PendingJoin, operations: &[AdminOperation], expected: &str) -> PendingJoin {
    let failed = pending.complete(operations).unwrap_err();
    assert_eq!(failed.to_string(), expected);
    *failed.pending.unwrap()
}

#[test]
fn admitted_device_shares_the_secrets() {
    let mut owner = owner();
    let ticket = owner.invite(Role::Writer, LATER, vec!["/ip4/127.0.0.1/udp/1/quic-v1".into()]).unwrap();
    let ticket: Ticket = ticket.to_string().parse().unwrap();
    let pending = pending(&ticket, 2);
    let pending = check_join(
        pending,
        &all(&owner),
        "the workspace has not admitted this device yet; wait for an owner to come online",
    );
    owner.admit(&pending.request().unwrap(), NOW).unwrap();
    let mut operations = all(&owner);
    operations.reverse();
    let mut joiner = pending.complete(&operations).unwrap();
    assert_eq!(joiner.workspace().id(), owner.workspace().id());
    assert_eq!(joiner.membership().set_hash(), owner.membership().set_hash());
    assert_eq!(joiner.workspace().role(), Some(Role::Writer));
    assert_eq!(joiner.workspace().name_of(owner.author()), "owner");
    assert_eq!(owner.workspace().name_of(joiner.author()), "joiner 2");
    // Equal lanes come only from equal secrets.
    owner.conn().execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
    owner.sync_table("t").unwrap();
    let table = owner.registry().by_name("t").unwrap().clone();
    assert_eq!(joiner.create_from_schema(&table.schema).unwrap(), CreateOutcome::Created);
    assert_eq!(joiner.registry().by_name("t").unwrap().lane, table.lane);
    // The ticket's secret is not left behind.
    let left: i64 = joiner
        .conn()
        .query_row("SELECT count(*) FROM kith__meta WHERE name = 'joining'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    assert_eq!(
        joiner.invite(Role::Writer, LATER, Vec::new()).unwrap_err().to_string(),
        "only an owner may invite; this device is a writer, so ask an owner"
    );
}

#[test]
fn ticket_is_good_for_one_device() {
    let mut owner = owner();
    let ticket = owner.invite(Role::Writer, LATER, Vec::new()).unwrap();
    let first = pending(&ticket, 2);
    let second = pending(&ticket, 3);
    owner.admit(&first.request().unwrap(), NOW).unwrap();
    assert_eq!(
        owner.admit(&second.request().unwrap(), NOW).unwrap_err().to_string(),
        "the invite has been used; ask for a new ticket"
    );
    first.complete(&all(&owner)).unwrap();
    check_join(second, &all(&owner), "another device joined with this ticket; ask the inviter for a new ticket");
}

#[test]
fn expired_forged_and_foreign_requests_are_refused() {
    let mut owner = owner();
    let ticket = owner.invite(Role::Writer, NOW + 10, Vec::new()).unwrap();
    let request = pending(&ticket, 2).request().unwrap();
    assert_eq!(
        owner.admit(&request, NOW + 11).unwrap_err().to_string(),
        "the invite has expired; ask for a new ticket"
    );
    let mut forged = request.clone();
    forged.author = pending(&ticket, 3).keys().author();
    assert_eq!(
        owner.admit(&forged, NOW).unwrap_err().to_string(),
        "the ticket's secret has not signed for this device"
    );
    let mut other = Replica::open_memory(InitOptions { device_name: "other".into(), open: options(9) }).unwrap();
    assert_eq!(other.admit(&request, NOW).unwrap_err().to_string(), "the invite is not known; ask for a new ticket");
    let operations = all(&owner).len();
    assert_eq!(operations, 2, "refused requests leave nothing behind");
}

#[test]
fn history_that_lacks_what_the_ticket_names_is_refused() {
    let mut owner = owner();
    let before = all(&owner);
    let ticket = owner.invite(Role::Writer, LATER, Vec::new()).unwrap();
    let stale = "the peer knows less of the workspace than the ticket's inviter did; connect to another peer";
    let other = Replica::open_memory(InitOptions { device_name: "other".into(), open: options(9) }).unwrap();
    let elsewhere = "the peer showed another workspace than the ticket names; ask the inviter for a new ticket";
    let waiting = check_join(pending(&ticket, 2), &before, stale);
    let waiting = check_join(waiting, &[], elsewhere);
    let waiting = check_join(waiting, &all(&other), elsewhere);
    owner.admit(&waiting.request().unwrap(), NOW).unwrap();
    let mut forged = all(&owner);
    forged[2].clock_unix_ms += 1;
    let failed = waiting.complete(&forged).unwrap_err();
    assert!(matches!(failed.error, JoinError::BadMembership { .. }), "{failed}");
    let mut waiting = *failed.pending.unwrap();
    let mut wrong = ticket.clone();
    wrong.role = Role::Owner;
    // A mistaken ticket is caught even if someone signs for it.
    let mistaken = pending(&wrong, 2);
    assert_eq!(mistaken.keys().author(), waiting.keys().author());
    check_join(
        mistaken,
        &all(&owner),
        "the workspace admitted this device with another role than the ticket says; ask the inviter for a new ticket",
    );
    waiting = check_join(
        waiting,
        &all(&owner)[..2],
        "the workspace has not admitted this device yet; wait for an owner to come online",
    );
    waiting.complete(&all(&owner)).unwrap();
}

#[test]
fn file_that_waits_goes_on_with_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("b.db");
    let mut owner = owner();
    let ticket = owner.invite(Role::Owner, LATER, Vec::new()).unwrap();
    let join = || JoinOptions { open: OpenOptions::default(), ..JoinOptions::new("laptop") };
    let author = Replica::prepare_join(&path, &ticket, join()).unwrap().keys().author();
    assert_eq!(
        Replica::open(&path, OpenOptions::default()).unwrap_err().to_string(),
        format!("{0} waits to be admitted to its workspace; go on with `kith join {0} TICKET`", path.display())
    );
    let other = owner.invite(Role::Owner, LATER, Vec::new()).unwrap();
    // A ticket that led nowhere does not keep the file from joining with another.
    let pending = Replica::prepare_join(&path, &other, join()).unwrap();
    assert_eq!((pending.keys().author(), pending.ticket().secret.key()), (author, other.secret.key()));
    drop(pending);
    let again = Replica::prepare_join(&path, &ticket, join()).unwrap();
    assert_eq!(again.keys().author(), author);
    drop(again);
    let resumed = Replica::resume_join(&path, OpenOptions::default()).unwrap();
    assert_eq!((resumed.keys().author(), resumed.device_name()), (author, "laptop"));
    owner.admit(&resumed.request().unwrap(), NOW).unwrap();
    let joined = resumed.complete(&all(&owner)).unwrap();
    let incarnation = joined.life().incarnation();
    joined.close().unwrap();
    let mut opened = Replica::open(&path, OpenOptions::default()).unwrap();
    assert_eq!(opened.life().incarnation(), incarnation);
    assert_eq!(opened.life().reason(), None);
    opened.invite(Role::Writer, LATER, Vec::new()).unwrap();
    let error = Replica::prepare_join(&path, &ticket, join()).unwrap_err();
    assert!(error.to_string().contains("belongs to workspace"), "{error}");
}

#[test]
fn filled_file_joins_only_when_told_how() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("b.db");
    let mut owner = owner();
    owner.conn().execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
    owner.sync_table("t").unwrap();
    let schema = owner.registry().by_name("t").unwrap().schema.clone();
    let ticket = owner.invite(Role::Writer, LATER, Vec::new()).unwrap();
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a); INSERT INTO t VALUES('x', 1); CREATE TABLE empty(a); CREATE TABLE u(a); INSERT INTO u VALUES(1)")
        .unwrap();
    assert_eq!(
        Replica::prepare_join(&path, &ticket, JoinOptions::new("b")).unwrap_err().to_string(),
        format!(
            "{} has rows of its own (t, u); join with `--merge-by-key` to merge rows of equal key once their tables are synced, or join with a new file",
            path.display()
        )
    );
    let join = JoinOptions { merge_by_key: true, ..JoinOptions::new("b") };
    let pending = Replica::prepare_join(&path, &ticket, join).unwrap();
    owner.admit(&pending.request().unwrap(), NOW).unwrap();
    let mut joined = pending.complete(&all(&owner)).unwrap();
    assert_eq!(joined.create_from_schema(&schema).unwrap(), CreateOutcome::Adopted { existing_rows: true });
    assert!(joined.registry().by_name("t").unwrap().existing_rows);
    assert!(joined.registry().by_name("u").is_none());
}

#[test]
fn operations_arrive_in_any_order_and_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut owner = Replica::init(&path, InitOptions { device_name: "owner".into(), open: options(1) }).unwrap();
    let ticket = owner.invite(Role::Writer, LATER, Vec::new()).unwrap();
    let first = pending(&ticket, 2);
    owner.admit(&first.request().unwrap(), NOW).unwrap();
    let mut member = first.complete(&all(&owner)).unwrap();
    let ticket = owner.invite(Role::Writer, LATER, Vec::new()).unwrap();
    owner.admit(&pending(&ticket, 3).request().unwrap(), NOW).unwrap();
    let news = all(&owner);
    let report = member.store_admin(&news[4..]).unwrap();
    assert_eq!((report.added, report.missing.len()), (0, 1));
    let mut shuffled = news.clone();
    shuffled.reverse();
    let mut forged = news[4].clone();
    forged.clock_unix_ms += 1;
    shuffled.push(forged);
    let report = member.store_admin(&shuffled).unwrap();
    assert_eq!((report.added, report.known, report.missing.len(), report.refused.len()), (2, 3, 0, 1));
    assert_eq!(member.membership().set_hash(), owner.membership().set_hash());
    let hash = owner.membership().set_hash();
    // Another process of the same device sees them too.
    let mut other = Replica::open(&path, options(5)).unwrap();
    owner.invite(Role::Writer, LATER, Vec::new()).unwrap();
    assert_eq!(other.membership().set_hash(), hash);
    other.reload_registry().unwrap();
    assert_eq!(other.membership().set_hash(), owner.membership().set_hash());
}
