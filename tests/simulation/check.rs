//! What must hold in the calm: all nodes hold the same entries and show the same rows, verify is clean, nobody speaks, and a reunion is cheap.

use std::collections::BTreeMap;

use kithdb_core::replica::Replica;
use kithdb_log::{EntryHash, SequenceNumber, StreamId};
use kithdb_tests::pair;

use crate::node::{Node, Outcome, during};
use crate::run::settle;
use crate::sql::{TABLES, transaction};
use crate::world::World;

/// What two equal nodes may say to each other after the hello, in bytes.
const REUNION_BYTES_MAX: u64 = 200;
/// How long equal nodes must stay silent, in milliseconds.
const SILENCE_MS: u64 = 3_600_000;

/// Tells how far a replica's streams reach.
pub fn heights(replica: &Replica) -> Outcome<BTreeMap<StreamId, SequenceNumber>> {
    let state = replica.sync_state().map_err(during("reading the streams"))?;
    Ok(state.streams.into_iter().map(|stream| (stream.id, stream.height)).collect())
}

/// Checks a world that has come to rest.
pub fn check(world: &mut World, lied: bool) -> Outcome<()> {
    if !lied && world.tally.forgeries > 0 {
        return Err("somebody complained of an honest peer after the session".to_owned());
    }
    check_equal(world).map_err(|error| format!("after healing, {error}"))?;
    check_entries(world)?;
    check_silence(world)?;

    // Writes while everybody is connected arrive without a new meeting.
    for node in 0..world.nodes.len() {
        let sql = transaction(&mut world.random);
        if world.nodes[node].is_unaware {
            continue;
        }
        if let Some(driver) = world.nodes[node].driver_mut() {
            let replica = driver.replica_mut();
            if replica.execute_batch(&sql).is_err() && !replica.conn().is_autocommit() {
                replica.execute_batch("ROLLBACK").map_err(during("rolling back"))?;
            }
        }
    }
    settle(world, 60_000)?;
    check_equal(world).map_err(|error| format!("after live writes, {error}"))?;
    for node in 0..world.nodes.len() {
        let Some(driver) = world.nodes[node].driver_mut() else { continue };
        pair::verify(driver.replica_mut()).map_err(|error| format!("node {node}: {error}"))?;
    }
    check_reunion(world)
}

fn check_equal(world: &mut World) -> Outcome<()> {
    let mut first = None;
    for node in 0..world.nodes.len() {
        let Some(driver) = world.nodes[node].driver_mut() else { return Err(format!("node {node} is down")) };
        let digest = driver.digest();
        let replica = driver.replica();
        let members = replica.membership().set_hash();
        let waiting = "SELECT count(*) FROM kith__entries WHERE status <> 1";
        let waiting: i64 = replica.conn().query_row(waiting, [], |row| row.get(0)).map_err(during("counting"))?;
        let state = (heights(replica)?, dump(replica)?, digest, members);
        let Some(first) = &first else {
            first = Some(state);
            continue;
        };
        if state.3 != first.3 {
            return Err(format!("nodes 0 and {node} know different members"));
        }
        if state.0 != first.0 {
            let sum = |heights: &BTreeMap<_, SequenceNumber>| heights.values().map(|height| height.get()).sum::<u64>();
            return Err(format!("nodes 0 and {node} hold {} and {} entries", sum(&first.0), sum(&state.0)));
        }
        if waiting > 0 {
            return Err(format!("{waiting} entries of node {node} wait for ever"));
        }
        if state.1 != first.1 {
            return Err(format!("node 0 shows {:#?}\nbut node {node} {:#?}", first.1, state.1));
        }
        if state.2 != first.2 {
            return Err(format!("nodes 0 and {node} hold the same, but their digests differ"));
        }
    }
    Ok(())
}

/// Reads every column of every row of every table, and what is parked.
fn dump(replica: &Replica) -> Outcome<Vec<String>> {
    let conn = replica.conn();
    let mut out = Vec::new();
    for (table, _) in TABLES {
        let columns = "SELECT group_concat('quote(' || name || ')', ' || '','' || ') FROM pragma_table_info(?1)";
        let columns: Option<String> =
            conn.query_row(columns, [table], |row| row.get(0)).map_err(during("reading columns"))?;
        let Some(columns) = columns else {
            out.push(format!("{table} is not there"));
            continue;
        };
        let sql = format!("SELECT substr({columns}, 1, 200) AS line FROM {table} ORDER BY line");
        let mut select = conn.prepare(&sql).map_err(during("dumping"))?;
        let rows = select.query_map([], |row| row.get::<_, String>(0)).map_err(during("dumping"))?;
        for row in rows {
            out.push(format!("{table}: {}", row.map_err(during("dumping"))?));
        }
        for life in replica.parked_dump(table).map_err(during("listing what is parked"))? {
            out.push(format!("{table} parks {life:?}").chars().take(2_000).collect());
        }
    }
    Ok(out)
}

/// Checks every stored entry by itself, and that nobody holds another one in its place.
fn check_entries(world: &mut World) -> Outcome<()> {
    let mut known: BTreeMap<(StreamId, SequenceNumber), EntryHash> = BTreeMap::new();
    for (node, driver) in world.nodes.iter().map(Node::driver).enumerate() {
        let Some(driver) = driver else { continue };
        let replica = driver.replica();
        for (stream, height) in heights(replica)? {
            let mut next = SequenceNumber::new(1);
            let mut previous = EntryHash::default();
            while next <= height {
                let entries = replica.load_entries(&stream, next, 4 << 20).map_err(during("loading entries"))?;
                if entries.is_empty() {
                    return Err(format!("node {node} lacks an entry below a stream's height"));
                }
                for entry in entries {
                    let (hash, header) = (entry.hash(), &entry.header);
                    if node == 0 {
                        entry.verify(replica.workspace().id()).map_err(during("verifying a stored entry"))?;
                        world.tally.entries += 1;
                    }
                    if header.stream != stream || header.sequence != next || header.previous != previous {
                        return Err(format!("node {node} stores an entry out of place"));
                    }
                    if *known.entry((stream, next)).or_insert(hash) != hash {
                        return Err(format!("node {node} stores another entry than node 0"));
                    }
                    (next, previous) = (next.next(), hash);
                }
            }
        }
    }
    Ok(())
}

fn check_silence(world: &mut World) -> Outcome<()> {
    let frames = world.tally.frames;
    for node in 0..world.nodes.len() {
        world.look(node)?;
    }
    settle(world, SILENCE_MS)?;
    if world.tally.frames == frames {
        Ok(())
    } else {
        Err(format!("equal nodes sent {} frames", world.tally.frames - frames))
    }
}

fn check_reunion(world: &mut World) -> Outcome<()> {
    for number in world.links.keys().copied().collect::<Vec<_>>() {
        world.cut(number);
    }
    settle(world, 0)?;
    for node in 1..world.nodes.len() {
        let number = world.connect(node - 1, node, usize::MAX, false)?;
        settle(world, 1_000)?;
        let Some(link) = world.links.get(&number) else { return Err("a session of equal nodes ended".to_owned()) };
        let mut bytes = 0;
        for end in &link.ends {
            let traffic = world.nodes[end.node].driver().and_then(|driver| driver.traffic(end.session));
            bytes += traffic.ok_or("a session of equal nodes was not proven")?.sent_bytes;
        }
        world.tally.reunion_bytes_max = world.tally.reunion_bytes_max.max(bytes);
        if bytes > REUNION_BYTES_MAX {
            return Err(format!("a reunion of equal nodes cost {bytes} bytes"));
        }
    }
    Ok(())
}
