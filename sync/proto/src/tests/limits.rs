//! Credit, budgets, deadlines, and a store that cannot.

use kithdb_log::*;

use crate::limits::*;
use crate::testkit::{Puppet, Rng, World};
use crate::types::Digest;
use crate::{Event, Frame, Reason, StoreError, StreamHead, WantId};

const NONE: ArrivalNumber = ArrivalNumber::new(0);

/// Node 0 with two large entries in one stream, and a puppet that has met it.
fn full() -> (World, Puppet, StreamId) {
    let mut world = World::new(2);
    let payload = Rng(3).bytes(2 << 20);
    world.write(0, 0, &payload);
    world.write(0, 0, &payload);
    let stream = *world.nodes[0].store.entries.keys().next().unwrap();
    let keys = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &keys);
    (world, puppet, stream)
}

/// Takes the pieces that came and returns them put together; asserts that they follow each other.
fn take_data(puppet: &mut Puppet, from: &mut u64) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in std::mem::take(&mut puppet.received) {
        if let Ok(Frame::Data { offset, bytes, .. }) = Frame::decode(&frame) {
            assert_eq!(offset, *from);
            *from += bytes.len() as u64;
            out.extend_from_slice(bytes);
        }
    }
    out
}

fn want(world: &mut World, puppet: &mut Puppet, number: u64, stream: StreamId, credit: u64) {
    let from = SequenceNumber::new(1);
    puppet.send(world, &Frame::Want { id: WantId(number), stream, from, credit });
}

#[test]
fn credit_is_respected_to_the_byte() {
    let (mut world, mut puppet, stream) = full();
    want(&mut world, &mut puppet, 1, stream, 0);
    let mut at = 0;
    let mut all = take_data(&mut puppet, &mut at);
    assert_eq!(all.len() as u64, CREDIT_BYTES_INITIAL);
    for bytes in [1, 1000, 700_000, 1] {
        puppet.send(&mut world, &Frame::Credit { bytes });
        let more = take_data(&mut puppet, &mut at);
        assert_eq!(more.len() as u64, bytes);
        all.extend(more);
    }
    // While the credit is used up, the loaded bytes are given up; later the answer goes on where it was.
    world.pass(SERVE_IDLE_MS_MAX + 1000);
    puppet.take(&mut world);
    puppet.send(&mut world, &Frame::Credit { bytes: u64::MAX });
    all.extend(take_data(&mut puppet, &mut at));
    let mut expected = Vec::new();
    for entry in &world.nodes[0].store.entries[&stream] {
        codec::put_bytes(&mut expected, &entry.encode());
    }
    assert!(all == expected);
}

#[test]
fn taken_back_want_ends_at_once() {
    let (mut world, mut puppet, stream) = full();
    want(&mut world, &mut puppet, 1, stream, 0);
    puppet.received.clear();
    puppet.send(&mut world, &Frame::Cancel { id: WantId(1) });
    assert!(matches!(Frame::decode(&puppet.received[0]), Ok(Frame::End { .. })));
    // The next answer begins at its beginning.
    puppet.received.clear();
    want(&mut world, &mut puppet, 2, stream, 5000);
    let mut at = 0;
    assert_eq!(take_data(&mut puppet, &mut at).len(), 5000);
}

#[test]
fn pushes_need_credit_too() {
    let (mut world, mut puppet, _) = full();
    let mut pushed = 0;
    for _ in 0..200 {
        world.nodes[0].write(&world.workspace, 7, &[5; 10], world.now);
        let payload = Rng(9).bytes(6000);
        world.nodes[0].write(&world.workspace, 8, &payload, world.now);
        puppet.take(&mut world);
    }
    for frame in &puppet.received {
        if let Ok(Frame::Push { entries, .. }) = Frame::decode(frame) {
            pushed += entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
        }
    }
    assert!(pushed > CREDIT_BYTES_INITIAL / 2 && pushed <= CREDIT_BYTES_INITIAL, "{pushed}");
    let told = puppet.received.iter().any(|frame| matches!(Frame::decode(frame), Ok(Frame::Have { .. })));
    assert!(told, "without credit, new heads are told instead");
}

#[test]
fn peer_above_its_credit_is_cut_off() {
    let (mut world, mut puppet, _) = full();
    let junk = vec![0; PUSH_BYTES_MAX];
    let mut sent = 0;
    while puppet.end_reason(&world).is_none() {
        // Duplicates are dropped without a word; they use up credit all the same, which is granted again. So the puppet
        // sends one frame with more than was ever granted.
        let entries = vec![&junk[..]; 15];
        puppet.send(&mut world, &Frame::Push { arrival: NONE, entries });
        sent += 1;
        assert!(sent < 3);
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::CreditExceeded));
}

#[test]
fn flood_of_wants_ends_the_session() {
    let (mut world, mut puppet, stream) = full();
    for number in 1..=2 * WANTS_SERVED_MAX as u64 {
        want(&mut world, &mut puppet, number, stream, 0);
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::TooManyWants));
}

