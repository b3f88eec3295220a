//! Peers that run, each on a replica connection of its own beside the application's.
//!
//! A peer posts `opened` or `failed`, then `event`s, and `closed` as the last; an answer to a question is posted to whoever asked.

use std::path::PathBuf;
use std::sync::Arc;

use kithdb_peer::{Peer, PeerConfig, PeerEvents, StartError};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::mailbox::Mailbox;
use super::options::read_config;
use super::{missing, number, runtime};
use crate::js::{Answer, Js, Val};

/// What a peer is asked for.
pub(crate) enum Ask {
    /// How it stands; the answer goes to this number.
    Status(u32),
    /// To end in order.
    Close,
}

/// The way to a running peer, which ends when it is dropped.
pub(crate) type Asks = mpsc::UnboundedSender<Ask>;

/// Starts a peer: its number, the file, options.
pub(crate) fn open(js: Js, arguments: &[Val]) -> Answer {
    let &[id, path, options] = arguments else { return missing() };
    let (id, path) = (number(js, id)?, PathBuf::from(js.string_of(path)?));
    let config = read_config(&js.string_of(options)?)?;
    let office = &js.instance().office;
    let (asks, asked) = mpsc::unbounded_channel();
    // It ends by itself when the way to it is dropped.
    runtime()?.spawn(run(id, path, config, asked, Arc::clone(office.mailbox()?)));
    office.peers.borrow_mut().insert(id, asks);
    js.undefined()
}

/// Asks how a peer stands: its number, that of the question.
pub(crate) fn status(js: Js, arguments: &[Val]) -> Answer {
    let &[id, question] = arguments else { return missing() };
    let question = number(js, question)?;
    let office = &js.instance().office;
    let peers = office.peers.borrow();
    let is_asked = peers.get(&number(js, id)?).is_some_and(|asks| asks.send(Ask::Status(question)).is_ok());
    if !is_asked {
        office.mailbox()?.post(question, "failed", stopped());
    }
    js.undefined()
}

/// Has a peer end, if it is still there: its number.
pub(crate) fn close(js: Js, arguments: &[Val]) -> Answer {
    let Some(&id) = arguments.first() else { return missing() };
    if let Some(asks) = js.instance().office.peers.borrow_mut().remove(&number(js, id)?) {
        // One that has stopped has said so.
        let _ = asks.send(Ask::Close);
    }
    js.undefined()
}

fn stopped() -> Value {
    json!({ "code": "KITH_STOPPED", "message": "the peer has stopped" })
}

async fn run(
    id: u32,
    path: PathBuf,
    config: PeerConfig,
    mut asked: mpsc::UnboundedReceiver<Ask>,
    mailbox: Arc<Mailbox>,
) {
    let (peer, mut events) = match Peer::open(path, config).await {
        Ok(started) => started,
        Err(error) => return mailbox.post(id, "failed", failure(&error)),
    };
    mailbox.post(id, "opened", json!({ "peerId": peer.peer_id().to_string() }));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => mailbox.post(id, "event", event.to_json()),
                None => break,
            },
            ask = asked.recv() => match ask {
                Some(Ask::Status(question)) => match peer.status().await {
                    Ok(status) => mailbox.post(question, "done", status.to_json()),
                    Err(_) => mailbox.post(question, "failed", stopped()),
                },
                Some(Ask::Close) => {
                    close_in_order(peer, &mut events, id, &mailbox).await;
                    break;
                }
                // The environment has ended: so does this, at once.
                None => return,
            },
        }
    }
    asked.close();
    while let Some(ask) = asked.recv().await {
        if let Ask::Status(question) = ask {
            mailbox.post(question, "failed", stopped());
        }
    }
    mailbox.post(id, "closed", Value::Null);
}

/// Ends a peer, and tells what happens until the end.
async fn close_in_order(peer: Peer, events: &mut PeerEvents, id: u32, mailbox: &Mailbox) {
    let mut shutdown = std::pin::pin!(peer.shutdown());
    let mut is_shut = false;
    loop {
        tokio::select! {
            () = &mut shutdown, if !is_shut => is_shut = true,
            event = events.recv() => match event {
                Some(event) => mailbox.post(id, "event", event.to_json()),
                None if is_shut => return,
                None => {
                    shutdown.await;
                    return;
                }
            },
        }
    }
}

fn failure(error: &StartError) -> Value {
    let code = match error {
        StartError::Open(_) => "KITH_CANNOT_OPEN",
        StartError::ReadOnly { .. } => "KITH_READ_ONLY",
        StartError::AlreadyRunning { .. } => "KITH_ALREADY_RUNNING",
        StartError::Network(_) => "KITH_NETWORK",
        _ => "KITH_CANNOT_START",
    };
    json!({ "code": code, "message": error.to_string() })
}
