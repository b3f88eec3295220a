//! Who a process is on the network: its secret and the peer id derived from it.
//!
//! Invariants:
//! 1. The secret never leaves this crate and is wiped when dropped; `Debug` does not show it.
//! 2. A [`PeerId`] seen on a session was proven by its owner in the transport's handshake.

use std::fmt;
use std::str::FromStr;

use libp2p::identity::Keypair;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Holds the 32-byte Ed25519 seed a process proves its peer id with.
///
/// It is a transport key of its own, never a device key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TransportSecret([u8; 32]);

impl TransportSecret {
    /// Takes the seed as it was stored.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// Returns the peer id that belongs to this secret, without starting a network.
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.keypair().public().to_peer_id())
    }

    pub(crate) fn keypair(&self) -> Keypair {
        let mut seed = self.0;
        // Any 32 bytes are an Ed25519 seed; the call wipes its argument.
        let secret = libp2p::identity::ed25519::SecretKey::try_from_bytes(&mut seed);
        match secret {
            Ok(secret) => Keypair::from(libp2p::identity::ed25519::Keypair::from(secret)),
            Err(error) => unreachable!("32 bytes were refused as an Ed25519 seed: {error}"),
        }
    }
}

impl fmt::Debug for TransportSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportSecret(..)")
    }
}

/// Names a process on the network by the hash or bytes of its transport key; written in base58 (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) libp2p::PeerId);

impl PeerId {
    /// Returns the binary form, the one to sign and to store.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Reads the binary form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        libp2p::PeerId::from_bytes(bytes).map(Self).map_err(|_| PeerIdError::new("these bytes"))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        libp2p::PeerId::from_str(text).map(Self).map_err(|_| PeerIdError::new(&format!("`{}`", text.escape_debug())))
    }
}

/// Says that a text or some bytes are not a peer id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input} is no peer id; one looks like 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")]
pub struct PeerIdError {
    input: String,
}

impl PeerIdError {
    fn new(input: &str) -> Self {
        Self { input: input.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_id_survives_text_and_bytes() {
        let id = TransportSecret::from_bytes([7; 32]).peer_id();
        assert_eq!(id.to_string().parse::<PeerId>(), Ok(id));
        assert_eq!(PeerId::from_bytes(&id.to_bytes()), Ok(id));
        assert!(id.to_string().starts_with("12D3KooW"));
    }

    #[test]
    fn what_is_no_peer_id_is_refused_with_an_example() {
        let error = "alice".parse::<PeerId>().unwrap_err();
        assert!(error.to_string().starts_with("`alice` is no peer id; one looks like 12D3KooW"));
        assert!(PeerId::from_bytes(&[1, 2, 3]).is_err());
    }

    #[test]
    fn secret_is_not_shown() {
        let shown = format!("{:?}", TransportSecret::from_bytes([0xab; 32]));
        assert_eq!(shown, "TransportSecret(..)");
    }
}
