//! A device whose file was restored and that wrote before it met anybody: its streams fork, and it finds out where.

use kithdb_log::codec::put_bytes;
use kithdb_log::{ArrivalNumber, EntryHash, Hlc, SealedEntry, SequenceNumber, StreamId};

use crate::testkit::{Puppet, World, Writer};
use crate::{Event, Frame, Input, StreamHead};

const NONE: ArrivalNumber = ArrivalNumber::new(0);

fn write(world: &mut World, node: usize, lane: u8, count: u64) {
    for number in 0..count {
        // Told apart by the time, as different writes are.
        world.now.unix_ms += 1;
        world.write(node, lane, &number.to_le_bytes());
    }
}

/// Node 0 wrote `agreed` entries, then `theirs`, which node 1 has; it was restored in between and wrote `ours`.
fn forked(nodes: u8, agreed: u64, ours: u64, theirs: u64) -> (World, StreamId) {
    let mut world = World::new(nodes);
    write(&mut world, 0, 0, agreed);
    write(&mut world, 1, 1, 1);
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    let backup = world.nodes[0].store.clone();
    write(&mut world, 0, 0, theirs);
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    let author = world.nodes[0].keys.author();
    let stream = *world.nodes[1].store.entries.keys().find(|stream| stream.author == author).unwrap();
    world.nodes[0].store = backup;
    world.restart(0);
    write(&mut world, 0, 0, ours);
    (world, stream)
}

#[test]
fn fork_is_found_and_both_agree_whichever_branch_is_longer() {
    let shapes = [
        (3, 1, 1),
        (3, 5, 1),
        (3, 1, 5),
        (3, 5, 2),
        (0, 2, 3),
        (0, 3, 2),
        (0, 1, 1),
        (1, 40, 40),
        (9, 70, 6),
        (9, 6, 70),
    ];
    for (agreed, ours, theirs) in shapes {
        for dialer in [0, 1] {
            let (mut world, stream) = forked(2, agreed, ours, theirs);
            let published = world.nodes[1].store.entries[&stream].clone();
            world.connect(dialer, 1 - dialer);
            world.run();
            let at = format!("{ours} and {theirs} after {agreed}, dialled by {dialer}");
            assert_eq!(world.nodes[0].forks, [(stream, SequenceNumber::new(agreed))], "{at}");
            world.assert_equal(&[0, 1]);
            assert_eq!(world.nodes[0].store.entries[&stream], published, "{at}");
            assert_eq!(
                world.nodes[0].store.entries.values().map(Vec::len).sum::<usize>() as u64,
                agreed + theirs + 1 + ours
            );
            assert!(!world.nodes[0].has_event(|event| matches!(event, Event::Fork { .. })), "{at}");
            assert!(world.nodes.iter().all(|node| node.disconnects.is_empty()), "{at}");
            assert!(
                world.nodes.iter().all(|node| matches!(
                    node.events
                        .iter()
                        .rev()
                        .find(|event| matches!(event, Event::InStep { .. } | Event::PeerJoined { .. })),
                    Some(Event::InStep { .. })
                )),
                "{at}: both know that they hold the same"
            );
            let rounds = world.log.iter().filter(|sent| matches!(Frame::decode(&sent.bytes), Ok(Frame::Want { .. })));
            assert!(rounds.filter(|sent| sent.from == 0).count() < 20, "{at}");
            // From now on it is as if nothing had been.
            write(&mut world, 0, 0, 2);
            world.run();
            world.assert_equal(&[0, 1]);
            world.pass(60_000);
            let mark = world.log.len();
            world.pass(3_600_000);
            assert_eq!(world.log.len(), mark, "{at}");
        }
    }
}

#[test]
fn file_that_is_only_behind_takes_nothing_back() {
    for (ours, theirs) in [(0, 3), (3, 0)] {
        let (mut world, stream) = forked(2, 2, ours, theirs);
        world.connect(0, 1);
        world.run();
        world.assert_equal(&[0, 1]);
        assert_eq!(world.nodes[0].forks, []);
        let is_ahead = |event: &Event| matches!(event, Event::OwnStreamAhead { stream: ahead, .. } if *ahead == stream);
        assert_eq!(world.nodes[0].has_event(is_ahead), theirs > 0);
    }
}

