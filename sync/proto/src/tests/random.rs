//! Random topologies, cuts, restarts, restored files and writes; then calm, and everyone has everything and is silent.

use kithdb_log::AuthorId;

use crate::StoreError;
use crate::testkit::node::Store;
use crate::testkit::{Rng, World};

/// Puts a copy of a replica's file in its place, if it holds everything that this device wrote: nobody can notice.
fn restore(world: &mut World, node: usize, backup: &Store) {
    let own = |store: &Store, author: AuthorId| -> usize {
        store.entries.iter().filter(|(stream, _)| stream.author == author).map(|(_, entries)| entries.len()).sum()
    };
    let author = world.nodes[node].keys.author();
    if own(backup, author) == own(&world.nodes[node].store, author) {
        world.nodes[node].store = backup.clone();
        world.restart(node);
    }
}

fn run_seed(seed: u64) {
    let mut rng = Rng(seed);
    let count = 2 + rng.below(4);
    let mut world = World::new(count as u8);
    let mut links = Vec::new();
    let mut backups: Vec<Option<Store>> = vec![None; count];
    for _ in 0..150 {
        match rng.below(20) {
            0..4 => {
                let (node, lane) = (rng.below(count), rng.below(4) as u8);
                let len = [10, 1000, 70_000, 300_000][rng.below(4)];
                let payload = rng.bytes(len);
                world.write(node, lane, &payload);
            }
            4 => {
                let (left, right) = (rng.below(count), rng.below(count));
                if left != right {
                    links.push(world.connect(left, right));
                }
            }
            5 if !links.is_empty() => world.cut(links[rng.below(links.len())]),
            6 if rng.below(4) == 0 => world.restart(rng.below(count)),
            7 => world.pass_only(rng.below(3000) as u64),
            8 if rng.below(3) == 0 => {
                let node = rng.below(count);
                let fault = [None, Some(StoreError::DiskFull), Some(StoreError::Other)][rng.below(3)];
                world.nodes[node].store.fails_with = fault;
            }
            9 => {
                let node = rng.below(count);
                if world.nodes[node].withholds {
                    world.release(node);
                } else {
                    world.nodes[node].withholds = true;
                }
            }
            10 => {
                let node = rng.below(count);
                match backups[node].take() {
                    Some(backup) => restore(&mut world, node, &backup),
                    None => backups[node] = Some(world.nodes[node].store.clone()),
                }
            }
            _ => {
                let deliverable = world.deliverable();
                for _ in 0..rng.below(8).min(deliverable.len()) {
                    let deliverable = world.deliverable();
                    if !deliverable.is_empty() {
                        let (link, end) = deliverable[rng.below(deliverable.len())];
                        world.deliver(link, end);
                    }
                }
            }
        }
    }
    for node in 0..count {
        world.nodes[node].store.fails_with = None;
        world.release(node);
    }
    // Heal along a random tree; what is still connected stays.
    for node in 1..count {
        let parent = rng.below(node);
        if rng.below(2) == 0 {
            world.connect(node, parent)
        } else {
            world.connect(parent, node)
        };
    }
    // Long enough for every pause and deadline.
    world.pass(700_000);
    world.assert_equal(&(0..count).collect::<Vec<_>>());
    let mark = world.log.len();
    world.pass(3_600_000);
    assert_eq!(world.log.len(), mark, "equal replicas are silent");
}

#[test]
fn random_worlds_come_to_rest_and_agree() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("KITHDB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KITHDB_SEEDS").unwrap_or(500),
    };
    for seed in seeds {
        println!("seed {seed} (KITHDB_SEED={seed} repeats it alone)");
        run_seed(seed);
    }
}
