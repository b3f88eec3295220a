//! What happens to files: copies, restored backups, full disks, and other programs that write to them.

use std::collections::BTreeMap;
use std::path::Path;

use kithdb_core::replica::Replica;
use kithdb_core::seal::SealBudget;
use kithdb_log::StreamId;
use kithdb_tests::random::Random;

use crate::check;
use crate::node::{Node, Outcome, beside, during};
use crate::sql::transaction;
use crate::world::World;

/// What SQLite takes for no limit on the pages of a database.
const PAGES_MAX: i64 = 1 << 30;

/// Tells whether a node has got entries that its store has not: whoever published them may have lost them since.
fn is_storing(world: &World) -> bool {
    world.nodes.iter().filter_map(Node::driver).any(|driver| driver.engine().is_storing())
}

/// Tells whether nobody holds more of a node's own streams than itself.
pub fn knows_its_own(world: &World, node: usize) -> Outcome<bool> {
    if world.nodes.iter().any(|node| !node.is_up()) || is_storing(world) {
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

/// Tells whether a node that is an older copy and does not know it may write: whoever holds entries of its present life that it lacks,
/// everybody must, so that nobody takes the branch that it is going to give up.
pub fn may_fork(world: &World, node: usize) -> Outcome<bool> {
    let Some(driver) = world.nodes[node].driver().filter(|_| !is_storing(world)) else { return Ok(false) };
    let (author, incarnation) = (driver.replica().author(), driver.replica().life().incarnation());
    let own = check::heights(driver.replica())?;
    let mut ahead: BTreeMap<StreamId, usize> = BTreeMap::new();
    for (index, other) in world.nodes.iter().enumerate() {
        let Some(driver) = other.driver().filter(|_| !other.has_forked || index == node) else { return Ok(false) };
        for (stream, height) in check::heights(driver.replica())? {
            let is_own = stream.author == author && stream.incarnation == incarnation;
            if is_own && own.get(&stream).is_none_or(|own| *own < height) {
                *ahead.entry(stream).or_default() += 1;
            }
        }
    }
    // A stream that has forked already may be the longer one.
    Ok(world.nodes[node].has_forked || ahead.values().all(|count| *count == world.nodes.len() - 1))
}

/// Counts the entries that a node has made.
fn own_entries(replica: &Replica) -> Outcome<u64> {
    let heights = check::heights(replica)?;
    let own = heights.iter().filter(|(stream, _)| stream.author == replica.author());
    Ok(own.map(|(_, height)| height.get()).sum())
}

/// Copies a node's files away, at a moment when everything it wrote is sealed.
pub fn back_up(world: &mut World, node: usize) -> Outcome<()> {
    let Some(driver) = world.nodes[node].driver().filter(|_| !world.nodes[node].has_forked) else { return Ok(()) };
    let unsealed = "SELECT EXISTS(SELECT 1 FROM kith__pending) OR EXISTS(SELECT 1 FROM kith__tables WHERE schema_sequence IS NULL)";
    let unsealed: bool =
        driver.replica().conn().query_row(unsealed, [], |row| row.get(0)).map_err(during("looking for writes"))?;
    if world.nodes[node].backup.is_some() && !world.random.percent(20) {
        return Ok(());
    }
    if unsealed || driver.has_work() || world.nodes[node].is_locked {
        return Ok(());
    }
    let Some(path) = world.nodes[node].path().map(|path| beside(path, "-backup")) else { return Ok(()) };
    let own = own_entries(driver.replica())?;
    remove_files(&path)?;
    world.nodes[node].copy_files(&path)?;
    world.nodes[node].backup = Some((path, own));
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
pub fn restore(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    let (Some((backup, own)), Some(path)) =
        (world.nodes[node].backup.clone(), world.nodes[node].path().map(Path::to_owned))
    else {
        return Ok(());
    };
    if world.nodes.iter().enumerate().any(|(other, state)| other != node && state.has_forked) {
        // It might lose what another device published, and take from it what that is going to give up.
        return Ok(());
    }
    let Some(driver) = world.nodes[node].driver() else { return Ok(()) };
    if own_entries(driver.replica())? == own && random.percent(90) {
        // It would lose nothing.
        return Ok(());
    }
    if world.nodes[node].is_up() {
        world.crash(node);
    }
    world.nodes[node].close_application();
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
    world.nodes[node].has_forked = false;
    world.nodes[node].is_unaware |= !is_noticed;
    world.forget_sent_by(node);
    world.restart(node)
}

/// Opens a copy of a node's file as a further node.
pub fn copy(world: &mut World, node: usize) -> Outcome<()> {
    if world.nodes[node].driver().is_none_or(kithdb_peer::Driver::has_work) || world.nodes[node].is_locked {
        return Ok(());
    }
    if world.nodes.iter().any(|node| node.has_forked) {
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
pub fn fill_disk(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    let Some(driver) = world.nodes[node].driver() else { return Ok(()) };
    let conn = driver.replica().conn();
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(during("counting pages"))?;
    let pages = if random.percent(50) { pages + random.below(4) as i64 } else { PAGES_MAX };
    world.tally.full_disks += u64::from(pages < PAGES_MAX);
    limit_pages(world, node, pages)
}

fn limit_pages(world: &mut World, node: usize, pages: i64) -> Outcome<()> {
    world.nodes[node].has_full_disk = pages < PAGES_MAX;
    let Some(driver) = world.nodes[node].driver() else { return Ok(()) };
    let sql = format!("PRAGMA max_page_count = {pages}");
    driver.replica().conn().query_row(&sql, [], |_| Ok(())).map_err(during("limiting pages"))
}

/// Lets another program open a node's file, write to it, hold its lock, seal or close it.
pub fn application(world: &mut World, node: usize, random: &mut Random) -> Outcome<()> {
    if world.nodes[node].is_unaware && !knows_its_own(world, node)? {
        return Ok(());
    }
    let seed = world.next_seed();
    let node = &mut world.nodes[node];
    let Some((application, is_locked)) = node.application(seed)? else { return Ok(()) };
    match random.below(10) {
        0..5 => {
            // What is refused, or finds the file locked, is not written.
            let _ = application.execute_batch(&transaction(random));
        }
        5 => {
            let _ = application.conn().execute_batch("COMMIT");
        }
        6 => {
            let _ = application.conn().execute_batch("BEGIN IMMEDIATE");
        }
        7 if !*is_locked => {
            // Busy, full or a wrong clock: the driver seals later.
            let _ = application.seal(SealBudget::default());
        }
        8 => {
            node.close_application();
            return Ok(());
        }
        _ => {}
    }
    // A wrong clock refuses the COMMIT, and some statements end or keep a transaction.
    if !application.conn().is_autocommit() && random.percent(30) {
        application.execute_batch("ROLLBACK").map_err(during("rolling back"))?;
    }
    *is_locked = !application.conn().is_autocommit();
    Ok(())
}

/// Ends the trouble with a node's file.
pub fn end(world: &mut World, node: usize) -> Outcome<()> {
    world.nodes[node].close_application();
    limit_pages(world, node, PAGES_MAX)
}
