//! Every way a file or its key can be unfit has its own sentence, and a newer format is never written to.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kithdb_core::file::{FileKind, look};
use kithdb_core::keyfile::key_path;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use rusqlite::Connection;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }
    /// Shows a message with the folder's path as `DIR`.
    fn shown(&self, message: &dyn std::fmt::Display) -> String {
        message.to_string().replace(&self.0.path().canonicalize().unwrap().display().to_string(), "DIR")
    }
    #[track_caller]
    fn check_open(&self, name: &str, expected: &str) {
        let error = Replica::open(self.path(name), hurried()).unwrap_err();
        assert_eq!(self.shown(&error), expected);
    }
    fn replica(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
        replica
            .execute_batch(
                "CREATE TABLE t(id INTEGER PRIMARY KEY, a); SELECT kith_sync('t'); INSERT INTO t VALUES(1, 'x')",
            )
            .unwrap();
        replica.close().unwrap();
        path
    }
}

fn hurried() -> OpenOptions {
    OpenOptions { busy_timeout: Duration::ZERO, ..OpenOptions::default() }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_that_are_no_replica_are_named() {
    let dir = Folder::new();
    dir.check_open(
        "none.db",
        "there is no file DIR/none.db; check the path, or make a new database with `kith init DIR/none.db`",
    );
    dir.check_open("no/where.db", "there is no folder DIR/no; create it first");
    fs::create_dir(dir.path("folder")).unwrap();
    dir.check_open("folder", "DIR/folder is a folder; give the path of a database file");
    fs::write(dir.path("notes.txt"), "just some text that is long enough").unwrap();
    dir.check_open("notes.txt", "DIR/notes.txt is not an SQLite database; give the path of a database file");
    fs::write(dir.path("short"), "SQL").unwrap();
    dir.check_open("short", "DIR/short is not an SQLite database; give the path of a database file");
    let plain = "is a plain SQLite database; make it a KithDB database with `kith init";
    fs::write(dir.path("empty.db"), "").unwrap();
    dir.check_open("empty.db", &format!("DIR/empty.db {plain} DIR/empty.db`"));
    Connection::open(dir.path("plain.db")).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    dir.check_open("plain.db", &format!("DIR/plain.db {plain} DIR/plain.db`"));
}

#[test]
fn unreadable_file_is_named() {
    // The user that runs the tests may be root, whom permissions do not stop: the message is checked for the error itself.
    let error = kithdb_core::error::FileError::Unreadable { path: "notes.db".into() };
    assert_eq!(error.to_string(), "notes.db cannot be read by this user; check its permissions with `ls -l notes.db`");
    let dir = Folder::new();
    let path = dir.replica("t.db");
    set_mode(&path, 0o000);
    match look(&path, Duration::ZERO) {
        Ok(look) => assert!(fs::File::open(&path).is_ok() && look.read_only, "only root gets here"),
        Err(error) => {
            assert_eq!(
                dir.shown(&error),
                "DIR/t.db cannot be read by this user; check its permissions with `ls -l DIR/t.db`"
            );
        }
    }
}

#[test]
fn locked_file_is_named() {
    let dir = Folder::new();
    let path = dir.path("plain.db");
    let holder = Connection::open(&path).unwrap();
    holder.execute_batch("CREATE TABLE t(a); BEGIN EXCLUSIVE").unwrap();
    dir.check_open(
        "plain.db",
        "DIR/plain.db is locked by another program; close that program's transaction and try again",
    );
    let mut options = InitOptions::new("here");
    options.open = hurried();
    assert_eq!(
        dir.shown(&Replica::init(&path, options).unwrap_err()),
        "DIR/plain.db is locked by another program; close that program's transaction and try again"
    );
    assert!(!key_path(&path).exists());
}

#[test]
fn writer_that_is_busy_keeps_an_init_out_without_traces() {
    let dir = Folder::new();
    let path = dir.path("plain.db");
    let holder = Connection::open(&path).unwrap();
    holder.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(a); BEGIN IMMEDIATE").unwrap();
    let mut options = InitOptions::new("here");
    options.open = hurried();
    assert_eq!(
        dir.shown(&Replica::init(&path, options).unwrap_err()),
        "DIR/plain.db is locked by another program; close that program's transaction and try again"
    );
    assert!(!key_path(&path).exists());
    assert!(path.exists());
}

#[test]
fn corrupt_file_is_named() {
    let dir = Folder::new();
    let path = dir.replica("t.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    dir.check_open(
        "t.db",
        "DIR/t.db is damaged (database disk image is malformed); restore a backup, or save what can be read with `sqlite3 DIR/t.db .recover`",
    );
}

#[test]
fn file_of_a_newer_format_is_never_written_to() {
    let dir = Folder::new();
    let path = dir.replica("t.db");
    {
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("UPDATE kith__meta SET value = 99 WHERE name = 'format'; PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
    }
    let state = || {
        let mut files: Vec<_> = fs::read_dir(dir.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = state();
    let expected = "DIR/t.db has format 99, newer than the 1 this program knows; update kithdb (nothing was written)";
    dir.check_open("t.db", expected);
    assert_eq!(dir.shown(&Replica::init(&path, InitOptions::new("here")).unwrap_err()), expected);
    let after = state();
    for old in &before {
        assert!(after.contains(old), "{} changed", old.0.display());
    }
}

#[test]
fn read_only_file_opens_for_inspection() {
    let dir = Folder::new();
    let path = dir.replica("t.db");
    set_mode(&path, 0o400);
    let mut replica = Replica::open(&path, hurried()).unwrap();
    assert!(replica.is_read_only());
    let rows = replica.query("SELECT a FROM t", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(rows, ["x"]);
    let refused = "DIR/t.db is read-only; make it writable with `chmod u+w DIR/t.db`";
    assert_eq!(dir.shown(&replica.execute("INSERT INTO t VALUES(2, 'y')", []).unwrap_err()), refused);
    let invited = replica.invite(kithdb_log::Role::Writer, u64::MAX, Vec::new()).unwrap_err();
    assert_eq!(dir.shown(&invited), refused);
    let plain = dir.path("plain.db");
    Connection::open(&plain).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    set_mode(&plain, 0o444);
    assert_eq!(
        dir.shown(&Replica::init(&plain, InitOptions::new("here")).unwrap_err()),
        "DIR/plain.db is read-only; make it writable with `chmod u+w DIR/plain.db`"
    );
}

#[test]
fn init_makes_an_ordinary_file_and_a_private_key() {
    let dir = Folder::new();
    let path = dir.path("notes.db");
    let replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    assert_eq!(fs::metadata(key_path(&path)).unwrap().permissions().mode() & 0o777, 0o600);
    let mode: String = replica.conn().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let workspace = replica.workspace().id();
    let author = replica.author();
    replica.close().unwrap();
    assert_eq!(look(&path, Duration::ZERO).unwrap().kind, FileKind::Replica(workspace));
    let again = Replica::open(&path, hurried()).unwrap();
    assert_eq!((again.workspace().id(), again.author()), (workspace, author));
    assert_eq!(again.workspace().device_name(), "here");
    let check: String =
        Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    assert_eq!(
        dir.shown(&Replica::init(&path, InitOptions::new("here")).unwrap_err()),
        format!("DIR/notes.db belongs to workspace {} already; use it as it is", workspace.short())
    );
}

#[test]
fn init_keeps_the_users_tables_and_refuses_taken_names() {
    let dir = Folder::new();
    let path = dir.path("notes.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES(1)").unwrap();
    let replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    let rows: i64 = replica.conn().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    let taken = dir.path("taken.db");
    Connection::open(&taken).unwrap().execute_batch("CREATE TABLE kith__mine(a)").unwrap();
    assert_eq!(
        dir.shown(&Replica::init(&taken, InitOptions::new("here")).unwrap_err()),
        "the database has a table named \"kith__mine\", a name that belongs to KithDB; rename it first"
    );
    assert!(!key_path(&taken).exists());
    let long = "x".repeat(65);
    for name in ["", "a\nb", &long] {
        assert_eq!(
            dir.shown(&Replica::init(dir.path("n.db"), InitOptions::new(name)).unwrap_err()),
            "a device name has 1 to 64 bytes without control characters; choose another with `--name`"
        );
    }
    assert!(!dir.path("n.db").exists());
}

#[test]
fn key_file_is_guarded() {
    let dir = Folder::new();
    let path = dir.replica("a.db");
    let other = dir.replica("b.db");
    let key = key_path(&path);
    for mode in [0o640, 0o604, 0o644] {
        set_mode(&key, mode);
        dir.check_open(
            "a.db",
            &format!("the key file DIR/a.db-kith-key can be read by other users (mode {mode:o}); run `chmod 600 DIR/a.db-kith-key`"),
        );
    }
    let good = fs::read(&key).unwrap();
    let refuse = |content: &[u8], expected: &str| {
        fs::write(&key, content).unwrap();
        set_mode(&key, 0o600);
        dir.check_open("a.db", &format!("the key file DIR/a.db-kith-key cannot be used: {expected}"));
    };
    refuse(
        &good[..40],
        "the key file is cut short; restore it from a backup, or join the workspace again as a new device",
    );
    refuse(
        b"kithdb device keys, version 9\n",
        "the key file has version 9, newer than this program knows; update kithdb",
    );
    refuse(
        b"\xff\xfe nonsense",
        "this is not a kithdb key file; point to the file that was written when the device was set up",
    );
    let (own, foreign) = {
        let author = |path: &Path| {
            let conn = Connection::open(path).unwrap();
            let author: [u8; 32] =
                conn.query_row("SELECT value FROM kith__meta WHERE name = 'author'", [], |row| row.get(0)).unwrap();
            kithdb_log::AuthorId::from_bytes(author).short()
        };
        (author(&path), author(&other))
    };
    fs::copy(key_path(&other), &key).unwrap();
    dir.check_open(
        "a.db",
        &format!("the key file DIR/a.db-kith-key belongs to device {foreign}, but this database is device {own}'s; put the right key file beside the database"),
    );
    fs::remove_file(&key).unwrap();
    dir.check_open(
        "a.db",
        "the key file DIR/a.db-kith-key is missing: without it this device can neither sign nor read; restore it from a backup, or join the workspace again as a new device, with `kith join` and a new file",
    );
    fs::write(&key, &good).unwrap();
    set_mode(&key, 0o600);
    Replica::open(&path, hurried()).unwrap();
}

#[test]
fn key_file_is_never_overwritten() {
    let dir = Folder::new();
    let path = dir.path("a.db");
    fs::write(key_path(&path), "precious").unwrap();
    assert_eq!(
        dir.shown(&Replica::init(&path, InitOptions::new("here")).unwrap_err()),
        "the key file DIR/a.db-kith-key exists already; if the database it belonged to is gone for good, move the key file away and try again"
    );
    assert_eq!(fs::read_to_string(key_path(&path)).unwrap(), "precious");
    assert!(!path.exists());
}

#[test]
fn links_lead_to_the_real_file() {
    let dir = Folder::new();
    let path = dir.replica("real.db");
    std::os::unix::fs::symlink(&path, dir.path("link.db")).unwrap();
    let replica = Replica::open(dir.path("link.db"), hurried()).unwrap();
    assert_eq!(replica.path(), Some(path.as_path()));
    assert_eq!(replica.life().reason(), None);
}

#[test]
fn replica_may_move_between_threads() {
    let replica = Replica::open_memory(InitOptions::new("here")).unwrap();
    let joined = std::thread::spawn(move || replica.author()).join();
    assert!(joined.is_ok());
}
