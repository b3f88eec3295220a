//! Where this device can be reached, and where it reached others: kept in the file, so that tickets stay valid.
//!
//! The setting `listen_port` is the port, `addresses` the places at which members were reached, newest first, one a line.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use kithdb_core::log_error::LogError;
use kithdb_core::replica::Replica;
use kithdb_core::setting;
use kithdb_log::limits::TICKET_ADDRESSES_MAX;
use kithdb_net::Address;
use rusqlite::Connection;

/// Ports to choose from: below those that systems hand out for outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How often another port is tried before the system chooses.
const PORT_TRIES: usize = 16;
/// How many places of past peers are kept.
const PAST_MAX: usize = 32;

const PORT: &str = "listen_port";
const PAST: &str = "addresses";

/// Returns the port at which this replica's peer listens, chosen now if it never listened.
pub fn listen_port(replica: &Replica) -> Result<u16, LogError> {
    match kept_port(replica)? {
        Some(port) => Ok(port),
        None => {
            let port = choose_port(false);
            keep_port(replica, port)?;
            Ok(port)
        }
    }
}

/// Lists where others can reach a peer that listens at a port: the local network first, this machine last.
pub fn local_addresses(port: u16) -> Vec<Address> {
    let mut ips: Vec<IpAddr> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(|interface| interface.ip()).filter(|ip| is_of_use(*ip)).collect(),
        Err(error) => {
            tracing::warn!(%error, "the network interfaces are unknown");
            Vec::new()
        }
    };
    ips.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    ips.dedup();
    ips.push(Ipv4Addr::LOCALHOST.into());
    let family = |ip: &IpAddr| if ip.is_ipv6() { "ip6" } else { "ip4" };
    let quic = ips.iter().map(|ip| format!("/{}/{ip}/udp/{port}/quic-v1", family(ip)));
    let tcp = ips.iter().map(|ip| format!("/{}/{ip}/tcp/{port}", family(ip)));
    quic.chain(tcp).filter_map(|text| text.parse().ok()).collect()
}

/// Lists the addresses to put into a ticket.
pub fn ticket_addresses(replica: &Replica) -> Result<Vec<String>, LogError> {
    let addresses = local_addresses(listen_port(replica)?);
    Ok(addresses.iter().take(TICKET_ADDRESSES_MAX).map(ToString::to_string).collect())
}

/// Leaves out what others cannot use: this machine itself, and addresses that mean nothing without an interface.
fn is_of_use(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

/// Tells whether nobody listens at a port, over UDP and TCP.
pub(crate) fn is_free(port: u16, loopback: bool) -> bool {
    let ip = if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    UdpSocket::bind((ip, port)).is_ok() && TcpListener::bind((ip, port)).is_ok()
}

/// Chooses a free port at random; 0 if none was found, which lets the system choose.
pub(crate) fn choose_port(loopback: bool) -> u16 {
    for _ in 0..PORT_TRIES {
        let mut random = [0; 2];
        if getrandom::fill(&mut random).is_err() {
            break;
        }
        let port = PORTS.start + u16::from_le_bytes(random) % (PORTS.end - PORTS.start);
        if is_free(port, loopback) {
            return port;
        }
    }
    0
}

pub(crate) fn kept_port(replica: &Replica) -> Result<Option<u16>, LogError> {
    Ok(port_of_file(replica.conn())?)
}

/// Returns the port that was chosen for a file, which is only looked at; `None` if its peer never listened.
pub fn port_of_file(conn: &Connection) -> rusqlite::Result<Option<u16>> {
    let port = setting::read(conn, PORT)?;
    Ok(port.and_then(|port| port.parse().ok()).filter(|port| *port != 0))
}

pub(crate) fn keep_port(replica: &Replica, port: u16) -> Result<(), LogError> {
    if port == 0 { Ok(()) } else { replica.put_setting(PORT, &port.to_string()) }
}

/// Lists the places at which members were reached, newest first.
pub(crate) fn past_addresses(replica: &Replica) -> Result<Vec<Address>, LogError> {
    let text = replica.setting(PAST)?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.parse().ok()).take(PAST_MAX).collect())
}

/// Notes that a member was reached at a place.
pub fn keep_past_address(replica: &Replica, address: &Address) -> Result<(), LogError> {
    let mut past = past_addresses(replica)?;
    if past.first() == Some(address) {
        return Ok(());
    }
    past.retain(|known| known != address);
    past.insert(0, address.clone());
    past.truncate(PAST_MAX);
    let lines: Vec<_> = past.iter().map(ToString::to_string).collect();
    replica.put_setting(PAST, &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use kithdb_core::replica::InitOptions;

    use super::*;

    #[test]
    fn port_is_kept_and_free() {
        let replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
        let port = listen_port(&replica).unwrap();
        assert!(PORTS.contains(&port));
        assert_eq!(listen_port(&replica).unwrap(), port);
    }

    #[test]
    fn addresses_of_this_machine_come_last_and_fit_a_ticket() {
        let addresses = local_addresses(4700);
        let quic: Vec<_> = addresses.iter().filter(|address| address.to_string().ends_with("quic-v1")).collect();
        assert!(quic.last().unwrap().is_loopback());
        assert!(addresses.iter().all(|address| address.port() == 4700));
        let replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
        assert!(ticket_addresses(&replica).unwrap().len() <= TICKET_ADDRESSES_MAX);
    }

    #[test]
    fn past_addresses_are_kept_newest_first_and_bounded() {
        let replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
        let place = |port: usize| format!("/ip4/10.0.0.1/tcp/{}", 1000 + port).parse::<Address>().unwrap();
        for port in 0..PAST_MAX + 5 {
            keep_past_address(&replica, &place(port)).unwrap();
        }
        keep_past_address(&replica, &place(10)).unwrap();
        let past = past_addresses(&replica).unwrap();
        assert_eq!(past.len(), PAST_MAX);
        assert_eq!(past[0], place(10));
        assert_eq!(past.iter().filter(|address| **address == place(10)).count(), 1);
    }
}