#[test]
fn two_streams_that_forked_are_both_found() {
    let mut world = World::new(2);
    write(&mut world, 0, 0, 3);
    write(&mut world, 0, 1, 3);
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    let backup = world.nodes[0].store.clone();
    for (lane, count) in [(0, 2), (1, 5), (2, 1)] {
        write(&mut world, 0, lane, count);
    }
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    world.nodes[0].store = backup;
    world.restart(0);
    for (lane, count) in [(0, 5), (1, 2), (2, 1), (3, 1)] {
        write(&mut world, 0, lane, count);
    }
    world.connect(1, 0);
    world.run();
    assert_eq!(world.nodes[0].forks.len(), 3);
    world.assert_equal(&[0, 1]);
}

/// What a third device has of a branch that was taken back stays there, is reported, and ends nothing.
#[test]
fn branch_that_was_taken_back_is_not_fetched_again() {
    for closes in [false, true] {
        let (mut world, stream) = forked(3, 2, 2, 2);
        let third = world.connect(0, 2);
        world.run();
        assert_eq!(world.nodes[2].store.entries[&stream].len(), 4, "the third takes what is given up later");
        world.connect(0, 1);
        world.run();
        if closes {
            world.cut(third);
            world.connect(2, 0);
        }
        world.run();
        world.assert_equal(&[0, 1]);
        assert_eq!(world.nodes[0].forks.len(), 1);
        assert!(world.nodes[0].has_event(|event| matches!(event, Event::Fork { .. })));
        write(&mut world, 0, 5, 1);
        write(&mut world, 2, 6, 1);
        world.pass(60_000);
        world.assert_equal(&[0, 1]);
        assert_eq!(world.nodes[2].store.entries.len(), world.nodes[0].store.entries.len());
        assert!(world.nodes.iter().all(|node| node.disconnects.is_empty()));
        let mark = world.log.len();
        world.pass(3_600_000);
        assert_eq!(world.log.len(), mark);
    }
}

/// What a peer remembers of the life before the restore says nothing about what came in since.
#[test]
fn what_came_in_between_the_restore_and_the_meeting_is_told() {
    let mut world = World::new(3);
    write(&mut world, 0, 0, 2);
    let link = world.connect(0, 1);
    world.run();
    world.cut(link);
    let backup = world.nodes[0].store.clone();
    write(&mut world, 0, 0, 3);
    let link = world.connect(0, 1);
    world.pass(15_000);
    world.cut(link);
    world.nodes[0].store = backup;
    let other = world.nodes[2].seal(&world.workspace, 9, b"third", Hlc::from_ms(world.now.unix_ms));
    let id = world.workspace.id();
    world.nodes[2].store.put(other.clone(), id);
    world.nodes[0].store.put(other, id);
    world.restart(0);
    write(&mut world, 0, 0, 5);
    world.connect(0, 1);
    world.run();
    assert_eq!(world.nodes[0].forks.len(), 1);
    world.assert_equal(&[0, 1]);
}

/// A puppet in the place of a peer that holds another branch; node 0 holds `ours` entries after `agreed`.
fn met(agreed: u64, ours: u64, theirs: u64) -> (World, Puppet, StreamId, Vec<SealedEntry>) {
    let (mut world, stream) = forked(2, agreed, ours, theirs);
    let published = world.nodes[1].store.entries[&stream].clone();
    let keys = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &keys);
    (world, puppet, stream, published)
}

fn have(world: &mut World, puppet: &mut Puppet, id: StreamId, height: u64, head: EntryHash) {
    let heads = vec![StreamHead { id, height: SequenceNumber::new(height), head }];
    puppet.received.clear();
    puppet.send(world, &Frame::Have { arrival: NONE, complete: true, heads });
}

