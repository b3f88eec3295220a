//! Where a peer can be reached: a checked multiaddr.
//!
//! Invariants:
//! 1. An [`Address`] is an IP address or a host name, then `/udp/PORT/quic-v1` or `/tcp/PORT`, then perhaps `/p2p/PEER`; nothing else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::identity::PeerId;

/// The transport a session runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Path {
    /// QUIC over UDP.
    Quic,
    /// TCP with Noise and Yamux.
    Tcp,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::Quic => "QUIC",
            Path::Tcp => "TCP",
        })
    }
}

/// Says where to listen or whom to dial, for instance `/ip4/192.168.1.20/udp/4700/quic-v1`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(Multiaddr);

impl Address {
    /// Returns the transport the address asks for.
    pub fn path(&self) -> Path {
        let quic = self.0.iter().any(|part| matches!(part, Protocol::QuicV1));
        if quic { Path::Quic } else { Path::Tcp }
    }

    /// Returns the peer that must answer there, if the address names one.
    pub fn peer(&self) -> Option<PeerId> {
        match self.0.iter().last() {
            Some(Protocol::P2p(peer)) => Some(PeerId(peer)),
            _ => None,
        }
    }

    /// Returns the same place with this peer as the only one accepted there.
    pub fn with_peer(&self, peer: PeerId) -> Address {
        Address(self.without_peer().0.with(Protocol::P2p(peer.0)))
    }

    /// Returns the same place without the peer.
    pub fn without_peer(&self) -> Address {
        let mut place = self.0.clone();
        if self.peer().is_some() {
            place.pop();
        }
        Address(place)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.0
            .iter()
            .find_map(|part| match part {
                Protocol::Udp(port) | Protocol::Tcp(port) => Some(port),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// Returns the IP address, unless the address holds a host name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.iter().find_map(|part| match part {
            Protocol::Ip4(ip) => Some(ip.into()),
            Protocol::Ip6(ip) => Some(ip.into()),
            _ => None,
        })
    }

    /// Tells whether the address is reachable from this machine only.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback())
    }

    pub(crate) fn multiaddr(&self) -> &Multiaddr {
        &self.0
    }

    /// Takes what libp2p reports, refusing what breaks invariant 1.
    pub(crate) fn from_multiaddr(multiaddr: Multiaddr) -> Option<Address> {
        let mut parts = multiaddr.iter().peekable();
        if matches!(parts.peek(), Some(Protocol::Ip6zone(_))) {
            parts.next();
        }
        match parts.next()? {
            Protocol::Ip4(_) | Protocol::Ip6(_) => {}
            Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => {}
            _ => return None,
        }
        match parts.next()? {
            Protocol::Tcp(_) => {}
            Protocol::Udp(_) if parts.next() == Some(Protocol::QuicV1) => {}
            _ => return None,
        }
        if matches!(parts.peek(), Some(Protocol::P2p(_))) {
            parts.next();
        }
        let complete = parts.next().is_none();
        drop(parts);
        complete.then_some(Address(multiaddr))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse::<Multiaddr>().ok().and_then(Address::from_multiaddr).ok_or_else(|| AddressError::new(text))
    }
}

/// Says that a text is not an address, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{input}` is no address; write it like {example} (QUIC) or /ip4/192.168.1.20/tcp/4700 (TCP), and add /p2p/PEER to accept that peer only"
)]
pub struct AddressError {
    input: String,
    example: String,
}

impl AddressError {
    fn new(text: &str) -> Self {
        // Who types host:port gets their own address back in the right form.
        let example = match text.parse::<SocketAddr>() {
            Ok(SocketAddr::V4(at)) => format!("/ip4/{}/udp/{}/quic-v1", at.ip(), at.port()),
            Ok(SocketAddr::V6(at)) => format!("/ip6/{}/udp/{}/quic-v1", at.ip(), at.port()),
            Err(_) => "/ip4/192.168.1.20/udp/4700/quic-v1".to_owned(),
        };
        let mut input: String = text.escape_debug().take(200).collect();
        if input.is_empty() {
            input.push(' ');
        }
        Self { input, example }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TransportSecret;

    #[track_caller]
    fn check(text: &str, path: Path, port: u16) {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.path(), path);
        assert_eq!(address.port(), port);
    }

    #[test]
    fn quic_and_tcp_addresses_are_taken() {
        check("/ip4/127.0.0.1/udp/4700/quic-v1", Path::Quic, 4700);
        check("/ip6/::1/udp/1/quic-v1", Path::Quic, 1);
        check("/ip4/10.0.0.1/tcp/4701", Path::Tcp, 4701);
        check("/dns/peer.example/udp/443/quic-v1", Path::Quic, 443);
    }

    #[test]
    fn peer_can_be_added_replaced_and_removed() {
        let one = TransportSecret::from_bytes([1; 32]).peer_id();
        let two = TransportSecret::from_bytes([2; 32]).peer_id();
        let plain: Address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(plain.peer(), None);
        assert_eq!(plain.with_peer(one).peer(), Some(one));
        assert_eq!(plain.with_peer(one).with_peer(two).peer(), Some(two));
        assert_eq!(plain.with_peer(one).without_peer(), plain);
        assert_eq!(plain.with_peer(one).to_string().parse(), Ok(plain.with_peer(one)));
    }

    #[test]
    fn other_texts_are_refused_with_an_example() {
        for text in [
            "",
            "laptop",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/4700",
            "/ip4/1.2.3.4/udp/4700/quic-v1/tcp/1",
            "/ip4/1.2.3.4/tcp/4700/ws",
            "/unix/tmp",
            "/ip4/300.2.3.4/tcp/1",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("/udp/4700/quic-v1"), "{text}: {error}");
        }
    }

    #[test]
    fn host_and_port_gets_the_right_form_back() {
        let error = "10.1.2.3:99".parse::<Address>().unwrap_err();
        assert!(error.to_string().contains("/ip4/10.1.2.3/udp/99/quic-v1"));
    }
}
