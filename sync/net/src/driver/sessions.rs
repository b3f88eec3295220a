//! From a connection to a session: substreams, handshakes, and the sessions' tasks.

use std::sync::Arc;

use futures::AsyncWriteExt;
use libp2p::Stream;
use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;

use super::{Driver, Timer};
use crate::address::Address;
use crate::arbiter::Outbound;
use crate::event::{CloseReason, NetEvent, SessionId};
use crate::frame::Progress;
use crate::handshake::{self, Preface, Reply};
use crate::identity::PeerId;
use crate::limits::{COLLISION_WAIT, HANDSHAKES_PER_PEER_MAX, OPEN_TRIES_MAX, SESSIONS_PER_PEER_MAX};
use crate::session::Session;
use crate::substream::{HandlerEvent, SubstreamEvent};

/// What the tasks report to the driver.
pub(crate) enum Note {
    /// A peer's opening was heard, or not.
    Heard { peer: PeerId, connection: ConnectionId, opening: std::io::Result<(Stream, Preface)> },
    /// Our opening was answered, or not.
    Answered { attempt: u64, answer: std::io::Result<(Stream, Reply)> },
    /// A session is over, which the application is told next.
    Closing { session: SessionId, hang_up: bool },
    /// A session's task has ended.
    Ended { session: SessionId, opened: bool },
}

/// An opening of ours that has not been answered.
pub(super) struct Attempt {
    peer: PeerId,
    pub(super) connection: ConnectionId,
    preface: Preface,
    tries: u32,
}

/// A session's task as the driver sees it.
pub(super) struct Running {
    peer: PeerId,
    pub(super) connection: ConnectionId,
    close: Option<oneshot::Sender<CloseReason>>,
    /// Ends with the task; taken by the session that comes next.
    ended: Option<oneshot::Receiver<()>>,
    pub(super) progress: Arc<Progress>,
    pub(super) bytes_at_ping: u64,
}

impl Running {
    pub(super) fn tell_to_close(&mut self, reason: CloseReason) {
        if let Some(close) = self.close.take() {
            // The task may have ended by itself.
            let _ = close.send(reason);
        }
    }
}

impl Driver {
    /// Opens a session with a peer on this connection, unless there is one or it is being opened.
    pub(super) fn open(&mut self, peer: PeerId, connection: ConnectionId, tries: u32) {
        let Some(preface) = self.arbiter.begin(peer) else {
            return;
        };
        self.attempts.insert(preface.attempt, Attempt { peer, connection, preface, tries });
        let substreams = &mut self.swarm.behaviour_mut().substreams;
        substreams.open(peer.0, connection, preface.attempt);
    }

    /// Opens again with a peer whose own opening came to nothing.
    pub(super) fn reopen(&mut self, peer: PeerId) {
        if self.arbiter.session(&peer).is_some() || self.arbiter.is_opening(&peer) {
            return;
        }
        match self.links.get(&peer).and_then(|links| links.last()) {
            Some(link) => self.open(peer, link.connection, 0),
            None => self.give_up(peer, "the peer went away before a session was open".to_owned()),
        }
    }

    /// Tells the application that what it dialled led to no session.
    fn give_up(&mut self, peer: PeerId, reason: String) {
        if let Some(address) = self.wanted.remove(&peer) {
            self.notify(NetEvent::DialFailed { address, reason });
        }
    }

    pub(super) fn on_substream(&mut self, event: SubstreamEvent) {
        let (peer, connection) = (PeerId(event.peer), event.connection);
        match event.event {
            HandlerEvent::Inbound(mut stream) => {
                let hearings = self.hearings.entry(peer).or_default();
                if *hearings >= HANDSHAKES_PER_PEER_MAX {
                    tracing::debug!(%peer, "a peer opens sessions too fast, one is dropped");
                    return;
                }
                *hearings += 1;
                let notes = self.note_sender.clone();
                self.tasks.spawn(async move {
                    let heard = handshake::hear(&mut stream).await;
                    let opening = heard.map(|preface| (stream, preface));
                    // The driver outlives its tasks.
                    let _ = notes.send(Note::Heard { peer, connection, opening });
                });
            }
            HandlerEvent::Outbound { attempt, result } => {
                let Some(preface) = self.attempts.get(&attempt).map(|a| a.preface) else {
                    return;
                };
                match result {
                    Ok(mut stream) => {
                        let notes = self.note_sender.clone();
                        self.tasks.spawn(async move {
                            let reply = handshake::offer(&mut stream, preface).await;
                            let answer = reply.map(|reply| (stream, reply));
                            let _ = notes.send(Note::Answered { attempt, answer });
                        });
                    }
                    Err(reason) => self.attempt_failed(attempt, reason),
                }
            }
        }
    }

    pub(super) fn on_note(&mut self, note: Note) {
        match note {
            Note::Heard { peer, connection, opening } => {
                if let Some(hearings) = self.hearings.get_mut(&peer) {
                    *hearings -= 1;
                    if *hearings == 0 {
                        self.hearings.remove(&peer);
                    }
                }
                match opening {
                    Ok((stream, preface)) => self.on_opening(peer, connection, stream, preface),
                    Err(error) => {
                        tracing::debug!(%peer, %error, "a peer's opening came to nothing");
                    }
                }
            }
            Note::Answered { attempt, answer } => match answer {
                Ok((stream, reply)) => self.on_answer(attempt, stream, reply),
                Err(error) => self.attempt_failed(attempt, error.to_string()),
            },
            Note::Closing { session, hang_up } => self.on_closing(session, hang_up),
            Note::Ended { session, opened } => self.on_ended(session, opened),
        }
    }

