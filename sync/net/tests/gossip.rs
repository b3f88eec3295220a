//! Gossip between peers: once, and only after the application's verdict.

mod common;

use common::*;
use kithdb_net::{GOSSIP_BYTES_MAX, GossipId, GossipVerdict, NetEvent, Path, PeerId, Topic, UnsentReason};

fn topic() -> Topic {
    Topic::new("heads of a workspace")
}

impl Peer {
    async fn sees_subscription_of(&mut self, wanted: PeerId) {
        self.until("a subscription", |event| match event {
            NetEvent::GossipSubscribed { peer, .. } if *peer == wanted => Some(()),
            _ => None,
        })
        .await;
    }

    async fn gossip(&mut self) -> (GossipId, PeerId, Vec<u8>) {
        self.until("gossip", |event| match event {
            NetEvent::Gossip { id, source, message, .. } => Some((*id, *source, message.clone())),
            _ => None,
        })
        .await
    }

    async fn unsent(&mut self) -> UnsentReason {
        self.until("GossipUnsent", |event| match event {
            NetEvent::GossipUnsent { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }
}

#[tokio::test]
async fn message_travels_on_only_after_it_was_accepted_and_arrives_once() {
    // A line: left and right know the middle only.
    let mut left = start(only(Path::Quic)).await;
    let mut middle = start(only(Path::Quic)).await;
    let mut right = start(only(Path::Quic)).await;
    for peer in [&left, &middle, &right] {
        peer.net.subscribe(topic());
    }
    let (left_id, middle_id, right_id) = (left.net.peer_id(), middle.net.peer_id(), right.net.peer_id());
    let address = middle.address(Path::Quic).await;
    left.net.dial(address.clone());
    left.sees_subscription_of(middle_id).await;
    middle.sees_subscription_of(left_id).await;
    right.net.dial(address);
    right.sees_subscription_of(middle_id).await;
    middle.sees_subscription_of(right_id).await;

    let held = left.net.publish(topic(), b"held back".to_vec());
    assert_eq!(middle.gossip().await, (held, left_id, b"held back".to_vec()));
    let bad = left.net.publish(topic(), b"bad".to_vec());
    assert_eq!(middle.gossip().await.0, bad);
    let good = left.net.publish(topic(), b"good".to_vec());
    assert_eq!(middle.gossip().await.0, good);

    // What was sent last is accepted first: nothing else may have gone through before it.
    middle.net.forward_gossip(bad, GossipVerdict::Reject);
    middle.net.forward_gossip(good, GossipVerdict::Accept);
    let arrived = right.gossip().await;
    assert_eq!(arrived, (good, left_id, b"good".to_vec()));
    middle.net.forward_gossip(held, GossipVerdict::Accept);
    assert_eq!(right.gossip().await.0, held);

    // A last one shows that neither of the two came twice, and the rejected one never.
    let last = left.net.publish(topic(), b"last".to_vec());
    assert_eq!(middle.gossip().await.0, last);
    middle.net.forward_gossip(last, GossipVerdict::Accept);
    assert_eq!(right.gossip().await.0, last);

    // The same again is known.
    left.net.publish(topic(), b"last".to_vec());
    assert_eq!(left.unsent().await, UnsentReason::Duplicate);
}

#[tokio::test]
async fn publish_before_anybody_subscribed_is_reported_and_works_later() {
    let (mut left, _, right, _) = pair(Path::Tcp).await;
    let mut right = right;
    left.net.subscribe(topic());
    left.net.publish(topic(), b"early".to_vec());
    assert_eq!(left.unsent().await, UnsentReason::NoSubscribers);
    right.net.subscribe(topic());
    left.sees_subscription_of(right.net.peer_id()).await;
    let id = left.net.publish(topic(), b"early".to_vec());
    assert_eq!(right.gossip().await.0, id);
}

#[tokio::test]
async fn message_of_the_largest_size_goes_through_and_a_larger_one_is_reported() {
    let (mut left, _, mut right, _) = pair(Path::Quic).await;
    left.net.subscribe(topic());
    right.net.subscribe(topic());
    left.sees_subscription_of(right.net.peer_id()).await;
    let bytes = GOSSIP_BYTES_MAX + 1;
    left.net.publish(topic(), vec![1; bytes]);
    assert_eq!(left.unsent().await, UnsentReason::TooLarge { bytes });
    left.net.publish(topic(), vec![2; GOSSIP_BYTES_MAX]);
    assert_eq!(right.gossip().await.2, vec![2; GOSSIP_BYTES_MAX]);
}

#[tokio::test]
async fn gossip_that_is_off_is_reported() {
    let mut config = only(Path::Quic);
    config.gossip = false;
    let mut left = start(config).await;
    left.net.subscribe(topic());
    left.net.publish(topic(), b"nobody".to_vec());
    assert_eq!(left.unsent().await, UnsentReason::Disabled);
}
