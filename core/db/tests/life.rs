//! A copied or restored file is a second author; a file that was only moved is not.

use std::fs;
use std::path::{Path, PathBuf};

use kithdb_core::life::sidecar_path;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_log::IncarnationId;

struct Folder(tempfile::TempDir);

/// The files that make up a replica at rest.
const PARTS: [&str; 3] = ["", "-kith-key", "-kith-life"];

impl Folder {
    fn new() -> (Self, PathBuf, IncarnationId) {
        let dir = Self(tempfile::tempdir().unwrap());
        let path = dir.path("a.db");
        let replica = Replica::init(&path, InitOptions::new("here")).unwrap();
        let first = replica.life().incarnation();
        replica.close().unwrap();
        (dir, path, first)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }
}

fn part(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn copy_all(from: &Path, to: &Path) {
    for suffix in PARTS {
        fs::copy(part(from, suffix), part(to, suffix)).unwrap();
    }
}

fn open(path: &Path) -> Replica {
    Replica::open(path, OpenOptions::default()).unwrap()
}

/// Pretends that an own stream holds `height` entries and that they left the process.
fn publish(replica: &mut Replica, height: u64) {
    let num = replica.life().author_num();
    // Another connection, since a replica's own lets nobody write to KithDB's tables.
    rusqlite::Connection::open(replica.path().unwrap())
        .unwrap()
        .execute(
            "INSERT INTO kith__streams(author, lane, height, head, clock, arrival) VALUES(?1, x'01', ?2, x'', 0, 1)
             ON CONFLICT DO UPDATE SET height = excluded.height",
            rusqlite::params![num, height as i64],
        )
        .unwrap();
    replica.published(height).unwrap();
}

#[test]
fn reopened_file_keeps_its_life() {
    let (_dir, path, first) = Folder::new();
    for _ in 0..3 {
        let mut replica = open(&path);
        assert_eq!(replica.life().incarnation(), first);
        assert_eq!(replica.life().reason(), None);
        publish(&mut replica, 5);
        replica.close().unwrap();
    }
}

#[test]
fn moved_file_keeps_its_life() {
    let (dir, path, first) = Folder::new();
    let to = dir.path("moved.db");
    for suffix in PARTS {
        fs::rename(part(&path, suffix), part(&to, suffix)).unwrap();
    }
    assert_eq!(open(&to).life().incarnation(), first);
    assert_eq!(open(&to).life().reason(), None);
}

#[test]
fn copied_file_is_another_author_and_the_original_is_not() {
    let (dir, path, first) = Folder::new();
    let to = dir.path("copy.db");
    copy_all(&path, &to);
    let copy = open(&to);
    assert_ne!(copy.life().incarnation(), first);
    assert_eq!(copy.life().reason(), Some(format!("the database was copied from {}", path.display()).as_str()));
    let second = copy.life().incarnation();
    let replica_id = copy.life().replica();
    assert_eq!(copy.author(), open(&path).author());
    assert_ne!(replica_id, open(&path).life().replica());
    copy.close().unwrap();
    assert_eq!(open(&to).life().incarnation(), second, "one copy is one new life");
    assert_eq!(open(&path).life().incarnation(), first);
}

#[test]
fn copy_without_the_sidecar_is_another_author() {
    let (_dir, path, first) = Folder::new();
    let sidecar = sidecar_path(&path);
    fs::remove_file(&sidecar).unwrap();
    let replica = open(&path);
    assert_ne!(replica.life().incarnation(), first);
    assert_eq!(
        replica.life().reason().unwrap(),
        format!("{} was not beside the database, as when a file is copied or restored without it", sidecar.display())
    );
}

#[test]
fn damaged_sidecar_is_another_author() {
    let (_dir, path, first) = Folder::new();
    let sidecar = sidecar_path(&path);
    let good = fs::read(&sidecar).unwrap();
    assert_eq!(good.len(), 512);
    let mut flipped = good.clone();
    flipped[30] ^= 1;
    let mut last = first;
    for bad in [&good[..511], &flipped[..], b""] {
        fs::write(&sidecar, bad).unwrap();
        let replica = open(&path);
        assert_ne!(replica.life().incarnation(), last);
        assert_eq!(replica.life().reason().unwrap(), format!("{} was damaged", sidecar.display()));
        last = replica.life().incarnation();
    }
}

#[test]
fn older_copy_put_back_in_place_is_another_author() {
    let (dir, path, first) = Folder::new();
    let backup = dir.path("backup.db");
    let mut replica = open(&path);
    publish(&mut replica, 3);
    replica.close().unwrap();
    fs::copy(&path, &backup).unwrap();
    let mut replica = open(&path);
    publish(&mut replica, 10);
    replica.close().unwrap();
    // `cp` over the file keeps the inode, so that only the count gives the restore away.
    fs::write(&path, fs::read(&backup).unwrap()).unwrap();
    let replica = open(&path);
    assert_ne!(replica.life().incarnation(), first);
    assert_eq!(
        replica.life().reason(),
        Some("the database was replaced by an older copy of it: it holds 3 of the 10 entries this device published")
    );
    let second = replica.life().incarnation();
    replica.close().unwrap();
    // A backup from before the restore belongs to the life before.
    fs::write(&path, fs::read(&backup).unwrap()).unwrap();
    let replica = open(&path);
    assert_ne!(replica.life().incarnation(), second);
    assert_eq!(
        replica.life().reason(),
        Some("the database was replaced by another copy of it, as when a backup is restored")
    );
}

#[test]
fn backup_renamed_into_place_is_another_author() {
    let (dir, path, first) = Folder::new();
    let backup = dir.path("backup.db");
    fs::copy(&path, &backup).unwrap();
    fs::rename(&backup, &path).unwrap();
    let replica = open(&path);
    assert_ne!(replica.life().incarnation(), first);
    assert_eq!(replica.life().reason(), Some("the database was replaced by a copy of it"));
}

#[test]
fn published_count_never_falls() {
    let (_dir, path, _) = Folder::new();
    let mut one = open(&path);
    let mut two = open(&path);
    publish(&mut one, 7);
    two.published(4).unwrap();
    one.close().unwrap();
    two.close().unwrap();
    rusqlite::Connection::open(&path).unwrap().execute("UPDATE kith__streams SET height = 6", []).unwrap();
    assert!(open(&path).life().reason().unwrap().contains("6 of the 7"));
}

#[test]
fn other_process_sees_the_new_incarnation() {
    let (_dir, path, first) = Folder::new();
    let mut one = open(&path);
    let mut two = open(&path);
    two.start_incarnation("a test").unwrap();
    assert_ne!(two.life().incarnation(), first);
    assert!(one.reload_registry().unwrap());
    assert_eq!(one.life().incarnation(), two.life().incarnation());
    assert_eq!(one.life().author_num(), two.life().author_num());
    // The sidecar follows the file, so that this is not taken for a restore.
    one.close().unwrap();
    two.close().unwrap();
    assert_eq!(open(&path).life().reason(), Some("a test"));
}

#[test]
fn memory_has_no_sidecar_and_may_begin_a_new_life() {
    let mut replica = Replica::open_memory(InitOptions::new("here")).unwrap();
    let first = replica.life().incarnation();
    assert_eq!(replica.life().sidecar(), None);
    replica.published(3).unwrap();
    replica.start_incarnation("the clock ran ahead").unwrap();
    assert_ne!(replica.life().incarnation(), first);
    assert_eq!(replica.life().reason(), Some("the clock ran ahead"));
}
