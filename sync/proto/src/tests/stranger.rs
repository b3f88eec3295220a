//! Who is not a member gets nothing: neither entries nor admin operations nor heights.

use kithdb_log::ids::{HelloNonce, WorkspaceTag};
use kithdb_log::*;

use crate::testkit::{Puppet, World, device};
use crate::types::CloseCode;
use crate::{Event, Frame, Input, Reason, SessionId};

const HELLO: u8 = 1;

/// A replica with something to lose.
fn rich_world() -> World {
    let mut world = World::new(2);
    for lane in 0..10 {
        world.write(0, lane, b"a secret that must not leave");
    }
    world
}

/// Asserts that the bytes hold nothing of the workspace: no id, no operation, no entry, no key, no head.
fn assert_nothing_of(world: &World, bytes: &[u8]) {
    let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let node = &world.nodes[0];
    assert!(!contains(world.workspace.id().as_bytes()));
    assert!(!contains(node.replica.as_bytes()));
    for operation in node.membership.operations() {
        assert!(!contains(operation.hash().as_bytes()) && !contains(operation.author.as_bytes()));
        assert!(!contains(operation.signature.as_bytes()));
    }
    for entry in node.store.entries.values().flatten() {
        assert!(!contains(entry.hash().as_bytes()) && !contains(entry.signature.as_bytes()));
        assert!(!contains(entry.header.stream.lane.as_bytes()) && !contains(&entry.ciphertext[..24]));
    }
}

#[test]
fn stranger_with_the_workspace_id_gets_a_tag_and_a_refusal() {
    let mut world = rich_world();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    // The puppet knows the workspace and holds a device key, but nobody let that device in.
    puppet.prove(&mut world, &device(99));
    puppet.send(&mut world, &Frame::Admin { last: true, operations: vec![] });
    assert_eq!(puppet.end_reason(&world), Some(&Reason::Refused));
    let sent = puppet.received.concat();
    assert_nothing_of(&world, &sent);
    // Hello, the question who let it in (with an empty frontier), and the refusal.
    assert_eq!(sent.len(), (2 + 64) + 3 + 3);
}

