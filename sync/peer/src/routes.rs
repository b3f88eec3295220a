//! Whom to dial and when: pure decisions, no I/O, no clock.
//!
//! Invariants:
//! 1. A route has at most one dial under way, and none while there is a session with its peer.
//! 2. A place that fails is tried less and less often, and one that turned out to be a stranger's least of all.

use std::collections::BTreeMap;

use kithdb_net::{Address, DIAL_ADDRESSES_MAX, PeerId};

use crate::event::Tried;

/// Milliseconds before the first redial; doubles with each failure.
const REDIAL_MS_FIRST: u64 = 250;
/// Milliseconds after which a dial that was never heard of again is given up.
const DIAL_MS_MAX: u64 = 30_000;
/// Milliseconds before a stranger is tried again for the first time.
const STRANGER_MS_FIRST: u64 = 30_000;
/// Milliseconds a session must have been of use for its end not to count as a failure.
const SESSION_MS_MIN: u64 = 10_000;
/// Greatest number of places that are found on the local network and kept.
const FOUND_MAX: usize = 256;

/// Where a route comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The user or a ticket named it.
    Given,
    /// A member was reached there before.
    Past,
    /// It announced itself on the local network.
    Found,
}

impl Origin {
    /// Returns the longest pause between two dials.
    const fn redial_ms_max(self) -> u64 {
        match self {
            Self::Given => 30_000,
            Self::Past | Self::Found => 300_000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { at: u64 },
    Dialing { until: u64 },
    Connected(PeerId),
}

#[derive(Debug)]
struct Route {
    addresses: Vec<Address>,
    origin: Origin,
    /// Who must be there; known for places that are found or remembered.
    peer: Option<PeerId>,
    /// Since when its peer has been proven.
    proven_at: Option<u64>,
    failures: u32,
    state: State,
    reason: Option<String>,
}

impl Route {
    fn covers(&self, address: &Address) -> bool {
        let place = address.without_peer();
        self.addresses.iter().any(|known| known.without_peer() == place)
    }

    fn fail(&mut self, reason: String, now: u64, first_ms: u64) {
        let ms = first_ms.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { at: now.saturating_add(ms.min(self.origin.redial_ms_max().max(first_ms))) };
        self.reason = Some(reason);
    }
}

/// How a session ended, as far as dialling goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It broke off; if the peer had proven itself, it is dialled again soon.
    Lost,
    /// Whoever is there is no member of the workspace.
    Stranger,
    /// It is this device.
    Oneself,
    /// It gave an answer that asking again does not change.
    Answered,
}

/// Everything there is to dial.
#[derive(Debug)]
pub(crate) struct Routes {
    own: PeerId,
    routes: Vec<Route>,
    /// The peers with whom there is a session.
    sessions: BTreeMap<PeerId, Address>,
}

impl Routes {
    pub(crate) fn new(own: PeerId) -> Self {
        Self { own, routes: Vec::new(), sessions: BTreeMap::new() }
    }

    /// Adds places of one peer, to be dialled at once.
    pub(crate) fn add(&mut self, addresses: Vec<Address>, origin: Origin, now: u64) {
        let peer = addresses.iter().find_map(Address::peer);
        if peer == Some(self.own) || addresses.is_empty() {
            return;
        }
        let known = self.routes.iter_mut().find(|route| match peer {
            Some(_) if route.peer.is_some() => route.peer == peer && route.origin == origin,
            _ => route.origin == origin && addresses.iter().all(|address| route.covers(address)),
        });
        if let Some(route) = known {
            for address in addresses {
                if !route.addresses.contains(&address) && route.addresses.len() < DIAL_ADDRESSES_MAX {
                    route.addresses.push(address);
                    // A new place is reason to try at once.
                    if let State::Waiting { at } = &mut route.state {
                        *at = now;
                    }
                }
            }
            return;
        }
        if self.routes.iter().filter(|route| route.origin == Origin::Found).count() >= FOUND_MAX {
            return;
        }
        let state = match peer.filter(|peer| self.sessions.contains_key(peer)) {
            Some(peer) => State::Connected(peer),
            None => State::Waiting { at: now },
        };
        let addresses = addresses.into_iter().take(DIAL_ADDRESSES_MAX).collect();
        self.routes.push(Route { addresses, origin, peer, proven_at: None, failures: 0, state, reason: None });
    }

