//! What the tests share: a peer on loopback whose events are awaited by what they are.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kithdb_net::{Address, CloseReason, NetConfig, NetEvent, Network, Path, SessionId, TransportSecret};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// How long an event may take before a test gives up; generous, since the machine may be busy.
pub const GUARD: Duration = Duration::from_secs(60);

pub struct Peer {
    pub net: Network,
    pub events: Receiver<NetEvent>,
    /// Where it listens, as reported so far.
    pub addresses: Vec<Address>,
}

/// A secret nobody else in any running test has.
pub fn secret() -> TransportSecret {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let mut seed = [0x5a; 32];
    seed[..4].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    seed[4..8].copy_from_slice(&std::process::id().to_le_bytes());
    TransportSecret::from_bytes(seed)
}

/// A configuration that listens on loopback over one transport.
pub fn only(path: Path) -> NetConfig {
    let mut config = NetConfig::loopback(secret(), 0);
    config.listen.retain(|text| text.parse::<Address>().unwrap().path() == path);
    config
}

pub async fn start(config: NetConfig) -> Peer {
    let (net, events) = Network::start(config).await.unwrap();
    Peer { net, events, addresses: Vec::new() }
}

impl Peer {
    /// Waits for the next event.
    pub async fn next(&mut self) -> NetEvent {
        let event = timeout(GUARD, self.events.recv()).await.expect("no event in time").expect("the network went down");
        if let NetEvent::Listening { address } = &event {
            self.addresses.push(address.clone());
        }
        event
    }

    /// Waits for the event that this function takes, passing over the others.
    pub async fn until<T>(&mut self, what: &str, mut take: impl FnMut(&NetEvent) -> Option<T>) -> T {
        let mut passed = Vec::new();
        let search = async {
            loop {
                let event = self.next().await;
                if let Some(found) = take(&event) {
                    return found;
                }
                passed.push(short(&event));
            }
        };
        match timeout(GUARD, search).await {
            Ok(found) => found,
            Err(_) => panic!("waited for {what}, got only {passed:?}"),
        }
    }

    /// Waits for the address it listens on over this transport.
    pub async fn address(&mut self, path: Path) -> Address {
        if let Some(address) = self.addresses.iter().find(|a| a.path() == path) {
            return address.clone();
        }
        self.until("an address", |event| match event {
            NetEvent::Listening { address } if address.path() == path => Some(address.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a session and returns its name, whether this side opened it, and its path.
    pub async fn opened(&mut self) -> (SessionId, bool, Path) {
        self.until("a session", |event| match event {
            NetEvent::SessionOpened { session, dialer, path, .. } => Some((*session, *dialer, *path)),
            NetEvent::DialFailed { reason, .. } => panic!("dial failed: {reason}"),
            _ => None,
        })
        .await
    }

    /// Waits for the next frame of a session; its end is a failure.
    pub async fn frame(&mut self, wanted: SessionId) -> Vec<u8> {
        loop {
            match self.next().await {
                NetEvent::Frame { session, bytes } if session == wanted => return bytes,
                NetEvent::SessionClosed { session, reason, .. } if session == wanted => {
                    panic!("closed instead of a frame: {reason}")
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a session.
    pub async fn closed(&mut self, wanted: SessionId) -> CloseReason {
        self.until("the end of a session", |event| match event {
            NetEvent::SessionClosed { session, reason, .. } if *session == wanted => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a dial to fail.
    pub async fn dial_failed(&mut self) -> String {
        self.until("a failed dial", |event| match event {
            NetEvent::DialFailed { reason, .. } => Some(reason.clone()),
            NetEvent::SessionOpened { .. } => panic!("a session opened"),
            _ => None,
        })
        .await
    }
}

/// Two peers with a session, opened by the first over this transport.
pub async fn pair(path: Path) -> (Peer, SessionId, Peer, SessionId) {
    let mut left = start(only(path)).await;
    let mut right = start(only(path)).await;
    let (at_left, at_right) = connect(&mut left, &mut right, path).await;
    (left, at_left, right, at_right)
}

/// Opens a session between two peers.
pub async fn connect(left: &mut Peer, right: &mut Peer, path: Path) -> (SessionId, SessionId) {
    let address = right.address(path).await;
    left.net.dial(address);
    let (at_left, dialer, over) = left.opened().await;
    assert!(dialer);
    assert_eq!(over, path);
    let (at_right, dialer, over) = right.opened().await;
    assert!(!dialer);
    assert_eq!(over, path);
    (at_left, at_right)
}

/// An event without its bulk.
pub fn short(event: &NetEvent) -> String {
    match event {
        NetEvent::Frame { session, bytes } => format!("{session}: {} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}
