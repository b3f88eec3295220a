//! What the tests share: devices of one workspace with real files, and peers whose events are awaited by what they are.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use kithdb_core::join::JoinOptions as ReplicaJoin;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_log::Role;
use kithdb_peer::{Address, Peer, PeerConfig, PeerEvent, PeerEvents};
use tempfile::TempDir;
use tokio::time::timeout;

/// How long an event may take before a test gives up; generous, since the machine may be busy.
pub const GUARD: Duration = Duration::from_secs(60);
/// A moment that tickets of these tests outlive: the year 2100.
pub const FAR: u64 = 4_102_444_800_000;

/// One device: a folder with a database in it.
pub struct Device {
    pub folder: TempDir,
    pub path: PathBuf,
}

impl Device {
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        Self { folder, path }
    }

    /// Founds a workspace with one synced table.
    pub fn founded(name: &str) -> Self {
        let device = Self::empty();
        let mut replica = Replica::init(&device.path, InitOptions::new(name)).unwrap();
        replica.execute_batch("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)").unwrap();
        replica.sync_table("notes").unwrap();
        replica.close().unwrap();
        device
    }

    /// Joins another device's workspace without a network.
    pub fn joined(owner: &Device, name: &str) -> Self {
        let device = Self::empty();
        let mut owner = owner.open();
        let ticket = owner.invite(Role::Writer, FAR, Vec::new()).unwrap();
        let pending = Replica::prepare_join(&device.path, &ticket, ReplicaJoin::new(name)).unwrap();
        owner.admit(&pending.request().unwrap(), 1_800_000_000_000).unwrap();
        let operations: Vec<_> = owner.membership().operations().cloned().collect();
        pending.complete(&operations).unwrap().close().unwrap();
        device
    }

    /// Opens the database as another program would.
    pub fn open(&self) -> Replica {
        Replica::open(&self.path, OpenOptions::default()).unwrap()
    }

    /// Writes one note as another program would.
    pub fn write(&self, id: &str, body: &str) {
        let mut replica = self.open();
        replica.execute("INSERT INTO notes VALUES(?1, ?2)", [id, body]).unwrap();
        replica.close().unwrap();
    }

    pub async fn start(&self, config: PeerConfig) -> Running {
        Running::start(&self.path, config).await
    }
}

/// A peer and what it told so far.
pub struct Running {
    pub peer: Peer,
    pub events: PeerEvents,
    pub told: Vec<PeerEvent>,
    pub addresses: Vec<Address>,
}

impl Running {
    pub async fn start(path: &Path, config: PeerConfig) -> Self {
        let (peer, events) = Peer::open(path, config).await.unwrap();
        Self { peer, events, told: Vec::new(), addresses: Vec::new() }
    }

    pub async fn next(&mut self) -> PeerEvent {
        match timeout(GUARD, self.events.recv()).await {
            Ok(Some(event)) => {
                if let PeerEvent::Listening { address } = &event {
                    self.addresses.push(address.clone());
                }
                self.told.push(event.clone());
                event
            }
            Ok(None) => panic!("the peer has stopped; it told {:#?}", self.told),
            Err(_) => panic!("no event in time; the peer told {:#?}", self.told),
        }
    }

    /// Waits for the event that this function takes, passing over the others.
    pub async fn until<T>(&mut self, what: &str, mut take: impl FnMut(&PeerEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.next().await;
                if let Some(found) = take(&event) {
                    return found;
                }
            }
        };
        match timeout(GUARD, search).await {
            Ok(found) => found,
            Err(_) => panic!("waited for {what}"),
        }
    }

    /// Waits until it listens, and says where over QUIC.
    pub async fn address(&mut self) -> Address {
        let is_quic = |address: &Address| address.to_string().contains("/quic-v1");
        match self.addresses.iter().find(|address| is_quic(address)) {
            Some(address) => address.clone(),
            None => {
                self.until("an address", |event| match event {
                    PeerEvent::Listening { address } if is_quic(address) => Some(address.clone()),
                    _ => None,
                })
                .await
            }
        }
    }

    pub async fn connected(&mut self) -> String {
        self.until("a session", |event| match event {
            PeerEvent::Connected { device, .. } => Some(device.name.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until its notes are these.
    pub async fn until_notes(&mut self, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(id, body)| (id.to_string(), body.to_string())).collect();
        loop {
            if self.notes().await == expected {
                return;
            }
            self.until("rows", |event| matches!(event, PeerEvent::Applied { .. }).then_some(())).await;
        }
    }

    pub async fn notes(&self) -> Vec<(String, String)> {
        self.peer.call(notes).await.unwrap()
    }
}

pub fn notes(replica: &mut Replica) -> Vec<(String, String)> {
    let has_table = replica
        .query("SELECT 1 FROM sqlite_schema WHERE name = 'notes'", [], |_| Ok(()))
        .is_ok_and(|rows| !rows.is_empty());
    if !has_table {
        return Vec::new();
    }
    replica.query("SELECT id, body FROM notes ORDER BY id", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Listens on loopback and dials these.
pub fn dialling(addresses: &[Address]) -> PeerConfig {
    PeerConfig { peers: addresses.to_vec(), ..PeerConfig::loopback() }
}
