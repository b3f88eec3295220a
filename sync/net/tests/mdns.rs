//! Discovery on the local network, where the machine has one.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use common::*;
use kithdb_net::{NetConfig, NetEvent, PeerId};

/// Tells whether a multicast packet sent here comes back here.
fn multicast_works() -> Result<(), std::io::Error> {
    let group = Ipv4Addr::new(239, 255, 71, 7);
    let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    receiver.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
    receiver.set_read_timeout(Some(Duration::from_secs(2)))?;
    let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    sender.send_to(b"probe", SocketAddrV4::new(group, receiver.local_addr()?.port()))?;
    receiver.recv(&mut [0; 16]).map(drop)
}

async fn discovers(peer: &mut Peer, wanted: PeerId) {
    let address = peer
        .until("discovery", |event| match event {
            NetEvent::Discovered { peer, address } if *peer == wanted => Some(address.clone()),
            NetEvent::MdnsFailed { reason } => panic!("mDNS failed: {reason}"),
            NetEvent::SessionOpened { .. } => panic!("a discovered peer was dialled"),
            _ => None,
        })
        .await;
    assert_eq!(address.peer(), Some(wanted));
    assert!(!address.is_loopback());
}

#[tokio::test]
async fn peers_on_one_network_discover_each_other() {
    if let Err(error) = multicast_works() {
        eprintln!("SKIPPED: this machine has no working multicast ({error}), discovery was not tested");
        return;
    }
    let mut left = start(NetConfig::new(secret(), 0)).await;
    let mut right = start(NetConfig::new(secret(), 0)).await;
    let (left_id, right_id) = (left.net.peer_id(), right.net.peer_id());
    tokio::join!(discovers(&mut left, right_id), discovers(&mut right, left_id));
}
