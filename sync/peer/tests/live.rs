//! Peers over the real network on loopback, with real files.

mod common;

use std::time::Instant;

use common::{Device, Running, dialling, notes};
use kithdb_peer::{PeerConfig, PeerEvent};

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_converge_after_offline_writes_on_both_sides() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    desk.write("a", "from the desk");

    let mut at_desk = desk.start(PeerConfig::loopback()).await;
    let mut at_phone = phone.start(dialling(&[at_desk.address().await])).await;
    assert_eq!(at_desk.connected().await, "phone");
    assert_eq!(at_phone.connected().await, "desk");
    at_phone.until_notes(&[("a", "from the desk")]).await;
    at_phone.peer.shutdown().await;
    at_desk.peer.shutdown().await;

    desk.write("b", "offline at the desk");
    phone.write("c", "offline on the phone");
    let mut at_desk = desk.start(PeerConfig::loopback()).await;
    let mut at_phone = phone.start(dialling(&[at_desk.address().await])).await;
    let all = [("a", "from the desk"), ("b", "offline at the desk"), ("c", "offline on the phone")];
    at_desk.until_notes(&all).await;
    at_phone.until_notes(&all).await;
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

/// Measures how long a commit of another connection takes to the other peer's table, and prints it; asserts no time.
#[tokio::test(flavor = "multi_thread")]
async fn commit_of_another_program_reaches_the_other_table_by_event() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    desk.write("warm", "up");
    let (at_desk, mut at_phone) = connected(&desk, &phone).await;
    at_phone.until_notes(&[("warm", "up")]).await;

    // Like `kith sql`: another connection, which knows nothing of the peer.
    let mut program = desk.open();
    let mut reader = phone.open();
    let mut taken = Vec::new();
    for round in 0..30 {
        let id = format!("live {round}");
        let started = Instant::now();
        program.execute("INSERT INTO notes VALUES(?1, 'x')", [&id]).unwrap();
        while !notes(&mut reader).iter().any(|(known, _)| *known == id) {
            at_phone.until("rows", |event| matches!(event, PeerEvent::Applied { .. }).then_some(())).await;
        }
        taken.push(started.elapsed());
    }
    taken.sort();
    println!(
        "commit to the other table: median {:?}, best {:?}, worst {:?}",
        taken[taken.len() / 2],
        taken[0],
        taken[taken.len() - 1]
    );

    // A burst of commits arrives whole.
    for round in 0..200 {
        program.execute("INSERT INTO notes VALUES(?1, 'y')", [format!("burst {round}")]).unwrap();
    }
    let mut expected = notes(&mut program);
    expected.sort();
    while notes(&mut reader) != expected {
        at_phone.until("rows", |event| matches!(event, PeerEvent::Applied { .. }).then_some(())).await;
    }
    at_desk.peer.call(|replica| assert!(notes(replica).len() > 200)).await.unwrap();
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_commits_reach_the_other_table_too() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    let (at_desk, mut at_phone) = connected(&desk, &phone).await;
    at_desk
        .peer
        .call(|replica| replica.execute("INSERT INTO notes VALUES('a', 'in process')", []).map(drop))
        .await
        .unwrap()
        .unwrap();
    at_phone.until_notes(&[("a", "in process")]).await;
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_peer_goes_on_where_it_was() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    let (at_desk, mut at_phone) = connected(&desk, &phone).await;
    desk.write("a", "one");
    at_phone.until_notes(&[("a", "one")]).await;

    // No farewell: the handle goes, and the runtime's tasks with it.
    drop(at_desk);
    at_phone.until("the end", |event| matches!(event, PeerEvent::Disconnected { .. }).then_some(())).await;
    desk.write("b", "two");
    phone.write("c", "three");
    let mut at_desk = desk.start(PeerConfig::loopback()).await;
    at_phone.peer.dial(at_desk.address().await);
    let all = [("a", "one"), ("b", "two"), ("c", "three")];
    at_desk.until_notes(&all).await;
    at_phone.until_notes(&all).await;
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_sends_what_was_written_last() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    let (at_desk, mut at_phone) = connected(&desk, &phone).await;
    desk.write("last", "words");
    at_desk.peer.shutdown().await;
    at_phone.until_notes(&[("last", "words")]).await;
    at_phone.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_in_the_middle_of_a_chain_passes_on() {
    let desk = Device::founded("desk");
    let (phone, tablet) = (Device::joined(&desk, "phone"), Device::joined(&desk, "tablet"));
    let mut at_phone = phone.start(PeerConfig::loopback()).await;
    let middle = at_phone.address().await;
    let mut at_desk = desk.start(dialling(std::slice::from_ref(&middle))).await;
    let mut at_tablet = tablet.start(dialling(&[middle])).await;
    at_desk.connected().await;
    at_tablet.connected().await;

    desk.write("a", "from one end");
    at_tablet.until_notes(&[("a", "from one end")]).await;
    tablet.write("b", "from the other end");
    let all = [("a", "from one end"), ("b", "from the other end")];
    at_desk.until_notes(&all).await;
    at_phone.until_notes(&all).await;
    for running in [at_desk, at_phone, at_tablet] {
        running.peer.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reunion_of_equal_peers_costs_at_most_200_bytes() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    desk.write("a", "one");
    let (at_desk, mut at_phone) = connected(&desk, &phone).await;
    at_phone.until_notes(&[("a", "one")]).await;
    phone.write("b", "two");
    let mut at_desk = at_desk;
    at_desk.until_notes(&[("a", "one"), ("b", "two")]).await;
    at_phone.peer.shutdown().await;
    at_desk.peer.shutdown().await;

    let (mut at_desk, mut at_phone) = connected(&desk, &phone).await;
    for running in [&mut at_desk, &mut at_phone] {
        running.until("equality", |event| matches!(event, PeerEvent::CaughtUp { .. }).then_some(())).await;
    }
    let status = at_phone.peer.status().await.unwrap();
    let traffic = status.sessions[0].traffic;
    let bytes = traffic.sent_bytes + traffic.received_bytes;
    println!("reunion of equal peers: {bytes} bytes");
    assert!(bytes <= 200, "{traffic:?}");
    assert!(status.sessions[0].caught_up);
    assert_eq!(status.sessions[0].device.name, "desk");
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_without_others_says_what_it_tried() {
    let desk = Device::founded("desk");
    let nobody: kithdb_peer::Address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let mut config = dialling(std::slice::from_ref(&nobody));
    config.report_after = std::time::Duration::from_millis(500);
    let mut at_desk = desk.start(config).await;
    let (tried, addresses) = at_desk
        .until("the report", |event| match event {
            PeerEvent::NoPeerYet { tried, addresses, mdns: false } => Some((tried.clone(), addresses.clone())),
            _ => None,
        })
        .await;
    assert_eq!(tried[0].address, nobody);
    assert!(tried[0].reason.is_some());
    assert!(!addresses.is_empty());
    at_desk.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_port_is_used_again_and_a_busy_one_is_replaced_and_named() {
    let desk = Device::founded("desk");
    let config = || PeerConfig { listen: kithdb_peer::Listen::Loopback, ..PeerConfig::loopback() };
    let mut first = desk.start(config()).await;
    let port = first.address().await.port();
    first.peer.shutdown().await;
    let mut second = desk.start(config()).await;
    assert_eq!(second.address().await.port(), port);
    second.peer.shutdown().await;

    let _held = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut third = desk.start(config()).await;
    let taken = third
        .until("the busy port", |event| match event {
            PeerEvent::PortBusy { wanted, taken } if *wanted == port => Some(*taken),
            _ => None,
        })
        .await;
    assert_eq!(third.address().await.port(), taken);
    third.peer.shutdown().await;
}

/// Every device's program writes while all are connected in a triangle: inserts, updates of shared rows, deletes.
#[tokio::test(flavor = "multi_thread")]
async fn three_peers_whose_programs_write_at_once_converge() {
    let desk = Device::founded("desk");
    let devices = [Device::joined(&desk, "phone"), Device::joined(&desk, "tablet"), desk];
    let mut peers: Vec<Running> = Vec::new();
    for device in &devices {
        let mut addresses = Vec::new();
        for peer in &mut peers {
            addresses.push(peer.address().await);
        }
        peers.push(device.start(dialling(&addresses)).await);
    }
    // The table is created by the first device's definition.
    devices[2].write("shared 0", "first");
    for peer in &mut peers {
        peer.until_notes(&[("shared 0", "first")]).await;
    }
    let programs = devices.iter().enumerate().map(|(at, device)| {
        let mut program = device.open();
        std::thread::spawn(move || {
            for round in 0..60 {
                let shared = format!("shared {}", round % 7);
                let sql = match round % 5 {
                    0 => "DELETE FROM notes WHERE id = ?1",
                    1 | 2 => "INSERT INTO notes VALUES(?1, ?2) ON CONFLICT DO UPDATE SET body = excluded.body",
                    _ => "INSERT INTO notes VALUES(?2, ?1)",
                };
                let values = [shared, format!("{at} wrote {round}")];
                let used = if round % 5 == 0 { &values[..1] } else { &values[..] };
                program.execute(sql, rusqlite::params_from_iter(used)).unwrap();
            }
        })
    });
    for program in programs.collect::<Vec<_>>() {
        program.join().unwrap();
    }
    loop {
        let mut shown = Vec::new();
        for peer in &peers {
            shown.push(peer.notes().await);
        }
        let is_last_there = |at: usize| shown[0].iter().any(|(id, _)| *id == format!("{at} wrote 59"));
        if shown.iter().all(|other| *other == shown[0]) && (0..3).all(is_last_there) {
            break;
        }
        // Whoever lacks something hears of it; whichever comes first.
        let (left, right) = peers.split_at_mut(1);
        let (middle, right) = right.split_at_mut(1);
        tokio::select! {
            _ = left[0].next() => {}
            _ = middle[0].next() => {}
            _ = right[0].next() => {}
        }
    }
    for peer in peers {
        peer.peer.shutdown().await;
    }
    for device in &devices {
        let mut replica = device.open();
        while replica.apply_stored(Default::default()).unwrap().more {}
        let report = replica.verify(|_, _, _| {}).unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_peer_of_a_file_is_refused_and_named() {
    let desk = Device::founded("desk");
    let first = desk.start(PeerConfig::loopback()).await;
    let error = kithdb_peer::Peer::open(&desk.path, PeerConfig::loopback()).await.unwrap_err();
    assert!(matches!(error, kithdb_peer::StartError::AlreadyRunning { .. }), "{error}");
    first.peer.shutdown().await;
    desk.start(PeerConfig::loopback()).await.peer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_heads_are_announced_by_gossip_too() {
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    let (at_desk, mut at_phone) = connected(&desk, &phone).await;
    let mut written = 0;
    // Gossip begins once the peers have told each other what they follow; the sessions do not wait for that.
    while at_phone.peer.status().await.unwrap().gossip.heard == 0 {
        desk.write(&format!("note {written}"), "x");
        written += 1;
        let expected = written;
        while at_phone.notes().await.len() < expected {
            at_phone.until("rows", |event| matches!(event, PeerEvent::Applied { .. }).then_some(())).await;
        }
    }
    let (desk_counts, phone_counts) =
        (at_desk.peer.status().await.unwrap().gossip, at_phone.peer.status().await.unwrap().gossip);
    println!("after {written} writes: announced {}, heard {}", desk_counts.announced, phone_counts.heard);
    assert!(desk_counts.announced >= phone_counts.heard);
    assert_eq!(phone_counts.ignored, 0);
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}

async fn connected(desk: &Device, phone: &Device) -> (Running, Running) {
    let mut at_desk = desk.start(PeerConfig::loopback()).await;
    let mut at_phone = phone.start(dialling(&[at_desk.address().await])).await;
    at_desk.connected().await;
    at_phone.connected().await;
    (at_desk, at_phone)
}
