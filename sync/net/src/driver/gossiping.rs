//! Gossip: topics, messages, and the application's verdicts on them.

use libp2p::gossipsub::{self, PublishError};

use super::Driver;
use crate::event::NetEvent;
use crate::gossip::{GossipId, GossipVerdict, Topic, UnsentReason};
use crate::identity::PeerId;
use crate::limits::{GOSSIP_BYTES_MAX, GOSSIP_UNJUDGED_MAX};

impl Driver {
    fn gossip(&mut self) -> Option<&mut gossipsub::Behaviour> {
        self.swarm.behaviour_mut().gossip.as_mut()
    }

    pub(super) fn subscribe(&mut self, topic: Topic) {
        match self.gossip().map(|gossip| gossip.subscribe(&topic.ident())) {
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::warn!(%topic, %error, "cannot follow a topic"),
            None => tracing::warn!(%topic, "cannot follow a topic: gossip is off"),
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: Topic) {
        if let Some(gossip) = self.gossip() {
            gossip.unsubscribe(&topic.ident());
        }
    }

    pub(super) fn publish(&mut self, topic: Topic, message: Vec<u8>) {
        let id = GossipId::of(&topic, &message);
        let bytes = message.len();
        let reason = if bytes > GOSSIP_BYTES_MAX {
            UnsentReason::TooLarge { bytes }
        } else {
            match self.gossip().map(|g| g.publish(topic.ident(), message)) {
                Some(Ok(_)) => return,
                Some(Err(PublishError::NoPeersSubscribedToTopic)) => UnsentReason::NoSubscribers,
                Some(Err(PublishError::Duplicate)) => UnsentReason::Duplicate,
                Some(Err(PublishError::MessageTooLarge)) => UnsentReason::TooLarge { bytes },
                Some(Err(error)) => UnsentReason::Failed { reason: error.to_string() },
                None => UnsentReason::Disabled,
            }
        };
        tracing::debug!(%topic, %id, ?reason, "a gossip message went nowhere");
        self.hint(NetEvent::GossipUnsent { topic, id, reason });
    }

    pub(super) fn judge(&mut self, id: GossipId, verdict: GossipVerdict) {
        let Some(passed_on_by) = self.unjudged.remove(&id) else {
            tracing::debug!(%id, "a verdict on an unknown gossip message");
            return;
        };
        self.unjudged_order.retain(|waiting| *waiting != id);
        if let Some(gossip) = self.gossip() {
            let known = gossip.report_message_validation_result(&id.message_id(), &passed_on_by, verdict.into());
            if !known {
                tracing::debug!(%id, "a verdict came after gossipsub forgot the message");
            }
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message, .. } => {
                self.on_gossip_message(propagation_source, message)
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.hint(NetEvent::GossipSubscribed { topic: Topic::new(topic.into_string()), peer: PeerId(peer_id) });
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "a peer is too slow for gossip");
            }
            gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_gossip_message(&mut self, passed_on_by: libp2p::PeerId, message: gossipsub::Message) {
        let id = GossipId::compute(message.topic.as_str(), &message.data);
        let topic = Topic::new(message.topic.into_string());
        self.unjudged.insert(id, passed_on_by);
        self.unjudged_order.push_back(id);
        // Strict validation let no message without a signed source through.
        let told = match message.source {
            Some(source) if message.data.len() <= GOSSIP_BYTES_MAX => {
                self.hint(NetEvent::Gossip { topic, id, source: PeerId(source), message: message.data })
            }
            _ => false,
        };
        if !told {
            self.judge(id, GossipVerdict::Ignore);
        }
        if self.unjudged_order.len() > GOSSIP_UNJUDGED_MAX
            && let Some(oldest) = self.unjudged_order.front().copied()
        {
            self.judge(oldest, GossipVerdict::Ignore);
        }
    }
}