fn answer(world: &mut World, puppet: &mut Puppet, stream: &StreamId, entries: &[SealedEntry]) -> SequenceNumber {
    let (id, from, _) = puppet.want(stream).expect("the stream is asked for");
    puppet.received.clear();
    let mut bytes = Vec::new();
    for entry in &entries[from.get() as usize - 1..] {
        put_bytes(&mut bytes, &entry.encode());
    }
    puppet.send(world, &Frame::Data { id, offset: 0, bytes: &bytes });
    puppet.send(world, &Frame::End { id, next: SequenceNumber::new(entries.len() as u64 + 1) });
    from
}

#[test]
fn look_through_goes_back_twice_as_far_each_time() {
    let (mut world, mut puppet, stream, published) = met(4, 30, 20);
    have(&mut world, &mut puppet, stream, 24, published[23].hash());
    let mut asked = Vec::new();
    while world.nodes[0].forks.is_empty() {
        asked.push(answer(&mut world, &mut puppet, &stream, &published).get());
    }
    assert_eq!(asked, [24, 23, 21, 17, 9, 1]);
    assert_eq!(world.nodes[0].forks, [(stream, SequenceNumber::new(4))]);
    assert_eq!(answer(&mut world, &mut puppet, &stream, &published).get(), 5);
    assert_eq!(world.nodes[0].store.entries[&stream], published);
    assert_eq!(puppet.end_reason(&world), None);
}

#[test]
fn claims_alone_take_nothing_back() {
    let (mut world, mut puppet, stream, _) = met(4, 6, 1);
    let own = world.nodes[0].store.entries[&stream].clone();
    for height in [3, 7] {
        have(&mut world, &mut puppet, stream, height, EntryHash::from_bytes([7; 32]));
        // Asked for what it claims to have, it shows what all have.
        assert_eq!(answer(&mut world, &mut puppet, &stream, &own[..height as usize]).get(), height);
        assert_eq!(puppet.want(&stream), None);
    }
    // Others' signatures count for nothing.
    let mut forged = own[7].clone();
    forged.header.previous = EntryHash::from_bytes([8; 32]);
    have(&mut world, &mut puppet, stream, 8, forged.hash());
    let mut shown = own[..7].to_vec();
    shown.push(forged);
    answer(&mut world, &mut puppet, &stream, &shown);
    assert!(world.nodes[0].has_event(|event| matches!(event, Event::Forged { .. })));
    assert_eq!(world.nodes[0].forks, []);
    assert_eq!(world.nodes[0].store.entries[&stream], own);
}

#[test]
fn nobody_is_asked_for_the_stream_until_it_is_known_where_it_ends() {
    let (mut world, mut puppet, stream, published) = met(2, 2, 2);
    world.nodes[0].holds_forks = true;
    puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&published[2].encode()] });
    have(&mut world, &mut puppet, stream, 4, published[3].hash());
    assert_eq!((world.nodes[0].forks.len(), puppet.want(&stream)), (1, None));
    world.nodes[0].holds_forks = false;
    puppet.feed(&mut world, Input::Timer);
    assert_eq!(answer(&mut world, &mut puppet, &stream, &published).get(), 3);
    world.pass(1_000);
    assert_eq!(world.nodes[0].store.entries[&stream], published);
}

#[test]
fn next_entry_of_another_branch_shows_the_fork_while_both_are_connected() {
    let (mut world, mut puppet, stream, published) = met(2, 3, 1);
    let keys = world.nodes[0].keys.clone();
    let writer = Writer { keys: &keys, membership: &world.nodes[0].membership, incarnation: stream.incarnation };
    let clock = Hlc::from_ms(world.now.unix_ms);
    let mut longer = published;
    for number in 0..3u8 {
        let next = world.workspace.seal(&writer, 0, longer.last(), &[number], clock);
        longer.push(next);
    }
    puppet.received.clear();
    puppet.send(&mut world, &Frame::Push { arrival: NONE, entries: vec![&longer[5].encode()] });
    while puppet.want(&stream).is_some() {
        answer(&mut world, &mut puppet, &stream, &longer);
    }
    assert_eq!(world.nodes[0].forks, [(stream, SequenceNumber::new(2))]);
    world.pass(1_000);
    assert!(world.nodes[0].store.entries[&stream] == longer);
}
