//! One run: a time in which everything goes wrong, then calm, then what must hold.

use std::path::Path;

use kithdb_tests::random::Random;

use crate::check;
use crate::node::{Node, Outcome, beside, during};
use crate::sql::{TABLES, transaction};
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

/// What SQLite takes for no limit on the pages of a database.
const PAGES_MAX: i64 = 1 << 30;

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
            steps: random.between(100, 400),
            on_disk,
            lies: random.percent(25),
            is_slow: random.percent(40),
            skews: random.percent(50),
            crashes: random.percent(60),
            restores: on_disk && random.percent(60),
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

fn add_node(world: &mut World) -> Outcome<()> {
    let (path, seed, elapsed_ms) = (world.new_path(), world.next_seed(), world.elapsed_ms);
    let name = format!("device {}", world.nodes.len());
    let node = Node::join(&mut world.nodes[0], path, name, seed, elapsed_ms)?;
    world.nodes.push(node);
    world.look(0)?;
    world.look(world.nodes.len() - 1)
}

fn define(world: &mut World, node: usize) -> Outcome<()> {
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
        59 if random.percent(20) && world.nodes.len() < NODES_MAX && world.nodes[0].is_up() => add_node(world),
        60 if plan.restores => back_up(world, node),
        61 if plan.restores => restore(world, node, random),
        62 if plan.restores && random.percent(20) && world.nodes.len() < NODES_MAX => copy(world, node),
        63 => world.look(node),
        64 if plan.on_disk && random.percent(30) => fill_disk(world, node, random),
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

fn pick_link(world: &World, random: &mut Random) -> Option<u64> {
    let numbers: Vec<u64> = world.links.keys().copied().collect();
    if numbers.is_empty() { None } else { Some(*random.pick(&numbers)) }
}

fn write(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    let sql = transaction(random);
    if world.nodes[node].is_unaware && !knows_its_own(world, node)? {
        return Ok(());
    }
    world.nodes[node].is_unaware = false;
    let Some(driver) = world.nodes[node].driver_mut() else { return Ok(()) };
    let replica = driver.replica_mut();
    // What a constraint, a missing table, a full disk or a wrong clock refuses is refused.
    if replica.execute_batch(&sql).is_err() && !replica.conn().is_autocommit() {
        replica.execute_batch("ROLLBACK").map_err(during("rolling back"))?;
    }
    Ok(())
}

/// Tells whether nobody holds more of a node's own streams than itself.
fn knows_its_own(world: &World, node: usize) -> Outcome<bool> {
    if world.nodes.iter().any(|node| !node.is_up()) {
        return Ok(false);
    }
    let Some(driver) = world.nodes[node].driver() else { return Ok(false) };
    let author = driver.replica().author();
    let own = check::heights(driver.replica())?;
    for other in world.nodes.iter().filter_map(Node::driver) {
        let theirs = check::heights(other.replica())?;
        let mut theirs = theirs.iter().filter(|(stream, _)| stream.author == author);
        if theirs.any(|(stream, height)| own.get(stream).is_none_or(|own| own < height)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies a node's files away, at a moment when everything it wrote is sealed.
fn back_up(world: &mut World, node: usize) -> Outcome<()> {
    let Some(driver) = world.nodes[node].driver() else { return Ok(()) };
    let unsealed = "SELECT EXISTS(SELECT 1 FROM kith__pending) OR EXISTS(SELECT 1 FROM kith__tables WHERE schema_sequence IS NULL)";
    let unsealed: bool =
        driver.replica().conn().query_row(unsealed, [], |row| row.get(0)).map_err(during("looking for writes"))?;
    if unsealed || driver.has_work() {
        return Ok(());
    }
    let Some(path) = world.nodes[node].path().map(|path| beside(path, "-backup")) else { return Ok(()) };
    remove_files(&path)?;
    world.nodes[node].copy_files(&path)?;
    world.nodes[node].backup = Some(path);
    Ok(())
}

fn remove_files(path: &Path) -> Outcome<()> {
    for suffix in ["", "-wal", "-shm", "-kith-life"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(during("removing")(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Puts an older copy in a file's place: as a new file beside the old sidecar, or unnoticeably with the sidecar in the old inode.
fn restore(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    let (Some(backup), Some(path)) = (world.nodes[node].backup.clone(), world.nodes[node].path().map(Path::to_owned))
    else {
        return Ok(());
    };
    if world.nodes[node].is_up() {
        world.crash(node);
    }
    let is_noticed = random.percent(50);
    world.say(|| format!("node {node} is restored, noticed: {is_noticed}"));
    let copied = |suffix: &str| std::fs::read(beside(&backup, suffix));
    let put = |suffix: &str, bytes: Vec<u8>| std::fs::write(beside(&path, suffix), bytes).map_err(during("restoring"));
    if is_noticed {
        // Written beside and renamed, so that the inode is another one.
        put("-new", copied("").map_err(during("reading a copy"))?)?;
        std::fs::rename(beside(&path, "-new"), &path).map_err(during("renaming"))?;
    } else {
        put("", copied("").map_err(during("reading a copy"))?)?;
        put("-kith-life", copied("-kith-life").map_err(during("reading a copy"))?)?;
    }
    for suffix in ["-wal", "-shm"] {
        // A closed database has neither.
        let _ = std::fs::remove_file(beside(&path, suffix));
    }
    if let Ok(bytes) = copied("-wal") {
        put("-wal", bytes)?;
    }
    world.tally.restores += 1;
    world.nodes[node].was_restored = true;
    world.nodes[node].is_unaware |= !is_noticed;
    world.forget_sent_by(node);
    world.restart(node)
}

/// Opens a copy of a node's file as a further node.
fn copy(world: &mut World, node: usize) -> Outcome<()> {
    if world.nodes[node].driver().is_none_or(kithdb_peer::Driver::has_work) {
        return Ok(());
    }
    let Some(path) = world.new_path() else { return Ok(()) };
    world.nodes[node].copy_files(&path)?;
    let (seed, elapsed_ms) = (world.next_seed(), world.elapsed_ms);
    let copy = Node::open_copy(path, seed, elapsed_ms)?;
    let life = |node: &Node| node.driver().map(|driver| driver.replica().life().incarnation());
    if life(&copy) == life(&world.nodes[node]) {
        return Err("a copy took itself for the original".to_owned());
    }
    world.say(|| format!("node {} is a copy of node {node}", world.nodes.len()));
    world.tally.copies += 1;
    world.nodes.push(copy);
    world.look(world.nodes.len() - 1)
}

/// Leaves a database little room to grow, or gives it room again.
fn fill_disk(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    let Some(driver) = world.nodes[node].driver() else { return Ok(()) };
    let conn = driver.replica().conn();
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(during("counting pages"))?;
    let pages = if random.percent(50) { pages + random.below(4) as i64 } else { PAGES_MAX };
    world.tally.full_disks += u64::from(pages < PAGES_MAX);
    limit_pages(world, node, pages)
}

fn limit_pages(world: &World, node: usize, pages: i64) -> Outcome<()> {
    let Some(driver) = world.nodes[node].driver() else { return Ok(()) };
    let sql = format!("PRAGMA max_page_count = {pages}");
    driver.replica().conn().query_row(&sql, [], |_| Ok(())).map_err(during("limiting pages"))
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
        limit_pages(world, node, PAGES_MAX)?;
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
