//! Peers that find each other on the local network, where the machine has one.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use common::Device;
use kithdb_peer::{Listen, PeerConfig};

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

#[tokio::test(flavor = "multi_thread")]
async fn members_on_one_network_find_each_other_without_addresses() {
    if let Err(error) = multicast_works() {
        eprintln!("SKIPPED: this machine has no working multicast ({error}), discovery was not tested");
        return;
    }
    let desk = Device::founded("desk");
    let phone = Device::joined(&desk, "phone");
    desk.write("a", "found");
    let config = || PeerConfig { listen: Listen::Everywhere, ..PeerConfig::default() };
    let (at_desk, mut at_phone) = (desk.start(config()).await, phone.start(config()).await);
    at_phone.until_notes(&[("a", "found")]).await;
    at_desk.peer.shutdown().await;
    at_phone.peer.shutdown().await;
}