    /// Forgets a place that is no longer announced; sessions stay.
    pub(crate) fn expire(&mut self, address: &Address) {
        for route in self.routes.iter_mut().filter(|route| route.origin == Origin::Found) {
            route.addresses.retain(|known| known.without_peer() != address.without_peer());
        }
        self.routes.retain(|route| !route.addresses.is_empty());
    }

    /// Takes the dials that are due.
    pub(crate) fn due(&mut self, now: u64) -> Vec<Vec<Address>> {
        let mut dials = Vec::new();
        for route in &mut self.routes {
            match route.state {
                State::Dialing { until } if until <= now => route.fail("no answer".to_owned(), now, REDIAL_MS_FIRST),
                State::Waiting { at } if at <= now => {
                    route.state = State::Dialing { until: now.saturating_add(DIAL_MS_MAX) };
                    dials.push(route.addresses.clone());
                }
                _ => {}
            }
        }
        dials
    }

    /// Returns when the next dial is due.
    pub(crate) fn next_at(&self) -> Option<u64> {
        let moments = self.routes.iter().filter_map(|route| match route.state {
            State::Waiting { at: time } | State::Dialing { until: time } => Some(time),
            State::Connected(_) => None,
        });
        moments.min()
    }

    /// Notes that a dial failed; it is named by its first address.
    pub(crate) fn failed(&mut self, address: &Address, reason: String, now: u64) {
        let dialled = self
            .routes
            .iter_mut()
            .find(|route| matches!(route.state, State::Dialing { .. }) && route.addresses.first() == Some(address));
        if let Some(route) = dialled {
            route.fail(reason, now, REDIAL_MS_FIRST);
        }
    }

    /// Notes that a dial led to a peer with whom there is a session.
    pub(crate) fn reached(&mut self, address: &Address, peer: PeerId) {
        let dialled = self
            .routes
            .iter_mut()
            .find(|route| matches!(route.state, State::Dialing { .. }) && route.addresses.first() == Some(address));
        if let Some(route) = dialled {
            route.state = State::Connected(peer);
        }
    }

    /// Notes that a session stands.
    pub(crate) fn opened(&mut self, peer: PeerId, remote: &Address, dialer: bool) {
        self.sessions.insert(peer, remote.clone());
        for route in &mut self.routes {
            let dialled = dialer && matches!(route.state, State::Dialing { .. }) && route.covers(remote);
            if route.peer == Some(peer) || dialled {
                route.state = State::Connected(peer);
            }
        }
    }

    /// Notes that the peer of a session has proven itself.
    pub(crate) fn proven(&mut self, peer: PeerId, now: u64) {
        for route in self.routes.iter_mut().filter(|route| route.state == State::Connected(peer)) {
            route.proven_at = Some(now);
            route.reason = None;
        }
    }

    /// Notes that a session is over.
    pub(crate) fn closed(&mut self, peer: PeerId, ended: Ended, reason: &str, now: u64) {
        self.sessions.remove(&peer);
        if matches!(ended, Ended::Oneself | Ended::Answered) {
            self.routes.retain(|route| route.state != State::Connected(peer));
        }
        for route in self.routes.iter_mut().filter(|route| route.state == State::Connected(peer)) {
            // Two programs with one id would take each other's sessions away: their pauses must grow.
            if route.proven_at.take().is_some_and(|since| now.saturating_sub(since) >= SESSION_MS_MIN) {
                route.failures = 0;
            }
            let first_ms = match (ended, route.origin) {
                (Ended::Stranger, Origin::Found | Origin::Past) => STRANGER_MS_FIRST,
                _ => REDIAL_MS_FIRST,
            };
            route.fail(reason.to_owned(), now, first_ms);
        }
    }

    /// Dials a peer at once if it is known where it is and there is no session with it.
    pub(crate) fn hurry(&mut self, peer: PeerId, now: u64) {
        for route in self.routes.iter_mut().filter(|route| route.peer == Some(peer)) {
            if let State::Waiting { at } = &mut route.state {
                *at = now;
            }
        }
    }

    /// Tells whether somebody asked for this peer, or a member was reached there before.
    pub(crate) fn is_wanted(&self, peer: PeerId) -> bool {
        let mut routes = self.routes.iter().filter(|route| route.state == State::Connected(peer));
        routes.any(|route| route.origin != Origin::Found)
    }

