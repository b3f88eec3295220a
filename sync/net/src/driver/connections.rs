//! Dials, and what becomes of connections.

use libp2p::core::ConnectedPoint;
use libp2p::ping;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};

use super::{Driver, Link, Timer};
use crate::address::{Address, Path};
use crate::dialing::{DialId, Failed, Group, Won};
use crate::error::root_cause;
use crate::event::{CloseReason, NetEvent};
use crate::identity::PeerId;
use crate::limits::DIAL_STAGGER;

impl Driver {
    /// Starts a dial of addresses of one peer.
    pub(super) fn dial(&mut self, addresses: Vec<Address>) {
        match self.dials.plan(addresses) {
            Ok(dial) => {
                if let Some(peer) = self.dials.expected(dial)
                    && let Some(session) = self.arbiter.session(&peer)
                {
                    if let Some(address) = self.dials.cancel(dial) {
                        self.notify(NetEvent::AlreadyConnected { address, peer, session });
                    }
                    return;
                }
                self.try_next_group(dial);
            }
            Err(refused) => self.on_dial_step(refused),
        }
    }

    /// Tries the next addresses of a dial that is still under way.
    pub(super) fn try_next_group(&mut self, dial: DialId) {
        let Some(group) = self.dials.next_group(dial) else {
            return;
        };
        if group.more {
            self.after(DIAL_STAGGER, Timer::Stagger(dial));
        }
        let options = dial_options(group);
        // All are counted before the first can fail, so that one failure does not look like the last.
        for options in &options {
            self.dials.trying(dial, options.connection_id());
        }
        for options in options {
            let (connection, peer) = (options.connection_id(), options.get_peer_id());
            if let Err(error) = self.swarm.dial(options) {
                self.on_dial_error(connection, peer.map(PeerId), &error);
            }
        }
    }

    /// Takes note of a connection that could not be made.
    pub(super) fn on_dial_error(&mut self, connection: ConnectionId, expected: Option<PeerId>, error: &DialError) {
        let reason = describe(error, expected);
        tracing::debug!(%connection, reason, "a connection could not be made");
        let step = self.dials.failed(connection, reason);
        self.on_dial_step(step);
    }

    fn on_dial_step(&mut self, step: Failed) {
        match step {
            Failed::GoOn => {}
            Failed::TryNext(dial) => self.try_next_group(dial),
            Failed::Over { address, reason } => {
                self.notify(NetEvent::DialFailed { address, reason });
            }
        }
    }

    /// Takes note of a new connection; the side that dialled opens the session.
    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(remote) = Address::from_multiaddr(endpoint.get_remote_address().clone()) else {
            tracing::warn!(address = %endpoint.get_remote_address(), "a connection has an address of an unknown kind");
            self.swarm.close_connection(connection);
            return;
        };
        let remote = remote.without_peer();
        tracing::debug!(%peer, %remote, dialer = endpoint.is_dialer(), "connected");
        self.links.entry(peer).or_default().push(Link { connection, remote });
        if endpoint.is_listener() {
            return;
        }

        let won = self.dials.established(connection);
        if let Some(session) = self.arbiter.session(&peer) {
            self.swarm.close_connection(connection);
            if let Won::First(address) = won {
                self.notify(NetEvent::AlreadyConnected { address, peer, session });
            }
            return;
        }
        match won {
            Won::First(address) => {
                self.wanted.insert(peer, address);
            }
            // The stagger's loser, while the winner is being opened.
            Won::Late if self.arbiter.is_opening(&peer) => {
                self.swarm.close_connection(connection);
                return;
            }
            Won::Late => {}
        }
        self.open(peer, connection, 0);
    }

    /// Takes note of the end of a connection.
    pub(super) fn on_disconnected(&mut self, peer: PeerId, connection: ConnectionId, cause: Option<String>) {
        tracing::debug!(%peer, %connection, cause, "disconnected");
        if let Some(links) = self.links.get_mut(&peer) {
            links.retain(|link| link.connection != connection);
            if links.is_empty() {
                self.links.remove(&peer);
            }
        }
        let stranded: Vec<u64> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.connection == connection)
            .map(|(number, _)| *number)
            .collect();
        for attempt in stranded {
            let reason = cause.clone();
            let reason = reason.unwrap_or_else(|| "the connection was closed".to_owned());
            self.attempt_failed(attempt, reason);
        }
    }

    /// Ends a connection that answers no pings, unless its session still moves bytes (a bulk transfer can hold a ping up).
    pub(super) fn on_ping(&mut self, connection: ConnectionId, result: Result<std::time::Duration, ping::Failure>) {
        let alive = match result {
            Ok(_) | Err(ping::Failure::Unsupported) => true,
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => false,
        };
        let session = self.running.values_mut().find(|running| running.connection == connection);
        if let Some(running) = session {
            let bytes = running.progress.bytes();
            let moved = bytes != running.bytes_at_ping;
            running.bytes_at_ping = bytes;
            if alive || moved {
                return;
            }
            running.tell_to_close(CloseReason::Unresponsive);
        }
        if !alive {
            tracing::debug!(%connection, "a connection answers no pings");
            self.swarm.close_connection(connection);
        }
    }
}

/// Turns a group into dials: one for a peer we know, one per address otherwise.
fn dial_options(group: Group) -> Vec<DialOpts> {
    let tcp = group.addresses.iter().any(|a| a.path() == Path::Tcp);
    let places = group.addresses.iter().map(|address| address.without_peer().multiaddr().clone());
    // A TCP dial from the listening port would collide with the peer's own dial.
    match group.expected {
        Some(peer) => {
            let options = DialOpts::peer_id(peer.0).condition(PeerCondition::Always).addresses(places.collect());
            vec![if tcp { options.allocate_new_port().build() } else { options.build() }]
        }
        None => places
            .map(|place| {
                let options = DialOpts::unknown_peer_id().address(place);
                if tcp { options.allocate_new_port().build() } else { options.build() }
            })
            .collect(),
    }
}

/// Says in words why a connection could not be made.
fn describe(error: &DialError, expected: Option<PeerId>) -> String {
    match error {
        DialError::WrongPeerId { obtained, address } => {
            let place = Address::from_multiaddr(address.clone())
                .map_or_else(|| address.to_string(), |a| a.without_peer().to_string());
            match expected {
                Some(expected) => {
                    format!("the peer at {place} is {obtained}, not {expected}; ask it for its present address")
                }
                None => format!("the peer at {place} is {obtained}, which was not expected"),
            }
        }
        DialError::LocalPeerId { .. } | DialError::NoAddresses => "that is this process's own address".to_owned(),
        DialError::Transport(errors) => {
            let each = errors.iter().map(|(address, error)| {
                let place = Address::from_multiaddr(address.clone())
                    .map_or_else(|| address.to_string(), |a| a.without_peer().to_string());
                format!("{place}: {}", root_cause(error))
            });
            each.collect::<Vec<_>>().join("; ")
        }
        DialError::Denied { cause } => root_cause(cause),
        other => root_cause(other),
    }
}
