//! Members that lie: forged entries, forks, false heights, broken answers.

use kithdb_log::codec::put_bytes;
use kithdb_log::*;

use crate::testkit::{Puppet, World, device};
use crate::{Event, Frame, Reason, Refusal, StreamHead, WantId};

const NONE: ArrivalNumber = ArrivalNumber::new(0);

/// Node 0, and a puppet that has proven to be member 2 and can seal as it through node 1.
fn met() -> (World, Puppet) {
    let mut world = World::new(3);
    let keys = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &keys);
    (world, puppet)
}

/// Seals the next entry of member 2 and keeps it in the store of node 1, so that the one after continues it.
fn next_entry(world: &mut World, payload: &[u8]) -> SealedEntry {
    let entry = world.nodes[1].seal(&world.workspace, 0, payload, Hlc::from_ms(world.now.unix_ms));
    let id = world.workspace.id();
    world.nodes[1].store.put(entry.clone(), id);
    entry
}

fn claim(world: &mut World, puppet: &mut Puppet, id: StreamId, height: u64) -> Option<(WantId, SequenceNumber, u64)> {
    let head = StreamHead { id, height: SequenceNumber::new(height), head: EntryHash::from_bytes([1; 32]) };
    puppet.send(world, &Frame::Have { arrival: NONE, complete: false, heads: vec![head] });
    puppet.want(&id)
}

fn answer(world: &mut World, puppet: &mut Puppet, id: WantId, entries: &[Vec<u8>], next: u64) {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| put_bytes(&mut bytes, entry));
    if !bytes.is_empty() {
        puppet.send(world, &Frame::Data { id, offset: 0, bytes: &bytes });
    }
    puppet.send(world, &Frame::End { id, next: SequenceNumber::new(next) });
}

fn stored(world: &World) -> usize {
    world.nodes[0].store.entries.values().map(Vec::len).sum()
}

fn refusal(world: &World) -> Option<Refusal> {
    world.nodes[0].events.iter().rev().find_map(|event| match event {
        Event::Forged { refusal, .. } => Some(refusal.clone()),
        _ => None,
    })
}

#[test]
fn entry_with_any_bit_flipped_is_refused() {
    let mut world = World::new(2);
    let keys = world.nodes[1].keys.clone();
    let whole = next_entry(&mut world, b"true").encode();
    for at in 0..whole.len() {
        let mut forged = whole.clone();
        forged[at] ^= 1 << (at % 8);
        let mut puppet = Puppet::connect(&mut world, 0, at as u64 + 1);
        puppet.meet(&mut world, &keys);
        puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&forged] });
        let mut named = world.nodes[0].events.iter().filter(|event| matches!(event, Event::Forged { .. }));
        let asked = puppet.received.iter().any(|bytes| matches!(Frame::decode(bytes), Ok(Frame::AskAdmin { .. })));
        // A flip in the frontier names an operation nobody knows; that is asked for, once.
        assert!(named.next().is_some() || asked, "byte {at}");
        assert_eq!(stored(&world), 0, "byte {at}");
        world.nodes[0].events.clear();
        let session = puppet.session;
        puppet.feed(&mut world, crate::Input::PeerDown { session });
    }
}

#[test]
fn forger_is_named_and_another_peer_is_asked() {
    let (mut world, mut puppet) = met();
    let entry = next_entry(&mut world, b"true");
    let stream = entry.header.stream;
    let (id, ..) = claim(&mut world, &mut puppet, stream, 1).unwrap();
    let mut forged = entry.clone();
    *forged.ciphertext.last_mut().unwrap() ^= 1;
    answer(&mut world, &mut puppet, id, &[forged.encode()], 2);
    assert!(
        world.nodes[0].has_event(|event| matches!(event, Event::Forged { stream: Some(named), sequence: Some(_), .. }
        if named.author == world.nodes[1].keys.author()))
    );
    assert_eq!(refusal(&world), Some(Refusal::Invalid(EntryError::Ciphertext)));
    assert_eq!(stored(&world), 0);
    puppet.received.clear();
    assert_eq!(claim(&mut world, &mut puppet, stream, 2), None, "it is not asked again in this session");
    world.nodes[1].restart();
    world.connect(1, 0);
    world.run();
    assert_eq!(world.nodes[0].store.entries[&stream], [entry]);
}

#[test]
fn entries_of_others_keys_workspaces_and_streams_are_refused() {
    let (mut world, mut puppet) = met();
    let entry = next_entry(&mut world, b"true");
    let founder = world.workspace.founder.clone();

    let mut renamed = entry.clone();
    renamed.header.stream.author = founder.author();
    puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&renamed.encode()] });
    assert!(matches!(refusal(&world), Some(Refusal::Invalid(EntryError::Signature { .. }))));

    let stranger = crate::testkit::Node::new(device(99), 99, world.workspace.membership.clone());
    let foreign = stranger.seal(&world.workspace, 0, b"mine", Hlc::from_ms(world.now.unix_ms));
    puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&foreign.encode()] });
    assert_eq!(refusal(&world), Some(Refusal::NotAllowed(NotAllowed::UnknownAuthor)));

    let mut elsewhere = entry.clone();
    elsewhere.header.workspace = WorkspaceId::from_bytes([1; 32]);
    puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&elsewhere.encode()] });
    assert!(matches!(refusal(&world), Some(Refusal::Invalid(EntryError::Workspace { .. }))));

    let other = StreamId { lane: LaneId::from_bytes([3; 32]), ..entry.header.stream };
    let (id, ..) = claim(&mut world, &mut puppet, other, 1).unwrap();
    answer(&mut world, &mut puppet, id, &[entry.encode()], 2);
    assert_eq!(refusal(&world), Some(Refusal::OtherStream));
    assert_eq!(stored(&world), 0);
}

