//! Admin operations: members who have not heard of each other, and entries that name operations not yet heard of.

use kithdb_log::*;

use crate::testkit::{Puppet, TestWorkspace, World, device};
use crate::{Event, Frame};

/// A workspace where each of two replicas knows a member that the other does not, and is that member.
fn strangers_to_each_other() -> World {
    let mut workspace = TestWorkspace::new();
    let owner = workspace.add(2, Role::Owner);
    let common = workspace.membership.clone();
    let (mut left, mut right) = (common.clone(), common);
    let founder = workspace.founder.clone();
    let third = workspace.add_to(&founder, &mut left, 3, Role::Writer);
    let fourth = workspace.add_to(&owner, &mut right, 4, Role::Writer);
    let mut world = World::empty(workspace);
    world.workspace.membership = left;
    world.add(third);
    world.workspace.membership = right;
    world.add(fourth);
    world
}

#[test]
fn members_who_never_heard_of_each_other_prove_themselves() {
    let mut world = strangers_to_each_other();
    world.write(0, 0, b"from the one");
    world.write(1, 0, b"from the other");
    world.connect(0, 1);
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
    assert_eq!(world.nodes[0].membership.members().count(), 4);
}

#[test]
fn dialler_that_is_not_known_sends_what_let_it_in_and_no_more() {
    let mut world = strangers_to_each_other();
    let extra = {
        let founder = world.workspace.founder.clone();
        let mut membership = world.nodes[0].membership.clone();
        world.workspace.add_to(&founder, &mut membership, 9, Role::Writer);
        world.nodes[0].membership = membership.clone();
        world.restart(0);
        membership.operations().last().unwrap().encode()
    };
    world.connect(0, 1);
    // Until the other side has proven itself, the operation about device 9 stays here.
    while !world.nodes[0].has_event(|event| matches!(event, Event::PeerJoined { .. })) {
        let (link, end) = world.deliverable()[0];
        world.deliver(link, end);
    }
    let early: Vec<_> = world.log.iter().filter(|sent| sent.from == 0).flat_map(|sent| sent.bytes.clone()).collect();
    assert!(!early.windows(extra.len()).any(|window| window == extra));
    world.run();
    world.assert_equal(&[0, 1]);
    world.assert_honest();
}

#[test]
fn new_operations_reach_all_before_the_entries_that_name_them() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.run();
    let founder = world.workspace.founder.clone();
    let mut membership = world.nodes[0].membership.clone();
    let keys = world.workspace.add_to(&founder, &mut membership, 9, Role::Writer);
    let operations: Vec<_> =
        membership.operations_after(&world.nodes[0].membership.frontier()).into_iter().cloned().collect();
    world.nodes[0].membership = membership.clone();
    world.feed(0, crate::Input::LocalAdmin { operations });
    world.workspace.membership = membership;
    let fresh = world.add(keys);
    world.write(fresh, 0, b"from the new member");
    world.connect(fresh, 0);
    world.run();
    world.assert_equal(&[0, 1, 2, 3]);
    world.assert_honest();
}

#[test]
fn entry_naming_an_unheard_operation_waits_for_it() {
    let mut world = World::new(2);
    let writer = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &writer);
    // The writer has heard of a new member, the node has not.
    let founder = world.workspace.founder.clone();
    let mut membership = world.nodes[0].membership.clone();
    world.workspace.add_to(&founder, &mut membership, 9, Role::Writer);
    let news: Vec<_> = membership.operations_after(&world.nodes[0].membership.frontier());
    let news: Vec<_> = news.into_iter().map(AdminOperation::encode).collect();
    world.nodes[1].membership = membership.clone();
    let entry = world.nodes[1].seal(&world.workspace, 0, b"later", Hlc::from_ms(world.now.unix_ms));
    let bytes = entry.encode();
    puppet.send(&mut world, &Frame::Push { arrival: ArrivalNumber::new(2), entries: vec![&bytes] });
    assert!(world.nodes[0].store.entries.is_empty());
    let asked = puppet.received.iter().any(|bytes| matches!(Frame::decode(bytes), Ok(Frame::AskAdmin { .. })));
    assert!(asked);
    let operations = news.iter().map(Vec::as_slice).collect();
    puppet.send(&mut world, &Frame::Admin { last: true, operations });
    // Now it is asked for again, and taken.
    let stream = entry.header.stream;
    let (id, from, _) = puppet.want(&stream).expect("the entry is asked for");
    assert_eq!(from, SequenceNumber::new(1));
    let mut answer = Vec::new();
    codec::put_bytes(&mut answer, &bytes);
    puppet.send(&mut world, &Frame::Data { id, offset: 0, bytes: &answer });
    puppet.send(&mut world, &Frame::End { id, next: SequenceNumber::new(2) });
    assert_eq!(world.nodes[0].store.entries[&stream], [entry]);
    assert_eq!(puppet.end_reason(&world), None);
}

#[test]
fn entry_naming_an_operation_that_never_comes_is_refused_by_name() {
    let mut world = World::new(2);
    let writer = world.nodes[1].keys.clone();
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &writer);
    let founder = world.workspace.founder.clone();
    let mut membership = world.nodes[0].membership.clone();
    world.workspace.add_to(&founder, &mut membership, 9, Role::Writer);
    world.nodes[1].membership = membership;
    let entry = world.nodes[1].seal(&world.workspace, 0, b"later", Hlc::from_ms(world.now.unix_ms)).encode();
    for _ in 0..2 {
        puppet.send(&mut world, &Frame::Push { arrival: ArrivalNumber::new(2), entries: vec![&entry] });
        puppet.send(&mut world, &Frame::Admin { last: true, operations: vec![] });
    }
    assert!(world.nodes[0].store.entries.is_empty());
    assert!(world.nodes[0].has_event(|event| matches!(
        event,
        Event::Forged { refusal: crate::Refusal::NotAllowed(NotAllowed::UnknownFrontier(_)), .. }
    )));
}

#[test]
fn forged_operations_are_refused_and_end_the_session() {
    let mut world = World::new(2);
    let (writer, before) = (world.nodes[1].keys.clone(), world.nodes[0].membership.set_hash());
    let mut puppet = Puppet::connect(&mut world, 0, 1);
    puppet.meet(&mut world, &writer);
    let body =
        AdminBody::Invite { invite_key: InviteKey::from_bytes([1; 32]), role: Role::Owner, expires_unix_ms: 1 << 50 };
    let (id, parents) = (world.workspace.id(), world.nodes[0].membership.frontier());
    for clock in 0..20 {
        // A writer invites; a stranger invites.
        let signer = if clock % 2 == 0 { writer.clone() } else { device(99) };
        let forged = AdminOperation::sign(&signer, id, parents.clone(), clock, body.clone()).unwrap().encode();
        puppet.send(&mut world, &Frame::Admin { last: false, operations: vec![&forged] });
    }
    assert_eq!(puppet.end_reason(&world), Some(&crate::Reason::TooManyInvalid));
    assert!(world.nodes[0].has_event(|event| matches!(event, Event::AdminRefused { .. })));
    assert_eq!(world.nodes[0].membership.set_hash(), before);
}
