//! The arbiter against every order in which two peers' messages can arrive.

use super::*;
use crate::identity::TransportSecret;

/// One message on its way; the pair of peers is 0 and 1.
#[derive(Clone, Copy, Debug)]
enum Message {
    Preface { to: usize, preface: Preface },
    Reply { to: usize, attempt: u64, reply: Reply },
}

/// One side: its arbiter is rebuilt by replaying, so the search keeps the choices only.
struct Side {
    arbiter: Arbiter,
    id: PeerId,
    /// Which side's attempt carries the open session, and whether one was ever replaced.
    open: Option<(usize, u64)>,
    replaced: bool,
}

fn sides() -> [Side; 2] {
    let ids = [1, 2].map(|seed| TransportSecret::from_bytes([seed; 32]).peer_id());
    [0, 1].map(|n| Side { arbiter: Arbiter::new(ids[n], [n as u8; 16]), id: ids[n], open: None, replaced: false })
}

/// What may happen next: side 0 or 1 begins, or the n-th message on its way arrives.
fn step(sides: &mut [Side; 2], begun: &mut [bool; 2], flying: &mut Vec<Message>, choice: usize) -> bool {
    let mut options = Vec::new();
    for (n, begun) in begun.iter().enumerate() {
        if !begun {
            options.push(Err(n));
        }
    }
    for n in 0..flying.len() {
        options.push(Ok(n));
    }
    let Some(option) = options.get(choice) else {
        return false;
    };
    match *option {
        Err(n) => {
            begun[n] = true;
            let other = sides[1 - n].id;
            if let Some(preface) = sides[n].arbiter.begin(other) {
                flying.push(Message::Preface { to: 1 - n, preface });
            }
        }
        Ok(n) => match flying.remove(n) {
            Message::Preface { to, preface } => {
                let from = sides[1 - to].id;
                let inbound = sides[to].arbiter.inbound(from, preface, true);
                if let Some((_, old)) = inbound.accepted {
                    sides[to].replaced |= old.is_some();
                    sides[to].open = Some((1 - to, preface.attempt));
                }
                flying.push(Message::Reply { to: 1 - to, attempt: preface.attempt, reply: inbound.reply });
            }
            Message::Reply { to, attempt, reply } => {
                let from = sides[1 - to].id;
                if let Outbound::Open(_) = sides[to].arbiter.outbound(from, attempt, reply) {
                    sides[to].open = Some((to, attempt));
                }
            }
        },
    }
    true
}

/// Runs every sequence of choices to its end.
fn explore(prefix: &mut Vec<usize>, ends: &mut usize) {
    let mut choice = 0;
    loop {
        prefix.push(choice);
        let mut pair = sides();
        let (mut begun, mut flying) = ([false; 2], Vec::new());
        let possible = prefix.iter().all(|choice| step(&mut pair, &mut begun, &mut flying, *choice));
        if !possible {
            prefix.pop();
            return;
        }
        if begun == [true; 2] && flying.is_empty() {
            *ends += 1;
            assert!(pair[0].open.is_some(), "no session after {prefix:?}");
            assert_eq!(pair[0].open, pair[1].open, "two views after {prefix:?}");
            assert!(!pair[0].replaced && !pair[1].replaced, "a session was thrown away after {prefix:?}");
        } else {
            explore(prefix, ends);
        }
        prefix.pop();
        choice += 1;
    }
}

#[test]
fn simultaneous_opening_leaves_the_same_single_session_in_every_order() {
    let mut ends = 0;
    explore(&mut Vec::new(), &mut ends);
    assert!(ends > 10, "{ends} orders");
}

#[test]
fn smaller_peer_id_wins_when_prefaces_cross() {
    let mut pair = sides();
    let ids = [pair[0].id, pair[1].id];
    let small = usize::from(ids[1].to_bytes() < ids[0].to_bytes());
    let prefaces = [0, 1].map(|n| pair[n].arbiter.begin(ids[1 - n]).unwrap());
    let at_small = pair[small].arbiter.inbound(ids[1 - small], prefaces[1 - small], true);
    assert_eq!(at_small.reply.verdict, Verdict::Collision);
    let at_large = pair[1 - small].arbiter.inbound(ids[small], prefaces[small], true);
    assert_eq!(at_large.reply.verdict, Verdict::Accept);
}

#[test]
fn peer_that_lost_its_session_replaces_it() {
    let [mut a, mut b] = sides();
    let preface = a.arbiter.begin(b.id).unwrap();
    let first = b.arbiter.inbound(a.id, preface, true);
    let Some((old, None)) = first.accepted else {
        panic!("{first:?}");
    };
    // The answer is lost, the opener gives up and tries again.
    assert!(a.arbiter.abandon(b.id, preface.attempt));
    let again = a.arbiter.begin(b.id).unwrap();
    let second = b.arbiter.inbound(a.id, again, true);
    assert!(matches!(second.accepted, Some((new, Some(replaced))) if new != old && replaced == old));
    assert!(matches!(a.arbiter.outbound(b.id, again.attempt, second.reply), Outbound::Open(_)));
    // The first stream's end does not touch the second session.
    b.arbiter.closed(a.id, old);
    assert!(b.arbiter.session(&a.id).is_some());
}

#[test]
fn restarted_peer_is_not_taken_for_a_leftover() {
    let [mut a, mut b] = sides();
    for _ in 0..3 {
        let preface = a.arbiter.begin(b.id).unwrap();
        a.arbiter.abandon(b.id, preface.attempt);
    }
    let preface = a.arbiter.begin(b.id).unwrap();
    assert!(b.arbiter.inbound(a.id, preface, true).accepted.is_some());
    let mut restarted = Arbiter::new(a.id, [99; 16]);
    let preface = restarted.begin(b.id).unwrap();
    assert_eq!(preface.attempt, 1);
    assert!(matches!(b.arbiter.inbound(a.id, preface, true).accepted, Some((_, Some(_)))));
}

#[test]
fn full_side_refuses_and_holds_nothing() {
    let [mut a, mut b] = sides();
    let preface = a.arbiter.begin(b.id).unwrap();
    let inbound = b.arbiter.inbound(a.id, preface, false);
    assert_eq!(inbound.reply.verdict, Verdict::Full);
    assert_eq!(inbound.accepted, None);
    assert_eq!(a.arbiter.outbound(b.id, preface.attempt, inbound.reply), Outbound::Full);
    assert!(a.arbiter.peers.is_empty() && b.arbiter.peers.is_empty());
}
