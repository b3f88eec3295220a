//! The end of a network: sessions say goodbye, connections close, ports are free.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Driver;
use super::sessions::Note;
use crate::address::{Address, Path};
use crate::event::CloseReason;
use crate::limits::CLOSE_GRACE;

impl Driver {
    /// Takes everything down and returns when the ports are free, or were not for as long as this.
    pub(super) async fn shut_down(mut self, patience: Duration) {
        for running in self.running.values_mut() {
            running.tell_to_close(CloseReason::Shutdown);
        }
        let farewell = async {
            while !self.running.is_empty() {
                tokio::select! {
                    // The connections need the swarm to move.
                    _ = self.swarm.select_next_some() => {}
                    Some(note) = self.notes.recv() => {
                        if let Note::Ended { session, .. } = note {
                            self.running.remove(&session);
                        }
                    }
                }
            }
        };
        if timeout(CLOSE_GRACE + Duration::from_millis(500), farewell).await.is_err() {
            tracing::debug!("some sessions did not end in time");
        }
        self.tasks.shutdown().await;

        for listener in self.listeners.keys() {
            self.swarm.remove_listener(*listener);
        }
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let hang_up = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(Duration::from_secs(1), hang_up).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        drop(self.swarm);

        // The QUIC endpoint lives in tasks of its own until its connections are drained; libp2p has no way to wait for them.
        let deadline = Instant::now() + patience;
        for address in &self.bound {
            let freed = async {
                while is_taken(address) {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            if timeout_at(deadline, freed).await.is_err() {
                tracing::debug!(%address, "a port was not released in time");
            }
        }
        tracing::info!(peer = %self.local, "network stopped");
    }
}

fn is_taken(address: &Address) -> bool {
    let Some(ip) = address.ip() else {
        return false;
    };
    let bound = match address.path() {
        Path::Quic => UdpSocket::bind((ip, address.port())).map(drop),
        Path::Tcp => TcpListener::bind((ip, address.port())).map(drop),
    };
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}
