//! Which addresses of a dial are tried when: QUIC first, TCP after a stagger or as soon as QUIC has failed.

use std::collections::{HashMap, VecDeque};

use libp2p::swarm::ConnectionId;

use crate::address::{Address, Path};
use crate::identity::PeerId;
use crate::limits::DIAL_ADDRESSES_MAX;

/// Names one dial.
pub(crate) type DialId = u64;

/// The dials under way.
#[derive(Default)]
pub(crate) struct Dials {
    last: DialId,
    dials: HashMap<DialId, Dial>,
    connections: HashMap<ConnectionId, DialId>,
}

struct Dial {
    address: Address,
    expected: Option<PeerId>,
    /// The groups that have not been tried yet, best first.
    waiting: VecDeque<Vec<Address>>,
    in_flight: usize,
    errors: Vec<String>,
}

/// What a new connection means for its dial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Won {
    /// It is the first of its dial, which asked for this address first.
    First(Address),
    /// The dial has been won by another connection, or there was none.
    Late,
}

/// What a failed connection means for its dial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Other addresses are being tried, or the dial has been won.
    GoOn,
    /// The next group should be tried now.
    TryNext(DialId),
    /// Every address has failed: report this.
    Over { address: Address, reason: String },
}

/// A group of addresses to try, and who must answer.
pub(crate) struct Group {
    pub(crate) expected: Option<PeerId>,
    pub(crate) addresses: Vec<Address>,
    /// Whether more groups wait for their turn.
    pub(crate) more: bool,
}

impl Dials {
    /// Plans a dial of addresses of one peer; nothing is tried before [`Dials::next_group`].
    pub(crate) fn plan(&mut self, addresses: Vec<Address>) -> Result<DialId, Failed> {
        let Some(first) = addresses.first().cloned() else {
            // Nothing was asked for, so there is nothing to report.
            return Err(Failed::GoOn);
        };
        let refuse = |reason: String| Err(Failed::Over { address: first.clone(), reason });
        if addresses.len() > DIAL_ADDRESSES_MAX {
            return refuse(format!(
                "{} addresses are too many for one dial; the limit is {DIAL_ADDRESSES_MAX}",
                addresses.len()
            ));
        }
        let mut peers = addresses.iter().filter_map(Address::peer);
        let expected = peers.next();
        if let Some(expected) = expected
            && let Some(other) = peers.find(|peer| *peer != expected)
        {
            return refuse(format!("the addresses are of two peers, {expected} and {other}; dial them one by one"));
        }
        let (quic, tcp): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.path() == Path::Quic);
        self.last += 1;
        self.dials.insert(
            self.last,
            Dial {
                address: first,
                expected,
                waiting: [quic, tcp].into_iter().filter(|g| !g.is_empty()).collect(),
                in_flight: 0,
                errors: Vec::new(),
            },
        );
        Ok(self.last)
    }

    /// Returns whom a dial must reach.
    pub(crate) fn expected(&self, dial: DialId) -> Option<PeerId> {
        self.dials.get(&dial)?.expected
    }

    /// Takes the next addresses to try, unless the dial is over or none are left.
    pub(crate) fn next_group(&mut self, dial: DialId) -> Option<Group> {
        let state = self.dials.get_mut(&dial)?;
        let addresses = state.waiting.pop_front()?;
        Some(Group { expected: state.expected, addresses, more: !state.waiting.is_empty() })
    }

    /// Notes that a connection is being made for a dial.
    pub(crate) fn trying(&mut self, dial: DialId, connection: ConnectionId) {
        if let Some(state) = self.dials.get_mut(&dial) {
            state.in_flight += 1;
            self.connections.insert(connection, dial);
        }
    }

    /// Notes that a connection stands.
    pub(crate) fn established(&mut self, connection: ConnectionId) -> Won {
        self.connections
            .remove(&connection)
            .and_then(|dial| self.dials.remove(&dial))
            .map_or(Won::Late, |dial| Won::First(dial.address))
    }

    /// Notes that a connection could not be made.
    pub(crate) fn failed(&mut self, connection: ConnectionId, reason: String) -> Failed {
        let Some(dial) = self.connections.remove(&connection) else {
            return Failed::GoOn;
        };
        let Some(state) = self.dials.get_mut(&dial) else {
            return Failed::GoOn;
        };
        state.errors.push(reason);
        state.in_flight -= 1;
        if state.in_flight > 0 {
            return Failed::GoOn;
        }
        if !state.waiting.is_empty() {
            return Failed::TryNext(dial);
        }
        let (address, reason) = (state.address.clone(), state.errors.join("; "));
        self.dials.remove(&dial);
        Failed::Over { address, reason }
    }

    /// Forgets a dial that turned out to be needless and returns what it asked for.
    pub(crate) fn cancel(&mut self, dial: DialId) -> Option<Address> {
        self.dials.remove(&dial).map(|dial| dial.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TransportSecret;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn connection(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    const QUIC: &str = "/ip4/127.0.0.1/udp/1/quic-v1";
    const TCP: &str = "/ip4/127.0.0.1/tcp/2";

    #[test]
    fn quic_goes_before_tcp_whatever_the_order() {
        let mut dials = Dials::default();
        let dial = dials.plan(addresses(&[TCP, QUIC])).unwrap();
        let first = dials.next_group(dial).unwrap();
        assert_eq!(first.addresses, addresses(&[QUIC]));
        assert!(first.more);
        let second = dials.next_group(dial).unwrap();
        assert_eq!(second.addresses, addresses(&[TCP]));
        assert!(!second.more);
        assert!(dials.next_group(dial).is_none());
    }

    #[test]
    fn failure_of_one_group_starts_the_next_and_all_reasons_are_reported() {
        let mut dials = Dials::default();
        let dial = dials.plan(addresses(&[QUIC, TCP])).unwrap();
        dials.next_group(dial).unwrap();
        dials.trying(dial, connection(1));
        assert_eq!(dials.failed(connection(1), "a".into()), Failed::TryNext(dial));
        dials.next_group(dial).unwrap();
        dials.trying(dial, connection(2));
        let end = dials.failed(connection(2), "b".into());
        let address = QUIC.parse().unwrap();
        assert_eq!(end, Failed::Over { address, reason: "a; b".into() });
    }

    #[test]
    fn second_connection_of_a_dial_is_late() {
        let mut dials = Dials::default();
        let dial = dials.plan(addresses(&[QUIC, TCP])).unwrap();
        for n in [1, 2] {
            dials.next_group(dial).unwrap();
            dials.trying(dial, connection(n));
        }
        assert_eq!(dials.established(connection(2)), Won::First(QUIC.parse().unwrap()));
        assert_eq!(dials.established(connection(1)), Won::Late);
        assert_eq!(dials.failed(connection(1), "late".into()), Failed::GoOn);
    }

    #[test]
    fn addresses_of_two_peers_are_refused() {
        let [one, two] = [1, 2].map(|n| TransportSecret::from_bytes([n; 32]).peer_id());
        let quic: Address = QUIC.parse().unwrap();
        let mut dials = Dials::default();
        let refused = dials.plan(vec![quic.with_peer(one), quic.with_peer(two)]);
        assert!(matches!(refused, Err(Failed::Over { .. })));
        let dial = dials.plan(vec![quic.clone(), quic.with_peer(two)]).unwrap();
        assert_eq!(dials.expected(dial), Some(two));
    }
}
