//! Two and more honest replicas: first sync, reunion, live push, forwarding, cuts.

use kithdb_log::codec::put_bytes;
use kithdb_log::{ArrivalNumber, SequenceNumber};

use crate::testkit::{Puppet, Rng, World};
use crate::{Event, Frame, StreamHead, WantId};

#[test]
fn first_meeting_syncs_both_ways() {
    let mut world = World::new(2);
    for round in 0..5u8 {
        world.write(0, round % 2, &[round; 100]);
        world.write(1, round % 3, &[round; 1000]);
    }
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
    for node in &world.nodes {
        assert!(node.has_event(|event| matches!(event, Event::PeerJoined { .. })));
        assert!(node.has_event(|event| matches!(event, Event::CaughtUp { .. })));
        assert!(node.has_event(|event| matches!(event, Event::EntriesReceived { .. })));
        assert!(node.applies > 0);
        assert_eq!(node.store.remembered, 1);
    }
}

/// Bytes of sync payload, without the hello and the proof.
fn payload_bytes(world: &World, mark: usize) -> usize {
    let sent = world.log[mark..]
        .iter()
        .filter(|sent| !matches!(Frame::decode(&sent.bytes), Ok(Frame::Hello { .. } | Frame::Proof { .. })));
    sent.map(|sent| sent.bytes.len()).sum()
}

#[test]
fn equal_reunion_takes_one_round_trip_and_at_most_200_bytes() {
    let mut world = World::new(2);
    for round in 0..50u8 {
        world.write(usize::from(round % 2), round, &[round; 100]);
    }
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    let mark = world.log.len();
    world.connect(1, 0);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
    assert_eq!(world.log.len() - mark, 2 + 2 + 2, "hello, proof and summary, each way");
    let bytes = payload_bytes(&world, mark);
    assert!(bytes <= 200, "{bytes} bytes");
    println!("equal reunion: {bytes} bytes of sync payload");
}

#[test]
fn reunion_costs_what_changed() {
    let mut world = World::new(2);
    for lane in 0..200u8 {
        world.write(0, lane, &[lane; 10]);
    }
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    world.write(0, 7, b"one change");
    let mark = world.log.len();
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
    let bytes = payload_bytes(&world, mark);
    assert!(bytes < 1500, "{bytes} bytes for one small entry of 200 streams");
    println!("reunion with one change: {bytes} bytes of sync payload");
}

#[test]
fn live_writes_are_pushed_without_being_asked_for() {
    let mut world = World::new(2);
    world.connect(0, 1);
    world.run();
    for round in 0..20u8 {
        let mark = world.log.len();
        world.write(usize::from(round % 2), 0, &[round; 200]);
        world.run();
        world.assert_equal(&[0, 1]);
        let pushes =
            world.log[mark..].iter().filter(|sent| matches!(Frame::decode(&sent.bytes), Ok(Frame::Push { .. })));
        assert_eq!((pushes.count(), world.log.len() - mark), (1, 1));
    }
    world.assert_honest();
}

#[test]
fn large_live_writes_are_announced_and_pulled() {
    let mut world = World::new(2);
    world.connect(0, 1);
    world.run();
    let payload = Rng(1).bytes(3 << 20);
    world.write(0, 0, &payload);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
    // The next small one is pushed again: serving the range told where the peer is.
    let mark = world.log.len();
    world.write(0, 0, b"small");
    world.run();
    world.assert_equal(&[0, 1]);
    assert_eq!(world.log.len() - mark, 1);
}

#[test]
fn three_in_a_line_forward_and_never_send_back() {
    let mut world = World::new(3);
    world.write(0, 0, b"before");
    world.connect(0, 1);
    world.connect(1, 2);
    world.run();
    world.assert_equal(&[0, 1, 2]);
    let mark = world.log.len();
    world.write(0, 0, b"live");
    world.run();
    world.assert_equal(&[0, 1, 2]);
    let path: Vec<_> = world.log[mark..].iter().map(|sent| (sent.from, sent.to)).collect();
    assert_eq!(path, [(0, 1), (1, 2)]);
    world.write(2, 1, b"live the other way");
    world.run();
    world.assert_equal(&[0, 1, 2]);
    world.assert_honest();
}

#[test]
fn caught_up_peers_are_quiet() {
    let mut world = World::new(3);
    for round in 0..9u8 {
        world.write(usize::from(round % 3), round % 4, &[round; 500]);
    }
    world.connect(0, 1);
    world.connect(1, 2);
    world.connect(2, 0);
    world.run();
    world.assert_equal(&[0, 1, 2]);
    // Once, some seconds later, each says how far it has told everything; then there is nothing left to say.
    world.pass(15_000);
    let mark = world.log.len();
    world.pass(3_600_000);
    assert_eq!(world.log.len(), mark, "nothing is sent when all are equal");
    world.assert_honest();
}