    /// A peer opens a session.
    fn on_opening(&mut self, peer: PeerId, connection: ConnectionId, mut stream: Stream, preface: Preface) {
        let Some(remote) = self.remote(peer, connection) else {
            return;
        };
        let of_peer = self.running.values().filter(|r| r.peer == peer).count();
        let room = self.running.len() < self.limits.sessions_max && of_peer < SESSIONS_PER_PEER_MAX;
        let inbound = self.arbiter.inbound(peer, preface, room);
        match inbound.accepted {
            Some((session, replaced)) => {
                if let Some(old) = replaced.and_then(|old| self.running.get_mut(&old)) {
                    old.tell_to_close(CloseReason::Replaced);
                }
                self.start(peer, connection, remote, session, stream, Some(inbound.reply));
            }
            None => {
                tracing::debug!(%peer, verdict = ?inbound.reply.verdict, "a session is refused");
                self.tasks.spawn(async move {
                    if handshake::answer(&mut stream, inbound.reply).await.is_ok() {
                        let _ = stream.close().await;
                    }
                });
            }
        }
    }

    /// A peer answers our opening.
    fn on_answer(&mut self, number: u64, stream: Stream, reply: Reply) {
        let Some(attempt) = self.attempts.remove(&number) else {
            return;
        };
        let peer = attempt.peer;
        match self.arbiter.outbound(peer, number, reply) {
            Outbound::Open(session) => match self.remote(peer, attempt.connection) {
                Some(remote) => {
                    self.start(peer, attempt.connection, remote, session, stream, None);
                }
                None => {
                    self.arbiter.closed(peer, session);
                    self.after(COLLISION_WAIT, Timer::Reopen(peer));
                }
            },
            Outbound::Wait => self.after(COLLISION_WAIT, Timer::Reopen(peer)),
            Outbound::Full => {
                self.swarm.close_connection(attempt.connection);
                let reason = "the peer has as many sessions as it allows; try again later";
                self.give_up(peer, reason.to_owned());
            }
            Outbound::Stale => {}
        }
    }

    /// An opening of ours came to nothing: try another connection, or again, or give up.
    pub(super) fn attempt_failed(&mut self, number: u64, reason: String) {
        let Some(attempt) = self.attempts.remove(&number) else {
            return;
        };
        let peer = attempt.peer;
        tracing::debug!(%peer, reason, tries = attempt.tries, "an opening failed");
        if !self.arbiter.abandon(peer, number) {
            // The peer's own opening has taken its place.
            return;
        }
        let links = self.links.get(&peer).map_or(&[][..], Vec::as_slice);
        let other = links.iter().rfind(|l| l.connection != attempt.connection);
        let next = other.or(links.last()).map(|link| link.connection);
        match next {
            Some(connection) if attempt.tries + 1 < OPEN_TRIES_MAX => {
                self.open(peer, connection, attempt.tries + 1);
            }
            _ => self.give_up(peer, reason),
        }
    }

    /// Starts the task of a session that the arbiter has let in.
    fn start(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        remote: Address,
        id: SessionId,
        stream: Stream,
        reply: Option<Reply>,
    ) {
        let (close, told_to_close) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let predecessor = self
            .running
            .iter_mut()
            .filter(|(_, running)| running.peer == peer)
            .max_by_key(|(session, _)| **session)
            .and_then(|(_, running)| running.ended.take());
        let progress = Arc::new(Progress::default());
        self.running.insert(
            id,
            Running {
                peer,
                connection,
                close: Some(close),
                ended: Some(ended),
                progress: progress.clone(),
                bytes_at_ping: 0,
            },
        );
        let session = Session {
            id,
            peer,
            remote,
            stream,
            reply,
            queue_bytes_max: self.limits.queue_bytes_max,
            registry: self.registry.clone(),
            events: self.events.clone(),
            close: told_to_close,
            predecessor,
            progress,
        };
        let notes = self.note_sender.clone();
        self.tasks.spawn(async move {
            let closing = |hang_up| {
                let _ = notes.send(Note::Closing { session: id, hang_up });
            };
            let opened = session.run(closing).await;
            drop(end);
            let _ = notes.send(Note::Ended { session: id, opened });
        });
    }

    /// The application closes a session.
    pub(super) fn close_session(&mut self, session: SessionId, reason: String) {
        if let Some(running) = self.running.get_mut(&session) {
            running.tell_to_close(CloseReason::Local { reason });
        }
    }

    /// A session is over: from here on there can be another one with that peer.
    fn on_closing(&mut self, session: SessionId, hang_up: bool) {
        let Some(running) = self.running.get(&session) else {
            return;
        };
        let (peer, connection) = (running.peer, running.connection);
        self.arbiter.closed(peer, session);
        self.wanted.remove(&peer);
        if !hang_up {
            return;
        }
        if self.arbiter.session(&peer).is_some() || self.arbiter.is_opening(&peer) {
            self.swarm.close_connection(connection);
        } else {
            // An error means that there is no connection any more.
            let _ = self.swarm.disconnect_peer_id(peer.0);
        }
    }

    fn on_ended(&mut self, session: SessionId, opened: bool) {
        let Some(running) = self.running.remove(&session) else {
            return;
        };
        self.arbiter.closed(running.peer, session);
        if !opened && self.wanted.contains_key(&running.peer) {
            self.after(COLLISION_WAIT, Timer::Reopen(running.peer));
        }
    }

    /// Returns where the other end of a connection is, if it still stands.
    fn remote(&self, peer: PeerId, connection: ConnectionId) -> Option<Address> {
        let links = self.links.get(&peer)?;
        let link = links.iter().find(|link| link.connection == connection)?;
        Some(link.remote.clone())
    }
}