#[test]
fn wants_out_of_order_end_the_session() {
    let (mut world, mut puppet, stream) = full();
    want(&mut world, &mut puppet, 2, stream, 0);
    want(&mut world, &mut puppet, 2, stream, 0);
    assert!(matches!(puppet.end_reason(&world), Some(Reason::Unexpected(_))));
}

#[test]
fn wants_beyond_the_end_get_an_end() {
    let (mut world, mut puppet, stream) = full();
    let nothing = StreamId { lane: LaneId::from_bytes([9; 32]), ..stream };
    for (number, stream, from) in [(1, nothing, 1), (2, stream, u64::MAX), (3, stream, 3)] {
        let from = SequenceNumber::new(from);
        puppet.send(&mut world, &Frame::Want { id: WantId(number), stream, from, credit: 0 });
        let end = Frame::End { id: WantId(number), next: from }.encode();
        assert_eq!(std::mem::take(&mut puppet.received)[0], end);
    }
}

#[test]
fn flood_of_questions_ends_the_session() {
    let (mut world, mut puppet, _) = full();
    for _ in 0..=QUESTIONS_BURST {
        puppet.send(&mut world, &Frame::AskAdmin { frontier: vec![] });
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::TooManyQuestions));
    let (mut world, mut puppet, _) = full();
    let digest = Digest::from_bytes([0; 32]);
    for _ in 0..=CAUGHT_MAX {
        puppet.send(&mut world, &Frame::Caught { arrival: NONE, digest });
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::TooManyQuestions));
}

#[test]
fn flood_of_streams_is_bounded() {
    let (mut world, mut puppet, stream) = full();
    let mut number = 0u64;
    for _ in 0..20 {
        let heads = (0..HEADS_MAX).map(|_| {
            number += 1;
            let mut lane = [0; 32];
            lane[..8].copy_from_slice(&number.to_le_bytes());
            let id = StreamId { lane: LaneId::from_bytes(lane), ..stream };
            StreamHead { id, height: SequenceNumber::new(1), head: EntryHash::default() }
        });
        puppet.send(&mut world, &Frame::Have { arrival: NONE, complete: false, heads: heads.collect() });
    }
    assert!(number > BEHIND_MAX as u64);
    let wants = puppet.received.iter().filter(|frame| matches!(Frame::decode(frame), Ok(Frame::Want { .. })));
    assert_eq!(wants.count(), WANTS_OUTSTANDING_MAX);
    let behind = world.nodes[0].engine.sessions.values().map(|session| session.behind.len()).max();
    assert_eq!(behind, Some(BEHIND_MAX));
}

#[test]
fn slow_loris_is_dropped() {
    let (mut world, mut puppet, stream) = full();
    let head = |lane| {
        let id = StreamId { lane: LaneId::from_bytes([lane; 32]), ..stream };
        StreamHead { id, height: SequenceNumber::new(1), head: EntryHash::default() }
    };
    puppet.send(&mut world, &Frame::Have { arrival: NONE, complete: false, heads: vec![head(1)] });
    let (id, ..) = puppet.want(&head(1).id).unwrap();
    let mut length = Vec::new();
    codec::put_varint(&mut length, 1 << 20);
    puppet.send(&mut world, &Frame::Data { id, offset: 0, bytes: &length });
    for offset in 0.. {
        world.pass(5000);
        if puppet.end_reason(&world).is_some() {
            assert!(offset < 20, "dropped after {offset} bytes");
            break;
        }
        puppet.send(&mut world, &Frame::Data { id, offset: 3 + offset, bytes: &[0] });
    }
    assert_eq!(puppet.end_reason(&world), Some(&Reason::Stalled));
}

#[test]
fn entries_larger_than_the_window_arrive() {
    let mut world = World::new(2);
    let payload = Rng(4).bytes(WINDOW_BYTES as usize * 3);
    world.write(0, 0, &payload);
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
}

#[test]
fn slow_store_holds_back_the_sender_and_the_news() {
    let mut world = World::new(3);
    let mut rng = Rng(8);
    for _ in 0..30 {
        world.write(0, 0, &rng.bytes(512 << 10));
    }
    world.connect(0, 1);
    let onward = world.connect(1, 2);
    // Up to the first entries the driver answers at once.
    while !world.log.iter().any(|sent| sent.to == 1 && matches!(Frame::decode(&sent.bytes), Ok(Frame::Data { .. }))) {
        let (link, end) = world.deliverable()[0];
        world.deliver(link, end);
    }
    world.nodes[1].withholds = true;
    world.run();
    let data: usize = world.log.iter().filter(|sent| sent.to == 1).map(|sent| sent.bytes.len()).sum();
    assert!(
        data as u64 <= WINDOW_BYTES + CREDIT_BYTES_INITIAL + 10_000,
        "{data} bytes sent against a store that waits"
    );
    assert!(world.nodes[2].store.entries.is_empty(), "nothing is told that is not durable");
    assert!(world.is_up(onward));
    world.release(1);
    world.run();
    world.assert_equal(&[0, 1, 2]);
    world.assert_honest();
}

