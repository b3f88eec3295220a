//! How bytes travel: QUIC, and TCP with Noise and Yamux, under names that DNS resolves.

use std::net::{TcpListener, UdpSocket};

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, noise, quic, tcp, yamux};

use crate::address::{Address, Path};
use crate::error::StartError;
use crate::limits::{
    CONNECT_TIMEOUT, QUIC_CONNECTION_BYTES_MAX, QUIC_IDLE_MS, QUIC_KEEP_ALIVE, QUIC_STREAM_BYTES_MAX,
    SUBSTREAMS_PER_CONNECTION_MAX,
};

/// Builds the transports of one network.
pub(crate) fn build(keypair: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let direct = || {
        let noise = noise::Config::new(keypair)
            .map_err(|error| StartError::Setup { part: "Noise", source: Box::new(error) })?;
        let mut mux = yamux::Config::default();
        mux.set_max_num_streams(SUBSTREAMS_PER_CONNECTION_MAX);
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(mux)
            .timeout(CONNECT_TIMEOUT);
        let quic = quic::tokio::Transport::new(quic_config(keypair));
        Ok::<_, StartError>(quic.or_transport(tcp).map(|either, _| match either {
            Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
            Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        }))
    };
    match dns::tokio::Transport::system(direct()?) {
        Ok(named) => Ok(named.boxed()),
        Err(error) => {
            tracing::warn!(%error, "the system's name servers are unknown: only IP addresses can be dialled");
            Ok(direct()?.boxed())
        }
    }
}

fn quic_config(keypair: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = CONNECT_TIMEOUT;
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_concurrent_stream_limit = SUBSTREAMS_PER_CONNECTION_MAX as u32;
    config.max_stream_data = QUIC_STREAM_BYTES_MAX;
    config.max_connection_data = QUIC_CONNECTION_BYTES_MAX;
    config
}

/// Tells what the system says of listening at an address, which libp2p does not pass on; refuses a port that another program has.
///
/// libp2p listens with SO_REUSEPORT over TCP: a second program of the same user would get the same port without an error and half of
/// the connections.
pub(crate) fn check_address(address: &Address) -> std::io::Result<()> {
    let Some(ip) = address.ip() else { return Ok(()) };
    // The unspecified IPv6 address would collide with our own IPv4 listener.
    if ip.is_ipv6() && ip.is_unspecified() {
        return Ok(());
    }
    match address.path() {
        Path::Quic => UdpSocket::bind((ip, address.port())).map(drop),
        Path::Tcp => TcpListener::bind((ip, address.port())).map(drop),
    }
}
