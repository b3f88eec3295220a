//! Joining with a ticket, and every way it is refused.

use std::collections::VecDeque;

use kithdb_log::ids::HelloNonce;
use kithdb_log::*;

use crate::testkit::{TestWorkspace, World, device};
use crate::types::JoinFault;
use crate::{Event, Input, Joiner, Output, Reason, SessionId};

fn peer_up(session: SessionId, dialer: bool) -> Input {
    let (mut local_transport, mut remote_transport) = (b"owner".to_vec(), b"joiner".to_vec());
    if dialer {
        std::mem::swap(&mut local_transport, &mut remote_transport);
    }
    Input::PeerUp {
        session,
        dialer,
        local_transport,
        remote_transport,
        nonce: HelloNonce::from_bytes([dialer as u8; 32]),
    }
}

/// Lets a joiner talk to node 0 until both are silent; returns what the joiner's driver gets besides frames.
fn talk(world: &mut World, joiner: &mut Joiner, number: u64) -> Vec<Output> {
    let (ours, theirs) = (SessionId(9000 + number), SessionId(8000 + number));
    world.feed(0, peer_up(theirs, false));
    let mut results = Vec::new();
    let mut outputs: VecDeque<Output> = joiner.handle(peer_up(ours, true), world.now).into();
    loop {
        while let Some(output) = outputs.pop_front() {
            let Output::Send { frame, .. } = output else {
                results.push(output);
                continue;
            };
            let (workspace, now) = (&world.workspace, world.now);
            world.nodes[0].feed(workspace, Input::Frame { session: theirs, bytes: frame }, now);
        }
        let Some((session, bytes)) = world.nodes[0].outgoing.pop_front() else { return results };
        if session == theirs {
            outputs.extend(joiner.handle(Input::Frame { session: ours, bytes }, world.now));
        }
    }
}

fn invited() -> (World, Ticket) {
    let mut world = World::new(2);
    let founder = world.workspace.founder.clone();
    let mut membership = world.nodes[0].membership.clone();
    let ticket = world.workspace.invite(&founder, &mut membership, Role::Writer);
    let operations = membership.operations_after(&world.nodes[0].membership.frontier());
    let operations = operations.into_iter().cloned().collect();
    world.nodes[0].membership = membership;
    world.feed(0, Input::LocalAdmin { operations });
    (world, ticket)
}

fn fault_of(results: &[Output]) -> Option<JoinFault> {
    results.iter().find_map(|output| match output {
        Output::Event(Event::JoinRefused { fault }) => Some(*fault),
        _ => None,
    })
}

fn operations_of(results: &[Output]) -> Option<Vec<AdminOperation>> {
    results.iter().find_map(|output| match output {
        Output::Joined { operations } => Some(operations.clone()),
        _ => None,
    })
}

#[test]
fn device_with_a_ticket_joins_and_syncs() {
    let (mut world, ticket) = invited();
    world.write(0, 0, b"was here before");
    let keys = device(40);
    let mut joiner = Joiner::new(ticket, &keys, "phone").unwrap();
    let results = talk(&mut world, &mut joiner, 1);
    let operations = operations_of(&results).expect("joined");
    assert!(matches!(results.last(), Some(Output::Disconnect { reason: Reason::Joined, .. })));
    let mut rest = operations.into_iter();
    let mut membership = Membership::from_genesis(world.workspace.id(), rest.next().unwrap()).unwrap();
    rest.for_each(|operation| assert_eq!(membership.add(operation), Ok(Added::Added)));
    assert_eq!(membership.get(keys.author()).unwrap().name, "phone");
    world.workspace.membership = membership;
    let node = world.add(keys);
    world.write(node, 1, b"from the phone");
    // The other member hears of the new one from the owner, or from the new one itself.
    world.connect(node, 1);
    world.connect(0, node);
    world.run();
    world.assert_equal(&[0, 1, 2]);
    world.assert_honest();
}

#[test]
fn ticket_works_once() {
    let (mut world, ticket) = invited();
    let mut first = Joiner::new(ticket.clone(), &device(40), "phone").unwrap();
    assert!(operations_of(&talk(&mut world, &mut first, 1)).is_some());
    let mut second = Joiner::new(ticket, &device(41), "thief").unwrap();
    let results = talk(&mut world, &mut second, 2);
    assert_eq!(fault_of(&results), Some(JoinFault::Used));
    assert!(operations_of(&results).is_none());
}

#[test]
fn expired_ticket_is_refused_by_name() {
    let (mut world, ticket) = invited();
    world.now.unix_ms = ticket.expires_unix_ms + 1;
    let results = talk(&mut world, &mut Joiner::new(ticket, &device(40), "phone").unwrap(), 1);
    assert_eq!(fault_of(&results), Some(JoinFault::Expired));
}

#[test]
fn unknown_ticket_is_refused_by_name() {
    let (mut world, mut ticket) = invited();
    ticket.secret = InviteSecret::from_bytes([200; 32]);
    let results = talk(&mut world, &mut Joiner::new(ticket, &device(40), "phone").unwrap(), 1);
    assert_eq!(fault_of(&results), Some(JoinFault::Unknown));
    assert!(operations_of(&results).is_none());
}

#[test]
fn peer_that_is_no_owner_says_so() {
    let (mut world, ticket) = invited();
    world.nodes.swap(0, 1);
    let results = talk(&mut world, &mut Joiner::new(ticket, &device(40), "phone").unwrap(), 1);
    assert_eq!(fault_of(&results), Some(JoinFault::NotAnOwner));
}

#[test]
fn ticket_of_another_workspace_learns_nothing() {
    let (mut world, mut ticket) = invited();
    ticket.workspace = WorkspaceId::from_bytes([1; 32]);
    let results = talk(&mut world, &mut Joiner::new(ticket, &device(40), "phone").unwrap(), 1);
    // The joiner itself stops: the other side's tag is not that of the ticket's workspace.
    assert!(matches!(results.last(), Some(Output::Disconnect { reason: Reason::Refused, .. })));
}

#[test]
fn history_older_than_the_ticket_is_refused() {
    let (mut world, ticket) = invited();
    let mut older = TestWorkspace::new();
    let founder = older.founder.clone();
    // The same genesis and the same invite, but not what the inviter knew besides.
    let mut membership = older.membership.clone();
    let secret_key = ticket.secret.key();
    let invite = membership.invite(&founder, secret_key, Role::Writer, ticket.expires_unix_ms, 0).unwrap();
    membership.add(invite).unwrap();
    older.membership = membership.clone();
    world.nodes[0].membership = membership;
    world.nodes[0].restart();
    let results = talk(&mut world, &mut Joiner::new(ticket, &device(40), "phone").unwrap(), 1);
    assert!(matches!(results.last(), Some(Output::Disconnect { reason: Reason::WrongHistory, .. })));
    assert!(operations_of(&results).is_none());
}

#[test]
fn joiner_gives_up_in_time() {
    let (mut world, ticket) = invited();
    let mut joiner = Joiner::new(ticket, &device(40), "phone").unwrap();
    joiner.handle(peer_up(SessionId(1), true), world.now);
    world.now.elapsed_ms += 60_000;
    let outputs = joiner.handle(Input::Timer, world.now);
    assert!(matches!(outputs.last(), Some(Output::Disconnect { reason: Reason::HandshakeTimeout, .. })));
}
