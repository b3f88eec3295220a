//! `kith doctor`: checks what sync needs on this machine, and the files of a database.
//!
//! Invariants:
//! 1. Nothing is written, neither to the database nor to its key file or sidecar.
//! 2. A check that cannot tell says so; it does not pass.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use kithdb_core::error::KeyError;
use kithdb_core::file::{self, FileKind, FileLook, shell_word};
use kithdb_core::storage::{FILE_FORMAT, get_meta};
use kithdb_core::{keyfile, life};
use kithdb_log::AuthorId;
use kithdb_peer::port_of_file;
use serde_json::json;

use crate::cli::Doctor;
use crate::human;
use crate::report::Output;
use crate::trouble;

mod port;

/// The address and port of mDNS, RFC 6762.
const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_PORT: u16 = 5353;
/// A packet to oneself arrives at once or never.
const MULTICAST_WAIT: Duration = Duration::from_secs(2);
/// Below this much free space the disk is about to be full.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// How long another program's lock is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// A routable address that is never assigned (RFC 5737): connecting a UDP socket to it sends nothing and tells the interface.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
}

fn check(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check { name, verdict, detail: detail.into() }
}

/// Runs all checks; exit code 1 if one failed.
pub fn run(arguments: &Doctor, output: Output) -> Result<ExitCode> {
    let mut checks = vec![sqlite(), network(), multicast(), container()];
    let mut of_file = None;
    if let Some(path) = &arguments.file {
        let (found, port) = database(path);
        checks.extend(found);
        of_file = port.map(|port| (port, path.as_path()));
    }
    checks.insert(1, port::check_port(arguments.port, of_file));
    checks.push(disk(arguments.file.as_deref().unwrap_or(Path::new("."))));
    let failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
    if output.json {
        let checks: Vec<_> = checks
            .iter()
            .map(|check| json!({ "check": check.name, "verdict": check.verdict.word(), "detail": check.detail }))
            .collect();
        output.line(json!({ "ok": !failed, "checks": checks }))?;
    } else {
        for check in &checks {
            output.line(format_args!("{:8} {:10} {}", check.verdict.word(), check.name, check.detail))?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn sqlite() -> Check {
    let look = || -> rusqlite::Result<(String, bool)> {
        let conn = rusqlite::Connection::open_in_memory()?;
        let hook =
            "SELECT EXISTS(SELECT 1 FROM pragma_compile_options WHERE compile_options = 'ENABLE_PREUPDATE_HOOK')";
        Ok((
            conn.query_row("SELECT sqlite_version()", [], |row| row.get(0))?,
            conn.query_row(hook, [], |row| row.get(0))?,
        ))
    };
    match look() {
        Ok((version, true)) => check(
            "sqlite",
            Verdict::Ok,
            format!(
                "SQLite {version} with the hook that capture needs; kith {}, file format {FILE_FORMAT}",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        Ok((version, false)) => check(
            "sqlite",
            Verdict::Failed,
            format!(
                "SQLite {version} lacks the preupdate hook; build with LIBSQLITE3_FLAGS=\"-DSQLITE_ENABLE_PREUPDATE_HOOK -DSQLITE_ENABLE_SESSION\""
            ),
        ),
        Err(error) => check("sqlite", Verdict::Failed, format!("SQLite does not run: {error}")),
    }
}

/// The address of the interface that leads out, if there is one.
fn own_address() -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(NOWHERE)?;
    match socket.local_addr()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_unspecified() => Ok(address),
        _ => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn network() -> Check {
    match own_address() {
        Ok(address) => check("network", Verdict::Ok, format!("this machine's address is {address}")),
        Err(_) => check(
            "network",
            Verdict::Warning,
            "there is no way out of this machine, so only peers on it can be reached; connect it to a network",
        ),
    }
}

fn multicast() -> Check {
    let interface = own_address().unwrap_or(Ipv4Addr::LOCALHOST);
    match hears_itself(interface) {
        Ok(()) => check(
            "mdns",
            Verdict::Ok,
            format!(
                "multicast to {MDNS_GROUP} works on {interface}; a network may still keep it from other machines (guest Wi-Fi, VPN, container): then use --peer ADDR"
            ),
        ),
        Err(error) => check(
            "mdns",
            Verdict::Warning,
            format!(
                "multicast to {MDNS_GROUP} does not work on {interface} ({error}); let UDP port {MDNS_PORT} through the firewall, or use --peer ADDR"
            ),
        ),
    }
}

/// Sends a packet to the mDNS group, at a port of its own, and waits for it.
fn hears_itself(interface: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v4(&MDNS_GROUP, &interface)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_read_timeout(Some(MULTICAST_WAIT))?;
    let here = socket.local_addr()?;
    let greeting = format!("kith doctor {here} {}", std::process::id());
    socket.send_to(greeting.as_bytes(), (MDNS_GROUP, here.port()))?;
    let mut received = [0; 128];
    loop {
        match socket.recv_from(&mut received) {
            Ok((length, _)) if received[..length] == *greeting.as_bytes() => return Ok(()),
            // Somebody else's packet.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came back"));
            }
            Err(error) => return Err(error),
        }
    }
}

fn container() -> Check {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if marks.iter().any(|mark| Path::new(mark).exists()) {
        check(
            "container",
            Verdict::Warning,
            "this is a container: others find it only if its port is published (UDP and TCP) or it uses the host's network; use --listen with a fixed port and --peer ADDR",
        )
    } else {
        check("container", Verdict::Ok, "no sign of a container")
    }
}

/// Checks the files of a database; comes with the port that was chosen for it.
fn database(path: &Path) -> (Vec<Check>, Option<u16>) {
    let failed = |error: anyhow::Error| check("file", Verdict::Failed, trouble::explain(error, path).to_string());
    let look = match file::look(path, BUSY_TIMEOUT) {
        Ok(look) => look,
        Err(error) => return (vec![failed(error.into())], None),
    };
    let mut checks = vec![kind(&look)];
    let mut port = None;
    if matches!(look.kind, FileKind::Replica(_) | FileKind::Joining) {
        match read(&look.path) {
            Ok((author, chosen)) => {
                checks.push(key(&look.path, author));
                port = chosen;
            }
            Err(error) => checks.push(failed(error.into())),
        }
    }
    if matches!(look.kind, FileKind::Replica(_)) {
        checks.push(sidecar(&look.path));
    }
    (checks, port)
}

/// Reads whose file it is and the port chosen for it.
fn read(path: &Path) -> rusqlite::Result<(Option<AuthorId>, Option<u16>)> {
    let conn = file::open_to_read(path, BUSY_TIMEOUT)?;
    Ok((get_meta::<[u8; 32]>(&conn, "author")?.map(AuthorId::from_bytes), port_of_file(&conn)?))
}

fn kind(look: &FileLook) -> Check {
    let (path, word) = (look.path.display(), shell_word(&look.path));
    match look.kind {
        FileKind::Missing => {
            check("file", Verdict::Failed, format!("there is no file {path}; make one with `kith init {word}`"))
        }
        FileKind::Plain => check(
            "file",
            Verdict::Warning,
            format!("{path} is a plain SQLite database; `kith init {word}` makes it one that syncs"),
        ),
        FileKind::Joining => check(
            "file",
            Verdict::Warning,
            format!("{path} waits to be admitted; go on with `kith join {word} TICKET`"),
        ),
        FileKind::Replica(_) if look.read_only => check(
            "file",
            Verdict::Failed,
            format!("{path} is read-only, so it cannot sync; make it writable with `chmod u+w {word}`"),
        ),
        FileKind::Replica(workspace) => {
            check("file", Verdict::Ok, format!("{path} belongs to workspace {}", workspace.short()))
        }
    }
}

fn key(path: &Path, author: Option<AuthorId>) -> Check {
    let key = keyfile::key_path(path);
    let failed = |error: KeyError| check("key", Verdict::Failed, error.to_string());
    match (keyfile::load(path), author) {
        (Err(error), _) => failed(error),
        (Ok(keys), Some(expected)) if keys.author() != expected => {
            failed(KeyError::OfOtherDevice { path: key, found: keys.author(), expected })
        }
        (Ok(_), _) => check("key", Verdict::Ok, format!("{} is there and private", key.display())),
    }
}

fn sidecar(path: &Path) -> Check {
    let sidecar = life::sidecar_path(path);
    let shown = sidecar.display();
    match std::fs::metadata(&sidecar) {
        Ok(_) => check("sidecar", Verdict::Ok, format!("{shown} is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check(
            "sidecar",
            Verdict::Warning,
            format!("{shown} is missing: the file counts as a copy and goes on as a new incarnation at its next use"),
        ),
        Err(error) => check("sidecar", Verdict::Failed, format!("{shown} cannot be read: {error}")),
    }
}

fn disk(path: &Path) -> Check {
    match trouble::free_bytes(path) {
        Some(Ok(free)) if free < FREE_BYTES_MIN => check(
            "disk",
            Verdict::Warning,
            format!("only {} are free; receiving stops when the disk is full", human::bytes(free)),
        ),
        Some(Ok(free)) => check("disk", Verdict::Ok, format!("{} are free", human::bytes(free))),
        Some(Err(error)) => check("disk", Verdict::Warning, format!("the free space cannot be read: {error}")),
        None => check("disk", Verdict::Warning, "the free space is not looked up on this platform"),
    }
}
