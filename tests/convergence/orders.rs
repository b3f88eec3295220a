//! Every order of arrival, for small sets of entries: a fresh replica is shown each, and after each entry it must already hold what the
//! model says of those it has.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kithdb_core::join::JoinOptions;
use kithdb_core::replica::Replica;
use kithdb_log::{AdminOperation, Role, SealedEntry, SequenceNumber, Ticket};

use crate::check::{Tally, check_alone};
use crate::scenario::{Event, Scenario};
use crate::world::{Outcome, World, during, far_later, options};

/// Sets of entries with more orders than this are left out.
const ORDERS_MAX: usize = 120;
/// Names the same device in every order.
const OBSERVER_SEED: u64 = 77;

/// Makes the same new member again and again.
struct Observer {
    ticket: Ticket,
    everybody: Vec<AdminOperation>,
}

impl Observer {
    fn admit(founder: &mut Replica) -> Outcome<Self> {
        let ticket = founder.invite(Role::Writer, far_later(), Vec::new()).map_err(during("inviting"))?;
        let clock = Arc::new(AtomicU64::new(far_later() - 1));
        let join = JoinOptions { open: options(OBSERVER_SEED, &clock), ..JoinOptions::new("observer") };
        let request = Replica::prepare_join_memory(&ticket, join)
            .map_err(during("joining"))?
            .request()
            .map_err(during("joining"))?;
        founder.admit(&request, far_later() - 1).map_err(during("admitting"))?;
        Ok(Self { everybody: founder.membership().operations().cloned().collect(), ticket })
    }

    fn open(&self) -> Outcome<Replica> {
        let clock = Arc::new(AtomicU64::new(far_later() - 1));
        let join = JoinOptions { open: options(OBSERVER_SEED, &clock), ..JoinOptions::new("observer") };
        let pending = Replica::prepare_join_memory(&self.ticket, join).map_err(during("joining"))?;
        pending.complete(&self.everybody).map_err(during("joining"))
    }
}

/// Lists every way to interleave streams of the given lengths, or none if there are too many.
fn interleavings(lengths: &[usize]) -> Vec<Vec<usize>> {
    fn go(left: &mut Vec<usize>, order: &mut Vec<usize>, out: &mut Vec<Vec<usize>>) {
        if out.len() > ORDERS_MAX {
            return;
        }
        if left.iter().all(|&count| count == 0) {
            out.push(order.clone());
            return;
        }
        for stream in 0..left.len() {
            if left[stream] > 0 {
                left[stream] -= 1;
                order.push(stream);
                go(left, order, out);
                order.pop();
                left[stream] += 1;
            }
        }
    }
    let mut out = Vec::new();
    go(&mut lengths.to_vec(), &mut Vec::new(), &mut out);
    if out.len() > ORDERS_MAX { Vec::new() } else { out }
}

/// Shows a run's entries to fresh replicas in every order; `None` if the run has too few entries or too many.
pub fn run(seed: u64) -> Outcome<Option<(usize, Tally)>> {
    let mut scenario = Scenario::draw_small(seed);
    let mut world = World::open(&scenario)?;
    for event in std::mem::take(&mut scenario.events) {
        world.step(&event).map_err(|error| format!("{event}: {error}"))?;
    }
    for peer in 0..world.peers.len() {
        world.step(&Event::Seal { peer, bytes: 1 << 20 })?;
    }
    let mut streams: Vec<Vec<SealedEntry>> = Vec::new();
    for peer in &world.peers {
        for stream in peer.replica.sync_state().map_err(during("reading the streams"))?.streams {
            if stream.id.author == peer.replica.author() {
                let entries = peer.replica.load_entries(&stream.id, SequenceNumber::new(1), usize::MAX);
                streams.push(entries.map_err(during("loading entries"))?);
            }
        }
    }
    let lengths: Vec<usize> = streams.iter().map(Vec::len).collect();
    let orders = interleavings(&lengths);
    if orders.len() < 6 {
        return Ok(None);
    }
    let observer = Observer::admit(&mut world.peers[0].replica)?;
    let mut tally = Tally::default();
    for order in &orders {
        let mut replica = observer.open()?;
        let mut next = vec![0; streams.len()];
        let shown = format!("order {order:?} of streams of {lengths:?} entries");
        for &stream in order {
            let entry = &streams[stream][next[stream]..=next[stream]];
            next[stream] += 1;
            replica.store_entries(entry).map_err(during("storing"))?;
            let report = replica.apply_stored(Default::default()).map_err(during("applying"))?;
            if let Some(refused) = report.refused.iter().find(|refused| !crate::forge::is_forged(&refused.stream)) {
                return Err(format!("{shown}: refused {}", refused.reason));
            }
            check_alone(&mut replica, &world.secrets, &world.tables, false)
                .map_err(|error| format!("{shown}, at {next:?}: {error}"))?;
        }
        tally.add(
            &check_alone(&mut replica, &world.secrets, &world.tables, true)
                .map_err(|error| format!("{shown}: {error}"))?,
        );
    }
    Ok(Some((orders.len(), tally)))
}
