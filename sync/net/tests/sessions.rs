//! Sessions between two peers: frames, bulk, backpressure, closing, dialling.

mod common;

use std::time::Duration;

use common::*;
use kithdb_net::{CloseReason, FRAME_BYTES_MAX, NetEvent, Path, SendError};
use tokio::time::timeout;

const FRAMES: u32 = 1000;

/// A frame whose size and content follow from its number.
fn numbered(number: u32) -> Vec<u8> {
    let size = 4 + (number * 37 % 5000) as usize;
    let mut bytes = vec![number as u8; size];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

async fn exchange_both_ways(path: Path) {
    let (mut left, at_left, mut right, at_right) = pair(path).await;
    let side = async |peer: &mut Peer, session| {
        let sender = peer.net.clone();
        let send = async move {
            for number in 0..FRAMES {
                sender.send(session, numbered(number)).await.unwrap();
            }
        };
        let receive = async {
            for number in 0..FRAMES {
                assert!(peer.frame(session).await == numbered(number), "frame {number}");
            }
        };
        tokio::join!(send, receive);
    };
    tokio::join!(side(&mut left, at_left), side(&mut right, at_right));
}

#[tokio::test]
async fn thousand_frames_both_ways_arrive_in_order_over_quic() {
    exchange_both_ways(Path::Quic).await;
}

#[tokio::test]
async fn thousand_frames_both_ways_arrive_in_order_over_tcp() {
    exchange_both_ways(Path::Tcp).await;
}

/// Sends 64 MiB to a peer that reads nothing until the sender is stuck: what is under way stays bounded, and then everything arrives.
async fn bulk_with_backpressure(path: Path) {
    const COUNT: u32 = 64;
    const SIZE: usize = 1024 * 1024;
    let mut slow = only(path);
    slow.limits.events_max = 4;
    let mut left = start(only(path)).await;
    let mut right = start(slow).await;
    let (at_left, at_right) = connect(&mut left, &mut right, path).await;

    let bulk = |number: u32| {
        let mut bytes = vec![number as u8; SIZE];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let mut sent = 0;
    // The receiver does not read: sending must come to a halt by itself.
    while sent < COUNT {
        match timeout(Duration::from_secs(2), left.net.send(at_left, bulk(sent))).await {
            Ok(result) => {
                result.unwrap();
                sent += 1;
            }
            Err(_) => break,
        }
    }
    assert!((8..40).contains(&sent), "{sent} MiB were taken before the sender had to wait");

    // The frame that waited was taken back with its future: it is sent again.
    let sender = left.net.clone();
    let send = async move {
        for number in sent..COUNT {
            sender.send(at_left, bulk(number)).await.unwrap();
        }
    };
    let receive = async {
        for number in 0..COUNT {
            assert!(right.frame(at_right).await == bulk(number), "frame {number}");
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn bulk_over_quic_waits_for_a_slow_reader() {
    bulk_with_backpressure(Path::Quic).await;
}

#[tokio::test]
async fn bulk_over_tcp_waits_for_a_slow_reader() {
    bulk_with_backpressure(Path::Tcp).await;
}

async fn close_delivers_what_was_queued(path: Path) {
    let (mut left, at_left, mut right, at_right) = pair(path).await;
    for number in 0..200 {
        left.net.send(at_left, numbered(number)).await.unwrap();
    }
    left.net.close(at_left, "enough");
    for number in 0..200 {
        assert!(right.frame(at_right).await == numbered(number), "frame {number}");
    }
    assert_eq!(right.closed(at_right).await, CloseReason::ClosedByPeer);
    let reason = "enough".to_owned();
    assert_eq!(left.closed(at_left).await, CloseReason::Local { reason });
    let error = left.net.send(at_left, vec![1]).await.unwrap_err();
    assert_eq!(error, SendError::Closed { session: at_left });

    // Who acts on the event finds the way free.
    let (again, _) = connect(&mut left, &mut right, path).await;
    assert_ne!(again, at_left);
}

#[tokio::test]
async fn close_delivers_what_was_queued_and_the_peer_can_be_dialled_again_over_quic() {
    close_delivers_what_was_queued(Path::Quic).await;
}

#[tokio::test]
async fn close_delivers_what_was_queued_and_the_peer_can_be_dialled_again_over_tcp() {
    close_delivers_what_was_queued(Path::Tcp).await;
}

#[tokio::test]
async fn frame_over_the_limit_is_not_sent_and_the_session_lives() {
    let (left, at_left, mut right, at_right) = pair(Path::Quic).await;
    let bytes = FRAME_BYTES_MAX + 1;
    let error = left.net.send(at_left, vec![0; bytes]).await.unwrap_err();
    assert_eq!(error, SendError::TooLarge { bytes });
    left.net.send(at_left, vec![7; FRAME_BYTES_MAX]).await.unwrap();
    assert_eq!(right.frame(at_right).await.len(), FRAME_BYTES_MAX);
}

async fn wrong_peer_is_refused(path: Path) {
    let mut left = start(only(path)).await;
    let mut right = start(only(path)).await;
    let stranger = secret().peer_id();
    let address = right.address(path).await;
    left.net.dial(address.with_peer(stranger));
    let reason = left.dial_failed().await;
    assert_eq!(
        reason,
        format!(
            "the peer at {} is {}, not {stranger}; ask it for its present address",
            address.without_peer(),
            right.net.peer_id()
        )
    );
    // Nothing is left behind that would be in the way of the right one.
    connect(&mut left, &mut right, path).await;
}

#[tokio::test]
async fn wrong_peer_is_refused_over_quic() {
    wrong_peer_is_refused(Path::Quic).await;
}

#[tokio::test]
async fn wrong_peer_is_refused_over_tcp() {
    wrong_peer_is_refused(Path::Tcp).await;
}

#[tokio::test]
async fn dial_of_a_closed_port_names_the_address_and_the_cause() {
    let mut left = start(only(Path::Tcp)).await;
    // A port that was free a moment ago and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    left.net.dial(format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap());
    let reason = left.dial_failed().await;
    assert!(reason.starts_with(&format!("/ip4/127.0.0.1/tcp/{port}: ")), "{reason}");
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn dial_of_oneself_says_so() {
    let mut left = start(only(Path::Tcp)).await;
    let own = left.address(Path::Tcp).await;
    left.net.dial(own.without_peer());
    assert_eq!(left.dial_failed().await, "that is this process's own address");
}

#[tokio::test]
async fn dial_of_a_connected_peer_reports_the_session_that_stays() {
    let (mut left, at_left, mut right, at_right) = pair(Path::Quic).await;
    let address = right.address(Path::Quic).await;
    // With the peer named nothing is dialled; without, the second connection is given up.
    for address in [address.clone(), address.without_peer()] {
        left.net.dial(address);
        let stays = left
            .until("AlreadyConnected", |event| match event {
                NetEvent::AlreadyConnected { session, .. } => Some(*session),
                _ => None,
            })
            .await;
        assert_eq!(stays, at_left);
    }
    left.net.send(at_left, b"still here".to_vec()).await.unwrap();
    assert_eq!(right.frame(at_right).await, b"still here");
}

#[tokio::test]
async fn quic_goes_first_and_tcp_steps_in_when_quic_is_blocked() {
    let mut left = start(only(Path::Quic)).await;
    let mut both = start(kithdb_net::NetConfig::loopback(secret(), 0)).await;
    let quic = both.address(Path::Quic).await;
    let tcp = both.address(Path::Tcp).await;
    left.net.dial_many(vec![tcp.clone(), quic]);
    let (session, _, path) = left.opened().await;
    assert_eq!(path, Path::Quic);
    left.net.close(session, "next round");
    left.closed(session).await;

    // A UDP socket that never answers: a firewall that drops.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let blocked = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
    left.net.dial_many(vec![blocked, tcp]);
    let (_, _, path) = left.opened().await;
    assert_eq!(path, Path::Tcp);
}

#[tokio::test]
async fn sessions_over_the_limit_are_refused_with_the_reason() {
    let mut config = only(Path::Quic);
    config.limits.sessions_max = 1;
    let mut full = start(config).await;
    let mut first = start(only(Path::Quic)).await;
    let mut second = start(only(Path::Quic)).await;
    let (at_first, at_full) = connect(&mut first, &mut full, Path::Quic).await;
    second.net.dial(full.address(Path::Quic).await);
    let reason = second.dial_failed().await;
    assert!(reason.contains("as many sessions as it allows"), "{reason}");
    first.net.send(at_first, vec![1]).await.unwrap();
    assert_eq!(full.frame(at_full).await, [1]);
}

#[tokio::test]
async fn peer_that_does_not_listen_can_dial() {
    let mut both = start(kithdb_net::NetConfig::loopback(secret(), 0)).await;
    for path in [Path::Quic, Path::Tcp] {
        let mut config = only(path);
        config.listen.clear();
        let mut left = start(config).await;
        let (at_left, at_both) = connect(&mut left, &mut both, path).await;
        both.net.send(at_both, vec![3]).await.unwrap();
        assert_eq!(left.frame(at_left).await, [3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_that_close_at_once_are_each_told_once() {
    let mut left = start(kithdb_net::NetConfig::loopback(secret(), 0)).await;
    let mut right = start(kithdb_net::NetConfig::loopback(secret(), 0)).await;
    for round in 0..30 {
        let path = if round % 2 == 0 { Path::Quic } else { Path::Tcp };
        let (at_left, at_right) = connect(&mut left, &mut right, path).await;
        left.net.close(at_left, "done");
        right.net.close(at_right, "done");
        tokio::join!(left.closed(at_left), right.closed(at_right));
    }
}