#[test]
fn full_disk_pauses_receiving_only() {
    let mut world = World::new(3);
    world.write(0, 0, &Rng(2).bytes(300_000));
    world.write(1, 0, b"from the one whose disk is full");
    world.nodes[1].store.fails_with = Some(StoreError::DiskFull);
    world.connect(0, 1);
    world.connect(1, 2);
    world.run();
    let full = |event: &Event| matches!(event, Event::ReceivingPaused { disk_full: true, .. });
    assert!(world.nodes[1].has_event(full));
    assert_eq!(world.nodes[1].store.stores, 0);
    // Serving goes on, live too.
    world.write(1, 1, b"more from it");
    world.run();
    assert_eq!(world.nodes[0].store.entries.len(), 3);
    assert_eq!(world.nodes[2].store.entries.len(), 2);
    // Admin operations are still taken.
    let founder = world.workspace.founder.clone();
    let mut membership = world.nodes[0].membership.clone();
    world.workspace.add_to(&founder, &mut membership, 9, Role::Writer);
    let operations = membership.operations_after(&world.nodes[0].membership.frontier());
    let operations = operations.into_iter().cloned().collect();
    world.nodes[0].membership = membership;
    world.feed(0, crate::Input::LocalAdmin { operations });
    world.run();
    assert_eq!(world.nodes[1].membership.set_hash(), world.nodes[0].membership.set_hash());
    // It tries again now and then, more and more rarely.
    world.pass(600_000);
    let tries = world.nodes[1].events.iter().filter(|event| full(event)).count();
    assert!((4..12).contains(&tries), "{tries} tries in ten minutes");
    world.nodes[1].store.fails_with = None;
    world.pass(PAUSE_MS_MAX + 1000);
    world.assert_equal(&[0, 1, 2]);
    world.assert_honest();
}

#[test]
fn second_session_with_one_peer_is_closed_on_both_sides() {
    let mut world = World::new(2);
    world.write(0, 0, b"x");
    world.connect(0, 1);
    world.connect(1, 0);
    world.run();
    world.assert_equal(&[0, 1]);
    for node in &world.nodes {
        assert_eq!(node.engine.proven_sessions().count(), 1);
    }
    // A second dial of the same side takes the place of the first, which is most likely dead.
    world.connect(0, 1);
    world.run();
    for node in &world.nodes {
        assert_eq!(node.engine.proven_sessions().count(), 1);
    }
    world.write(1, 0, b"y");
    world.run();
    world.assert_equal(&[0, 1]);
}

#[test]
fn strangers_cannot_take_up_all_sessions() {
    let (mut world, ..) = full();
    let unproven = UNPROVEN_SESSIONS_MAX as u64;
    let puppets: Vec<_> = (0..=unproven).map(|number| Puppet::connect(&mut world, 0, 100 + number)).collect();
    assert_eq!(puppets.last().unwrap().end_reason(&world), Some(&Reason::TooManySessions));
    assert_eq!(puppets[0].end_reason(&world), None);
    // The replica itself can still dial.
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
}

#[test]
fn sessions_are_bounded() {
    let (mut world, ..) = full();
    let keys = world.nodes[1].keys.clone();
    for number in 0..SESSIONS_MAX as u64 {
        let mut puppet = Puppet::connect(&mut world, 0, 100 + number);
        puppet.prove(&mut world, &keys);
    }
    let refused = world.nodes[0].disconnects.iter().filter(|(_, reason)| *reason == Reason::TooManySessions);
    assert_eq!(refused.count(), 1);
}

#[test]
fn unanswered_question_ends_the_session() {
    let mut world = World::new(2);
    let keys = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.prove(&mut world, &keys);
    let digest = Digest::from_bytes([1; 32]);
    puppet.send(&mut world, &Frame::Summary { arrival: NONE, digest, remembered: NONE });
    world.pass(STALL_MS_MAX - 1000);
    assert_eq!(puppet.end_reason(&world), None);
    world.pass(2000);
    assert_eq!(puppet.end_reason(&world), Some(&Reason::Stalled));
}

#[test]
fn waiting_entries_are_stored_after_a_moment() {
    let mut world = World::new(2);
    let keys = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &keys);
    let entry = world.nodes[1].seal(&world.workspace, 0, b"x", Hlc::from_ms(world.now.unix_ms));
    let head = StreamHead { id: entry.header.stream, height: SequenceNumber::new(2), head: EntryHash::default() };
    puppet.send(&mut world, &Frame::Have { arrival: NONE, complete: false, heads: vec![head] });
    let (id, ..) = puppet.want(&head.id).unwrap();
    let mut bytes = Vec::new();
    codec::put_bytes(&mut bytes, &entry.encode());
    puppet.send(&mut world, &Frame::Data { id, offset: 0, bytes: &bytes });
    assert_eq!(world.nodes[0].store.stores, 0);
    world.pass(STORE_DELAY_MS);
    assert_eq!(world.nodes[0].store.stores, 1);
}
