//! Start and stop: ports, failures, and what happens to sessions.

mod common;

use std::process::{Child, Command, Stdio};

use common::*;
use kithdb_net::{Address, CloseReason, NetConfig, NetEvent, Network, Path, SessionId, StartError};
use tokio::time::timeout;

#[tokio::test]
async fn shutdown_frees_the_port_at_once() {
    let mut fixed = NetConfig::loopback(secret(), 0);
    for round in 0..3 {
        let mut left = start(fixed.clone()).await;
        let quic = left.address(Path::Quic).await;
        let tcp = left.address(Path::Tcp).await;
        // Busy connections over both are the hard case.
        let mut over_quic = start(only(Path::Quic)).await;
        let mut over_tcp = start(only(Path::Tcp)).await;
        over_quic.net.dial(quic.clone());
        over_tcp.net.dial(tcp.clone());
        for peer in [&mut over_quic, &mut over_tcp] {
            let (session, _, _) = peer.opened().await;
            peer.net.send(session, vec![round; 100_000]).await.unwrap();
        }
        left.net.shutdown().await;
        // From the second round on the very same ports are bound again.
        fixed.listen = vec![quic.without_peer().to_string(), tcp.without_peer().to_string()];
    }
}

async fn shutdown_tells_the_peer(path: Path) {
    let (left, at_left, mut right, at_right) = pair(path).await;
    left.net.send(at_left, b"last words".to_vec()).await.unwrap();
    let Peer { net, mut events, .. } = left;
    net.shutdown().await;
    assert_eq!(right.frame(at_right).await, b"last words");
    assert_eq!(right.closed(at_right).await, CloseReason::ClosedByPeer);
    let mut reasons = Vec::new();
    while let Some(event) = events.recv().await {
        if let NetEvent::SessionClosed { reason, .. } = event {
            reasons.push(reason);
        }
    }
    assert_eq!(reasons, [CloseReason::Shutdown], "and then the events end");
}

#[tokio::test]
async fn shutdown_delivers_what_was_queued_and_tells_the_peer_over_quic() {
    shutdown_tells_the_peer(Path::Quic).await;
}

#[tokio::test]
async fn shutdown_delivers_what_was_queued_and_tells_the_peer_over_tcp() {
    shutdown_tells_the_peer(Path::Tcp).await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_an_application_that_reads_no_events() {
    let mut config = only(Path::Quic);
    config.limits.events_max = 1;
    let mut left = start(only(Path::Quic)).await;
    let mut right = start(config).await;
    let (at_left, _) = connect(&mut left, &mut right, Path::Quic).await;
    for _ in 0..10 {
        left.net.send(at_left, vec![1]).await.unwrap();
    }
    timeout(GUARD, right.net.shutdown()).await.unwrap();
}

#[tokio::test]
async fn leaving_does_not_wait_for_a_dial_that_nobody_answers() {
    let mut left = start(NetConfig::loopback(secret(), 0)).await;
    left.address(Path::Quic).await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    left.net.dial(format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap());
    // The dial is under way once its first packet is here.
    tokio::task::spawn_blocking(move || silent.recv(&mut [0; 2048]).unwrap()).await.unwrap();
    timeout(std::time::Duration::from_secs(1), left.net.leave()).await.expect("it waited for the dial");
}

#[tokio::test]
async fn dropping_the_events_stops_the_network() {
    let (left, _, mut right, at_right) = pair(Path::Quic).await;
    drop(left.events);
    assert_eq!(right.closed(at_right).await, CloseReason::ClosedByPeer);
    timeout(GUARD, left.net.shutdown()).await.unwrap();
}

#[tokio::test]
async fn taken_port_is_an_error_that_names_it() {
    let mut left = start(NetConfig::loopback(secret(), 0)).await;
    for path in [Path::Quic, Path::Tcp] {
        let taken = left.address(path).await.without_peer().to_string();
        let mut config = only(path);
        config.listen = vec![taken.clone()];
        let error = Network::start(config).await.unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }));
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {taken}: ")), "{text}");
        assert!(text.contains("in use"), "{text}");
    }
}

#[tokio::test]
async fn address_of_another_machine_is_an_error_with_its_own_remedy() {
    for listen in ["/ip4/192.0.2.1/udp/0/quic-v1", "/ip4/192.0.2.1/tcp/4700"] {
        let mut config = only(Path::Quic);
        config.listen = vec![listen.to_owned()];
        let text = Network::start(config).await.unwrap_err().to_string();
        assert!(text.contains("that address is not this machine's") && !text.contains("port"), "{text}");
    }
}

