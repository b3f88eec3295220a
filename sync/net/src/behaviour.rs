//! The protocols that run on every connection, as one libp2p behaviour.

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{connection_limits, gossipsub, identify, mdns, ping};

use crate::config::NetConfig;
use crate::error::StartError;
use crate::limits::{CONNECTIONS_PER_PEER_MAX, PENDING_CONNECTIONS_MAX, PING_INTERVAL, PING_TIMEOUT};
use crate::{gossip, substream};

/// All of them; the limits come first because they may refuse a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) substreams: substream::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) gossip: Toggle<gossipsub::Behaviour>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Builds them; mDNS that cannot be had is returned as a reason, since the rest works without it.
pub(crate) fn build(config: &NetConfig, keypair: &Keypair) -> Result<(Behaviour, Option<String>), StartError> {
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(config.limits.connections_max))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_pending_incoming(Some(PENDING_CONNECTIONS_MAX))
        .with_max_pending_outgoing(Some(PENDING_CONNECTIONS_MAX));

    // Strangers may connect; they are not told our addresses.
    let identify = identify::Config::new("/kithdb/1".to_owned(), keypair.public())
        .with_agent_version(format!("kithdb-net/{}", env!("CARGO_PKG_VERSION")))
        .with_hide_listen_addrs(true);

    let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);

    let gossip = if config.gossip { Some(gossip::behaviour(keypair)?) } else { None };

    let (mdns, mdns_failure) = if config.mdns {
        match start_mdns(keypair) {
            Ok(mdns) => (Some(mdns), None),
            Err(error) => (None, Some(error.to_string())),
        }
    } else {
        (None, None)
    };

    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        substreams: substream::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        gossip: gossip.into(),
        mdns: mdns.into(),
    };
    Ok((behaviour, mdns_failure))
}

fn start_mdns(keypair: &Keypair) -> std::io::Result<mdns::tokio::Behaviour> {
    // libp2p only logs an interface without multicast, so ask the system first.
    let probe = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    probe.join_multicast_v4(&std::net::Ipv4Addr::new(224, 0, 0, 251), &std::net::Ipv4Addr::UNSPECIFIED)?;
    mdns::tokio::Behaviour::new(mdns::Config::default(), keypair.public().to_peer_id())
}