#[test]
fn unknown_workspace_and_wrong_proof_are_refused_alike() {
    let mut answers = Vec::new();
    for case in 0..4 {
        let mut world = rich_world();
        let member = world.nodes[1].keys.clone();
        let mut puppet = Puppet::connect(&mut world, 0, 1);
        let nonce = HelloNonce::from_bytes([1; 32]);
        let tag = if case == 0 { WorkspaceTag::from_bytes([7; 32]) } else { puppet.tag() };
        puppet.send(&mut world, &Frame::Hello { nonce, tag });
        assert_eq!(puppet.end_reason(&world), None, "the hello alone tells nothing");
        let HelloProof { author, signature } = puppet.proof(&member);
        let (author, signature) = match case {
            // A right proof for a workspace that is not there; a wrong signature; another's name; no key at all.
            0 => (author, signature),
            1 => (author, Signature::from_bytes([3; 64])),
            2 => (world.workspace.founder.author(), signature),
            _ => (AuthorId::from_bytes([0; 32]), signature),
        };
        puppet.send(&mut world, &Frame::Proof { author, replica: ReplicaId::from_bytes([5; 16]), signature });
        assert_eq!(puppet.end_reason(&world), Some(&Reason::Refused), "case {case}");
        assert!(world.nodes[0].has_event(|event| matches!(event, Event::Refused { .. })));
        assert_nothing_of(&world, &puppet.received.concat());
        // The node's tag depends on the puppet's hello, which is the same in every case.
        answers.push(puppet.received.concat());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(answers[0][answers[0].len() - 3..], Frame::Close { code: CloseCode::Refused }.encode());
}

#[test]
fn stranger_gets_nothing_whatever_it_asks_first() {
    let member = device(2);
    for early in 0..3 {
        let stream = StreamId {
            author: member.author(),
            incarnation: IncarnationId::from_bytes([1; 16]),
            lane: LaneId::from_bytes([1; 32]),
        };
        let zero = ArrivalNumber::new(0);
        let digest = crate::Digest::from_bytes([0; 32]);
        let questions = [
            Frame::AskAdmin { frontier: vec![] },
            Frame::Summary { arrival: zero, digest, remembered: zero },
            Frame::Want { id: crate::WantId(1), stream, from: SequenceNumber::new(1), credit: u64::MAX },
            Frame::Have { arrival: zero, complete: true, heads: vec![] },
            Frame::Push { arrival: zero, entries: vec![] },
            Frame::Credit { bytes: u64::MAX },
            Frame::Caught { arrival: zero, digest },
            Frame::Joined,
            Frame::Data { id: crate::WantId(1), offset: 0, bytes: b"x" },
            Frame::Admin { last: true, operations: vec![b"junk"] },
        ];
        for question in questions {
            let mut world = rich_world();
            let mut puppet = Puppet::connect(&mut world, 0, 1);
            match early {
                0 => {}
                1 => puppet.hello(&mut world),
                _ => puppet.prove(&mut world, &device(99)),
            }
            puppet.send(&mut world, &question);
            assert!(puppet.end_reason(&world).is_some(), "{question:?}");
            assert_nothing_of(&world, &puppet.received.concat());
        }
    }
}

#[test]
fn dialler_shows_its_proof_only_to_who_knows_the_workspace() {
    let mut world = rich_world();
    let session = SessionId(77);
    let (local_transport, remote_transport) = (b"node".to_vec(), b"stranger".to_vec());
    let nonce = HelloNonce::from_bytes([0x51; 32]);
    let (workspace, now) = (&world.workspace, world.now);
    let node = &mut world.nodes[0];
    node.feed(workspace, Input::PeerUp { session, dialer: true, local_transport, remote_transport, nonce }, now);
    // The stranger answers with a tag that another member gave it for the same nonce on another connection.
    let context = HelloContext {
        workspace: workspace.id(),
        initiator_transport: b"stranger".to_vec(),
        responder_transport: b"other member".to_vec(),
        initiator_nonce: nonce,
        responder_nonce: HelloNonce::from_bytes([2; 32]),
    };
    let tag = crate::handshake::hello_tag(workspace.id(), &context, SessionRole::Responder);
    let bytes = Frame::Hello { nonce: context.responder_nonce, tag }.encode();
    node.feed(workspace, Input::Frame { session, bytes }, now);
    assert_eq!(node.disconnects, [(session, Reason::Refused)]);
    let sent: Vec<_> = node.outgoing.drain(..).flat_map(|(_, bytes)| bytes).collect();
    assert_eq!((sent.len(), sent[1]), (2 + 64 + 3, HELLO));
    assert_nothing_of(&world, &sent);
}

#[test]
fn proof_of_another_session_is_worth_nothing() {
    let mut world = rich_world();
    let member = world.nodes[1].keys.clone();
    let stolen = Puppet::connect(&mut world, 0, 1).proof(&member);
    let mut puppet = Puppet::connect(&mut world, 0, 2);
    puppet.hello(&mut world);
    let (author, signature) = (stolen.author, stolen.signature);
    puppet.send(&mut world, &Frame::Proof { author, replica: ReplicaId::from_bytes([5; 16]), signature });
    assert_eq!(puppet.end_reason(&world), Some(&Reason::Refused));
}

#[test]
fn silent_peers_are_dropped_in_time() {
    let mut world = rich_world();
    let mute = Puppet::connect(&mut world, 0, 1);
    let mut half = Puppet::connect(&mut world, 0, 2);
    half.hello(&mut world);
    let mut slow = Puppet::connect(&mut world, 0, 3);
    slow.prove(&mut world, &device(2));
    world.pass(19_000);
    assert_eq!(half.end_reason(&world), None);
    world.pass(2_000);
    for puppet in [mute, half, slow] {
        assert_eq!(puppet.end_reason(&world), Some(&Reason::HandshakeTimeout));
    }
}

#[test]
fn another_version_is_named() {
    let mut world = rich_world();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.send_bytes(&mut world, vec![2, 1, 3, 4]);
    assert_eq!(puppet.end_reason(&world), Some(&Reason::Version));
    assert_eq!(puppet.received, [Frame::Close { code: CloseCode::Version }.encode()]);
}

#[test]
fn connection_to_oneself_is_closed() {
    let mut world = rich_world();
    world.connect(0, 0);
    world.run();
    assert!(world.nodes[0].disconnects.iter().any(|(_, reason)| *reason == Reason::SelfConnection));
}