#[test]
fn cut_at_every_frame_resumes() {
    for cut in 0.. {
        let mut world = World::new(2);
        let mut rng = Rng(5);
        for round in 0..6u8 {
            world.write(0, round % 2, &rng.bytes(200 << 10));
            world.write(1, round % 2, &rng.bytes(3000));
        }
        let link = world.connect(0, 1);
        let mut is_done = false;
        for _ in 0..cut {
            match world.deliverable().first() {
                Some(&(link, end)) => world.deliver(link, end),
                None => is_done = true,
            }
        }
        let stored_before: usize = world.nodes[1].store.entries.values().map(Vec::len).sum();
        world.cut(link);
        world.connect(1, 0);
        world.run();
        let stored_after: usize = world.nodes[1].store.entries.values().map(Vec::len).sum();
        assert!(stored_after >= stored_before);
        world.assert_equal(&[0, 1]);
        world.assert_honest();
        if is_done {
            println!("cut at each of {cut} frames");
            assert!(cut > 20);
            return;
        }
    }
}

#[test]
fn restart_at_every_frame_resumes() {
    for cut in 0..80 {
        let mut world = World::new(2);
        let mut rng = Rng(6);
        for round in 0..6u8 {
            world.write(0, round % 2, &rng.bytes(100 << 10));
            world.write(1, round % 2, &rng.bytes(3000));
        }
        world.connect(0, 1);
        for _ in 0..cut {
            if let Some(&(link, end)) = world.deliverable().first() {
                world.deliver(link, end);
            }
        }
        world.restart(cut % 2);
        world.connect(1, 0);
        world.run();
        world.assert_equal(&[0, 1]);
        world.assert_honest();
    }
}

/// Makes a world where replica 1 holds everything of replica 0 up to arrival 2, and 0 counts as many again, with another history.
fn restored() -> World {
    let mut world = World::new(3);
    world.write(2, 0, b"first");
    let link = world.connect(0, 2);
    world.run();
    world.cut(link);
    let backup = world.nodes[0].store.clone();
    // Replica 1 hears from 0 of what 2 wrote later; then the file of 0 is restored and gets something else instead.
    world.write(2, 1, b"second");
    world.connect(0, 2);
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    world.nodes[0].store = backup;
    world.restart(0);
    let other = world.nodes[2].seal(&world.workspace, 9, b"third", kithdb_log::Hlc::from_ms(world.now.unix_ms));
    let id = world.workspace.id();
    world.nodes[2].store.put(other.clone(), id);
    world.nodes[0].store.put(other, id);
    world.restart(0);
    assert_eq!(world.nodes[0].store.arrival, 2, "the arrival that replica 1 remembers, with another history");
    world
}

#[test]
fn restored_file_gets_and_gives_what_memory_would_miss() {
    let mut world = restored();
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
}

#[test]
fn restored_file_gives_what_memory_would_miss_whatever_else_happens_while_they_meet() {
    for moment in 0.. {
        let mut world = restored();
        world.connect(0, 1);
        let mut is_done = false;
        for _ in 0..moment {
            match world.deliverable().first() {
                Some(&(link, end)) => world.deliver(link, end),
                None => is_done = true,
            }
        }
        // Neither side can tell from its digest alone whether this is all that the other lacks.
        world.write(0, 5, b"at the one");
        world.write(1, 5, b"at the other");
        world.run();
        world.assert_equal(&[0, 1]);
        world.assert_honest();
        world.pass(15_000);
        let mark = world.log.len();
        world.pass(3_600_000);
        assert_eq!(world.log.len(), mark, "nothing is sent when all are equal");
        if is_done {
            assert!(moment > 10);
            return;
        }
    }
}

/// The first entry waits for more from the peer it was asked of, and the next comes over another session.
#[test]
fn entry_is_stored_after_the_one_it_builds_on_whichever_session_brought_that() {
    let mut world = World::new(4);
    world.write(1, 0, b"first");
    world.write(1, 0, b"second");
    let stream = *world.nodes[1].store.entries.keys().next().unwrap();
    let entries: Vec<_> = world.nodes[1].store.entries[&stream].iter().map(|entry| entry.encode()).collect();
    let head = StreamHead { height: SequenceNumber::new(1), ..world.nodes[1].store.head(&stream).unwrap() };
    let [mut slow, mut quick] = [2, 3].map(|number| {
        let keys = world.nodes[number].keys.clone();
        let mut puppet = Puppet::connect(&mut world, 0, number as u64);
        puppet.meet(&mut world, &keys);
        puppet
    });
    let arrival = ArrivalNumber::new(1);
    slow.send(&mut world, &Frame::Have { arrival, complete: true, heads: vec![head] });
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, &entries[0]);
    slow.send(&mut world, &Frame::Data { id: WantId(1), offset: 0, bytes: &bytes });
    assert_eq!(world.nodes[0].store.stores, 0, "it waits for more");
    quick.send(&mut world, &Frame::Push { arrival, entries: vec![&entries[1]] });
    assert_eq!(world.nodes[0].store.entries, world.nodes[1].store.entries);
    assert!(!world.nodes[0].has_event(|event| matches!(event, Event::Forged { .. })));
}
