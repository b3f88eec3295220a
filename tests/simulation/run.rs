//! One run: a time in which everything goes wrong, then calm, then what must hold.

use kithdb_core::log_error::LogError;
use kithdb_core::seal::SealBudget;
use kithdb_tests::random::Random;

use crate::check;
use crate::node::{Node, Outcome, during};
use crate::sql::{TABLES, transaction};
use crate::trouble;
use crate::world::{Tally, World};

/// Sessions that are open at a time at most.
const LINKS_MAX: usize = 16;
/// Nodes of a run at most, copies and latecomers included.
const NODES_MAX: usize = 6;
/// More than any clock is ever off, in milliseconds.
const SKEW_MS_MAX: u64 = 3_600_000;
/// Milliseconds after which the calm must have set in: longer than every pause and deadline of the protocol.
const REST_MS: u64 = 700_000;
/// Deliveries and pieces of work after which a calm world should long have come to rest.
const REST_STEPS_MAX: u64 = 400_000;

/// What kinds of trouble a run has.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    nodes: usize,
    steps: usize,
    on_disk: bool,
    lies: bool,
    is_slow: bool,
    skews: bool,
    crashes: bool,
    restores: bool,
    /// Other programs write to the files.
    applications: bool,
    /// Everybody defines tables, not the founder alone.
    defines: bool,
    /// The sessions that are open when the world is healed go on.
    keeps_sessions: bool,
}

impl Plan {
    fn draw(random: &mut Random) -> Self {
        let on_disk = random.percent(30);
        Self {
            nodes: random.between(2, 5),
            steps: random.between(100, 700),
            on_disk,
            lies: random.percent(25),
            is_slow: random.percent(40),
            skews: random.percent(50),
            crashes: random.percent(60),
            restores: on_disk && random.percent(60),
            applications: on_disk && random.percent(60),
            defines: random.percent(30),
            keeps_sessions: random.percent(50),
        }
    }
}

/// Runs a seed; returns what happened and a hash of all frames.
pub fn run(seed: u64) -> Outcome<(Tally, u64)> {
    let mut random = Random::new(seed);
    let plan = Plan::draw(&mut random);
    let mut world = World::new(random.bits(), plan.on_disk)?;
    world.say(|| format!("{plan:?}"));
    set_up(&mut world, &plan)?;
    if plan.crashes && random.percent(60) {
        world.crash_chance = random.between(50, 500);
    }
    for _ in 0..plan.steps {
        step(&mut world, &plan, &mut random)?;
        world.tally.steps += 1;
    }
    heal(&mut world, &plan, &mut random)?;
    check::check(&mut world, plan.lies)?;
    Ok((world.tally.clone(), world.trace))
}

fn set_up(world: &mut World, plan: &Plan) -> Outcome<()> {
    let (path, seed) = (world.new_path(), world.next_seed());
    world.nodes.push(Node::found(path, seed)?);
    for _ in 1..plan.nodes {
        add_node(world)?;
    }
    define(world, 0)
}

/// Tells whether the founder runs and can write, and there is room for another.
fn can_invite(world: &World) -> bool {
    let full = world.nodes[0].has_full_disk;
    // A newcomer has nothing yet and would take a branch that is going to be given up.
    let forked = world.nodes.iter().any(|node| node.has_forked);
    world.nodes.len() < NODES_MAX && !forked && world.nodes[0].is_up() && !world.nodes[0].is_locked && !full
}

fn add_node(world: &mut World) -> Outcome<()> {
    let (path, seed, elapsed_ms) = (world.new_path(), world.next_seed(), world.elapsed_ms);
    let name = format!("device {}", world.nodes.len());
    let node = Node::join(&mut world.nodes[0], path, name, seed, elapsed_ms)?;
    world.nodes.push(node);
    world.look(0)?;
    world.look(world.nodes.len() - 1)
}

fn define(world: &mut World, node: usize) -> Outcome<()> {
    if world.nodes[node].is_locked || world.nodes[node].has_full_disk || world.nodes[node].is_unaware {
        return Ok(());
    }
    for (table, sql) in TABLES {
        let Some(driver) = world.nodes[node].driver_mut() else { return Ok(()) };
        let replica = driver.replica_mut();
        // It may have come from a peer.
        if replica.execute_batch(sql).is_ok() {
            replica.sync_table(table).map_err(during("kith_sync"))?;
        }
    }
    world.look(node)
}

