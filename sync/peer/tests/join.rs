//! Joining by ticket over the real network, and everybody who stays out.

mod common;

use std::time::Duration;

use common::{Device, FAR, dialling};
use kithdb_core::replica::Replica;
use kithdb_log::{Role, Ticket};
use kithdb_peer::{JoinError, JoinOptions, PeerConfig, PeerEvent, join};

fn options(name: &str) -> JoinOptions {
    JoinOptions { mdns: false, ..JoinOptions::new(name) }
}

/// An owner that syncs, and a way to get tickets that name where it is.
async fn inviting() -> (Device, common::Running) {
    let desk = Device::founded("desk");
    desk.write("a", "for members only");
    let mut running = desk.start(PeerConfig::loopback()).await;
    running.address().await;
    (desk, running)
}

fn ticket(desk: &Device, running: &common::Running, expires_unix_ms: u64) -> Ticket {
    let addresses = running.addresses.iter().map(ToString::to_string).collect();
    desk.open().invite(Role::Writer, expires_unix_ms, addresses).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn device_joins_by_ticket_and_receives_everything() {
    let (desk, mut at_desk) = inviting().await;
    let ticket = ticket(&desk, &at_desk, FAR);
    let phone = Device::empty();
    let joined = join(&phone.path, &ticket, options("phone")).await.unwrap();
    assert_eq!(joined.replica.workspace().id(), ticket.workspace);
    assert_eq!(joined.replica.workspace().role(), Some(Role::Writer));
    let admitted = at_desk
        .until("the admission", |event| match event {
            PeerEvent::Admitted { device } => Some(device.name.clone()),
            _ => None,
        })
        .await;
    assert_eq!(admitted, "phone");

    let (peer, events) = kithdb_peer::Peer::start(joined.replica, dialling(&[joined.address])).await.unwrap();
    let mut at_phone = common::Running { peer, events, told: Vec::new(), addresses: Vec::new() };
    at_phone.until_notes(&[("a", "for members only")]).await;
    phone.write("b", "from the new member");
    at_desk.until_notes(&[("a", "for members only"), ("b", "from the new member")]).await;
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn used_ticket_is_refused_by_name() {
    let (desk, mut at_desk) = inviting().await;
    let ticket = ticket(&desk, &at_desk, FAR);
    join(&Device::empty().path, &ticket, options("phone")).await.unwrap();
    let second = Device::empty();
    let error = join(&second.path, &ticket, options("thief")).await.unwrap_err();
    assert_eq!(error.to_string(), "the ticket has been used; ask for a new one");
    assert!(matches!(error, JoinError::Refused { .. }));
    assert_nothing_received(&second);
    at_desk.peer.shutdown().await;
    let mut refusals = 0;
    while let Some(event) = at_desk.events.recv().await {
        refusals += u32::from(matches!(event, PeerEvent::JoinRefused { .. }));
    }
    assert_eq!(refusals, 1, "the owner was asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_ticket_is_refused_here_and_by_the_owner() {
    let (desk, at_desk) = inviting().await;
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + Duration::from_millis(1);
    let mut expired = ticket(&desk, &at_desk, soon.as_millis() as u64);
    let late = Device::empty();
    while soon > std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() {
        tokio::task::yield_now().await;
    }
    let error = join(&late.path, &expired, options("late")).await.unwrap_err();
    assert!(matches!(error, JoinError::Expired));

    // A device whose clock is wrong, or that lies, is refused by the owner.
    expired.expires_unix_ms = FAR;
    let error = join(&late.path, &expired, options("late")).await.unwrap_err();
    assert_eq!(error.to_string(), "the ticket has expired; ask for a new one");
    assert_nothing_received(&late);
    at_desk.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_of_another_secret_is_refused() {
    let (desk, at_desk) = inviting().await;
    let mut forged = ticket(&desk, &at_desk, FAR);
    forged.secret = kithdb_log::InviteSecret::from_bytes([7; 32]);
    let device = Device::empty();
    let mut options = options("forger");
    options.give_up_after = Duration::from_secs(2);
    let error = join(&device.path, &forged, options).await.unwrap_err();
    assert!(matches!(error, JoinError::Refused { .. }), "{error}");
    assert_nothing_received(&device);
    at_desk.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stranger_is_refused_and_receives_nothing() {
    let (_desk, mut at_desk) = inviting().await;
    let stranger = Device::founded("stranger");
    let mut at_stranger = stranger.start(dialling(&[at_desk.address().await])).await;
    at_stranger.until("a refusal", |event| matches!(event, PeerEvent::Refused { .. }).then_some(())).await;
    at_desk.until("a refusal", |event| matches!(event, PeerEvent::Refused { .. }).then_some(())).await;
    assert!(at_stranger.peer.status().await.unwrap().sessions.is_empty());
    let connected = |events: &[PeerEvent]| events.iter().any(|event| matches!(event, PeerEvent::Connected { .. }));
    assert!(!connected(&at_desk.told) && !connected(&at_stranger.told));
    at_stranger.peer.shutdown().await;
    let replica = stranger.open();
    let own = replica.author();
    assert!(replica.sync_state().unwrap().streams.iter().all(|stream| stream.id.author == own));
    assert_eq!(replica.membership().members().count(), 1);
    at_desk.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn join_that_finds_nobody_says_what_to_do() {
    let desk = Device::founded("desk");
    let nowhere = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
    let ticket = desk.open().invite(Role::Writer, FAR, nowhere).unwrap();
    let mut options = options("phone");
    options.give_up_after = Duration::from_millis(500);
    let phone = Device::empty();
    let error = join(&phone.path, &ticket, options.clone()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("start `kith sync` on the inviting device"), "{text}");
    assert!(text.contains("/ip4/127.0.0.1/tcp/1"), "{text}");

    // The same file goes on with the same ticket once the owner is there.
    let mut at_desk = desk.start(PeerConfig::loopback()).await;
    options.peers = vec![at_desk.address().await];
    options.give_up_after = common::GUARD;
    join(&phone.path, &ticket, options).await.unwrap();
    at_desk.peer.shutdown().await;
}

#[track_caller]
fn assert_nothing_received(device: &Device) {
    // A file that only waits to be admitted cannot be opened as a replica, and holds no entry and no admin operation.
    assert!(Replica::open(&device.path, Default::default()).is_err());
    let conn = rusqlite::Connection::open(&device.path).unwrap();
    let rows: i64 = conn
        .query_row("SELECT (SELECT count(*) FROM kith__entries) + (SELECT count(*) FROM kith__admin)", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(rows, 0);
}