#[test]
fn junk_and_bombs_are_refused() {
    let (mut world, mut puppet) = met();
    let stream = next_entry(&mut world, b"true").header.stream;
    let (id, ..) = claim(&mut world, &mut puppet, stream, 1).unwrap();
    // The length of an entry larger than any.
    let mut bomb = Vec::new();
    codec::put_varint(&mut bomb, u64::MAX);
    puppet.send(&mut world, &Frame::Data { id, offset: 0, bytes: &bomb });
    assert_eq!(refusal(&world), Some(Refusal::TooLarge { size_bytes: u64::MAX }));
    let mut junk = Vec::new();
    put_bytes(&mut junk, b"no entry");
    let other = StreamId { lane: LaneId::from_bytes([3; 32]), ..stream };
    puppet.send(&mut world, &Frame::End { id, next: SequenceNumber::new(1) });
    let (id, ..) = claim(&mut world, &mut puppet, other, 1).unwrap();
    puppet.send(&mut world, &Frame::Data { id, offset: 0, bytes: &junk });
    assert!(matches!(refusal(&world), Some(Refusal::Malformed(_))));
    for _ in 0..20 {
        puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![b"no entry"] });
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::TooManyInvalid));
    assert_eq!(stored(&world), 0);
}

#[test]
fn skipped_and_repeated_numbers_are_refused() {
    for skip in [true, false] {
        let (mut world, mut puppet) = met();
        let entries: Vec<_> = (0..3).map(|number| next_entry(&mut world, &[number])).collect();
        let stream = entries[0].header.stream;
        let (id, ..) = claim(&mut world, &mut puppet, stream, 3).unwrap();
        let second = if skip { &entries[2] } else { &entries[0] };
        answer(&mut world, &mut puppet, id, &[entries[0].encode(), second.encode()], 3);
        let found = second.header.sequence;
        assert_eq!(refusal(&world), Some(Refusal::OutOfOrder { expected: SequenceNumber::new(2), found }));
        assert_eq!(puppet.end_reason(&world), None);
        // What came whole and true before is kept, at the latest when the moment of waiting for more has passed.
        world.pass(1000);
        assert_eq!(stored(&world), 1);
    }
}

#[test]
fn fork_keeps_the_first_and_shows_both() {
    let (mut world, mut puppet) = met();
    let first = next_entry(&mut world, b"one story");
    let stream = first.header.stream;
    puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&first.encode()] });
    assert_eq!(stored(&world), 1);
    world.nodes[1].store.entries.clear();
    let other = next_entry(&mut world, b"another story");
    let after = next_entry(&mut world, b"and what follows");
    // A head that differs at our height is looked into.
    let (id, from, _) = {
        let head = StreamHead { id: stream, height: SequenceNumber::new(1), head: other.hash() };
        puppet.send(&mut world, &Frame::Have { arrival: NONE, complete: false, heads: vec![head] });
        puppet.want(&stream).unwrap()
    };
    assert_eq!(from, SequenceNumber::new(1));
    answer(&mut world, &mut puppet, id, &[other.encode()], 2);
    let forks: Vec<_> =
        world.nodes[0].events.iter().filter(|event| matches!(event, Event::Fork { .. })).cloned().collect();
    let (sequence, kept, refused) = (SequenceNumber::new(1), first.hash(), other.hash());
    assert_eq!(forks, [Event::Fork { session: puppet.session, stream, sequence, kept, refused }]);
    assert_eq!(world.nodes[0].store.entries[&stream], std::slice::from_ref(&first));

    // An entry that continues the other branch shows the fork as well, on another session.
    let keys = world.nodes[1].keys.clone();
    let mut second = Puppet::connect(&mut world, 0, 2);
    second.meet(&mut world, &keys);
    second.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&after.encode()] });
    assert!(
        world.nodes[0]
            .has_event(|event| *event == Event::Fork { session: second.session, stream, sequence, kept, refused })
    );
    assert_eq!(world.nodes[0].store.entries[&stream], [first]);
}