fn step(world: &mut World, plan: &Plan, random: &mut Random) -> Outcome<()> {
    let node = random.below(world.nodes.len());
    match random.below(100) {
        0..14 => write(world, node, random),
        14..34 => {
            let busy = world.busy();
            if busy.is_empty() { Ok(()) } else { world.work(*random.pick(&busy)) }
        }
        34..42 => {
            let other = random.below(world.nodes.len());
            if node == other || !world.nodes[node].is_up() || world.links.len() >= LINKS_MAX {
                return Ok(());
            }
            let rate_bytes = if plan.is_slow && random.percent(60) { random.between(20, 3_000) } else { usize::MAX };
            let lies = plan.lies && random.percent(40);
            world.connect(node, other, rate_bytes, lies).map(|_| ())
        }
        42..44 => {
            if let Some(number) = pick_link(world, random) {
                world.cut(number);
            }
            Ok(())
        }
        44..47 => {
            if let Some(number) = pick_link(world, random)
                && let Some(link) = world.links.get_mut(&number)
            {
                let end = random.below(2);
                link.ends[end].is_blocked ^= true;
            }
            Ok(())
        }
        47..49 if plan.crashes && world.nodes[node].is_up() => {
            world.crash(node);
            Ok(())
        }
        49..53 if !world.nodes[node].is_up() => world.restart(node),
        53..57 => {
            let ms = match random.below(12) {
                0 => random.between(60_000, 1_200_000),
                1..4 => random.between(1_000, 40_000),
                _ => random.between(0, 400),
            };
            world.pass(ms as u64)
        }
        57 if plan.skews => {
            let skew_ms = random.below(2 * SKEW_MS_MAX as usize) as i64 - SKEW_MS_MAX as i64;
            world.nodes[node].skew_ms = if random.percent(40) { 0 } else { skew_ms };
            world.set_clocks();
            Ok(())
        }
        58 if plan.defines => define(world, node),
        59 if random.percent(20) && can_invite(world) => add_node(world),
        60 | 69 if plan.restores => trouble::back_up(world, node),
        61 | 70 if plan.restores => trouble::restore(world, node, random),
        62 if plan.restores && random.percent(20) && world.nodes.len() < NODES_MAX => trouble::copy(world, node),
        63 => world.look(node),
        64 if plan.on_disk && random.percent(30) => trouble::fill_disk(world, node, random),
        65..68 if plan.applications => trouble::application(world, node, random),
        68 if random.percent(30) => verify(world, node),
        _ => {
            for _ in 0..random.between(1, 12) {
                let movable = world.movable();
                if movable.is_empty() {
                    break;
                }
                let (number, end) = *random.pick(&movable);
                world.deliver(number, end)?;
            }
            Ok(())
        }
    }
}

fn verify(world: &mut World, node: usize) -> Outcome<()> {
    // It seals first, which takes a lock and room.
    if world.nodes[node].is_locked || world.nodes[node].has_full_disk {
        return Ok(());
    }
    let Some(driver) = world.nodes[node].driver_mut() else { return Ok(()) };
    // A table's definition that is not sealed yet needs a stamp, which a clock that is too far behind refuses.
    if let Err(LogError::Clock(_)) = driver.replica_mut().seal(SealBudget::default()) {
        return Ok(());
    }
    kithdb_tests::pair::verify(driver.replica_mut()).map_err(|error| format!("node {node} in the midst: {error}"))
}

fn pick_link(world: &World, random: &mut Random) -> Option<u64> {
    let numbers: Vec<u64> = world.links.keys().copied().collect();
    if numbers.is_empty() { None } else { Some(*random.pick(&numbers)) }
}

fn write(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    let sql = transaction(random);
    if world.nodes[node].is_unaware {
        if trouble::knows_its_own(world, node)? {
            world.nodes[node].is_unaware = false;
        } else if trouble::may_fork(world, node)? {
            world.nodes[node].has_forked = true;
            world.tally.forking_writes += 1;
            world.say(|| format!("node {node} writes what forks its streams"));
        } else {
            return Ok(());
        }
    }
    let Some(driver) = world.nodes[node].driver_mut() else { return Ok(()) };
    let replica = driver.replica_mut();
    // What a constraint, a missing table, a full disk or a wrong clock refuses is refused.
    if replica.execute_batch(&sql).is_err() && !replica.conn().is_autocommit() {
        replica.execute_batch("ROLLBACK").map_err(during("rolling back"))?;
    }
    Ok(())
}

/// Ends all trouble, connects everybody and lets everything run until nothing is left to do.
fn heal(world: &mut World, plan: &Plan, random: &mut Random) -> Outcome<()> {
    world.say(|| "the calm begins".to_owned());
    world.crash_chance = 0;
    for link in world.links.values_mut() {
        link.stop_trouble();
    }
    for node in 0..world.nodes.len() {
        world.restart(node)?;
        trouble::end(world, node)?;
    }
    settle(world, 0)?;
    for node in &mut world.nodes {
        node.skew_ms = 0;
    }
    // In two steps, so that what is due on the way happens at its time and all clocks end after everything that was written.
    settle(world, REST_MS)?;
    if let Some((number, _)) = world.links.iter().find(|(_, link)| link.ends.iter().any(|end| !end.is_proven)) {
        return Err(format!("session {number} neither ends nor gets anywhere"));
    }
    world.pass(2 * SKEW_MS_MAX)?;
    for (number, lies) in world.links.iter().map(|(number, link)| (*number, link.lies)).collect::<Vec<_>>() {
        if lies || !plan.keeps_sessions {
            world.cut(number);
        }
    }
    settle(world, 0)?;
    world.is_healed = true;
    for node in 1..world.nodes.len() {
        let other = random.below(node);
        let (dialer, listener) = if random.percent(50) { (node, other) } else { (other, node) };
        world.connect(dialer, listener, usize::MAX, false)?;
    }
    settle(world, REST_MS)
}

/// Delivers everything and lets everybody work until nothing is left, and time pass with its timers.
pub fn settle(world: &mut World, ms: u64) -> Outcome<()> {
    let end_ms = world.elapsed_ms + ms;
    for _ in 0..REST_STEPS_MAX {
        let movable = world.movable();
        if !movable.is_empty() {
            let (number, end) = movable[world.random.below(movable.len())];
            world.deliver(number, end)?;
            continue;
        }
        let busy = world.busy();
        if !busy.is_empty() {
            let node = busy[world.random.below(busy.len())];
            world.work(node)?;
            continue;
        }
        let next_ms = world.nodes.iter().filter_map(Node::timer_at).min().filter(|at| *at <= end_ms);
        let at_ms = next_ms.unwrap_or(end_ms).max(world.elapsed_ms);
        world.pass(at_ms - world.elapsed_ms)?;
        if next_ms.is_none() && world.movable().is_empty() && world.busy().is_empty() {
            return Ok(());
        }
    }
    Err("the world never comes to rest".to_owned())
}