    /// Lists what was tried without a session, and what came of it.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        let open = self.routes.iter().filter(|route| !matches!(route.state, State::Connected(_)));
        open.flat_map(|route| {
            route.addresses.iter().map(|address| Tried { address: address.clone(), reason: route.reason.clone() })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use kithdb_net::TransportSecret;

    use super::*;

    fn peer(n: u8) -> PeerId {
        TransportSecret::from_bytes([n; 32]).peer_id()
    }

    fn place(port: u16) -> Address {
        format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
    }

    fn routes() -> Routes {
        Routes::new(peer(1))
    }

    #[test]
    fn failing_place_is_dialled_less_and_less_often() {
        let mut routes = routes();
        routes.add(vec![place(1)], Origin::Given, 0);
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..10 {
            assert_eq!(routes.due(now), vec![vec![place(1)]]);
            assert!(routes.due(now).is_empty(), "one dial at a time");
            routes.failed(&place(1), "refused".into(), now);
            let at = routes.next_at().unwrap();
            pauses.push(at - now);
            now = at;
        }
        assert_eq!(pauses[..3], [250, 500, 1000]);
        assert_eq!(*pauses.last().unwrap(), 30_000);
        assert_eq!(routes.tried(), vec![Tried { address: place(1), reason: Some("refused".into()) }]);
    }

    #[test]
    fn session_stops_dialling_until_it_is_lost() {
        let mut routes = routes();
        routes.add(vec![place(1)], Origin::Given, 0);
        routes.due(0);
        routes.opened(peer(2), &place(1).with_peer(peer(2)), true);
        routes.proven(peer(2), 0);
        assert_eq!(routes.next_at(), None);
        assert!(routes.tried().is_empty());
        routes.closed(peer(2), Ended::Lost, "cut", 20_000);
        assert_eq!(routes.next_at(), Some(20_250));
    }

    #[test]
    fn sessions_that_never_last_are_opened_less_and_less_often() {
        let mut routes = routes();
        routes.add(vec![place(1)], Origin::Given, 0);
        let mut now = 0;
        for pause in [250, 500, 1000] {
            routes.due(now);
            routes.opened(peer(2), &place(1), true);
            routes.proven(peer(2), now);
            routes.closed(peer(2), Ended::Lost, "replaced", now);
            assert_eq!(routes.next_at(), Some(now + pause));
            now += pause;
        }
    }

    #[test]
    fn session_opened_by_the_other_side_counts_for_its_routes() {
        let mut routes = routes();
        routes.add(vec![place(1).with_peer(peer(2))], Origin::Past, 0);
        routes.opened(peer(2), &place(9), false);
        assert!(routes.due(0).is_empty());
        routes.add(vec![place(3).with_peer(peer(2))], Origin::Found, 0);
        assert!(routes.due(0).is_empty());
    }

    #[test]
    fn dial_that_finds_a_known_peer_is_not_repeated() {
        let mut routes = routes();
        routes.opened(peer(2), &place(9), false);
        routes.add(vec![place(1)], Origin::Given, 0);
        routes.due(0);
        routes.reached(&place(1), peer(2));
        assert_eq!(routes.next_at(), None);
    }

    #[test]
    fn stranger_on_the_local_network_is_left_alone_for_long() {
        let mut routes = routes();
        routes.add(vec![place(1).with_peer(peer(2))], Origin::Found, 0);
        routes.due(0);
        routes.opened(peer(2), &place(1), true);
        routes.closed(peer(2), Ended::Stranger, "no member", 0);
        assert_eq!(routes.next_at(), Some(30_000));
    }

    #[test]
    fn oneself_is_never_dialled() {
        let mut routes = routes();
        routes.add(vec![place(1).with_peer(peer(1))], Origin::Found, 0);
        assert!(routes.due(0).is_empty());
        routes.add(vec![place(2)], Origin::Given, 0);
        routes.due(0);
        routes.opened(peer(1), &place(2), true);
        routes.closed(peer(1), Ended::Oneself, "itself", 0);
        assert_eq!(routes.next_at(), None);
    }

    #[test]
    fn dial_without_answer_is_given_up() {
        let mut routes = routes();
        routes.add(vec![place(1)], Origin::Given, 0);
        routes.due(0);
        assert!(routes.due(DIAL_MS_MAX).is_empty());
        assert_eq!(routes.next_at(), Some(DIAL_MS_MAX + 250));
    }
}