#[tokio::test]
async fn one_taken_port_of_several_is_reported_and_the_rest_works() {
    let mut left = start(only(Path::Quic)).await;
    let taken = left.address(Path::Quic).await.without_peer();
    let mut config = only(Path::Tcp);
    config.listen.insert(0, taken.to_string());
    let mut right = start(config).await;
    let (address, reason) = right
        .until("ListenFailed", |event| match event {
            NetEvent::ListenFailed { address, reason } => Some((address.clone(), reason.clone())),
            _ => None,
        })
        .await;
    assert_eq!(address, taken);
    assert!(reason.contains("in use"), "{reason}");
    connect(&mut left, &mut right, Path::Tcp).await;
}

#[tokio::test]
async fn listen_text_that_is_no_address_is_refused() {
    let mut config = only(Path::Tcp);
    config.listen = vec!["localhost:4700".to_owned()];
    let error = Network::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::ListenAddress(_)), "{error}");
}

#[test]
fn start_outside_a_runtime_is_an_error() {
    let future = Network::start(only(Path::Tcp));
    let error = futures::executor::block_on(future).unwrap_err();
    assert!(matches!(error, StartError::Runtime(_)), "{error}");
}

/// A peer in another process, with which there is a session; killed when dropped.
struct OtherProcess(Child);

impl Drop for OtherProcess {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn other_process(left: &mut Peer, path: Path) -> (OtherProcess, SessionId) {
    let address = left.address(path).await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peer_in_another_process", "--nocapture"])
        .env("KITHDB_NET_TEST_DIAL", address.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let other = OtherProcess(child);
    let (session, dialer, _) = left.opened().await;
    assert!(!dialer);
    assert_eq!(left.frame(session).await, b"alive");
    (other, session)
}

/// Kills a peer in another process, without any chance to say goodbye.
async fn kill_is_reported(path: Path) {
    let mut left = start(only(path)).await;
    let (other, session) = other_process(&mut left, path).await;
    drop(other);
    let reason = left.closed(session).await;
    assert!(
        matches!(reason, CloseReason::ClosedByPeer | CloseReason::Lost { .. } | CloseReason::Unresponsive),
        "{reason}"
    );
}

/// Freezes a peer in another process: its system keeps the TCP connection, only pings can tell. That takes longer than idle connections are
/// kept, so it also shows that a session without traffic lives on.
#[cfg(unix)]
#[tokio::test]
async fn frozen_peer_is_reported_and_quiet_sessions_live_on() {
    let (quic, at_quic, mut quic_end, at_quic_end) = pair(Path::Quic).await;
    let (tcp, at_tcp, mut tcp_end, at_tcp_end) = pair(Path::Tcp).await;

    let mut left = start(only(Path::Tcp)).await;
    let (other, session) = other_process(&mut left, Path::Tcp).await;
    let pid = other.0.id().to_string();
    let frozen = Command::new("kill").args(["-STOP", &pid]).status().unwrap();
    assert!(frozen.success());
    let since = std::time::Instant::now();
    assert_eq!(left.closed(session).await, CloseReason::Unresponsive);
    assert!(since.elapsed().as_secs() > 10, "longer than the idle timeout");

    quic.net.send(at_quic, b"still".to_vec()).await.unwrap();
    assert_eq!(quic_end.frame(at_quic_end).await, b"still");
    tcp.net.send(at_tcp, b"here".to_vec()).await.unwrap();
    assert_eq!(tcp_end.frame(at_tcp_end).await, b"here");
}

#[tokio::test]
async fn killed_peer_is_reported_over_quic() {
    kill_is_reported(Path::Quic).await;
}

#[tokio::test]
async fn killed_peer_is_reported_over_tcp() {
    kill_is_reported(Path::Tcp).await;
}

/// The process that `other_process` starts; without its variable it has nothing to do.
#[tokio::test]
async fn peer_in_another_process() {
    let Ok(address) = std::env::var("KITHDB_NET_TEST_DIAL") else {
        return;
    };
    let address: Address = address.parse().unwrap();
    let mut peer = start(only(address.path())).await;
    peer.net.dial(address);
    let (session, _, _) = peer.opened().await;
    peer.net.send(session, b"alive".to_vec()).await.unwrap();
    // Runs until it is killed or the parent is gone.
    peer.closed(session).await;
}
