//! A peer that does not keep to the protocol, written with libp2p-stream instead of our own code.

mod common;

use common::*;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use kithdb_net::{Address, CloseReason, FRAME_BYTES_MAX, Path};
use libp2p::{PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};

/// A bare libp2p node.
struct Hostile {
    control: libp2p_stream::Control,
    target: PeerId,
}

impl Hostile {
    /// Connects to an address.
    async fn connect(address: &Address) -> Self {
        let target = address.peer().unwrap().to_string().parse().unwrap();
        let mut swarm: Swarm<libp2p_stream::Behaviour> = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .build();
        let address: libp2p::Multiaddr = address.to_string().parse().unwrap();
        swarm.dial(address).unwrap();
        let control = swarm.behaviour().new_control();
        while !swarm.is_connected(&target) {
            swarm.select_next_some().await;
        }
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { control, target }
    }

    /// Opens a substream of the sync protocol.
    async fn stream(&mut self) -> Stream {
        let protocol = StreamProtocol::new("/kithdb/sync/1");
        self.control.open_stream(self.target, protocol).await.unwrap()
    }

    /// Opens a session properly: the preface is 24 bytes, the answer 25 of which the first says yes.
    async fn session(&mut self, attempt: u64) -> Stream {
        let mut stream = self.stream().await;
        stream.write_all(&[0x33; 16]).await.unwrap();
        stream.write_all(&attempt.to_le_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut reply = [0; 25];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[0], 1);
        stream
    }
}

/// Lets the hostile peer write these bytes in a session and end it, and returns why ours ended; then an honest peer must be served.
async fn ends_with(bytes: &[u8]) -> CloseReason {
    let mut victim = start(only(Path::Tcp)).await;
    let address = victim.address(Path::Tcp).await;
    let mut honest = start(only(Path::Tcp)).await;
    let (at_honest, at_victim) = connect(&mut honest, &mut victim, Path::Tcp).await;

    let mut hostile = Hostile::connect(&address).await;
    let mut stream = hostile.session(1).await;
    let (session, _, _) = victim.opened().await;
    // The victim may hang up before everything is written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.close().await;
    let reason = victim.closed(session).await;

    honest.net.send(at_honest, b"and now".to_vec()).await.unwrap();
    assert_eq!(victim.frame(at_victim).await, b"and now");
    reason
}

#[tokio::test]
async fn oversize_frame_ends_that_session_only() {
    let bytes = FRAME_BYTES_MAX as u32 + 1;
    let reason = ends_with(&bytes.to_le_bytes()).await;
    assert_eq!(reason, CloseReason::FrameTooLarge { bytes });
    let reason = ends_with(&[0xff; 100]).await;
    assert_eq!(reason, CloseReason::FrameTooLarge { bytes: u32::MAX });
}

#[tokio::test]
async fn end_inside_a_frame_is_named() {
    let mut bytes = 1000u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[7; 400]);
    let reason = ends_with(&bytes).await;
    assert_eq!(reason, CloseReason::FrameCut { expected_bytes: 1000, received_bytes: 400 });
}

#[tokio::test]
async fn end_between_frames_is_a_clean_close() {
    let mut bytes = 3u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"abc");
    assert_eq!(ends_with(&bytes).await, CloseReason::ClosedByPeer);
}

#[tokio::test]
async fn newer_session_of_the_same_peer_replaces_the_older_and_an_older_is_refused() {
    let mut victim = start(only(Path::Tcp)).await;
    let address = victim.address(Path::Tcp).await;
    let mut hostile = Hostile::connect(&address).await;
    let _first = hostile.session(5).await;
    let (first, _, _) = victim.opened().await;
    let mut second = hostile.session(6).await;
    assert_eq!(victim.closed(first).await, CloseReason::Replaced);
    let (session, _, _) = victim.opened().await;

    let mut late = hostile.stream().await;
    late.write_all(&[0x33; 16]).await.unwrap();
    late.write_all(&5u64.to_le_bytes()).await.unwrap();
    late.flush().await.unwrap();
    let mut reply = [0; 25];
    late.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[0], 2, "refused as a leftover");

    second.write_all(&2u32.to_le_bytes()).await.unwrap();
    second.write_all(b"ok").await.unwrap();
    second.flush().await.unwrap();
    assert_eq!(victim.frame(session).await, b"ok");
}

#[tokio::test]
async fn openings_that_say_nothing_do_not_keep_others_out() {
    let mut victim = start(only(Path::Tcp)).await;
    let address = victim.address(Path::Tcp).await;
    let mut hostile = Hostile::connect(&address).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(hostile.stream().await);
    }
    let mut honest = start(only(Path::Tcp)).await;
    let (at_honest, at_victim) = connect(&mut honest, &mut victim, Path::Tcp).await;
    honest.net.send(at_honest, vec![9]).await.unwrap();
    assert_eq!(victim.frame(at_victim).await, [9]);
}
