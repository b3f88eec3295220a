//! Two peers that dial each other at the same moment end up with one session that works.

mod common;

use common::*;
use kithdb_net::{CloseReason, NetEvent, Path, SessionId};

/// Says something and waits for what the other says; returns every session seen on the way.
async fn greet(peer: &mut Peer, name: u8) -> (Vec<SessionId>, SessionId) {
    let mut seen = Vec::new();
    loop {
        match peer.next().await {
            NetEvent::SessionOpened { session, .. } => {
                seen.push(session);
                peer.net.send(session, vec![name]).await.unwrap();
            }
            NetEvent::Frame { session, bytes } => {
                assert_ne!(bytes, [name], "own greeting came back");
                return (seen, session);
            }
            NetEvent::SessionClosed { reason, .. } => panic!("a session was thrown away: {reason}"),
            NetEvent::DialFailed { reason, .. } => panic!("a dial failed: {reason}"),
            _ => {}
        }
    }
}

async fn collide(left_path: Path, right_path: Path) {
    for round in 0..8 {
        let mut left = start(kithdb_net::NetConfig::loopback(secret(), 0)).await;
        let mut right = start(kithdb_net::NetConfig::loopback(secret(), 0)).await;
        let at_right = right.address(left_path).await;
        let at_left = left.address(right_path).await;
        left.net.dial(at_right);
        right.net.dial(at_left);
        let (left_end, right_end) = tokio::join!(greet(&mut left, 1), greet(&mut right, 2));
        for (seen, session) in [&left_end, &right_end] {
            assert_eq!(seen, &[*session], "round {round}");
        }
        // The end of it is the first thing that happens to it: no second session came up meanwhile.
        left.net.close(left_end.1, "done");
        let end = right
            .until("the end", |event| match event {
                NetEvent::SessionClosed { session, reason, .. } => Some((*session, reason.clone())),
                NetEvent::SessionOpened { .. } => panic!("a second session in round {round}"),
                _ => None,
            })
            .await;
        assert_eq!(end, (right_end.1, CloseReason::ClosedByPeer), "round {round}");
        tokio::join!(left.net.shutdown(), right.net.shutdown());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_dials_over_quic_leave_one_session() {
    collide(Path::Quic, Path::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_dials_over_tcp_leave_one_session() {
    collide(Path::Tcp, Path::Tcp).await;
}

#[tokio::test]
async fn simultaneous_dials_over_both_leave_one_session() {
    collide(Path::Quic, Path::Tcp).await;
}