#[test]
fn replicas_with_both_sides_of_a_fork_come_to_rest() {
    let mut world = World::new(3);
    let first = next_entry(&mut world, b"one story");
    world.nodes[1].store.entries.clear();
    let other = next_entry(&mut world, b"another story");
    let id = world.workspace.id();
    world.nodes[0].store.put(first, id);
    world.nodes[2].store.put(other, id);
    world.nodes[0].restart();
    world.nodes[2].restart();
    let link = world.connect(0, 2);
    world.run();
    assert!(world.nodes[0].has_event(|event| matches!(event, Event::Fork { .. })));
    assert!(world.nodes[2].has_event(|event| matches!(event, Event::Fork { .. })));
    world.write(0, 5, b"life goes on");
    world.run();
    assert_eq!(world.nodes[2].store.entries.len(), 2);
    world.cut(link);
    world.connect(0, 2);
    world.pass(60_000);
    let mark = world.log.len();
    world.pass(3_600_000);
    assert_eq!(world.log.len(), mark);
}

#[test]
fn false_heights_are_found_out_and_end_the_session() {
    let (mut world, mut puppet) = met();
    let stream = next_entry(&mut world, b"true").header.stream;
    for number in 0..100u8 {
        let id = StreamId { lane: LaneId::from_bytes([number; 32]), ..stream };
        let Some((want, from, _)) = claim(&mut world, &mut puppet, id, u64::MAX) else { break };
        answer(&mut world, &mut puppet, want, &[], from.get());
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::TooManyFalseClaims));
    let claimed = SequenceNumber::new(u64::MAX);
    assert!(world.nodes[0].has_event(|event| matches!(event, Event::FalseClaim { claimed: c, .. } if *c == claimed)));
}

#[test]
fn own_stream_ahead_is_reported_once_an_entry_proves_it() {
    let mut world = World::new(3);
    world.write(0, 0, b"published");
    let backup = world.nodes[0].store.clone();
    world.write(0, 0, b"published too");
    let own = *world.nodes[0].store.entries.keys().next().unwrap();
    world.connect(0, 1);
    world.run();
    // A liar alone brings about nothing.
    world.nodes[0].store = backup;
    world.restart(0);
    let keys = world.nodes[2].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &keys);
    let (want, from, _) = claim(&mut world, &mut puppet, own, 9).unwrap();
    answer(&mut world, &mut puppet, want, &[], from.get());
    assert!(!world.nodes[0].has_event(|event| matches!(event, Event::OwnStreamAhead { .. })));
    world.connect(0, 1);
    world.run();
    let ahead = world.nodes[0].events.iter().filter(|event| matches!(event, Event::OwnStreamAhead { .. }));
    assert_eq!(ahead.count(), 1);
    assert_eq!(world.nodes[0].store.entries[&own].len(), 2);
    world.assert_equal(&[0, 1]);
}

#[test]
fn copied_file_is_noticed() {
    let mut world = World::new(2);
    world.nodes[1].replica = world.nodes[0].replica;
    world.nodes[1].restart();
    world.write(1, 0, b"both get everything all the same");
    world.connect(0, 1);
    world.run();
    for node in &world.nodes {
        assert!(node.has_event(|event| matches!(event, Event::SameReplica { .. })));
        assert!(node.store.memory.is_empty(), "nothing is noted under a name that two replicas bear");
    }
    world.assert_equal(&[0, 1]);
}

#[test]
fn entries_from_the_future_are_stored_passed_on_and_reported() {
    let mut world = World::new(2);
    let future = Hlc::from_ms(world.now.unix_ms + 600_000);
    let entry = world.nodes[0].seal(&world.workspace, 0, b"tomorrow", future);
    let id = world.workspace.id();
    world.nodes[0].store.put(entry, id);
    world.restart(0);
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
    assert!(world.nodes[1].has_event(|event| matches!(event, Event::ClockAhead { ahead_ms: 600_000, .. })));
}

#[test]
fn chunks_that_are_not_due_end_the_session() {
    for case in 0..6 {
        let (mut world, mut puppet) = met();
        let entry = next_entry(&mut world, b"true");
        let (id, ..) = claim(&mut world, &mut puppet, entry.header.stream, 1).unwrap();
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, &entry.encode());
        let (head, tail) = bytes.split_at(100);
        puppet.send(&mut world, &Frame::Data { id, offset: 0, bytes: head });
        let wrong = match case {
            0 => Frame::Data { id, offset: 0, bytes: head },
            1 => Frame::Data { id, offset: 101, bytes: &tail[1..] },
            2 => Frame::Data { id: WantId(77), offset: 100, bytes: tail },
            3 => Frame::Data { id, offset: 100, bytes: &[] },
            4 => Frame::End { id, next: SequenceNumber::new(2) },
            _ => Frame::End { id: WantId(2), next: SequenceNumber::new(1) },
        };
        puppet.send(&mut world, &wrong);
        assert!(matches!(puppet.end_reason(&world), Some(Reason::Unexpected(_))), "case {case}");
        assert_eq!(stored(&world), 0);
    }
}

#[test]
fn oversize_frame_ends_the_session() {
    let (mut world, mut puppet) = met();
    puppet.send_bytes(&mut world, vec![1; (1 << 20) + 1]);
    assert!(matches!(puppet.end_reason(&world), Some(Reason::Malformed(DecodeError::TooLarge { .. }))));
}
