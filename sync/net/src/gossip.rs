//! Gossip: small hints to everybody who follows a topic.
//!
//! Invariants:
//! 1. A message is forwarded only after the application accepted it.
//! 2. A message's name is the hash of its topic and content, so who publishes the same twice is heard once.

use std::fmt;

use libp2p::gossipsub;
use libp2p::identity::Keypair;

use crate::error::StartError;
use crate::limits::{GOSSIP_BYTES_MAX, GOSSIP_ENVELOPE_BYTES_MAX, TOPIC_BYTES_MAX};

/// Names what a gossip message is about.
///
/// Every connected peer, stranger or not, is told which topics we follow: a name must not reveal anything to who does not know it already.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(String);

impl Topic {
    /// Takes a name of at most [`TOPIC_BYTES_MAX`] bytes; the rest of a longer one is cut off.
    pub fn new(name: impl Into<String>) -> Self {
        let mut name = name.into();
        let mut end = name.len().min(TOPIC_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        Self(name)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn ident(&self) -> gossipsub::IdentTopic {
        gossipsub::IdentTopic::new(&self.0)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a gossip message by the hash of its topic and content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId([u8; 32]);

impl GossipId {
    /// Computes the name of a message.
    pub fn of(topic: &Topic, message: &[u8]) -> Self {
        Self::compute(topic.as_str(), message)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn compute(topic: &str, message: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("kithdb-net 1 gossip message id");
        hasher.update(&(topic.len() as u64).to_le_bytes());
        hasher.update(topic.as_bytes());
        hasher.update(message);
        Self(*hasher.finalize().as_bytes())
    }

    pub(crate) fn message_id(&self) -> gossipsub::MessageId {
        gossipsub::MessageId::new(&self.0)
    }
}

impl fmt::Display for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipId({self})")
    }
}

/// What the application makes of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GossipVerdict {
    /// Good: pass it on.
    Accept,
    /// Bad: do not pass it on and think less of who sent it.
    Reject,
    /// Not for us or not now: do not pass it on.
    Ignore,
}

impl From<GossipVerdict> for gossipsub::MessageAcceptance {
    fn from(verdict: GossipVerdict) -> Self {
        match verdict {
            GossipVerdict::Accept => Self::Accept,
            GossipVerdict::Reject => Self::Reject,
            GossipVerdict::Ignore => Self::Ignore,
        }
    }
}

/// Why a published message went nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsentReason {
    /// No connected peer has said yet that it follows the topic: normal at the beginning; see [`NetEvent::GossipSubscribed`](crate::NetEvent::GossipSubscribed).
    NoSubscribers,
    /// The same message went round within the last minute.
    Duplicate,
    /// The message is over [`GOSSIP_BYTES_MAX`].
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The network was started without gossip.
    Disabled,
    /// Another failure, in words.
    Failed {
        /// What gossipsub said.
        reason: String,
    },
}

/// Builds gossipsub as the design wants it: signed, judged by the application, small messages.
pub(crate) fn behaviour(keypair: &Keypair) -> Result<gossipsub::Behaviour, StartError> {
    let setup = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Setup { part: "gossip", source };
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(GOSSIP_BYTES_MAX + GOSSIP_ENVELOPE_BYTES_MAX)
        .heartbeat_initial_delay(std::time::Duration::from_secs(1))
        .message_id_fn(|message| GossipId::compute(message.topic.as_str(), &message.data).message_id())
        .build()
        .map_err(|error| setup(Box::new(error)))?;
    gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(keypair.clone()), config)
        .map_err(|error| setup(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_is_cut_at_a_character() {
        let topic = Topic::new("ü".repeat(100));
        assert_eq!(topic.as_str().len(), TOPIC_BYTES_MAX);
        assert_eq!(Topic::new("a".repeat(3)).as_str(), "aaa");
    }

    #[test]
    fn id_separates_topic_and_message() {
        let one = GossipId::of(&Topic::new("ab"), b"c");
        let two = GossipId::of(&Topic::new("a"), b"bc");
        assert_ne!(one, two);
    }
}
